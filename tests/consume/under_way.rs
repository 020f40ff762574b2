//! What may happen while the move of a cursor is being written, or an append that moves it is?
//!
//! Single calls one after the other never meet here, and threads that only race hardly ever do: so a call
//! to the disk is held, and the other one comes meanwhile.

use crate::{filled, gated::Gated, kind, on};
use cairnlog::{
    AppendOptions, Consumer, ErrorKind, Log, NewRecord, QueueOptions,
    vfs::sim::{Choice, OpKind, SimFs},
};
use std::{sync::Arc, thread, time::Duration};

/// Long enough for a thread to come to where it waits.
const SOON: Duration = Duration::from_millis(60);
const SEGMENT: &str = ".seg";

/// A log with so many records, on a disk whose calls can be held.
fn subject(count: u64) -> (Gated, Log) {
    let gated = Gated::new(&SimFs::new(1));
    let options = on(&gated.disk).vfs(Arc::new(gated.clone()));
    let log = filled(&options, count);
    (gated, log)
}

/// The log as a power cut leaves it.
fn after_power_cut(gated: &Gated) -> Log {
    let lost = gated.disk.crash_at(u64::MAX).state(&Choice::lost());
    on(&lost).open("/log").unwrap()
}

fn consumer(log: &Log) -> Arc<Consumer> {
    Arc::new(log.consumer("mail").unwrap())
}

/// The second acknowledgement came while the move of the first was on its way, which does not have it. If it
/// counted as stored with that, it was told and lost with the power.
#[test]
fn is_an_acknowledgement_that_came_during_a_write_in_the_next() {
    let (gated, log) = subject(10);
    let mail = consumer(&log);
    gated.hold(OpKind::Sync, SEGMENT);
    let ack = |seq| {
        let mail = mail.clone();
        thread::spawn(move || mail.ack(seq).unwrap())
    };
    let first = ack(3);
    gated.wait_until_held();
    let second = ack(7);
    thread::sleep(SOON);
    gated.release();
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(after_power_cut(&gated).consumer("mail").unwrap().seq(), 8);
}

/// The same of two workers of a queue.
#[test]
fn is_work_that_was_done_during_a_write_in_the_next() {
    let (gated, log) = subject(2);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    let (one, two) = (queue.next().unwrap(), queue.next().unwrap());
    gated.hold(OpKind::Sync, SEGMENT);
    let first = thread::spawn(move || one.unwrap().ack().unwrap());
    gated.wait_until_held();
    let second = thread::spawn(move || two.unwrap().ack().unwrap());
    thread::sleep(SOON);
    gated.release();
    first.join().unwrap();
    second.join().unwrap();
    let after = after_power_cut(&gated);
    assert_eq!(after.consumer("mail").unwrap().seq(), 2);
}

/// An append that moves the cursor was in flight, and somebody acknowledged more. What was stored in
/// between did not account for the move, which then won over it: records that were done came again.
#[test]
fn does_an_acknowledgement_during_a_move_stay() {
    let (gated, log) = subject(10);
    let mail = consumer(&log);
    gated.hold(OpKind::Sync, SEGMENT);
    let its = mail.clone();
    let moves = thread::spawn(move || {
        let output = [NewRecord::value("of the fifth")];
        its.append(&output, 4, &AppendOptions::new()).unwrap()
    });
    gated.wait_until_held();
    let its = mail.clone();
    let acks = thread::spawn(move || its.ack(8).unwrap());
    thread::sleep(SOON);
    gated.release();
    assert_eq!(moves.join().unwrap(), 10..11);
    acks.join().unwrap();
    assert_eq!(mail.seq(), 9);
    drop((mail, log));
    assert_eq!(after_power_cut(&gated).consumer("mail").unwrap().seq(), 9);
}

/// Two that come with the output of the same record: one of them is the second.
#[test]
fn is_the_output_of_a_record_appended_once_by_two_at_once() {
    let (gated, log) = subject(3);
    let mail = consumer(&log);
    gated.hold(OpKind::Sync, SEGMENT);
    let append = || {
        let mail = mail.clone();
        thread::spawn(move || {
            let output = [NewRecord::value("of the second")];
            mail.append(&output, 1, &AppendOptions::new())
        })
    };
    let first = append();
    gated.wait_until_held();
    let second = append();
    thread::sleep(SOON);
    gated.release();
    assert_eq!(first.join().unwrap().unwrap(), 3..4);
    assert_eq!(kind(second.join().unwrap()), ErrorKind::Duplicate);
    assert_eq!(log.next_seq(), 4);
}

/// A delivery is stored before the record is handed out, which takes its time. Meanwhile nobody else gets it.
#[test]
fn is_a_record_given_to_another_while_its_delivery_is_stored() {
    let (gated, log) = subject(1);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    gated.hold(OpKind::Sync, SEGMENT);
    let its = queue.clone();
    let first = thread::spawn(move || its.next().unwrap().unwrap());
    gated.wait_until_held();
    let its = queue.clone();
    let second = thread::spawn(move || {
        its.next_timeout(SOON)
            .unwrap()
            .map(|it| it.delivery_count())
    });
    thread::sleep(2 * SOON);
    gated.release();
    let lease = first.join().unwrap();
    assert_eq!(second.join().unwrap(), None, "it is the other one's");
    assert_eq!((lease.record().seq(), lease.delivery_count()), (0, 1));
    lease.ack().unwrap();
    assert_eq!(queue.seq(), 1);
}

/// And the next worker gets the next one.
#[test]
fn do_two_workers_at_once_get_two_records() {
    let (gated, log) = subject(2);
    let queue = log.consumer("mail").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    gated.hold(OpKind::Sync, SEGMENT);
    let take = || {
        let queue = queue.clone();
        thread::spawn(move || queue.next().unwrap().unwrap())
    };
    let first = take();
    gated.wait_until_held();
    let second = take();
    thread::sleep(SOON);
    gated.release();
    let leases = [first.join().unwrap(), second.join().unwrap()];
    let dealt = leases
        .each_ref()
        .map(|it| (it.record().seq(), it.delivery_count()));
    assert_eq!(dealt, [(0, 1), (1, 1)]);
}
