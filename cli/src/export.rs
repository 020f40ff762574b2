//! `cairn export`: records with all that they have, for other programs and for `cairn import`.

use crate::{
    exit::{In, Outcome},
    json::{self, Binary},
    open, output,
    show::EndArgs,
    stream,
};
use cairnlog::Seq;
use clap::Args;
use std::{io::Write, ops::Bound, path::PathBuf};

pub const EXAMPLES: &str = "\
An object a line: seq, timestamp_ms, key, value or tombstone, and the producer if the append was named.
Keys and values are strings where they are UTF-8; else `_base64` stands behind the name, and the bytes
are in base64. Nothing is left out, so `cairn import` makes the same records of it.

Takes no lock and writes nothing; a writer may be at work.

Examples:
  cairn export orders.log > orders.jsonl
  cairn export orders.log --from 100 --to 200
  cairn export orders.log | cairn import copy.log --same-seqs";

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The first seq; by default the oldest that is kept
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    /// The seq to stop before; by default the end
    #[arg(long, value_name = "SEQ")]
    to: Option<Seq>,
    #[command(flatten)]
    end: EndArgs,
}

pub fn run(args: &ExportArgs) -> Outcome {
    let reader = open::read_only(&args.dir)?;
    let reader = args.end.reader(reader, args.to.is_some());
    let start = args.from.map_or(Bound::Unbounded, Bound::Included);
    let end = args.to.map_or(Bound::Unbounded, Bound::Excluded);
    let mut scan = reader.scan((start, end)).in_log(&args.dir)?;
    let all = scan.remaining();
    let progress = output::record_progress("export", all.end - all.start);
    let mut out = stream::raw();
    let mut written = 0u64;
    while let Some(record) = scan.next_ref() {
        let record = record.in_log(&args.dir)?;
        json::write(&mut out, &record, None, Binary::Base64)?;
        written += 1;
        // A bar takes a lock and looks at the clock: not for every record.
        if written.is_multiple_of(8192) {
            progress.set_position(written);
        }
    }
    progress.finish_and_clear();
    Ok(out.flush()?)
}
