//! Appending: durable, from one or many threads, single or in batches, kept or let go; and without a sync for
//! each.

use crate::{
    child::{Job, Sample, Spec},
    engine::{self, Level, Payloads, Setup, Values, Writer},
    meter::{self, Meter},
};
use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The share of the time box that is appended before anything is measured.
const WARM_SHARE: f64 = 0.25;
/// Appends between two looks at the clock where each is short. Whoever needs transactions has one of them.
const STRIDE: u64 = 1000;

/// Until its deadline, and how long each append took.
pub fn append_until(
    writer: &mut dyn Writer,
    payloads: &Payloads,
    group: usize,
    deadline: Instant,
) -> Result<Histogram<u64>> {
    append_and(writer, payloads, group, deadline, || Ok(false))
}

/// The same, with something that may be to do after each, which is no part of how long that took.
fn append_and(
    writer: &mut dyn Writer,
    payloads: &Payloads,
    group: usize,
    deadline: Instant,
    after: impl Fn() -> Result<bool>,
) -> Result<Histogram<u64>> {
    let mut latencies = meter::histogram()?;
    let values = payloads.some(0, group as u64);
    let mut start = Instant::now();
    while start < deadline {
        match values.as_slice() {
            [value] => writer.append(value)?,
            values => writer.batch(values)?,
        }
        let end = Instant::now();
        latencies.saturating_record((end - start).as_nanos() as u64);
        start = if after()? { Instant::now() } else { end };
    }
    Ok(latencies)
}

type Writers<'a> = [Box<dyn Writer + Send + 'a>];

/// After so many bytes of payload a log is let go, as okaywal does by itself.
const CHECKPOINT_BYTES: u64 = 12 << 20;

/// Before that many were appended, or so many warm turns are over, nothing has come back that was let go.
const WARM_BYTES: u64 = 48 << 20;
const WARM_TURNS_MAX: u64 = 12;

/// Lets go after each [`CHECKPOINT_BYTES`], whichever thread has appended the last of them.
struct Checkpoints<'a> {
    log: Option<&'a dyn engine::Engine>,
    bytes: AtomicU64,
}

impl Checkpoints<'_> {
    fn after(&self, bytes: u64) -> Result<bool> {
        let Some(log) = self.log else {
            return Ok(false);
        };
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_due = before / CHECKPOINT_BYTES != (before + bytes) / CHECKPOINT_BYTES;
        if is_due {
            log.let_go()?;
        }
        Ok(is_due)
    }
}

/// All threads at once, until the deadline.
fn together(
    writers: &mut Writers<'_>,
    payloads: &Payloads,
    group: usize,
    time: Duration,
    checkpoints: &Checkpoints<'_>,
) -> Result<Vec<Histogram<u64>>> {
    let deadline = Instant::now() + time;
    let bytes = (payloads.at(0).len() * group) as u64;
    let after = || checkpoints.after(bytes);
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || append_and(&mut **writer, payloads, group, deadline, after))
            })
            .collect();
        let join = |it: std::thread::ScopedJoinHandle<'_, _>| {
            it.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

pub fn durable(spec: &Spec) -> Result<Sample> {
    let (payloads, group) = (Payloads::new(spec.payload_bytes), spec.group.max(1));
    let lets_go = spec.job == Job::Checkpoints;
    let setup = Setup {
        level: Level::Durable,
        payload_bytes: spec.payload_bytes,
        threads: spec.threads,
        group,
        keep: false,
        lets_go,
    };
    let log = (engine::find(&spec.engine)?.open)(&spec.dir, &setup)?;
    let mut writers = (0..spec.threads as u64)
        .map(|thread| log.writer(thread))
        .collect::<Result<Vec<_>>>()?;
    let time = Duration::from_secs_f64(spec.seconds);
    let going = Checkpoints {
        log: lets_go.then_some(&*log),
        bytes: AtomicU64::new(0),
    };
    let (warm_time, mut warm) = (time.mul_f64(WARM_SHARE), 0);
    for turn in 0..WARM_TURNS_MAX {
        if turn > 0 && (!lets_go || going.bytes.load(Ordering::Relaxed) > WARM_BYTES) {
            break;
        }
        let each = together(&mut writers, &payloads, group, warm_time, &going)?;
        warm += each.iter().map(Histogram::len).sum::<u64>();
    }
    let before = log.counted();
    let meter = Meter::start(&spec.dir)?;
    let each = together(&mut writers, &payloads, group, time, &going)?;
    let mut all = meter::histogram()?;
    for thread in &each {
        all.add(thread)?;
    }
    let records = all.len() * group as u64;
    let mut values = meter.stop(records, spec.payload_bytes)?;
    values.insert("all_records".into(), (records + warm * group as u64) as f64);
    values.extend(grouping(&before, &log.counted()));
    meter::quantiles(&all, &mut values);
    let worst = each
        .iter()
        .map(|thread| thread.value_at_quantile(0.999))
        .max()
        .unwrap_or(0);
    values.insert("worst_thread_p999_us".into(), worst as f64 / 1e3);
    drop(writers);
    finish(log, spec, &mut values)?;
    let latencies = buckets(&all);
    Ok(Sample { values, latencies })
}

/// Upper bounds in microseconds, and how many were at or below.
pub fn buckets(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    histogram
        .iter_log(1_000, 1.25)
        .map(|it| {
            (
                it.value_iterated_to() as f64 / 1e3,
                it.count_since_last_iteration(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Records and syncs of the timed part, by the engine's own count.
fn grouping(before: &Values, after: &Values) -> Values {
    let delta = |name: &str| Some(after.get(name)? - before.get(name)?);
    let mean = delta("records")
        .zip(delta("syncs"))
        .map(|(records, syncs)| records / syncs.max(1.0));
    mean.into_iter()
        .map(|mean| ("group".to_owned(), mean))
        .collect()
}

/// Closes, and adds what is known at the end.
fn finish(log: Box<dyn engine::Engine + '_>, spec: &Spec, values: &mut Values) -> Result<()> {
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    log.close()?;
    let (allocated, lengths) = meter::space(&spec.dir)?;
    values.insert("allocated_bytes".into(), allocated as f64);
    values.insert("length_bytes".into(), lengths as f64);
    Ok(())
}

/// As many as fit the time box or `bytes_max`, then one sync.
pub fn unsynced(spec: &Spec) -> Result<Sample> {
    let payloads = Payloads::new(spec.payload_bytes);
    let level = if spec.job == Job::Written {
        Level::Written
    } else {
        Level::Buffered
    };
    let setup = Setup {
        level,
        payload_bytes: spec.payload_bytes,
        threads: spec.threads,
        group: 1,
        keep: true,
        lets_go: false,
    };
    let log = (engine::find(&spec.engine)?.open)(&spec.dir, &setup)?;
    let mut writer = log.writer(0)?;
    let count_max = spec.bytes_max / spec.payload_bytes as u64;
    let meter = Meter::start(&spec.dir)?;
    let start = Instant::now();
    let mut count = 0;
    while count < count_max && start.elapsed().as_secs_f64() < spec.seconds {
        writer.append_many(&payloads, count, STRIDE)?;
        count += STRIDE;
    }
    let handed_over = start.elapsed().as_secs_f64();
    writer.finish()?;
    drop(writer);
    log.sync()?;
    let mut values = meter.stop(count, spec.payload_bytes)?;
    values.insert("handed_over_rate".into(), count as f64 / handed_over);
    values.insert(
        "payload_bytes".into(),
        (count * spec.payload_bytes as u64) as f64,
    );
    values.insert("capped".into(), f64::from(u8::from(count < count_max)));
    finish(log, spec, &mut values)?;
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}
