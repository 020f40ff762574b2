//! What if the path of an open log comes to mean another directory?
//!
//! It did harm: rotation and commits went by path. A log whose directory was renamed, replaced, or reached
//! through a link that was switched wrote its segments and its manifest into the log that was there by
//! then, destroyed it, and acknowledged what nobody could read afterwards. The same befell a log that was
//! opened by a relative path in a process that went to another directory.

use cairnlog::{Log, Options, Reader};
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

fn small() -> Options {
    Log::options().segment_bytes(4096).background(false)
}

/// Enough for several rotations.
fn append(log: &Log, what: &str, count: usize) {
    for i in 0..count {
        let value = format!("{what} {i} {}", "-".repeat(400));
        log.append(value).unwrap();
    }
}

fn count(path: &Path, what: &str) -> usize {
    let report = small().verify(path).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let log = small().open(path).unwrap();
    let all: Vec<_> = log.scan(..).unwrap().map(Result::unwrap).collect();
    assert!(all.iter().all(|record| record.starts_with(what.as_bytes())));
    all.len()
}

#[test]
fn does_a_log_that_was_renamed_go_on_where_it_is_beside_one_in_its_place() {
    let top = tempfile::tempdir().unwrap();
    let (path, aside) = (top.path().join("log"), top.path().join("log.1"));
    let first = small().open(&path).unwrap();
    append(&first, "first", 3);
    fs::rename(&path, &aside).unwrap();
    let second = small().open(&path).unwrap();
    append(&second, "second", 60);
    append(&first, "first", 60);
    first.trim(10).unwrap();
    first.consumer("of the first").unwrap().ack(9).unwrap();
    append(&second, "second", 1);
    second.close().unwrap();
    first.close().unwrap();
    drop((first, second));
    assert_eq!(count(&path, "second"), 61);
    assert_eq!(count(&aside, "first"), 53);
    assert!(!path.join("cursors").exists());
}

#[test]
fn does_a_log_behind_a_link_that_is_switched_stay_itself() {
    let top = tempfile::tempdir().unwrap();
    let (one, other, link) = (
        top.path().join("one"),
        top.path().join("other"),
        top.path().join("current"),
    );
    let theirs = small().open(&other).unwrap();
    append(&theirs, "theirs", 20);
    theirs.close().unwrap();
    drop(theirs);
    fs::create_dir(&one).unwrap();
    symlink(&one, &link).unwrap();
    let ours = small().open(&link).unwrap();
    append(&ours, "ours", 3);
    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    append(&ours, "ours", 60);
    ours.close().unwrap();
    drop(ours);
    assert_eq!(count(&other, "theirs"), 20);
    assert_eq!(count(&one, "ours"), 63);
}

const TOP: &str = "CAIRN_HELD_TOP";

/// The other process of the test below: one has one working directory.
#[test]
fn child() {
    let Some(top) = env::var_os(TOP) else { return };
    env::set_current_dir(PathBuf::from(&top).join("a")).unwrap();
    let log = small().open("log").unwrap();
    append(&log, "a", 1);
    env::set_current_dir(PathBuf::from(&top).join("b")).unwrap();
    append(&log, "a", 60);
    log.close().unwrap();
}

#[test]
fn does_a_relative_path_mean_the_same_after_the_process_went_elsewhere() {
    for theirs in [0, 30] {
        let top = tempfile::tempdir().unwrap();
        let (a, b) = (top.path().join("a"), top.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        if theirs > 0 {
            append(&small().open(b.join("log")).unwrap(), "b", theirs);
        }
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(TOP, top.path())
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        assert_eq!(count(&a.join("log"), "a"), 61);
        match theirs {
            0 => assert!(!b.join("log").exists()),
            _ => assert_eq!(count(&b.join("log"), "b"), theirs),
        }
    }
}

/// A reader in another process held a path, too, and called what it found there damage.
#[test]
fn does_a_reader_follow_a_log_that_is_moved() {
    let top = tempfile::tempdir().unwrap();
    let (path, aside) = (top.path().join("log"), top.path().join("aside"));
    let log = small().open(&path).unwrap();
    append(&log, "moved", 3);
    let reader = Reader::open(&path).unwrap();
    let mut tail = reader.tail(0);
    assert_eq!(tail.by_ref().take(3).filter(Result::is_ok).count(), 3);
    fs::rename(&path, &aside).unwrap();
    let other = small().open(&path).unwrap();
    append(&other, "other", 5);
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        append(&log, "moved", 60);
    });
    let more: Vec<_> = tail.take(60).map(Result::unwrap).collect();
    writer.join().unwrap();
    assert!(more.iter().all(|record| record.starts_with(b"moved")));
    assert_eq!(reader.scan(..).unwrap().filter(Result::is_ok).count(), 63);
}

/// `cursors/` and `quarantine/` were followed out of the log where somebody had put a link.
#[test]
fn does_a_link_in_the_place_of_a_directory_lead_out_of_the_log() {
    let top = tempfile::tempdir().unwrap();
    let (path, outside) = (top.path().join("log"), top.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    let log = small().open(&path).unwrap();
    append(&log, "ours", 3);
    symlink(&outside, path.join("cursors")).unwrap();
    let refused = log.consumer("led astray").map(drop);
    assert!(refused.is_err(), "a cursor behind a link: {refused:?}");
    append(&log, "ours", 1);
    log.close().unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// Bytes that recovery cuts are kept in `quarantine/`: where a link stood in its place they went elsewhere,
/// and were cut all the same.
#[test]
fn are_bytes_that_are_cut_kept_behind_a_link() {
    let top = tempfile::tempdir().unwrap();
    let (path, outside) = (top.path().join("log"), top.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    let log = small().open(&path).unwrap();
    append(&log, "ours", 3);
    // As a kill leaves it, with an unfinished write at its end.
    let killed = top.path().join("killed");
    fs::create_dir(&killed).unwrap();
    for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
    }
    let tail = killed.join("00000000000000000001.seg");
    let mut torn = fs::read(&tail).unwrap();
    torn.extend([0xee; 40]);
    fs::write(&tail, &torn).unwrap();
    symlink(&outside, killed.join("quarantine")).unwrap();
    let refused = small().open(&killed).map(drop);
    assert!(refused.is_err(), "cut, and kept elsewhere");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::read(&tail).unwrap(), torn);
    fs::remove_file(killed.join("quarantine")).unwrap();
    let log = small().open(&killed).unwrap();
    assert_eq!((log.next_seq(), log.recovery().cut_bytes()), (3, 40));
    assert_eq!(fs::read_dir(killed.join("quarantine")).unwrap().count(), 1);
}

/// The other process of the tests below: makes a log under this path, and a backup of it under that.
#[test]
fn creates() {
    let Some(top) = env::var_os(TOP) else { return };
    let Some(path) = env::var_os(PATH) else {
        return;
    };
    env::set_current_dir(top).unwrap();
    let log = small().open(path).unwrap();
    append(&log, "ours", 1);
    if let Some(backup) = env::var_os(BACKUP) {
        log.backup(backup).unwrap();
    }
    log.close().unwrap();
}

const PATH: &str = "CAIRN_HELD_PATH";
const BACKUP: &str = "CAIRN_HELD_BACKUP";

/// The directories that such a process syncs. `None`: there is no strace here.
fn synced(top: &Path, path: &str, backup: Option<&str>) -> Option<Vec<PathBuf>> {
    let mut traced = Command::new("strace");
    traced
        .args([
            "-f",
            "-y",
            "-s",
            "300",
            "-e",
            "trace=fsync",
            "-o",
            "/dev/stdout",
        ])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "creates"])
        .envs([(TOP, top.as_os_str()), (PATH, path.as_ref())]);
    traced.envs(backup.map(|backup| (BACKUP, backup)));
    let output = traced.output().ok()?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_line = |line: &str| Some(PathBuf::from(line.split_once('<')?.1.split_once(">)")?.0));
    Some(text.lines().filter_map(of_line).collect())
}

/// The directory that holds a new log's name was found in the log's path: for `.` and `..`, and through a
/// link, that was another one, and a power cut took the log with all that it had acknowledged.
#[test]
fn is_the_name_of_a_new_log_synced_whatever_its_path_looks_like() {
    for path in ["new", ".", "inner/..", "link"] {
        let outer = tempfile::tempdir().unwrap();
        let outer = outer.path().canonicalize().unwrap();
        let top = outer.join("top");
        fs::create_dir_all(top.join("inner")).unwrap();
        fs::create_dir_all(outer.join("far/log")).unwrap();
        symlink(outer.join("far/log"), top.join("link")).unwrap();
        let holds = match path {
            "new" => top.clone(),
            "link" => outer.join("far"),
            _ => outer.clone(),
        };
        let Some(synced) = synced(&top, path, None) else {
            return;
        };
        assert!(synced.contains(&holds), "{path}: {synced:?}");
    }
}

#[test]
fn is_the_name_of_a_backup_synced() {
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    fs::create_dir(top.join("backups")).unwrap();
    let Some(synced) = synced(&top, "log", Some("backups/first")) else {
        return;
    };
    assert!(synced.contains(&top.join("backups")), "{synced:?}");
}

/// Of the lock's file too: what stands in it is written in place.
#[test]
fn is_another_file_written_through_a_second_name_of_the_lock() {
    let top = tempfile::tempdir().unwrap();
    let (path, other) = (top.path().join("log"), top.path().join("other"));
    fs::create_dir(&path).unwrap();
    fs::write(&other, "precious bytes").unwrap();
    fs::hard_link(&other, path.join("LOCK")).unwrap();
    let log = small().open(&path).unwrap();
    append(&log, "ours", 1);
    log.close().unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"precious bytes");
}

/// Two processes that were forked from one drew the same log ids and salts: the standard library's source
/// of unpredictable numbers is seeded once a thread. Segments of the one verified in the other.
#[test]
fn do_forked_siblings_draw_different_numbers() {
    use cairnlog::vfs::{RealFs, Vfs};
    let fs = RealFs::default();
    let mut drawn: Vec<u64> = (0..1000).map(|_| fs.random()).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 1000);
    // The kernel gives the numbers, and no state of the process has a part in them.
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=getrandom", "-o", "/dev/stdout"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "draws"])
        .env(TOP, "/")
        .output();
    let Ok(traced) = traced else { return };
    let calls = String::from_utf8_lossy(&traced.stdout)
        .matches(", 8, 0) ")
        .count();
    assert!(calls >= 7, "{}", String::from_utf8_lossy(&traced.stdout));
}

/// The other process of the test above.
#[test]
fn draws() {
    use cairnlog::vfs::{RealFs, Vfs};
    if env::var_os(TOP).is_some() {
        let fs = RealFs::default();
        let numbers: Vec<u64> = (0..7).map(|_| fs.random()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
