//! Compaction that writes in a thread of its own, which it does where no rate is held: power cuts and
//! failing calls. The schedule is the real one and differs from run to run, the promise does not.

use crate::history::DIR;
use cairnlog::{
    AppendOptions, CompactOptions, ErrorKind, Log, NewRecord, Options, Seq,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

const RECORDS: usize = 160;

fn options(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(2048)
        .idle_watermark(None)
        .publish(false)
}

/// A log of small sealed segments, half of the records superseded; and the newest of each.
fn filled() -> (SimFs, BTreeMap<Vec<u8>, Seq>) {
    let disk = SimFs::new(5);
    let log = options(&disk).background(false).open(DIR).unwrap();
    let mut newest = BTreeMap::new();
    for number in 0..RECORDS {
        let key = match number % 2 {
            0 => format!("only {number}"),
            _ => format!("again {}", number % 8),
        };
        let key = key.into_bytes();
        let value = vec![b'v'; 60 + number];
        let records = [NewRecord::keyed(&key, &value)];
        let seqs = log.append_records(&records, &AppendOptions::new()).unwrap();
        newest.insert(key, seqs.start);
    }
    log.rotate().unwrap();
    log.close().unwrap();
    (disk, newest)
}

/// The newest of each key is there, and whatever else is shown was appended.
fn check(disk: &SimFs, newest: &BTreeMap<Vec<u8>, Seq>) {
    let log = options(disk).background(false).open(DIR).unwrap();
    let mut found = BTreeMap::new();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let number = usize::try_from(record.seq()).unwrap();
        assert_eq!(record.len(), 60 + number);
        found.insert(record.key().unwrap().to_vec(), record.seq());
    }
    assert_eq!(&found, newest);
}

fn fast() -> CompactOptions {
    CompactOptions::new().rate_bytes_per_s(None)
}

#[test]
fn a_power_cut_while_a_thread_writes_the_copies_loses_nothing() {
    let (disk, newest) = filled();
    let first_op = disk.op_count();
    let log = options(&disk).open(DIR).unwrap();
    let report = log.compact(&fast()).unwrap();
    assert_eq!(report.dropped_count, (RECORDS - newest.len()) as u64);
    assert!(report.segments_after > 2, "{report:?}");
    log.close().unwrap();
    drop(log);
    for op in first_op..=disk.op_count() {
        let cut = disk.crash_at(op);
        let extremes = [Choice::lost(), Choice::kept(cut.effect_count())];
        let by_chance = (0..6).map(|seed| cut.choose(seed));
        for choice in extremes.into_iter().chain(by_chance) {
            let _context = crate::Context::new(|| format!("op {op}\n{}", cut.describe(&choice)));
            check(&cut.state(&choice), &newest);
        }
    }
}

/// Every write and sync of each copy fails, in turn.
#[test]
fn is_a_failure_in_the_thread_told_with_its_place_and_is_nothing_swapped_in() {
    let (disk, newest) = filled();
    let mut told = 0;
    for (kind, errno) in [(OpKind::Write, Errno::Eio), (OpKind::Sync, Errno::Eio)] {
        for nth_copy in 0..4 {
            let disk = disk.snapshot();
            let log = options(&disk).open(DIR).unwrap();
            let id_of = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
            let ids = disk.files().iter().filter_map(|path| id_of(path)).max();
            let id = ids.unwrap() + 1 + nth_copy;
            let name = format!("{id:020}.seg");
            disk.fail(FaultRule::nth(kind, 0, Fault::Error(errno)).on(&name));
            let error = log.compact(&fast()).unwrap_err();
            assert!(error.to_string().contains(&name), "{error}");
            told += 1;
            disk.clear_faults();
            let mut log = log;
            if kind == OpKind::Sync {
                // It ends all writing by this handle; the next one begins by removing the copies.
                let again = log.compact(&fast()).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Poisoned, "{again}");
                drop(log);
                log = options(&disk).open(DIR).unwrap();
            }
            let left = |path: &Path| path.ends_with(&name);
            assert!(
                !disk.files().iter().any(|path| left(path)),
                "the copies are gone"
            );
            // It was one failure: another attempt does all of it.
            let report = log.compact(&fast()).unwrap();
            assert_eq!(report.dropped_count, (RECORDS - newest.len()) as u64);
            log.close().unwrap();
            drop(log);
            assert!(!disk.files().iter().any(|path| path == Path::new(&name)));
            check(&disk, &newest);
            check(&disk.crash_at(u64::MAX).state(&Choice::lost()), &newest);
        }
    }
    assert_eq!(told, 8);
}
