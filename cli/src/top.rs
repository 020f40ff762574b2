//! `cairn top`: a log at work, as it is seen from another process.
//!
//! What a process tells nobody cannot be seen: the picture is of what became durable and visible to
//! readers. A sync is counted when its records are seen, so that two within one look are one; a latency is
//! the time from a record's own time to the moment when it was seen, in milliseconds.

use crate::{
    cursor,
    exit::{In, Outcome},
    open, output,
    process::free_bytes,
    stream,
};
use cairnlog::{CursorInfo, Record, Seq, TailReader};
use clap::Args;
use jiff::Timestamp;
use owo_colors::OwoColorize;
use serde_json::json;
use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub const EXAMPLES: &str = "\
Takes no lock and does not hold the writer up. Without a terminal one picture follows the other.

Latencies are measured by the records' own times: they mean something if those are the moments of
appending, on this machine's clock.

Examples:
  cairn top orders.log --once
  cairn top orders.log --once --interval 0.2 --json";

/// Latencies of one picture; beyond that a part is taken.
const SAMPLES_MAX: usize = 100_000;

#[derive(Args, Debug)]
pub struct TopArgs {
    /// The directory of the log
    dir: PathBuf,
    /// How long each picture looks at the log
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = open::duration)]
    interval: Duration,
    /// Show one picture and end
    #[arg(long)]
    once: bool,
    /// Print each picture as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

/// What was seen in one interval.
#[derive(Default)]
struct Picture {
    elapsed: Duration,
    append_count: u64,
    payload_bytes: u64,
    sync_count: u64,
    /// In milliseconds, sorted.
    latencies: Vec<u64>,
    head_seq: Seq,
    end_seq: Seq,
    file_bytes: u64,
    segment_count: u64,
    free_bytes: Option<u64>,
    /// The cursors; none if they cannot be told.
    cursors: Option<Vec<CursorInfo>>,
}

pub fn run(args: &TopArgs) -> Outcome {
    let reader = open::read_only(&args.dir)?;
    let mut tail = reader.tail(reader.end_seq());
    let redraws = io::stdout().is_terminal() && !args.json && !args.once;
    loop {
        let mut picture = look(args, &mut tail)?;
        (picture.head_seq, picture.end_seq) = (reader.head_seq(), reader.end_seq());
        (picture.segment_count, picture.file_bytes) = files(&args.dir);
        picture.free_bytes = free_bytes(&args.dir);
        picture.cursors = open::existing()?.cursors(&args.dir).ok();
        if args.json {
            stream::json(&picture.json())?;
        } else {
            let mut out = stream::pretty();
            if redraws {
                // To the corner, and nothing below what is drawn next.
                write!(out, "\x1b[H\x1b[J")?;
            }
            picture.draw(&mut out, &args.dir)?;
            out.flush()?;
        }
        if args.once {
            return Ok(());
        }
    }
}

/// Follows the log for one interval.
fn look(args: &TopArgs, tail: &mut TailReader) -> Outcome<Picture> {
    let (started, mut picture) = (Instant::now(), Picture::default());
    loop {
        let left = args.interval.saturating_sub(started.elapsed());
        let Some(first) = tail.next_timeout(left).in_log(&args.dir)? else {
            break;
        };
        picture.sync_count += 1;
        picture.add(&first);
        // What is there without waiting became visible by the same sync.
        while let Some(record) = tail.try_next().in_log(&args.dir)? {
            picture.add(&record);
            if started.elapsed() >= args.interval {
                break;
            }
        }
        if started.elapsed() >= args.interval {
            break;
        }
    }
    picture.elapsed = started.elapsed();
    picture.latencies.sort_unstable();
    Ok(picture)
}

/// How many segment files there are, and the bytes of all files.
fn files(dir: &Path) -> (u64, u64) {
    let (mut segments, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_segment = cairnlog::format::names::parse_segment(&name.to_string_lossy()).is_some();
        segments += u64::from(is_segment);
        bytes += entry.metadata().map_or(0, |meta| meta.len());
    }
    (segments, bytes)
}

impl Picture {
    fn add(&mut self, record: &Record) {
        self.append_count += 1;
        self.payload_bytes += (record.len() + record.key().map_or(0, <[u8]>::len)) as u64;
        let now_ms = Timestamp::now().as_millisecond();
        if self.latencies.len() < SAMPLES_MAX
            && let Ok(latency_ms) = u64::try_from(now_ms.saturating_sub(record.timestamp_ms()))
        {
            self.latencies.push(latency_ms);
        }
    }

    fn percentile(&self, percent: usize) -> Option<u64> {
        output::percentile(&self.latencies, percent)
    }

    fn per_second(&self, amount: u64) -> u64 {
        output::per_second(amount, self.elapsed)
    }

    fn json(&self) -> serde_json::Value {
        let cursors = self.cursors.as_ref();
        let cursors: Option<Vec<_>> =
            cursors.map(|cursors| cursors.iter().map(cursor::cursor_json).collect());
        json!({
            "elapsed_ms": self.elapsed.as_millis() as u64,
            "append_count": self.append_count,
            "payload_bytes": self.payload_bytes,
            "sync_count": self.sync_count,
            "appends_per_s": self.per_second(self.append_count),
            "payload_bytes_per_s": self.per_second(self.payload_bytes),
            "syncs_per_s": self.per_second(self.sync_count),
            "latency_p50_ms": self.percentile(50),
            "latency_p99_ms": self.percentile(99),
            "head_seq": self.head_seq,
            "end_seq": self.end_seq,
            "file_bytes": self.file_bytes,
            "segment_count": self.segment_count,
            "free_bytes": self.free_bytes,
            "cursors": cursors,
        })
    }

    fn draw(&self, out: &mut impl Write, dir: &Path) -> io::Result<()> {
        let count = |amount| output::count(self.per_second(amount));
        let rate = output::bytes(self.per_second(self.payload_bytes));
        let latency = |percent| match self.percentile(percent) {
            Some(ms) => format!("{ms} ms"),
            None => "-".to_owned(),
        };
        writeln!(
            out,
            "{}  seq {}..{}",
            dir.display().bold(),
            self.head_seq,
            self.end_seq
        )?;
        writeln!(
            out,
            "appends {}/s  {rate}/s  syncs seen {}/s",
            count(self.append_count).bold(),
            count(self.sync_count)
        )?;
        writeln!(
            out,
            "durable after: p50 {}  p99 {}",
            latency(50),
            latency(99)
        )?;
        let segments = output::counted(self.segment_count, "segment file");
        write!(
            out,
            "space {} in {segments}",
            output::bytes(self.file_bytes)
        )?;
        match self.free_bytes {
            Some(free) => writeln!(out, ", {} free on its disk", output::bytes(free))?,
            None => writeln!(out)?,
        }
        match &self.cursors {
            Some(cursors) if cursors.is_empty() => writeln!(out, "no cursors"),
            Some(cursors) => cursor::table(out, cursors),
            None => writeln!(
                out,
                "the cursors cannot be told: `cairn cursor list` says why"
            ),
        }
    }
}
