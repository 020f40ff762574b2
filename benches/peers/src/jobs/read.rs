//! Filling a log, opening it after a clean close or a kill, and reading it.

use crate::{
    child::{Job, Sample, Spec},
    engine::{self, Engine, Level, Payloads, Reader, Setup, Values},
    meter, system,
};
use anyhow::{Context, Result, ensure};
use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Records handed over at once while filling.
const STRIDE: u64 = 1000;
/// Records appended durably by a process before it is killed.
const LAST_WORDS: u64 = 10;

fn open(spec: &Spec, level: Level) -> Result<Box<dyn Engine>> {
    let setup = Setup {
        level,
        payload_bytes: spec.payload_bytes,
        threads: 1,
        group: 1,
        keep: true,
        lets_go: false,
    };
    (engine::find(&spec.engine)?.open)(&spec.dir, &setup)
}

/// Appends up to `bytes_max` or for the time box, and syncs. By batches where there is no other way.
pub fn append_all(spec: &Spec, log: &dyn Engine, level: Level) -> Result<u64> {
    let payloads = Payloads::new(spec.payload_bytes);
    let values = payloads.some(0, STRIDE);
    let mut writer = log.writer(0)?;
    let (start, mut count) = (Instant::now(), 0);
    let count_max = spec.bytes_max / spec.payload_bytes as u64;
    while count < count_max && start.elapsed().as_secs_f64() < spec.seconds {
        match level {
            Level::Durable => writer.batch(&values)?,
            _ => writer.append_many(&payloads, count, STRIDE)?,
        }
        count += STRIDE;
    }
    writer.finish()?;
    drop(writer);
    log.sync()?;
    Ok(count)
}

/// The level to fill it with: the cheapest that it has.
pub fn fill_level(engine: &str) -> Result<Level> {
    let levels = engine::find(engine)?.levels;
    levels.last().copied().context("an engine without a level")
}

pub fn fill(spec: &Spec) -> Result<Sample> {
    let level = fill_level(&spec.engine)?;
    let log = open(spec, level)?;
    let count = append_all(spec, &*log, level)?;
    log.close()?;
    let values = Values::from([("records".into(), count as f64)]);
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

/// The same, and dies without a word.
pub fn fill_and_die(spec: &Spec) -> Result<Sample> {
    let level = fill_level(&spec.engine)?;
    let log = open(spec, level)?;
    append_all(spec, &*log, level)?;
    die(Values::new())
}

/// Tells what was measured, and is killed.
fn die(values: Values) -> ! {
    let sample = Sample {
        values,
        latencies: Vec::new(),
    };
    println!("{}", serde_json::to_string(&sample).unwrap_or_default());
    std::io::stdout().flush().ok();
    system::kill_self()
}

/// What a log of one record takes, while it is open.
pub fn fresh(spec: &Spec) -> Result<Sample> {
    let log = open(spec, Level::Durable)?;
    log.writer(0)?
        .append(Payloads::new(spec.payload_bytes).at(0))?;
    let (allocated, lengths) = meter::space(&spec.dir)?;
    log.close()?;
    let values = Values::from([
        ("allocated_bytes".into(), allocated as f64),
        ("length_bytes".into(), lengths as f64),
    ]);
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

fn timed_open(spec: &Spec, values: &mut Values) -> Result<Box<dyn Engine>> {
    let before = meter::memory_mib("VmRSS")?;
    let start = Instant::now();
    let log = open(spec, Level::Durable)?;
    values.insert("open_ms".into(), start.elapsed().as_secs_f64() * 1e3);
    values.insert("open_mib".into(), meter::memory_mib("VmRSS")? - before);
    values.insert("open_peak_mib".into(), meter::memory_mib("VmHWM")? - before);
    let (_, length) = meter::space(&spec.dir)?;
    values.insert("length_bytes".into(), length as f64);
    Ok(log)
}

/// Opens what a killed process left, appends a little, and is killed.
pub fn open_killed(spec: &Spec) -> Result<Sample> {
    let mut values = Values::new();
    let log = timed_open(spec, &mut values)?;
    let (payloads, mut writer) = (Payloads::new(spec.payload_bytes), log.writer(0)?);
    for number in 0..LAST_WORDS {
        writer.append(payloads.at(number))?;
    }
    die(values)
}

/// Opens; scans twice and gets.
pub fn read(spec: &Spec) -> Result<Sample> {
    let mut values = Values::new();
    let log = timed_open(spec, &mut values)?;
    if spec.job == Job::Read
        && let Some(mut reader) = log.reader()?
    {
        let records = scans(spec, &mut *reader, &mut values)?;
        gets(spec, &mut *reader, records, &mut values)?;
    }
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    log.close()?;
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

/// The second pass counts: everything is in memory then.
fn scans(spec: &Spec, reader: &mut dyn Reader, values: &mut Values) -> Result<Option<u64>> {
    let mut records = None;
    for _ in 0..2 {
        let start = Instant::now();
        let Some(seen) = reader.scan()? else {
            return Ok(None);
        };
        let seconds = start.elapsed().as_secs_f64();
        ensure!(
            seen.bytes == seen.records * spec.payload_bytes as u64,
            "bytes are missing: {seen:?}"
        );
        ensure!(seen.records > 0, "nothing was read");
        values.insert("rate".into(), seen.records as f64 / seconds);
        values.insert("bytes_per_s".into(), seen.bytes as f64 / seconds);
        values.insert("records".into(), seen.records as f64);
        records = Some(seen.records);
    }
    Ok(records)
}

/// By numbers like chance: as many as fit the time box, then each timed.
fn gets(
    spec: &Spec,
    reader: &mut dyn Reader,
    records: Option<u64>,
    values: &mut Values,
) -> Result<()> {
    let among = records.unwrap_or(spec.bytes_max / spec.payload_bytes as u64);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut get = |reader: &mut dyn Reader| -> Result<bool> {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match reader.get(state % among)? {
            Some(bytes) => ensure!(bytes == spec.payload_bytes, "a record of {bytes} bytes"),
            None => return Ok(false),
        }
        Ok(true)
    };
    if !get(reader)? {
        return Ok(());
    }
    let box_ = Duration::from_secs_f64(spec.seconds);
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < box_ {
        for _ in 0..16 {
            ensure!(get(reader)?, "a record is missing");
        }
        count += 16;
    }
    values.insert(
        "get_rate".into(),
        count as f64 / start.elapsed().as_secs_f64(),
    );
    let mut each = meter::histogram()?;
    let deadline = Instant::now() + box_ / 2;
    let mut start = Instant::now();
    while start < deadline {
        ensure!(get(reader)?, "a record is missing");
        let end = Instant::now();
        each.saturating_record((end - start).as_nanos() as u64);
        start = end;
    }
    let us = |share| each.value_at_quantile(share) as f64 / 1e3;
    values.insert("get_p50_us".into(), us(0.5));
    values.insert("get_p99_us".into(), us(0.99));
    Ok(())
}
