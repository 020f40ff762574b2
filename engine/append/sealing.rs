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
        batch::BATCH_HEADER_BYTES,
        header::HEADER_BYTES,
        sealed::{self, APPEND_BYTES, APPENDS_MAX, SealedAppend, added_bytes, state_append},
    },
    segment::{Tally, facts, sealing_under},
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
    /// The same with nothing in it, for another group.
    pub(super) fn again(mut self: Box<Self>) -> Box<Self> {
        self.added_bytes = 0;
        self.batches.clear();
        self
    }

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
    /// Puts the batches into a buffer of their own, those with records sealed: their headers are still to come.
    pub(super) fn seal_records(&mut self, vfs: &dyn Vfs) {
        let (Some(seal), Some(key)) = (&mut self.seal, &self.tail.sealing) else {
            return;
        };
        let Seal {
            batches,
            buffer,
            stored,
            ..
        } = seal.as_mut();
        buffer.clear();
        stored.clear();
        if self.begins.is_some() {
            buffer.resize(HEADER_BYTES, 0);
        }
        let mut of_batches = batches.iter().peekable();
        for (number, (start, header)) in self.batches.iter().enumerate() {
            let end = (self.batches.get(number + 1)).map_or(self.buffer.len(), |next| next.0);
            let body = self.buffer.get(start + BATCH_HEADER_BYTES..end);
            let body = body.unwrap_or_default();
            let (mut header, stored_start) = (*header, buffer.len());
            buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
            match of_batches.next_if(|of| of.number == number) {
                None => buffer.extend_from_slice(body),
                Some(known) => {
                    let last_seq = header.next_seq().saturating_sub(1);
                    let facts = facts(&known.tally, last_seq);
                    let form = (None, known.plain);
                    let what = (&header, &facts, known.appends.as_slice());
                    let place = (&self.tail.context, self.offset + stored_start as u64);
                    let sealing = sealing_under(key, vfs);
                    let done = sealed::encode(buffer, body, form, &sealing, what, place);
                    assert!(done.is_some(), "the cipher is there, or nothing is queued");
                    header.packed = true;
                }
            }
            stored.push((stored_start, header));
        }
        assert_eq!(
            buffer.len(),
            self.buffer.len() + seal.added_bytes,
            "the next group is planned behind it"
        );
    }
}
