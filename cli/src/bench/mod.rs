//! `cairn bench`: what a durable append costs on a disk, and whether that disk's syncs can be true.
//! `disk` says what is known of the disk, `judge` what follows from it.

mod disk;
mod judge;

pub use disk::file_system;

use crate::{
    exit::{About, Failure, In, Outcome},
    open, output, process, stream,
};
use cairnlog::Log;
use clap::Args;
use disk::Disk;
use judge::judge;
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub const EXAMPLES: &str = "\
Makes a directory of its own beside whatever is in DIR, and removes it in the end. It measures a bare
write with a sync, which is the floor, then appends one by one, then appends of many threads, which share
syncs. A sync that is faster than the disk can be is no sync: then a power cut loses what was acknowledged,
whatever program wrote it.

Examples:
  cairn bench .
  cairn bench . --seconds 0.2 --threads 4 --record-bytes 1000 --json";

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// A directory on the disk in question
    dir: PathBuf,
    /// How long each of the three measurements takes
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = open::duration)]
    seconds: Duration,
    /// Bytes of a record
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = open::size)]
    record_bytes: u64,
    /// Threads that append at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// Print what was measured as JSON
    #[arg(long)]
    json: bool,
}

/// The directory of a measurement, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(dir: &Path) -> Outcome<Self> {
        let place = dir.join(format!("cairn-bench-{}", std::process::id()));
        fs::create_dir(&place).about(place.display())?;
        Ok(Self(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            stream::note!("cairn: bench: {}: {error}", self.0.display());
        }
    }
}

/// How long each of many took.
struct Times {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>, elapsed: Duration) -> Self {
        times.sort_unstable();
        Self {
            sorted: times,
            elapsed,
        }
    }

    fn at(&self, percent: usize) -> Duration {
        output::percentile(&self.sorted, percent).unwrap_or_default()
    }

    fn per_second(&self) -> u64 {
        output::per_second(self.sorted.len() as u64, self.elapsed)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "count": self.sorted.len(),
            "per_second": self.per_second(),
            "p50_us": self.at(50).as_micros() as u64,
            "p99_us": self.at(99).as_micros() as u64,
        })
    }

    fn tell(&self, out: &mut dyn Write, what: &str) -> io::Result<()> {
        writeln!(
            out,
            "{what:<34} {:>9}/s   p50 {:>9}   p99 {:>9}",
            output::count(self.per_second()),
            output::duration(self.at(50)),
            output::duration(self.at(99))
        )
    }
}

pub fn run(args: &BenchArgs) -> Outcome {
    let place = Place::new(&args.dir)?;
    let bytes = usize::try_from(args.record_bytes).unwrap_or(usize::MAX);
    let Some(record) = (bytes <= crate::input::RECORD_BYTES_MAX).then(|| vec![b'x'; bytes]) else {
        let text = "bench: a record of so many bytes cannot be appended";
        return Err(Failure::Usage(text.to_owned()));
    };
    let bare = bare_syncs(args, &place.0, &record)?;
    let dir = place.0.join("log");
    let log = open::options()?.open(&dir).in_log(&dir)?;
    let (single, _) = appends(args, &log, &dir, &record, 1)?;
    let (shared, syncs) = appends(args, &log, &dir, &record, args.threads)?;
    log.close().in_log(&dir)?;
    drop(log);
    let disk = Disk::of(&place.0);
    let verdict = judge(&disk, bare.at(50));
    drop(place);
    let as_json = args.json.then(|| {
        json!({
            "file_system": disk.file_system,
            "device": disk.device,
            "rotational": disk.is_rotational,
            "write_cache": disk.write_cache,
            "bare_sync": bare.json(),
            "append": single.json(),
            "append_shared": shared.json(),
            "threads": args.threads,
            "appends_per_sync": shared.sorted.len() as f64 / syncs.max(1) as f64,
            "plausible": verdict.is_plausible,
            "verdict": verdict.text,
        })
    });
    if as_json.is_none() && stream::is_quiet() {
        return Ok(());
    }
    stream::report(as_json, |out| {
        writeln!(out, "disk: {disk}\n")?;
        bare.tell(out, "a write and a sync, bare")?;
        single.tell(out, "a durable append, one by one")?;
        let what = format!("durable appends of {} threads", args.threads);
        shared.tell(out, &what)?;
        let group = shared.sorted.len() as f64 / syncs.max(1) as f64;
        writeln!(out, "\n{group:.1} appends share a sync. {}", verdict.text)
    })
}

/// The floor: what a write and its sync cost without any log.
fn bare_syncs(args: &BenchArgs, place: &Path, record: &[u8]) -> Outcome<Times> {
    let path = place.join("bare");
    let what = path.display().to_string();
    let file = File::create(&path).about(&what)?;
    // The space is there beforehand, as in a log.
    let zeros = vec![0; 4 << 20];
    file.write_all_at(&zeros, 0).about(&what)?;
    file.sync_all().about(&what)?;
    let room = zeros.len().saturating_sub(record.len()).max(1) as u64;
    let (mut times, started) = (Vec::new(), Instant::now());
    let mut offset = 0;
    while started.elapsed() < args.seconds || times.is_empty() {
        let before = Instant::now();
        file.write_all_at(record, offset % room).about(&what)?;
        // DURABILITY: nothing hangs on it; it is what is measured.
        file.sync_data().about(&what)?;
        times.push(before.elapsed());
        offset += record.len() as u64;
    }
    Ok(Times::of(times, started.elapsed()))
}

/// Durable appends of so many threads, each waiting for its own. Gives also how many syncs it took.
fn appends(
    args: &BenchArgs,
    log: &Log,
    dir: &Path,
    record: &[u8],
    threads: u8,
) -> Outcome<(Times, u64)> {
    let (before, started) = (log.stats().sync_count, Instant::now());
    let work = || {
        let mut times = Vec::new();
        while started.elapsed() < args.seconds || times.is_empty() {
            let before = Instant::now();
            log.append(record)?;
            times.push(before.elapsed());
        }
        Ok(times)
    };
    let times = thread::scope(|scope| {
        let spawn = |_| process::thread()?.spawn_scoped(scope, work);
        let spawned: io::Result<Vec<_>> = (0..threads).map(spawn).collect();
        let mut all = Vec::new();
        for worker in spawned.about("bench: a thread that appends")? {
            let panicked = |_| Failure::Said("bench: a thread panicked".to_owned());
            all.extend(worker.join().map_err(panicked)?.in_log(dir)?);
        }
        Ok::<_, Failure>(all)
    })?;
    let syncs = log.stats().sync_count - before;
    Ok((Times::of(times, started.elapsed()), syncs))
}
