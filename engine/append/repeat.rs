//! Appends that name themselves: recognising a repeat, and handing the ledger to whoever stores it.
//!
//! INVARIANT: the ledger is looked at and added to under the queue's lock, in one go with giving
//! seqs: of two appends of one name, one is queued and the other is its repeat.

use super::{Core, Ledger, Producer, queue::Queued, state::State};
use crate::{
    catalog::Level,
    error::Result,
    format::producers::EPOCH_CURSOR,
    options::Durability,
    types::{SegmentId, Seq},
};

impl Core {
    /// If this is a repeat: the seqs of the original, and what to wait on until that is at the level.
    pub(super) fn find_repeat(
        &self,
        state: &mut State,
        producer: Option<Producer>,
        count: u32,
        level: Durability,
    ) -> Result<Option<Queued>> {
        let Some(producer) = producer.filter(|producer| producer.epoch != EPOCH_CURSOR) else {
            return Ok(None);
        };
        let Some(seqs) = state.queue.find(producer, count)? else {
            return Ok(None);
        };
        let reached_seq = match level {
            Durability::Buffered => Seq::MAX,
            Durability::Written => self.watermark.get(Level::Written),
            Durability::Durable => self.durable_seq(),
        };
        if seqs.end <= reached_seq {
            if level == Durability::Buffered {
                state.queue.promise(seqs.end);
            }
            return Ok(Some((seqs, None)));
        }
        // Queued, in flight or just not synced: whatever goes behind it is told no sooner, and if it
        // fails, so does what is behind it.
        Ok(Some((seqs, state.queue.back_wanting(level))))
    }

    /// The ledger as it is to be stored for a segment; none if it knows nobody.
    pub(super) fn freeze(
        &self,
        state: &State,
        as_of_seq: Seq,
        end_seq: Seq,
        tail_id: SegmentId,
    ) -> Option<Vec<u8>> {
        (state.queue.ledger()).to_file(self.owner, as_of_seq, end_seq, tail_id)
    }

    /// The ledger as it is to be stored for a rewind to `end_seq`, with which `tail_id` becomes the tail.
    pub(crate) fn freeze_for_rewind(
        &self,
        end_seq: Seq,
        next_seq: Seq,
        tail_id: SegmentId,
    ) -> Option<Vec<u8>> {
        self.freeze(&self.lock(), next_seq, end_seq, tail_id)
    }

    /// Looks at the ledger, or changes it, under the queue's lock.
    pub(crate) fn with_ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(self.lock().queue.ledger_mut())
    }
}
