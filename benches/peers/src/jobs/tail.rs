//! How long after a record is durable does a waiting reader have it? In a thread of the same process,
//! and in another process.

use crate::{
    child::{Sample, Spec},
    engine::Values,
    meter, system,
};
use anyhow::{Context, Result, anyhow, ensure};
use cairnlog::{Log, Reader, TailReader};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Time between two appends, so that the reader waits again.
const PAUSE: Duration = Duration::from_micros(700);

/// The moments at which it saw so many records.
fn watch(mut tail: TailReader, count: usize) -> Result<Vec<u64>> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        tail.next().context("the log was closed")??;
        seen.push(system::monotonic_ns());
    }
    Ok(seen)
}

/// The moments before and after each append.
fn append(log: &Log, payload: &[u8], count: usize) -> Result<Vec<(u64, u64)>> {
    let mut moments = Vec::with_capacity(count);
    for _ in 0..count {
        std::thread::sleep(PAUSE);
        let before = system::monotonic_ns();
        log.append(payload)?;
        moments.push((before, system::monotonic_ns()));
    }
    Ok(moments)
}

fn count(spec: &Spec) -> usize {
    ((spec.seconds / PAUSE.as_secs_f64() / 2.0) as usize).max(50)
}

pub fn here(spec: &Spec) -> Result<Sample> {
    let log = Log::open(spec.dir.join("log"))?;
    compare_here(&log, &vec![7; spec.payload_bytes], count(spec))
}

/// With a tail in another thread that waits at the end of this log.
pub fn compare_here(log: &Log, payload: &[u8], count: usize) -> Result<Sample> {
    let tail = log.tail(log.durable_seq());
    let (moments, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(tail, count));
        (append(log, payload, count), watcher.join())
    });
    let seen = seen.map_err(|_| anyhow!("the reader panicked"))??;
    compare(&moments?, &seen)
}

pub fn elsewhere(spec: &Spec) -> Result<Sample> {
    let path = spec.dir.join("log");
    let log = Log::open(&path)?;
    let mut other = Command::new(std::env::current_exe()?)
        .args(["follow", path.to_str().context("a path in UTF-8")?])
        .arg(count(spec).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = other.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    ensure!(
        lines.next().transpose()?.as_deref() == Some("ready"),
        "the other process is not ready"
    );
    let moments = append(&log, &vec![7; spec.payload_bytes], count(spec))?;
    let seen = lines
        .map(|line| Ok(line?.parse()?))
        .collect::<Result<Vec<u64>>>()?;
    ensure!(other.wait()?.success(), "the other process failed");
    compare(&moments, &seen)
}

/// The other process: says when it is ready, and at the end what it saw when.
pub fn follow(path: &Path, count: usize) -> Result<()> {
    let tail = Reader::open(path)?.tail(0);
    println!("ready");
    std::io::stdout().flush()?;
    for moment in watch(tail, count)? {
        println!("{moment}");
    }
    Ok(())
}

fn compare(moments: &[(u64, u64)], seen: &[u64]) -> Result<Sample> {
    ensure!(
        moments.len() == seen.len(),
        "{} appended, {} seen",
        moments.len(),
        seen.len()
    );
    let (mut after, mut total) = (meter::histogram()?, meter::histogram()?);
    for ((before, durable), seen) in moments.iter().zip(seen) {
        // It may be seen before the append has returned, for both are woken at once. Less than a
        // microsecond counts as one.
        after.saturating_record(seen.saturating_sub(*durable).max(1_000));
        total.saturating_record(seen.saturating_sub(*before));
    }
    let mut values = Values::new();
    meter::quantiles(&after, &mut values);
    values.insert(
        "total_p50_us".into(),
        total.value_at_quantile(0.5) as f64 / 1e3,
    );
    values.insert("records".into(), seen.len() as f64);
    Ok(Sample {
        values,
        latencies: super::append::buckets(&after),
    })
}
