//! Does retention drop what passes a limit, and only that?

use super::{open, options, put};
use cairnlog::{ErrorKind, Log, Maintained, Retention, vfs::sim::SimFs};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn fill(log: &Log, count: usize) {
    for number in 0..count {
        put(log, "key", &format!("value {number:090}"));
    }
}

#[test]
fn do_bytes_and_numbers_bound_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 200);
    let before = log.stats();
    assert_eq!(log.retain(&Retention::new()).unwrap().segment_count, 0);
    let report = log
        .retain(&Retention::new().bytes_max(before.frame_bytes / 2))
        .unwrap();
    let after = log.stats();
    assert!(
        after.frame_bytes <= before.frame_bytes / 2 && after.frame_bytes * 3 > before.frame_bytes
    );
    assert_eq!(before.frame_bytes - after.frame_bytes, report.frame_bytes);
    assert_eq!(
        (report.head_seq, report.record_count),
        (after.head_seq, after.head_seq)
    );
    assert_eq!(log.get(0).unwrap_err().kind(), ErrorKind::Trimmed);
    // Whole segments only: one that holds record 150 stays.
    let report = log.retain(&Retention::new().seq_min(150)).unwrap();
    assert!(
        report.head_seq <= 150 && report.head_seq > 100,
        "{report:?}"
    );
    assert_eq!(
        log.scan(..).unwrap().next().unwrap().unwrap().seq(),
        report.head_seq
    );
}

#[test]
fn does_maintain_say_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let options = options()
        .retention(Retention::new().bytes_max(4096))
        .compaction(super::now());
    let log = options.open(dir.path().join("log")).unwrap();
    fill(&log, 100);
    let mut did = Vec::new();
    loop {
        match log.maintain().unwrap() {
            Maintained::Nothing => break,
            Maintained::Segments => did.push("segments"),
            Maintained::Retained(report) => {
                assert!(report.segment_count > 0);
                did.push("retained");
            }
            Maintained::Compacted(report) => {
                assert!(report.dropped_count > 0);
                did.push("compacted");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(did, ["segments", "retained", "compacted"]);
    assert!(log.stats().frame_bytes <= 4096);
}

/// Each look read where all cursors stand, also in thousands of logs in which nothing passed a limit.
#[test]
fn is_nothing_read_where_nothing_passes_a_limit() {
    let disk = SimFs::new(1);
    let limits = Retention::new().bytes_max(1 << 20);
    let options = options().retention(limits).vfs(Arc::new(disk.clone()));
    let log = options.open("log").unwrap();
    drop(log.consumer("c").unwrap());
    fill(&log, 200);
    while log.maintain().unwrap() != Maintained::Nothing {}
    let before = disk.trace().len();
    assert_eq!(log.maintain().unwrap(), Maintained::Nothing);
    assert_eq!(disk.trace()[before..], []);
}

#[test]
fn does_the_worker_retain_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Retention::new().age_max(Duration::from_millis(300));
    let options = Log::options().segment_bytes(4096).retention(limits);
    let log = options.open(dir.path().join("log")).unwrap();
    fill(&log, 300);
    log.rotate().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.stats().sealed_bytes > 0 {
        assert!(
            Instant::now() < deadline,
            "{:?} {:?}",
            log.stats(),
            log.worker_error()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(log.head_seq(), log.next_seq());
}

/// Without anybody who waits, what was only written becomes durable within the interval.
#[test]
fn does_the_worker_sync_what_was_only_written() {
    use cairnlog::Durability::{Buffered, Written};
    for level in [Written, Buffered] {
        let dir = tempfile::tempdir().unwrap();
        let interval = Some(Duration::from_millis(50));
        let options = Log::options().durability(level).sync_interval(interval);
        let log = options.open(dir.path().join("log")).unwrap();
        let started = Instant::now();
        for number in 0..5 {
            let seq = log.append(format!("{number}")).unwrap();
            while log.durable_seq() <= seq {
                assert!(started.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Nobody waited for these syncs: there are no more of them than intervals.
        let intervals = started.elapsed().as_millis() / 50 + 1;
        assert!(
            u128::from(log.stats().sync_count) <= 5.min(intervals),
            "{:?}",
            log.stats()
        );
    }
}
