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
    ///
    /// Entries stand about as far apart as their seqs: the search begins where they say, and widens
    /// from there, so that it touches a line of memory or two instead of one at every halving.
    pub(crate) fn floor_count(&self, seq_delta: u64) -> usize {
        let count = self.entry_count();
        let below = |number: usize| {
            let entry = self.entry(number);
            entry.is_some_and(|entry| u64::from(entry.seq_delta) <= seq_delta)
        };
        let Some(last) = count.checked_sub(1).and_then(|number| self.entry(number)) else {
            return 0;
        };
        let share = seq_delta.saturating_mul(count as u64) / (u64::from(last.seq_delta) + 1);
        let guess = usize::try_from(share).unwrap_or(count).min(count);
        let (mut low, mut high, mut step) = (guess, guess, 1);
        while low > 0 && !below(low - 1) {
            high = low - 1;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < count && below(high) {
            low = high + 1;
            high = (high + step).min(count);
            step *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if below(middle) {
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

    /// Where to start walking for a seq, where its record lies if those around it are of one size, and
    /// that size in bytes.
    pub(crate) fn near(&self, seq_delta: u64) -> Option<(u64, u64, u64)> {
        let number = self.floor_count(seq_delta);
        let (from, to) = (self.entry(number.checked_sub(1)?)?, self.entry(number)?);
        let bytes = u64::from(to.offset.checked_sub(from.offset)?);
        let seqs = u64::from(to.seq_delta.checked_sub(from.seq_delta)?).max(1);
        let (start, size) = (u64::from(from.offset), bytes / seqs);
        let steps = seq_delta.saturating_sub(from.seq_delta.into());
        Some((start, start + steps.saturating_mul(bytes) / seqs, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_last_entry_at_or_below_found_however_unevenly_they_lie() {
        let shapes: [fn(u32) -> u32; 4] = [|n| n, |n| n * 7, |n| n * n, |n| n / 40 * 1000 + n];
        for (shape, count) in shapes
            .iter()
            .flat_map(|shape| [0, 1, 2, 300].map(|n| (shape, n)))
        {
            let entry = |number| IndexEntry {
                seq_delta: shape(number),
                offset: number,
            };
            let entries: Vec<_> = (0..count).map(entry).collect();
            let index = Index::Rebuilt(Arc::new(entries.clone()));
            for seq_delta in (0..=u64::from(shape(count)) + 2).chain([u64::MAX]) {
                let below = |entry: &IndexEntry| u64::from(entry.seq_delta) <= seq_delta;
                assert_eq!(
                    index.floor_count(seq_delta),
                    entries.partition_point(below),
                    "{seq_delta} among {count}"
                );
            }
        }
    }
}
