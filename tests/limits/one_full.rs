//! Some of many logs stand on a disk that is full, and their worker is that of all the others.
//!
//! The full disk is a simulated one with a clock of its own; the others are on a real one. It stays full until the others
//! are done: whoever waited for it would wait in vain, and whoever is held up for a pause by each of its failures takes
//! more time than is given.

use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Seq, Worker, vfs::sim::SimFs,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Every thread of the smallest worker has one to be held up by, and another waits behind.
const FULL_COUNT: usize = 3;
const OTHERS_COUNT: usize = 5;
const ROUNDS: u64 = 15;
/// For all the rounds of all the others.
const ENOUGH: Duration = Duration::from_secs(30);

fn at(level: Durability) -> AppendOptions {
    AppendOptions::new().durability(level)
}

/// What a log was asked to take, and what it said that it has.
#[derive(Default)]
struct Pressed {
    acknowledged: Vec<(Seq, Vec<u8>)>,
    refused: usize,
}

impl Pressed {
    fn told(&mut self, value: Vec<u8>, outcome: cairnlog::Result<Seq>) {
        match outcome {
            Ok(seq) => self.acknowledged.push((seq, value)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                let place = error.place();
                assert!(place.segment.is_some() || place.path.is_some(), "{error}");
                self.refused += 1;
            }
        }
    }

    /// Appends in each way that there is, durably in the end.
    fn once(&mut self, log: &Log, number: u64) {
        let value = |way: &str| format!("{way} {number} {:400}", "").into_bytes();
        // The worker alone writes what nobody waits for.
        let alone = value("alone");
        let ticket = log.submit(&[NewRecord::value(&alone)], &at(Durability::Durable));
        // Who finds the queue full is held back.
        let buffered = value("buffered");
        let kept = log.append_with(NewRecord::value(&buffered), &at(Durability::Buffered));
        kept.map_or_else(|error| self.told(buffered, Err(error)), drop);
        let waited = value("waited");
        let outcome = log.append(&waited);
        self.told(waited, outcome);
        let outcome = ticket.and_then(cairnlog::Ticket::wait);
        self.told(alone, outcome.map(|seqs| seqs.start));
    }

    fn check(&self, log: &Log) {
        assert!(self.acknowledged.len() > 1, "it was never written to");
        for (seq, value) in &self.acknowledged {
            let record = log.get(*seq).unwrap().expect("it was acknowledged");
            assert_eq!(&*record, &value[..], "{seq}");
        }
    }
}

/// Everything that a log is asked for while others are on a full disk.
fn use_one(log: &Log, number: u64, late: &dyn Fn(&str)) {
    let value = format!("{number:0300}");
    assert_eq!(log.append(&value).unwrap(), 3 * number);
    let record = [NewRecord::value(&value)];
    drop(log.submit(&record, &at(Durability::Durable)).unwrap());
    while log.durable_seq() < 3 * number + 2 {
        late("the worker does not make durable what nobody waits for");
        std::thread::yield_now();
    }
    log.append_records(&record, &at(Durability::Buffered))
        .unwrap();
    while log.stats().written_seq < 3 * number + 3 {
        late("the worker does not write what is buffered");
        std::thread::yield_now();
    }
    log.sync().unwrap();
    let last = log.scan(3 * number..).unwrap().last().unwrap().unwrap();
    assert_eq!((last.seq(), &*last), (3 * number + 2, value.as_bytes()));
    log.consumer("c").unwrap().ack(3 * number).unwrap();
}

#[test]
fn is_nobody_held_up_by_logs_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimFs::new(1);
    let options = Log::options()
        .worker(Worker::new(2).unwrap().open_files_max(4))
        .segment_bytes(4096)
        .queue_bytes_max(2000)
        .buffer_interval(Duration::from_millis(5));
    let full: Vec<Log> = (0..FULL_COUNT)
        .map(|number| {
            let options = options.clone().vfs(Arc::new(disk.clone()));
            options.open(format!("/full-{number}")).unwrap()
        })
        .collect();
    let others: Vec<Log> = (0..OTHERS_COUNT)
        .map(|number| {
            options
                .clone()
                .open(dir.path().join(number.to_string()))
                .unwrap()
        })
        .collect();
    let mut pressed: Vec<Pressed> = full.iter().map(|_| Pressed::default()).collect();
    for (log, pressed) in full.iter().zip(&mut pressed) {
        pressed.once(log, 0);
    }
    disk.set_capacity(Some(disk.used_bytes() + 3000));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (log, pressed) in full.iter().zip(&mut pressed) {
            let (over, disk) = (&over, &disk);
            scope.spawn(move || {
                for number in 1.. {
                    pressed.once(log, number);
                    disk.advance(Duration::from_millis(10));
                    if over.load(Ordering::Relaxed) && pressed.refused > 1 {
                        break;
                    }
                }
            });
        }
        let begun = Instant::now();
        let late = |what: &str| assert!(begun.elapsed() < ENOUGH, "{what}");
        for number in 0..ROUNDS {
            others.iter().for_each(|log| use_one(log, number, &late));
        }
        for log in &others {
            while log.segments().unwrap().len() < 3 {
                late("the worker seals nothing");
                std::thread::yield_now();
            }
        }
        late("it took too long");
        over.store(true, Ordering::Relaxed);
    });
    for (log, pressed) in full.iter().zip(&pressed) {
        pressed.check(log);
    }
    // The same handles go on.
    disk.set_capacity(None);
    for (log, pressed) in full.iter().zip(&mut pressed) {
        let before = pressed.refused;
        // What was buffered and lost is told once.
        log.sync()
            .err()
            .iter()
            .for_each(|it| assert_eq!(it.kind(), ErrorKind::NoSpace));
        pressed.once(log, u64::MAX);
        assert_eq!(pressed.refused, before, "there is room");
        log.sync().unwrap();
        pressed.check(log);
    }
    others.iter().for_each(|log| log.close().unwrap());
    drop(full);
    let after = disk.reboot(2);
    for (number, pressed) in pressed.iter().enumerate() {
        let options = Log::options()
            .segment_bytes(4096)
            .vfs(Arc::new(after.clone()));
        pressed.check(&options.open(format!("/full-{number}")).unwrap());
    }
}

/// Tasks that append to a full log leave the threads of their executor, and the worker, to the others.
#[cfg(feature = "async")]
#[test]
fn do_tasks_go_on_beside_those_of_a_full_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimFs::new(2);
    let options = Log::options().worker(Worker::new(2).unwrap());
    let options = options.segment_bytes(4096).queue_bytes_max(1000);
    let full = options
        .clone()
        .vfs(Arc::new(disk.clone()))
        .open("/full-0")
        .unwrap();
    let other = options.open(dir.path()).unwrap();
    full.append("before").unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let value = vec![b'x'; 700];
    let (records, how) = ([NewRecord::value(&value)], AppendOptions::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (room, mut refused) = (AtomicBool::new(false), 0);
        let full = async {
            // As an application does that was told: again, until there is room.
            while let Err(error) = full.append_async(&records, &how).await {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                refused += 1;
                disk.advance(Duration::from_millis(1));
                if room.load(Ordering::Relaxed) {
                    disk.set_capacity(None);
                }
                tokio::task::yield_now().await;
            }
        };
        let other = async {
            for number in 0..100 {
                let appended = other.append_async(&records, &how);
                assert_eq!(appended.await.unwrap(), number..number + 1);
            }
            other.sync_async().await.unwrap();
            room.store(true, Ordering::Relaxed);
        };
        let both = async { tokio::join!(full, other) };
        tokio::time::timeout(ENOUGH, both)
            .await
            .expect("one of them hangs");
        assert!(refused > 1, "the disk was not full: {refused}");
    });
    assert_eq!(full.scan(..).unwrap().count(), 2);
    assert_eq!(other.durable_seq(), 100);
}
