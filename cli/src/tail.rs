//! `cairn tail`: the last records, and with `-f` those to come.

use crate::{
    exit::{In, Outcome},
    open, output,
    show::{Show, ShowArgs},
};
use cairnlog::{Reader, Seq, format::names};
use clap::Args;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

pub const EXAMPLES: &str = "\
Following takes no lock: the log is looked at whenever its files change, and a record is shown once it
is proven durable, which an idle writer lets happen within about a tenth of a second.

Examples:
  cairn tail orders.log
  cairn tail orders.log -n 3 --json
  cairn tail orders.log -f";

/// How often a followed log's files are looked at.
const POLL: Duration = Duration::from_millis(50);
/// For this long after a change a look may have missed one with the same time stamp.
const UNSETTLED: Duration = Duration::from_secs(1);

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
}

pub fn run(args: &TailArgs) -> Outcome {
    let mut show = args.show.start()?;
    let mut seen = fingerprint(&args.dir);
    let reader = open::read_only(&args.dir)?;
    let reader = args.show.reader(reader, args.follow);
    let mut out = output::raw();
    let mut next_seq = last(args, &reader)?;
    next_seq = show_from(args, &mut show, &mut out, &reader, next_seq)?;
    drop(reader);
    if !args.follow {
        return Ok(());
    }
    loop {
        thread::sleep(POLL);
        let now = fingerprint(&args.dir);
        if now == seen && !is_recent(&now) {
            continue;
        }
        seen = now;
        let reader = args.show.reader(open::read_only(&args.dir)?, true);
        next_seq = show_from(args, &mut show, &mut out, &reader, next_seq)?;
    }
}

/// The seq of the first of the last records. Seqs can have gaps: they are walked, not computed.
fn last(args: &TailArgs, reader: &Reader) -> Outcome<Seq> {
    let mut first = reader.end_seq();
    let wanted = usize::try_from(args.records).unwrap_or(usize::MAX);
    for record in reader.scan(..).in_log(&args.dir)?.rev().take(wanted) {
        first = record.in_log(&args.dir)?.seq();
    }
    Ok(first)
}

/// Shows what there is from a seq on; gives the seq to go on from.
fn show_from(
    args: &TailArgs,
    show: &mut Show<'_>,
    out: &mut impl Write,
    reader: &Reader,
    from: Seq,
) -> Outcome<Seq> {
    let mut next_seq = from;
    // A follower that fell behind the head gets an error, never silence.
    let mut scan = reader.scan(from..).in_log(&args.dir)?;
    while let Some(record) = scan.next_ref() {
        let record = record.in_log(&args.dir)?;
        next_seq = record.seq + 1;
        show.record(out, &record)?;
    }
    out.flush()?;
    Ok(next_seq)
}

/// What changes when a log does: names, lengths and times of its manifest and segments.
type Fingerprint = Vec<(std::ffi::OsString, u64, Option<SystemTime>)>;

fn fingerprint(dir: &Path) -> Fingerprint {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Fingerprint = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name == names::MANIFEST || names::parse_segment(&name).is_some()
        })
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((entry.file_name(), meta.len(), meta.modified().ok()))
        })
        .collect();
    found.sort();
    found
}

fn is_recent(found: &Fingerprint) -> bool {
    let newest = found.iter().filter_map(|(_, _, time)| *time).max();
    newest.is_some_and(|time| time.elapsed().is_ok_and(|age| age < UNSETTLED))
}
