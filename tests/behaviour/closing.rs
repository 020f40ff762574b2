//! Is a log closed once, is everybody told the same, and is it let go?
//!
//! The second `close` said Ok beside one that was still syncing, and after one that had failed; so did
//! `trim` of a closed log, and of one whose sync had failed. The directory stayed locked by a handle that
//! could do nothing any more. And whoever asked to close from inside what the log called waited for itself.

use crate::gated::Gated;
use cairnlog::{
    AppendOptions, BackupOptions, CompactOptions, Durability, ErrorKind, Log, NewRecord, Options,
    Retention,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

fn kind<T>(result: cairnlog::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// What somebody does in a thread of their own, if it ends.
fn within<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(what()).unwrap());
    let outcome = told.recv_timeout(Duration::from_secs(20));
    outcome.expect("it hangs")
}

/// Everything that would change a log, or make others rely on it.
fn verbs(log: &Log, beside: &std::path::Path) -> Vec<(&'static str, Option<ErrorKind>)> {
    let record = [NewRecord::keyed("k", "v")];
    let how = AppendOptions::new();
    vec![
        ("append", kind(log.append("x"))),
        ("submit", kind(log.submit(&record, &how))),
        ("sync", kind(log.sync())),
        ("rotate", kind(log.rotate())),
        ("trim", kind(log.trim(0))),
        ("rewind", kind(log.rewind(0))),
        ("retain", kind(log.retain(&Retention::new()))),
        ("compact", kind(log.compact(&CompactOptions::new()))),
        ("maintain", kind(log.maintain())),
        ("consumer", kind(log.consumer("c"))),
        ("set_cursor", kind(log.set_cursor("there", 1))),
        ("delete_cursor", kind(log.delete_cursor("there"))),
        (
            "backup",
            kind(log.backup_with(beside, &BackupOptions::new())),
        ),
    ]
}

#[test]
fn does_every_verb_of_a_closed_log_say_so() {
    for background in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = Log::options().background(background);
        let log = options.open(dir.path().join("log")).unwrap();
        log.append("a").unwrap();
        drop(log.consumer("there").unwrap());
        let consumer = log.consumer("in use").unwrap();
        log.close().unwrap();
        for (verb, told) in verbs(&log, &dir.path().join("beside")) {
            assert_eq!(told, Some(ErrorKind::Closed), "{verb}");
        }
        assert_eq!(kind(consumer.ack(0)), Some(ErrorKind::Closed));
        assert_eq!(kind(log.close()), None, "it went well, and still does");
        assert_eq!(&*log.get(0).unwrap().unwrap(), b"a", "reading goes on");
    }
}

#[test]
fn does_every_verb_of_a_poisoned_log_say_so() {
    let disk = SimFs::new(1);
    let options = Log::options().vfs(Arc::new(disk.clone())).background(false);
    let log = options.open("/log").unwrap();
    log.append("a").unwrap();
    drop(log.consumer("there").unwrap());
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    assert_eq!(kind(log.append("b")), Some(ErrorKind::Indeterminate));
    for (verb, told) in verbs(&log, "/beside".as_ref()) {
        // What is durable can be saved.
        let expected = (verb != "backup").then_some(ErrorKind::Poisoned);
        assert_eq!(told, expected, "{verb}");
    }
    assert_eq!(kind(log.close()), Some(ErrorKind::Poisoned));
    assert_eq!(kind(log.close()), Some(ErrorKind::Poisoned), "told again");
    assert_eq!(kind(log.trim(0)), Some(ErrorKind::Closed));
}

#[test]
fn is_a_second_close_told_how_the_first_one_went() {
    for fails in [false, true] {
        let gated = Gated::new(&SimFs::new(1));
        let log = Log::options()
            .vfs(Arc::new(gated.clone()))
            .durability(Durability::Buffered)
            .background(false)
            .open("/log")
            .unwrap();
        log.append("buffered").unwrap();
        if fails {
            let rule = FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio));
            gated.disk.fail(rule.on("/log/00000000000000000001.seg"));
        }
        gated.hold(OpKind::Sync, ".seg");
        let close = |log: &Log| {
            let log = log.clone();
            thread::spawn(move || kind(log.close()))
        };
        let first = close(&log);
        gated.wait_until_held();
        let others: Vec<_> = (0..3).map(|_| close(&log)).collect();
        thread::sleep(Duration::from_millis(20));
        assert!(
            others.iter().all(|it| !it.is_finished()),
            "nothing is known"
        );
        assert_eq!(kind(log.append("late")), Some(ErrorKind::Closed));
        gated.release();
        let expected = fails.then_some(ErrorKind::Indeterminate);
        assert_eq!(first.join().unwrap(), expected);
        for other in others {
            assert_eq!(other.join().unwrap(), expected);
        }
        assert_eq!(kind(log.close()), expected, "and long afterwards");
        assert_eq!(log.durable_seq(), u64::from(!fails));
    }
}

/// Also beside what holds on to the closed one: it may be anywhere in a program.
#[test]
fn can_a_closed_log_be_opened_again_while_its_handle_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut held = Vec::new();
    for round in 0..5u64 {
        let log = Log::options()
            .background(round % 2 == 0)
            .open(&path)
            .unwrap();
        assert_eq!(kind(Log::open(&path)), Some(ErrorKind::Locked));
        assert_eq!(log.append(round.to_string()).unwrap(), round);
        let consumer = log.consumer("c").unwrap();
        let ticket = log.submit(&[], &AppendOptions::new()).unwrap();
        log.close().unwrap();
        held.push((log, consumer, ticket));
    }
    let log = Log::open(&path).unwrap();
    assert_eq!(log.next_seq(), 5);
    drop(held);
    log.append("undisturbed").unwrap();
    assert_eq!(log.scan(..).unwrap().count(), 6);
}

fn keyed(options: Options, path: &std::path::Path) -> Log {
    let log = options.segment_bytes(4096).open(path).unwrap();
    for number in 0..200u32 {
        let (key, value) = ((number % 5).to_le_bytes(), [7; 100]);
        let how = AppendOptions::new().durability(Durability::Buffered);
        log.append_records(&[NewRecord::keyed(&key, &value)], &how)
            .unwrap();
    }
    log.sync().unwrap();
    log.rotate().unwrap();
    log
}

/// A compaction that is under way when the log is closed ends early; that is no failure. Closing said
/// that the log is closed, one time out of three.
#[test]
fn does_closing_end_a_compaction_without_an_error() {
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let how = CompactOptions::new()
            .dirty_ratio_min(0.0)
            .run_bytes_max(4096)
            .rate_bytes_per_s(None);
        keyed(Log::options(), &path).close().unwrap();
        let log = Log::options().segment_bytes(4096).compaction(how.clone());
        let log = log.open(&path).unwrap();
        let beside = {
            let (log, how) = (log.clone(), how.clone());
            thread::spawn(move || log.compact(&how))
        };
        thread::sleep(Duration::from_micros(200 * round));
        log.close().unwrap();
        let other = beside.join().unwrap();
        assert!([None, Some(ErrorKind::Closed)].contains(&kind(other)));
        Log::open(&path).unwrap().close().unwrap();
    }
}

/// A slow compaction does not keep who closes waiting until its rate lets it go on.
#[test]
fn does_closing_wait_for_no_pause_of_a_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let log = keyed(Log::options(), &dir.path().join("log"));
    let (tell, told) = mpsc::channel();
    let beside = {
        let log = log.clone();
        let how = CompactOptions::new().rate_bytes_per_s(Some(1));
        thread::spawn(move || {
            log.compact_with(&how, |_| {
                tell.send(()).ok();
                ControlFlow::Continue(())
            })
        })
    };
    // Its first pause is one of hours.
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
    within(move || log.close()).unwrap();
    assert!(beside.join().unwrap().unwrap().stopped);
}

/// Whoever is inside what the log calls cannot wait for its end, and is told so. Nobody hangs, and it is
/// closed in order all the same.
#[test]
fn can_a_closure_that_the_log_calls_close_it() {
    for background in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = keyed(Log::options().background(background), &path);
        let closing = log.clone();
        let (told, report) = within(move || {
            let mut told = None;
            let report = closing.compact_with(&CompactOptions::new(), |_| {
                told.get_or_insert_with(|| kind(closing.close()));
                ControlFlow::Continue(())
            });
            (told, report)
        });
        assert_eq!(told, Some(Some(ErrorKind::InvalidInput)));
        report.unwrap();
        within(move || log.close()).unwrap();
        assert!(Log::open(&path).unwrap().recovery().verdict.to_string() == "clean");
    }
}

/// The last handle goes with a filter, in the background worker itself: the log was left as after a crash.
#[test]
fn can_the_last_handle_go_in_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    keyed(Log::options(), &path).close().unwrap();
    let last: Arc<Mutex<Option<Log>>> = Arc::default();
    let asked = Arc::new(AtomicBool::new(false));
    let (mine, told) = (last.clone(), asked.clone());
    let how = CompactOptions::new().dirty_ratio_min(0.0).filter(move |_| {
        // The worker may compact before `open` has returned, and does not again.
        while !told.load(SeqCst) {
            let there = mine.lock().unwrap().take();
            match there {
                Some(log) => {
                    drop(log);
                    told.store(true, SeqCst);
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
        true
    });
    let options = Log::options().segment_bytes(4096).compaction(how);
    *last.lock().unwrap() = Some(options.open(&path).unwrap());
    let again = Log::options().lock_timeout(Duration::from_secs(20));
    let log = again.open(&path).unwrap();
    assert!(asked.load(SeqCst), "it went in the filter");
    assert_eq!(log.recovery().verdict.to_string(), "clean");
}
