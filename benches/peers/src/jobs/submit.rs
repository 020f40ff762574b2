//! Durable appends that are handed over one after the other by one thread, so many on their way at a time.

use crate::{
    child::{Sample, Spec},
    engine::{self, Level, Payloads, Setup, Submitter},
    meter::{self, Meter},
};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The share of the time box that goes before.
const WARM_SHARE: f64 = 0.25;

pub fn run(spec: &Spec) -> Result<Sample> {
    let setup = Setup {
        level: Level::Durable,
        payload_bytes: spec.payload_bytes,
        threads: spec.threads,
        group: 1,
        keep: false,
        lets_go: false,
    };
    let log = (engine::find(&spec.engine)?.open)(&spec.dir, &setup)?;
    let mut submitter = log.submitter()?.context("nothing can be handed over")?;
    let payloads = Payloads::new(spec.payload_bytes);
    let sample = sample(spec, |time| {
        keep_going(&mut *submitter, &payloads, spec.threads, time)
    })?;
    drop(submitter);
    log.close()?;
    Ok(sample)
}

/// What is measured of somebody who hands over for so long, and says how long each took.
pub fn sample(
    spec: &Spec,
    mut keep_going: impl FnMut(Duration) -> Result<Histogram<u64>>,
) -> Result<Sample> {
    let time = Duration::from_secs_f64(spec.seconds);
    keep_going(time.mul_f64(WARM_SHARE))?;
    let meter = Meter::start(&spec.dir)?;
    let all = keep_going(time)?;
    let mut values = meter.stop(all.len(), spec.payload_bytes)?;
    meter::quantiles(&all, &mut values);
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    let latencies = super::append::buckets(&all);
    Ok(Sample { values, latencies })
}

/// Hands over as long as there is time, and waits for the oldest whenever `depth` are on their way. How long
/// each took from being handed over to being known as durable.
fn keep_going(
    submitter: &mut dyn Submitter,
    payloads: &Payloads,
    depth: usize,
    time: Duration,
) -> Result<Histogram<u64>> {
    let mut latencies = meter::histogram()?;
    let mut on_their_way = VecDeque::with_capacity(depth);
    let mut number = 0;
    let mut now = Instant::now();
    let deadline = now + time;
    while now < deadline || !on_their_way.is_empty() {
        if now < deadline && on_their_way.len() < depth {
            submitter.submit(payloads.at(number))?;
            on_their_way.push_back(now);
            number += 1;
            now = Instant::now();
            continue;
        }
        submitter.wait_for_oldest()?;
        now = Instant::now();
        let start = on_their_way
            .pop_front()
            .context("more were waited for than handed over")?;
        latencies.saturating_record((now - start).as_nanos() as u64);
    }
    Ok(latencies)
}
