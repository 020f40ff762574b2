//! What is known of a segment as a whole, gathered as its batches go by.

use crate::{
    format::{
        BatchHeader, Footer, IndexEntry, RecordRef, SegmentContext, batch, crc32c,
        footer::INDEX_STEP_BYTES,
        header::{HEADER_BYTES, Predecessor},
        manifest::SealedEntry,
    },
    types::{SegmentId, Seq},
};

/// Counts and times of some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) record_count: u32,
    pub(crate) tombstone_count: u32,
    pub(crate) keyed_count: u32,
    pub(crate) min_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            record_count: 0,
            tombstone_count: 0,
            keyed_count: 0,
            min_timestamp_ms: i64::MAX,
            max_timestamp_ms: i64::MIN,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, keyed: bool, tombstone: bool, timestamp_ms: i64) {
        self.record_count += 1;
        self.tombstone_count += u32::from(tombstone);
        self.keyed_count += u32::from(keyed);
        self.min_timestamp_ms = self.min_timestamp_ms.min(timestamp_ms);
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
    }

    pub(crate) fn add_record(&mut self, record: &RecordRef<'_>) {
        self.add(
            record.key.is_some(),
            record.value.is_none(),
            record.timestamp_ms,
        );
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.record_count += other.record_count;
        self.tombstone_count += other.tombstone_count;
        self.keyed_count += other.keyed_count;
        self.min_timestamp_ms = self.min_timestamp_ms.min(other.min_timestamp_ms);
        self.max_timestamp_ms = self.max_timestamp_ms.max(other.max_timestamp_ms);
    }
}

/// The state of a segment's frames up to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) tally: Tally,
    pub(crate) first_seq: Seq,
    pub(crate) next_seq: Seq,
    /// Where the frames end, in bytes.
    pub(crate) end: u64,
    /// CRC-32C of the bytes up to `end`.
    pub(crate) checksum: u32,
}

impl Summary {
    /// Of a segment that holds no frame yet.
    pub(crate) fn new(base_seq: Seq, header: &[u8]) -> Self {
        Self {
            tally: Tally::default(),
            first_seq: base_seq,
            next_seq: base_seq,
            end: HEADER_BYTES as u64,
            checksum: crc32c(0, header),
        }
    }

    /// Goes past batches that were verified, or only just encoded: their bytes as stored and their
    /// tally.
    pub(crate) fn add<'a>(
        &mut self,
        bytes: &[u8],
        context: &SegmentContext,
        batches: impl Iterator<Item = &'a BatchHeader>,
        next_seq: Seq,
        tally: &Tally,
    ) {
        let mut batches = batches.peekable();
        if let Some(first) = batches.peek()
            && self.tally.record_count == 0
            && tally.record_count > 0
        {
            self.first_seq = first.first_seq;
        }
        self.end += bytes.len() as u64;
        let mut rest = bytes;
        for batch in batches {
            let batch_bytes = usize::try_from(batch.batch_bytes()).unwrap_or(usize::MAX);
            let bytes;
            (bytes, rest) = rest.split_at_checked(batch_bytes).unwrap_or((rest, &[]));
            self.checksum = batch::checksum_verified(self.checksum, bytes, context, batch);
        }
        self.next_seq = next_seq;
        self.tally.merge(tally);
    }

    pub(crate) fn footer(&self, entry_count: usize) -> Footer {
        let empty = self.tally.record_count == 0;
        Footer {
            entry_count: u32::try_from(entry_count).unwrap_or(u32::MAX),
            record_count: self.tally.record_count,
            tombstone_count: self.tally.tombstone_count,
            keyed_count: self.tally.keyed_count,
            first_seq: self.first_seq,
            next_seq: self.next_seq,
            min_timestamp_ms: if empty {
                0
            } else {
                self.tally.min_timestamp_ms
            },
            max_timestamp_ms: if empty {
                0
            } else {
                self.tally.max_timestamp_ms
            },
            frames_end: self.end,
            segment_checksum: self.checksum,
        }
    }

    /// How its successor's header records it.
    pub(crate) fn predecessor(&self, id: SegmentId, context: &SegmentContext) -> Predecessor {
        Predecessor {
            id,
            salt: context.salt,
            frames_end: self.end,
            next_seq: self.next_seq,
            checksum: self.checksum,
        }
    }

    pub(crate) fn sealed_entry(&self, id: SegmentId, context: &SegmentContext) -> SealedEntry {
        let footer = self.footer(0);
        SealedEntry {
            id,
            salt: context.salt,
            base_seq: context.base_seq,
            next_seq: self.next_seq,
            frames_end: self.end,
            max_timestamp_ms: footer.max_timestamp_ms,
            record_count: footer.record_count,
            tombstone_count: footer.tombstone_count,
            keyed_count: footer.keyed_count,
            compacted: false,
            packed: false,
            far: false,
        }
    }
}

/// Where a batch has to start at the earliest to get an entry in this sparse index.
pub(crate) fn next_entry(index: &[IndexEntry]) -> u64 {
    let last = index.last();
    last.map_or(0, |last| u64::from(last.offset) + INDEX_STEP_BYTES)
}

/// Adds a batch to a sparse index if it starts far enough behind the last one that has an entry.
pub(crate) fn push_index(
    index: &mut Vec<IndexEntry>,
    context: &SegmentContext,
    batch: &BatchHeader,
    offset: u64,
) {
    let far = offset >= next_entry(index);
    let delta = u32::try_from(batch.first_seq.saturating_sub(context.base_seq));
    if let (true, Ok(seq_delta), Ok(offset)) =
        (far && batch.count > 0, delta, u32::try_from(offset))
    {
        index.push(IndexEntry { seq_delta, offset });
    }
}
