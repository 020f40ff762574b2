//! Does compaction keep what it has to keep, and nothing else?

use super::{delete, expected, now, open, options, put, shown};
use cairnlog::{AppendOptions, CompactOptions, ErrorKind, KeyMatch, Log, NewRecord, Verdict};
use std::{ops::ControlFlow, path::Path, time::Duration};

/// A history of changes to a few hundred keys, with records without a key among them.
fn fill(log: &Log, count: u64) {
    let mut state = 1u64;
    for number in 0..count {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let key = format!("key-{}", (state >> 33) % 300);
        match (state >> 20) % 10 {
            0 => delete(log, &key),
            1 => log.append(format!("plain {number}")).unwrap(),
            2 => {
                let value = format!("dated {number}");
                let time = i64::try_from(number).unwrap() - 5_000_000_000;
                let records = [NewRecord::keyed(&key, &value).timestamp_ms(time)];
                log.append_records(&records, &AppendOptions::new())
                    .unwrap()
                    .start
            }
            _ => put(log, &key, &format!("value {number}")),
        };
    }
}

fn files(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("log")).unwrap();
    names
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "seg")
        })
        .count()
}

#[test]
fn does_it_keep_the_newest_record_of_each_key() {
    for how in [now(), now().keys(KeyMatch::Hashed), now().run_bytes_max(1)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        fill(&log, 4000);
        log.rotate().unwrap();
        let sealed_end = log.next_seq();
        fill(&log, 10);
        let before = shown(&log);
        let report = log.compact(&how).unwrap();
        let after = shown(&log);
        assert_eq!(after, expected(&before, sealed_end), "{how:?}");
        assert_eq!(report.dropped_count, (before.len() - after.len()) as u64);
        assert!(!report.stopped);
        assert!(report.bytes_after < report.bytes_before / 2, "{report:?}");
        // Many small segments became few: each is full, but for the last of a run.
        let stats = log.stats();
        if report.progress.run_count == 1 {
            assert!(
                stats.sealed_bytes / 2048 + 2 >= stats.segment_count - 1,
                "{stats:?}"
            );
        }
        // Backwards, one by one and after reopening it is the same.
        let backwards: Vec<_> = log
            .scan(..)
            .unwrap()
            .rev()
            .map(|it| it.unwrap().seq())
            .collect();
        assert!(backwards.iter().rev().eq(after.keys()));
        for seq in 0..log.next_seq() {
            let found = log.get(seq).unwrap().map(|record| record.seq());
            assert_eq!(found.is_some(), after.contains_key(&seq), "{seq}");
        }
        let next_seq = log.next_seq();
        drop(log);
        assert!(
            files(dir.path()) as u64 <= stats.segment_count + 1,
            "old files went"
        );
        let log = open(dir.path());
        assert_eq!(log.recovery().verdict, Verdict::Clean);
        assert_eq!(shown(&log), after);
        assert_eq!(log.next_seq(), next_seq);
        // Once more there is nothing to do.
        let again = log.compact(&how).unwrap();
        assert_eq!(
            (again.dropped_count, again.segments_before),
            (0, 0),
            "{again:?}"
        );
        let verified = options().verify(dir.path().join("log")).unwrap();
        assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    }
}

/// The table of keys and the bits of the dead are cut so small that several passes and windows are
/// needed: what is kept must not depend on it.
#[test]
fn does_little_memory_change_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = options()
        .segment_bytes(1 << 20)
        .open(dir.path().join("log"))
        .unwrap();
    let records: Vec<String> = (0..60_000u64)
        .map(|n| format!("{:040}", n * 7919 % 40_000))
        .collect();
    for chunk in records.chunks(1000) {
        let records: Vec<_> = chunk.iter().map(|key| NewRecord::keyed(key, "v")).collect();
        log.append_records(&records, &AppendOptions::new()).unwrap();
    }
    log.rotate().unwrap();
    let before = shown(&log);
    let mut passes = 0;
    let how = now().memory_bytes_max(1 << 20);
    let report = log
        .compact_with(&how, |progress| {
            passes = progress.pass_count;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(shown(&log), expected(&before, u64::MAX));
    assert_eq!(report.dropped_count, 20_000);
    assert!(
        passes > 3 && passes == report.progress.pass_count,
        "{passes} passes"
    );
}

#[test]
fn how_long_does_a_tombstone_stay() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    put(&log, "a", "1");
    let tombstone = delete(&log, "a");
    log.rotate().unwrap();
    // It is young: what it ends goes, itself stays.
    log.compact(&CompactOptions::new()).unwrap();
    assert_eq!(shown(&log).into_keys().collect::<Vec<_>>(), [tombstone]);
    log.compact(&now()).unwrap();
    assert_eq!(shown(&log).len(), 0);
    assert_eq!(log.next_seq(), 2);
    assert_eq!(put(&log, "a", "2"), 2, "numbers go on");
}

#[test]
fn does_a_filter_end_a_key_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    put(&log, "a", "old");
    log.rotate().unwrap();
    put(&log, "a", "secret");
    put(&log, "b", "open");
    log.append("secret without a key").unwrap();
    log.rotate().unwrap();
    let how = now().filter(|record| {
        !record
            .value
            .is_some_and(|value| value.starts_with(b"secret"))
    });
    assert_eq!(log.compact(&how).unwrap().dropped_count, 3);
    let left: Vec<_> = shown(&log)
        .into_values()
        .map(|fields| fields.0.unwrap())
        .collect();
    assert_eq!(left, ["b"], "the older value of a did not come back");
}

#[test]
fn does_a_stopped_compaction_go_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let log = options()
        .segment_bytes(1 << 16)
        .open(dir.path().join("log"))
        .unwrap();
    let value = "x".repeat(500);
    for number in 0..3000 {
        put(
            &log,
            &format!("{}", number % 10 + number / 1000 * 5),
            &value,
        );
    }
    log.rotate().unwrap();
    let before = shown(&log);
    let how = now().run_bytes_max(1 << 17);
    let stop_after = |runs: u64| {
        move |progress: &cairnlog::CompactProgress| match progress.run_count >= runs {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let report = log.compact_with(&how, stop_after(2)).unwrap();
    assert!(
        report.stopped && report.progress.run_count == 2,
        "{report:?}"
    );
    let between = shown(&log);
    assert!(
        between.len() < before.len() && between.len() > 20,
        "{}",
        between.len()
    );
    let report = log.compact_with(&how, stop_after(0)).unwrap();
    assert!(report.stopped && report.dropped_count == 0, "{report:?}");
    assert_eq!(shown(&log), between);
    assert!(!log.compact(&how).unwrap().stopped);
    assert_eq!(shown(&log), expected(&before, u64::MAX));
}

/// A scan holds the segments that it began with; a later one has the new ones; none has both.
#[test]
fn does_a_reader_see_one_set_of_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 2000);
    log.rotate().unwrap();
    let before = shown(&log);
    let mut scan = log.scan(..).unwrap();
    let first: Vec<_> = scan
        .by_ref()
        .take(100)
        .map(|it| it.unwrap().seq())
        .collect();
    let files_before = files(dir.path());
    log.compact(&now()).unwrap();
    assert!(
        files(dir.path()) > files_before,
        "the old files are held by the scan"
    );
    let rest: Vec<_> = scan.by_ref().map(|it| it.unwrap().seq()).collect();
    assert!(first.iter().chain(&rest).eq(before.keys()));
    drop(scan);
    assert!(
        files(dir.path()) < files_before,
        "the files went with the last reader"
    );
    assert_eq!(shown(&log), expected(&before, u64::MAX));
    // A tail that crosses the swap goes on in the new set.
    let mut tail = log.tail(0);
    let mut seen = vec![tail.try_next().unwrap().unwrap().seq()];
    put(&log, "key-1", "newer");
    log.rotate().unwrap();
    log.compact(&now()).unwrap();
    while let Some(record) = tail.try_next().unwrap() {
        seen.push(record.seq());
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), shown(&log).keys().last());
}

#[test]
fn do_damaged_bytes_stop_it_before_anything_changes() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for number in 0..200 {
        put(&log, &format!("{}", number % 7), &format!("value {number}"));
    }
    log.rotate().unwrap();
    log.close().unwrap();
    drop(log);
    let path = dir.path().join("log/00000000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last such place: the byte behind "value 2" may be a '0' by chance.
    let at = bytes.windows(8).rposition(|it| it == b"value 20").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let log = open(dir.path());
    let error = log.compact(&now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(error.place().seq, Some(20), "{error}");
    assert_eq!(log.stats().dirty_bytes, log.stats().sealed_bytes);
    assert_eq!(
        &*log.get(21).unwrap().unwrap(),
        b"value 21",
        "nothing was dropped"
    );
}

#[test]
fn are_options_out_of_range_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for how in [
        now().memory_bytes_max(1000),
        now().rate_bytes_per_s(Some(0)),
        now().run_bytes_max(0),
        now().dirty_ratio_min(f64::NAN),
        now().dirty_ratio_min(1.5),
    ] {
        assert_eq!(
            log.compact(&how).unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{how:?}"
        );
    }
    let refused = options()
        .compaction(now().dirty_ratio_min(2.0))
        .open(dir.path().join("other"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    log.close().unwrap();
    assert_eq!(log.compact(&now()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn does_the_worker_compact_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let options = Log::options().segment_bytes(4096).compaction(now());
    let log = options.open(dir.path().join("log")).unwrap();
    for number in 0..1000 {
        put(&log, &format!("{}", number % 3), &format!("value {number}"));
    }
    log.rotate().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while shown(&log).len() > 3 {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?} {:?}",
            log.stats(),
            log.worker_error()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(log.stats().dirty_bytes, 0);
    assert!(log.worker_error().is_none());
    log.close().unwrap();
}

/// A log whose first segment has something to drop, and several behind it that stay as they are.
fn compacted_at_its_head(dir: &Path) -> (Log, super::Shown) {
    let log = open(dir);
    for round in 0..4 {
        put(&log, "again", &format!("{round:0200}"));
    }
    for number in 0..60 {
        put(&log, &format!("only {number}"), &format!("{number:0200}"));
    }
    log.rotate().unwrap();
    let wanted = super::expected(&shown(&log), log.next_seq());
    let report = log.compact(&now()).unwrap();
    assert_eq!((report.dropped_count, report.segments_before), (3, 1));
    (log, wanted)
}

/// The copies of a compaction take the place of what they replace, also where that is not the end: a catalog
/// that had them behind the others was walked past them, and records that were there were not shown.
#[test]
fn does_a_copy_stand_where_what_it_replaced_stood() {
    let dir = tempfile::tempdir().unwrap();
    let (log, wanted) = compacted_at_its_head(dir.path());
    assert_eq!(shown(&log), wanted);
}

#[test]
fn is_every_record_found_by_its_number_beside_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (log, wanted) = compacted_at_its_head(dir.path());
    for seq in wanted.keys() {
        assert!(log.get(*seq).unwrap().is_some(), "{seq}");
    }
    let backwards = log.scan(..).unwrap().rev().map(|it| it.unwrap().seq());
    assert!(backwards.eq(wanted.keys().rev().copied()));
}

/// Judging is done by many threads then, which bring the keys of several segments in no order.
#[test]
fn do_many_threads_drop_what_one_does() {
    for (memory, keys) in [
        (64 << 20, KeyMatch::Exact),
        (1 << 20, KeyMatch::Exact),
        (1 << 20, KeyMatch::Hashed),
    ] {
        let of = |threads: usize| {
            let dir = tempfile::tempdir().unwrap();
            let options = options().segment_bytes(64 << 10).threads(threads);
            let log = options.open(dir.path().join("log")).unwrap();
            let how = AppendOptions::new().durability(cairnlog::Durability::Buffered);
            for number in 0..40_000_u64 {
                // Keys that come often, and as many that come once or twice as do not fit a pass.
                let key = match number % 3 {
                    0 => format!("often {}", number * 7919 % 400),
                    _ => format!("seldom {} {}", number * 7919 % 16_000, "k".repeat(60)),
                };
                let value = format!("value {number}");
                let record = match number % 11 {
                    5 => NewRecord::tombstone(&key),
                    7 => NewRecord::value(&value),
                    _ => NewRecord::keyed(&key, &value),
                };
                log.append_records(&[record], &how).unwrap();
            }
            log.rotate().unwrap();
            put(&log, "often 0", "behind");
            let report = log.compact(&now().memory_bytes_max(memory).keys(keys));
            let report = report.unwrap();
            let seqs: Vec<u64> = log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect();
            (report.dropped_count, report.progress.pass_count, seqs)
        };
        let (dropped, passes, seqs) = of(1);
        assert!(dropped > 15_000, "{dropped}");
        assert!(memory > 1 << 20 || keys == KeyMatch::Hashed || passes > 1);
        for threads in [2, 5] {
            let many = of(threads);
            assert!(many.0 == dropped && many.2 == seqs, "{threads} threads");
        }
    }
}
