//! `cairn reseal`: everything under the current key.

use crate::{
    compact::{Rate, Rewritten, rate, rewrite},
    exit::{Failure, In, Outcome},
    keys,
    open::{self, WriterArgs},
    output, stream,
};
use cairnlog::{KeyId, ResealOptions};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

/// Bytes of frames under each key; `None` for what is in the clear.
pub type KeysInUse = BTreeMap<Option<KeyId>, u64>;

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
    let (report, elapsed) = (&done.report, done.elapsed);
    let as_json = args.json.then(|| {
        json!({
            "segments_before": report.segments_before,
            "segments_after": report.segments_after,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "kept_count": report.kept_count,
            "read_bytes": report.progress.read_bytes,
            "written_bytes": report.progress.written_bytes,
            "elapsed_ms": elapsed.as_millis() as u64,
            "keys_in_use": keys_json(in_use),
        })
    });
    let time = output::duration(elapsed);
    stream::report(as_json, |out| {
        if report.segments_before > 0 {
            writeln!(
                out,
                "resealed {}, {}, {} into {}, in {time}",
                output::counted(report.segments_before, "segment"),
                output::counted(report.kept_count, "record"),
                output::bytes(report.bytes_before),
                output::bytes(report.bytes_after),
            )?;
        } else {
            writeln!(out, "reseal: nothing was under another key, in {time}")?;
        }
        writeln!(out, "{}", keys_text(in_use))
    })
}

/// The keys in use for scripts.
pub fn keys_json(in_use: &KeysInUse) -> Value {
    let one = |(id, bytes): (&Option<KeyId>, &u64)| json!({ "key_id": id.map(|id| id.0), "frame_bytes": bytes });
    in_use.iter().map(one).collect()
}

/// The keys in use for people.
pub fn keys_text(in_use: &KeysInUse) -> String {
    if in_use.is_empty() {
        return "no records, under no key".to_owned();
    }
    let one = |(id, bytes): (&Option<KeyId>, &u64)| match id {
        Some(id) => format!("{} under key {id}", output::bytes(*bytes)),
        None => format!("{} in the clear", output::bytes(*bytes)),
    };
    in_use.iter().map(one).collect::<Vec<_>>().join(", ")
}
