//! How a group is written where that is not as it was queued: with the records of its batches packed, sealed, or
//! packed and then sealed.
//!
//! INVARIANT: it takes no more room than was planned, since the place of the next group is planned behind it; what is
//! saved is known when it is written, and the plan moved up when it is settled. The buffer stays as it is, to be
//! packed and sealed anew if it has to be written again.
//!
//! Called by group.

use super::group::Group;
use crate::{
    format::{
        BatchHeader, Compression, SegmentContext,
        batch::{BATCH_HEADER_BYTES, Records},
        header::HEADER_BYTES,
        packed::{self, RAW_BYTES_MAX, Room},
        record,
        stated::{StatedAppend, state_append},
    },
    segment::{Tally, facts},
    vfs::Vfs,
};

/// What has fewer bytes of records is not packed: there is little to be saved, and no fewer blocks to be written.
const PACKED_BYTES_MIN: usize = 1024;
/// Room that grew beyond this for a large batch is given back, in bytes.
const ROOM_BYTES_MAX: usize = 256 * 1024;

/// A group as it is written.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) buffer: Vec<u8>,
    /// Where each batch starts in it.
    pub(super) batches: Vec<(usize, BatchHeader)>,
    /// Whether it is what is written: else that is what was queued.
    pub(super) counts: bool,
    /// By how many bytes it is shorter than was planned.
    pub(super) saved_bytes: usize,
}

impl Rewritten {
    /// The group is as it was planned again.
    pub(super) fn forget(&mut self) {
        (self.counts, self.saved_bytes) = (false, 0);
    }

    fn begin(&mut self, begins_segment: bool) {
        self.forget();
        self.batches.clear();
        self.buffer.clear();
        if begins_segment {
            self.buffer.resize(HEADER_BYTES, 0);
        }
    }
}

/// What the leader packs with: room that is used again.
#[derive(Debug, Default)]
pub(super) struct Packer {
    frames: Vec<u8>,
    appends: Vec<StatedAppend>,
    room: Room,
}

impl Group {
    /// Puts the batches into a buffer of their own, if any of them is to be packed or sealed: their headers are still to
    /// come.
    pub(super) fn rewrite(&mut self, vfs: &dyn Vfs, packer: &mut Option<Box<Packer>>) {
        let Some(written) = &mut self.rewritten else {
            return;
        };
        let packer = packer.get_or_insert_default();
        written.begin(self.begins.is_some());
        let context = &self.tail.context;
        for (number, (start, header)) in self.batches.iter().enumerate() {
            let end = (self.batches.get(number + 1)).map_or(self.buffer.len(), |next| next.0);
            let body = self.buffer.get(start + BATCH_HEADER_BYTES..end);
            let body = body.unwrap_or_default();
            let stored_start = written.buffer.len();
            let place = (context, self.offset + stored_start as u64);
            let out = &mut written.buffer;
            out.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
            let codec = self.codec.filter(|_| is_worth_it(header, body));
            let under = self.seal.as_ref().zip(self.tail.sealing.as_ref());
            let is_other = match (under, codec) {
                (Some((seal, key)), codec) => {
                    let codec = codec.map(|codec| (codec, &mut packer.room));
                    seal.seal(out, (number, header, body), codec, place, (key, vfs))
                }
                (None, Some(codec)) => packer.pack(out, (header, body), codec, place),
                (None, None) => false,
            };
            if !is_other {
                out.extend_from_slice(body);
            }
            written.counts |= is_other;
            let packed = is_other;
            written
                .batches
                .push((stored_start, BatchHeader { packed, ..*header }));
        }
        let added_bytes = self.seal.as_ref().map_or(0, |seal| seal.added_bytes);
        let planned_bytes = self.buffer.len() + added_bytes;
        assert!(
            written.buffer.len() <= planned_bytes,
            "the next group is planned behind it"
        );
        written.saved_bytes = planned_bytes - written.buffer.len();
    }

    /// Where it ends, or may at most as long as it is not finished.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        let added = self.seal.as_ref().map_or(0, |seal| seal.added_bytes);
        self.offset + (self.buffer.len() + added - self.saved_bytes()) as u64
    }

    /// By how many bytes it is shorter than was planned, once it is finished.
    #[inline]
    pub(super) fn saved_bytes(&self) -> usize {
        (self.rewritten.as_ref()).map_or(0, |written| written.saved_bytes)
    }

    /// It was not written: it takes the room again that was planned.
    pub(super) fn unfinish(&mut self) {
        if let Some(written) = &mut self.rewritten {
            written.forget();
        }
    }

    #[inline]
    fn other(&self) -> Option<&Rewritten> {
        self.rewritten.as_deref().filter(|written| written.counts)
    }

    /// What is written: once it is finished.
    #[inline]
    pub(super) fn stored(&self) -> &[u8] {
        self.other().map_or(&self.buffer, |written| &written.buffer)
    }

    /// As [`stored`](Self::stored), for who fills in the segment's header.
    pub(super) fn stored_mut(&mut self) -> &mut Vec<u8> {
        self.stored_parts().0
    }

    /// What is written, and where its batches start.
    pub(super) fn stored_parts(&mut self) -> (&mut Vec<u8>, &mut Vec<(usize, BatchHeader)>) {
        match &mut self.rewritten {
            Some(written) if written.counts => (&mut written.buffer, &mut written.batches),
            _ => (&mut self.buffer, &mut self.batches),
        }
    }

    pub(super) fn stored_batches(&self) -> &[(usize, BatchHeader)] {
        self.other()
            .map_or(&self.batches, |written| &written.batches)
    }
}

fn is_worth_it(batch: &BatchHeader, body: &[u8]) -> bool {
    let bytes = PACKED_BYTES_MIN..=RAW_BYTES_MAX as usize;
    batch.count > 0 && bytes.contains(&body.len())
}

impl Packer {
    /// Puts these records behind what is in `out`, packed; false, and nothing is there, if that saves too little.
    fn pack(
        &mut self,
        out: &mut Vec<u8>,
        (batch, body): (&BatchHeader, &[u8]),
        codec: Compression,
        place: (&SegmentContext, u64),
    ) -> bool {
        let (context, _) = place;
        let inner = packed::inner(context);
        self.frames.clear();
        self.frames.extend_from_slice(body);
        self.appends.clear();
        let mut tally = Tally::default();
        let (mut records, mut start) = (Records::new(body, *context, *batch), 0);
        while let Some(Ok(record)) = records.next() {
            if let Some(producer) = record.producer {
                state_append(&mut self.appends, producer, tally.record_count);
            }
            tally.add_record(&record);
            let end = records.consumed_bytes();
            if let Some(frame) = self.frames.get_mut(start..end) {
                record::bind(frame, inner.salt, record.seq);
            }
            start = end;
        }
        let facts = facts(&tally, batch.next_seq().saturating_sub(1));
        let what = (batch, &facts, self.appends.as_slice());
        let is_whole = tally.record_count == batch.count;
        let packed = is_whole
            && packed::encode(out, &self.frames, codec, what, place, &mut self.room).is_some();
        if self.frames.capacity() > ROOM_BYTES_MAX {
            *self = Self::default();
        }
        packed
    }
}
