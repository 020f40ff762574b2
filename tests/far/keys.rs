//! Do keys say the same when older records of them live elsewhere, whatever compaction does?

use super::attic::{Attic, RECORDS, append, everything, key, options};
use cairnlog::{CompactOptions, PackOptions, vfs::sim::SimFs};
use std::time::Duration;

/// A newer record makes an older one dead, wherever that lives; and what is dead elsewhere stays there. But what is newest may not
/// go while an older one is left that would be the newest then: here an old tombstone.
#[test]
fn does_an_older_record_come_back_behind_a_tombstone() {
    for far_count in [0, 3] {
        compact(far_count, None);
    }
}

/// The same of what a filter would drop.
#[test]
fn does_an_older_record_come_back_behind_what_a_filter_drops() {
    for far_count in [0, 3] {
        compact(far_count, Some("no more wanted"));
    }
}

/// Ends every key, by a tombstone or by a value that a filter drops, has the oldest segments be far, and compacts.
fn compact(far_count: usize, last: Option<&'static str>) {
    let (disk, attic) = (SimFs::new(21), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS);
    for seq in 1..9 {
        let key = key(seq).unwrap();
        let ended = match last {
            None => log.append_tombstone(&key),
            Some(value) => log.append_keyed(&key, value),
        };
        ended.unwrap();
    }
    log.rotate().unwrap();
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    let end = log.next_seq();
    let far = match far_count {
        0 => Vec::new(),
        _ => attic.release(&disk, &log, far_count),
    };
    let how = CompactOptions::new()
        .tombstone_age_min(Duration::ZERO)
        .filter(move |record| last.is_none() || record.value != last.map(str::as_bytes));
    let report = log.compact(&how).unwrap();
    assert!(report.dropped_count > 40, "{report:?}");
    for seq in 1..9 {
        let latest = log.latest(key(seq).unwrap().as_bytes(), ..).unwrap();
        match (far.is_empty(), latest) {
            (true, None) => {}
            (false, Some(record)) => assert!(record.seq() >= end - 8, "{record:?}"),
            (_, found) => panic!("key {seq}, {far_count} far: {found:?}"),
        }
    }
    // What lives elsewhere is as it was, and so is everything after opening anew.
    let before = everything(&log.reader());
    log.close().unwrap();
    let log = options(&disk, &attic).open("/log").unwrap();
    assert_eq!(everything(&log.reader()), before);
    let now = log.segments().unwrap();
    let now: Vec<_> = now.iter().filter(|it| it.is_far).map(|it| it.id).collect();
    assert_eq!(now, far);
    assert_eq!(options(&disk, &attic).verify("/log").unwrap().findings, []);
    // Once they are gone, what was kept for their sake may go as well.
    if let Some(first_here) = log.segments().unwrap().get(far.len()) {
        log.trim(first_here.base_seq).unwrap();
    }
    append(&log, RECORDS / 6);
    log.compact(&how).unwrap();
    assert!(log.latest(b"key 1", ..).unwrap().unwrap().seq() >= end);
    assert_eq!(log.stats().far_bytes, 0);
}

#[test]
fn are_they_packed_or_compacted_where_they_live() {
    if !cairnlog::Compression::Lz4.is_built() {
        return;
    }
    let (disk, attic) = (SimFs::new(22), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS);
    let before = everything(&log.reader());
    let far = attic.release(&disk, &log, 4);
    attic.set_away(true);
    let packed = log
        .pack(&PackOptions::new(cairnlog::Compression::Lz4))
        .unwrap();
    assert!(packed.segments_before > 2);
    attic.set_away(false);
    assert_eq!(everything(&log.reader()), before);
    // A packed one goes as it is.
    attic.release(&disk, &log, 2);
    assert_eq!(everything(&log.reader()), before);
    let now: Vec<_> = log.segments().unwrap().iter().map(|it| it.id).collect();
    assert_eq!(now[..4], far);
}
