//! Appends of producers, stated in the clear behind records that are stored otherwise: so the ledger needs neither
//! key nor codec. Layout: `format.md`, "Sealed batch".

use super::{BatchHeader, Producer, packed::PackedHead, u32_at, u64_at};
use crate::types::Seq;

/// The size of an append of a producer, as stated.
pub const APPEND_BYTES: usize = 28;
/// The most appends that one batch states.
pub const APPENDS_MAX: usize = u8::MAX as usize;

/// Records of a producer that a batch holds: what the ledger has to know without a look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedAppend {
    /// Whose they are.
    pub producer: Producer,
    /// The first of them, minus the batch's first seq.
    pub first_delta: u32,
    /// How many follow each other.
    pub count: u32,
}

/// Adds a record of a producer to what a batch states: to the run that it goes on with, if there is one.
pub(crate) fn state_append(appends: &mut Vec<StatedAppend>, producer: Producer, delta: u32) {
    if let Some(last) = appends.last_mut()
        && last.producer == producer
        && last.first_delta.checked_add(last.count) == Some(delta)
    {
        last.count += 1;
        return;
    }
    appends.push(StatedAppend {
        producer,
        first_delta: delta,
        count: 1,
    });
}

/// Reads what is stated, one behind the other.
pub(super) fn decode(stated: &[u8]) -> impl Iterator<Item = StatedAppend> + use<'_> {
    stated.chunks_exact(APPEND_BYTES).map(StatedAppend::decode)
}

/// Whether they are of records of the batch, in order and apart from each other: so there are no more seqs in
/// them than records.
pub(super) fn are_in(
    mut appends: impl Iterator<Item = StatedAppend>,
    facts: &PackedHead,
    batch: &BatchHeader,
) -> bool {
    let mut next_seq = batch.first_seq;
    appends.all(|append| {
        let seqs = append.seqs(batch);
        let follows = seqs.start >= next_seq;
        next_seq = seqs.end;
        follows && append.count > 0 && seqs.end <= facts.last_seq.saturating_add(1)
    })
}

impl StatedAppend {
    /// Puts it behind what is in `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.producer.id.to_le_bytes());
        out.extend_from_slice(&self.producer.number.to_le_bytes());
        out.extend_from_slice(&self.producer.epoch.to_le_bytes());
        out.extend_from_slice(&self.first_delta.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            producer: Producer {
                id: u64_at(bytes, 0),
                number: u64_at(bytes, 8),
                epoch: u32_at(bytes, 16),
            },
            first_delta: u32_at(bytes, 20),
            count: u32_at(bytes, 24),
        }
    }

    /// The seqs of its records.
    pub(crate) fn seqs(&self, batch: &BatchHeader) -> std::ops::Range<Seq> {
        let first_seq = batch.first_seq.saturating_add(self.first_delta.into());
        first_seq..first_seq.saturating_add(self.count.into())
    }
}
