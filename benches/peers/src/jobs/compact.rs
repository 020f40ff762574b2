//! A keyed log, half of it dead, is compacted: as fast as it can, beside a plain copy of the live
//! bytes; and at the default rate, beside durable appends.

use super::{append, beside};
use crate::{
    child::{Sample, Spec},
    engine::{Payloads, Values},
    meter,
};
use anyhow::{Context, Result, ensure};
use cairnlog::{AppendOptions, CompactOptions, Durability, Log, NewRecord};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

pub fn run(spec: &Spec) -> Result<Sample> {
    let mut values = Values::new();
    let log = fill(spec, "beside")?;
    let options = CompactOptions::new();
    let (held, going) = beside::appends(&log, |step| log.compact_with(&options, |_| step()))?;
    beside::quantiles(&held, &going, &mut values);
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
