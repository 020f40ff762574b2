//! A delivery is counted durably before the record is handed out, and yet many share one write: is each
//! counted, and is none taken from a record that was never handed out?

use crate::{filled, lost, on, sim};
use cairnlog::{Backoff, Lease, Log, Queue, QueueOptions, vfs::sim::SimFs};
use std::{collections::BTreeSet, time::Duration};

fn queue(log: &Log, options: QueueOptions) -> Queue {
    let options = options.backoff(Backoff::none());
    log.consumer("work").unwrap().into_queue(options).unwrap()
}

fn take(queue: &Queue) -> Lease {
    queue.try_next().unwrap().expect("there is one")
}

/// Of each record that is given after a power cut: how often it was handed out, this time included.
fn counts_after(disk: &SimFs) -> Vec<(u64, u32)> {
    let log = on(&lost(disk)).open("/log").unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let leases = dealt.next_batch(100, Duration::ZERO).unwrap();
    let told = |lease: &Lease| (lease.record().seq(), lease.delivery_count());
    leases.iter().map(told).collect()
}

/// A worker that takes one job after the other: each cost two syncs.
#[test]
fn does_a_job_cost_little_more_than_its_acknowledgement() {
    let (_, options) = sim();
    let log = filled(&options, 200);
    let dealt = queue(&log, QueueOptions::new());
    let before = log.stats().sync_count;
    for seq in 0..200 {
        let job = take(&dealt);
        assert_eq!((job.record().seq(), job.delivery_count()), (seq, 1));
        job.ack().unwrap();
    }
    let syncs = log.stats().sync_count - before;
    assert!(syncs <= 200 + 20, "{syncs} syncs");
    assert_eq!(dealt.seq(), 200);
}

/// Whatever was handed out is counted, whenever the power goes. What was not may have lost one try, not more.
#[test]
fn is_every_delivery_counted_before_it_comes() {
    let (disk, options) = sim();
    let log = filled(&options, 60);
    let dealt = queue(&log, QueueOptions::new());
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(take(&dealt));
        let handed: BTreeSet<u64> = jobs.iter().map(|job| job.record().seq()).collect();
        for (seq, count) in counts_after(&disk) {
            match handed.contains(&seq) {
                true => assert_eq!(count, 2, "record {seq}"),
                false => assert!(count <= 2, "record {seq}: {count}"),
            }
        }
    }
    // What is given again is counted by itself: as often as it was handed out.
    jobs.truncate(3);
    for count in 2..5 {
        let again = take(&dealt);
        assert_eq!((again.record().seq(), again.delivery_count()), (3, count));
        assert_eq!(counts_after(&disk)[3], (3, count + 1));
    }
}

/// A queue that is dropped in order takes nothing from those that it did not hand out.
#[test]
fn is_what_was_counted_and_does_not_come_taken_back() {
    let (disk, options) = sim();
    let log = filled(&options, 60);
    let dealt = queue(&log, QueueOptions::new());
    let jobs: Vec<Lease> = (0..9).map(|_| take(&dealt)).collect();
    assert!(
        counts_after(&disk)
            .iter()
            .filter(|(_, count)| *count == 2)
            .count()
            > 9
    );
    drop((jobs, dealt));
    let counts = counts_after(&disk);
    assert_eq!(counts.len(), 60);
    assert!(
        counts
            .iter()
            .all(|(seq, count)| *count == 1 + u32::from(*seq < 9)),
        "{counts:?}"
    );
}

/// With one try, a record that was counted and never handed out would go to the dead letters unseen.
#[test]
fn is_nothing_counted_ahead_that_has_one_try() {
    let (disk, options) = sim();
    let log = filled(&options, 60);
    let dead = options.clone().open("/dead").unwrap();
    let how = || QueueOptions::new().deliveries_max(1);
    let dealt = queue(&log, how().dead_letters(&dead));
    let jobs: Vec<Lease> = (0..9).map(|_| take(&dealt)).collect();
    let disk = lost(&disk);
    let (log, dead) = (
        on(&disk).open("/log").unwrap(),
        on(&disk).open("/dead").unwrap(),
    );
    let dealt = queue(&log, how().dead_letters(&dead));
    let rest = (0..51).map(|_| take(&dealt));
    assert!(rest.map(|job| job.ack()).all(|acked| acked.is_ok()));
    assert_eq!((dealt.seq(), dead.next_seq()), (60, 9));
    drop(jobs);
}

/// Two workers at once: one is given what is being counted with the other's.
#[test]
fn do_many_workers_share_what_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append_batch((0..800).map(|n| n.to_string())).unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let done: Vec<u64> = std::thread::scope(|scope| {
        let work = || {
            let own = std::iter::from_fn(|| dealt.try_next().unwrap());
            let done = own.map(|job| {
                assert_eq!(job.delivery_count(), 1);
                let seq = job.record().seq();
                job.ack().unwrap();
                seq
            });
            done.collect::<Vec<u64>>()
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert_eq!(done.len(), 800);
    assert_eq!(done.into_iter().collect::<BTreeSet<u64>>().len(), 800);
    assert_eq!(dealt.seq(), 800);
}
