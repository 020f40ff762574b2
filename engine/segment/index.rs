//! The sparse index of a segment: from a seq to the offset of a batch at or before it.

use super::Tail;
use crate::{
    format::{IndexEntry, footer::INDEX_ENTRY_BYTES, header::HEADER_BYTES},
    sync::Arc,
};
use bytes::Bytes;

/// The sparse index of a segment, wherever it lives.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    /// The verified entries of a footer.
    Footer(Bytes),
    /// Rebuilt from the frames, because the footer did not verify.
    Rebuilt(Arc<Vec<IndexEntry>>),
    /// Growing with the tail.
    Tail(Arc<Tail>),
}

impl Index {
    pub(crate) fn entry_count(&self) -> usize {
        match self {
            Self::Footer(entries) => entries.len() / INDEX_ENTRY_BYTES,
            Self::Rebuilt(entries) => entries.len(),
            Self::Tail(tail) => tail.index_len(),
        }
    }

    pub(crate) fn entry(&self, number: usize) -> Option<IndexEntry> {
        match self {
            Self::Footer(entries) => {
                (number < self.entry_count()).then(|| IndexEntry::read(entries, number))
            }
            Self::Rebuilt(entries) => entries.get(number).copied(),
            Self::Tail(tail) => tail.index_entry(number),
        }
    }

    /// How many entries start at or below `seq_delta`.
    pub(crate) fn floor_count(&self, seq_delta: u64) -> usize {
        let (mut low, mut high) = (0, self.entry_count());
        while low < high {
            let middle = low + (high - low) / 2;
            let below = |entry: IndexEntry| u64::from(entry.seq_delta) <= seq_delta;
            if self.entry(middle).is_some_and(below) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where to start walking for a seq: the offset of a batch at or before it.
    pub(crate) fn floor_offset(&self, seq_delta: u64) -> u64 {
        let number = self.floor_count(seq_delta).checked_sub(1);
        let entry = number.and_then(|number| self.entry(number));
        entry.map_or(HEADER_BYTES as u64, |entry| entry.offset.into())
    }
}
