//! What do thousands of logs cost one process, which nearly all rest? A log for each group with one worker for
//! all; beside it one store in which each group has a number.

use crate::{
    child::{Sample, Spec},
    engine::{self, Engine, Level, Payloads, Setup, Values},
    meter, system,
};
use anyhow::{Context, Result};
use cairnlog::{AppendOptions, Log, NewRecord, Options, Worker};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Threads of the worker.
const THREADS: usize = 4;
/// Threads that create the logs: of so many the syncs come together.
const CREATORS: u64 = 16;
/// What is done behind the appends, a watermark for each log among it, is over when so much time has passed with
/// less than so much of a processor's; or nearly, after so many times.
const SETTLES: Duration = Duration::from_secs(1);
const SETTLED: Duration = Duration::from_millis(5);
const SETTLES_MAX: usize = 30;
const RESTS: Duration = Duration::from_secs(10);

pub fn run(spec: &Spec) -> Result<Sample> {
    let before = Held::now()?;
    let begun = Instant::now();
    let groups = Groups::open(spec)?;
    let mut values = Values::from([("create_s".into(), begun.elapsed().as_secs_f64())]);
    let count = spec.size as f64;
    settle()?;
    let fresh = Held::now()?;
    values.insert("threads".into(), fresh.threads);
    values.insert(
        "descriptors".into(),
        (fresh.descriptors - before.descriptors) / count,
    );
    values.insert(
        "memory_bytes".into(),
        (fresh.memory - before.memory) / count,
    );
    values.insert(
        "disk_bytes".into(),
        meter::space(&spec.dir)?.0 as f64 / count,
    );

    let payloads = Payloads::new(spec.payload_bytes);
    let begun = Instant::now();
    groups.append_to_each(spec.size, payloads.at(0))?;
    let each = begun.elapsed().as_secs_f64() / count;
    values.insert("append_us".into(), each * 1e6);
    settle()?;
    let used = Held::now()?;
    values.insert(
        "used_memory_bytes".into(),
        (used.memory - before.memory) / count,
    );
    let cpu = system::cpu()?;
    std::thread::sleep(RESTS);
    let rested = system::cpu()?.saturating_sub(cpu);
    values.insert("idle_cpu_ms".into(), rested.as_secs_f64() * 1e3);
    groups.close()?;

    let begun = Instant::now();
    let groups = Groups::open(spec)?;
    values.insert("open_s".into(), begun.elapsed().as_secs_f64());
    groups.close()?;
    let latencies = Vec::new();
    Ok(Sample { values, latencies })
}

fn settle() -> Result<()> {
    for _ in 0..SETTLES_MAX {
        let before = system::cpu()?;
        std::thread::sleep(SETTLES);
        if system::cpu()?.saturating_sub(before) < SETTLED {
            break;
        }
    }
    Ok(())
}

/// What this process holds.
struct Held {
    threads: f64,
    descriptors: f64,
    /// In use, in bytes.
    memory: f64,
}

impl Held {
    fn now() -> Result<Self> {
        system::return_free_memory();
        let count = |dir| fs::read_dir(dir).map(|entries| entries.count() as f64);
        Ok(Self {
            threads: count("/proc/self/task")?,
            descriptors: count("/proc/self/fd")?,
            memory: meter::memory_mib("VmRSS")? * f64::from(1 << 20),
        })
    }
}

enum Groups {
    Logs(Vec<Log>),
    Store(Box<dyn Engine>),
}

impl Groups {
    fn open(spec: &Spec) -> Result<Self> {
        if spec.engine == "cairn" {
            return open_logs(&spec.dir, spec.size);
        }
        let setup = Setup {
            level: Level::Durable,
            payload_bytes: spec.payload_bytes,
            threads: 1,
            group: 1,
            keep: true,
            lets_go: false,
        };
        let entrant = engine::find(&spec.engine)?;
        Ok(Self::Store((entrant.open)(&spec.dir, &setup)?))
    }

    /// One durable record for each; handed over to all before the first is waited for, where each is a log.
    fn append_to_each(&self, count: u64, value: &[u8]) -> Result<()> {
        match self {
            Self::Logs(logs) => {
                let how = AppendOptions::new();
                let submit = |log: &Log| log.submit(&[NewRecord::value(value)], &how);
                let tickets: Vec<_> = logs.iter().map(submit).collect::<Result<_, _>>()?;
                for ticket in tickets {
                    ticket.wait()?;
                }
            }
            Self::Store(store) => {
                for group in 0..count {
                    let mut writer = store.writer(group)?;
                    writer.append(value)?;
                    writer.finish()?;
                }
            }
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Logs(logs) => Ok(logs.iter().try_for_each(Log::close)?),
            Self::Store(store) => store.close(),
        }
    }
}

/// One after the other, or those that are not there by several threads.
fn open_logs(dir: &Path, count: u64) -> Result<Groups> {
    let options = Options::new().worker(Worker::new(THREADS)?);
    let open = |number| {
        let log = options.clone().open(dir.join(format!("{number}")));
        log.with_context(|| format!("log {number}"))
    };
    let creators = if dir.join("0").exists() { 1 } else { CREATORS };
    let each = |first| {
        (first..count)
            .step_by(creators as usize)
            .map(open)
            .collect()
    };
    let logs: Result<Vec<Vec<Log>>> = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..creators)
            .map(|first| scope.spawn(move || each(first)))
            .collect();
        let join = |creator: std::thread::ScopedJoinHandle<'_, Result<Vec<Log>>>| {
            creator
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?
        };
        creators.into_iter().map(join).collect()
    });
    Ok(Groups::Logs(logs?.into_iter().flatten().collect()))
}
