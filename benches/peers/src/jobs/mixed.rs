//! One durable writer beside readers that scan all the time.

use super::append;
use crate::{
    child::{Sample, Spec},
    engine::{self, Level, Payloads, Setup},
    meter::{self, Meter},
};
use anyhow::{Result, anyhow, ensure};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Records per batch while it is filled.
const STRIDE: u64 = 100;

pub fn run(spec: &Spec) -> Result<Sample> {
    let payloads = Payloads::new(spec.payload_bytes);
    let setup = Setup {
        level: Level::Durable,
        payload_bytes: spec.payload_bytes,
        threads: 1,
        group: STRIDE as usize,
        keep: true,
        lets_go: false,
    };
    let log = (engine::find(&spec.engine)?.open)(&spec.dir, &setup)?;
    let mut writer = log.writer(0)?;
    let values = payloads.some(0, STRIDE);
    let count = spec.bytes_max / spec.payload_bytes as u64;
    for _ in 0..count.div_ceil(STRIDE) {
        writer.batch(&values)?;
    }
    let (stop, read_bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let readers = (0..spec.threads)
        .map(|_| log.reader())
        .collect::<Result<Option<Vec<_>>>>()?
        .ok_or_else(|| anyhow!("it has no reader"))?;
    let meter = Meter::start(&spec.dir)?;
    let start = Instant::now();
    let deadline = start + Duration::from_secs_f64(spec.seconds);
    let latencies = std::thread::scope(|scope| {
        let scans: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                let (stop, read_bytes) = (&stop, &read_bytes);
                scope.spawn(move || -> Result<()> {
                    // By the clock, too: where one lock is for all, the writer may never get it, and
                    // so never see that its time is over.
                    while !stop.load(Ordering::Relaxed) && Instant::now() < deadline {
                        let seen = reader.scan()?.ok_or_else(|| anyhow!("it has no scan"))?;
                        ensure!(
                            seen.records >= count,
                            "a scan saw {} of {count}",
                            seen.records
                        );
                        read_bytes.fetch_add(seen.bytes, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let latencies = append::append_until(&mut *writer, &payloads, 1, deadline);
        stop.store(true, Ordering::Relaxed);
        for scan in scans {
            scan.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        latencies
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let mut values = meter.stop(latencies.len(), spec.payload_bytes)?;
    // Readers finish their last scan after the time box; the writer does not go on meanwhile.
    values.insert("rate".into(), latencies.len() as f64 / spec.seconds);
    let read = read_bytes.load(Ordering::Relaxed) as f64;
    values.insert("read_bytes_per_s".into(), read / seconds);
    meter::quantiles(&latencies, &mut values);
    drop(writer);
    log.close()?;
    Ok(Sample {
        values,
        latencies: append::buckets(&latencies),
    })
}
