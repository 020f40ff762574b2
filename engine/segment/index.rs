//! The sparse index of a segment: from a seq to the offset of a batch at or before it.

use super::{
    Fault, Piece, Source, Tail, Window,
    salvage::{Range, salvage},
    summary::push_index,
};
use crate::{
    format::{IndexEntry, SegmentContext, footer::INDEX_ENTRY_BYTES, header::HEADER_BYTES},
    seal::KeyRing,
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
    /// Whether it was made from the frames here, and not read.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Self::Footer(_))
    }

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

    /// The entry to start walking from for a seq: of a batch at or before it. `None`: from the start.
    pub(crate) fn floor(&self, seq_delta: u64) -> Option<IndexEntry> {
        let number = self.floor_count(seq_delta).checked_sub(1)?;
        self.entry(number)
    }

    /// The part of a segment, up to `limit`, in which a seq lies.
    pub(crate) fn span(&self, seq_delta: u64, limit: u64) -> Span {
        let number = self.floor_count(seq_delta);
        let from = number.checked_sub(1).and_then(|number| self.entry(number));
        let to = self.entry(number);
        let start = from.map_or(HEADER_BYTES as u64, |entry| entry.offset.into());
        Span {
            from,
            start,
            end: to.map_or(limit, |entry| limit.min(entry.offset.into())),
            near: from
                .zip(to)
                .and_then(|(from, to)| near(from, to, seq_delta)),
        }
    }
}

/// The index of a part of a segment, from its frames. What does not verify among them is left out here
/// and reported when it is read.
pub(crate) fn rebuild(
    source: &Source,
    context: &SegmentContext,
    range: Range,
) -> Result<Index, Fault> {
    let mut entries = Vec::new();
    // Without keys: where a batch starts is said in the clear.
    let how = (context, &KeyRing::default());
    salvage(&mut Window::new(source), how, range, |piece| {
        if let Piece::Batch(offset, batch) = piece {
            push_index(&mut entries, context, batch, offset);
        }
    })?;
    Ok(Index::Rebuilt(Arc::new(entries)))
}

/// The part of a segment that one entry of its index stands for, in bytes from the file's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The entry itself; `None` is the start of the segment.
    pub(crate) from: Option<IndexEntry>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the record lies, and what it takes, if those around it are of one size.
    pub(crate) near: Option<(u64, u64)>,
}

fn near(from: IndexEntry, to: IndexEntry, seq_delta: u64) -> Option<(u64, u64)> {
    let bytes = u64::from(to.offset.checked_sub(from.offset)?);
    let seqs = u64::from(to.seq_delta.checked_sub(from.seq_delta)?).max(1);
    let steps = seq_delta.saturating_sub(from.seq_delta.into());
    let start = u64::from(from.offset) + steps.saturating_mul(bytes) / seqs;
    Some((start, bytes / seqs))
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
