//! A real keyed history, the machine's package file lists, path to checksum, loaded several times as
//! packages change: does compaction keep exactly what a plain map computes?

use super::now;
use cairnlog::{AppendOptions, Durability, Log, NewRecord};
use std::{collections::BTreeMap, fs, path::Path};

const LISTS: &str = "/var/lib/dpkg/info";
const LOADS: u64 = 4;

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

#[test]
fn does_a_real_keyed_history_compact_to_what_a_map_computes() {
    let lists = lists();
    assert!(lists.len() > 100, "{} files", lists.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.log");
    let log = Log::options().segment_bytes(1 << 20).open(&path).unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    let mut map = BTreeMap::new();
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
    let report = log.compact(&now()).unwrap();
    let after = log.stats();
    println!("{report:?}");
    let mut found = BTreeMap::new();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let value = (record.seq(), record.value().map(text));
        let twice = found.insert(text(record.key().unwrap()), value);
        assert_eq!(twice, None, "two records of one key");
    }
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
