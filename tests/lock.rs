//! Is there one writer, whatever a second one tries?
//!
//! These tests make processes, and a child that has not yet begun its own program shares the files
//! of this one, locks included: so they run one after the other, in a binary of their own.

use cairnlog::{AppendOptions, Durability, ErrorKind, Log, NewRecord};
use std::{
    env,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const DIR: &str = "CAIRN_LOCK_DIR";

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> cairnlog::Result<Log> {
    Log::options().background(false).open(path)
}

#[test]
fn second_handle_of_the_same_process_is_refused_by_name() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(error.holder(), Some(std::process::id()));
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    log.append("still works").unwrap();
    let clone = log.clone();
    drop(log);
    assert_eq!(
        open(&path).unwrap_err().kind(),
        ErrorKind::Locked,
        "a clone holds it too"
    );
    drop(clone);
    assert_eq!(open(&path).unwrap().next_seq(), 1);
}

/// The other process of the tests below: says by its exit code how the opening went.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let error = open(&PathBuf::from(dir)).unwrap_err();
    let parent = std::os::unix::process::parent_id();
    let refused = error.kind() == ErrorKind::Locked && error.holder() == Some(parent);
    std::process::exit(if refused { 42 } else { 43 });
}

fn other_process(path: &Path) -> Option<i32> {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(DIR, path)
        .output()
        .unwrap()
        .status;
    status.code()
}

#[test]
fn second_process_is_refused_and_told_the_holder() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    assert_eq!(other_process(&path), Some(42));
    // A well-meaning hand removes the lock file, and its number with it.
    std::fs::remove_file(path.join("LOCK")).unwrap();
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::Locked);
    log.append("still the only one").unwrap();
}

#[test]
fn waiting_ends_when_the_holder_lets_go_or_time_is_up() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    let (started, patience) = (Instant::now(), Duration::from_millis(60));
    let waiting = |time| Log::options().lock_timeout(time).open(&path);
    assert_eq!(waiting(patience).unwrap_err().kind(), ErrorKind::Locked);
    assert!(started.elapsed() >= patience);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| waiting(Duration::from_secs(20)));
        std::thread::sleep(Duration::from_millis(30));
        drop(log);
        let log = waiter.join().unwrap().unwrap();
        assert_eq!(log.next_seq(), 0);
    });
}

/// Does something with a log in a forked child, which then drops its copy and ends; whether it went well, and
/// the log again. What the child does takes no lock that another thread of this process can have held at
/// the fork (the allocator's glibc makes usable after one).
#[allow(unsafe_code)]
fn in_a_fork(log: Log, work: impl FnOnce(&Log) -> bool) -> (bool, Log) {
    // SAFETY: see above; the child leaves without unwinding.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let well = work(&log);
        drop(log);
        // SAFETY: ends the process at once; nothing is run after it.
        unsafe { libc::_exit(if well { 42 } else { 43 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made; the status is a place of our own.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    assert!([42, 43].contains(&libc::WEXITSTATUS(status)), "{status}");
    (libc::WEXITSTATUS(status) == 42, log)
}

/// A forked child shares the parent's open files; its own attempt must be refused all the same, and
/// dropping its copy of the handle must not write.
#[test]
fn forked_child_is_refused_and_harms_nothing() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    log.append("before").unwrap();
    let files = || {
        let manifest = std::fs::read(path.join("MANIFEST")).unwrap();
        let segment = std::fs::read(path.join("00000000000000000001.seg")).unwrap();
        (manifest, segment)
    };
    let before = files();
    // The attempt takes no lock of this process but the allocator's.
    let (refused, log) = in_a_fork(log, |log| {
        let refused = open(&path).is_err_and(|error| error.kind() == ErrorKind::Locked);
        let closed = log.close();
        refused && closed.is_err_and(|error| error.kind() == ErrorKind::Closed)
    });
    assert!(refused);
    assert!(files() == before, "the child wrote something");
    assert_eq!(log.append("after").unwrap(), 1);
}

/// What the parent has only buffered is the parent's to write. A child that wrote it as well, when it dropped
/// its copy, put it where the parent then wrote something else.
#[test]
fn what_is_buffered_when_a_child_is_forked_is_written_once() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    log.append_records(&[NewRecord::value("buffered")], &how)
        .unwrap();
    let tail = || std::fs::read(path.join("00000000000000000001.seg")).unwrap();
    let before = tail();
    let (dropped, log) = in_a_fork(log, |_| true);
    assert!(dropped);
    assert!(tail() == before, "the child wrote it");
    assert_eq!(log.append("after").unwrap(), 1);
    assert_eq!(log.scan(..).unwrap().filter(Result::is_ok).count(), 2);
}

/// A child has the files of its parent until it is another program, and with them what is locked by them. A log that was
/// closed could not be opened again until then: the lock of the directory was given back, that of the file `LOCK`
/// only closed. A program that begins others beside it found its own log locked by itself, about once in a thousand.
#[test]
#[allow(unsafe_code)]
fn is_a_log_free_that_is_closed_while_a_child_is_forked() {
    let _one = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path).unwrap();
    let (until, let_go) = std::io::pipe().unwrap();
    // SAFETY: the child makes system calls alone, and leaves without unwinding.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(let_go);
        let mut byte = 0_u8;
        // SAFETY: reads into a place of its own until the parent closes the other end, and ends at once.
        unsafe {
            libc::read(until.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    log.append("before").unwrap();
    drop(log);
    let again = open(&path).map(|log| log.append("after").unwrap());
    drop(let_go);
    // SAFETY: waits for the child just made, and does not ask how it ended.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!(again.unwrap(), 1);
}
