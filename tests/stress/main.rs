//! What does a log come to that everybody uses at once, for a long time?
//!
//! Round after round one process writes: threads that append at every level, tasks that are dropped while they
//! wait, producers that repeat themselves, consumers, a queue, streams, backups, compaction, retention and
//! trimming, over one log; two other processes follow it and are killed at any moment. In each second round
//! the writer is a process of its own, and is killed too. After each round every acknowledged record is there,
//! and in the end as many descriptors, threads and mappings are open as in the beginning, and no more memory is in use.
//!
//! `CAIRN_STRESS_S=3600 CAIRN_SEED=1 cargo test --release --all-features --test stress -- --nocapture` goes on
//! for an hour; without it a few seconds.

#![cfg(feature = "async")]

mod acked;
mod held;
mod process;
mod work;

use acked::Acked;
use cairnlog::{Health, Log, Options};
use held::Held;
use process::Process;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Rounds after which nothing grows any more.
const WARM_ROUNDS: u64 = 2;
/// Memory of a round that was busier than those before, in bytes.
const SLACK_BYTES: usize = 64 << 20;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect(variable))
}

fn options() -> Options {
    let retention = cairnlog::Retention::new().bytes_max(48 << 20);
    Log::options().segment_bytes(1 << 20).retention(retention)
}

/// Every record that was acknowledged is there, or was let go of by who may.
fn check(dir: &Path, acked: &mut Acked) {
    let log = options().open(dir).expect("it opens");
    acked.check(&log);
    log.close().expect("closed");
    drop(log);
    let report = options().verify(dir).expect("a report");
    assert_eq!(report.health(), Health::Clean, "{:?}", report.findings);
}

#[test]
fn everything_at_once() {
    if process::is_child() {
        return;
    }
    let (seconds, seed) = (number("CAIRN_STRESS_S", 6), number("CAIRN_SEED", 1));
    let begun = Instant::now();
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("log");
    let (mut acked, mut first, mut round) = (Acked::default(), None, 0);
    while round <= WARM_ROUNDS || begun.elapsed() < Duration::from_secs(seconds) {
        let lasts = Duration::from_millis(600 + (round * 7919 + seed * 104_729) % 900);
        let readers = [0, 1].map(|nth| Process::reader(&dir, nth));
        if round % 2 == 0 {
            let log = options().open(&dir).expect("it opens");
            work::all(&log, place.path(), round, lasts, &mut |ack| acked.take(ack));
            log.close().expect("closed");
        } else {
            let writer = Process::writer(&dir, place.path(), round);
            std::thread::sleep(lasts);
            writer.kill().into_iter().for_each(|ack| acked.take(ack));
        }
        for reader in readers {
            reader.kill();
        }
        check(&dir, &mut acked);
        if round == WARM_ROUNDS {
            first = Some(Held::settled());
        }
        round += 1;
    }
    let (first, last) = (first.expect("warm"), Held::settled());
    println!(
        "{round} rounds, seed {seed}, {} acknowledgements: {first:?}, then {last:?}",
        acked.count()
    );
    assert!(acked.count() > 1000 * round, "hardly anything was done");
    assert!(last.descriptors <= first.descriptors, "{last:?}");
    assert!(last.threads <= first.threads, "{last:?}");
    assert!(last.mappings <= first.mappings, "{last:?}");
    assert!(last.bytes < first.bytes + SLACK_BYTES, "{last:?}");
}
