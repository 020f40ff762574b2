//! Is there a bad schedule for logs that share threads? Whoever is called between its last look and its
//! rest has a turn; closing and dropping wait for no turn that never comes.

use crate::{appender, check, explore, options};
use cairnlog::{AppendOptions, Durability, Log, NewRecord, Worker, vfs::sim::SimFs};
use shuttle::thread;

fn open(disk: &SimFs, worker: &Worker, name: &str) -> Log {
    let options = options(disk).background(true).worker(worker.clone());
    options.open(name).unwrap()
}

#[test]
fn tickets_that_nobody_waits_for_are_served_in_turns() {
    explore(|| {
        let disk = SimFs::new(51);
        let worker = Worker::new(2).unwrap();
        let logs = ["a", "b", "c"].map(|name| open(&disk, &worker, name));
        drop(worker);
        for log in &logs {
            drop(
                log.submit(&[NewRecord::value(b"0")], &AppendOptions::new())
                    .unwrap(),
            );
        }
        let appending = appender(&logs[0], 1, 3);
        for log in &logs {
            drop(
                log.submit(&[NewRecord::value(b"1")], &AppendOptions::new())
                    .unwrap(),
            );
        }
        for log in &logs[1..] {
            let mut tail = log.tail(0);
            for seq in 0..2 {
                assert_eq!(tail.next().unwrap().unwrap().seq(), seq);
            }
        }
        check(&logs[0], &appending.join().unwrap());
        logs[1].close().unwrap();
        // Those that are left end with their handles.
    });
}

/// The queue is full, and who makes room is a worker that is busy with another log.
#[test]
fn who_waits_for_a_shared_worker_to_make_room_is_not_forgotten() {
    explore(|| {
        let disk = SimFs::new(52);
        let worker = Worker::new(2).unwrap();
        let threads = ["a", "b"].map(|name| {
            let options = options(&disk).background(true).worker(worker.clone());
            let options = options.durability(Durability::Buffered).buffer_bytes(60);
            let log = options.queue_bytes_max(200).open(name).unwrap();
            (appender(&log, 1, 6), log)
        });
        for (thread, log) in threads {
            let acked = thread.join().unwrap();
            log.sync().unwrap();
            check(&log, &acked);
            log.close().unwrap();
        }
    });
}

/// Handles are dropped while the worker has, or is about to have, a turn of theirs.
#[test]
fn the_last_handle_may_go_at_any_moment() {
    explore(|| {
        let disk = SimFs::new(53);
        let worker = Worker::new(2).unwrap();
        let log = open(&disk, &worker, "log");
        let other = log.clone();
        let how = AppendOptions::new();
        drop(log.submit(&[NewRecord::value(&[7; 200])], &how).unwrap());
        let dropping = thread::spawn(move || drop(other));
        drop(log.submit(&[NewRecord::value(&[8; 200])], &how).unwrap());
        drop((log, worker));
        dropping.join().unwrap();
        let next = options(&disk).open("log").unwrap();
        assert_eq!(next.recovery().verdict.to_string(), "clean");
        assert_eq!(next.next_seq(), 2);
    });
}

/// Whatever is opened closes what rests, whoever is about to come for that.
#[test]
fn files_that_are_closed_and_opened_again_are_there_for_all_who_come() {
    explore(|| {
        let disk = SimFs::new(53);
        let worker = Worker::new(2).unwrap().open_files_max(0);
        let logs = ["a", "b"].map(|name| open(&disk, &worker, name));
        drop(worker);
        let threads = logs.each_ref().map(|log| appender(log, 1, 3));
        let mut tail = logs[0].tail(0);
        for seq in 0..3 {
            assert_eq!(tail.next().unwrap().unwrap().seq(), seq);
        }
        for (log, thread) in logs.iter().zip(threads) {
            check(log, &thread.join().unwrap());
        }
        logs[0].rotate().unwrap();
        drop((logs, tail));
        // A thread of the pool may be looking over a file right now, and let go of it last.
        for _ in 0..1000 {
            if disk.open_count() == 0 {
                return;
            }
            thread::yield_now();
        }
        assert_eq!(disk.open_count(), 0);
    });
}
