//! The walk in a batch that is packed or sealed: its records are unpacked into a window of their own, in which
//! they stand as if they were stored behind the header.

use super::{Frames, Spot};
use crate::{
    error::Defect,
    format::{
        BatchHeader, SegmentContext, StoredHead,
        batch::{BATCH_HEADER_BYTES, Records},
        packed,
    },
    seal::KeyRing,
    segment::{Fault, Window},
    types::Seq,
};
use bytes::{Bytes, BytesMut};
use std::{io, mem};

/// A batch as it is stored: its header, what its head says, its body.
pub(crate) type Whole<'a> = (BatchHeader, StoredHead, &'a [u8]);

impl Frames {
    /// Goes back from the records of a packed batch to the file.
    #[cold]
    pub(super) fn leave_block(&mut self) {
        if let Some(file) = self.file.take() {
            self.used = mem::replace(&mut self.window, file).into_chunk();
        }
    }

    /// Opens the batch of the next record.
    pub(super) fn open_next(&mut self) -> Result<(), Fault> {
        self.open_block(self.next.batch, self.next.batch_offset)?;
        self.next = self.timed(&self.next);
        Ok(())
    }

    /// A spot of the open batch, with the time that its records say: what is sealed keeps its own.
    #[inline]
    pub(super) fn timed(&self, spot: &Spot) -> Spot {
        let mut spot = *spot;
        if spot.batch.packed && self.file.is_some() {
            spot.batch.timestamp_ms = self.block_time_ms;
        }
        spot
    }

    /// What the head of the open batch says, which is packed or sealed and none of whose records was read yet;
    /// and its body.
    pub(super) fn stored_head(&self) -> Result<(StoredHead, &[u8]), Fault> {
        let (batch, offset) = (self.next.batch, self.next.batch_offset);
        let body = self.window.peek(self.next.offset, self.next_batch);
        match StoredHead::decode(body, &batch, &self.context, offset) {
            Ok(head) => Ok((head, body)),
            Err(defect) => Err(Fault::Defect {
                offset,
                seq: batch.first_seq,
                defect,
            }),
        }
    }

    /// The next batch as it is stored, if it is sealed or was packed as it was appended, none of its records was read
    /// yet, and all of them lie below `end_seq`: [`leave_batch`](Self::leave_batch) goes past it.
    pub(crate) fn stored(&mut self, limit: u64, end_seq: Seq) -> Result<Option<Whole<'_>>, Fault> {
        if !self.go_on(limit)? || !self.is_packed {
            return Ok(None);
        }
        let (batch, packed_appends) = (self.next.batch, self.packed_appends);
        let (head, body) = self.stored_head()?;
        let says_all = head.key_id().is_some() || packed_appends;
        let whole = says_all && head.next_seq() <= end_seq;
        Ok(whole.then_some((batch, head, body)))
    }

    /// Goes past the open batch.
    pub(crate) fn leave_batch(&mut self) {
        self.left = 0;
    }

    /// Makes the records of a batch that was met packed the ones that are read.
    #[inline(never)]
    pub(super) fn open_block(&mut self, batch: BatchHeader, offset: u64) -> Result<(), Fault> {
        self.leave_block();
        let io = |error| Fault::Io { offset, error };
        let (start, end) = (
            offset + BATCH_HEADER_BYTES as u64,
            offset + batch.batch_bytes(),
        );
        let body = self.window.get(start, end - start, end).map_err(io)?;
        let used = mem::take(&mut self.used);
        let how = (&self.context, &self.keys);
        let block = StoredHead::decode(body, &batch, &self.context, offset)
            .and_then(|head| unpack(&head, body, &batch, how, used))
            .map_err(|defect| Fault::Defect {
                offset,
                seq: batch.first_seq,
                defect,
            });
        let (block, time) = block?.map_err(io)?;
        self.block_time_ms = time;
        (self.inner, self.is_packed) = (packed::inner(&self.context), false);
        self.records_end = start + block.len() as u64;
        self.file = Some(mem::replace(
            &mut self.window,
            Window::of_memory(block, start),
        ));
        Ok(())
    }

    /// Has the window hold the batch of a spot.
    pub(super) fn enter(&mut self, spot: &Spot) -> Result<(), Fault> {
        let (offset, end) = (spot.batch_offset, spot.batch_end());
        if spot.batch.packed {
            let start = offset + BATCH_HEADER_BYTES as u64;
            return match self.file.is_some() && self.window.starts_at(start) {
                true => Ok(()),
                false => self.open_block(spot.batch, offset),
            };
        }
        self.leave_block();
        let io = |error| Fault::Io { offset, error };
        self.window.get(offset, end - offset, end).map_err(io)?;
        (self.records_end, self.inner, self.is_packed) = (end, self.context, false);
        Ok(())
    }
}

/// Unpacks a batch whose body and verified head these are: into the memory of a block that nobody holds any
/// more, or else into new memory. Gives the time of records that have none of their own with it. Nothing, if
/// there is no memory to be had.
///
/// # Errors
/// What is not as the head says; a codec that is not to be had.
pub(in crate::segment) fn unpack(
    head: &StoredHead,
    body: &[u8],
    batch: &BatchHeader,
    (context, keys): (&SegmentContext, &KeyRing),
    used: Bytes,
) -> Result<io::Result<(Bytes, i64)>, Defect> {
    let is_clear = head.key_id().is_none();
    if is_clear && keys.insists(head.next_seq().saturating_sub(1)) {
        return Err(Defect::Tampered);
    }
    let opener = head.opener(body, keys)?;
    let len = usize::try_from(head.facts().raw_bytes).unwrap_or(usize::MAX - 8) + 8;
    let mut block = match used.try_into_mut() {
        Ok(block) if block.capacity() >= len => block,
        _ => {
            let mut memory = Vec::new();
            if memory.try_reserve_exact(len).is_err() {
                return Ok(Err(io::ErrorKind::OutOfMemory.into()));
            }
            BytesMut::from(Bytes::from(memory))
        }
    };
    block.clear();
    let time = head.open(body, batch, context, opener.as_ref(), &mut block)?;
    if is_clear && must_be_sealed(batch, &block, &packed::inner(context), keys) {
        return Err(Defect::Tampered);
    }
    Ok(Ok((block.freeze(), time)))
}

/// Whether a batch in the clear holds records that may not be: by its header, or where it is sparse by the seqs
/// that they state themselves.
pub(in crate::segment) fn must_be_sealed(
    batch: &BatchHeader,
    records: &[u8],
    context: &SegmentContext,
    keys: &KeyRing,
) -> bool {
    if batch.count == 0 || !keys.insists(Seq::MAX) {
        return false;
    }
    let mut stated = Records::new(records, *context, *batch).map_while(Result::ok);
    keys.insists(batch.next_seq().saturating_sub(1))
        || batch.sparse && stated.any(|record| keys.insists(record.seq))
}
