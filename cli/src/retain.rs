//! `cairn retain`: drops whole segments that pass a limit.

use crate::{
    exit::{In, Outcome},
    open::{self, WriterArgs},
    output, stream,
};
use cairnlog::{RetainReport, Retention, Seq, StoppedBy};
use clap::{ArgGroup, Args};
use serde_json::json;
use std::{
    io::{self, Write},
    time::Duration,
};

pub const EXAMPLES: &str = "\
Drops sealed segments from the head, whole ones only, as long as one of the limits is passed. What a
cursor that holds has not passed stays, up to --held-bytes; `cairn cursor list` shows which hold.

Examples:
  cairn retain orders.log --bytes 10G
  cairn retain orders.log --seq 500 --dry-run
  cairn retain orders.log --age 7d --held-bytes 1G
  cairn retain orders.log --seq 500 --json";

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("limit").args(["bytes", "age", "seq"]).multiple(true).required(true))]
pub struct RetainArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The most bytes of frames to keep, such as 10G
    #[arg(long, value_name = "SIZE", value_parser = open::size)]
    bytes: Option<u64>,
    /// How old the youngest record of a segment may become, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = open::duration)]
    age: Option<Duration>,
    /// Records below this seq may go
    #[arg(long, value_name = "SEQ")]
    seq: Option<Seq>,
    /// The most bytes that cursors hold back; by default there is no bound
    #[arg(long, value_name = "SIZE", value_parser = open::size)]
    held_bytes: Option<u64>,
    /// Tell what would be dropped, and drop nothing; needs no lock
    #[arg(long)]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl RetainArgs {
    fn limits(&self) -> Retention {
        let mut limits = Retention::new();
        if let Some(bytes) = self.bytes {
            limits = limits.bytes_max(bytes);
        }
        if let Some(age) = self.age {
            limits = limits.age_max(age);
        }
        if let Some(seq) = self.seq {
            limits = limits.seq_min(seq);
        }
        if let Some(bytes) = self.held_bytes {
            limits = limits.held_bytes_max(bytes);
        }
        limits
    }
}

pub fn run(args: &RetainArgs) -> Outcome {
    let dir = &args.writer.dir;
    let report = if args.dry_run {
        open::read_only(dir)?; // That there is no log is told in the same words everywhere.
        let plan = open::existing()?.plan_retain(dir, &args.limits());
        plan.in_log(dir)?
    } else {
        let log = args.writer.open(open::existing()?)?;
        let report = log.retain(&args.limits()).in_log(dir)?;
        log.close().in_log(dir)?;
        report
    };
    for path in &report.damaged_cursors {
        let text = format!(
            "{} does not verify, and so holds nothing back",
            path.display()
        );
        crate::stream::note!("cairn: retain: {text}");
    }
    let as_json = args.json.then(|| {
        json!({
            "applied": !args.dry_run,
            "segment_count": report.segment_count,
            "record_count": report.record_count,
            "frame_bytes": report.frame_bytes,
            "head_seq": report.head_seq,
            "stopped_by": match report.stopped_by {
                StoppedBy::Cursor => "cursor",
                StoppedBy::Tail => "tail",
                _ => "limits",
            },
            "damaged_cursors": report.damaged_cursors,
        })
    });
    stream::report(as_json, |out| tell(out, args, &report))
}

fn tell(out: &mut dyn Write, args: &RetainArgs, report: &RetainReport) -> io::Result<()> {
    let dropped = match args.dry_run {
        true => "would drop",
        false => "dropped",
    };
    if report.segment_count == 0 {
        let why = match report.stopped_by {
            StoppedBy::Cursor => "a cursor holds the oldest segment back",
            StoppedBy::Tail => "all that there is lies in the tail, which is never dropped",
            _ => "the oldest segment passes no limit",
        };
        return writeln!(out, "retain: {dropped} nothing: {why}");
    }
    writeln!(
        out,
        "retain: {dropped} {} with {}, {}; the log begins at seq {}",
        output::counted(report.segment_count, "segment"),
        output::counted(report.record_count, "record"),
        output::bytes(report.frame_bytes),
        report.head_seq
    )
}
