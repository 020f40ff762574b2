//! `cairn tail`: the last records, and with `-f` those to come.

use crate::{
    exit::{In, Outcome},
    open,
    show::{self, EndArgs, Show, ShowArgs},
    stream,
};
use cairnlog::{Reader, Seq, TailReader};
use clap::Args;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

pub const EXAMPLES: &str = "\
Where something does not verify, what lies before it is shown, and it ends with 3.

Following takes no lock and does not hold the writer up: the system wakes it when the writer tells that
more is durable. When the writer ends, or dies, it waits for the next.

Examples:
  cairn tail orders.log
  cairn tail orders.log -n 3 --json
  cairn tail orders.log -f";

#[derive(Args, Debug)]
pub struct TailArgs {
    /// The directory of the log
    dir: PathBuf,
    /// How many of the last records to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    records: u64,
    /// Go on showing records as they come, until interrupted
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    end: EndArgs,
}

pub fn run(args: &TailArgs) -> Outcome {
    let mut show = args.show.start()?;
    let reader = args.end.reader(open::read_only(&args.dir)?, args.follow);
    let mut out = stream::raw();
    let first = last(args, &reader)?;
    if args.follow {
        return follow(&args.dir, &mut show, &mut out, reader.tail(first), u64::MAX);
    }
    // Up to the end, and behind it why there is no more, if it is damaged.
    let mut scan = reader.scan(first..).in_log(&args.dir)?;
    while let Some(record) = scan.next_ref() {
        show.record(&mut out, &record.in_log(&args.dir)?)?;
    }
    Ok(out.flush()?)
}

/// Shows what there is, and what comes, until interrupted or so many were shown.
pub fn follow(
    dir: &Path,
    show: &mut Show<'_>,
    out: &mut impl Write,
    mut tail: TailReader,
    max: u64,
) -> Outcome {
    let mut left = max;
    // A follower that falls behind the head gets an error, never silence.
    while left > 0 && !tail.is_finished() {
        let mut next = tail.try_next().in_log(dir)?;
        if next.is_none() {
            out.flush()?;
            next = tail.next().transpose().in_log(dir)?;
        }
        if let Some(record) = next {
            show.record(out, &show::lend(&record))?;
            left -= 1;
        }
    }
    Ok(out.flush()?)
}

/// The seq of the first of the last records. Seqs can have gaps: they are walked, not computed.
fn last(args: &TailArgs, reader: &Reader) -> Outcome<Seq> {
    let mut first = reader.end_seq();
    let wanted = usize::try_from(args.records).unwrap_or(usize::MAX);
    for record in reader.scan(..first).in_log(&args.dir)?.rev().take(wanted) {
        first = record.in_log(&args.dir)?.seq();
    }
    Ok(first)
}
