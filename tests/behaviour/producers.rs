//! Is an append that names itself made once, however often it is asked for?

use crate::{sim, values};
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Producer, RepairOptions, Result, Seq,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind},
};
use std::{ops::Range, path::Path, sync::Arc};

fn by(number: u64) -> Producer {
    let (id, epoch) = (7, 1);
    Producer { id, epoch, number }
}

fn how(producer: Producer) -> AppendOptions {
    AppendOptions::new().producer(producer)
}

fn append(log: &Log, producer: Producer, value: &str) -> Result<Range<Seq>> {
    log.append_records(&[NewRecord::value(value)], &how(producer))
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("it is refused").kind()
}

#[test]
fn does_a_repeat_append_nothing_and_give_the_original_seqs() {
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    let pair = [NewRecord::value("a"), NewRecord::keyed("k", "b")];
    assert_eq!(log.append_records(&pair, &how(by(1))).unwrap(), 0..2);
    assert_eq!(append(&log, by(9), "c").unwrap(), 2..3);
    assert_eq!(log.append_records(&pair, &how(by(1))).unwrap(), 0..2);
    let condition = how(by(9)).expected_seq(77);
    let again = log.append_records(&[NewRecord::value("c")], &condition);
    assert_eq!(again.unwrap(), 2..3, "the condition was for the original");
    assert_eq!(values(&log), ["a", "b", "c"]);
    let told = |record: cairnlog::Record| record.producer().unwrap().number;
    let numbers: Vec<u64> = log.scan(..).unwrap().map(|it| told(it.unwrap())).collect();
    assert_eq!(numbers, [1, 1, 9], "every record carries the name");
}

#[test]
fn is_an_append_that_cannot_be_honoured_refused() {
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    append(&log, by(5), "a").unwrap();
    assert_eq!(kind(append(&log, by(4), "b")), ErrorKind::InvalidInput);
    let two = [NewRecord::value("a"), NewRecord::value("b")];
    let longer = log.append_records(&two, &how(by(5)));
    assert_eq!(kind(longer), ErrorKind::InvalidInput);
    assert_eq!(
        kind(log.append_records(&[], &how(by(6)))),
        ErrorKind::InvalidInput
    );
    let reserved = Producer {
        epoch: u32::MAX,
        ..by(6)
    };
    assert_eq!(kind(append(&log, reserved, "b")), ErrorKind::InvalidInput);
    let submitted = log.submit(&[NewRecord::value("b")], &how(reserved));
    assert_eq!(kind(submitted), ErrorKind::InvalidInput);
    for number in 6..20 {
        append(&log, by(number), "more").unwrap();
    }
    assert_eq!(kind(append(&log, by(5), "a")), ErrorKind::Duplicate);
    assert_eq!(
        append(&log, by(12), "more").unwrap(),
        7..8,
        "the last eight"
    );
    let newer = Producer { epoch: 2, ..by(0) };
    append(&log, newer, "took over").unwrap();
    let fenced = append(&log, by(20), "late").unwrap_err();
    let told = (fenced.kind(), fenced.newest_epoch());
    assert_eq!(told, (ErrorKind::Fenced, Some(2)));
    assert!(fenced.to_string().contains("newest is 2"), "{fenced}");
    assert_eq!(log.next_seq(), 16);
}

#[test]
fn does_a_durable_repeat_wait_until_the_original_is_durable() {
    let (_, options) = sim();
    let log = options.buffer_bytes(1 << 20).open("/log").unwrap();
    let level = |level| how(by(1)).durability(level);
    let record = [NewRecord::value("a")];
    log.append_records(&record, &level(Durability::Buffered))
        .unwrap();
    assert_eq!(log.stats().written_seq, 0);
    log.append_records(&record, &level(Durability::Buffered))
        .unwrap();
    assert_eq!(log.stats().written_seq, 0, "nobody asked for more");
    log.append_records(&record, &level(Durability::Written))
        .unwrap();
    assert_eq!((log.stats().written_seq, log.durable_seq()), (1, 0));
    let ticket = log.submit(&record, &level(Durability::Durable)).unwrap();
    assert_eq!(ticket.wait().unwrap(), 0..1);
    assert_eq!((log.durable_seq(), log.next_seq()), (1, 1));
}

/// The same for a caller that waits for its answer: one that went by what was written was told durable, and
/// lost the record with the power.
#[test]
fn does_a_repeat_that_was_told_durable_survive_a_power_cut() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    let level = |level| how(by(1)).durability(level);
    let record = [NewRecord::value("once")];
    log.append_records(&record, &level(Durability::Written))
        .unwrap();
    let repeat = log.append_records(&record, &level(Durability::Durable));
    assert_eq!(repeat.unwrap(), 0..1);
    let after = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = options.vfs(Arc::new(after)).open("/log").unwrap();
    assert_eq!(values(&log), ["once"]);
}

#[test]
fn is_a_repeat_told_the_failure_of_the_original() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    let record = [NewRecord::value("a")];
    let first = log.submit(&record, &how(by(1))).unwrap();
    let again = log.submit(&record, &how(by(1))).unwrap();
    disk.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Error(Errno::Enospc),
    ));
    assert_eq!(kind(first.wait()), ErrorKind::NoSpace);
    assert_eq!(kind(again.wait()), ErrorKind::NoSpace);
    assert_eq!(log.next_seq(), 0);
    assert_eq!(
        append(&log, by(1), "a").unwrap(),
        0..1,
        "it is not a repeat"
    );
    // A full queue of one producer that is taken back leaves nothing forgotten.
    let many: Vec<_> = (2..30)
        .map(|number| log.submit(&record, &how(by(number))).unwrap())
        .collect();
    disk.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Error(Errno::Enospc),
    ));
    for ticket in many {
        assert_eq!(kind(ticket.wait()), ErrorKind::NoSpace);
    }
    assert_eq!(append(&log, by(2), "b").unwrap(), 1..2);
    assert_eq!(append(&log, by(1), "a").unwrap(), 0..1);
    assert_eq!(values(&log), ["a", "b"]);
}

#[test]
fn is_a_repeat_recognised_after_closing_and_after_a_power_cut_and_after_rotations() {
    let (mut disk, options) = sim();
    let mut number = 0;
    for round in 0..6 {
        let options = options.clone().vfs(Arc::new(disk.clone()));
        let log = options.open("/log").unwrap();
        for old in number.max(8) - 8..number {
            assert_eq!(
                append(&log, by(old), "x").unwrap(),
                old..old + 1,
                "in {round}"
            );
        }
        let count = [1, 40, 3, 0, 60, 2][round];
        for _ in 0..count {
            let value = format!("{number:0100}");
            assert_eq!(append(&log, by(number), &value).unwrap().start, number);
            number += 1;
        }
        if round % 2 == 0 {
            log.close().unwrap();
            drop(log);
            disk = disk.kill();
        } else {
            let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
            disk.power_cut();
            disk = lost;
        }
        if number > 8 {
            let ledger = disk.read_file(Path::new("/log/PRODUCERS"));
            assert!(ledger.is_some(), "in {round}");
        }
    }
}

#[test]
fn does_a_rewind_free_the_numbers_of_what_it_drops() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..20 {
        append(&log, by(number), &format!("{number:0100}")).unwrap();
    }
    log.rewind(15).unwrap();
    let check = |log: &Log| {
        assert_eq!(append(log, by(14), "x").unwrap(), 14..15);
        assert_eq!(append(log, by(15), "again").unwrap(), 20..21);
    };
    let after = options.vfs(Arc::new(disk.snapshot()));
    check(&log);
    check(&after.open("/log").unwrap());
}

#[test]
fn is_a_ledger_that_does_not_verify_refused_and_repaired_by_choice() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..20 {
        append(&log, by(number), &format!("{number:0100}")).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let disk = disk.kill();
    let options = options.vfs(Arc::new(disk.clone()));
    disk.flip_bit(Path::new("/log/PRODUCERS"), 90, 3);
    let told = disk.read_file(Path::new("/log/PRODUCERS")).unwrap();
    let refused = options.clone().open("/log").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert_eq!(
        refused.place().path.as_deref(),
        Some(Path::new("PRODUCERS"))
    );
    let found = options.verify("/log").unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    let reader = options.open_reader("/log").unwrap();
    assert_eq!(
        reader.scan(..).unwrap().count(),
        20,
        "records are all there"
    );
    let how = RepairOptions::new().apply(true);
    assert_eq!(kind(options.repair("/log", how)), ErrorKind::Damaged);
    let report = options.repair("/log", how.accept_loss(true)).unwrap();
    assert!(report.lost.is_empty());
    let kept = Path::new("/log").join(report.ledger_kept_in.expect("it is kept"));
    assert_eq!(disk.read_file(&kept), Some(told));
    assert!(options.verify("/log").unwrap().findings.is_empty());
    let log = options.open("/log").unwrap();
    assert_eq!(values(&log).len(), 20);
    append(&log, by(20), "goes on").unwrap();
}

/// Repair and salvage write records anew; what these say of their producers is not lost with it.
#[test]
fn are_repeats_still_recognised_after_repair_and_in_a_salvaged_log() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..20 {
        append(&log, by(number), &format!("{number:0100}")).unwrap();
    }
    drop(log);
    let disk = disk.kill();
    let options = options.vfs(Arc::new(disk.clone()));
    disk.flip_bit(Path::new("/log/00000000000000000001.seg"), 200, 3);
    options.salvage("/log", "/new").unwrap();
    let how = RepairOptions::new().apply(true).accept_loss(true);
    assert!(options.repair("/log", how).unwrap().applied);
    for path in ["/log", "/new"] {
        let log = options.clone().open(path).unwrap();
        assert_eq!(append(&log, by(19), "x").unwrap(), 19..20, "{path}");
        assert_eq!(
            kind(append(&log, by(3), "x")),
            ErrorKind::Duplicate,
            "{path}"
        );
        assert_eq!(append(&log, by(20), "new").unwrap(), 20..21, "{path}");
    }
}
