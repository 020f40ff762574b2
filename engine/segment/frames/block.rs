//! The walk in a packed batch: its records are unpacked into a window of their own, in which they stand as
//! if they were stored behind the header.

use super::{Frames, Spot};
use crate::{
    error::Defect,
    format::{
        BatchHeader,
        batch::BATCH_HEADER_BYTES,
        packed::{self, PackedHead},
    },
    segment::{Fault, Window},
};
use bytes::{Bytes, BytesMut};
use std::{io, mem};

impl Frames {
    /// Goes back from the records of a packed batch to the file.
    #[cold]
    pub(super) fn leave_block(&mut self) {
        if let Some(file) = self.file.take() {
            self.used = mem::replace(&mut self.window, file).into_chunk();
        }
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
        let block = PackedHead::decode(body, &batch, &self.context, offset)
            .and_then(|head| unpack(&head, body, &batch, used))
            .map_err(|defect| Fault::Defect {
                offset,
                seq: batch.first_seq,
                defect,
            });
        let block = block?.map_err(io)?;
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
/// more, or else into new memory. Nothing, if there is no memory to be had.
///
/// # Errors
/// What is not as the head says; a codec that is not to be had.
pub(in crate::segment) fn unpack(
    head: &PackedHead,
    body: &[u8],
    batch: &BatchHeader,
    used: Bytes,
) -> Result<io::Result<Bytes>, Defect> {
    head.check(body)?;
    let len = usize::try_from(head.raw_bytes).unwrap_or(usize::MAX);
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
    block.resize(len, 0);
    head.unpack(body, batch, &mut block)?;
    Ok(Ok(block.freeze()))
}
