//! What a copy costs: a log is filled beside a replicator, copied, restored and compared.
//!
//! `cargo run --release -p cairnlog-object-store --example measure -- URL DIRECTORY BYTES`: how many bytes of records are
//! appended; `check-s3` runs it against an S3 server. Prints bytes put for each byte appended, requests for each GiB, the 50th
//! and 99th percentile of durable appends with and without the replicator, and the most memory that the process had.

use cairnlog::{Log, NewRecord, Options, ReadMode};
use cairnlog_object_store::{
    CopyOptions, RemoteReader, Replicator, ReplicatorOptions, Store, To, restore,
};
use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

/// A record, and how many are appended at a time.
const RECORD_BYTES: usize = 1000;
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, url, directory, bytes] = &arguments[..] else {
        return Err("URL DIRECTORY BYTES".into());
    };
    let (directory, bytes): (&Path, u64) = (Path::new(directory), bytes.parse()?);
    std::fs::create_dir_all(directory)?;
    let store = Store::open(url)?;

    let alone = fill(&directory.join("alone"), bytes / 4)?;
    tell("durable appends alone", &alone);

    let log = by_position().open(directory.join("log"))?;
    let options = ReplicatorOptions::new()
        .interval(Duration::from_secs(1))
        .copy(CopyOptions::new().keep(Duration::from_secs(60)));
    let replicator = Replicator::start(&log, &store, options)?;
    let begun = Instant::now();
    let beside = append(&log, bytes)?;
    tell("durable appends beside it", &beside);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "appended: {:.0} MB/s, behind by {} bytes",
        bytes as f64 / 1e6 / seconds,
        replicator.status().lag_bytes
    );
    let last = log.next_seq() - 1;
    assert!(replicator.wait_for(last, Some(Duration::from_secs(1200)))?);
    println!(
        "copied: {:.0} MB/s",
        bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
    );
    let status = replicator.stop();
    let stored = log.stats().frame_bytes as f64;
    println!(
        "bytes put for each byte stored: {:.3}",
        status.put_bytes as f64 / stored
    );
    let gib = stored / f64::from(1 << 30);
    println!(
        "requests for each GiB: {:.0}, in {} commits",
        status.request_count as f64 / gib,
        status.commit_count
    );

    let begun = Instant::now();
    restore(&store, directory.join("restored"), To::Latest)?;
    println!(
        "restored and verified: {:.0} MB/s",
        stored / 1e6 / begun.elapsed().as_secs_f64()
    );
    same(&log, &directory.join("restored"))?;
    let begun = Instant::now();
    let count = RemoteReader::open(&store)?.scan(..)?.count();
    println!(
        "read from afar: {count} records, {:.0} MB/s",
        stored / 1e6 / begun.elapsed().as_secs_f64()
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!(
        "{}",
        status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default()
    );
    Ok(())
}

/// What is mapped counts as memory of the process, and is none that it holds.
fn by_position() -> Options {
    Log::options().read_mode(ReadMode::Positional)
}

fn fill(path: &Path, bytes: u64) -> Result<Vec<Duration>, Box<dyn Error>> {
    append(&by_position().open(path)?, bytes)
}

/// Appends batches durably, and gives how long each took.
fn append(log: &Log, bytes: u64) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::new();
    let mut noise = 1u64;
    let mut records = vec![vec![0; RECORD_BYTES]; BATCH];
    for _ in 0..bytes / (RECORD_BYTES * BATCH) as u64 {
        for byte in records.iter_mut().flatten() {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (noise >> 56) as u8;
        }
        let records: Vec<_> = records.iter().map(NewRecord::value).collect();
        let begun = Instant::now();
        log.append_records(&records, &cairnlog::AppendOptions::new())?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}

fn tell(what: &str, times: &[Duration]) {
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.2} ms, 99th percentile {:.2} ms",
        at(50),
        at(99)
    );
}

fn same(log: &Log, path: &Path) -> Result<(), Box<dyn Error>> {
    let restored = by_position().open(path)?;
    let (mut one, mut other) = (log.scan(..)?, restored.scan(..)?);
    let mut count = 0u64;
    loop {
        match (one.next_ref().transpose()?, other.next_ref().transpose()?) {
            (Some(a), Some(b)) if a.seq == b.seq && a.value == b.value => count += 1,
            (None, None) => break,
            _ => return Err("they differ".into()),
        }
    }
    println!("identical: {count} records");
    Ok(())
}
