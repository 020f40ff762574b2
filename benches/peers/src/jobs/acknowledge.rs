//! Acknowledgements by many consumers, and durable appends by as many threads, in turns.

use crate::{
    child::{Sample, Spec},
    engine::{Payloads, Values},
    meter,
};
use anyhow::{Result, anyhow};
use cairnlog::{AppendOptions, Consumer, Durability, Log, NewRecord};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// More records than are acknowledged: the log has to have them.
const RECORDS: u64 = 200_000;
const TURNS: u32 = 4;

pub fn run(spec: &Spec) -> Result<Sample> {
    let log = Log::open(spec.dir.join("log"))?;
    let (payloads, how) = (
        Payloads::new(spec.payload_bytes),
        AppendOptions::new().durability(Durability::Buffered),
    );
    for number in 0..RECORDS {
        log.append_records(&[NewRecord::value(payloads.at(number))], &how)?;
    }
    log.sync()?;
    let names = 0..spec.threads;
    let consumers = names.map(|number| log.consumer(&format!("consumer {number}")));
    let mut workers: Vec<(Consumer, u64)> = consumers
        .map(|consumer| Ok((consumer?, 0)))
        .collect::<Result<_>>()?;
    let (mut acks, mut appends) = (meter::histogram()?, meter::histogram()?);
    let turn = Duration::from_secs_f64(spec.seconds) / TURNS;
    for _ in 0..TURNS {
        together(&mut workers, turn, &mut acks, |(consumer, seq)| {
            consumer.ack(*seq)?;
            *seq += 1;
            Ok(())
        })?;
        together(&mut workers, turn, &mut appends, |_| {
            log.append(payloads.at(0))?;
            Ok(())
        })?;
    }
    let mut values = Values::new();
    let seconds = (turn * TURNS).as_secs_f64();
    let (rate, append_rate) = (acks.len() as f64 / seconds, appends.len() as f64 / seconds);
    values.insert("rate".into(), rate);
    values.insert("append_rate".into(), append_rate);
    values.insert("of_appends".into(), rate / append_rate);
    meter::quantiles(&acks, &mut values);
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    drop(workers);
    log.close()?;
    Ok(Sample {
        values,
        latencies: super::append::buckets(&acks),
    })
}

/// All at once, for a time.
fn together<W: Send>(
    workers: &mut [W],
    time: Duration,
    all: &mut Histogram<u64>,
    once: impl Fn(&mut W) -> Result<()> + Sync,
) -> Result<()> {
    let deadline = Instant::now() + time;
    let once = &once;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            threads.push(scope.spawn(move || {
                let mut latencies = meter::histogram()?;
                let mut start = Instant::now();
                while start < deadline {
                    once(&mut *worker)?;
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
        Ok(())
    })
}
