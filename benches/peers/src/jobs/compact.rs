//! A keyed log, half of it dead, is compacted: as fast as it can, beside a plain copy of the live
//! bytes; and at the default rate, beside durable appends.

use super::append;
use crate::{
    child::{Sample, Spec},
    engine::{Payloads, Values, Writer},
    meter,
};
use anyhow::{Context, Result, anyhow, ensure};
use cairnlog::{AppendOptions, CompactOptions, Durability, Log, NewRecord};
use hdrhistogram::Histogram;
use std::{
    fs::File,
    io::{Read, Write},
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const APPENDED_BYTES: usize = 100;
/// Compaction goes on and is held in turns, so that both are measured in the same minute.
const TURN: Duration = Duration::from_millis(250);

pub fn run(spec: &Spec) -> Result<Sample> {
    let mut values = Values::new();
    let log = fill(spec, "beside")?;
    let (held, going) = beside(&log)?;
    for (name, latencies) in [("held", &held), ("beside", &going)] {
        let us = |share| latencies.value_at_quantile(share) as f64 / 1e3;
        values.insert(format!("{name}_p50_us"), us(0.5));
        values.insert(format!("{name}_p99_us"), us(0.99));
    }
    remove(log, &spec.dir.join("beside"))?;

    let log = fill(spec, "fast")?;
    let start = Instant::now();
    let report = log.compact(&CompactOptions::new().rate_bytes_per_s(None))?;
    let compacted = start.elapsed();
    ensure!(report.dropped_count > 0, "nothing was dropped");
    let live_bytes = log.stats().sealed_bytes;
    let copied = copy(&spec.dir, live_bytes)?;
    values.insert("rate".into(), live_bytes as f64 / compacted.as_secs_f64());
    values.insert("copy_rate".into(), live_bytes as f64 / copied.as_secs_f64());
    values.insert(
        "copy_ratio".into(),
        copied.as_secs_f64() / compacted.as_secs_f64(),
    );
    values.insert("live_bytes".into(), live_bytes as f64);
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    remove(log, &spec.dir.join("fast"))?;
    Ok(Sample {
        values,
        latencies: append::buckets(&going),
    })
}

fn remove(log: Log, path: &Path) -> Result<()> {
    log.close()?;
    drop(log);
    Ok(std::fs::remove_dir_all(path)?)
}

/// Every key twice in an order like chance, so that about half of the bytes of each segment are dead.
fn fill(spec: &Spec, name: &str) -> Result<Log> {
    let log = Log::open(spec.dir.join(name))?;
    let count = spec.bytes_max / spec.payload_bytes as u64;
    let (payloads, how) = (
        Payloads::new(spec.payload_bytes),
        AppendOptions::new().durability(Durability::Buffered),
    );
    for number in 0..count {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let key = (spread % (count / 2)).to_le_bytes();
        log.append_records(&[NewRecord::keyed(&key, payloads.at(number))], &how)?;
    }
    log.rotate()?;
    log.sync()?;
    Ok(log)
}

struct Appends<'a>(&'a Log);

impl Writer for Appends<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.0.append(value)?;
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.0.append_batch(values)?;
        Ok(())
    }
}

/// Latencies of appends while the compaction is held, and while it goes on.
fn beside(log: &Log) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let (hold, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut held, mut going) = (meter::histogram()?, meter::histogram()?);
    let payloads = Payloads::new(APPENDED_BYTES);
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| {
            let step = |_: &cairnlog::CompactProgress| {
                while hold.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                ControlFlow::Continue(())
            };
            let report = log.compact_with(&CompactOptions::new(), step);
            done.store(true, Ordering::Relaxed);
            report
        });
        let mut turn = || -> Result<()> {
            let into = if hold.load(Ordering::Relaxed) {
                &mut held
            } else {
                &mut going
            };
            let deadline = Instant::now() + TURN;
            Ok(into.add(append::append_until(
                &mut Appends(log),
                &payloads,
                1,
                deadline,
            )?)?)
        };
        let mut outcome = Ok(());
        while !done.load(Ordering::Relaxed) && outcome.is_ok() {
            outcome = turn();
            hold.fetch_xor(true, Ordering::Relaxed);
        }
        hold.store(false, Ordering::Relaxed);
        let report = compaction
            .join()
            .map_err(|_| anyhow!("the compaction panicked"))??;
        ensure!(!report.stopped, "the compaction was stopped");
        outcome
    })?;
    ensure!(
        !held.is_empty() && !going.is_empty(),
        "too small to be measured"
    );
    Ok((held, going))
}

/// A plain copy of so many bytes of the segments, in large pieces, with a sync at the end.
fn copy(dir: &Path, bytes: u64) -> Result<Duration> {
    let mut names = std::fs::read_dir(dir.join("fast"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.extension().is_some_and(|it| it == "seg"));
    names.sort();
    let start = Instant::now();
    let mut to = File::create(dir.join("copy"))?;
    let (mut left, mut buffer) = (bytes, vec![0; 1 << 20]);
    for name in names {
        let mut from = File::open(name)?;
        while left > 0 {
            let read = from.read(&mut buffer)?;
            let wanted = usize::try_from(left).context("more than memory")?.min(read);
            if wanted == 0 {
                break;
            }
            to.write_all(&buffer[..wanted])?;
            left -= wanted as u64;
        }
    }
    to.sync_all()?;
    Ok(start.elapsed())
}
