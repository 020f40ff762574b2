//! The ledger: what was appended by whom lately, so that a repeat is recognised. Pure.
//!
//! It remembers the last [`APPENDS_MAX`] appends of each of the last [`PRODUCERS_MAX`] producers, by
//! their latest append, and as many moves of every cursor. `known` is what it knows of one of them,
//! `producers` all of them by age, `key` how they are found.
//!
//! INVARIANT: what a failed write may still take back is neither forgotten nor makes anything else
//! forgotten: taking it back leaves the ledger as if it had never been there, but for the fence that
//! a higher epoch left.
//!
//! Called by the queue; by recovery and repair, which rebuild it; by verify.

mod key;
mod known;
mod producers;
#[cfg(test)]
mod tests;

use super::Producer;
use crate::{
    error::Result,
    format::{
        Owner, ProducersFile, RecordRef,
        producers::{EPOCH_CURSOR, ProducerEntry},
    },
    types::{SegmentId, Seq},
};
use key::Key;
use known::Known;
use producers::Producers;
use std::{collections::BTreeMap, ops::Range};

/// Appends of one producer that are remembered.
pub(crate) const APPENDS_MAX: usize = 8;
/// Producers that are remembered.
pub(crate) const PRODUCERS_MAX: usize = 4096;

/// Who appended what lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    producers: Producers,
    cursors: BTreeMap<u64, Known>,
    /// Every append below is in it.
    next_seq: Seq,
}

impl Ledger {
    /// From its file, in a log of which this segment is the tail.
    pub(crate) fn of(file: &ProducersFile, tail_id: SegmentId) -> Self {
        let known = |entry: &ProducerEntry| (entry.id, Known::of(entry));
        let (cursors, producers): (Vec<_>, Vec<_>) =
            (file.producers.iter()).partition(|entry| entry.epoch == EPOCH_CURSOR);
        let mut ledger = Self {
            producers: Producers::of(producers.into_iter().map(known)),
            cursors: cursors.into_iter().map(known).collect(),
            next_seq: file.as_of_seq,
        };
        if tail_id >= file.tail_id {
            ledger.drop_from(file.end_seq);
            // The numbers of what was rewound are accounted for all the same.
            ledger.next_seq = file.as_of_seq;
        }
        ledger
    }

    /// With a secret: where ids come from who may mean ill.
    pub(crate) fn keyed(mut self, secret: u64) -> Self {
        self.producers.find_by(Key::of(secret));
        self
    }

    /// Itself as stored; `None` if it knows nobody. What lies at or above `end_seq` is void once
    /// `tail_id` is the tail.
    pub(crate) fn to_file(
        &self,
        owner: Owner,
        as_of_seq: Seq,
        end_seq: Seq,
        tail_id: SegmentId,
    ) -> Option<Vec<u8>> {
        if self.producers.is_empty() && self.cursors.is_empty() {
            return None;
        }
        let entry = |(id, known): (u64, &Known)| known.to_entry(id);
        let mut producers: Vec<ProducerEntry> = self.producers.iter().map(entry).collect();
        producers.sort_unstable_by_key(|producer| producer.id);
        producers.extend(self.cursors.iter().map(|(id, known)| known.to_entry(*id)));
        let file = ProducersFile {
            log_id: owner.log_id,
            incarnation: owner.incarnation,
            as_of_seq,
            end_seq,
            tail_id,
            producers,
        };
        Some(file.encode())
    }

    /// The seq below which every append is in it.
    pub(crate) fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Leaves out what lies below: no record there says more.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.next_seq = self.next_seq.max(seq);
    }

    /// Whether this is a repeat of an append that is remembered: then its seqs.
    ///
    /// # Errors
    /// `Fenced`, `Duplicate`; `InvalidInput` if it is another append under the same number, or under
    /// one that was passed over.
    #[inline]
    pub(crate) fn find(&self, producer: Producer, count: u32) -> Result<Option<Range<Seq>>> {
        let known = self.producers.get(producer.id);
        known.map_or(Ok(None), |known| known.find(producer, count))
    }

    /// Takes an append, of an application or of a cursor. What lies at or above `settled_seq` may
    /// still be taken back.
    pub(crate) fn add(&mut self, producer: Producer, seqs: Range<Seq>, settled_seq: Seq) {
        self.next_seq = self.next_seq.max(seqs.end);
        if producer.epoch == EPOCH_CURSOR {
            let cursor = self.cursors.entry(producer.id).or_default();
            cursor.add(producer, seqs);
            cursor.forget(settled_seq, true);
        } else {
            self.producers.add(producer, seqs, settled_seq);
        }
    }

    /// Takes the next record of a walk over the log. Records of one append follow each other.
    pub(crate) fn add_record(&mut self, record: &RecordRef<'_>) {
        self.add_next(record.seq, record.producer);
    }

    /// The same of a record of which only this is known.
    pub(crate) fn add_next(&mut self, seq: Seq, producer: Option<Producer>) {
        if seq < self.next_seq {
            return;
        }
        self.next_seq = seq.saturating_add(1);
        let Some(producer) = producer else {
            return;
        };
        let is_cursor = producer.epoch == EPOCH_CURSOR;
        let known = match is_cursor {
            true => self.cursors.get_mut(&producer.id),
            false => self.producers.get_mut(producer.id),
        };
        if known.is_some_and(|known| known.goes_on(producer, seq)) {
            return;
        }
        // The queue lets no other in; a log that something else wrote may hold them.
        if is_cursor || matches!(self.find(producer, 1), Ok(None)) {
            self.add(producer, seq..self.next_seq, Seq::MAX);
        }
    }

    /// Drops what was appended at or above a seq, and is not there any more.
    pub(crate) fn drop_from(&mut self, seq: Seq) {
        self.next_seq = self.next_seq.min(seq);
        self.producers.drop_from(seq);
        for cursor in self.cursors.values_mut() {
            cursor.drop_from(seq);
            // Two moves that were found as one are not undone as one. A producer's append stays as it
            // was told, whatever is left of it: else it would not be recognised.
            cursor.cut_move(seq);
        }
    }

    /// Where a cursor was moved to by the last append, of those below `until_seq`, that moved it; and
    /// where that append ends: it may begin with an older one, to the same place and right before it.
    pub(crate) fn moved(&self, cursor: u64, until_seq: Seq) -> Option<(Seq, Seq)> {
        let mut moves = self.cursors.get(&cursor)?.appends();
        let last = moves.rfind(|append| append.next_seq() <= until_seq)?;
        Some((last.number, last.next_seq()))
    }

    /// Forgets the moves of a cursor that is gone.
    pub(crate) fn forget_cursor(&mut self, cursor: u64) {
        self.cursors.remove(&cursor);
    }
}
