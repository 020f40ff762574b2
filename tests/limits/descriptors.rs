//! Once a walk kept a descriptor, or a mapping, for each segment that it had passed: a log of 64 GiB
//! could not be read with the usual 1,024 descriptors, and one of 100,000 segments by no process at all.

use crate::{options, path_of, segments};
use cairnlog::{
    CompactOptions, Log, Options, ReadMode, Reader, Record,
    vfs::{Vfs, sim::SimFs},
};
use std::{collections::BTreeSet, env, fs, path::Path, process::Command, sync::Arc};

const SEGMENTS: u64 = 1500;
const DIR: &str = "CAIRN_DESCRIPTORS_DIR";

fn numbers(records: impl Iterator<Item = cairnlog::Result<Record>>) -> BTreeSet<u64> {
    records.map(|record| record.unwrap().seq()).collect()
}

/// Walks past every segment in every way there is.
fn walk(log: &Log, readers: &[Reader], count: u64) {
    let all: BTreeSet<u64> = (0..count).collect();
    for reader in readers {
        assert_eq!(numbers(reader.scan(..).unwrap()), all);
        assert_eq!(numbers(reader.scan(..).unwrap().rev()), all);
        assert_eq!(numbers(reader.tail(0).take(all.len())), all);
        for seq in (0..count).rev() {
            assert_eq!(reader.get(seq).unwrap().unwrap().seq(), seq);
        }
    }
    let mut consumer = log.consumer("all").unwrap();
    for seq in 0..count {
        assert_eq!(consumer.next().unwrap().unwrap().seq(), seq);
    }
}

#[test]
fn how_many_files_does_a_walk_keep_open_on_the_simulated_disk() {
    let disk = SimFs::new(1);
    let options = options().vfs(Arc::new(disk.clone()));
    let log = options.clone().open("/log").unwrap();
    segments(&log, 300);
    let before = disk.open_count();
    let readers = [log.reader(), options.open_reader("/log").unwrap()];
    walk(&log, &readers, 300);
    // 32 of each reader's, and of the one that follows two unsealed ones and the directory.
    let open = disk.open_count() - before;
    assert!((32..=2 * 32 + 3).contains(&open), "{open}");
    // In each walk one more, and those are given back.
    let mut walks: Vec<_> = (0..300).map(|seq| log.scan(seq..).unwrap()).collect();
    for (seq, walk) in walks.iter_mut().enumerate() {
        assert_eq!(walk.next().unwrap().unwrap().seq(), seq as u64);
    }
    assert!(disk.open_count() - before >= 300);
    drop(walks);
    assert!(disk.open_count() - before <= 2 * 32 + 3);
}

#[test]
fn does_a_file_that_compaction_took_away_stay_readable_for_who_walks() {
    let disk = SimFs::new(1);
    let options = options().vfs(Arc::new(disk.clone()));
    let log = options.open("/log").unwrap();
    segments(&log, 200);
    // It has the set of segments from before, and has opened none of them.
    let before = log.scan(..).unwrap();
    log.trim(150).unwrap();
    assert_eq!(numbers(before), (0..200).collect());
    assert_eq!(numbers(log.scan(..).unwrap()), (150..200).collect());
    let names = disk.list(Path::new("/log")).unwrap().len();
    assert!(names < 60, "{names} files are left");
}

fn mapped_segments() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.ends_with(".seg")).count()
}

fn with_mode(mode: ReadMode) -> Options {
    options().read_mode(mode)
}

/// The child: not a test of its own. It has 128 descriptors, the tests' own among them.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let path = path_of(Path::new(&dir));
    let log = with_mode(ReadMode::Positional).open(&path).unwrap();
    let reader = |mode| with_mode(mode).open_reader(&path).unwrap();
    let readers = [
        log.reader(),
        reader(ReadMode::Positional),
        reader(ReadMode::Mapped),
    ];
    walk(&log, &readers, SEGMENTS);
    let mapped = mapped_segments();
    assert!((1024..1030).contains(&mapped), "{mapped}");
    // None of them has left the writer without.
    segments(&log, 10);
    assert_eq!(options().verify(&path).unwrap().findings, []);
    log.compact(&CompactOptions::new()).unwrap();
    log.backup(path.with_extension("backup")).unwrap();
    log.trim(100).unwrap();
    assert_eq!(numbers(log.scan(..).unwrap()).len() as u64, SEGMENTS - 90);
    println!("\nwalked");
}

#[test]
fn can_a_log_of_many_segments_be_read_with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(path_of(dir.path())).unwrap();
    segments(&log, SEGMENTS);
    drop(log);
    let test = env::current_exe().unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 128; exec \"$0\" --exact descriptors::child --nocapture",
        ])
        .arg(test)
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("walked"),
        "{text}{errors}"
    );
}
