//! A real keyed history, the machine's package file lists, path to checksum, loaded several times as
//! packages change: does compaction keep exactly what a plain map computes, and does a second process
//! that reads meanwhile see nothing wrong, nothing twice and all of it?

use super::now;
use cairnlog::{AppendOptions, Durability, Log, NewRecord, Reader, Record, Seq};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const LISTS: &str = "/var/lib/dpkg/info";
const LOADS: u64 = 4;
const DIR: &str = "CAIRN_KEYED_DIR";

/// Path and checksum of every file that a package brought; on a machine without such lists, every file
/// of this source tree and its length.
fn lists() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(LISTS).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "md5sums")
        {
            let text = fs::read_to_string(path).unwrap();
            let pairs = text.lines().filter_map(|line| line.split_once("  "));
            out.extend(pairs.map(|(sum, path)| (path.to_owned(), sum.to_owned())));
        }
    }
    if out.is_empty() {
        walk(Path::new(env!("CARGO_MANIFEST_DIR")), &mut out);
    }
    out.sort();
    out.dedup_by(|a, b| a.0 == b.0);
    out
}

fn walk(dir: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().display().to_string();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), out);
        } else {
            out.push((path, format!("{:032x}", entry.metadata().unwrap().len())));
        }
    }
}

/// What a path has in this load: a package in three changes its files, one in seven drops some.
fn of_load(load: u64, number: u64, sum: &str) -> Option<String> {
    match (number / 40 + load) % 21 {
        0 if number.is_multiple_of(5) => None,
        7 | 14 => Some(sum.chars().rev().collect()),
        _ => Some(sum.to_owned()),
    }
}

/// What the map computes, one a line: path, seq, checksum.
type Expected = BTreeMap<String, (Seq, String)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A walk over all: the newest record of each key, and how many there were in all.
fn newest(
    records: impl Iterator<Item = Record>,
) -> (BTreeMap<String, (Seq, Option<String>)>, usize) {
    let (mut found, mut count, mut below) = (BTreeMap::new(), 0, 0);
    for record in records {
        assert!(record.seq() >= below, "out of order, or twice");
        below = record.seq() + 1;
        let value = (record.seq(), record.value().map(text));
        found.insert(text(record.key().unwrap()), value);
        count += 1;
    }
    (found, count)
}

/// The second process: not a test of its own. It reads all, again and again, until it is told that the
/// compaction is over; whatever set of segments it meets, the newest record of each key is the right one.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let lines = fs::read_to_string(dir.join("expected")).unwrap();
    let line = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        let mut next = || words.next().unwrap();
        (next(), (next().parse().unwrap(), next()))
    };
    let expected: Expected = lines.lines().map(line).collect();
    let reader = Reader::open(dir.join("files.log")).unwrap();
    let (mut over, mut scans, mut counts) = (false, 0, Vec::new());
    while !over {
        over = dir.join("over").exists();
        let scan = reader.scan(..).unwrap();
        let (found, count) = newest(scan.map(Result::unwrap));
        let alive = found
            .into_iter()
            .filter_map(|(key, (seq, sum))| Some((key, (seq, sum?))));
        assert!(alive.collect::<Expected>() == expected, "scan {scans}");
        counts.push(count);
        scans += 1;
        if scans == 1 {
            println!("\nready");
        }
    }
    assert_eq!(
        counts.last(),
        Some(&expected.len()),
        "one record of each key is left"
    );
    assert!(
        counts.is_sorted_by(|a, b| a >= b) && counts[0] > expected.len(),
        "{counts:?}"
    );
    assert!(scans >= 3, "it was over too soon: {counts:?}");
    println!("\nscanned {scans} times");
}

#[test]
fn does_a_real_keyed_history_compact_to_what_a_map_computes() {
    let lists = lists();
    assert!(lists.len() > 100, "{} files", lists.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.log");
    let log = Log::options().segment_bytes(1 << 20).open(&path).unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    let mut map = BTreeMap::<String, (Seq, Option<String>)>::new();
    for load in 0..LOADS {
        for (number, (file, sum)) in (0..).zip(&lists) {
            let now = of_load(load, number, sum);
            let record = match &now {
                Some(sum) => NewRecord::keyed(file, sum),
                None => NewRecord::tombstone(file),
            };
            let seq = log.append_records(&[record], &how).unwrap().start;
            map.insert(file.clone(), (seq, now));
        }
    }
    map.retain(|_, (_, sum)| sum.is_some());
    log.rotate().unwrap();
    log.sync().unwrap();
    let before = log.stats();
    let lines = map.iter().map(|(file, (seq, sum))| {
        format!("{file}\t{seq}\t{}\n", sum.as_deref().unwrap_or_default())
    });
    fs::write(dir.path().join("expected"), lines.collect::<String>()).unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "keyed::child", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    said.by_ref()
        .find(|line| line == "ready")
        .expect("it reads the log");
    // A few segments a commit, and slow, so that scans meet many sets.
    let how = now().run_bytes_max(4 << 20);
    let slow = |_: &_| {
        std::thread::sleep(Duration::from_millis(3));
        ControlFlow::Continue(())
    };
    let report = log.compact_with(&how, slow).unwrap();
    let after = log.stats();
    println!("{report:?}");
    fs::write(dir.path().join("over"), "").unwrap();
    let scanned = said.find(|line| line.starts_with("scanned"));
    assert!(child.wait().unwrap().success(), "{scanned:?}");
    println!("the second process {}", scanned.unwrap());
    let (found, count) = newest(log.scan(..).unwrap().map(Result::unwrap));
    assert_eq!(count, found.len(), "two records of one key");
    assert!(
        found == map,
        "{} keys found, {} computed",
        found.len(),
        map.len()
    );
    assert!(
        after.sealed_bytes * (LOADS - 1) < before.sealed_bytes,
        "{before:?} {after:?}"
    );
    // Nobody reads the old segments any more: their files are gone, not only their names in the log.
    let on_disk: u64 = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(
        on_disk < after.frame_bytes + (4 << 20),
        "{on_disk} bytes on disk, {after:?}"
    );
}
