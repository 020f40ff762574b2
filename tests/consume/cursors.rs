//! One consumer: where it stands, what it is given, what is durable of that.

use crate::{fill, filled, kind, on, rest, sim};
use cairnlog::{
    AppendOptions, CompactOptions, Consumer, ConsumerOptions, Defect, ErrorKind, Log, Maintained,
    NewRecord, Options, Producer, Retention, Start,
    format::ProducersFile,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{path::Path, sync::Arc, time::Duration};

const FIRST: &str = "/log/cursors/00000000000000000001.cur";

fn lost(disk: &SimFs) -> SimFs {
    let after = disk.crash_at(u64::MAX).state(&Choice::lost());
    disk.power_cut();
    after
}

#[test]
fn does_a_consumer_read_on_where_it_was_acknowledged() {
    let (disk, options) = sim();
    let log = filled(&options, 10);
    let mut consumer = log.consumer("mail").unwrap();
    assert_eq!(
        (consumer.name(), consumer.seq(), consumer.lag()),
        ("mail".into(), 0, 10)
    );
    assert_eq!(rest(&mut consumer), (0..10).collect::<Vec<_>>());
    consumer.ack(3).unwrap();
    assert_eq!((consumer.seq(), consumer.lag()), (4, 6));
    consumer.ack(1).unwrap();
    assert_eq!(consumer.seq(), 4, "what is done stays done");
    assert_eq!(kind(consumer.ack(10)), ErrorKind::InvalidInput);
    drop((consumer, log));
    let log = on(&lost(&disk)).open("/log").unwrap();
    let mut consumer = log.consumer("mail").unwrap();
    assert_eq!(rest(&mut consumer), [4, 5, 6, 7, 8, 9]);
    consumer.ack(9).unwrap();
    fill(&log, 1);
    assert_eq!(rest(&mut consumer), [10]);
    // Acknowledged unread, it is not given.
    fill(&log, 3);
    consumer.ack(12).unwrap();
    assert_eq!(rest(&mut consumer), [13]);
    consumer.seek(2).unwrap();
    assert_eq!((consumer.seq(), rest(&mut consumer).len()), (2, 12));
    assert_eq!(kind(consumer.seek(15)), ErrorKind::InvalidInput);
}

#[test]
fn does_a_new_cursor_start_where_it_is_told_and_an_old_one_where_it_was() {
    let (_, options) = sim();
    let log = filled(&options, 30);
    log.trim(5).unwrap();
    let at = |name: &str, start| {
        let how = ConsumerOptions::new().start(start);
        log.consumer_with(name, &how).unwrap().seq()
    };
    assert_eq!(at("head", Start::Head), 5);
    assert_eq!(at("end", Start::End), 30);
    assert_eq!(at("seq", Start::Seq(12)), 12);
    assert_eq!(at("seq", Start::End), 12, "it is not new");
    let beyond = ConsumerOptions::new().start(Start::Seq(31));
    assert_eq!(
        kind(log.consumer_with("beyond", &beyond)),
        ErrorKind::InvalidInput
    );
    for name in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
        assert_eq!(
            kind(log.consumer(name)),
            ErrorKind::InvalidInput,
            "{name:?}"
        );
    }
    assert_eq!(log.consumer(&"ü".repeat(127)).unwrap().seq(), 5);
    let names: Vec<String> = log
        .cursors()
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names[..3], ["head", "end", "seq"]);
    assert_eq!(names.len(), 4);
}

#[test]
fn has_a_cursor_one_consumer_at_a_time() {
    let (_, options) = sim();
    let log = filled(&options, 3);
    let first = log.consumer("mail").unwrap();
    let second = log.clone().consumer("mail").unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    assert!(
        second.to_string().contains("has a consumer already"),
        "{second}"
    );
    assert_eq!(kind(log.set_cursor("mail", 1)), ErrorKind::Locked);
    assert_eq!(kind(log.delete_cursor("mail")), ErrorKind::Locked);
    log.consumer("other").unwrap();
    drop(first);
    log.set_cursor("mail", 1).unwrap();
    assert_eq!(log.consumer("mail").unwrap().seq(), 1);
    log.delete_cursor("mail").unwrap();
    assert_eq!(kind(log.set_cursor("mail", 1)), ErrorKind::NotFound);
    assert_eq!(kind(log.delete_cursor("mail")), ErrorKind::NotFound);
    assert_eq!(kind(log.set_cursor("other", 9)), ErrorKind::InvalidInput);
    assert_eq!(log.cursors().unwrap().len(), 1);
    log.close().unwrap();
    assert_eq!(kind(log.consumer("mail")), ErrorKind::Closed);
}

#[test]
fn does_a_consumer_wait_for_records_and_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let mut consumer = log.consumer("mail").unwrap();
    assert!(
        consumer
            .next_timeout(Duration::from_millis(5))
            .unwrap()
            .is_none()
    );
    let waits = std::thread::spawn(move || {
        let first = consumer.next().unwrap().expect("one comes");
        consumer.ack(first.seq()).unwrap();
        (first.to_vec(), consumer.next().unwrap())
    });
    log.append("news").unwrap();
    while log.cursors().unwrap()[0].seq == 0 {
        std::thread::yield_now();
    }
    log.close().unwrap();
    assert_eq!(waits.join().unwrap(), (b"news".to_vec(), None));
}

#[test]
fn is_what_was_trimmed_away_told_until_the_caller_seeks() {
    let (_, options) = sim();
    let log = filled(&options, 30);
    let mut consumer = log.consumer("mail").unwrap();
    consumer.try_next().unwrap();
    log.trim(20).unwrap();
    drop(consumer);
    let mut consumer = log.consumer("mail").unwrap();
    for _ in 0..3 {
        let trimmed = consumer.try_next().unwrap_err();
        let told = (trimmed.kind(), trimmed.resume_seq());
        assert_eq!(told, (ErrorKind::Trimmed, Some(20)));
    }
    consumer.seek(20).unwrap();
    assert_eq!(rest(&mut consumer), (20..30).collect::<Vec<_>>());
}

#[test]
fn is_damage_told_again_and_again() {
    let (disk, options) = sim();
    let log = filled(&options, 30);
    let mut consumer = log.consumer("mail").unwrap();
    log.rotate().unwrap();
    disk.flip_bit(Path::new("/log/00000000000000000001.seg"), 128 + 24 + 8, 0);
    for _ in 0..2 {
        assert_eq!(kind(consumer.try_next()), ErrorKind::Damaged);
    }
    consumer.seek(29).unwrap();
    assert_eq!(rest(&mut consumer), [29]);
}

#[test]
fn do_output_and_move_go_together() {
    let (disk, options) = sim();
    let log = filled(&options, 4);
    let consumer = log.consumer("till").unwrap();
    let bill = [NewRecord::value("bill"), NewRecord::value("receipt")];
    let how = AppendOptions::new();
    assert_eq!(consumer.append(&bill, 1, &how).unwrap(), 4..6);
    assert_eq!(consumer.seq(), 2);
    assert_eq!(kind(consumer.append(&bill, 1, &how)), ErrorKind::Duplicate);
    assert_eq!(
        kind(consumer.append(&bill, 6, &how)),
        ErrorKind::InvalidInput
    );
    let producer = Producer {
        id: 1,
        epoch: 0,
        number: 0,
    };
    let named = consumer.append(&bill, 2, &how.producer(producer));
    assert_eq!(kind(named), ErrorKind::InvalidInput);
    let conditional = consumer.append(&bill, 2, &how.expected_seq(1));
    assert_eq!(kind(conditional), ErrorKind::SeqMismatch);
    assert_eq!((consumer.seq(), log.next_seq()), (2, 6));
    assert_eq!(consumer.append(&[], 2, &how).unwrap(), 6..6);
    assert_eq!(consumer.seq(), 3);
    // A move behind an acknowledgement, one before it, and rotations that seal both away.
    consumer.append(&bill, 3, &how).unwrap();
    fill(&log, 60);
    log.maintain().unwrap();
    drop((consumer, log));
    let disk = lost(&disk);
    let log = on(&disk).open("/log").unwrap();
    let consumer = log.consumer("till").unwrap();
    assert_eq!(consumer.seq(), 4);
    consumer.ack(20).unwrap();
    consumer.append(&bill, 21, &how).unwrap();
    let end = log.next_seq();
    let after = lost(&disk);
    drop((consumer, log));
    let log = on(&after).open("/log").unwrap();
    assert_eq!(log.consumer("till").unwrap().seq(), 22);
    assert_eq!(log.next_seq(), end);
}

#[test]
fn is_a_move_void_once_the_cursor_was_sent_elsewhere() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let mut consumer = log.consumer("till").unwrap();
    let how = AppendOptions::new();
    consumer
        .append(&[NewRecord::value("bill")], 7, &how)
        .unwrap();
    consumer.seek(3).unwrap();
    drop((consumer, log));
    let log = on(&lost(&disk)).open("/log").unwrap();
    assert_eq!(log.consumer("till").unwrap().seq(), 3);
    // Nor does a new cursor take over the moves of one that had its number before.
    let consumer = log.consumer("till").unwrap();
    consumer
        .append(&[NewRecord::value("bill")], 8, &how)
        .unwrap();
    drop(consumer);
    log.delete_cursor("till").unwrap();
    assert_eq!(log.consumer("other").unwrap().seq(), 0);
}

/// A consumer was sent back and did the same again, with nothing appended in between: after reopening, the
/// two outputs passed for one that was older than the going back, and the consumer was to do it once more.
#[test]
fn does_a_move_count_that_follows_one_to_the_same_place() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let mut consumer = log.consumer("till").unwrap();
    let how = AppendOptions::new();
    let bill = [NewRecord::value("bill"), NewRecord::value("receipt")];
    assert_eq!(consumer.append(&bill, 7, &how).unwrap(), 9..11);
    consumer.seek(3).unwrap();
    assert_eq!(consumer.append(&bill, 7, &how).unwrap(), 11..13);
    drop((consumer, log));
    let disk = lost(&disk);
    let log = on(&disk).open("/log").unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 8);
    // Each is undone by itself.
    log.rewind(11).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 3);
    drop(log);
    let log = on(&lost(&disk)).open("/log").unwrap();
    assert_eq!(log.consumer("till").unwrap().seq(), 3);
}

#[test]
fn does_an_append_that_fails_leave_the_cursor_where_it_was() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let consumer = log.consumer("till").unwrap();
    let append = |seq| consumer.append(&[NewRecord::value("bill")], seq, &AppendOptions::new());
    append(2).unwrap();
    disk.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Error(Errno::Enospc),
    ));
    assert_eq!(kind(append(5)), ErrorKind::NoSpace);
    assert_eq!(consumer.seq(), 3);
    assert_eq!(log.cursors().unwrap()[0].seq, 3);
    // What was taken back is not stored with the ledger, and what was before it still is.
    fill(&log, 60);
    log.maintain().unwrap();
    let standing = options.vfs(Arc::new(disk.snapshot())).cursors("/log");
    assert_eq!(standing.unwrap()[0].seq, 3);
    append(5).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 6);
}

/// The ledger is stored with each new tail, and an older one is damage. One that knows nobody any more was
/// not worth storing, had the one before not been there.
#[test]
fn is_a_log_whole_of_whose_ledger_nobody_is_left() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let consumer = log.consumer("till").unwrap();
    let bill = [NewRecord::value("bill")];
    consumer.append(&bill, 2, &AppendOptions::new()).unwrap();
    log.rotate().unwrap();
    drop(consumer);
    log.delete_cursor("till").unwrap();
    fill(&log, 1);
    log.rotate().unwrap();
    fill(&log, 1);
    let cut = disk.crash_at(u64::MAX).state(&Choice::lost());
    for disk in [cut, disk.kill()] {
        let ledger = disk.read_file(Path::new("/log/PRODUCERS")).unwrap();
        let ledger = ProducersFile::decode(&ledger).unwrap();
        assert_eq!((ledger.producers.len(), ledger.as_of_seq), (0, 11));
        let log = on(&disk).open("/log").unwrap();
        assert_eq!(log.scan(..).unwrap().count(), 12);
        assert!(on(&disk).verify("/log").unwrap().findings.is_empty());
    }
}

#[test]
fn does_a_rewind_of_output_take_the_cursor_back() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let consumer = log.consumer("till").unwrap();
    for seq in [2, 4, 6] {
        consumer
            .append(&[NewRecord::value("bill")], seq, &AppendOptions::new())
            .unwrap();
    }
    drop(consumer);
    log.rewind(11).unwrap();
    assert_eq!(log.consumer("till").unwrap().seq(), 5);
    drop(log);
    let log = on(&lost(&disk)).open("/log").unwrap();
    assert_eq!(log.consumer("till").unwrap().seq(), 5);
}

#[test]
fn is_a_cursor_that_does_not_verify_an_error_for_itself_alone() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    log.consumer("first").unwrap().ack(0).unwrap();
    log.consumer("second").unwrap().ack(1).unwrap();
    assert!(disk.flip_bit(Path::new(FIRST), 41, 0));
    let damaged = log.consumer("first").unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Damaged);
    let place = damaged.place().path.clone().unwrap();
    assert!(Path::new(FIRST).ends_with(&place), "{damaged}");
    assert_eq!(log.consumer("second").unwrap().seq(), 2);
    assert_eq!(
        kind(log.consumer("new")),
        ErrorKind::Damaged,
        "it may be that one"
    );
    assert_eq!(kind(log.held_seq()), ErrorKind::Damaged);
    let listed = log.cursors().unwrap();
    assert!(matches!(listed[0].defect, Some(Defect::BadChecksum { .. })));
    assert_eq!((listed[1].name.as_str(), listed[1].seq), ("second", 2));
    let name = listed[0].name.clone();
    let read_only = options.cursors("/log").unwrap();
    assert_eq!(read_only[0], listed[0]);
    assert_eq!(read_only[1].seq, listed[1].seq);
    log.delete_cursor(&name).unwrap();
    assert_eq!(log.cursors().unwrap(), listed[1..]);
    assert_eq!(log.consumer("first").unwrap().seq(), 0, "it begins anew");
    // A file under another's name, and one of another log.
    let (one, two) = (
        Path::new("/log/cursors/00000000000000000002.cur"),
        Path::new(FIRST),
    );
    let bytes = disk.read_file(one).unwrap();
    disk.write_file(two, &bytes);
    assert_eq!(log.consumer("second").unwrap().seq(), 2);
    assert_eq!(kind(log.consumer("third")), ErrorKind::Damaged);
    let other = options.clone().open("/other").unwrap();
    other.consumer("x").unwrap();
    disk.write_file(Path::new("/other/cursors/00000000000000000002.cur"), &bytes);
    assert_eq!(kind(other.consumer("second")), ErrorKind::Damaged);
}

/// A cursor that was copied from another log names numbers of that one: believed, it would skip records here,
/// or let retention go on past them.
#[test]
fn is_a_cursor_that_was_copied_from_another_log_no_cursor_here() {
    let (disk, options) = sim();
    let theirs = options.clone().open("/theirs").unwrap();
    fill(&theirs, 9);
    theirs.consumer("other").unwrap();
    theirs.consumer("mail").unwrap().ack(8).unwrap();
    let bytes = disk.read_file(Path::new("/theirs/cursors/00000000000000000002.cur"));
    let log = filled(&options, 3);
    log.consumer("first").unwrap().ack(0).unwrap();
    let second = Path::new("/log/cursors/00000000000000000002.cur");
    disk.write_file(second, &bytes.unwrap());
    for listed in [log.cursors().unwrap(), options.cursors("/log").unwrap()] {
        assert_eq!((listed[0].seq, listed[0].defect), (1, None));
        assert!(listed[1].defect.is_some(), "{:?}", listed[1]);
    }
    assert_eq!(kind(log.held_seq()), ErrorKind::Damaged);
}

#[test]
fn are_cursors_listed_as_they_stand_with_and_without_the_lock() {
    let (disk, options) = sim();
    let log = filled(&options, 40);
    let how = |holds| ConsumerOptions::new().holds(holds);
    assert_eq!(log.held_seq().unwrap(), None);
    let held = log.consumer_with("held", &how(true)).unwrap();
    held.ack(20).unwrap();
    let also = log.consumer_with("also", &how(true)).unwrap();
    also.append(&[NewRecord::value("bill")], 29, &AppendOptions::new())
        .unwrap();
    log.consumer("free").unwrap();
    assert_eq!(log.held_seq().unwrap(), Some(21));
    held.append(&[NewRecord::value("bill")], 34, &AppendOptions::new())
        .unwrap();
    assert_eq!(
        log.held_seq().unwrap(),
        Some(30),
        "a move counts like an acknowledgement"
    );
    let listed = log.cursors().unwrap();
    let told: Vec<_> = listed
        .iter()
        .map(|it| (it.name.as_str(), it.seq, it.lag, it.holds))
        .collect();
    let end = log.durable_seq();
    let want = [
        ("held", 35, end - 35, true),
        ("also", 30, end - 30, true),
        ("free", 0, end, false),
    ];
    assert_eq!(told, want);
    assert!(
        listed
            .iter()
            .all(|it| it.updated_ms > 0 && it.pending_count == 0)
    );
    drop((held, also));
    // Opened without saying anything it holds what it held.
    log.consumer("held").unwrap();
    log.consumer_with("also", &how(false)).unwrap();
    assert_eq!(log.held_seq().unwrap(), Some(35));
    log.close().unwrap();
    let read_only = options.cursors("/log").unwrap();
    let seqs: Vec<_> = read_only.iter().map(|it| (it.seq, it.lag)).collect();
    assert_eq!(seqs, [(35, end - 35), (30, end - 30), (0, end)]);
    let nothing = on(&disk).cursors("/nowhere");
    assert_eq!(kind(nothing), ErrorKind::NotFound);
    let fresh = on(&disk).open("/fresh").unwrap();
    assert!(fresh.cursors().unwrap().is_empty());
}

#[test]
fn is_what_an_interrupted_write_left_removed() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    log.consumer("mail").unwrap();
    drop(log);
    let disk = disk.kill();
    let left = Path::new("/log/cursors/00000000000000000001.new");
    disk.write_file(left, b"half a cur");
    let stranger = Path::new("/log/cursors/notes.new");
    disk.write_file(stranger, b"ours not");
    let log = on(&disk).open("/log").unwrap();
    assert_eq!(disk.read_file(left), None);
    assert!(
        disk.read_file(stranger).is_some(),
        "any other name is left alone"
    );
    log.consumer("mail").unwrap().ack(0).unwrap();
}

#[test]
fn does_an_acknowledgement_that_cannot_be_stored_count_with_the_next() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let consumer = log.consumer("mail").unwrap();
    for fault in [Errno::Enospc, Errno::Eio] {
        // For good: one write that finds no room is made elsewhere.
        disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Error(fault)).for_ever());
        assert!(consumer.ack(4).is_err());
        disk.clear_faults();
        assert_eq!(consumer.seq(), 5);
        assert_eq!(log.cursors().unwrap()[0].seq, 0, "it is not stored");
    }
    consumer.ack(2).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 5);
    // After a failed sync a later one would mean nothing, whatever it is of.
    let rule = FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio));
    disk.fail(rule.on("/log/00000000000000000001.seg"));
    assert_eq!(kind(consumer.ack(5)), ErrorKind::Indeterminate);
    assert_eq!(kind(consumer.ack(5)), ErrorKind::Poisoned);
    assert_eq!(kind(log.append("after it")), ErrorKind::Poisoned);
    drop((consumer, log));
    let log = on(&disk.kill()).open("/log").unwrap();
    fill(&log, 1);
    log.consumer("mail").unwrap().ack(9).unwrap();
}

#[test]
fn do_many_acknowledgements_at_once_all_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(&path).unwrap();
    fill(&log, 200);
    let consumer = Arc::new(log.consumer("mail").unwrap());
    let acks: Vec<_> = (0..4)
        .map(|first| {
            let (consumer, path) = (consumer.clone(), path.clone());
            std::thread::spawn(move || {
                for seq in (first..200).step_by(4) {
                    consumer.ack(seq).unwrap();
                    let listed = Log::options().cursors(&path).unwrap();
                    assert!(listed[0].seq > seq, "durable when it returns");
                }
            })
        })
        .collect();
    acks.into_iter().for_each(|ack| ack.join().unwrap());
    assert_eq!(consumer.lag(), 0);
}

fn maintain(log: &Log) {
    while log.maintain().unwrap() != Maintained::Nothing {}
}

/// A log with a cursor that holds all of it.
fn held(options: Options, path: &str) -> (Log, Consumer) {
    let log = options.open(path).unwrap();
    let holding = ConsumerOptions::new().start(Start::Head).holds(true);
    let mail = log.consumer_with("mail", &holding).unwrap();
    (log, mail)
}

/// Retention went by segments whose last record somebody still needed: wherever in a segment that is.
#[test]
fn is_the_next_record_of_a_holding_cursor_there_after_any_retention() {
    let (_, options) = sim();
    let none = Retention::new().bytes_max(0);
    let options = [options.clone(), options.retention(none.clone())];
    for (options, path) in options.into_iter().zip(["/asked", "/background"]) {
        let in_background = path == "/background";
        let (log, mut mail) = held(options, path);
        fill(&log, 120);
        log.rotate().unwrap();
        for seq in 0..120 {
            match in_background {
                true => maintain(&log),
                false => _ = log.retain(&none).unwrap(),
            }
            assert_eq!(mail.try_next().unwrap().map(|it| it.seq()), Some(seq));
            assert!(
                log.head_seq() <= seq,
                "{} with {seq} needed",
                log.head_seq()
            );
            mail.ack(seq).unwrap();
        }
        assert!(log.head_seq() > 60, "and what nobody needs goes");
    }
}

/// A deletion that its consumer has not seen is still to be told, whoever compacts.
#[test]
fn is_a_deletion_there_until_a_holding_cursor_has_passed_it() {
    let (_, options) = sim();
    let how = CompactOptions::new()
        .tombstone_age_min(Duration::ZERO)
        .dirty_ratio_min(0.0);
    let options = [options.clone(), options.compaction(how.clone())];
    for (options, path) in options.into_iter().zip(["/asked", "/background"]) {
        let in_background = path == "/background";
        let (log, mut mail) = held(options, path);
        for record in [NewRecord::keyed("a", "1"), NewRecord::tombstone("a")] {
            log.append_records(&[record], &AppendOptions::new())
                .unwrap();
        }
        log.rotate().unwrap();
        let compact = || match in_background {
            true => maintain(&log),
            false => _ = log.compact(&how).unwrap(),
        };
        compact();
        let told = mail.try_next().unwrap().expect("it was deleted");
        assert!(told.is_tombstone());
        mail.ack(told.seq()).unwrap();
        fill(&log, 1);
        log.rotate().unwrap();
        log.compact(&how).unwrap();
        assert!(log.get(told.seq()).unwrap().is_none(), "nobody needs it");
    }
}
