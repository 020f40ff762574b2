//! Is what is told to be in the store there, whatever fails from some request on, and is a writer that was replaced told so
//! before it tells anything?
//!
//! Some of these stand here because a planted bug of the kind was seen by no test (`tests/planted`).

mod common;

use cairnlog::{ErrorKind, Log, format::names, vfs::sim::SimFs};
use cairnlog_object_store::{Copier, CopyOptions, Error, Replicator, ReplicatorOptions, Store};
use common::{
    faulty::{Fault, Faulty},
    on, over, store,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

fn fill(log: &Log, count: u64) {
    for _ in 0..count {
        let value = format!("value {} ", log.next_seq()).repeat(20);
        log.append(value).unwrap();
        while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    }
}

fn start(log: &Log, store: &Store) -> Copier {
    let now = CopyOptions::new().keep(Duration::ZERO);
    Copier::start(log.stored().unwrap(), store, now).unwrap()
}

/// Copies so many times, with something new each time, and deletes what may be.
fn copy_on(log: &Log, copier: &mut Copier, times: u64) {
    for _ in 0..times {
        fill(log, 1);
        copier.step().unwrap();
        while copier.collect().unwrap() {}
    }
}

/// Up to where the log is in the store.
fn end_in(faulty: &Arc<Faulty>) -> u64 {
    let moments = over(&faulty.fork()).moments().unwrap();
    moments.last().map_or(0, |it| it.end_seq)
}

#[test]
fn is_what_a_copier_tells_there_whatever_fails_from_some_request_on() {
    for left in 0..12 {
        let disk = SimFs::new(left);
        let (store, faulty) = store();
        let log = on(&disk).open("/log").unwrap();
        let mut copier = start(&log, &store);
        copy_on(&log, &mut copier, 2);
        let failing = faulty.request_count() + left;
        faulty.plan(move |number| match number < failing {
            true => Fault::None,
            false => Fault::Error,
        });
        for _ in 0..4 {
            fill(&log, 3);
            copier.step().ok();
            assert!(copier.end_seq() <= end_in(&faulty), "{left} requests");
        }
        faulty.plan(|_| Fault::None);
        copier.step().unwrap();
        assert_eq!((copier.end_seq(), end_in(&faulty)), (14, 14));
    }
}

#[test]
fn is_what_a_replicator_tells_there_whatever_fails_from_some_request_on() {
    for left in 0..8 {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (store, faulty) = store();
        let log = Log::open(dir.path().join("log")).unwrap();
        let how = ReplicatorOptions::new().interval(Duration::from_secs(3600));
        let replicator = Replicator::start(&log, &store, how).unwrap();
        let seq = log.append("first").unwrap();
        assert!(replicator.wait_for(seq, None).unwrap());
        let failing = faulty.request_count() + left;
        faulty.plan(move |number| match number < failing {
            true => Fault::None,
            false => Fault::Error,
        });
        let seq = log.append("second").unwrap();
        let told = replicator.wait_for(seq, Some(Duration::from_millis(100)));
        if told.unwrap() {
            assert_eq!(end_in(&faulty), 2, "told after {left} requests");
        }
        faulty.plan(|_| Fault::None);
        assert!(replicator.wait_for(seq, None).unwrap());
        assert_eq!(end_in(&faulty), 2);
    }
}

/// Whoever takes over has committed nothing of its own by then, and nothing stands above what the other puts.
#[test]
fn is_a_writer_fenced_off_as_soon_as_another_has_begun() {
    let disk = SimFs::new(6);
    let (store, faulty) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut replaced = start(&log, &store);
    copy_on(&log, &mut replaced, 2);
    let mut other = start(&log, &store);
    fill(&log, 1);
    for _ in 0..2 {
        let fenced = replaced.step().unwrap_err();
        assert!(matches!(fenced, Error::Fenced { epoch: 2 }), "{fenced}");
        assert_eq!((replaced.end_seq(), end_in(&faulty)), (2, 2));
    }
    assert!(other.step().unwrap());
    assert_eq!(end_in(&faulty), 3);
}

/// A number that is used is not free, though it is old and the lists are late.
#[test]
fn is_a_writer_that_stalled_fenced_off_though_lists_are_late() {
    let disk = SimFs::new(1);
    let (store, faulty) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut stalled = start(&log, &store);
    copy_on(&log, &mut stalled, 1);
    let mut other = start(&log, &store);
    copy_on(&log, &mut other, 12);
    faulty.plan(|_| Fault::Stale);
    fill(&log, 1);
    let fenced = stalled.step().unwrap_err();
    assert!(matches!(fenced, Error::Fenced { epoch: 2 }), "{fenced}");
    assert_eq!(end_in(&faulty), 13);
}

/// Its number may be free again by then.
#[test]
fn is_a_replicator_that_slept_for_long_fenced_off_before_it_tells_anything() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, _) = store();
    let log = Log::open(dir.path().join("log")).unwrap();
    let how = ReplicatorOptions::new().interval(Duration::from_secs(3600));
    let asleep = Replicator::start(&log, &store, how).unwrap();
    let mut other = start(&log, &store);
    copy_on(&log, &mut other, 40);
    let seq = log.append("one more").unwrap();
    let fenced = asleep.wait_for(seq, None).unwrap_err();
    assert!(matches!(fenced, Error::Fenced { epoch: 2 }), "{fenced}");
    assert_eq!(store.moments().unwrap().last().unwrap().end_seq, seq);
}

/// Some stores do not know the condition, and put an object over the one that is there: then the second of two writers puts
/// its commits over those of the first, and each is told that all it has is safe. So it went, until it was tried first.
#[test]
fn is_a_store_refused_that_puts_objects_over_others() {
    let disk = SimFs::new(4);
    let (store, faulty) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut copier = start(&log, &store);
    copy_on(&log, &mut copier, 3);
    let kept = store.moments().unwrap();
    faulty.overwrite();
    for _ in 0..2 {
        let how = CopyOptions::new();
        let refused = Copier::start(log.stored().unwrap(), &store, how).unwrap_err();
        assert!(matches!(refused, Error::Overwrites { .. }), "{refused}");
        assert!(refused.is_final());
    }
    assert_eq!(store.moments().unwrap(), kept);
}

#[test]
fn is_an_empty_store_refused_that_would_put_objects_over_others() {
    let disk = SimFs::new(5);
    let log = on(&disk).open("/log").unwrap();
    fill(&log, 3);
    let (empty, faulty) = store();
    faulty.overwrite();
    let how = ReplicatorOptions::new();
    let refused = Replicator::follow(log.stored().unwrap(), &empty, how).unwrap_err();
    assert!(matches!(refused, Error::Overwrites { .. }), "{refused}");
    assert_eq!(empty.moments().unwrap(), []);
}

/// What does not verify in the log is told, with its segment, and no commit names it; the store has it as it was.
#[test]
fn is_a_sealed_segment_copied_that_does_not_verify() {
    let disk = SimFs::new(2);
    let (store, _) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut copier = start(&log, &store);
    copy_on(&log, &mut copier, 3);
    fill(&log, 40);
    let segments = log.segments().unwrap();
    check_refused(&disk, &mut copier, segments[segments.len() - 2].id);
}

#[test]
fn is_a_tail_copied_that_does_not_verify() {
    let disk = SimFs::new(3);
    let (store, _) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut copier = start(&log, &store);
    copy_on(&log, &mut copier, 3);
    fill(&log, 6);
    let tail = log.segments().unwrap().pop().unwrap();
    assert!(!tail.is_sealed);
    check_refused(&disk, &mut copier, tail.id);
}

/// The replicator says so again and again, tells nobody that more is safe, and goes on once the segment is what it was.
#[test]
fn is_a_segment_that_does_not_verify_told_by_a_replicator() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Log::options()
        .segment_bytes(16 << 10)
        .open(dir.path().join("log"))
        .unwrap();
    fill(&log, 300);
    let first = log.segments().unwrap()[0];
    assert!(first.is_sealed);
    let path = dir.path().join("log").join(names::segment(first.id));
    let whole = std::fs::read(&path).unwrap();
    let turn = |bit: u8| {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[whole[1500] ^ bit], 1500).unwrap();
    };
    turn(4);
    let (store, faulty) = store();
    let how = ReplicatorOptions::new().interval(Duration::from_millis(20));
    let replicator = Replicator::start(&log, &store, how).unwrap();
    let begun = Instant::now();
    let error = loop {
        assert!(
            !replicator
                .wait_for(299, Some(Duration::from_millis(50)))
                .unwrap()
        );
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not told");
        if let Some(error) = replicator.status().last_error {
            break error;
        }
    };
    let Error::Log(error) = error else {
        panic!("{error}");
    };
    assert_eq!(end_in(&faulty), 0);
    assert_eq!(error.place().segment, Some(first.id));
    turn(0);
    assert!(replicator.wait_for(299, None).unwrap());
    assert_eq!(end_in(&faulty), 300);
}

/// Turns a bit over in the middle of a record of the segment, and back again.
fn check_refused(disk: &SimFs, copier: &mut Copier, id: cairnlog::SegmentId) {
    let path = Path::new("/log").join(names::segment(id));
    assert!(disk.flip_bit(&path, 1500, 3));
    for _ in 0..2 {
        let Error::Log(error) = copier.step().unwrap_err() else {
            panic!("it was copied");
        };
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert_eq!(error.place().segment, Some(id));
        assert_eq!(copier.end_seq(), 3);
    }
    assert!(disk.flip_bit(&path, 1500, 3));
    assert!(copier.step().unwrap());
}
