//! Sealing the records of a segment that is written aside, and taking over what is sealed already.

use super::{Builder, OpenBatch};
use crate::{
    format::{
        BatchHeader, SegmentContext, StoredHead,
        batch::{BATCH_HEADER_BYTES, Records},
        packed::PackedHead,
        sealed::{self, Sealing},
        stored,
    },
    seal::{Key, KeyId},
    segment::{Tally, frames::must_be_sealed},
    types::Seq,
    vfs::Vfs,
};
use std::io;

/// What the next batch is sealed under: a number that no other batch has with this key, but for a chance of
/// one in 2^96 for each two.
pub(crate) fn sealing_under((key_id, key): &(KeyId, Key), vfs: &dyn Vfs) -> Sealing {
    let (low, high) = (vfs.random().to_le_bytes(), vfs.random().to_le_bytes());
    let mut nonce = [0; 12];
    for (slot, byte) in nonce.iter_mut().zip(low.into_iter().chain(high)) {
        *slot = byte;
    }
    Sealing {
        key_id: *key_id,
        key: key.clone(),
        nonce,
    }
}

/// What is known of records without them, but for what packing finds out.
pub(crate) fn facts(tally: &Tally, last_seq: Seq) -> PackedHead {
    PackedHead {
        codec: 0,
        append_count: 0,
        raw_bytes: 0,
        last_seq,
        tombstone_count: tally.tombstone_count,
        keyed_count: tally.keyed_count,
        min_timestamp_ms: tally.min_timestamp_ms,
        max_timestamp_ms: tally.max_timestamp_ms,
    }
}

/// What the head of a stored batch says of its records.
pub(crate) fn tally_of(batch: &BatchHeader, head: &StoredHead) -> Tally {
    let facts = head.facts();
    Tally {
        record_count: batch.count,
        tombstone_count: facts.tombstone_count,
        keyed_count: facts.keyed_count,
        min_timestamp_ms: facts.min_timestamp_ms,
        max_timestamp_ms: facts.max_timestamp_ms,
    }
}

impl Builder {
    /// Ends a batch with its records sealed, and packed before if there is a codec.
    pub(super) fn end_sealed(&mut self, key: (KeyId, Key), mut batch: OpenBatch) -> io::Result<()> {
        batch.header.count = batch.tally.record_count;
        let facts = facts(&batch.tally, batch.next_seq.saturating_sub(1));
        let sealing = sealing_under(&key, &*self.vfs);
        self.sealing = Some(key);
        let raw = self.buffer.split_off(batch.start + BATCH_HEADER_BYTES);
        let place = (&self.context, self.summary.end);
        let what = (&batch.header, &facts, batch.appends.as_slice());
        let codec = self.pack.map(|codec| (codec, &mut self.room));
        let form = (codec, sealed::are_plain(&facts, &batch.header));
        sealed::encode(&mut self.buffer, &raw, form, &sealing, what, place)
            .ok_or_else(|| io::Error::other("the records cannot be sealed"))?;
        batch.header.packed = true;
        self.end_with(batch)
    }

    /// Takes over a batch that is in the clear elsewhere. Its records are sealed here, unless they had to be there:
    /// then somebody put them there, and they stay in the clear, for readers to tell.
    pub(crate) fn add_clear(
        &mut self,
        batch: &BatchHeader,
        (body, context): (&[u8], &SegmentContext),
        durable_seq: Seq,
    ) -> io::Result<()> {
        self.end_batch()?;
        let forged = must_be_sealed(batch, body, context, &self.keys);
        let sealing = if forged { self.sealing.take() } else { None };
        let mut records = Records::new(body, *context, *batch).flatten();
        let added = records.try_for_each(|record| self.add(&record, durable_seq));
        let added = added.and_then(|()| self.end_batch());
        self.sealing = sealing.or_else(|| self.sealing.take());
        added
    }

    /// Takes over a batch as it is stored elsewhere, without a look at its records.
    ///
    /// INVARIANT: the segment's header says that there may be such.
    pub(crate) fn add_stored(
        &mut self,
        batch: &BatchHeader,
        (head, body): (&StoredHead, &[u8]),
        durable_seq: Seq,
    ) -> io::Result<()> {
        self.end_batch()?;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
        self.buffer.extend_from_slice(body);
        let moved = self.buffer.get_mut(start + BATCH_HEADER_BYTES..);
        stored::sum(moved.unwrap_or_default(), &self.context, self.summary.end);
        self.end_with(OpenBatch {
            start,
            header: BatchHeader {
                durable_seq: durable_seq.min(batch.first_seq),
                ..*batch
            },
            next_seq: head.next_seq(),
            tally: tally_of(batch, head),
            gap_count: 0,
            appends: Vec::new(),
        })
    }
}
