//! `cairn reseal`: everything under the current key.

use crate::{
    compact::{Rate, Rewritten, rate, rewrite},
    exit::{Failure, In, Outcome},
    keys::{self, KeysInUse},
    open::{self, WriterArgs},
    output, stream,
};
use cairnlog::ResealOptions;
use clap::Args;

pub const EXAMPLES: &str = "\
Writes each segment anew of which something is in the clear, or under another key than the current one
of the key file, the last line. Seqs, payloads, keys and times stay as they are. The segment that is
being written is rotated first. Afterwards it says under which keys the log is: those that are not named
may go from the key file.

Copies made before, a backup's hard links too, are as they were. It can be interrupted or killed at any
moment, and goes on where it ended when it is run again.

Examples:
  cairn keygen orders.keys
  cairn reseal orders.log --key-file orders.keys
  cairn reseal orders.log --key-file orders.keys --rate none --json";

#[derive(Args, Debug)]
pub struct ResealArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// Bytes to read and write in a second, together, or `none`: as fast as it can
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = rate)]
    rate: Rate,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ResealArgs) -> Outcome {
    let dir = &args.writer.dir;
    if keys::file().is_none() {
        let text = format!(
            "reseal: there is no key to seal under: --key-file, or {}, names the key file, and `cairn \
             keygen` makes one",
            keys::VARIABLE
        );
        return Err(Failure::Usage(text));
    }
    let how = ResealOptions::new().rate_bytes_per_s(args.rate.0);
    let log = args.writer.open(open::existing()?)?;
    let done = rewrite(log, dir, false, "reseal", |log, progress| {
        log.reseal_with(&how, progress)
    })?;
    let in_use = open::read_only(dir)?.keys_in_use().in_log(dir)?;
    tell(args, &done, &in_use)
}

fn tell(args: &ResealArgs, done: &Rewritten, in_use: &KeysInUse) -> Outcome {
    let as_json = args.json.then(|| {
        let mut json = done.json();
        json["keys_in_use"] = keys::in_use_json(in_use);
        json
    });
    stream::report(as_json, |out| {
        match done.report.segments_before {
            0 => {
                let time = output::duration(done.elapsed);
                writeln!(out, "reseal: nothing was under another key, in {time}")?;
            }
            _ => writeln!(out, "resealed {}", done.text())?,
        }
        writeln!(out, "{}", keys::in_use_text(in_use))
    })
}
