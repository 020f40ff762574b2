//! Everything that a process does with one log, at once, until its time is over.

use crate::acked::Ack;
use cairnlog::{
    AppendOptions, CompactOptions, Durability, ErrorKind, Log, NewRecord, Producer, QueueOptions,
};
use futures_util::StreamExt;
use std::{
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

const SHORT: Duration = Duration::from_millis(5);

/// Does all of it, and tells every acknowledgement after the append has returned.
pub fn all(log: &Log, place: &Path, round: u64, lasts: Duration, tell: &mut dyn FnMut(Ack)) {
    let (stop, end) = (AtomicBool::new(false), Instant::now() + lasts);
    let (tx, rx) = channel();
    std::thread::scope(|scope| {
        let (stop, tx) = (&stop, tx);
        let goes_on = move || !stop.load(Ordering::Relaxed);
        for who in 0..4 {
            let tx = tx.clone();
            scope.spawn(move || append(log, &tx, round, who, goes_on));
        }
        scope.spawn(move || keyed(log, goes_on));
        scope.spawn(move || consume(log, goes_on));
        for _ in 0..2 {
            scope.spawn(move || read(log, goes_on));
        }
        scope.spawn(move || queue(log, goes_on));
        scope.spawn(move || keep(log, place, round, goes_on));
        scope.spawn(move || tasks(log, &tx, round, goes_on));
        loop {
            match rx.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(ack) => tell(ack),
                Err(RecvTimeoutError::Timeout) => stop.store(true, Ordering::Relaxed),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= end {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

/// Who appends at which level; the last two sync before they tell, or name themselves and say all twice.
fn level_of(who: u64) -> Durability {
    match who {
        0 | 3 => Durability::Durable,
        1 => Durability::Written,
        _ => Durability::Buffered,
    }
}

fn append(log: &Log, tx: &Sender<Ack>, round: u64, who: u64, goes_on: impl Fn() -> bool) {
    let mut waiting = Vec::new();
    for number in (0..).take_while(|_| goes_on()) {
        let mut ack = Ack {
            seq: 0,
            who,
            round,
            number,
        };
        let value = ack.value();
        let mut how = AppendOptions::new().durability(level_of(who));
        if who == 3 {
            let (id, epoch) = (1, u32::try_from(round).expect("few rounds") + 1);
            how = how.producer(Producer { id, epoch, number });
        }
        let record = [NewRecord::value(&value)];
        ack.seq = log.append_records(&record, &how).expect("appended").start;
        if who == 3 && number % 8 == 0 {
            let again = log.append_records(&record, &how).expect("a repeat");
            assert_eq!(again.start, ack.seq);
        }
        waiting.push(ack);
        if level_of(who) == Durability::Buffered && number % 64 > 0 {
            continue;
        }
        if level_of(who) == Durability::Buffered {
            log.sync().expect("synced");
        }
        waiting
            .drain(..)
            .for_each(|ack| tx.send(ack).expect("heard"));
    }
}

/// Values of a few keys, for compaction, and tombstones.
fn keyed(log: &Log, goes_on: impl Fn() -> bool) {
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in (0u64..).take_while(|_| goes_on()) {
        let key = format!("key {}", number % 97);
        let record = match number % 13 {
            0 => NewRecord::tombstone(&key),
            _ => NewRecord::keyed(&key, [7; 300].as_slice()),
        };
        log.append_records(&[record], &how).expect("appended");
        if number % 100 == 0 {
            std::thread::sleep(SHORT);
        }
    }
}

fn read(log: &Log, goes_on: impl Fn() -> bool) {
    while goes_on() {
        let mut tail = log.tail(log.next_seq());
        for _ in 0..200 {
            if let Err(error) = tail.next_timeout(SHORT) {
                assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}");
                break;
            }
        }
        let newest = log.scan(..).expect("a scan").rev().take(500);
        newest.for_each(|it| {
            assert!(it.is_ok_and(|record| record.value().is_none_or(|it| !it.is_empty())))
        });
        let found = log.reader().latest(b"key 5", log.head_seq()..);
        found.map(drop).or_else(trimmed).expect("readable");
    }
}

/// The head may rise beneath who names a seq.
fn trimmed(error: cairnlog::Error) -> cairnlog::Result<()> {
    match error.kind() {
        ErrorKind::Trimmed => Ok(()),
        _ => Err(error),
    }
}

fn consume(log: &Log, goes_on: impl Fn() -> bool) {
    let mut consumer = log.consumer("stress").expect("a consumer");
    let mut count = 0;
    while goes_on() {
        let next = consumer.next_timeout(SHORT);
        let Some(record) = next.expect("readable") else {
            continue;
        };
        count += 1;
        match count % 50 {
            0 => {
                let output = [NewRecord::value("output")];
                let how = AppendOptions::new();
                consumer.append(&output, record.seq(), &how).expect("moved");
            }
            25 => consumer.ack(record.seq()).expect("acknowledged"),
            _ => {}
        }
        if count % 1000 == 0 {
            consumer.seek(log.durable_seq()).expect("moved on");
        }
    }
}

/// Works on some jobs, lets others lie, and gives others back.
fn queue(log: &Log, goes_on: impl Fn() -> bool + Copy + Send) {
    let how = QueueOptions::new()
        .lease(Duration::from_millis(40))
        .deliveries_max(1000);
    let mut consumer = log.consumer("jobs").expect("a consumer");
    consumer.seek(log.durable_seq()).expect("moved on");
    let queue = consumer.into_queue(how).expect("a queue");
    std::thread::scope(|scope| {
        for worker in 0..3u64 {
            let queue = &queue;
            scope.spawn(move || {
                for number in (worker..).take_while(|_| goes_on()) {
                    let Some(lease) = queue.next_timeout(SHORT).expect("readable") else {
                        continue;
                    };
                    match number % 7 {
                        0 => lease.release(),
                        1 => drop(lease),
                        _ => lease.ack().expect("acknowledged"),
                    }
                }
            });
        }
    });
}

/// Compaction, retention, trimming, rotation, backups.
fn keep(log: &Log, place: &Path, round: u64, goes_on: impl Fn() -> bool) {
    for number in (0u64..).take_while(|_| goes_on()) {
        log.compact(&CompactOptions::new()).expect("compacted");
        log.maintain().expect("maintained");
        if number % 3 == 0 {
            log.rotate().expect("rotated");
        }
        if number % 8 == 7 {
            let head_seq = log.head_seq() + (log.next_seq() - log.head_seq()) / 8;
            log.trim(head_seq).expect("trimmed");
        }
        if number == 2 {
            let copy = place.join(format!("backup {round}"));
            log.backup(&copy).expect("a backup");
            let report = crate::options().verify(&copy).expect("a report");
            assert_eq!(report.health(), cairnlog::Health::Clean);
            std::fs::remove_dir_all(&copy).expect("removed");
        }
        assert!(log.worker_error().is_none(), "{:?}", log.worker_error());
        std::thread::sleep(SHORT * 8);
    }
}

/// Appends that await, streams that wait, and some of both dropped while they do.
fn tasks(log: &Log, tx: &Sender<Ack>, round: u64, goes_on: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        for number in (0u64..).take_while(|_| goes_on()) {
            let tasks = (0..8).map(|task| async move {
                let mut ack = Ack {
                    seq: 0,
                    who: 10 + task,
                    round,
                    number,
                };
                let value = ack.value();
                let (record, how) = ([NewRecord::value(&value)], AppendOptions::new());
                let patience =
                    Duration::from_micros(if task < 4 { 10_000_000 } else { number % 400 });
                let append = log.append_async(&record, &how);
                let seqs = tokio::time::timeout(patience, append).await.ok()?;
                ack.seq = seqs.expect("appended").start;
                Some(ack)
            });
            let mut stream = log.tail(log.next_seq()).into_stream();
            let follow = tokio::time::timeout(SHORT, stream.next());
            let (acks, _) =
                futures_util::future::join(futures_util::future::join_all(tasks), follow).await;
            acks.into_iter()
                .flatten()
                .for_each(|ack| tx.send(ack).expect("heard"));
        }
    });
}
