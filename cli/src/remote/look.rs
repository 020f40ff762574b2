//! `cairn remote`: what object storage has of a log, without restoring it.

use super::{InStore, existing, replicate::moment_json};
use crate::{
    exit::{Failure, In, Outcome},
    open, output,
    show::ShowArgs,
    stream, verify,
};
use cairnlog::Seq;
use cairnlog_object_store::{RemoteOptions, RemoteReader, To};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

pub const EXAMPLES: &str = "\
Nothing is restored and nothing written: what is needed is fetched. `verify` fetches all of it, and ends as
`cairn verify` does. All but `ls` show the newest moment, or the one of --moment.

Examples:
  cairn remote ls /mnt/elsewhere/orders
  cairn remote stat s3://backups/orders
  cairn remote verify s3://backups/orders
  cairn remote cat s3://backups/orders --from 81200 --limit 10";

#[derive(Args, Debug)]
pub struct RemoteArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the moments that can be restored
    Ls(Of),
    /// Say what the log has, and in how many objects' worth of segments
    Stat(At),
    /// Read everything and list what does not verify
    Verify(At),
    /// Print the records of a range
    Cat(CatArgs),
}

#[derive(Args, Debug)]
struct Of {
    /// Where the copy is
    url: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct At {
    #[command(flatten)]
    of: Of,
    /// The moment of this number instead of the newest
    #[arg(long, value_name = "NUMBER")]
    moment: Option<u64>,
}

#[derive(Args, Debug)]
struct CatArgs {
    /// Where the copy is
    url: String,
    /// The moment of this number instead of the newest
    #[arg(long, value_name = "NUMBER")]
    moment: Option<u64>,
    /// The first seq to show; by default the oldest that is kept
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    /// The seq to stop before; by default the end
    #[arg(long, value_name = "SEQ")]
    to: Option<Seq>,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    #[command(flatten)]
    show: ShowArgs,
}

pub fn run(args: &RemoteArgs) -> Outcome {
    match &args.what {
        What::Ls(args) => ls(args),
        What::Stat(args) => stat(args),
        What::Verify(args) => check(args),
        What::Cat(args) => cat(args),
    }
}

fn reader(url: &str, moment: Option<u64>) -> Outcome<RemoteReader> {
    let to = moment.map_or(To::Latest, To::Moment);
    let options = RemoteOptions::new().log(open::options()?).to(to);
    options.open(&existing(url)?).in_store(Path::new(url))
}

fn ls(args: &Of) -> Outcome {
    let moments = existing(&args.url)?
        .moments()
        .in_store(Path::new(&args.url))?;
    if moments.is_empty() {
        return Err(Failure::Said(format!(
            "{}: there is no copy of a log",
            args.url
        )));
    }
    if args.json {
        let all: Vec<_> = moments.iter().map(moment_json).collect();
        return Ok(stream::json(&json!(all))?);
    }
    let mut out = stream::raw();
    for it in &moments {
        let time = output::time(it.taken_ms);
        writeln!(
            out,
            "{:>8}  {time}  seq {}..{}",
            it.number, it.head_seq, it.end_seq
        )?;
    }
    Ok(out.flush()?)
}

fn stat(args: &At) -> Outcome {
    let path = PathBuf::from(&args.of.url);
    let reader = reader(&args.of.url, args.moment)?;
    let moment = reader.moment();
    let segments = reader.segments().in_log(&path)?;
    let frame_bytes: u64 = segments.iter().map(|it| it.frame_bytes).sum();
    let as_json = args.of.json.then(|| {
        let mut json = moment_json(&moment);
        json["segment_count"] = segments.len().into();
        json["frame_bytes"] = frame_bytes.into();
        json
    });
    stream::report(as_json, |out| {
        writeln!(
            out,
            "log {}: seq {}..{} in {}, {}; moment {} of {} ({} ago), epoch {}",
            moment.log_id,
            reader.head_seq(),
            reader.end_seq(),
            output::counted(segments.len() as u64, "segment"),
            output::bytes(frame_bytes),
            moment.number,
            output::time(moment.taken_ms),
            output::age(moment.taken_ms),
            moment.epoch
        )
    })
}

fn check(args: &At) -> Outcome {
    let reader = reader(&args.of.url, args.moment)?;
    let progress = output::turning("verify");
    let report = reader.verify();
    progress.finish_and_clear();
    verify::end_with(&report.in_store(Path::new(&args.of.url))?, args.of.json)
}

fn cat(args: &CatArgs) -> Outcome {
    let path = PathBuf::from(&args.url);
    let mut show = args.show.start()?;
    let reader = reader(&args.url, args.moment)?;
    let end = args.to.unwrap_or(Seq::MAX);
    let scan = match args.from {
        Some(from) => reader.scan(from..end.max(from)),
        None => reader.scan(..end),
    };
    let mut scan = scan.in_log(&path)?;
    let (mut out, mut left) = (stream::raw(), args.limit);
    while left > 0
        && let Some(record) = scan.next_ref()
    {
        show.record(&mut out, &record.in_log(&path)?)?;
        left -= 1;
    }
    Ok(out.flush()?)
}
