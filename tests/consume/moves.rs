//! An acknowledgement goes into the log with whatever else is on its way: does it cost no more than an
//! append, and does it survive all that the segment in which it lies may meet?

use crate::{fill, filled, kind, lost, on, rest, sim};
use cairnlog::{
    AppendOptions, BackupOptions, ErrorKind, Log, Maintained, NewRecord, Options, QueueOptions,
    Seq,
    format::{Manifest, cursor::CursorFile},
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::path::Path;

const CURSOR: &str = "/log/cursors/00000000000000000001.cur";

fn stored_seq(disk: &SimFs) -> Seq {
    let bytes = disk.read_file(Path::new(CURSOR)).unwrap();
    CursorFile::decode(&bytes).unwrap().seq
}

fn features(disk: &SimFs) -> u32 {
    let bytes = disk.read_file(Path::new("/log/MANIFEST")).unwrap();
    Manifest::decode(&bytes).unwrap().write_features
}

/// Where the cursor stands for the one who opens the disk, and for who only looks at it.
fn seqs_of(disk: &SimFs) -> (Seq, Seq) {
    let looked = on(disk).cursors("/log").unwrap()[0].seq;
    let log = on(disk).open("/log").unwrap();
    let seq = log.cursors().unwrap()[0].seq;
    assert_eq!(log.consumer("mail").unwrap().seq(), seq);
    (looked, seq)
}

/// Each was a file written, a sync, a rename, a sync of the directory.
#[test]
fn does_an_acknowledgement_cost_one_write_and_one_sync() {
    let (disk, options) = sim();
    let log = filled(&options.publish(false), 5);
    let mail = log.consumer("mail").unwrap();
    assert_eq!(
        features(&disk),
        0,
        "an older program may write this log yet"
    );
    mail.ack(0).unwrap();
    assert_eq!(features(&disk), 2, "and this one not");
    let before = disk.trace().len();
    mail.ack(1).unwrap();
    let trace = disk.trace();
    let kinds: Vec<OpKind> = trace[before..].iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [OpKind::Write, OpKind::Sync]);
    assert_eq!(stored_seq(&disk), 0, "the file is as it was");
    assert_eq!(seqs_of(&lost(&disk)), (2, 2));
}

/// Those of many consumers share both with each other, and with appends.
#[test]
fn do_acknowledgements_and_appends_at_once_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    fill(&log, 400);
    let consumers: Vec<_> = (0..15)
        .map(|n| log.consumer(&n.to_string()).unwrap())
        .collect();
    let before = log.stats().sync_count;
    std::thread::scope(|scope| {
        for consumer in &consumers {
            scope.spawn(move || (0..20).for_each(|seq| consumer.ack(seq).unwrap()));
        }
        scope.spawn(|| fill(&log, 20));
    });
    let syncs = log.stats().sync_count - before;
    assert!(syncs < 16 * 20 / 2, "{syncs} syncs");
    assert!(consumers.iter().all(|consumer| consumer.seq() == 20));
    drop((consumers, log));
    let cursors = Options::new().cursors(dir.path().join("log")).unwrap();
    assert!(cursors.iter().all(|cursor| cursor.seq == 20), "{cursors:?}");
}

/// Segment by segment goes by with nothing but acknowledgements in it. None of them stays, and nothing of
/// what they said is lost, whenever the power goes.
#[test]
fn is_a_segment_of_acknowledgements_alone_dropped_and_what_it_said_kept() {
    let (disk, options) = sim();
    let log = filled(&options, 100);
    let segments = log.segments().unwrap().len();
    let mail = log.consumer("mail").unwrap();
    let mut rotated = 0;
    for seq in 0..100 {
        mail.ack(seq).unwrap();
        while log.maintain().unwrap() != Maintained::Nothing {
            rotated += 1;
        }
        let (looked, opened) = seqs_of(&lost(&disk));
        assert_eq!((looked, opened), (seq + 1, seq + 1));
    }
    assert!(rotated > 4, "{rotated}");
    assert!(log.segments().unwrap().len() <= segments + 1);
    let files = disk.snapshot();
    drop((mail, log));
    assert!(on(&files).verify("/log").unwrap().findings.is_empty());
    assert_eq!(seqs_of(&disk), (100, 100));
    assert_eq!(
        on(&disk).open("/log").unwrap().scan(..).unwrap().count(),
        100
    );
}

/// A kill, and the end of the log is carried into another segment: without the acknowledgements in it.
#[test]
fn does_it_survive_that_the_end_is_carried_or_rewound() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let mail = log.consumer("mail").unwrap();
    mail.ack(1).unwrap();
    let mut disk = disk.kill();
    for seq in [1, 2, 3] {
        assert_eq!(seqs_of(&disk), (seq + 1, seq + 1));
        let log = on(&disk).open("/log").unwrap();
        let mail = log.consumer("mail").unwrap();
        mail.ack(seq + 1).unwrap();
        drop(mail);
        disk = disk.kill();
    }
    let log = on(&disk).open("/log").unwrap();
    let mut mail = log.consumer("mail").unwrap();
    mail.seek(2).unwrap();
    log.rewind(4).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 2);
    assert_eq!(seqs_of(&lost(&disk)), (2, 2));
}

/// Whoever looks at the cursors without the lock may meet a segment in the very moment in which the writer
/// changes it: that is looked at again, and not for ever.
#[test]
fn are_they_looked_at_again_where_a_look_failed() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    log.consumer("mail").unwrap().ack(2).unwrap();
    let looked = || on(&disk).cursors("/log").map(|found| found[0].seq);
    let tail = || {
        FaultRule::nth(OpKind::Open, 1, Fault::Error(Errno::Eio))
            .on("/log/00000000000000000001.seg")
    };
    for times in [0, 1, 19] {
        disk.fail(tail().times(times));
        assert_eq!(looked().unwrap(), 3, "after {times} that failed");
        disk.clear_faults();
    }
    disk.fail(tail().times(20));
    assert_eq!(kind(looked()), ErrorKind::Io);
}

/// It stood in the log where the cursor was, and its file was made anew from that when the segment ended.
#[test]
fn does_a_cursor_that_is_deleted_stay_gone() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let mail = log.consumer("mail").unwrap();
    mail.ack(1).unwrap();
    mail.ack(2).unwrap();
    drop(mail);
    log.delete_cursor("mail").unwrap();
    fill(&log, 1);
    log.rotate().unwrap();
    assert!(log.cursors().unwrap().is_empty());
    assert!(disk.read_file(Path::new(CURSOR)).is_none());
    let cut = lost(&disk);
    assert!(on(&cut).cursors("/log").unwrap().is_empty());
    assert!(on(&cut).open("/log").unwrap().cursors().unwrap().is_empty());
}

/// A file that was copied beside it says nothing of a cursor, whatever it says of itself.
#[test]
fn is_the_cursor_told_by_the_file_of_its_name_alone() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    log.consumer("mail").unwrap().ack(1).unwrap();
    let disk = disk.kill();
    let mut other = CursorFile::decode(&disk.read_file(Path::new(CURSOR)).unwrap()).unwrap();
    (other.seq, other.generation) = (7, other.generation + 100);
    let beside = Path::new("/log/cursors/00000000000000000002.cur");
    assert!(disk.write_file(beside, &other.encode()));
    assert_eq!(on(&disk).cursors("/log").unwrap()[0].seq, 2);
    let log = on(&disk).open("/log").unwrap();
    assert_eq!(log.consumer("mail").unwrap().seq(), 2);
}

/// The first after opening says all that is pending, and may be larger than a segment.
#[test]
fn does_an_acknowledgement_with_much_pending_come_through() {
    let (disk, options) = sim();
    let log = filled(&options, 200);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    let jobs = queue.next_batch(150, std::time::Duration::ZERO).unwrap();
    jobs.into_iter().skip(1).for_each(|job| job.ack().unwrap());
    let disk = lost(&disk);
    let log = on(&disk).open("/log").unwrap();
    assert!(log.cursors().unwrap()[0].pending_count >= 149);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    let mut jobs = queue.next_batch(2, std::time::Duration::ZERO).unwrap();
    assert_eq!(jobs[1].record().seq(), 150);
    jobs.remove(1).ack().unwrap();
    assert_eq!(seqs_of(&lost(&disk)), (0, 0));
    jobs.remove(0).ack().unwrap();
    assert_eq!(seqs_of(&lost(&disk)), (151, 151));
}

/// The segment in which they lie is sealed: the file has to say as much before.
#[test]
fn does_it_survive_every_power_cut_while_its_segment_is_sealed() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let mail = log.consumer("mail").unwrap();
    mail.ack(3).unwrap();
    let first = disk.op_count();
    log.rotate().unwrap();
    assert_eq!(stored_seq(&disk), 4);
    for op in first..=disk.op_count() {
        let cut = disk.crash_at(op);
        for (choice, state) in cut.all(50) {
            assert_eq!(
                seqs_of(&state),
                (4, 4),
                "op {op}: {}",
                cut.describe(&choice)
            );
        }
    }
}

/// A backup has no chain of its own to take it from.
#[test]
fn does_a_backup_have_it() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    let jobs = queue.next_batch(4, std::time::Duration::ZERO).unwrap();
    jobs.into_iter().skip(1).for_each(|job| job.ack().unwrap());
    log.backup_with("/copy", &BackupOptions::new()).unwrap();
    let copy = on(&disk).open("/copy").unwrap();
    let info = &copy.cursors().unwrap()[0];
    assert_eq!((info.seq, info.pending_count), (0, 5));
    assert_eq!(rest(&mut copy.consumer("mail").unwrap()), [0, 1, 2, 3, 4]);
}

/// The file of a cursor that was sent elsewhere while nobody used it is newer than the acknowledgements that
/// are in the log: they took the cursor back to where it was.
#[test]
fn is_an_acknowledgement_of_before_the_file_passed_over() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let mail = log.consumer("mail").unwrap();
    mail.ack(6).unwrap();
    drop(mail);
    log.set_cursor("mail", 2).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 2);
    assert_eq!(seqs_of(&lost(&disk)), (2, 2));
    assert_eq!(seqs_of(&disk.kill()), (2, 2));
}

/// A new cursor gets the id of the last one, if that is gone: what that one had done was taken for its own.
#[test]
fn does_a_new_cursor_begin_where_it_is_told_though_a_former_one_had_its_id() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let mail = log.consumer("mail").unwrap();
    (0..7).for_each(|seq| mail.ack(seq).unwrap());
    drop(mail);
    log.delete_cursor("mail").unwrap();
    log.consumer("mail").unwrap();
    assert_eq!(seqs_of(&lost(&disk)), (0, 0));
    let killed = disk.kill();
    assert_eq!(seqs_of(&killed), (0, 0));
    // Also where nobody knows any more how far it had come, but the log.
    let log = on(&killed).open("/log").unwrap();
    log.delete_cursor("mail").unwrap();
    drop(log);
    let log = on(&killed).open("/log").unwrap();
    log.consumer("mail").unwrap().ack(1).unwrap();
    drop(log);
    assert_eq!(seqs_of(&killed), (2, 2));
}

/// It needs room in the log; where there is none, the file is written over its alternate as ever.
#[test]
fn does_it_go_another_way_where_there_is_no_room() {
    let (disk, options) = sim();
    let log = filled(&options, 9);
    let mail = log.consumer("mail").unwrap();
    mail.ack(0).unwrap();
    let rule = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc));
    disk.fail(rule.on("/log/00000000000000000001.seg").for_ever());
    mail.ack(3).unwrap();
    assert_eq!(stored_seq(&disk), 4);
    assert_eq!(kind(log.append("no room")), ErrorKind::NoSpace);
    assert_eq!(seqs_of(&lost(&disk)), (4, 4));
    disk.clear_faults();
    mail.ack(4).unwrap();
    assert_eq!(seqs_of(&lost(&disk)), (5, 5));
}

/// More pending records than a segment takes in one piece.
#[test]
fn does_a_move_that_fits_no_segment_go_into_the_file() {
    let (disk, options) = sim();
    let log = filled(&options, 200);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    let jobs = queue.next_batch(150, std::time::Duration::ZERO).unwrap();
    assert_eq!(jobs.len(), 150);
    let stored = CursorFile::decode(&disk.read_file(Path::new(CURSOR)).unwrap());
    assert!(stored.unwrap().pending.len() >= 150);
    let segments = log.segments().unwrap();
    assert!(segments.iter().all(|it| it.frame_bytes <= 1024));
    let log = on(&lost(&disk)).open("/log").unwrap();
    assert!(log.cursors().unwrap()[0].pending_count >= 150);
}

/// A group takes records and acknowledgements as they come. One that was put behind records, into their batch,
/// would be read as a part of it, and the batch be torn.
#[test]
fn does_an_acknowledgement_leave_the_records_alone_that_it_is_written_with() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let mail = log.consumer("mail").unwrap();
    mail.ack(0).unwrap();
    for seq in 1..4 {
        let records = [NewRecord::value("beside")];
        let ticket = log.submit(&records, &AppendOptions::new()).unwrap();
        mail.ack(seq).unwrap();
        ticket.wait().unwrap();
    }
    let disk = lost(&disk);
    assert_eq!(seqs_of(&disk), (4, 4));
    let log = on(&disk).open("/log").unwrap();
    assert_eq!((log.next_seq(), log.recovery().torn), (8, None));
    let beside = log.scan(5..).unwrap().map(|it| it.unwrap().to_vec());
    assert!(beside.eq(vec![b"beside".to_vec(); 3]));
}

/// What stands in the log is added to what the files say. A file that cannot be read is an error, or the cursor
/// would begin anew; one that is out of reach is somebody else's, and its cursor stands where the log says.
#[test]
fn is_a_file_that_cannot_be_read_told_before_acknowledgements_are_added_to_it() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let mail = log.consumer("mail").unwrap();
    mail.ack(0).unwrap();
    mail.ack(3).unwrap();
    let disk = disk.kill();
    for (call, name) in [(OpKind::List, "/log/cursors"), (OpKind::Read, CURSOR)] {
        let failing = |nth, errno, times| {
            let disk = disk.snapshot();
            let rule = FaultRule::nth(call, nth, Fault::Error(errno));
            disk.fail(rule.on(name).times(times));
            (on(&disk).open("/log").map(drop), disk.fault_count() > 0)
        };
        let mut nth = 0;
        while let (opened, true) = failing(nth, Errno::Eio, 1) {
            assert_eq!(kind(opened), ErrorKind::Io, "{name}, {nth}");
            nth += 1;
        }
        assert!(
            nth >= 2,
            "once for what was durable, once for where they stand"
        );
        let (opened, met) = failing(0, Errno::Eacces, 2);
        assert!(met);
        opened.unwrap();
    }
}
