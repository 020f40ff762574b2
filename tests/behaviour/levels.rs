//! Who reads how early. What a program appended as buffered it could not read itself before somebody wrote it,
//! and it could not ask for that: only a sync, which is what it wanted to be spared, brought it nearer.

use crate::sim;
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Options, Reader,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{thread, time::Duration};

fn buffered() -> AppendOptions {
    AppendOptions::new().durability(Durability::Buffered)
}

fn append(log: &Log, value: &str) -> u64 {
    let seqs = log.append_records(&[NewRecord::value(value)], &buffered());
    seqs.unwrap().start
}

fn syncs(disk: &SimFs) -> usize {
    let is_sync = |kind| matches!(kind, OpKind::Sync | OpKind::SyncDir);
    let all = disk.trace();
    all.iter().filter(|event| is_sync(event.kind)).count()
}

#[test]
fn does_who_asks_for_it_read_its_own_buffered_records_without_a_sync() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    let (own, written) = (
        log.reader().including_buffered(),
        log.reader().including_written(),
    );
    let before = syncs(&disk);
    let seq = append(&log, "a");
    // Nobody else sees it, nor has it written by looking.
    assert_eq!(log.get(seq).unwrap(), None);
    assert_eq!(written.get(seq).unwrap(), None);
    assert_eq!(written.end_seq(), 0);
    assert_eq!(own.get(seq).unwrap().as_deref(), Some(&b"a"[..]));
    assert_eq!(written.end_seq(), 1, "now it is written, for all");
    // By whatever it is asked.
    append(&log, "b");
    assert_eq!(own.end_seq(), 2);
    append(&log, "c");
    assert_eq!(own.scan(..).unwrap().count(), 3);
    append(&log, "d");
    assert_eq!(own.last().unwrap().unwrap().seq(), 3);
    let mut tail = own.tail(4);
    append(&log, "e");
    assert_eq!(tail.try_next().unwrap().unwrap().seq(), 4);
    assert!(tail.try_next().unwrap().is_none());
    append(&log, "f");
    assert!(own.wait_for(5, None).unwrap());
    log.append_records(&[NewRecord::keyed("k", "g")], &buffered())
        .unwrap();
    assert_eq!(own.latest(b"k", ..).unwrap().unwrap().seq(), 6);
    // Far more than the buffer takes, and over segments that have to be prepared.
    for number in 7..200 {
        append(&log, &format!("{number} {}", "x".repeat(100)));
        if number % 50 == 0 {
            assert_eq!(own.get(number).unwrap().unwrap().seq(), number);
        }
    }
    assert_eq!(own.end_seq(), 200);
    assert_eq!(log.durable_seq(), 0, "nothing of it is durable");
    let segments = log.stats().segment_count;
    assert!(segments > 10, "{segments}");
    drop(log);
    assert_eq!(own.scan(..).unwrap().count(), 200, "closed, and all there");
    assert!(syncs(&disk) > before, "closing syncs");
}

#[test]
fn is_none_of_the_first_segment_synced_for_who_only_reads_it() {
    let (disk, options) = sim();
    let log = options.segment_bytes(1 << 20).open("/log").unwrap();
    let own = log.reader().including_buffered();
    let before = syncs(&disk);
    for number in 0..100 {
        let seq = append(&log, "x");
        assert_eq!(own.get(seq).unwrap().unwrap().seq(), number);
    }
    assert_eq!(syncs(&disk), before);
    disk.power_cut();
    assert_eq!(log.durable_seq(), 0);
}

/// What cannot be written cannot be read either, which is said, and nothing is dropped for having been asked for.
#[test]
fn does_a_full_disk_say_so_to_who_reads_and_keep_what_is_buffered() {
    let (disk, options) = sim();
    let log = options.segment_bytes(1 << 20).open("/log").unwrap();
    log.append("durable").unwrap();
    let own = log.reader().including_buffered();
    disk.set_capacity(Some(disk.used_bytes()));
    let seq = append(&log, &"x".repeat(200_000));
    assert_eq!(own.get(seq).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(own.end_seq(), 1, "as far as it can be shown");
    assert_eq!(log.reader().including_written().get(seq).unwrap(), None);
    assert_eq!(log.next_seq(), 2, "it is still buffered");
    disk.set_capacity(None);
    assert_eq!(own.get(seq).unwrap().unwrap().len(), 200_000);
    log.sync().unwrap();
}

#[test]
fn does_it_hold_beside_a_worker_and_many_who_append() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    let options = Options::new()
        .segment_bytes(64 << 10)
        .buffer_interval(Duration::from_secs(3600));
    let log = options.open(&path).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = log.reader().including_buffered();
                for number in 0..500 {
                    let value = format!("{number} {}", "x".repeat(number % 300));
                    let seq = append(&log, &value);
                    let read = own.get(seq).unwrap().unwrap();
                    assert_eq!(&*read, value.as_bytes());
                }
            });
        }
    });
    // In another process, whose reader this stands for, what is in the memory of ours cannot be had.
    let elsewhere = Reader::open(&path).unwrap().including_buffered();
    assert_eq!(elsewhere.end_seq(), 2000);
    append(&log, "here");
    assert_eq!(elsewhere.end_seq(), 2000);
    log.close().unwrap();
    assert_eq!(elsewhere.end_seq(), 2001);
}

/// After a failed sync nothing is written any more, and who asks for what was buffered does not begin with it again.
#[test]
fn does_it_show_what_is_there_after_a_failed_sync() {
    let (disk, options) = sim();
    let log = options.segment_bytes(1 << 20).open("/log").unwrap();
    log.append("durable").unwrap();
    let own = log.reader().including_buffered();
    append(&log, "written");
    assert_eq!(own.end_seq(), 2);
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    log.sync().unwrap_err();
    disk.clear_faults();
    let refused = log.append_records(&[NewRecord::value("late")], &buffered());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(own.scan(..).unwrap().count(), 2);
    assert_eq!(log.scan(..).unwrap().count(), 1);
    let waited = own.tail(2).next();
    assert_eq!(waited.unwrap().unwrap_err().kind(), ErrorKind::Poisoned);
}
