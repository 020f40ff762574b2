//! `cairn compact`: keeps the newest record of each key.

mod plan;

use crate::{
    exit::{In, Outcome},
    open::{self, ThreadsArgs, WriterArgs},
    output, stream,
};
use cairnlog::{CompactOptions, CompactProgress, CompactReport, KeyMatch, Log, Stats};
use clap::Args;
use serde_json::{Value, json};
use std::{
    ops::ControlFlow,
    path::Path,
    time::{Duration, Instant},
};

pub const EXAMPLES: &str = "\
Keeps the newest record of each key and every record without one. Seqs, order, payloads and times
stay as they are. Only sealed segments are compacted; --rotate seals the one being written first.

It can be interrupted or killed at any moment: every commit swaps whole segments, so the old ones or
the new ones are the log, and what was half written is removed when the log is next opened for
writing. Run again, it goes on where it ended.

Examples:
  cairn compact orders.log
  cairn compact orders.log --rotate --dry-run
  cairn compact orders.log --rotate --tombstone-age 7d --rate none
  cairn compact orders.log --memory 16M --hashed --json";

#[derive(Args, Debug)]
pub struct CompactArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// How long a tombstone stays at least, such as 24h, so that who follows the log sees it
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = open::duration)]
    tombstone_age: Duration,
    /// Memory for telling keys apart, at least 1M; more keys than fit take several passes
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = open::size)]
    memory: u64,
    /// Bytes to read and write in a second, together, or `none`: as fast as it can
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = rate)]
    rate: Rate,
    #[command(flatten)]
    threads: ThreadsArgs,
    /// Tell keys apart by a hash of 128 bits: less memory for long keys
    #[arg(long)]
    hashed: bool,
    /// Seal the segment that is being written first, so that it is compacted too
    #[arg(long)]
    rotate: bool,
    /// The size of new segments in bytes: smaller ones are joined up to it
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = open::size)]
    segment_bytes: u64,
    /// Read the records and tell which would be dropped, and drop nothing; needs no lock
    #[arg(long)]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Bytes in a second, if they are bounded.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub Option<u64>);

pub fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        text => match open::size(text)? {
            0 => Err("at a rate of 0 nothing would ever happen".to_owned()),
            bytes => Ok(Rate(Some(bytes))),
        },
    }
}

pub fn run(args: &CompactArgs) -> Outcome {
    if args.dry_run {
        return tell_plan(args, &plan::look(args)?);
    }
    let dir = &args.writer.dir;
    let how = CompactOptions::new()
        .tombstone_age_min(args.tombstone_age)
        .memory_bytes_max(usize::try_from(args.memory).unwrap_or(usize::MAX))
        .rate_bytes_per_s(args.rate.0)
        .keys(if args.hashed {
            KeyMatch::Hashed
        } else {
            KeyMatch::Exact
        });
    let options = args.threads.of(open::existing()?);
    let options = options.segment_bytes(args.segment_bytes);
    let log = args.writer.open(options)?;
    let done = rewrite(log, dir, args.rotate, "compact", |log, progress| {
        log.compact_with(&how, progress)
    })?;
    tell(args, &done)
}

/// What became of a log whose segments were written anew.
pub struct Rewritten {
    pub report: CompactReport,
    pub stats: Stats,
    pub elapsed: Duration,
}

impl Rewritten {
    /// What was done where no record is dropped, for scripts.
    pub fn json(&self) -> Value {
        let report = &self.report;
        json!({
            "segments_before": report.segments_before,
            "segments_after": report.segments_after,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "kept_count": report.kept_count,
            "read_bytes": report.progress.read_bytes,
            "written_bytes": report.progress.written_bytes,
            "elapsed_ms": self.elapsed.as_millis() as u64,
        })
    }

    /// The same for people, behind the verb.
    pub fn text(&self) -> String {
        let report = &self.report;
        format!(
            "{}, {}, {} into {}, in {}",
            output::counted(report.segments_before, "segment"),
            output::counted(report.kept_count, "record"),
            output::bytes(report.bytes_before),
            output::bytes(report.bytes_after),
            output::duration(self.elapsed),
        )
    }
}

/// Has the segments of a log written anew, and shows how far that is; then closes it.
pub fn rewrite(
    log: Log,
    dir: &Path,
    rotate: bool,
    what: &'static str,
    work: impl FnOnce(&Log, &mut Telling<'_>) -> cairnlog::Result<CompactReport>,
) -> Outcome<Rewritten> {
    if rotate {
        log.rotate().in_log(dir)?;
    }
    let started = Instant::now();
    let progress = output::progress(what, None);
    let report = work(&log, &mut |at: &CompactProgress| {
        progress.set_position(at.read_bytes + at.written_bytes);
        ControlFlow::Continue(())
    });
    progress.finish_and_clear();
    let report = report.in_log(dir)?;
    let stats = log.stats();
    log.close().in_log(dir)?;
    Ok(Rewritten {
        report,
        stats,
        elapsed: started.elapsed(),
    })
}

/// Hears how far it is.
pub type Telling<'a> = dyn FnMut(&CompactProgress) -> ControlFlow<()> + 'a;

fn tell_plan(args: &CompactArgs, plan: &plan::Plan) -> Outcome {
    let as_json = args.json.then(|| {
        json!({
            "applied": false,
            "dropped_count": plan.dropped_count,
            "dropped_bytes": plan.dropped_bytes,
            "kept_count": plan.kept_count,
            "key_count": plan.key_count,
        })
    });
    stream::report(as_json, |out| {
        writeln!(
            out,
            "compact: would drop {}, {} of keys and values, and keep {}",
            output::counted(plan.dropped_count, "record"),
            output::bytes(plan.dropped_bytes),
            output::count(plan.kept_count)
        )
    })
}

fn tell(args: &CompactArgs, done: &Rewritten) -> Outcome {
    let (report, stats, elapsed) = (&done.report, &done.stats, done.elapsed);
    let as_json = args.json.then(|| {
        json!({
            "segments_before": report.segments_before,
            "segments_after": report.segments_after,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "dropped_count": report.dropped_count,
            "kept_count": report.kept_count,
            "read_bytes": report.progress.read_bytes,
            "written_bytes": report.progress.written_bytes,
            "pass_count": report.progress.pass_count,
            "elapsed_ms": elapsed.as_millis() as u64,
        })
    });
    let time = output::duration(elapsed);
    stream::report(as_json, |out| {
        if report.segments_before > 0 {
            writeln!(
                out,
                "compacted {} into {}, {} into {}: dropped {}, kept {}, in {time}",
                output::counted(report.segments_before, "segment"),
                output::count(report.segments_after),
                output::bytes(report.bytes_before),
                output::bytes(report.bytes_after),
                output::counted(report.dropped_count, "record"),
                output::count(report.kept_count)
            )
        } else if stats.sealed_bytes == 0 {
            writeln!(
                out,
                "compact: no segment is sealed yet; --rotate seals the one that is being written"
            )
        } else {
            let sealed = output::bytes(stats.sealed_bytes);
            writeln!(out, "compact: nothing to drop in {sealed}, in {time}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates() {
        assert_eq!(rate("none").map(|rate| rate.0), Ok(None));
        assert_eq!(rate("4M").map(|rate| rate.0), Ok(Some(4 << 20)));
        assert!(rate("0").is_err());
        assert!(rate("fast").is_err());
    }
}
