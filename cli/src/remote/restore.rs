//! `cairn restore`: a log is made of what object storage has.

use super::{InStore, existing, replicate::moment_json};
use crate::{exit::Outcome, open, output, stream, time::moment};
use cairnlog_object_store::{RestoreOptions, To};
use clap::Args;
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
What is in the directory is no log before all of it is there and was verified in full; interrupted, the
same command goes on where it was. The log is a new incarnation of the one that was copied: it may go on by
itself, whatever becomes of that.

--to-seq makes the log end there: it has the records below. --to-time takes the newest moment that was copied
by then; `cairn remote ls URL` lists them.

Examples:
  cairn restore /mnt/elsewhere/orders orders.log
  cairn restore s3://backups/orders orders.log --to-time 1h
  cairn restore s3://backups/orders orders.log --to-seq 81234";

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Where the copy is
    url: String,
    /// The directory for the log, new or empty
    dir: PathBuf,
    /// Only the records below this seq
    #[arg(long, value_name = "SEQ", group = "to")]
    to_seq: Option<u64>,
    /// As it was copied by this time: RFC 3339, a date (UTC), milliseconds since 1970, or how long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, group = "to")]
    to_time: Option<i64>,
    /// The moment of this number
    #[arg(long, value_name = "NUMBER", group = "to")]
    to_moment: Option<u64>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RestoreArgs) -> Outcome {
    let to = (args.to_seq.map(To::Seq))
        .or(args.to_time.map(To::Time))
        .or(args.to_moment.map(To::Moment))
        .unwrap_or(To::Latest);
    let store = existing(&args.url)?;
    let progress = output::progress("restore", Some(0));
    let bar = progress.clone();
    let how = RestoreOptions::new()
        .log(open::options()?)
        .progress(move |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
    let report = how.restore(&store, &args.dir, to);
    progress.finish_and_clear();
    let report = report.in_store(&args.dir)?;
    let as_json = args.json.then(|| {
        let mut json = moment_json(&report.moment);
        json["head_seq"] = report.head_seq.into();
        json["end_seq"] = report.end_seq.into();
        json["fetched_bytes"] = report.fetched_bytes.into();
        json
    });
    stream::report(as_json, |out| {
        writeln!(
            out,
            "restored seq {}..{}, verified: moment {} of {}, {} fetched",
            report.head_seq,
            report.end_seq,
            report.moment.number,
            output::time(report.moment.taken_ms),
            output::bytes(report.fetched_bytes)
        )
    })
}
