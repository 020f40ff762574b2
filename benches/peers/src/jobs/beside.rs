//! Durable appends beside a pass over sealed segments that goes on and is held in turns, so that both are
//! measured in the same minute.

use super::append;
use crate::{
    engine::{Payloads, Values, Writer},
    meter,
};
use anyhow::{Result, anyhow, ensure};
use cairnlog::{CompactReport, Log};
use hdrhistogram::Histogram;
use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const APPENDED_BYTES: usize = 100;
const TURN: Duration = Duration::from_millis(250);

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

/// Latencies of appends while the pass is held, and while it goes on. The pass calls back between its steps.
pub fn appends(
    log: &Log,
    pass: impl FnOnce(&mut dyn FnMut() -> ControlFlow<()>) -> cairnlog::Result<CompactReport> + Send,
) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let (hold, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut held, mut going) = (meter::histogram()?, meter::histogram()?);
    let payloads = Payloads::new(APPENDED_BYTES);
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| {
            let report = pass(&mut || {
                while hold.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                ControlFlow::Continue(())
            });
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
        let report = pass.join().map_err(|_| anyhow!("the pass panicked"))??;
        ensure!(!report.stopped, "the pass was stopped");
        outcome
    })?;
    ensure!(
        !held.is_empty() && !going.is_empty(),
        "too small to be measured"
    );
    Ok((held, going))
}

/// The quantiles of both.
pub fn quantiles(held: &Histogram<u64>, going: &Histogram<u64>, values: &mut Values) {
    for (name, latencies) in [("held", held), ("beside", going)] {
        let us = |share| latencies.value_at_quantile(share) as f64 / 1e3;
        values.insert(format!("{name}_p50_us"), us(0.5));
        values.insert(format!("{name}_p99_us"), us(0.99));
    }
}
