//! Appending: durable, from one or many threads, single or in batches; and without a sync for each.

use crate::{
    child::{Job, Sample, Spec},
    engine::{self, Level, Payloads, Setup, Values, Writer},
    meter::{self, Meter},
};
use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

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
        start = end;
    }
    Ok(latencies)
}

type Writers<'a> = [Box<dyn Writer + Send + 'a>];

/// All threads at once, until the deadline.
fn together(
    writers: &mut Writers<'_>,
    payloads: &Payloads,
    group: usize,
    time: Duration,
) -> Result<Vec<Histogram<u64>>> {
    let deadline = Instant::now() + time;
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || append_until(&mut **writer, payloads, group, deadline))
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
    let setup = Setup {
        level: Level::Durable,
        payload_bytes: spec.payload_bytes,
        group,
        keep: false,
    };
    let log = (engine::find(&spec.engine)?.open)(&spec.dir, &setup)?;
    let mut writers = (0..spec.threads as u64)
        .map(|thread| log.writer(thread))
        .collect::<Result<Vec<_>>>()?;
    let time = Duration::from_secs_f64(spec.seconds);
    let warm = together(&mut writers, &payloads, group, time.mul_f64(WARM_SHARE))?;
    let warm: u64 = warm.iter().map(Histogram::len).sum();
    let before = log.counted();
    let meter = Meter::start(&spec.dir)?;
    let each = together(&mut writers, &payloads, group, time)?;
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
        group: 1,
        keep: true,
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
