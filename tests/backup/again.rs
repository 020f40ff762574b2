//! A backup where an earlier one is: what stays, and what is refused because it is none, or no more.

use crate::{append, seqs, small};
use cairnlog::{BackupOptions, ErrorKind, Log};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

fn fill(log: &Log, count: u64) {
    let appended = |at: u64| append(log, (count - at).min(10));
    (0..count).step_by(10).for_each(appended);
}

/// The files of segments by their names, and which each is.
fn files(dir: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let segments = entries.filter(|it| it.path().extension().is_some_and(|it| it == "seg"));
    segments
        .map(|it| {
            let name = it.file_name().into_string().unwrap();
            (name, it.metadata().unwrap().ino())
        })
        .collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn is_what_is_sealed_and_there_not_copied_again() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let to = dir.path().join("backup");
    let log = small().open(dir.path().join("log")).unwrap();
    let how = BackupOptions::new().copy(true);
    let mut before = BTreeMap::<String, u64>::new();
    for round in 1..6_u64 {
        fill(&log, 400);
        if round == 4 {
            log.trim(500).unwrap();
        }
        let sealed: Vec<_> = log.segments().unwrap().iter().map(|it| it.id).collect();
        let report = log.backup_with(&to, &how).unwrap();
        let now = files(&to);
        let same = now
            .iter()
            .filter(|(name, ino)| before.get(*name) == Some(ino));
        assert_eq!(report.kept_count, same.count() as u64, "round {round}");
        let is_there = |id: &&cairnlog::SegmentId| {
            before.contains_key(&cairnlog::format::names::segment(**id))
        };
        assert_eq!(
            sealed.iter().filter(is_there).count() as u64,
            report.kept_count
        );
        assert!(round == 1 || report.kept_count > 0, "{report:?}");
        // The tail is the only one beside those that are told; of the former nothing is left.
        let told = report.kept_count + report.copied_count + report.linked_count;
        assert_eq!(now.len() as u64, told + 1);
        assert_eq!(small().verify(&to).unwrap().findings, []);
        let reader = small().open_reader(&to).unwrap();
        assert_eq!(
            (reader.head_seq(), reader.end_seq()),
            (log.head_seq(), 400 * round)
        );
        before = now;
    }
    // Beside a writer in another process it is the same.
    fill(&log, 7);
    let report = small().backup(dir.path().join("log"), &to, &how).unwrap();
    assert!(
        report.kept_count > 3 && report.next_seq == 2007,
        "{report:?}"
    );
    assert_eq!(
        seqs(&small().open(&to).unwrap()),
        (500..2007).collect::<Vec<_>>()
    );
}

#[test]
fn is_what_is_no_backup_of_this_log_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let (log, other) = (
        small().open(at("log")).unwrap(),
        small().open(at("other")).unwrap(),
    );
    // The segment that is damaged is none of the newest, which are compared with the log's.
    fill(&log, 900);
    fill(&other, 300);
    for (name, copy) in [
        ("opened", true),
        ("held", true),
        ("shared", false),
        ("bad", true),
    ] {
        log.backup_with(at(name), &BackupOptions::new().copy(copy))
            .unwrap();
    }
    other.backup(at("of another")).unwrap();
    small().open(at("opened")).unwrap().close().unwrap();
    let held = small().open(at("held")).unwrap();
    let segment = files(&at("bad")).into_keys().next().unwrap();
    let mut bytes = fs::read(at("bad").join(&segment)).unwrap();
    bytes[5000] ^= 1;
    fs::write(at("bad").join(&segment), bytes).unwrap();
    let copied = BackupOptions::new().copy(true);
    let cases = [
        ("opened", ErrorKind::InvalidInput, "opened as one since"),
        ("other", ErrorKind::InvalidInput, "is a log by itself"),
        ("of another", ErrorKind::InvalidInput, "of another log"),
        (
            "shared",
            ErrorKind::InvalidInput,
            "shares files with the log",
        ),
        ("bad", ErrorKind::Damaged, "bad"),
    ];
    fill(&log, 300);
    for (name, kind, says) in cases {
        let before = files(&at(name));
        let error = log.backup_with(at(name), &copied).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(files(&at(name)), before, "{name}");
    }
    // Its mark went when it was opened; one that only looks like a backup that is in use is held.
    let mark = fs::read(at("shared/BACKUP")).unwrap();
    fs::write(at("held/BACKUP"), &mark).unwrap();
    let error = log.backup(at("held")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    // And whoever puts the mark back does not make it a backup again.
    fill(&held, 1);
    held.close().unwrap();
    fs::write(at("held/BACKUP"), &mark).unwrap();
    let error = log.backup(at("held")).unwrap_err();
    assert!(error.to_string().contains("opened as one since"), "{error}");
    assert_eq!(log.backup(at("shared")).unwrap().next_seq, 1200);
}

/// A log that was put back from an earlier day is behind its own backup, which may be all that there is of the rest.
#[test]
fn is_a_backup_that_is_ahead_or_of_what_went_on_elsewhere_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let log = small().open(at("log")).unwrap();
    fill(&log, 100);
    log.close().unwrap();
    copy_dir(&at("log"), &at("earlier"));
    let log = small().open(at("log")).unwrap();
    fill(&log, 100);
    log.backup(at("backup")).unwrap();
    let earlier = small().open(at("earlier")).unwrap();
    let error = earlier.backup(at("backup")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ahead of this log"), "{error}");
    // A backup that goes on as the log has backups of its own.
    log.backup(at("next")).unwrap();
    let next = small().open(at("next")).unwrap();
    fill(&next, 10);
    let error = next.backup(at("backup")).unwrap_err();
    assert!(error.to_string().contains("from another copy"), "{error}");
    next.backup(at("third")).unwrap();
    fill(&next, 500);
    assert!(next.backup(at("third")).unwrap().kept_count > 0);
    assert_eq!(
        seqs(&small().open(at("third")).unwrap()),
        (0..710).collect::<Vec<_>>()
    );
    assert_eq!(
        seqs(&Log::open(at("backup")).unwrap()),
        (0..200).collect::<Vec<_>>()
    );
}

/// A log that was put back from an earlier day went on in the very files in which it had gone on before: its tail, and the
/// spare behind it, under the same ids and salts. A backup from before took its own state of them for that of the log, and was
/// told to be up to date with records in it that the log has not got.
#[test]
fn does_a_backup_keep_what_a_log_that_was_put_back_has_written_otherwise() {
    let value = |branch: &str, seq: u64| format!("{branch} {seq:05} ").repeat(20);
    for sealed_on in 1..4 {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| dir.path().join(name);
        let how = BackupOptions::new().copy(true);
        let put = |log: &Log, branch: &str, count: u64| {
            for _ in 0..count {
                log.append(value(branch, log.next_seq())).unwrap();
                while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
            }
        };
        let open = |name: &str| small().background(false).open(at(name)).unwrap();
        let log = open("log");
        put(&log, "a", 90);
        let sealed_count = |log: &Log| {
            let segments = log.segments().unwrap();
            segments.iter().filter(|it| it.is_sealed).count()
        };
        let begun = sealed_count(&log);
        log.close().unwrap();
        copy_dir(&at("log"), &at("put back"));
        let go_on = |name: &str, branch: &str| {
            let log = open(name);
            while sealed_count(&log) < begun + sealed_on {
                put(&log, branch, 1);
            }
            log
        };
        go_on("log", "b").backup_with(at("backup"), &how).unwrap();
        let before = files(&at("backup"));
        let put_back = go_on("put back", "c");
        put(&put_back, "c", 3);
        let error = put_back.backup_with(at("backup"), &how).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidInput,
            "{sealed_on}: {error}"
        );
        assert!(error.to_string().contains("make a new backup"), "{error}");
        assert_eq!(files(&at("backup")), before, "{sealed_on}");
        let backup = small().open_reader(at("backup")).unwrap();
        let last = backup.last().unwrap().unwrap();
        assert_eq!(last.value(), Some(value("b", last.seq()).as_bytes()));
        put_back.backup_with(at("another"), &how).unwrap();
    }
}

/// After a disk was lost: the backup is copied to the log's place, and goes on. What then is backed up every night is another
/// continuation than the one that the backup is of.
#[test]
fn does_a_log_that_went_on_from_a_backup_overwrite_it() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let log = small().open(at("log")).unwrap();
    fill(&log, 300);
    let how = BackupOptions::new().copy(true);
    log.backup_with(at("backup"), &how).unwrap();
    log.close().unwrap();
    fs::remove_dir_all(at("log")).unwrap();
    copy_dir(&at("backup"), &at("log"));
    let before = files(&at("backup"));
    for count in [0, 200] {
        let log = small().open(at("log")).unwrap();
        fill(&log, count);
        let error = log.backup_with(at("backup"), &how).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("from another copy"), "{error}");
        assert_eq!(files(&at("backup")), before);
        log.backup_with(at("its own"), &how).unwrap();
    }
    assert_eq!(
        seqs(&small().open(at("its own")).unwrap()),
        (0..500).collect::<Vec<_>>()
    );
}
