//! Are the parts of a range together that range, whatever it consists of and whoever changes it meanwhile?

use cairnlog::{
    AppendOptions, CompactOptions, Durability, Log, NewRecord, Reader, Scan, Seq, vfs::sim::SimFs,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

fn on(disk: &SimFs) -> Log {
    let options = Log::options().vfs(Arc::new(disk.clone()));
    options
        .segment_bytes(64 << 10)
        .background(false)
        .open("/log")
        .unwrap()
}

fn key(seq: Seq) -> String {
    format!("key {}", seq % 100)
}

/// Sealed segments, of which the first was compacted and lacks records, and a tail.
fn fill(log: &Log) {
    let how = AppendOptions::new().durability(Durability::Buffered);
    for seq in 0..6000 {
        let (key, value) = (key(seq), seq.to_string().repeat(1 + (seq % 40) as usize));
        log.append_records(&[NewRecord::keyed(&key, &value)], &how)
            .unwrap();
        if seq == 3000 {
            log.rotate().unwrap();
            let how = CompactOptions::new().dirty_ratio_min(0.0);
            assert!(log.compact(&how).unwrap().dropped_count > 0);
        }
    }
    log.append_batch((0..3000).map(|number| number.to_string()))
        .unwrap();
    log.sync().unwrap();
}

fn seqs(scan: Scan) -> Vec<Seq> {
    scan.map(|record| record.unwrap().seq()).collect()
}

#[test]
fn are_the_parts_of_a_range_that_range() {
    let disk = SimFs::new(1);
    let log = on(&disk);
    fill(&log);
    let elsewhere = Log::options()
        .vfs(Arc::new(disk.clone()))
        .open_reader("/log");
    for reader in [log.reader(), elsewhere.unwrap()] {
        let ranges = [
            (0, 9000),
            (0, 1),
            (17, 4000),
            (5990, 8000),
            (8999, 9000),
            (50, 50),
            (9000, 9100),
        ];
        for (first, end) in ranges {
            let range = (Bound::Included(first), Bound::Excluded(end));
            let whole = seqs(reader.scan(range).unwrap());
            for count in [0, 1, 2, 3, 7, 50, 10_000] {
                let parts = reader.split(range, count).unwrap();
                assert!((1..=count.max(1)).contains(&parts.len()), "{}", parts.len());
                let back = reader
                    .split(range, count)
                    .unwrap()
                    .into_iter()
                    .map(Scan::rev);
                let mut backwards: Vec<Vec<Seq>> = back
                    .map(|part| part.map(|record| record.unwrap().seq()).collect())
                    .collect();
                backwards.reverse();
                let together: Vec<Seq> = parts.into_iter().flat_map(seqs).collect();
                assert_eq!(together, whole, "{first}..{end} in {count}");
                let backwards: Vec<Seq> = backwards.concat().into_iter().rev().collect();
                assert_eq!(backwards, whole, "{first}..{end} in {count}, backwards");
            }
        }
    }
}

#[test]
fn have_the_parts_about_the_same_number_of_bytes() {
    let log = on(&SimFs::new(1));
    let how = AppendOptions::new().durability(Durability::Buffered);
    for seq in 0..4000_usize {
        log.append_with(&vec![7; seq % 700], &how).unwrap();
    }
    log.sync().unwrap();
    let bytes = |scan: Scan| -> usize { scan.map(|record| record.unwrap().len() + 8).sum() };
    let total = bytes(log.scan(..).unwrap());
    for count in [2, 3, 8, 16] {
        let parts = log.reader().split(.., count).unwrap();
        assert_eq!(parts.len(), count);
        for part in parts {
            let share = bytes(part) * count;
            assert!(
                (total * 8 / 10..total * 12 / 10).contains(&share),
                "{share} of {total}"
            );
        }
    }
}

/// Compaction takes the files away under parts that another process walks. Each record that came in the stead of
/// one that is gone is shown by one of them, and by no two.
#[test]
fn do_the_parts_show_each_key_once_beside_compaction_in_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::options().segment_bytes(64 << 10).background(false);
    let log = log.open(dir.path().join("log")).unwrap();
    let put = |from: Seq, to: Seq| {
        let how = AppendOptions::new().durability(Durability::Buffered);
        for seq in from..to {
            let value = vec![7; 900];
            log.append_records(&[NewRecord::keyed(&key(seq), &value)], &how)
                .unwrap();
        }
        log.rotate().unwrap();
        log.sync().unwrap();
    };
    put(0, 1000);
    let reader = Reader::open(dir.path().join("log")).unwrap();
    let mut parts = reader.split(.., 4).unwrap();
    let mut shown: Vec<_> = parts[1].next().into_iter().collect();
    put(1000, 1100);
    let how = CompactOptions::new()
        .dirty_ratio_min(0.0)
        .rate_bytes_per_s(None);
    assert!(log.compact(&how).unwrap().dropped_count >= 900);
    put(1100, 1150);
    log.compact(&how).unwrap();
    // In any order, and one of them backwards.
    let last = parts.pop().unwrap();
    parts.rotate_left(1);
    shown.extend(parts.into_iter().flatten());
    shown.extend(last.rev());
    let (mut seqs, mut keys) = (BTreeSet::new(), BTreeMap::new());
    for record in shown {
        let record = record.unwrap();
        assert!(seqs.insert(record.seq()), "{} twice", record.seq());
        let newest = keys.entry(record.key().unwrap().to_vec()).or_insert(0);
        *newest = record.seq().max(*newest);
    }
    assert_eq!(keys.len(), 100, "a key is without its value");
}
