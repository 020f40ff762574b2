//! The changes of a table as a log, from which the table can be built again: `cargo run --example
//! change_capture [DIR]`.
//!
//! Each change of a row is a record with the row's key, and a row that is deleted leaves a tombstone.
//! The newest record of each key is all that is needed, so compaction keeps the log about as large as
//! the table, however often that changes. A map stands for the table of some database.

use cairnlog::{AppendOptions, CompactOptions, Log, NewRecord, Options, Reader};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

type Table = BTreeMap<String, String>;

const CHANGES: u64 = 20_000;
const BATCH: u64 = 100;
const ROWS: u64 = 500;

/// A change of one row: its new value, or none if it is deleted.
type Change = (String, Option<String>);

/// The changes of some round, as an application would make them: always the same, and quite mixed.
fn change(number: u64) -> Change {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let row = format!("row {:03}", random % ROWS);
    let value = format!("{{\"changed\": {number}, \"stock\": {}}}", random % 89);
    (row, (!random.is_multiple_of(7)).then_some(value))
}

fn apply(table: &mut Table, key: String, value: Option<String>) {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    };
}

/// The table as the log has it.
fn rebuild(reader: &Reader) -> cairnlog::Result<(Table, u64)> {
    let (mut table, mut count) = (Table::new(), 0);
    for record in reader.scan(..)? {
        let record = record?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let key = record.key().map(text).unwrap_or_default();
        apply(&mut table, key, record.value().map(text));
        count += 1;
    }
    Ok((table, count))
}

fn tell(log: &Log, when: &str) -> cairnlog::Result<()> {
    let (table, count) = rebuild(&log.reader())?;
    let (rows, bytes) = (table.len(), log.stats().frame_bytes);
    println!("{when}: {count} records, {bytes} bytes for {rows} rows");
    Ok(())
}

fn main() -> cairnlog::Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("cairn-change-capture.log"));
    let log = Options::new().segment_bytes(64 << 10).open(&dir)?;
    let (mut table, _) = rebuild(&log.reader())?;
    println!("opened: {} rows", table.len());

    let first = log.next_seq();
    for start in (first..first + CHANGES).step_by(BATCH as usize) {
        // Changes that belong together, those of a transaction, enter the log together.
        let changes: Vec<Change> = (start..start + BATCH).map(change).collect();
        let records: Vec<NewRecord<'_>> = changes
            .iter()
            .map(|(key, value)| match value {
                Some(value) => NewRecord::keyed(key, value),
                None => NewRecord::tombstone(key),
            })
            .collect();
        log.append_records(&records, &AppendOptions::new())?;
        changes
            .into_iter()
            .for_each(|(key, value)| apply(&mut table, key, value));
    }
    tell(&log, "before compaction")?;

    log.rotate()?; // Only sealed segments are compacted.
    // Nobody follows this log, so that a tombstone would have to wait for.
    let how = CompactOptions::new().tombstone_age_min(Duration::ZERO);
    let report = log.compact(&how)?;
    println!("dropped {} records", report.dropped_count);
    tell(&log, "after compaction")?;

    let (copy, _) = rebuild(&Reader::open(&dir)?)?; // As any other process would.
    assert_eq!(copy, table);
    println!(
        "the table built from the log is the table: {} rows",
        copy.len()
    );
    log.close()
}
