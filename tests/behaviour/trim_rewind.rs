//! Do records leave from the head and from the end, for good and without taking others along?

use crate::{sim, values};
use cairnlog::{ErrorKind, Log};
use std::path::Path;

#[test]
fn trimmed_records_are_hidden_at_once_and_their_files_go() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..40 {
        log.append(format!("{number:0100}")).unwrap();
    }
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    let before = disk.files().len();
    log.trim(25).unwrap();
    assert!(disk.files().len() < before, "whole segments are gone");
    assert_eq!((log.head_seq(), log.next_seq()), (25, 40));
    let first = log.scan(..).unwrap().next().unwrap().unwrap();
    assert_eq!(first.seq(), 25);
    let error = log.get(24).unwrap_err();
    assert_eq!(
        (error.kind(), error.resume_seq()),
        (ErrorKind::Trimmed, Some(25))
    );
    assert_eq!(log.scan(3..30).unwrap_err().resume_seq(), Some(25));
    assert_eq!(log.scan(25..30).unwrap().count(), 5);
    log.trim(10).unwrap();
    assert_eq!(log.head_seq(), 25, "a head does not go back");
    assert_eq!(log.trim(41).unwrap_err().kind(), ErrorKind::InvalidInput);
    log.trim(40).unwrap();
    assert_eq!(log.scan(..).unwrap().count(), 0);
    assert_eq!(log.append("next").unwrap(), 40);
    drop(log);
    let log = options.open("/log").unwrap();
    assert_eq!(
        (log.head_seq(), values(&log)),
        (40, vec!["next".to_owned()])
    );
}

#[test]
fn reader_keeps_what_it_reads_while_it_is_trimmed_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::options()
        .segment_bytes(1024)
        .background(false)
        .open(&path)
        .unwrap();
    for number in 0..60 {
        log.append(format!("{number:050}")).unwrap();
    }
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    let files = || std::fs::read_dir(&path).unwrap().count();
    let mut scan = log.scan(..).unwrap();
    let first = scan.next().unwrap().unwrap();
    let before = files();
    log.trim(55).unwrap();
    assert_eq!(files(), before, "the scan holds its segments");
    assert_eq!(
        scan.count(),
        59,
        "and goes on over what was there when it began"
    );
    assert!(files() < before, "the last reader lets the files go");
    assert_eq!(
        &*first,
        format!("{:050}", 0).as_bytes(),
        "and a record outlives them all"
    );
}

#[test]
fn rewound_numbers_stay_unused() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..30 {
        log.append(format!("{number}")).unwrap();
    }
    log.rewind(10).unwrap();
    assert_eq!((log.next_seq(), log.scan(..).unwrap().count()), (30, 10));
    assert_eq!(log.append("after").unwrap(), 30);
    assert!(log.get(15).unwrap().is_none());
    assert_eq!(log.get(30).unwrap().unwrap().into_bytes(), "after");
    assert_eq!(log.scan(12..).unwrap().next().unwrap().unwrap().seq(), 30);
    assert_eq!(
        log.scan(..).unwrap().rev().nth(1).unwrap().unwrap().seq(),
        9
    );
    log.rewind(35).unwrap();
    assert_eq!(
        log.next_seq(),
        31,
        "beyond the end there is nothing to drop"
    );
    log.trim(5).unwrap();
    let error = log.rewind(4).unwrap_err();
    assert_eq!(
        (error.kind(), error.resume_seq()),
        (ErrorKind::Trimmed, Some(5))
    );
    log.rewind(5).unwrap();
    assert_eq!(log.scan(..).unwrap().count(), 0);
    let disk = disk.kill();
    let log = options.vfs(std::sync::Arc::new(disk)).open("/log").unwrap();
    assert_eq!(
        (log.head_seq(), log.next_seq()),
        (5, 31),
        "also after a kill"
    );
    assert_eq!(log.append("again").unwrap(), 31);
}

#[test]
fn rewind_leaves_no_file_that_is_not_of_the_log() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..20 {
        log.append(format!("{number:0100}")).unwrap();
    }
    log.rewind(13).unwrap();
    log.rewind(6).unwrap();
    log.rewind(0).unwrap();
    log.close().unwrap();
    drop(log);
    let before = disk.files();
    let log = options.open("/log").unwrap();
    assert_eq!(log.recovery().orphan_count, 0);
    assert_eq!(disk.files(), before);
    assert!(disk.read_file(Path::new("/log/MANIFEST")).is_some());
}

#[test]
fn tail_reader_that_fell_behind_is_told() {
    let (_disk, options) = sim();
    let log = options.open("/log").unwrap();
    for number in 0..10 {
        log.append(format!("{number}")).unwrap();
    }
    let mut tail = log.tail(2);
    assert_eq!(tail.try_next().unwrap().unwrap().seq(), 2);
    let mut late = log.tail(0);
    log.trim(8).unwrap();
    let error = late.try_next().unwrap_err();
    assert_eq!(
        (error.kind(), error.resume_seq()),
        (ErrorKind::Trimmed, Some(8))
    );
    assert!(
        late.is_finished() && late.try_next().unwrap().is_none(),
        "once, and then it ends"
    );
    assert_eq!(
        tail.try_next().unwrap().unwrap().seq(),
        3,
        "what it had begun it may finish"
    );
}
