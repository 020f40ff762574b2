//! Is there a bad schedule? The real group commit, watermark, queue and waiting reader, driven by
//! shuttle through thousands of interleavings over the simulated disk. A lost wake-up is a deadlock,
//! and shuttle reports it together with the schedule that leads there.
//!
//! Run with `RUSTFLAGS="--cfg cairn_shuttle" cargo test --test schedules`; otherwise it is empty.
#![cfg(cairn_shuttle)]

#[cfg(feature = "seal")]
#[path = "schedules/rewritten.rs"]
mod rewritten;
#[cfg(feature = "async")]
#[path = "schedules/tasks.rs"]
mod tasks;
#[path = "schedules/workers.rs"]
mod workers;

use cairnlog::{
    AppendOptions, Backoff, CompactOptions, Durability, ErrorKind, Log, NewRecord, Options,
    Producer, QueueOptions,
    format::WatermarkFile,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use shuttle::thread;
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

/// Schedules tried for each question; `CAIRN_SCHEDULES` in the environment of the test asks for more.
fn schedules() -> usize {
    std::env::var("CAIRN_SCHEDULES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_000)
}

/// Half of the schedules at random, half by probabilistic concurrency testing with three preemptions.
fn explore(question: fn()) {
    shuttle::check_random(question, schedules() / 2);
    shuttle::check_pct(question, schedules() / 2, 3);
}

fn options(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(512)
        .idle_watermark(None)
        .background(false)
}

fn appender(log: &Log, name: u8, count: u8) -> thread::JoinHandle<Vec<(u64, Vec<u8>)>> {
    let log = log.clone();
    thread::spawn(move || {
        (0..count)
            .map(|number| {
                let value = vec![name, number];
                (log.append(&value).unwrap(), value)
            })
            .collect()
    })
}

fn check(log: &Log, acked: &[(u64, Vec<u8>)]) {
    let all: Vec<(u64, Vec<u8>)> = log
        .scan(..)
        .unwrap()
        .map(|r| r.unwrap())
        .map(|r| (r.seq(), r.to_vec()))
        .collect();
    let seqs: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(
        seqs,
        (0..all.len() as u64).collect::<Vec<_>>(),
        "dense, in order, none twice"
    );
    for record in acked {
        assert!(
            all.contains(record),
            "acknowledged {record:?} is missing from {all:?}"
        );
    }
}

#[test]
fn every_thread_of_a_group_commit_gets_its_answer_and_its_record() {
    explore(|| {
        let disk = SimFs::new(1);
        let log = options(&disk).open("log").unwrap();
        let threads: Vec<_> = (0..3).map(|name| appender(&log, name, 2)).collect();
        let acked: Vec<_> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        assert_eq!(
            acked
                .iter()
                .map(|(seq, _)| *seq)
                .collect::<BTreeSet<_>>()
                .len(),
            6
        );
        check(&log, &acked);
    });
}

#[test]
fn acknowledged_records_survive_power_loss_under_any_schedule() {
    explore(|| {
        let disk = SimFs::new(2);
        let log = options(&disk).open("log").unwrap();
        let threads: Vec<_> = (0..2).map(|name| appender(&log, name, 3)).collect();
        let acked: Vec<_> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        let after = disk.reboot(7);
        let reopened = options(&after).open("log").unwrap();
        check(&reopened, &acked);
    });
}

#[test]
fn a_waiting_tail_is_woken_for_every_record() {
    explore(|| {
        let disk = SimFs::new(3);
        let log = options(&disk).open("log").unwrap();
        let mut tail = log.tail(0);
        let follower = thread::spawn(move || {
            (0..4)
                .map(|_| tail.next().unwrap().unwrap().seq())
                .collect::<Vec<_>>()
        });
        let threads: Vec<_> = (0..2).map(|name| appender(&log, name, 2)).collect();
        threads.into_iter().for_each(|t| drop(t.join().unwrap()));
        assert_eq!(follower.join().unwrap(), [0, 1, 2, 3]);
    });
}

/// Tasks are woken by a thread of their own, which comes with the first and goes with the last of them.
#[cfg(feature = "async")]
#[test]
fn a_waiting_task_is_woken_for_every_record_and_by_the_end() {
    use futures_util::StreamExt;
    explore(|| {
        let disk = SimFs::new(3);
        let log = options(&disk).open("log").unwrap();
        let tails: Vec<_> = (0..2)
            .map(|_| {
                let tail = log.tail(0).into_stream();
                thread::spawn(|| {
                    let seqs = tail.map(|record| record.unwrap().seq()).collect();
                    shuttle::future::block_on::<std::pin::Pin<Box<dyn Future<Output = Vec<u64>>>>>(
                        Box::pin(seqs),
                    )
                })
            })
            .collect();
        let threads: Vec<_> = (0..2).map(|name| appender(&log, name, 1)).collect();
        threads.into_iter().for_each(|t| drop(t.join().unwrap()));
        log.close().unwrap();
        for tail in tails {
            assert_eq!(tail.join().unwrap(), [0, 1]);
        }
    });
}

#[test]
fn closing_lets_a_waiting_tail_go_and_loses_no_acknowledged_record() {
    explore(|| {
        let disk = SimFs::new(4);
        let log = options(&disk).open("log").unwrap();
        let tail = log.tail(0);
        let follower = thread::spawn(move || tail.map(|r| r.unwrap().seq()).collect::<Vec<_>>());
        let writer = {
            let log = log.clone();
            thread::spawn(move || {
                let mut acked = 0;
                loop {
                    match log.append([acked]) {
                        Ok(_) if acked == 3 => return 4,
                        Ok(_) => acked += 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Closed);
                            return acked;
                        }
                    }
                }
            })
        };
        log.close().unwrap();
        let acked = u64::from(writer.join().unwrap());
        assert_eq!(follower.join().unwrap(), (0..acked).collect::<Vec<_>>());
    });
}

#[test]
fn a_full_queue_slows_every_submitter_and_stops_none() {
    explore(|| {
        let disk = SimFs::new(5);
        let log = options(&disk).queue_bytes_max(80).open("log").unwrap();
        let threads: Vec<_> = (0..2u8)
            .map(|name| {
                let log = log.clone();
                thread::spawn(move || {
                    let how = AppendOptions::new().durability(Durability::Written);
                    let submit = |n: u8| log.submit(&[NewRecord::value(&[name, n, 0, 0])], &how);
                    let tickets: Vec<_> = (0..3).map(|n| submit(n).unwrap()).collect();
                    tickets
                        .into_iter()
                        .map(|t| t.wait().unwrap().start)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seqs: Vec<u64> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn the_worker_serves_tickets_that_nobody_waits_for() {
    explore(|| {
        let disk = SimFs::new(6);
        let log = options(&disk).background(true).open("log").unwrap();
        let how = AppendOptions::new();
        for number in 0..3u8 {
            drop(log.submit(&[NewRecord::value(&[number])], &how).unwrap());
        }
        let mut tail = log.tail(0);
        let seen: Vec<u64> = (0..3)
            .map(|_| tail.next().unwrap().unwrap().seq())
            .collect();
        assert_eq!(seen, [0, 1, 2]);
        log.close().unwrap();
    });
}

/// Who finds the queue full leaves it to the worker, unless that is away; and the worker wakes nobody
/// before half of it is written. Rotations send it away in between.
#[test]
fn who_waits_for_the_worker_to_make_room_is_not_forgotten() {
    explore(|| {
        let disk = SimFs::new(1);
        let log = options(&disk)
            .background(true)
            .durability(Durability::Buffered)
            .buffer_bytes(60)
            .queue_bytes_max(200)
            .open("log")
            .unwrap();
        let threads = [appender(&log, 1, 6), appender(&log, 2, 6)];
        let acked: Vec<_> = threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect();
        log.sync().unwrap();
        check(&log, &acked);
        log.close().unwrap();
    });
}

#[test]
fn after_a_failed_sync_everybody_is_told_and_nobody_hangs() {
    explore(|| {
        let disk = SimFs::new(8);
        let log = options(&disk).open("log").unwrap();
        disk.fail(
            FaultRule::nth(OpKind::Sync, 1, Fault::Error(Errno::Eio))
                .on("log/00000000000000000001.seg"),
        );
        let acked = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..3u8)
            .map(|name| {
                let (log, acked) = (log.clone(), acked.clone());
                thread::spawn(move || {
                    for number in 0..2u8 {
                        match log.append([name, number]) {
                            Ok(seq) => acked.lock().unwrap().push((seq, vec![name, number])),
                            Err(error) => assert!(
                                matches!(
                                    error.kind(),
                                    ErrorKind::Indeterminate | ErrorKind::Poisoned
                                ),
                                "{error}"
                            ),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(log.append("x").unwrap_err().kind(), ErrorKind::Poisoned);
        drop(log);
        let reopened = options(&disk.reboot(9)).open("log").unwrap();
        check(&reopened, &acked.lock().unwrap());
    });
}

/// Maintenance that ran while a leader was about to begin the spare could name another one in the
/// manifest: what was then appended was in a file that no manifest named.
#[test]
fn maintenance_beside_rotations_never_unnames_a_segment_in_use() {
    explore(|| {
        let disk = SimFs::new(10);
        let log = options(&disk).open("log").unwrap();
        let writers: Vec<_> = (0..2u8)
            .map(|name| {
                let log = log.clone();
                thread::spawn(move || {
                    (0..4u8)
                        .map(|number| {
                            let value = vec![name ^ number << 4; 150];
                            (log.append(&value).unwrap(), value)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let keeper = {
            let log = log.clone();
            thread::spawn(move || (0..4).for_each(|_| drop(log.maintain().unwrap())))
        };
        let acked: Vec<_> = writers
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        keeper.join().unwrap();
        check(&log, &acked);
        let reopened = options(&disk.reboot(11)).open("log").unwrap();
        check(&reopened, &acked);
    });
}

/// A compaction without a rate hands what it writes to a thread. It ends, whether or not that thread
/// meets an error, and nothing counts that was not synced.
#[test]
fn a_compaction_and_the_thread_that_writes_for_it_wait_for_each_other() {
    explore(|| {
        let disk = SimFs::new(14);
        let log = options(&disk).background(true).open("log").unwrap();
        for number in 0..6u8 {
            let (key, value) = ([number % 3], vec![number; 150]);
            let records = [NewRecord::keyed(&key, &value)];
            log.append_records(&records, &AppendOptions::new()).unwrap();
        }
        log.rotate().unwrap();
        let how = CompactOptions::new().rate_bytes_per_s(None);
        let failing = shuttle::rand::Rng::gen_bool(&mut shuttle::rand::thread_rng(), 0.5);
        if failing {
            let next = disk.files().len() as u64;
            let rule = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Eio));
            for id in next.saturating_sub(3)..next + 6 {
                disk.fail(rule.clone().on(format!("log/{id:020}.seg")));
            }
        }
        let outcome = log.compact(&how);
        disk.clear_faults();
        let newest = |log: &Log| {
            let key = |key: u8| log.reader().latest(&[key], ..).unwrap().unwrap().seq();
            [key(0), key(1), key(2)]
        };
        assert_eq!(newest(&log), [3, 4, 5]);
        assert!(failing || outcome.is_ok(), "{outcome:?}");
        drop(log);
        let reopened = options(&disk.crash_at(u64::MAX).state(&Choice::lost()));
        assert_eq!(newest(&reopened.open("log").unwrap()), [3, 4, 5]);
    });
}

/// Whoever closes, beside whoever appends, trims and acknowledges: one closes, all are told the same, and
/// the log can be opened before any handle of the closed one is gone.
#[test]
fn of_many_who_close_all_are_told_the_same_and_nothing_is_changed_afterwards() {
    explore(|| {
        let disk = SimFs::new(18);
        let background = shuttle::rand::Rng::gen_bool(&mut shuttle::rand::thread_rng(), 0.5);
        let log = options(&disk).background(background).open("log").unwrap();
        log.append("first").unwrap();
        let cursor = log.consumer("c").unwrap();
        let appending = {
            let log = log.clone();
            thread::spawn(move || match log.append([7; 200]) {
                Ok(seq) => Some(seq),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Closed);
                    None
                }
            })
        };
        let changing = {
            let log = log.clone();
            thread::spawn(move || {
                for outcome in [log.trim(1), cursor.ack(0), log.rotate()] {
                    let kind = outcome.err().map(|error| error.kind());
                    assert!([None, Some(ErrorKind::Closed)].contains(&kind), "{kind:?}");
                }
            })
        };
        let closing: Vec<_> = (0..2)
            .map(|_| {
                let log = log.clone();
                thread::spawn(move || log.close().unwrap())
            })
            .collect();
        closing.into_iter().for_each(|t| t.join().unwrap());
        let next = options(&disk).open("log").unwrap();
        let seq = appending.join().unwrap();
        changing.join().unwrap();
        assert_eq!(next.next_seq(), 1 + u64::from(seq.is_some()));
        assert_eq!(next.recovery().verdict.to_string(), "clean");
        next.append("goes on").unwrap();
        drop(log);
        next.append("and on").unwrap();
    });
}

/// Compaction swaps segments while others append, rotate, trim and read: each reader sees the old set
/// or the new one, and every newest record of a key is there afterwards.
#[test]
fn compaction_beside_everything_else_shows_one_set_of_segments() {
    explore(|| {
        let disk = SimFs::new(12);
        let log = options(&disk).open("log").unwrap();
        let put = |log: &Log, key: u8, number: u8| {
            let (key, value) = ([key], vec![number; 150]);
            let records = [NewRecord::keyed(&key, &value)];
            log.append_records(&records, &AppendOptions::new())
                .unwrap()
                .start
        };
        for number in 0..4 {
            put(&log, number % 2, number);
        }
        log.rotate().unwrap();
        let compactor = {
            let log = log.clone();
            thread::spawn(move || {
                let how = CompactOptions::new().rate_bytes_per_s(None);
                log.compact(&how).unwrap();
                log.rotate().unwrap();
                log.compact(&how).unwrap();
            })
        };
        let writer = {
            let log = log.clone();
            thread::spawn(move || {
                (4..7)
                    .map(|number| put(&log, number % 2, number))
                    .max()
                    .unwrap()
            })
        };
        let trimmer = {
            let log = log.clone();
            thread::spawn(move || log.trim(1).unwrap())
        };
        // Whatever set it sees, it begins with both keys or has been trimmed, and seqs rise.
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let scan = log.scan(..).unwrap();
                    let seqs: Vec<_> = scan.map(|record| record.unwrap().seq()).collect();
                    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
                    assert!(
                        seqs.contains(&2) || seqs.iter().any(|seq| *seq > 2),
                        "{seqs:?}"
                    );
                }
            })
        };
        let last = writer.join().unwrap();
        for thread in [compactor, trimmer, reader] {
            thread.join().unwrap();
        }
        let newest = |log: &Log, key: u8| log.reader().latest(&[key], ..).unwrap().unwrap().seq();
        let check = |log: &Log| assert_eq!((newest(log, 0), newest(log, 1)), (last, last - 1));
        check(&log);
        drop(log);
        check(&options(&disk.reboot(13)).open("log").unwrap());
    });
}

#[test]
fn what_other_processes_are_told_is_durable_and_never_goes_back() {
    explore(|| {
        let disk = SimFs::new(1);
        let log = options(&disk).open("log").unwrap();
        let told = {
            let disk = disk.clone();
            move || {
                let bytes = disk.read_file(Path::new("log/WATERMARK")).unwrap();
                WatermarkFile::decode(&bytes).unwrap()
            }
        };
        let reader = {
            let (log, told) = (log.clone(), told.clone());
            thread::spawn(move || {
                let mut before = (0, 0);
                for _ in 0..6 {
                    let now = told();
                    let now = (now.durable_seq, now.generation);
                    assert!(
                        now.0 >= before.0 && now.1 >= before.1,
                        "{now:?} after {before:?}"
                    );
                    // It is told before anybody else is: the sync has returned, and callers wait still.
                    assert!(now.0 <= log.next_seq(), "{now:?} was never appended");
                    before = now;
                    thread::yield_now();
                }
            })
        };
        let threads: Vec<_> = (0..2).map(|name| appender(&log, name, 2)).collect();
        log.rotate().unwrap();
        let acked: Vec<_> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        reader.join().unwrap();
        assert_eq!(told().durable_seq, acked.len() as u64);
        check(&log, &acked);
    });
}

/// Appends that were queued while a rewind replaced the tail were written to the new one at the place
/// and with the salt of the old: they were acknowledged, and the log did not open again.
#[test]
fn appends_beside_a_rewind_go_where_they_belong() {
    explore(|| {
        let disk = SimFs::new(12);
        let log = options(&disk).segment_bytes(4096).open("log").unwrap();
        log.append("first").unwrap();
        let writers: Vec<_> = (0..2u8).map(|name| appender(&log, name, 2)).collect();
        log.rewind(0).unwrap();
        for writer in writers {
            assert_eq!(writer.join().unwrap().len(), 2);
        }
        let next = log.next_seq();
        assert_eq!(next, 5, "every append has a number");
        log.scan(..)
            .unwrap()
            .for_each(|record| drop(record.unwrap()));
        let reopened = options(&disk.reboot(13)).open("log").unwrap();
        assert_eq!(reopened.next_seq(), next);
        reopened
            .scan(..)
            .unwrap()
            .for_each(|record| drop(record.unwrap()));
    });
}

/// Workers wait for records, for room and for what another gave back: whoever changes one of these has
/// to wake them.
#[test]
fn waiting_workers_of_a_queue_miss_nothing() {
    explore(|| {
        let disk = SimFs::new(14);
        let log = options(&disk).segment_bytes(4096).open("log").unwrap();
        // No time passes here, so what is given back must not wait for any.
        let how = QueueOptions::new()
            .in_flight_max(1)
            .backoff(Backoff::none());
        let queue = log.consumer("work").unwrap().into_queue(how).unwrap();
        let done = Arc::new(Mutex::new(Vec::new()));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (queue, log, done) = (queue.clone(), log.clone(), done.clone());
                thread::spawn(move || {
                    while let Some(lease) = queue.next().unwrap() {
                        let seq = lease.record().seq();
                        if (seq, lease.delivery_count()) == (1, 1) {
                            continue; // Gives it back.
                        }
                        lease.ack().unwrap();
                        let count = {
                            let mut done = done.lock().unwrap();
                            done.push(seq);
                            done.len()
                        };
                        if count == 3 {
                            log.close().unwrap();
                        }
                    }
                })
            })
            .collect();
        for number in 0..3u8 {
            log.append([number]).unwrap();
        }
        workers.into_iter().for_each(|t| t.join().unwrap());
        let mut done = done.lock().unwrap().clone();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2]);
        assert_eq!(queue.seq(), 3);
    });
}

/// Whoever comes next takes over what is still on its way: nothing that was acknowledged is given again.
#[test]
fn a_cursor_that_changes_hands_goes_back_for_nobody() {
    explore(|| {
        let disk = SimFs::new(16);
        let log = options(&disk).segment_bytes(4096).open("log").unwrap();
        log.append_batch(["a", "b", "c"]).unwrap();
        let users: Vec<_> = (0..2)
            .map(|_| {
                let log = log.clone();
                thread::spawn(move || {
                    let mut got = Vec::new();
                    loop {
                        let mut mail = match log.consumer("mail") {
                            Ok(mail) => mail,
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Locked);
                                thread::yield_now();
                                continue;
                            }
                        };
                        let Some(record) = mail.try_next().unwrap() else {
                            return got;
                        };
                        mail.ack(record.seq()).unwrap();
                        got.push(record.seq());
                    }
                })
            })
            .collect();
        let got = users.into_iter().flat_map(|user| user.join().unwrap());
        let mut got: Vec<u64> = got.collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2], "each once");
    });
}

/// Output of a queue's workers, beside acknowledgements and a going back: at the end each record has it once,
/// also where the power goes then.
#[test]
fn output_of_many_workers_is_there_once() {
    explore(|| {
        let disk = SimFs::new(18);
        let log = options(&disk).segment_bytes(4096).open("log").unwrap();
        log.append_batch(["a", "b", "c"]).unwrap();
        let queue = log.consumer("work").unwrap();
        let queue = queue.into_queue(QueueOptions::new()).unwrap();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    while let Some(lease) = queue.try_next().unwrap() {
                        if &lease.record()[..] == b"output" || lease.record().seq() == 1 {
                            lease.ack().unwrap();
                        } else {
                            let output = [NewRecord::value("output")];
                            lease.append(&output, &AppendOptions::new()).unwrap();
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|t| t.join().unwrap());
        while let Some(lease) = queue.try_next().unwrap() {
            lease.ack().unwrap(); // Output that came when all had looked.
        }
        assert_eq!((log.next_seq(), queue.seq()), (5, 5));
        let after = options(&disk.reboot(19)).open("log").unwrap();
        assert_eq!((after.next_seq(), after.cursors().unwrap()[0].seq), (5, 5));
    });
}

#[test]
fn acknowledgements_and_moves_of_one_cursor_do_not_undo_each_other() {
    explore(|| {
        let disk = SimFs::new(15);
        let log = options(&disk).segment_bytes(4096).open("log").unwrap();
        log.append_batch(["a", "b", "c"]).unwrap();
        let consumer = Arc::new(log.consumer("till").unwrap());
        let acks: Vec<_> = (0..2)
            .map(|seq| {
                let consumer = consumer.clone();
                thread::spawn(move || consumer.ack(seq).unwrap())
            })
            .collect();
        let bill = [NewRecord::value("bill")];
        let moved = consumer.append(&bill, 2, &AppendOptions::new());
        assert_eq!(moved.unwrap(), 3..4);
        acks.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(consumer.seq(), 3);
        let after = options(&disk.reboot(16)).open("log").unwrap();
        assert_eq!(after.consumer("till").unwrap().seq(), 3);
    });
}

#[test]
fn of_two_appends_of_one_name_one_is_the_repeat_of_the_other() {
    explore(|| {
        let disk = SimFs::new(17);
        let log = options(&disk).open("log").unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let log = log.clone();
                thread::spawn(move || {
                    let (id, epoch, number) = (1, 0, 0);
                    let how = AppendOptions::new().producer(Producer { id, epoch, number });
                    let seqs = log
                        .append_records(&[NewRecord::value("once")], &how)
                        .unwrap();
                    assert!(log.durable_seq() >= seqs.end, "durable when it returns");
                    seqs
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 0..1);
        }
        assert_eq!(log.next_seq(), 1);
    });
}
