//! Jobs that wait: after a failure, because somebody says so, or until their own time. Do they come when they
//! are due, also after a crash, and do those behind them not wait?

use crate::{PATIENCE, filled, lost, on, sim};
use cairnlog::{AppendOptions, Backoff, Lease, Log, NewRecord, Queue, QueueOptions};
use std::{thread, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn queue(log: &Log, options: QueueOptions) -> Queue {
    log.consumer("work").unwrap().into_queue(options).unwrap()
}

fn told(lease: Option<Lease>) -> Option<(u64, u32)> {
    lease.map(|it| (it.record().seq(), it.delivery_count()))
}

/// A job that failed was given again at once: its five tries were gone in 44 ms.
#[test]
fn does_a_dropped_lease_wait_for_the_back_off() {
    let (disk, options) = sim();
    let log = filled(&options, 2);
    let dead = options.clone().open("/dead").unwrap();
    let backoff = Backoff::exponential(SECOND, 3 * SECOND);
    let how = QueueOptions::new().deliveries_max(4).backoff(backoff);
    let dealt = queue(&log, how.dead_letters(&dead));
    let next = || dealt.try_next().unwrap();
    drop(next().unwrap());
    next().expect("those behind it do not wait").ack().unwrap();
    for (count, seconds) in [(2, 1), (3, 2), (4, 3)] {
        disk.advance(seconds * SECOND - Duration::from_millis(1));
        assert!(next().is_none(), "delivery {count} came early");
        disk.advance(Duration::from_millis(1));
        assert_eq!(told(next()), Some((0, count)));
    }
    assert_eq!(dead.next_seq(), 0);
    disk.advance(3 * SECOND);
    assert!(next().is_none());
    assert_eq!((dead.next_seq(), dealt.seq()), (1, 2));
    // By default as well, and not where somebody says that it is to come now.
    let dealt = queue(&filled(&on(&lost(&disk)), 1), QueueOptions::new());
    drop(dealt.try_next().unwrap().unwrap());
    assert!(dealt.try_next().unwrap().is_none());
    disk.advance(SECOND);
}

#[test]
fn does_a_lease_that_is_released_come_at_once_whatever_the_back_off() {
    let (_, options) = sim();
    let log = filled(&options, 1);
    let dealt = queue(&log, QueueOptions::new().backoff(Backoff::constant(SECOND)));
    dealt.try_next().unwrap().unwrap().release();
    assert_eq!(told(dealt.try_next().unwrap()), Some((0, 2)));
}

/// The delay is the worker's word, and stays so when the power goes.
#[test]
fn does_a_released_job_come_after_its_delay_also_after_a_crash() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    let dealt = queue(&log, QueueOptions::new());
    let first = dealt.try_next().unwrap().unwrap();
    first.release_after(60 * SECOND).unwrap();
    for seq in [1, 2] {
        let job = dealt.try_next().unwrap().unwrap();
        assert_eq!(job.record().seq(), seq);
        job.ack().unwrap();
    }
    assert!(dealt.try_next().unwrap().is_none());
    assert_eq!((dealt.seq(), dealt.lag()), (0, 3), "it is not done");
    // Through a seal, and the file that is stored for it.
    log.rotate().unwrap();
    for mut after in [lost(&disk), disk.kill()] {
        for _ in 0..2 {
            let log = on(&after).open("/log").unwrap();
            let dealt = queue(&log, QueueOptions::new());
            assert!(dealt.try_next().unwrap().is_none(), "it came early");
            drop((dealt, log));
            after = lost(&after);
        }
        after.advance(60 * SECOND);
        let log = on(&after).open("/log").unwrap();
        let dealt = queue(&log, QueueOptions::new());
        let job = dealt.try_next().unwrap().unwrap();
        assert_eq!(job.delivery_count(), 2);
        job.ack().unwrap();
        assert_eq!(dealt.seq(), 3);
    }
}

/// A worker that waits knows when.
#[test]
fn is_a_worker_woken_when_the_time_of_a_job_comes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("job").unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let its = dealt.clone();
    let job = dealt.next().unwrap().unwrap();
    let waiting = thread::spawn(move || told(its.next_timeout(PATIENCE).unwrap()));
    thread::sleep(Duration::from_millis(30)); // Until it waits.
    job.release_after(Duration::from_millis(60)).unwrap();
    assert_eq!(waiting.join().unwrap(), Some((0, 2)));
}

#[cfg(feature = "async")]
#[test]
fn is_a_task_woken_when_the_time_of_a_job_comes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("job").unwrap();
    let dealt = queue(&log, QueueOptions::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let job = dealt.next_async().await.unwrap().unwrap();
        job.release_after(Duration::from_millis(60)).unwrap();
        assert_eq!(told(dealt.next_async().await.unwrap()), Some((0, 2)));
    });
}

/// Jobs to be done later, among others. Without the option a time is a time.
#[test]
fn does_a_job_with_a_time_to_come_wait_for_it_and_nobody_for_the_job() {
    let (disk, options) = sim();
    let log = filled(&options, 1);
    let now_ms = log.get(0).unwrap().unwrap().timestamp_ms();
    for (value, seconds) in [("late", 90), ("soon", 30), ("past", -5)] {
        let job = NewRecord::value(value).timestamp_ms(now_ms + seconds * 1000);
        log.append_with(job, &AppendOptions::new()).unwrap();
    }
    let how = || QueueOptions::new().by_time(true);
    let dealt = queue(&log, how());
    let seqs = |dealt: &Queue| -> Vec<u64> {
        let jobs = dealt.next_batch(9, Duration::ZERO).unwrap();
        let seqs = jobs.iter().map(|job| job.record().seq()).collect();
        jobs.into_iter().for_each(|job| job.ack().unwrap());
        seqs
    };
    assert_eq!(seqs(&dealt), [0, 3]);
    assert_eq!(dealt.seq(), 1);
    disk.advance(31 * SECOND);
    assert_eq!(seqs(&dealt), [2]);
    drop((dealt, log));
    let disk = lost(&disk);
    let log = on(&disk).open("/log").unwrap();
    let dealt = queue(&log, how());
    assert_eq!(seqs(&dealt), [0; 0]);
    disk.advance(200 * SECOND);
    assert_eq!(seqs(&dealt), [1]);
    assert_eq!(dealt.seq(), 4);
    dealt.seek(1).unwrap();
    drop(dealt);
    assert_eq!(seqs(&queue(&log, QueueOptions::new())), [1, 2, 3]);
}
