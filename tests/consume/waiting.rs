//! Does every call that waits end: by what it waits for, by its deadline, or because somebody says so?

use crate::{PATIENCE, filled, gated::Gated, on, sim};
use cairnlog::{
    InterruptHandle, Log, Options, QueueOptions,
    vfs::sim::{OpKind, SimFs},
};
use std::{sync::Arc, thread, time::Duration};

/// A worker that looks for work while the delivery of another's record is being stored knew of no end of its
/// lease, and nobody told it of the one that began then: it slept on when the other one hung.
#[test]
fn is_a_worker_woken_by_the_end_of_a_lease_that_began_while_it_waited() {
    let gated = Gated::new(&SimFs::new(1));
    let log = filled(&on(&gated.disk).vfs(Arc::new(gated.clone())), 1);
    let term = Duration::from_millis(20);
    let queue = log.consumer("work").unwrap();
    let queue = queue.into_queue(QueueOptions::new().lease(term)).unwrap();
    gated.hold(OpKind::Sync, ".seg");
    let its = queue.clone();
    let first = thread::spawn(move || its.next().unwrap().unwrap());
    gated.wait_until_held();
    let its = queue.clone();
    let second = thread::spawn(move || its.next_timeout(PATIENCE).unwrap());
    thread::sleep(Duration::from_millis(60)); // Until it waits.
    gated.release();
    let hung = first.join().unwrap();
    gated.disk.advance(term);
    let again = second.join().unwrap().expect("the lease ended");
    assert_eq!((again.record().seq(), again.delivery_count()), (0, 2));
    drop(hung);
}

fn soon(stop: &InterruptHandle) {
    let stop = stop.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        stop.interrupt();
    });
}

/// Only closing the log ended a wait, for everybody at once.
#[test]
fn does_an_interruption_end_the_waits_of_one_consumer_or_queue() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let mut mail = log.consumer("mail").unwrap();
    let stop = mail.interrupt_handle();
    assert!(!stop.is_interrupted());
    soon(&stop);
    assert!(mail.next().unwrap().is_none());
    assert!(stop.is_interrupted());
    log.append("news").unwrap();
    // Nor does it begin to wait, and what is there stays there for who wants it.
    assert!(mail.next_timeout(PATIENCE).unwrap().is_none());
    assert!(mail.next_batch(9, PATIENCE).unwrap().is_empty());
    assert_eq!(mail.try_next().unwrap().unwrap().seq(), 0);

    let queue = log.consumer("work").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    queue.next().unwrap().unwrap().ack().unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || queue.next().unwrap().is_none())
        })
        .collect();
    soon(&queue.interrupt_handle());
    assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
    log.append("job").unwrap();
    assert!(queue.next_batch(9, PATIENCE).unwrap().is_empty());
    assert_eq!(queue.try_next().unwrap().unwrap().record().seq(), 1);
}

#[test]
fn does_a_handle_that_interrupts_keep_the_log_open() {
    let (_, options): (SimFs, Options) = sim();
    let log = filled(&options, 1);
    let stop = log.consumer("mail").unwrap().interrupt_handle();
    drop(log);
    let log = options.open("/log").unwrap();
    stop.interrupt();
    assert!(
        log.consumer("mail").unwrap().next().unwrap().is_some(),
        "another one"
    );
}

#[test]
fn does_each_wait_end_at_its_deadline() {
    let (_, options) = sim();
    let log = filled(&options, 0);
    let short = Duration::from_millis(5);
    let mut mail = log.consumer("mail").unwrap();
    assert!(mail.next_timeout(short).unwrap().is_none());
    assert!(mail.next_batch(3, short).unwrap().is_empty());
    let queue = log.consumer("work").unwrap();
    let queue = queue.into_queue(QueueOptions::new()).unwrap();
    assert!(queue.next_timeout(short).unwrap().is_none());
    assert!(queue.next_batch(3, short).unwrap().is_empty());
}
