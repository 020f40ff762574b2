//! What becomes of records that met a full disk, and what a full disk may not keep anybody from.

use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Options, Producer, Verdict,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const DIR: &str = "/log";

fn options(disk: &SimFs) -> Options {
    Options::new()
        .publish(false)
        .background(false)
        .vfs(Arc::new(disk.clone()))
}

fn full(disk: &SimFs) {
    disk.set_capacity(Some(disk.used_bytes()));
}

fn at(level: Durability) -> AppendOptions {
    AppendOptions::new().durability(level)
}

/// Until it is so, or for ten seconds.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the tail has allocated, so that the next record needs room of its own.
fn large() -> Vec<u8> {
    vec![b'l'; 200_000]
}

/// The worker tried again without a pause, a fifth of a processor, and never wrote the record: a failed
/// write had taken the record's time of arrival with it.
#[test]
fn is_a_buffered_record_tried_again_with_pauses_and_written_once_there_is_room() {
    let disk = SimFs::new(1);
    let log = options(&disk)
        .background(true)
        .sync_interval(None)
        .idle_watermark(None)
        .open(DIR)
        .unwrap();
    full(&disk);
    let refused = |disk: &SimFs| {
        let failed = |event: &&cairnlog::vfs::sim::TraceEvent| {
            event.kind == OpKind::Write
                && event.outcome
                    == cairnlog::vfs::sim::Outcome::Failed(std::io::ErrorKind::StorageFull)
        };
        disk.trace().iter().filter(failed).count()
    };
    log.append_records(&[NewRecord::value(&large())], &at(Durability::Buffered))
        .unwrap();
    soon("it is tried", || {
        disk.advance(Duration::from_millis(20));
        refused(&disk) >= 1
    });
    let calls = disk.call_count();
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        disk.call_count() - calls < 100,
        "no time passed on the disk's clock"
    );
    disk.set_capacity(None);
    soon("it is written", || {
        disk.advance(Duration::from_millis(100));
        log.stats().written_seq == 1
    });
}

/// The worker's own sync took the news with it.
#[test]
fn is_a_lost_buffered_record_told_whoever_synced_in_between() {
    let disk = SimFs::new(1);
    let log = options(&disk)
        .background(true)
        .sync_interval(Some(Duration::from_millis(50)))
        .buffer_interval(Duration::from_secs(3600))
        .open(DIR)
        .unwrap();
    log.append("before").unwrap();
    full(&disk);
    // Whoever is owed an error stands before it, so it cannot be kept.
    let lost = (0..1000).any(|_| {
        let owed = log.submit(&[NewRecord::value(&large())], &at(Durability::Durable));
        let kept = log.append_records(&[NewRecord::value("lost")], &at(Durability::Buffered));
        let told = owed.and_then(cairnlog::Ticket::wait);
        assert_eq!(told.unwrap_err().kind(), ErrorKind::NoSpace);
        kept.is_ok_and(|seqs| seqs.start >= log.next_seq())
    });
    assert!(lost, "a buffered record was dropped");
    disk.set_capacity(None);
    log.append_records(&[NewRecord::value("later")], &at(Durability::Written))
        .unwrap();
    soon("the worker syncs", || {
        disk.advance(Duration::from_millis(100));
        log.durable_seq() == log.next_seq()
    });
    log.trim(1).unwrap();
    assert_eq!(log.sync().unwrap_err().kind(), ErrorKind::NoSpace);
    log.sync().expect("told once");
}

/// A repeat was told that its record is buffered, the original failed, and nobody heard of it again.
#[test]
fn is_a_repeat_that_was_told_it_is_buffered_missed_if_the_original_fails() {
    let disk = SimFs::new(1);
    let log = options(&disk).open(DIR).unwrap();
    log.append("before").unwrap();
    full(&disk);
    let producer = Producer {
        id: 1,
        epoch: 0,
        number: 1,
    };
    let (value, how) = (large(), at(Durability::Durable).producer(producer));
    let records = [NewRecord::value(&value)];
    let original = log.submit(&records, &how).unwrap();
    let repeat = log.append_records(&records, &how.durability(Durability::Buffered));
    assert_eq!(repeat.unwrap(), 1..2);
    assert_eq!(original.wait().unwrap_err().kind(), ErrorKind::NoSpace);
    disk.set_capacity(None);
    assert_eq!(log.sync().unwrap_err().kind(), ErrorKind::NoSpace);
    log.sync().expect("told once");
    let again = AppendOptions::new().producer(producer);
    assert_eq!(log.append_records(&records, &again).unwrap(), 1..2);
}

/// A sync that could not write what was buffered left what had been written before at the mercy of the
/// next power cut.
#[test]
fn does_a_sync_make_durable_what_was_written_though_there_is_no_room_for_the_rest() {
    let disk = SimFs::new(1);
    let log = options(&disk).open(DIR).unwrap();
    for _ in 0..10 {
        log.append_records(&[NewRecord::value("written")], &at(Durability::Written))
            .unwrap();
    }
    full(&disk);
    log.append_records(&[NewRecord::value(&large())], &at(Durability::Buffered))
        .unwrap();
    assert_eq!(log.sync().unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(log.durable_seq(), 10);
    log.trim(5).unwrap();
    let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = options(&lost).open(DIR).unwrap();
    assert_eq!((log.head_seq(), log.next_seq()), (5, 10));
}

/// The watermark of an idle log found no room, was kept as if somebody had appended it, and then every
/// sync, rewind and close failed over it.
#[test]
fn does_an_idle_watermark_without_room_stand_in_nobodys_way() {
    let disk = SimFs::new(1);
    let log = options(&disk)
        .background(true)
        .idle_watermark(Some(Duration::from_millis(5)))
        .open(DIR)
        .unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 500));
    // Until nothing fits behind the last record, not even 24 bytes.
    for bytes in [400, 1] {
        while log.append(vec![b'x'; bytes]).is_ok() {}
    }
    full(&disk);
    for _ in 0..20 {
        disk.advance(Duration::from_millis(100));
        std::thread::sleep(Duration::from_millis(5));
    }
    let end = log.next_seq();
    assert_eq!(log.sync().unwrap(), end);
    log.rewind(end - 1).unwrap();
    log.close().unwrap();
    drop(log);
    let log = options(&disk).open(DIR).unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean);
}

/// So many producers take a megabyte to remember. For a log whose disk was full before any of it had been
/// stored that was more than was held back: it could not be closed, and not be opened.
#[test]
fn do_thousands_of_producers_not_keep_a_log_from_closing_and_opening() {
    let disk = SimFs::new(1);
    let open = || options(&disk).segment_bytes(256 << 10).open(DIR).unwrap();
    let log = open();
    let add = |log: &Log, id: u64, number: u64| {
        let producer = Producer {
            id,
            epoch: 0,
            number,
        };
        let how = at(Durability::Written).producer(producer);
        log.append_records(&[NewRecord::value("v")], &how).unwrap()
    };
    let mut number = 0;
    while log.stats().rotation_count == 0 {
        for id in 0..4096 {
            add(&log, id, number);
        }
        number += 1;
    }
    log.sync().unwrap();
    let end = log.next_seq();
    full(&disk);
    log.close().unwrap();
    drop(log);
    let log = open();
    assert_eq!(log.next_seq(), end);
    assert!(add(&log, 7, number - 1).end <= end, "a repeat is known");
    log.trim(100).unwrap();
    log.close().unwrap();
    drop(log);
    disk.set_capacity(None);
    let log = open();
    log.append("with room again").unwrap();
    log.close().unwrap();
    drop(log);
    let log = open();
    assert!(add(&log, 4095, number - 1).end <= end, "a repeat is known");
    assert_eq!(log.scan(..).unwrap().count() as u64, end + 1 - 100);
}

/// A rotation is done when what has ended is sealed, whatever there is no room for after that. Where the manifest
/// itself has none it is not, and nothing is left of the file that was made for the time after.
#[test]
fn is_a_rotation_told_as_done_that_could_not_be_sealed() {
    let disk = SimFs::new(1);
    let log = options(&disk).open(DIR).unwrap();
    log.append("one").unwrap();
    let names = |disk: &SimFs| {
        let mut names = disk.files();
        names.retain(|path| !path.ends_with("RESERVE"));
        names
    };
    let before = names(&disk);
    for name in ["MANIFEST.new", "MANIFEST.alt"] {
        let rule = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc));
        disk.fail(rule.on(name).for_ever());
    }
    for _ in 0..2 {
        assert_eq!(log.rotate().unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(names(&disk), before);
    }
    disk.clear_faults();
    log.rotate().unwrap();
    assert_eq!(log.append("two").unwrap(), 1);
    assert_eq!(log.segments().unwrap().len(), 2);
}

/// Where there is no room for a new segment the end is made certain in its place. That is no way around a disk that
/// fails: its error is told, and nothing is changed.
#[test]
fn is_an_error_told_where_recovery_begins_a_segment() {
    for errno in Errno::ALL {
        let disk = SimFs::new(1);
        let log = options(&disk).open(DIR).unwrap();
        log.append("durable").unwrap();
        log.append_records(&[NewRecord::value("written")], &at(Durability::Written))
            .unwrap();
        let disk = disk.kill();
        let is_full = matches!(errno, Errno::Enospc | Errno::Edquot);
        let rule = FaultRule::nth(OpKind::CreateNew, 0, Fault::Error(errno));
        disk.fail(rule.on("00000000000000000003.seg").for_ever());
        let opened = options(&disk).open(DIR).map(drop);
        assert!(disk.fault_count() > 0);
        assert_eq!(opened.is_ok(), is_full, "{errno}: {opened:?}");
        disk.clear_faults();
        let log = options(&disk).open(DIR).unwrap();
        assert_eq!(log.next_seq(), 2, "{errno}");
    }
}
