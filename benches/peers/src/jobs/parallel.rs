//! A scan and a verification of a log that is in the cache, by one thread and by several.

use crate::{
    child::{Sample, Spec},
    engine::Values,
    meter,
};
use anyhow::{Context, Result, anyhow, ensure};
use cairnlog::{Log, Options, Scan};
use std::time::Instant;

pub fn run(spec: &Spec) -> Result<Sample> {
    let path = spec.dir.join("log");
    let log = Log::open(&path)?;
    let count = log.next_seq();
    let one = |scan: Scan| add_up(scan);
    // The first pass fetches what is not in memory.
    ensure!(
        one(log.scan(..)?)? == count,
        "the scan showed other records"
    );
    let mut values = Values::new();
    let start = Instant::now();
    ensure!(
        one(log.scan(..)?)? == count,
        "the scan showed other records"
    );
    values.insert("scan_one_s".into(), start.elapsed().as_secs_f64());

    let start = Instant::now();
    let parts = log.reader().split(.., spec.threads)?;
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(|| add_up(part)))
            .collect();
        let join = |it: std::thread::ScopedJoinHandle<'_, Result<u64>>| {
            it.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        threads.into_iter().map(join).sum::<Result<u64>>()
    })?;
    ensure!(seen == count, "the parts showed other records");
    values.insert("scan_many_s".into(), start.elapsed().as_secs_f64());
    log.close()?;
    drop(log);

    for (name, threads) in [("verify_one_s", 1), ("verify_many_s", spec.threads)] {
        let start = Instant::now();
        let report = Options::new().threads(threads).verify(&path)?;
        ensure!(report.record_count == count, "other records were verified");
        values.insert(name.into(), start.elapsed().as_secs_f64());
    }
    let bytes = count as f64 * spec.payload_bytes as f64;
    for what in ["scan", "verify"] {
        let get = |name: &str| values.get(&format!("{what}_{name}_s")).copied();
        let (one, many) = get("one").zip(get("many")).context("not measured")?;
        values.insert(format!("{what}_rate"), bytes / one);
        values.insert(format!("{what}_many_rate"), bytes / many);
        values.insert(format!("{what}_gain"), one / many);
    }
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

fn add_up(mut scan: Scan) -> Result<u64> {
    let (mut count, mut bytes) = (0, 0);
    while let Some(record) = scan.next_ref() {
        bytes += record?.value.map_or(0, <[u8]>::len);
        count += 1;
    }
    std::hint::black_box(bytes);
    Ok(count)
}
