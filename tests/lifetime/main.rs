//! Does a log live for years? Compaction, retention and the background work, through the public door.

mod compact;
mod keyed;
mod memory;
mod pack;
mod retain;
mod together;
mod told;

use cairnlog::{AppendOptions, CompactOptions, Log, NewRecord, Options, Seq};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Small segments, and nothing done behind the test's back.
fn options() -> Options {
    Log::options().segment_bytes(2048).background(false)
}

fn open(dir: &Path) -> Log {
    options().open(dir.join("log")).unwrap()
}

/// Compaction that drops tombstones at once.
fn now() -> CompactOptions {
    CompactOptions::new()
        .tombstone_age_min(Duration::ZERO)
        .rate_bytes_per_s(None)
}

fn put(log: &Log, key: &str, value: &str) -> Seq {
    let records = [NewRecord::keyed(key, value)];
    log.append_records(&records, &AppendOptions::new())
        .unwrap()
        .start
}

fn delete(log: &Log, key: &str) -> Seq {
    let records = [NewRecord::tombstone(key)];
    log.append_records(&records, &AppendOptions::new())
        .unwrap()
        .start
}

/// Everything that is shown, with its number.
type Shown = BTreeMap<Seq, (Option<String>, Option<String>, i64)>;

fn shown(log: &Log) -> Shown {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut out = Shown::new();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let fields = (
            record.key().map(text),
            record.value().map(text),
            record.timestamp_ms(),
        );
        assert_eq!(out.insert(record.seq(), fields), None, "shown twice");
    }
    out
}

/// What compaction has to keep of what was shown before: a plain map from key to seq tells.
fn expected(before: &Shown, sealed_end: Seq) -> Shown {
    let mut newest = BTreeMap::new();
    for (seq, (key, ..)) in before.range(..sealed_end) {
        if let Some(key) = key {
            newest.insert(key.clone(), *seq);
        }
    }
    let stays = |seq: &Seq, key: &Option<String>, value: &Option<String>| {
        let newest = key.as_ref().is_none_or(|key| newest[key] == *seq);
        *seq >= sealed_end || (newest && value.is_some())
    };
    let kept = before
        .iter()
        .filter(|(seq, (key, value, _))| stays(seq, key, value));
    kept.map(|(seq, fields)| (*seq, fields.clone())).collect()
}
