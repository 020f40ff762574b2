//! What does a compaction do to the appends beside it, and how does its speed compare to a copy?
//!
//! One run, alternating: durable appends of 100 bytes with nothing beside them, and the same while a
//! keyed log of at least 1 GiB, half of it dead, is compacted at the default rate. Then the same
//! compaction as fast as it can, beside a plain copy of the live bytes with its sync.
//! `cargo bench --bench compact`; `CAIRN_COMPACT_MIB=256` for a smaller one.

use cairnlog::{AppendOptions, CompactOptions, Durability, Log, NewRecord};
use std::{
    io::{Read, Write},
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

const VALUE_BYTES: usize = 1000;

/// Every key twice in an order like chance, so that about half of the bytes of each segment are dead.
fn fill(dir: &Path, mib: u64) -> Log {
    let log = Log::options().open(dir.join("log")).unwrap();
    let count = mib * 1024 * 1024 / VALUE_BYTES as u64;
    let value = vec![7; VALUE_BYTES];
    let written = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..count {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let key = (spread % (count / 2)).to_le_bytes();
        log.append_records(&[NewRecord::keyed(&key, &value)], &written)
            .unwrap();
    }
    log.rotate().unwrap();
    log.sync().unwrap();
    log
}

/// The latencies of durable appends, until told to stop.
fn appends(log: &Log, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        log.append([1; 100]).unwrap();
        times.push(start.elapsed());
    }
    times
}

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Appends while the compaction is let go on and held, in turns.
fn beside(log: &Log) -> (Vec<Duration>, Vec<Duration>, Duration) {
    const TURN: Duration = Duration::from_millis(500);
    let (held, turn) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let go_on = |_: &cairnlog::CompactProgress| {
                while held.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                ControlFlow::Continue(())
            };
            let report = log.compact_with(&CompactOptions::new(), go_on).unwrap();
            assert!(!report.stopped && report.dropped_count > 0);
            println!("{report:?}");
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let hold = turn.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            held.store(hold, Ordering::Relaxed);
            let stop = AtomicBool::new(false);
            let times = std::thread::scope(|scope| {
                let measured = scope.spawn(|| appends(log, &stop));
                std::thread::sleep(TURN);
                stop.store(true, Ordering::Relaxed);
                measured.join().unwrap()
            });
            if hold { &mut alone } else { &mut together }.extend(times);
        }
        held.store(false, Ordering::Relaxed);
    });
    (alone, together, started.elapsed())
}

/// A plain copy of so many bytes of a file, in large pieces, with a sync at the end.
fn copy(dir: &Path, from: &Path, bytes: u64) -> Duration {
    let start = Instant::now();
    let mut to = std::fs::File::create(dir.join("copy")).unwrap();
    let mut left = bytes;
    let mut buffer = vec![0; 1 << 20];
    let mut names: Vec<_> = std::fs::read_dir(from)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    for name in names
        .iter()
        .filter(|name| name.extension().is_some_and(|e| e == "seg"))
    {
        let mut file = std::fs::File::open(name).unwrap();
        while left > 0 {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            let read = read.min(usize::try_from(left).unwrap());
            to.write_all(&buffer[..read]).unwrap();
            left -= read as u64;
        }
    }
    to.sync_all().unwrap();
    start.elapsed()
}

fn main() {
    let mib = std::env::var("CAIRN_COMPACT_MIB").map_or(1024, |mib| mib.parse().unwrap());
    let root = std::env::current_dir().unwrap().join("target");
    let dir = tempfile::tempdir_in(root).unwrap();
    let log = fill(dir.path(), mib);
    let (mut alone, mut together, time) = beside(&log);
    println!(
        "compaction of {mib} MiB at the default rate, in turns: {:.1} s",
        time.as_secs_f64()
    );
    for (name, times) in [("alone", &mut alone), ("beside", &mut together)] {
        println!(
            "appends {name}: {} of them, median {:?}, p99 {:?}, p99.9 {:?}",
            times.len(),
            quantile(times, 0.5),
            quantile(times, 0.99),
            quantile(times, 0.999)
        );
    }
    let ratio =
        quantile(&mut together, 0.99).as_secs_f64() / quantile(&mut alone, 0.99).as_secs_f64();
    println!("p99 beside / alone: {ratio:.2}");
    log.close().unwrap();
    drop(log);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();

    let log = fill(dir.path(), mib);
    let start = Instant::now();
    log.compact(&CompactOptions::new().rate_bytes_per_s(None))
        .unwrap();
    let compacted = start.elapsed();
    let live_bytes = log.stats().sealed_bytes;
    let copied = copy(dir.path(), &dir.path().join("log"), live_bytes);
    println!(
        "compaction as fast as it can: {:.2} s, a copy of the live bytes: {:.2} s, ratio {:.2}",
        compacted.as_secs_f64(),
        copied.as_secs_f64(),
        copied.as_secs_f64() / compacted.as_secs_f64()
    );
}
