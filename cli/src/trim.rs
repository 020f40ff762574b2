//! `cairn trim` and `cairn rewind`: dropping records from the head, and from the end.

use crate::{
    exit::{In, Outcome},
    open::{self, WriterArgs},
    stream,
};
use cairnlog::{Log, Seq};
use clap::Args;
use serde_json::json;

pub const TRIM_EXAMPLES: &str = "\
Drops every record below SEQ, for good. Segments that hold nothing else go at once; what shares a
segment with later records is hidden now, and its space is freed with theirs.

Examples:
  cairn trim orders.log 100
  cairn trim orders.log 200 --dry-run";

pub const REWIND_EXAMPLES: &str = "\
Drops every record at or above SEQ, for good. Their numbers are not used again: the next append goes
on counting where it would have without.

Examples:
  cairn rewind orders.log 900 --dry-run
  cairn rewind orders.log 900";

#[derive(Args, Debug)]
pub struct TrimArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The seq
    seq: Seq,
    /// Tell what would be dropped, and drop nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub fn trim(args: &TrimArgs) -> Outcome {
    run(args, "trim", |log| log.trim(args.seq), 0..args.seq)
}

pub fn rewind(args: &TrimArgs) -> Outcome {
    run(
        args,
        "rewind",
        |log| log.rewind(args.seq),
        args.seq..Seq::MAX,
    )
}

fn run(
    args: &TrimArgs,
    verb: &str,
    drop: impl FnOnce(&Log) -> cairnlog::Result<()>,
    dropped: std::ops::Range<Seq>,
) -> Outcome {
    let dir = &args.writer.dir;
    let (head_seq, next_seq) = if args.dry_run {
        let reader = open::read_only(dir)?.including_written();
        (reader.head_seq(), reader.end_seq())
    } else {
        let log = args.writer.open(open::existing()?)?;
        let seqs = (log.head_seq(), log.next_seq());
        drop(&log).in_log(dir)?;
        log.close().in_log(dir)?;
        seqs
    };
    let first = dropped.start.clamp(head_seq, next_seq);
    let end = dropped.end.clamp(first, next_seq);
    let as_json = args.json.then(|| {
        json!({
            "applied": !args.dry_run,
            "first_seq": first,
            "next_seq": end,
        })
    });
    let would = if args.dry_run {
        "would drop"
    } else {
        "dropped"
    };
    stream::report(as_json, |out| match first == end {
        true => writeln!(out, "{verb}: {would} nothing"),
        false => writeln!(out, "{verb}: {would} seq {first}..{end}"),
    })
}
