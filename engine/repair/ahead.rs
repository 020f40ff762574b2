//! A segment that one of several threads has read past damage, until its turn comes to be told.
//!
//! INVARIANT: memory holds one for each thread, and none that is larger than [`AHEAD_BYTES_MAX`]: such a one is
//! read by the caller alone, as it is told.
//!
//! Called by salvage.

use super::{salvage::read, survey::Part};
use crate::{
    error::Result,
    format::{Producer, RecordRef},
    segment::{Gap, Piece},
    types::Seq,
};
use std::ops::Range;

/// The largest segment that is read ahead, in bytes.
const AHEAD_BYTES_MAX: u64 = 256 << 20;

/// What was read of a segment.
pub(super) struct Ahead {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

enum Item {
    Record(Kept),
    Gap(Gap),
}

/// A record, and where its parts are in the bytes.
struct Kept {
    seq: Seq,
    timestamp_ms: i64,
    producer: Option<Producer>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

/// Whether a segment may be read ahead: not what is packed, as its records take more than it does.
pub(super) fn is_small(part: &Part) -> bool {
    part.range.frames_end <= AHEAD_BYTES_MAX && !part.packed
}

impl Ahead {
    pub(super) fn of(part: &Part) -> Result<Self> {
        // All at once: what grows step by step takes twice as much.
        let bytes = part.range.frames_end.saturating_sub(part.range.offset);
        let mut ahead = Self {
            bytes: Vec::with_capacity(usize::try_from(bytes).unwrap_or(0)),
            items: Vec::new(),
        };
        read(part, |piece| match piece {
            Piece::Record(_, record) => ahead.keep(&record),
            Piece::Gap(gap) => ahead.items.push(Item::Gap(gap)),
            Piece::Packed(offset, batch, head, Some(defect)) => {
                let unread = Gap::unread(offset, batch, head, defect);
                ahead.items.push(Item::Gap(unread));
            }
            Piece::Batch(..) | Piece::Packed(..) => {}
        })?;
        Ok(ahead)
    }

    fn keep(&mut self, record: &RecordRef<'_>) {
        let mut put = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            start..self.bytes.len()
        };
        self.items.push(Item::Record(Kept {
            seq: record.seq,
            timestamp_ms: record.timestamp_ms,
            producer: record.producer,
            key: record.key.map(&mut put),
            value: record.value.map(&mut put),
        }));
    }

    /// The records and the gaps, in their order.
    pub(super) fn each(&self, mut each: impl FnMut(Piece<'_>)) {
        let get = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        for item in &self.items {
            each(match item {
                Item::Gap(gap) => Piece::Gap(*gap),
                // Where it was is no part of what is told.
                Item::Record(kept) => Piece::Record(
                    0,
                    RecordRef {
                        seq: kept.seq,
                        timestamp_ms: kept.timestamp_ms,
                        producer: kept.producer,
                        key: kept.key.as_ref().map(get),
                        value: kept.value.as_ref().map(get),
                    },
                ),
            });
        }
    }
}
