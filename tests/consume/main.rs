//! Does a consumer get every record, once it is done never again, and do many workers share one cursor?

mod ahead;
mod cursors;
mod delays;
mod edges;
#[path = "../common/gated.rs"]
mod gated;
mod moves;
mod output;
mod queue;
#[cfg(feature = "async")]
mod tasks;
#[path = "../common/unchanged.rs"]
mod unchanged;
mod under_way;
mod waiting;

use cairnlog::{
    Consumer, ErrorKind, Log, Options, Result,
    vfs::sim::{Choice, SimFs},
};
use std::{sync::Arc, time::Duration};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A simulated disk and the options to open a log on it, without threads.
fn sim() -> (SimFs, Options) {
    let disk = SimFs::new(1);
    let options = on(&disk);
    (disk, options)
}

fn on(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .background(false)
        .segment_bytes(1024)
}

/// A log with the values "0", "1", ...
fn filled(options: &Options, count: u64) -> Log {
    let log = options.clone().open("/log").unwrap();
    fill(&log, count);
    log
}

fn fill(log: &Log, count: u64) {
    for _ in 0..count {
        log.append(log.next_seq().to_string()).unwrap();
    }
}

/// The disk after a power cut, with nothing that is not durable.
fn lost(disk: &SimFs) -> SimFs {
    disk.crash_at(u64::MAX).state(&Choice::lost())
}

/// The seqs of all that a consumer gives by now.
fn rest(consumer: &mut Consumer) -> Vec<u64> {
    let next = || consumer.try_next().unwrap().map(|record| record.seq());
    std::iter::from_fn(next).collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("it is refused").kind()
}
