//! What of a group is sealed: which of its records need a look without the key, and the bytes that are
//! written in place of its buffer.
//!
//! INVARIANT: what sealing adds is known when records are queued, since the place of the next group is; and
//! the buffer stays as it is, to be sealed anew, under another number, if it has to be written again.
//!
//! Called by group.

use super::{Producer, group::Group, record::NewRecord};
use crate::{
    format::{
        BatchHeader,
        batch::{BATCH_HEADER_BYTES, seal_annex},
        header::HEADER_BYTES,
        sealed::{self, APPEND_BYTES, APPENDS_MAX, SealedAppend, added_bytes, state_append},
    },
    segment::{Tally, facts, sealing_under},
    types::Seq,
    vfs::Vfs,
};

/// What is sealed of a group.
#[derive(Debug, Default)]
pub(super) struct Seal {
    /// What sealing adds to the buffer, in bytes.
    pub(super) added_bytes: usize,
    batches: Vec<OfBatch>,
    /// The group as it is written.
    pub(super) buffer: Vec<u8>,
    /// Where each batch starts in it.
    pub(super) stored: Vec<(usize, BatchHeader)>,
}

/// What is known of the records of a batch.
#[derive(Debug)]
struct OfBatch {
    number: usize,
    plain: bool,
    tally: Tally,
    appends: Vec<SealedAppend>,
}

/// Whether all of them are alike for who has no key: without a key of their own, and a time.
pub(super) fn are_plain(records: &[NewRecord<'_>]) -> bool {
    let plain = |new: &NewRecord<'_>| new.parts.key.is_none() && new.parts.timestamp_ms.is_none();
    records.iter().all(plain)
}

/// What sealing adds at most to records that begin a batch, or share one, in bytes.
pub(super) fn sealing_bytes_max(begins: bool, producer: bool) -> usize {
    match begins {
        true => added_bytes(false, producer.into()),
        false => usize::from(producer) * APPEND_BYTES,
    }
}

impl Seal {
    /// Whether the last batch takes such records.
    pub(super) fn takes(&self, plain: bool) -> bool {
        let fits = |batch: &OfBatch| (plain || !batch.plain) && batch.appends.len() < APPENDS_MAX;
        self.batches.last().is_some_and(fits)
    }

    pub(super) fn begin(&mut self, number: usize, plain: bool) {
        self.added_bytes += added_bytes(plain, 0);
        self.batches.push(OfBatch {
            number,
            plain,
            tally: Tally::default(),
            appends: Vec::new(),
        });
    }

    /// Takes a record into account; `delta` is its distance from the first of its batch.
    pub(super) fn add(&mut self, tally: &Tally, producer: Option<Producer>, delta: u32) {
        let Some(batch) = self.batches.last_mut() else {
            return;
        };
        batch.tally.merge(tally);
        if let Some(producer) = producer {
            let before = batch.appends.len();
            state_append(&mut batch.appends, producer, delta);
            self.added_bytes += (batch.appends.len() - before) * APPEND_BYTES;
        }
    }
}

impl Group {
    /// Makes what is written of what is queued, each header stating `durable_seq`.
    pub(super) fn seal(&mut self, durable_seq: Seq, vfs: &dyn Vfs) {
        let (Some(mut seal), Some(key)) = (self.seal.take(), &self.tail.sealing) else {
            return;
        };
        let context = &self.tail.context;
        seal.buffer.clear();
        seal.stored.clear();
        if self.begins.is_some() {
            seal.buffer.resize(HEADER_BYTES, 0);
        }
        let mut of_batches = seal.batches.iter().peekable();
        for (number, (start, header)) in self.batches.iter().enumerate() {
            let end = (self.batches.get(number + 1)).map_or(self.buffer.len(), |next| next.0);
            let body = self.buffer.get(start + BATCH_HEADER_BYTES..end);
            let body = body.unwrap_or_default();
            let stored_start = seal.buffer.len();
            let offset = self.offset + stored_start as u64;
            seal.buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
            let mut header = BatchHeader {
                durable_seq: durable_seq.min(header.first_seq),
                ..*header
            };
            if let Some(of_batch) = of_batches.next_if(|of| of.number == number) {
                let last_seq = header.next_seq().saturating_sub(1);
                let known = (
                    &header,
                    &facts(&of_batch.tally, last_seq),
                    of_batch.appends.as_slice(),
                );
                let sealing = sealing_under(key, vfs);
                let place = (context, offset);
                let done = sealed::encode(
                    &mut seal.buffer,
                    body,
                    (None, of_batch.plain),
                    &sealing,
                    known,
                    place,
                );
                assert!(
                    done.is_some(),
                    "the cipher is there, or the log was not opened"
                );
                header.packed = true;
            } else {
                seal.buffer.extend_from_slice(body);
                let annex = seal.buffer.get_mut(stored_start + BATCH_HEADER_BYTES..);
                if let Some(annex) = annex.filter(|annex| !annex.is_empty()) {
                    seal_annex(annex, context, offset);
                }
            }
            let body_bytes = seal.buffer.len() - stored_start - BATCH_HEADER_BYTES;
            header.body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
            let encoded = header.encode(context, offset);
            let slot = seal
                .buffer
                .get_mut(stored_start..stored_start + BATCH_HEADER_BYTES);
            if let Some(slot) = slot {
                slot.copy_from_slice(&encoded);
            }
            seal.stored.push((stored_start, header));
        }
        assert_eq!(
            seal.buffer.len(),
            self.buffer.len() + seal.added_bytes,
            "the next group is planned behind it"
        );
        self.seal = Some(seal);
    }
}
