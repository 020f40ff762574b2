//! Do tasks wait without blocking a thread, and is nothing lost or leaked when they stop waiting?
#![cfg(feature = "async")]

#[path = "common/unchanged.rs"]
mod unchanged;

use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Options, OwnedRecord, Producer, Reader,
    vfs::{
        Access, RealFs, Vfs, VfsFile,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    },
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};
use unchanged::unchanged;

/// The real file system with syncs that take a while, and that no thread of the executor may wait for.
#[derive(Debug, Default)]
struct Slow {
    real: RealFs,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct SlowFile(Arc<dyn VfsFile>, Arc<AtomicU64>);

const SYNC: Duration = Duration::from_millis(100);

fn slow_sync(syncs: &AtomicU64) {
    let thread = std::thread::current();
    assert_ne!(thread.name(), Some("executor"), "it was blocked by a sync");
    syncs.fetch_add(1, Ordering::SeqCst);
    std::thread::sleep(SYNC);
}

impl Vfs for Slow {
    unchanged!(real: create_dir, list, rename, remove, try_lock, watch);
    unchanged!(real: unix_time_ms, monotonic, sleep, random);
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.real.create_new(path)?;
        Ok(Arc::new(SlowFile(file, self.syncs.clone())))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.real.open(path, access)?;
        Ok(Arc::new(SlowFile(file, self.syncs.clone())))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        slow_sync(&self.syncs);
        self.real.sync_dir(path)
    }
}

impl VfsFile for SlowFile {
    unchanged!(0: read_at, write_at, len, set_len);
    fn sync(&self) -> io::Result<()> {
        slow_sync(&self.1);
        self.0.sync()
    }
}

/// An executor whose threads have a name.
fn run<T>(task: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder
        .worker_threads(2)
        .thread_name("executor")
        .enable_time();
    let runtime = builder.build().unwrap();
    runtime.block_on(task)
}

fn slow() -> (Options, Arc<AtomicU64>) {
    let vfs = Slow::default();
    let syncs = vfs.syncs.clone();
    (Log::options().segment_bytes(4096).vfs(Arc::new(vfs)), syncs)
}

/// Appends, rotations, full queues, acknowledgements and syncs of many tasks: a clock that runs on the
/// same two threads ticks on, and no sync is done by them, which the file system asserts.
#[test]
fn is_no_thread_of_the_executor_blocked_by_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (options, syncs) = slow();
    let log = options
        .queue_bytes_max(2000)
        .open(dir.path().join("log"))
        .unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let started = Instant::now();
    run(async {
        let clock = tokio::spawn(async {
            let mut longest = Duration::ZERO;
            for _ in 0..100 {
                let at = Instant::now();
                tokio::time::sleep(Duration::from_millis(2)).await;
                longest = longest.max(at.elapsed());
            }
            longest
        });
        let tasks: Vec<_> = (0..16u64)
            .map(|task| {
                let log = log.clone();
                tokio::spawn(async move {
                    for number in 0..4u64 {
                        let value = format!("{task} {number} {}", "x".repeat(300));
                        let records = [NewRecord::value(&value)];
                        log.append_async(&records, &AppendOptions::new())
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        let acks = {
            // Opening one stores its cursor, and is not for tasks.
            let (log, consumer) = (log.clone(), log.consumer("acks").unwrap());
            tokio::spawn(async move {
                let mut records = consumer.into_stream();
                for _ in 0..3 {
                    let record = records.next().await.unwrap().unwrap();
                    records.ack(record.seq()).await.unwrap();
                }
                records
                    .append(vec![b"made of it".to_vec()], 5)
                    .await
                    .unwrap();
                log.sync_async().await.unwrap();
                records.seq()
            })
        };
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(acks.await.unwrap(), 6);
        let longest = clock.await.unwrap();
        assert!(longest < SYNC, "the clock stood still for {longest:?}");
    });
    let (took, syncs) = (started.elapsed(), syncs.load(Ordering::SeqCst) - before);
    assert!(
        syncs > 5 && took > SYNC * 5,
        "{syncs} syncs in {took:?}: nothing was waited for"
    );
    assert_eq!(log.durable_seq(), 65);
}

#[test]
fn does_a_sink_hold_back_and_keep_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let options = Log::options().segment_bytes(8192).queue_bytes_max(4000);
    let log = options.open(dir.path().join("log")).unwrap();
    run(async {
        let mut sink = log.sink(AppendOptions::new());
        let mut most = 0;
        for number in 0..5000u64 {
            sink.feed(format!("item {number}")).await.unwrap();
            most = most.max(log.stats().queued_bytes);
        }
        assert!(most < 5000, "{most} bytes were queued");
        sink.flush().await.unwrap();
        assert_eq!(log.durable_seq(), 5000);
        let mut scan = log.scan(..).unwrap().into_stream();
        for number in 0..5000u64 {
            let record = scan.next().await.unwrap().unwrap();
            assert_eq!(*record, *format!("item {number}").as_bytes());
        }
        assert!(scan.next().await.is_none());
    });
}

/// Every item of a sink was a value, appended in one way: a log with keys had no use for one.
#[test]
fn does_a_sink_take_records_and_go_on_after_one_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Log::options().segment_bytes(8192).record_bytes_max(1000);
    let log = options.open(dir.path().join("log")).unwrap();
    let by = |number| {
        let (id, epoch) = (7, 1);
        AppendOptions::new().producer(Producer { id, epoch, number })
    };
    run(async {
        let mut sink = log.sink(AppendOptions::new());
        let own_time = OwnedRecord::keyed("pears", "3").timestamp_ms(1234);
        sink.feed(own_time.options(by(1))).await.unwrap();
        sink.feed(OwnedRecord::keyed("pears", "3").options(by(1)))
            .await
            .unwrap();
        sink.feed(OwnedRecord::value(vec![0; 2000])).await.unwrap();
        let error = sink
            .feed(OwnedRecord::tombstone("pears"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        // What the error was told instead of is not taken.
        sink.send(OwnedRecord::tombstone("pears")).await.unwrap();
        sink.send(OwnedRecord::value("last")).await.unwrap();
    });
    let shown: Vec<_> = log.scan(..).unwrap().map(Result::unwrap).collect();
    let parts = |at: usize| (shown[at].key(), shown[at].value());
    assert_eq!(shown.len(), 3, "a repeat is there once");
    assert_eq!(parts(0), (Some(&b"pears"[..]), Some(&b"3"[..])));
    assert_eq!(shown[0].timestamp_ms(), 1234);
    assert_eq!(parts(1), (Some(&b"pears"[..]), None));
    assert_eq!(parts(2), (None, Some(&b"last"[..])));
}

/// What a sink took and was not flushed is appended when it is dropped; an append that was never
/// polled, or found no room, is not.
#[test]
fn does_dropping_lose_nothing_that_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (options, _) = slow();
    let log = options.queue_bytes_max(2000).open(&path).unwrap();
    let big = vec![b'x'; 1500];
    run(async {
        let mut sink = log.sink(AppendOptions::new());
        sink.feed("accepted").await.unwrap();
        drop(sink);
        let records = [NewRecord::value(&big)];
        let how = AppendOptions::new();
        drop(log.append_async(&records, &how)); // Never polled.
        let queued = log.append_async(&records, &how).now_or_never();
        assert!(
            queued.is_none(),
            "it waits for its sync, and is dropped waiting"
        );
        // Behind it there is no room: these are not queued, and their wakers are left behind.
        for _ in 0..3 {
            assert!(log.append_async(&records, &how).now_or_never().is_none());
        }
        assert_eq!(log.next_seq(), 2);
        assert_eq!(log.sync_async().await.unwrap(), 2);
        let last = log
            .append_async(&[NewRecord::value("last")], &how)
            .await
            .unwrap();
        assert_eq!(last, 2..3);
    });
    log.close().unwrap();
    drop(log);
    let log = Log::open(&path).unwrap();
    let shown: Vec<usize> = log.scan(..).unwrap().map(|it| it.unwrap().len()).collect();
    assert_eq!(shown, [8, 1500, 4]);
}

#[test]
fn is_a_tail_woken_and_does_it_end_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    run(async {
        let tails: Vec<_> = (0..20)
            .map(|_| {
                let mut tail = log.tail(0).into_stream();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while let Some(record) = tail.next().await {
                        seen.push(record.unwrap().seq());
                    }
                    seen
                })
            })
            .collect();
        for number in 0..300u32 {
            let value = number.to_string();
            let records = [NewRecord::value(&value)];
            log.append_async(&records, &AppendOptions::new())
                .await
                .unwrap();
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let closing = log.clone();
        tokio::task::spawn_blocking(move || closing.close())
            .await
            .unwrap()
            .unwrap();
        for tail in tails {
            assert_eq!(tail.await.unwrap(), (0..300).collect::<Vec<u64>>());
        }
    });
}

fn lookouts() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks
        .map(name)
        .filter(|name| name.starts_with("cairn-lookout"))
        .count()
}

/// A reader of its own, as in another process: its tails share one thread, which ends with them.
#[test]
fn does_a_reader_of_another_process_stream_and_leave_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(&path).unwrap();
    log.append("there before").unwrap();
    let reader = Reader::open(&path).unwrap();
    run(async {
        let mut tails: Vec<_> = (0..3).map(|_| reader.tail(0).into_stream()).collect();
        for tail in &mut tails {
            assert_eq!(&*tail.next().await.unwrap().unwrap(), b"there before");
            assert!(tail.next().now_or_never().is_none());
        }
        // The thread names itself.
        while lookouts() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lookouts(), 1);
        let appending = log.clone();
        let later = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(50));
            appending.append("news").unwrap()
        });
        for tail in &mut tails {
            let next = tokio::time::timeout(Duration::from_secs(20), tail.next()).await;
            assert_eq!(&*next.unwrap().unwrap().unwrap(), b"news");
        }
        later.await.unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while lookouts() > 0 {
        assert!(Instant::now() < deadline, "the thread is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn are_acknowledgements_durable_and_output_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(&path).unwrap();
    log.append_batch(["a", "b", "c"]).unwrap();
    run(async {
        let mut records = log.consumer("c").unwrap().into_stream();
        let first = records.next().await.unwrap().unwrap();
        records.ack(first.seq()).await.unwrap();
        let second = records.next().await.unwrap().unwrap();
        let made = records.append(vec![b"of b".to_vec()], second.seq());
        drop(made); // It is done all the same.
        let deadline = Instant::now() + Duration::from_secs(20);
        while records.seq() < 2 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let again = records.append(vec![b"of b".to_vec()], second.seq()).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Duplicate);
    });
    log.close().unwrap();
    let error = run(async { log.sync_async().await.err() });
    assert!(error.is_none_or(|error| error.kind() == ErrorKind::Closed));
    drop(log);
    let log = Log::open(&path).unwrap();
    assert_eq!(log.consumer("c").unwrap().seq(), 2);
    assert_eq!(log.next_seq(), 4);
}

/// Nobody waits for ever on a disk that is full: the task is told, and goes on when there is room.
#[test]
fn is_a_full_disk_told_to_a_task_that_waits_for_room() {
    let disk = SimFs::new(3);
    let options = Log::options().segment_bytes(4096).queue_bytes_max(300);
    let log = options.vfs(Arc::new(disk.clone())).open("log").unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    let value = vec![b'x'; 200];
    run(async {
        disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc)).for_ever());
        let records = [NewRecord::value(&value)];
        let mut kinds = Vec::new();
        for _ in 0..5 {
            let append = log.append_async(&records, &how);
            let outcome = tokio::time::timeout(Duration::from_secs(20), append).await;
            kinds.extend(outcome.expect("it is told").err().map(|error| error.kind()));
        }
        assert!(kinds.contains(&ErrorKind::NoSpace), "{kinds:?}");
        disk.clear_faults();
        let how = AppendOptions::new();
        log.append_async(&records, &how).await.unwrap();
    });
}

/// Acknowledgements went before appends, each with two syncs, without bound: an awaited append beside four
/// consumers took nine seconds, and a buffered record was never written.
#[test]
fn do_acknowledgements_and_appends_have_their_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = slow();
    let log = options
        .segment_bytes(1 << 20)
        .open(dir.path().join("log"))
        .unwrap();
    log.append_batch((0..10_000u32).map(u32::to_le_bytes))
        .unwrap();
    let streams: Vec<_> = (0..4)
        .map(|name| log.consumer(&format!("c{name}")).unwrap().into_stream())
        .collect();
    run(async {
        let stop = Arc::new(AtomicU64::new(0));
        let acking: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                let stop = stop.clone();
                tokio::spawn(async move {
                    let mut seq = 0;
                    while stop.load(Ordering::SeqCst) == 0 {
                        stream.ack(seq).await.unwrap();
                        seq += 1;
                    }
                    seq
                })
            })
            .collect();
        tokio::time::sleep(SYNC * 4).await;
        for _ in 0..5 {
            let at = Instant::now();
            log.append_async(&[NewRecord::value("x")], &AppendOptions::new())
                .await
                .unwrap();
            // Its own sync, one that was under way, and those of one acknowledgement.
            assert!(at.elapsed() < SYNC * 12, "{:?}", at.elapsed());
        }
        let how = AppendOptions::new().durability(Durability::Buffered);
        let seq = log
            .append_records(&[NewRecord::value("b")], &how)
            .unwrap()
            .start;
        let at = Instant::now();
        while log.stats().written_seq <= seq {
            assert!(at.elapsed() < SYNC * 12, "it is not written");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.store(1, Ordering::SeqCst);
        for task in acking {
            assert!(task.await.unwrap() > 0, "each has its turns");
        }
    });
}

/// The last handle went with what the worker did for a task: the worker waited for itself, the future
/// never came, and the log was left as after a crash.
#[test]
fn can_the_last_handle_go_with_an_acknowledgement() {
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (options, _) = slow();
        let log = options.open(&path).unwrap();
        log.append("order").unwrap();
        let orders = log.consumer("c").unwrap().into_stream();
        let ack = orders.ack(0);
        drop((orders, log));
        let acked = run(async { tokio::time::timeout(Duration::from_secs(20), ack).await });
        acked.expect("it hangs").unwrap();
        let again = Log::options().lock_timeout(Duration::from_secs(20));
        let log = again.open(&path).unwrap();
        assert_eq!(log.recovery().verdict.to_string(), "clean");
        assert_eq!(log.consumer("c").unwrap().seq(), 1);
    }
}

/// A waker that looked at the log, appended, or dropped the last handle, waited for itself: it was called
/// under a lock.
#[test]
fn may_a_waker_use_the_log() {
    struct Uses(Log, AtomicU64);
    impl Wake for Uses {
        fn wake(self: Arc<Self>) {
            let how = AppendOptions::new().durability(Durability::Buffered);
            self.0
                .append_records(&[NewRecord::value("w")], &how)
                .unwrap();
            self.1.store(self.0.next_seq(), Ordering::SeqCst);
            self.0.trim(0).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = slow();
    let log = options
        .queue_bytes_max(1000)
        .open(dir.path().join("log"))
        .unwrap();
    let uses = Arc::new(Uses(log.clone(), AtomicU64::new(0)));
    let waker = Waker::from(uses.clone());
    let big = vec![7; 700];
    let records = [NewRecord::value(&big)];
    let how = AppendOptions::new();
    let tickets: Vec<_> = (0..4)
        .map(|_| {
            let mut future = Box::pin(log.append_async(&records, &how));
            let mut context = Context::from_waker(&waker);
            assert!(future.as_mut().poll(&mut context).is_pending());
            future
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while uses.1.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "the log hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(tickets);
    log.append("it goes on").unwrap();
}

/// Who waited for a sync was woken by the write before it, found nothing to do, and was woken again.
#[test]
fn is_a_task_that_waits_for_a_sync_woken_by_the_write() {
    struct Sees(Log, AtomicU64);
    impl Wake for Sees {
        fn wake(self: Arc<Self>) {
            self.1.store(1 + self.0.durable_seq(), Ordering::SeqCst);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = slow();
    let log = options.open(dir.path().join("log")).unwrap();
    let sees = Arc::new(Sees(log.clone(), AtomicU64::new(0)));
    let waker = Waker::from(sees.clone());
    let how = AppendOptions::new();
    let pending = (0..100).find_map(|_| {
        let mut ticket = log.submit(&[NewRecord::value("a")], &how).unwrap();
        let polled = ticket.poll_unpin(&mut Context::from_waker(&waker));
        polled.is_pending().then_some(ticket)
    });
    let pending = pending.expect("a sync takes longer than a look");
    let deadline = Instant::now() + Duration::from_secs(20);
    while sees.1.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nobody was woken");
        std::thread::sleep(Duration::from_millis(1));
    }
    let durable_seq = sees.1.load(Ordering::SeqCst) - 1;
    assert!(durable_seq >= pending.seqs().end, "{durable_seq}");
}
