//! Where consumers and queues gave wrong answers once: after a restart, a going back, a close.

use crate::{fill, filled, kind, lost, on, rest, sim};
use cairnlog::{
    AppendOptions, Backoff, CompactOptions, ConsumerOptions, ErrorKind, Lease, Log, NewRecord,
    Queue, QueueOptions,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SyncFailure},
};
use std::{path::Path, time::Duration};

/// What is dropped is there again at once.
fn queue(log: &Log, options: QueueOptions) -> Queue {
    let options = options.backoff(Backoff::none());
    log.consumer("work").unwrap().into_queue(options).unwrap()
}

/// All that is to be had, leased at once.
fn all(queue: &Queue) -> Vec<Lease> {
    queue.next_batch(usize::MAX, Duration::ZERO).unwrap()
}

fn seqs(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.record().seq()).collect()
}

/// A letter was named by its record alone. Once the cursor was set back, or deleted and made anew, a record
/// that failed again was taken for the repeat of the first letter, and was gone without one.
#[test]
fn does_a_record_that_fails_again_after_going_back_get_a_letter_again() {
    let (_, options) = sim();
    let log = filled(&options, 2);
    let dead = options.clone().open("/dead").unwrap();
    let how = || QueueOptions::new().deliveries_max(1).dead_letters(&dead);
    let fail = |queue: &Queue| {
        let leases = all(queue);
        assert_eq!(seqs(&leases), [0, 1]);
        drop(leases);
        assert!(queue.try_next().unwrap().is_none());
        assert_eq!(queue.seq(), 2);
    };
    let letters = || {
        let numbers = dead.scan(..).unwrap();
        let numbers = numbers.map(|letter| letter.unwrap().producer().unwrap().number);
        numbers.collect::<Vec<_>>()
    };
    let first = queue(&log, how());
    fail(&first);
    assert_eq!(letters(), [0, 1]);
    first.seek(0).unwrap();
    fail(&first);
    assert_eq!(letters(), [0, 1, 0, 1]);
    drop(first);
    log.set_cursor("work", 0).unwrap();
    fail(&queue(&log, how()));
    assert_eq!(letters().len(), 6);
    log.delete_cursor("work").unwrap();
    fail(&queue(&log, how()));
    assert_eq!(letters().len(), 8);
}

/// And yet a letter that was written right before a crash is not written again.
#[test]
fn is_a_letter_of_any_round_written_once_across_a_crash() {
    let (mut disk, options) = sim();
    let mut log = filled(&options, 1);
    let mut dead = options.clone().open("/dead").unwrap();
    let how = |dead: &Log| QueueOptions::new().deliveries_max(1).dead_letters(dead);
    for round in 1..4 {
        let dealt = queue(&log, how(&dead));
        drop(all(&dealt));
        let fails = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Eio));
        let tail = log.segments().unwrap().pop().unwrap().id;
        disk.fail(fails.on(format!("/log/{:020}.seg", tail.0)));
        assert_eq!(
            kind(dealt.try_next()),
            ErrorKind::Io,
            "what follows the letter"
        );
        assert_eq!(dead.next_seq(), round);
        disk = disk.kill();
        log = on(&disk).open("/log").unwrap();
        dead = on(&disk).open("/dead").unwrap();
        let dealt = queue(&log, how(&dead));
        assert!(dealt.try_next().unwrap().is_none());
        assert_eq!((dealt.seq(), dead.next_seq()), (1, round));
        dealt.seek(0).unwrap();
    }
}

/// Records were done before a restart, and the one below them after it: the position went as far as the
/// queue had read again, and there it stood, with all that retention was to keep for it.
#[test]
fn does_the_position_pass_what_was_done_before_a_restart() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    let holds = ConsumerOptions::new().holds(true);
    let dealt = log.consumer_with("work", &holds).unwrap();
    let dealt = dealt.into_queue(QueueOptions::new()).unwrap();
    let mut leases = all(&dealt);
    leases.drain(1..).for_each(|lease| lease.ack().unwrap());
    drop((leases, dealt, log));
    let log = on(&lost(&disk)).open("/log").unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let leases = all(&dealt);
    assert_eq!(seqs(&leases), [0]);
    leases.into_iter().for_each(|lease| lease.ack().unwrap());
    assert_eq!((dealt.seq(), dealt.lag()), (3, 0));
    let info = &log.cursors().unwrap()[0];
    assert_eq!((info.seq, info.pending_count), (3, 0));
    assert_eq!(log.held_seq().unwrap(), Some(3));
}

/// The same where nothing is left to be done, since what was in flight is not in the log any more.
#[test]
fn does_the_position_pass_what_is_not_there_any_more() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    let put = |log: &Log, key: &str| {
        let record = [NewRecord::keyed(key, "value")];
        log.append_records(&record, &AppendOptions::new()).unwrap();
    };
    put(&log, "a");
    put(&log, "b");
    drop(all(&queue(&log, QueueOptions::new())));
    (0..30).for_each(|_| ["a", "b"].map(|key| put(&log, key)).into_iter().collect());
    log.rotate().unwrap();
    let how = CompactOptions::new()
        .rate_bytes_per_s(None)
        .dirty_ratio_min(0.0);
    log.compact(&how).unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let leases = all(&dealt);
    assert_eq!(seqs(&leases), [60, 61], "of each key the newest");
    assert_eq!(dealt.seq(), 60, "0 and 1 are gone");
    leases.into_iter().for_each(|lease| lease.ack().unwrap());
    assert_eq!(dealt.seq(), 62);
    // Nothing follows that would show it.
    put(&log, "c");
    drop(all(&dealt));
    log.rewind(62).unwrap();
    drop(dealt);
    let dealt = queue(&log, QueueOptions::new());
    assert!(dealt.try_next().unwrap().is_none());
    assert_eq!((dealt.seq(), dealt.lag()), (63, 0));
    let after = on(&lost(&disk)).open("/log").unwrap();
    assert_eq!(after.cursors().unwrap()[0].seq, 63, "and that is durable");
}

/// A queue told `Closed` where it says that it gives nothing more.
#[test]
fn does_a_queue_of_a_closed_log_give_nothing_and_of_a_poisoned_one_the_error() {
    let (_, options) = sim();
    let log = filled(&options, 3);
    let dealt = queue(&log, QueueOptions::new());
    let lease = dealt.next().unwrap().unwrap();
    log.close().unwrap();
    assert!(dealt.next().unwrap().is_none());
    assert!(dealt.try_next().unwrap().is_none());
    assert!(dealt.next_timeout(Duration::MAX).unwrap().is_none());
    assert!(all(&dealt).is_empty());
    assert_eq!(kind(lease.ack()), ErrorKind::Closed);
    assert_eq!(kind(dealt.seek(0)), ErrorKind::Closed);

    let (disk, options) = sim();
    let log = filled(&options, 3);
    let dealt = queue(&log, QueueOptions::new());
    let failed = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    disk.fail(FaultRule::nth(OpKind::Sync, 0, failed));
    log.append("x").unwrap_err();
    for _ in 0..2 {
        assert_eq!(kind(dealt.next()), ErrorKind::Poisoned);
    }
}

/// A queue could not be sent elsewhere: it was to be dropped, and its cursor set, and made anew. What was
/// handed out before means nothing afterwards.
#[test]
fn does_a_queue_go_elsewhere_and_leave_its_leases_behind() {
    let (disk, options) = sim();
    let log = filled(&options, 4);
    let dealt = queue(&log, QueueOptions::new());
    let mut before = all(&dealt);
    before.pop().unwrap().ack().unwrap();
    dealt.seek(1).unwrap();
    assert_eq!(
        (dealt.seq(), dealt.lag(), dealt.in_flight().len()),
        (1, 3, 0)
    );
    let mut after = all(&dealt);
    assert_eq!(seqs(&after), [1, 2, 3]);
    assert!(after.iter().all(|lease| lease.delivery_count() == 1));
    let mut old = before.pop().unwrap();
    assert_eq!(old.record().seq(), 2);
    assert!(!old.extend());
    let output = [NewRecord::value("output")];
    let void = before.pop().unwrap().append(&output, &AppendOptions::new());
    assert_eq!(kind(void), ErrorKind::Duplicate);
    old.ack().unwrap();
    drop(before);
    let open = dealt.in_flight();
    assert_eq!(open.iter().map(|it| it.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        open.iter()
            .all(|it| it.lease_left.is_some() && it.delivery_count == 1)
    );
    after.remove(0).ack().unwrap();
    assert_eq!(dealt.seq(), 2, "2 is to be done once more");
    assert_eq!(kind(dealt.seek(9)), ErrorKind::InvalidInput);
    assert_eq!(dealt.in_flight().len(), 2, "it stays where it was");
    let log = on(&lost(&disk)).open("/log").unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 2);
}

/// Each delivery was a write and two syncs of its own.
#[test]
fn do_the_deliveries_of_a_batch_share_one_write() {
    let (_, options) = sim();
    let log = filled(&options, 10);
    let dead = options.clone().open("/dead").unwrap();
    let how = QueueOptions::new()
        .deliveries_max(1)
        .in_flight_max(7)
        .dead_letters(&dead);
    let dealt = queue(&log, how);
    let syncs = || log.stats().sync_count;
    let before = syncs();
    let mut first = dealt.next_batch(4, Duration::ZERO).unwrap();
    assert_eq!((seqs(&first), syncs() - before), (vec![0, 1, 2, 3], 1));
    assert!(dealt.next_batch(0, Duration::MAX).unwrap().is_empty());
    let second = dealt.next_batch(4, Duration::ZERO).unwrap();
    assert_eq!(seqs(&second), [4, 5, 6], "no more may be in flight");
    assert!(all(&dealt).is_empty());
    // What failed is buried, and others are dealt out, each by the call that finds it first.
    first.remove(1).release();
    second.into_iter().for_each(|lease| lease.ack().unwrap());
    let third = all(&dealt);
    assert_eq!((seqs(&third), dead.next_seq()), (vec![7, 8, 9], 1));
}

/// A consumer's records by the batch: what was read before an error is given, and then the error.
#[test]
fn does_a_consumer_give_batches_and_errors_after_them() {
    let (disk, options) = sim();
    let log = filled(&options, 30);
    let mut mail = log.consumer("mail").unwrap();
    let mut batch = |max| {
        let batch = mail.next_batch(max, Duration::ZERO)?;
        cairnlog::Result::Ok(batch.iter().map(|it| it.seq()).collect::<Vec<_>>())
    };
    assert_eq!(batch(0).unwrap(), [0; 0]);
    assert_eq!(batch(4).unwrap(), [0, 1, 2, 3]);
    log.rotate().unwrap();
    disk.flip_bit(Path::new("/log/00000000000000000002.seg"), 128 + 24 + 8, 0);
    let before = batch(100).unwrap();
    assert!((1..26).contains(&before.len()), "{before:?}");
    for _ in 0..2 {
        assert_eq!(kind(batch(100)), ErrorKind::Damaged);
    }
    mail.seek(30).unwrap();
    assert!(rest(&mut mail).is_empty());
    fill(&log, 1);
    assert_eq!(mail.next_batch(9, Duration::MAX).unwrap().len(), 1);
}

#[test]
fn can_a_cursor_be_deleted_and_made_anew() {
    let (_, options) = sim();
    let log = filled(&options, 3);
    for _ in 0..3 {
        let dealt = queue(&log, QueueOptions::new());
        assert_eq!(dealt.name(), "work");
        let leases = all(&dealt);
        assert_eq!(leases[0].delivery_count(), 1);
        drop(dealt);
        assert_eq!(
            kind(log.delete_cursor("work")),
            ErrorKind::Locked,
            "leases are out"
        );
        drop(leases);
        log.delete_cursor("work").unwrap();
        assert!(log.cursors().unwrap().is_empty());
    }
}
