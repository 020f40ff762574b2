//! What of a group is sealed: which of its records need a look without the key, and what is written in place of
//! them.
//!
//! INVARIANT: what sealing adds is known when records are queued, since the place of the next group is; and it
//! is under another number each time that it has to be written.
//!
//! Called by group, and by packing, which goes before it.

use super::{Producer, record::NewRecord};
use crate::{
    format::{
        BatchHeader, Compression, SegmentContext,
        packed::Room,
        sealed::{self, added_bytes},
        stated::{APPEND_BYTES, APPENDS_MAX, StatedAppend, state_append},
    },
    seal::{Key, KeyId},
    segment::{Tally, facts, sealing_under},
    vfs::Vfs,
};

/// What is sealed of a group.
#[derive(Debug, Default)]
pub(super) struct Seal {
    /// What sealing adds to the buffer, in bytes.
    pub(super) added_bytes: usize,
    batches: Vec<OfBatch>,
}

/// What is known of the records of a batch.
#[derive(Debug)]
struct OfBatch {
    number: usize,
    plain: bool,
    tally: Tally,
    appends: Vec<StatedAppend>,
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
    pub(super) fn clear(&mut self) {
        self.added_bytes = 0;
        self.batches.clear();
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

    /// Puts the records of a batch behind what is in `out`, packed if there is a codec and it saves something, and
    /// sealed; false, and nothing is put, of a batch without records.
    pub(super) fn seal(
        &self,
        out: &mut Vec<u8>,
        (number, batch, body): (usize, &BatchHeader, &[u8]),
        codec: Option<(Compression, &mut Room)>,
        place: (&SegmentContext, u64),
        (key, vfs): (&(KeyId, Key), &dyn Vfs),
    ) -> bool {
        let found = (self.batches).binary_search_by_key(&number, |of| of.number);
        let Some(known) = found.ok().and_then(|at| self.batches.get(at)) else {
            return false;
        };
        let facts = facts(&known.tally, batch.next_seq().saturating_sub(1));
        let what = (batch, &facts, known.appends.as_slice());
        let sealing = sealing_under(key, vfs);
        let done = sealed::encode(out, body, (codec, known.plain), &sealing, what, place);
        assert!(done.is_some(), "the cipher is there, or nothing is queued");
        true
    }
}
