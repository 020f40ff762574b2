//! Where each entry of a Raft log stands in the Cairn log: its seq by its index.
//!
//! Indexes rise by one, and so do seqs, except that a rewind gives no number twice: behind each there is a gap. So the
//! table is a list of pieces in which both rise together, one more for each rewind that is still in the log, and 24
//! bytes for each.

use cairnlog::Seq;
use std::{collections::VecDeque, ops::Range};

/// Entries that stand behind each other without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) index: u64,
    pub(crate) seq: Seq,
    pub(crate) count: u64,
}

impl Piece {
    fn end_index(&self) -> u64 {
        self.index + self.count
    }

    /// The part of it below and at or above these indexes; of no entries if there is none.
    fn within(&self, indexes: &Range<u64>) -> Self {
        let skipped = indexes.start.saturating_sub(self.index).min(self.count);
        let first = self.index + skipped;
        Self {
            index: first,
            seq: self.seq + skipped,
            count: indexes.end.clamp(first, self.end_index()) - first,
        }
    }
}

/// The entries of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// In the order of their indexes, which is that of their seqs; none is empty.
    pieces: VecDeque<Piece>,
}

impl Table {
    /// Adds an entry at the end.
    pub(crate) fn push(&mut self, index: u64, seq: Seq) {
        self.push_piece(Piece {
            index,
            seq,
            count: 1,
        });
    }

    /// Adds entries at the end.
    pub(crate) fn push_piece(&mut self, piece: Piece) {
        debug_assert!(
            self.last_index().is_none_or(|last| last < piece.index),
            "order not checked"
        );
        match self.pieces.back_mut() {
            Some(last) if (last.end_index(), last.seq + last.count) == (piece.index, piece.seq) => {
                last.count += piece.count;
            }
            _ => self.pieces.push_back(piece),
        }
    }

    pub(crate) fn first_index(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.index)
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.pieces.back().map(|piece| piece.end_index() - 1)
    }

    fn last_seq(&self) -> Option<Seq> {
        self.pieces.back().map(|piece| piece.seq + piece.count - 1)
    }

    /// The seq of the first entry at or behind an index, if there is one.
    pub(crate) fn seq_from(&self, index: u64) -> Option<Seq> {
        let at = self
            .pieces
            .partition_point(|piece| piece.end_index() <= index);
        let piece = self.pieces.get(at)?;
        Some(piece.seq + index.saturating_sub(piece.index))
    }

    /// The entries of these indexes that there are.
    pub(crate) fn pieces(&self, indexes: Range<u64>) -> impl Iterator<Item = Piece> {
        let at = self
            .pieces
            .partition_point(|piece| piece.end_index() <= indexes.start);
        let found = self.pieces.range(at..).take_while({
            let end = indexes.end;
            move |piece| piece.index < end
        });
        found
            .map(move |piece| piece.within(&indexes))
            .filter(|piece| piece.count > 0)
    }

    /// Forgets what has this index or a higher one.
    pub(crate) fn drop_from(&mut self, index: u64) {
        *self = Self {
            pieces: self.pieces(0..index).collect(),
        };
    }

    /// Forgets what has a lower index.
    pub(crate) fn drop_below(&mut self, index: u64) {
        *self = Self {
            pieces: self.pieces(index..u64::MAX).collect(),
        };
    }

    #[cfg(test)]
    pub(crate) fn piece_count(&self) -> usize {
        self.pieces.len()
    }
}

/// What is read of a log to find its entries again: the index of a record, by the first that is there in a range of
/// seqs, or the last.
pub(crate) trait Look {
    type Error;
    fn first(&self, seqs: Range<Seq>) -> Result<Option<(Seq, u64)>, Self::Error>;
    fn last(&self, seqs: Range<Seq>) -> Result<Option<(Seq, u64)>, Self::Error>;
}

impl Table {
    /// The table of what is in this range of seqs. Where both ends of a stretch say that nothing is missing in between,
    /// nothing in between is read: for each gap it takes a few reads, at most twice the logarithm of the count. `None`
    /// if the indexes do not rise: these are no entries of one log.
    pub(crate) fn find<L: Look>(log: &L, seqs: Range<Seq>) -> Result<Option<Self>, L::Error> {
        let mut table = Self::default();
        let Some(first) = log.first(seqs.clone())? else {
            return Ok(Some(table));
        };
        let last = log.last(seqs)?.unwrap_or(first);
        // Stretches from one record to another, both there, the next one on top.
        let mut stretches = vec![(first, last)];
        while let Some(((from_seq, from_index), (to_seq, to_index))) = stretches.pop() {
            let (seqs, indexes) = (to_seq - from_seq, to_index.saturating_sub(from_index));
            if seqs == indexes {
                // The first may be the end of the stretch before.
                let known = table.last_seq() == Some(from_seq);
                let skipped = u64::from(known);
                let piece = Piece {
                    index: from_index + skipped,
                    seq: from_seq + skipped,
                    count: seqs + 1 - skipped,
                };
                if piece.count > 0 {
                    if table.last_index().is_some_and(|last| last >= piece.index) {
                        return Ok(None);
                    }
                    table.push_piece(piece);
                }
                continue;
            }
            let middle = from_seq + seqs / 2 + 1;
            let (before, behind) = (log.last(from_seq..middle)?, log.first(middle..to_seq + 1)?);
            let (from, to) = ((from_seq, from_index), (to_seq, to_index));
            let (before, behind) = (before.unwrap_or(from), behind.unwrap_or(to));
            stretches.push((behind, to));
            stretches.push((from, before));
        }
        Ok(Some(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, collections::BTreeMap, convert::Infallible};

    struct Records(BTreeMap<Seq, u64>, Cell<usize>);

    impl Look for Records {
        type Error = Infallible;
        fn first(&self, seqs: Range<Seq>) -> Result<Option<(Seq, u64)>, Infallible> {
            self.1.set(self.1.get() + 1);
            Ok(self.0.range(seqs).next().map(|(seq, index)| (*seq, *index)))
        }
        fn last(&self, seqs: Range<Seq>) -> Result<Option<(Seq, u64)>, Infallible> {
            self.1.set(self.1.get() + 1);
            Ok(self
                .0
                .range(seqs)
                .next_back()
                .map(|(seq, index)| (*seq, *index)))
        }
    }

    /// Appends and rewinds at random, beside a map of each entry.
    #[test]
    fn is_every_entry_found_where_it_stands() {
        let mut random = 1u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..300 {
            let (mut table, mut records) = (Table::default(), BTreeMap::new());
            let (mut seq, mut index) = (next(5), next(3));
            for _ in 0..next(40) {
                for _ in 0..next(30) {
                    table.push(index, seq);
                    records.insert(seq, index);
                    (seq, index) = (seq + 1, index + 1);
                }
                let first = table.first_index().unwrap_or(index);
                match next(3) {
                    0 if index > first => {
                        index -= 1 + next(index - first).min(4);
                        table.drop_from(index);
                        records.retain(|_, it| *it < index);
                    }
                    1 => {
                        let below = first + next(6).min(index - first);
                        table.drop_below(below);
                        records.retain(|_, it| *it >= below);
                    }
                    _ => {}
                }
                let records = Records(records.clone(), Cell::new(0));
                let found = Table::find(&records, 0..seq).unwrap();
                assert_eq!(found.as_ref(), Some(&table));
                assert!(
                    records.1.get() <= 2 + table.piece_count() * 22,
                    "{}",
                    records.1.get()
                );
                let (from, to) = (first + next(20), first + next(60));
                let seqs = |piece: Piece| {
                    (0..piece.count).map(move |at| (piece.seq + at, piece.index + at))
                };
                let told: Vec<_> = table.pieces(from..to).flat_map(seqs).collect();
                let there = records.0.iter().map(|(seq, index)| (*seq, *index));
                let expected: Vec<_> = there.filter(|(_, it)| (from..to).contains(it)).collect();
                assert_eq!(told, expected, "{from}..{to}");
                let at_or_behind = records.0.iter().find(|(_, it)| **it >= from);
                assert_eq!(table.seq_from(from), at_or_behind.map(|(seq, _)| *seq));
                assert_eq!(table.last_index(), records.0.values().next_back().copied());
            }
        }
    }

    #[test]
    fn are_records_told_that_are_no_entries_of_one_log() {
        let records = [(0, 5), (1, 6), (2, 6), (3, 7)].into_iter().collect();
        assert_eq!(Table::find(&Records(records, Cell::new(0)), 0..9), Ok(None));
    }

    /// A million entries without a rewind: two records are read.
    #[test]
    fn how_much_is_read_to_open_a_log() {
        let records = Records(
            (0..1_000_000).map(|seq| (seq + 7, seq)).collect(),
            Cell::new(0),
        );
        let table = Table::find(&records, 0..2_000_000).unwrap().unwrap();
        assert_eq!((table.piece_count(), records.1.get()), (1, 2));
    }
}
