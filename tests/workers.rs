//! Many logs in one process: what threads that they share do for them.

use cairnlog::{
    AppendOptions, CompactOptions, Durability, ErrorKind, Log, NewRecord, Options, Verdict, Worker,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits until something holds; the machine may be slow.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this is a process in which this test runs alone; else it makes one, and passes on what came of it. Who counts
/// threads would count those of other tests.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "CAIRN_WORKERS_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let command = command.args(["--exact", test, "--nocapture"]);
    assert!(command.env(ALONE, "1").status().unwrap().success());
    false
}

#[test]
fn logs_that_share_a_worker_begin_no_threads_and_lose_nothing() {
    if !is_alone("logs_that_share_a_worker_begin_no_threads_and_lose_nothing") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(2).unwrap();
    let before = threads();
    let logs: Vec<Log> = (0..40)
        .map(|number| {
            let options = Log::options().worker(worker.clone()).segment_bytes(4096);
            options.open(dir.path().join(number.to_string())).unwrap()
        })
        .collect();
    assert!(
        threads() <= before,
        "{} threads, {before} before",
        threads()
    );
    // Tickets that nobody waits for, buffered records, and enough of both that segments are sealed.
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    for round in 0..60u32 {
        for log in &logs {
            let value = [round.to_le_bytes(); 50].concat();
            let record = [NewRecord::value(&value)];
            drop(log.submit(&record, &AppendOptions::new()).unwrap());
            log.append_with(NewRecord::value(&value), &buffered)
                .unwrap();
        }
    }
    for log in &logs {
        until("durable", || log.durable_seq() == 120);
        until("sealed", || log.segments().unwrap().len() > 3);
        log.close().unwrap();
    }
    drop(logs);
    for number in 0..40 {
        let log = Log::open(dir.path().join(number.to_string())).unwrap();
        assert_eq!(log.recovery().verdict, Verdict::Clean);
        assert_eq!(log.scan(..).unwrap().count(), 120);
    }
}

/// Zeros that were filled ahead and not synced kept each log's file open: 9,800 logs that had one record each met the
/// process's limit.
#[test]
fn only_so_many_files_of_logs_at_rest_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(2).unwrap().open_files_max(4);
    let logs: Vec<Log> = (0..40)
        .map(|number| {
            let options = Log::options().worker(worker.clone());
            options.open(dir.path().join(number.to_string())).unwrap()
        })
        .collect();
    for log in &logs {
        log.append(vec![7; 30_000]).unwrap();
    }
    let segments_open = || {
        let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = files.filter_map(|fd| fs::read_link(fd.path()).ok());
        let segment = |file: &PathBuf| file.extension().is_some_and(|it| it == "seg");
        let here = |file: &PathBuf| file.starts_with(dir.path());
        files.filter(|file| segment(file) && here(file)).count()
    };
    // Each has more ahead of it than it was given when it was created.
    let filled = |number: usize| {
        let name = format!("{number}/{:020}.seg", 1);
        fs::metadata(dir.path().join(name)).unwrap().len() > 40_000
    };
    until("filled", || (0..40).all(filled));
    until("closed", || segments_open() <= 4);
}

/// Of each log with tasks that wait for more one thread woke them: as many threads as logs.
#[cfg(feature = "async")]
#[test]
fn tasks_that_tail_many_logs_begin_no_threads() {
    use futures_util::StreamExt;
    if !is_alone("tasks_that_tail_many_logs_begin_no_threads") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(2).unwrap();
    let open = |number: usize| {
        let options = Log::options().worker(worker.clone());
        options.open(dir.path().join(number.to_string())).unwrap()
    };
    let logs: Vec<Log> = (0..40).map(open).collect();
    let (records, how) = ([NewRecord::value("x")], AppendOptions::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let before = threads();
        let count = |log: &Log| {
            let tail = log.tail(0).into_stream();
            tokio::spawn(tail.map(Result::unwrap).count())
        };
        let tails: Vec<_> = logs.iter().map(count).collect();
        for _ in 0..10 {
            for log in &logs {
                log.append_async(&records, &how).await.unwrap();
            }
        }
        assert!(
            threads() <= before,
            "{} threads, {before} before",
            threads()
        );
        // All of them are told of the end as well.
        logs.iter().for_each(|log| log.close().unwrap());
        for tail in tails {
            assert_eq!(tail.await.unwrap(), 10);
        }
    });
}

/// Buffered records of one log fill its buffer faster than the disk takes them, so its worker always has
/// something to do. The others are served all the same.
#[test]
fn a_busy_log_starves_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(2).unwrap();
    let open = |name: &str| {
        let options = Log::options().worker(worker.clone()).buffer_bytes(4096);
        options.open(dir.path().join(name)).unwrap()
    };
    let busy: Vec<Log> = ["a", "b", "c"].map(open).into();
    let quiet = open("quiet");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let stopped = Arc::new(std::sync::Mutex::new(stopped));
        for log in &busy {
            let stopped = stopped.clone();
            scope.spawn(move || {
                let how = AppendOptions::new().durability(Durability::Buffered);
                let is_over = || {
                    let stopped = stopped.lock().unwrap();
                    stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
                };
                while !is_over() {
                    log.append_with(NewRecord::value(b"x"), &how).unwrap();
                }
            });
        }
        for number in 0..50u64 {
            // Nobody waits for it with a thread: the worker alone makes it durable.
            drop(
                quiet
                    .submit(&[NewRecord::value(b"x")], &AppendOptions::new())
                    .unwrap(),
            );
            until("served", || quiet.durable_seq() > number);
        }
        drop(stop);
    });
}

/// A compaction that is held to a rate takes a thread for long. Half of the threads do that at most, so
/// that all other logs have turns.
#[test]
fn compactions_leave_a_thread_to_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(2).unwrap();
    let slow = CompactOptions::new().rate_bytes_per_s(Some(1));
    let logs: Vec<Log> = (0..3)
        .map(|number| {
            let options = Log::options().worker(worker.clone()).segment_bytes(2048);
            let options = options.compaction(slow.clone());
            let log = options.open(dir.path().join(number.to_string())).unwrap();
            for _ in 0..200 {
                log.append_keyed("key", [1; 100]).unwrap();
            }
            log
        })
        .collect();
    // By now each would compact: the first of them does.
    std::thread::sleep(Duration::from_millis(1500));
    for log in &logs {
        let before = log.durable_seq();
        drop(
            log.submit(&[NewRecord::value(b"x")], &AppendOptions::new())
                .unwrap(),
        );
        until("served", || log.durable_seq() > before);
    }
    for log in logs {
        log.close().unwrap();
    }
}

#[test]
fn threads_end_with_the_last_log_and_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Worker::new(3).unwrap();
    let log = Log::options()
        .worker(worker.clone())
        .open(dir.path())
        .unwrap();
    drop(worker);
    log.append("still served").unwrap();
    drop(
        log.submit(&[NewRecord::value(b"x")], &AppendOptions::new())
            .unwrap(),
    );
    until("served", || log.durable_seq() == 2);
    let named = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names
            .filter(|name| name.starts_with("cairn-worker"))
            .count()
    };
    assert!(named() >= 3);
    let before = named();
    drop(log);
    // Tests beside this one may begin some meanwhile.
    until("ended", || named() + 3 <= before || named() == 0);
}

/// What panics on the worker of one log, a failed sync of one, are nobody else's.
#[test]
fn the_failure_of_one_log_is_not_that_of_another() {
    let worker = Worker::new(2).unwrap();
    let disk = SimFs::new(1);
    let options = |disk: &SimFs| {
        Options::new()
            .worker(worker.clone())
            .vfs(Arc::new(disk.clone()))
    };
    let sick = options(&disk).open("sick").unwrap();
    let well = options(&SimFs::new(2)).open("well").unwrap();
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    let ticket = sick
        .submit(&[NewRecord::value(b"x")], &AppendOptions::new())
        .unwrap();
    assert!(ticket.wait().is_err());
    assert_eq!(sick.append("y").unwrap_err().kind(), ErrorKind::Poisoned);
    well.append("z").unwrap();
    drop(
        well.submit(&[NewRecord::value(b"x")], &AppendOptions::new())
            .unwrap(),
    );
    until("served", || well.durable_seq() == 2);
}

#[test]
fn a_worker_has_a_sensible_number_of_threads() {
    for threads in [0, 1, 1025] {
        let error = Worker::new(threads).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{threads}");
    }
}
