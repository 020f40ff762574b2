//! Once each log held six descriptors, all of them also while nobody used it, and 536 KiB of the disk before its
//! first record: so a process could have some hundreds of logs, or with a worker for all some thousands.

use crate::{options, path_of};
use cairnlog::{
    AppendOptions, Durability, Error, ErrorKind, Log, NewRecord, Options, Reader, Record, Worker,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

/// Logs of which nothing stays open but what has to.
fn many(disk: &SimFs) -> Options {
    let worker = Worker::new(2).unwrap().open_files_max(0);
    options().worker(worker).vfs(Arc::new(disk.clone()))
}

fn open(options: &Options, count: usize) -> Vec<Log> {
    let open = |number: usize| options.clone().open(format!("/{number}")).unwrap();
    (0..count).map(open).collect()
}

fn value(number: u64) -> String {
    format!("{number:0150}")
}

fn check(records: impl Iterator<Item = cairnlog::Result<Record>>, expected: std::ops::Range<u64>) {
    let found: Vec<Record> = records.map(Result::unwrap).collect();
    assert_eq!(found.len() as u64, expected.end - expected.start);
    for (record, number) in found.iter().zip(expected) {
        assert_eq!(
            (record.seq(), &**record),
            (number, value(number).as_bytes())
        );
    }
}

#[test]
fn how_many_descriptors_do_logs_hold_that_are_many() {
    let disk = SimFs::new(1);
    // Alone: the directory, the lock, the tail, the spare and the watermark.
    let alone = options()
        .vfs(Arc::new(disk.clone()))
        .open("/alone")
        .unwrap();
    alone.append("x").unwrap();
    assert_eq!(disk.descriptor_count(), 5);
    drop(alone);
    let worker = Worker::new(2).unwrap();
    let options = options().worker(worker.clone()).vfs(Arc::new(disk.clone()));
    let logs = open(&options, 400);
    for round in 0..8 {
        for log in &logs {
            log.append(value(round)).unwrap();
            // What is finished stays open until it is sealed: a worker's task, if there is one.
            log.maintain().unwrap();
        }
    }
    let held = 2 * 400;
    assert!(
        (held + 200..=held + 260).contains(&disk.descriptor_count()),
        "{}",
        disk.descriptor_count()
    );
    // From now on so many.
    let _worker = worker.open_files_max(10);
    for log in &logs {
        log.append(value(8)).unwrap();
        log.maintain().unwrap();
    }
    assert!(
        disk.descriptor_count() <= held + 14,
        "{}",
        disk.descriptor_count()
    );
    for log in &logs {
        check(log.scan(..).unwrap(), 0..9);
    }
    drop(logs);
    assert_eq!(disk.descriptor_count(), 0);
}

/// The system tells a write that it lost to whoever has the file open, and may forget it for who opens it later.
#[test]
fn does_a_file_stay_open_until_a_sync_covers_its_writes() {
    let disk = SimFs::new(7);
    let logs = open(&many(&disk), 10);
    let how = AppendOptions::new().durability(Durability::Written);
    for log in &logs {
        log.append_with(NewRecord::value("written"), &how).unwrap();
    }
    let held = 2 * 10;
    assert!(
        disk.descriptor_count() >= held + 10,
        "{}",
        disk.descriptor_count()
    );
    for log in &logs {
        log.sync().unwrap();
    }
    // Whatever is opened next closes them.
    logs[0].append("durable").unwrap();
    assert!(
        disk.descriptor_count() <= held + 4,
        "{}",
        disk.descriptor_count()
    );
}

/// Segments are begun, sealed, trimmed and rewound whose files were closed in between; whoever read a set of before
/// reads on in it.
#[test]
fn do_files_that_are_closed_between_two_uses_stay_one_log() {
    let disk = SimFs::new(2);
    let options = many(&disk);
    let logs = open(&options, 3);
    let mut next = 0;
    for round in 0..12 {
        for _ in 0..3 {
            for log in &logs {
                assert_eq!(log.append(value(next)).unwrap(), next);
            }
            next += 1;
        }
        for log in &logs {
            let head = log.head_seq();
            let before = log.scan(head..).unwrap();
            match round % 4 {
                1 => log.trim(next - 3).unwrap(),
                2 => log.rotate().unwrap(),
                3 => {
                    log.rewind(next - 2).unwrap();
                    // Numbers are not given twice; the test goes on with its own.
                    check(
                        log.scan(log.head_seq()..).unwrap(),
                        log.head_seq()..next - 2,
                    );
                    log.trim(log.next_seq()).unwrap();
                }
                _ => drop(log.maintain().unwrap()),
            }
            check(before, head..next);
        }
    }
    drop(logs);
    for log in open(&options, 3) {
        assert_eq!(log.next_seq(), next);
        check(log.scan(log.head_seq()..).unwrap(), log.head_seq()..next);
    }
}

/// A reader that outlives its log, and one of another process, read what was closed.
#[test]
fn is_a_log_that_rests_read_by_others() {
    let disk = SimFs::new(3);
    let options = many(&disk);
    let logs = open(&options, 2);
    for log in &logs {
        for number in 0..5 {
            log.append(value(number)).unwrap();
        }
    }
    let other: Reader = options.clone().open_reader("/0").unwrap();
    check(other.scan(..).unwrap(), 0..5);
    let own = logs[0].reader();
    drop(logs);
    check(own.scan(..).unwrap(), 0..5);
}

/// Whatever number of descriptors the process has left: an append succeeds, or is told why not and leaves nothing
/// behind, and the next one succeeds when there are some again. Nobody is stopped for it.
#[test]
fn does_a_log_go_on_after_the_process_had_no_descriptor_left() {
    let mut refused = 0;
    for left in 0..6 {
        let disk = SimFs::new(4);
        let options = many(&disk);
        let logs = open(&options, 3);
        let mut numbers = [0; 3];
        for _ in 0..9 {
            disk.set_descriptors_max(Some(disk.descriptor_count() + left));
            for (log, number) in logs.iter().zip(&mut numbers) {
                let told = |error: &Error| assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                match log.append(value(*number)) {
                    Ok(seq) => {
                        assert_eq!(seq, *number);
                        *number += 1;
                    }
                    Err(error) => {
                        told(&error);
                        refused += 1;
                    }
                }
                log.maintain().err().iter().for_each(told);
            }
            disk.set_descriptors_max(None);
            for (log, number) in logs.iter().zip(&mut numbers) {
                assert_eq!(log.append(value(*number)).unwrap(), *number);
                *number += 1;
                check(log.scan(..).unwrap(), 0..*number);
            }
        }
        // The others give theirs back: so one is as good as any.
        assert!(left == 0 || refused > 0 || left > 1, "{left}: {refused}");
        drop(logs);
        for (log, number) in open(&options, 3).iter().zip(numbers) {
            check(log.scan(..).unwrap(), 0..number);
        }
    }
    assert!(refused > 0, "with none left and none to give");
}

/// Each opening of a file fails once, of whatever file. What was acknowledged is there, and the log goes on.
#[test]
fn does_a_log_go_on_after_a_file_could_not_be_opened_again() {
    let run = |fails: Option<u64>| {
        let disk = SimFs::new(5);
        let logs = open(&many(&disk), 2);
        if let Some(nth) = fails {
            let fault = Fault::Error(Errno::Eio);
            disk.fail(FaultRule::nth(OpKind::Open, nth, fault));
        }
        let before = disk.trace().len();
        let mut number = 0;
        for _ in 0..10 {
            for log in &logs {
                if log.append(value(number)).is_err() {
                    assert_eq!(log.append(value(number)).unwrap(), number);
                }
            }
            number += 1;
        }
        for log in &logs {
            // Reading is told of it as well, and is tried again.
            let all = || {
                log.scan(..)
                    .and_then(Iterator::collect::<cairnlog::Result<Vec<_>>>)
            };
            let all = all().or_else(|_| all()).unwrap();
            check(all.into_iter().map(Ok), 0..number);
        }
        let trace = disk.trace();
        let opened = trace[before..].iter().filter(|it| it.kind == OpKind::Open);
        (disk.fault_count(), opened.count() as u64)
    };
    let (_, count) = run(None);
    assert!(count > 20, "{count}");
    for nth in 0..count {
        assert_eq!(run(Some(nth)).0, 1, "{nth}");
    }
}

/// Somebody puts another file in its place, or cuts it, which is nobody's right. Nothing is written to that.
#[test]
fn is_nothing_written_to_a_file_that_is_another_by_now() {
    let tail = Path::new("/0/00000000000000000001.seg");
    for cut in [false, true] {
        let disk = SimFs::new(6);
        let logs = open(&many(&disk), 2);
        for log in &logs {
            log.append(value(0)).unwrap();
        }
        logs[1].append(value(1)).unwrap();
        let mut bytes = disk.read_file(tail).unwrap();
        assert!(disk.remove_file(tail));
        bytes.truncate(bytes.len() - usize::from(cut));
        disk.write_file(tail, &bytes);
        let error = logs[0].append(value(1)).unwrap_err();
        assert!(
            error.to_string().contains("another file has its name"),
            "{error}"
        );
        assert_eq!(disk.read_file(tail).unwrap(), bytes);
        logs[1].append(value(2)).unwrap();
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap();
    let own = fs::metadata(dir).unwrap().blocks() * 512;
    own + files
        .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
        .sum::<u64>()
}

#[test]
fn how_much_of_the_disk_does_a_log_take_that_is_one_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_of(dir.path());
    let worker = Worker::new(2).unwrap();
    let log = Log::options().worker(worker).open(&path).unwrap();
    log.append("x").unwrap();
    let bytes = disk_bytes(&path);
    assert!(bytes < 64 << 10, "{bytes}");
    // With its first sealed segment it holds back as much as any.
    let reserve = || fs::metadata(path.join("RESERVE")).unwrap().len();
    assert_eq!(reserve(), 16 << 10);
    log.rotate().unwrap();
    assert_eq!(reserve(), 256 << 10);
    log.close().unwrap();
    // One that is alone opens it, and the other way around.
    for worker in [None, Some(Worker::new(2).unwrap())] {
        let options = worker.map_or_else(Log::options, |worker| Log::options().worker(worker));
        let log = options.open(&path).unwrap();
        log.append("y").unwrap();
        log.close().unwrap();
    }
    assert_eq!(reserve(), 256 << 10);
}
