//! Many workers: leases, deliveries, dead letters, room.

use crate::{fill, filled, kind, on, sim};
use cairnlog::{
    Backoff, ErrorKind, Lease, Log, Producer, Queue, QueueOptions,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

const NOW: Duration = Duration::ZERO;

/// What is dropped is there again at once.
fn queue(log: &Log, options: QueueOptions) -> Queue {
    let options = options.backoff(Backoff::none());
    log.consumer("work").unwrap().into_queue(options).unwrap()
}

fn take(queue: &Queue) -> Option<Lease> {
    queue.next_timeout(NOW).unwrap()
}

/// The next record's seq and how often it was handed out.
fn told(lease: &Lease) -> (u64, u32) {
    (lease.record().seq(), lease.delivery_count())
}

#[test]
fn is_each_record_with_one_worker_and_are_all_done_once() {
    let (_, options) = sim();
    let log = filled(&options, 3);
    let queue = queue(&log, QueueOptions::new());
    let leases: Vec<Lease> = (0..3).map(|_| take(&queue).unwrap()).collect();
    assert_eq!(
        leases.iter().map(told).collect::<Vec<_>>(),
        [(0, 1), (1, 1), (2, 1)]
    );
    assert!(take(&queue).is_none(), "nothing is left to be dealt out");
    // Done in any order, the position is the lowest that is not.
    let mut leases = leases.into_iter();
    let (first, second, third) = (leases.next(), leases.next(), leases.next());
    third.unwrap().ack().unwrap();
    assert_eq!(queue.seq(), 0);
    first.unwrap().ack().unwrap();
    assert_eq!(queue.seq(), 1);
    assert_eq!(log.cursors().unwrap()[0].pending_count, 2);
    second.unwrap().ack().unwrap();
    assert_eq!(queue.seq(), 3);
    assert_eq!(log.cursors().unwrap()[0].pending_count, 0);
    assert_eq!(kind(log.consumer("work")), ErrorKind::Locked);
    drop(queue);
    assert_eq!(log.consumer("work").unwrap().seq(), 3);
}

/// This went by the clock of the machine, with leases of 30 ms, and failed where a thread was away for longer.
#[test]
fn is_a_record_given_again_that_was_released_dropped_or_kept_too_long() {
    let (disk, options) = sim();
    let log = filled(&options, 2);
    let term = Duration::from_secs(60);
    let queue = queue(&log, QueueOptions::new().lease(term));
    take(&queue).unwrap().release();
    drop(take(&queue).unwrap());
    let mut slow = take(&queue).unwrap();
    assert_eq!(told(&slow), (0, 3));
    let mut second = take(&queue).unwrap();
    assert_eq!(told(&second), (1, 1));
    // Extended, it outlives its first term, and the other does not.
    for _ in 0..3 {
        disk.advance(term / 2);
        assert!(slow.extend());
    }
    let taken = take(&queue).unwrap();
    assert_eq!(told(&taken), (1, 2));
    assert!(!second.extend(), "it is over");
    assert!(take(&queue).is_none());
    // Too late, and yet done.
    disk.advance(term);
    let again = take(&queue).unwrap();
    assert_eq!(told(&again), (0, 4), "nobody extended it any more");
    slow.ack().unwrap();
    second.ack().unwrap();
    assert_eq!(queue.seq(), 2);
    again.ack().unwrap();
    disk.advance(2 * term);
    assert!(take(&queue).is_none());
}

#[test]
fn is_a_waiting_worker_woken_by_the_end_of_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("job").unwrap();
    let queue = queue(&log, QueueOptions::new().lease(Duration::from_millis(20)));
    let kept = queue.next().unwrap().unwrap();
    assert_eq!(told(&queue.next().unwrap().unwrap()), (0, 2));
    drop(kept);
}

#[test]
fn are_deliveries_and_work_done_out_of_order_known_after_a_crash() {
    let (disk, options) = sim();
    let log = filled(&options, 5);
    let dealt = queue(&log, QueueOptions::new());
    let mut leases: Vec<Lease> = (0..4).map(|_| take(&dealt).unwrap()).collect();
    leases.remove(2).ack().unwrap();
    leases.remove(0).release();
    let again = take(&dealt).unwrap();
    assert_eq!(told(&again), (0, 2));
    let after = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = on(&after).open("/log").unwrap();
    let info = log.cursors().unwrap();
    // With the next one, which is counted and was not handed out.
    assert_eq!((info[0].seq, info[0].pending_count), (0, 5));
    let dealt = queue(&log, QueueOptions::new());
    let leases: Vec<Lease> = std::iter::from_fn(|| take(&dealt)).collect();
    let all: Vec<_> = leases.iter().map(told).collect();
    assert_eq!(all, [(0, 3), (1, 2), (3, 2), (4, 2)], "record 2 is done");
    leases.into_iter().for_each(|lease| lease.ack().unwrap());
    assert_eq!(dealt.seq(), 5);
}

#[test]
fn does_a_record_that_is_never_done_go_to_the_dead_letters_once() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    let dead = options.clone().open("/dead").unwrap();
    let how = || QueueOptions::new().deliveries_max(2);
    let dealt = queue(&log, how().dead_letters(&dead));
    for round in 1..=2 {
        let leases: Vec<Lease> = (0..3).map(|_| take(&dealt).unwrap()).collect();
        assert!(leases.iter().all(|lease| lease.delivery_count() == round));
        if round == 2 {
            // The last first: dead letters do not come in order.
            let mut leases = leases;
            leases.remove(1).ack().unwrap();
        }
    }
    // Crashed after it was put there, and before it counted as done.
    let rule = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Eio));
    disk.fail(rule.on("/log/00000000000000000001.seg"));
    assert!(dealt.next_timeout(NOW).is_err());
    assert_eq!(dead.next_seq(), 1);
    drop((dealt, log, dead));
    let disk = disk.kill();
    let (log, dead) = (
        on(&disk).open("/log").unwrap(),
        on(&disk).open("/dead").unwrap(),
    );
    let info = log.cursors().unwrap();
    assert_eq!((info[0].seq, info[0].pending_count), (0, 3));
    let dealt = queue(&log, how().dead_letters(&dead));
    assert!(take(&dealt).is_none());
    assert_eq!(dealt.seq(), 3);
    let letters: Vec<_> = dead.scan(..).unwrap().map(Result::unwrap).collect();
    let values: Vec<&[u8]> = letters.iter().map(|letter| &**letter).collect();
    assert_eq!(values, [b"0", b"2"], "and record 0 once");
    let original = log.get(2).unwrap().unwrap();
    assert_eq!(letters[1].timestamp_ms(), original.timestamp_ms());
    assert!(matches!(
        letters[1].producer(),
        Some(Producer { number: 2, .. })
    ));
    // Without such a log a record is handed out for ever.
    drop(dealt);
    log.set_cursor("work", 2).unwrap();
    let dealt = queue(&log, how());
    for count in 1..9 {
        assert_eq!(told(&take(&dealt).unwrap()), (2, count));
    }
}

#[test]
fn does_the_log_of_the_dead_letters_tell_what_it_refuses() {
    let (_, options) = sim();
    let log = filled(&options, 1);
    let dead = options.clone().open("/dead").unwrap();
    let how = QueueOptions::new().deliveries_max(1).dead_letters(&dead);
    let dealt = queue(&log, how);
    drop(take(&dealt).unwrap());
    dead.close().unwrap();
    for _ in 0..2 {
        assert_eq!(kind(dealt.next()), ErrorKind::Closed);
    }
    assert_eq!(dealt.seq(), 0, "it is not lost");
    drop(dealt);
    let consumer = || log.consumer("work").unwrap();
    let own = QueueOptions::new().dead_letters(&log);
    assert_eq!(kind(consumer().into_queue(own)), ErrorKind::InvalidInput);
    for how in [
        QueueOptions::new().in_flight_max(0),
        QueueOptions::new().in_flight_max(4097),
        QueueOptions::new().deliveries_max(0),
    ] {
        assert_eq!(kind(consumer().into_queue(how)), ErrorKind::InvalidInput);
    }
}

#[test]
fn are_no_more_leased_than_may_be() {
    let (_, options) = sim();
    let log = filled(&options, 5);
    let queue = queue(&log, QueueOptions::new().in_flight_max(2));
    let first = take(&queue).unwrap();
    let second = take(&queue).unwrap();
    assert!(take(&queue).is_none());
    let waits = {
        let queue = queue.clone();
        std::thread::spawn(move || told(&queue.next().unwrap().unwrap()))
    };
    second.ack().unwrap();
    assert_eq!(
        waits.join().unwrap(),
        (2, 1),
        "an acknowledgement made room"
    );
    drop(first);
}

/// One record that is never done must not let what is kept in memory and in the file grow for ever.
#[test]
fn is_there_a_bound_on_what_is_done_ahead_of_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let values: Vec<String> = (0..4200).map(|number| number.to_string()).collect();
    log.append_batch(&values).unwrap();
    // The oldest is leased until the end, however slow the disk is.
    let how = QueueOptions::new()
        .lease(Duration::from_secs(3600))
        .in_flight_max(4096);
    let dealt = queue(&log, how);
    let mut leases = dealt.next_batch(9999, NOW).unwrap().into_iter();
    let oldest = leases.next().unwrap();
    assert_eq!(leases.len(), 4095);
    // Many at once, which share their writes.
    let leases = Mutex::new(leases);
    let next = || leases.lock().unwrap().next();
    let work = || std::iter::from_fn(next).for_each(|lease| lease.ack().unwrap());
    std::thread::scope(|scope| (0..64).for_each(|_| drop(scope.spawn(work))));
    assert!(take(&dealt).is_none());
    assert_eq!(log.cursors().unwrap()[0].pending_count, 4096);
    oldest.ack().unwrap();
    assert_eq!(dealt.seq(), 4096);
    assert_eq!(told(&take(&dealt).unwrap()), (4096, 1));
}

#[test]
fn is_a_delivery_that_cannot_be_stored_not_counted() {
    let (disk, options) = sim();
    let log = filled(&options, 1);
    let queue = queue(&log, QueueOptions::new());
    for _ in 0..3 {
        let no_room = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc));
        disk.fail(no_room.for_ever());
        assert_eq!(kind(queue.next()), ErrorKind::NoSpace);
        disk.clear_faults();
    }
    assert_eq!(told(&take(&queue).unwrap()), (0, 1));
}

#[test]
fn are_waiting_workers_woken_by_an_append_and_by_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let queue = queue(&log, QueueOptions::new());
    let done = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, done) = (queue.clone(), done.clone());
            std::thread::spawn(move || {
                while let Some(lease) = queue.next().unwrap() {
                    let seq = lease.record().seq();
                    if (seq + u64::from(lease.delivery_count())) % 3 == 0 {
                        continue; // Gives it back.
                    }
                    lease.ack().unwrap();
                    done.lock().unwrap().push(seq);
                }
            })
        })
        .collect();
    fill(&log, 60);
    while done.lock().unwrap().len() < 60 {
        std::thread::yield_now();
    }
    assert_eq!(queue.seq(), 60);
    log.close().unwrap();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    let done = done.lock().unwrap();
    assert_eq!(done.len(), 60, "none twice");
    let all: BTreeSet<u64> = done.iter().copied().collect();
    assert_eq!(all, (0..60).collect());
}

#[test]
fn is_a_pending_record_that_is_gone_taken_for_done() {
    let (_, options) = sim();
    let log = filled(&options, 6);
    let dealt = queue(&log, QueueOptions::new());
    let leases: Vec<Lease> = (0..6).map(|_| take(&dealt).unwrap()).collect();
    drop((leases, dealt));
    log.rewind(3).unwrap();
    fill(&log, 1);
    let dealt = queue(&log, QueueOptions::new());
    let leases: Vec<Lease> = std::iter::from_fn(|| take(&dealt)).collect();
    let all: Vec<_> = leases.iter().map(told).collect();
    assert_eq!(all, [(0, 2), (1, 2), (2, 2), (6, 1)]);
    leases.into_iter().for_each(|lease| lease.ack().unwrap());
    assert_eq!(
        (dealt.seq(), log.cursors().unwrap()[0].pending_count),
        (7, 0)
    );
}
