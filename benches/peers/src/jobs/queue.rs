//! A queue of jobs: put, taken with a lease, acknowledged; each of the three durable when it returns.

use crate::{
    child::{Sample, Spec},
    engine::{Payloads, Values},
    meter, queues,
};
use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// Jobs that are there before, so that nobody waits for one that another worker puts.
const AHEAD: u64 = 4;

pub fn run(spec: &Spec) -> Result<Sample> {
    let payloads = Payloads::new(spec.payload_bytes);
    let queue = queues::open(&spec.engine, &spec.dir)?;
    let mut workers = (0..spec.threads)
        .map(|_| queue.worker())
        .collect::<Result<Vec<_>>>()?;
    for worker in &mut workers {
        for number in 0..AHEAD {
            worker.put(payloads.at(number))?;
        }
    }
    let meter = meter::Meter::start(&spec.dir)?;
    let deadline = Instant::now() + Duration::from_secs_f64(spec.seconds);
    let mut all = meter::histogram()?;
    let payloads = &payloads;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in &mut workers {
            threads.push(scope.spawn(move || {
                let mut latencies = meter::histogram()?;
                let mut start = Instant::now();
                while start < deadline {
                    worker.put(payloads.at(0))?;
                    worker.take_and_acknowledge()?;
                    let end = Instant::now();
                    latencies.saturating_record((end - start).as_nanos() as u64);
                    start = end;
                }
                Result::<_>::Ok(latencies)
            }));
        }
        for thread in threads {
            all.add(thread.join().map_err(|_| anyhow!("a thread panicked"))??)?;
        }
        Result::<_>::Ok(())
    })?;
    let mut values: Values = meter.stop(all.len(), spec.payload_bytes)?;
    meter::quantiles(&all, &mut values);
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    drop(workers);
    Ok(Sample {
        values,
        latencies: super::append::buckets(&all),
    })
}
