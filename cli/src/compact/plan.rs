//! What a compaction would drop, found by reading what it would read. Keys are told apart by a hash of 128
//! bits, so that memory does not depend on how long they are.

use super::CompactArgs;
use crate::{
    exit::{Failure, In, Outcome},
    open, output,
};
use cairnlog::{
    Seq,
    format::{Manifest, RecordRef, names},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher, RandomState},
};

/// About what a key takes in the table: its hash, its newest record, and what the table leaves free.
const KEY_BYTES: u64 = 96;

/// What would happen.
#[derive(Debug, Default)]
pub struct Plan {
    pub dropped_count: u64,
    /// Bytes of their keys and values.
    pub dropped_bytes: u64,
    /// Records in the segments that would be compacted, without those.
    pub kept_count: u64,
    pub key_count: u64,
}

/// The newest record of a key.
struct Newest {
    seq: Seq,
    payload_bytes: u64,
    /// The time of a tombstone.
    ended_ms: Option<i64>,
}

/// Reads the records that a compaction would read.
pub fn look(args: &CompactArgs) -> Outcome<Plan> {
    let dir = &args.writer.dir;
    let reader = open::read_only(dir)?;
    let end = match args.rotate {
        true => reader.end_seq(),
        false => sealed_end(args)?,
    };
    let mut scan = reader.scan(..end).in_log(dir)?;
    let all = scan.remaining();
    let progress = output::record_progress("compact", all.end - all.start);
    let hashers = [RandomState::new(), RandomState::new()];
    let mut keys: HashMap<[u64; 2], Newest> = HashMap::new();
    let (mut plan, mut read) = (Plan::default(), 0u64);
    while let Some(record) = scan.next_ref() {
        let record = record.in_log(dir)?;
        read += 1;
        if read.is_multiple_of(8192) {
            progress.set_position(read);
        }
        let Some(key) = record.key else { continue };
        let hash = hashers.each_ref().map(|hasher| hasher.hash_one(key));
        if let Some(older) = keys.insert(hash, newest(&record)) {
            plan.drop(&older);
        }
        if keys.len() as u64 * KEY_BYTES > args.memory {
            let text =
                "compact: more keys than --memory has room for: with a larger one it can tell";
            return Err(Failure::Said(text.to_owned()));
        }
    }
    progress.finish_and_clear();
    plan.key_count = keys.len() as u64;
    let age_ms = i64::try_from(args.tombstone_age.as_millis()).unwrap_or(i64::MAX);
    let now_ms = Timestamp::now().as_millisecond();
    let holding = open::cursors(dir)?
        .into_iter()
        .filter(|cursor| cursor.holds);
    let held_seq = holding.map(|cursor| cursor.seq).min().unwrap_or(Seq::MAX);
    let expired = |it: &&Newest| {
        let is_old = |time_ms: i64| time_ms.saturating_add(age_ms) <= now_ms;
        it.ended_ms.is_some_and(is_old) && it.seq < held_seq
    };
    for tombstone in keys.values().filter(expired) {
        plan.drop(tombstone);
    }
    plan.kept_count = read - plan.dropped_count;
    Ok(plan)
}

impl Plan {
    fn drop(&mut self, record: &Newest) {
        self.dropped_count += 1;
        self.dropped_bytes += record.payload_bytes;
    }
}

fn newest(record: &RecordRef<'_>) -> Newest {
    let bytes = |part: Option<&[u8]>| part.map_or(0, |bytes| bytes.len() as u64);
    Newest {
        seq: record.seq,
        payload_bytes: bytes(record.key) + bytes(record.value),
        ended_ms: record.value.is_none().then_some(record.timestamp_ms),
    }
}

/// Where the sealed segments end: only they are compacted.
fn sealed_end(args: &CompactArgs) -> Outcome<Seq> {
    let path = args.writer.dir.join(names::MANIFEST);
    let wrong = |what: String| Failure::Said(format!("{}: {what}", path.display()));
    let bytes = fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let manifest = Manifest::decode(&bytes).map_err(|defect| wrong(defect.to_string()))?;
    Ok(manifest
        .sealed
        .last()
        .map_or(manifest.head_seq, |last| last.next_seq))
}
