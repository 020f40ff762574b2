//! The readers' walk over one segment: record by record, each verified before it is shown.
//!
//! Lending: a record borrows from the walk's window until the next call. The walk can start at any
//! seq, go backwards by way of the index, and go on in a tail that grew.

mod block;
mod keys;
mod step;

pub(super) use block::{must_be_sealed, unpack};
pub(crate) use keys::Stored;

use super::{Fault, View, Window};
use crate::{
    error::Defect,
    format::{
        BatchHeader, IndexEntry, RecordRef, SegmentContext,
        batch::{BATCH_HEADER_BYTES, Records},
        header::HEADER_BYTES,
        record,
    },
    seal::KeyRing,
    types::Seq,
};
use bytes::Bytes;
use std::hint::black_box;

/// Where a record starts, and what it is verified against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(super) offset: u64,
    pub(super) batch: BatchHeader,
    pub(super) batch_offset: u64,
    /// The seq of the record in a dense batch, the lowest that it may have in a sparse one.
    pub(super) dense_seq: Seq,
}

impl Spot {
    /// The first record of a batch.
    fn first_of(batch: BatchHeader, batch_offset: u64) -> Self {
        Self {
            offset: batch_offset + BATCH_HEADER_BYTES as u64,
            batch,
            batch_offset,
            dense_seq: batch.first_seq,
        }
    }

    fn batch_end(&self) -> u64 {
        self.batch_offset + self.batch.batch_bytes()
    }
}

/// A walk over the records of one segment.
///
/// INVARIANT: while records are left, the window holds their batch, if the file does. A packed one is
/// unpacked when its first record is asked for: then the window is that of its records, which stand as if
/// they were stored behind the header, and the file's waits.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    context: SegmentContext,
    keys: KeyRing,
    /// Whether what is packed says itself who appended it.
    packed_appends: bool,
    window: Window,
    /// What records are verified against.
    inner: SegmentContext,
    /// Where those of the open batch end.
    records_end: u64,
    /// Whether the open batch is still packed.
    is_packed: bool,
    /// The file's, while the window is that of an unpacked batch.
    file: Option<Window>,
    /// The time of the records of an unpacked batch that have none of their own.
    block_time_ms: i64,
    /// Memory of the last unpacked one.
    used: Bytes,
    /// Where the next batch starts, which is where the open one ends.
    next_batch: u64,
    /// Where the next record starts, if any is left of the open batch.
    next: Spot,
    left: u32,
    /// Whether the walk stepped over records of this batch without verifying them.
    stepped: bool,
}

impl Frames {
    pub(crate) fn new(view: &View, start: u64) -> Self {
        Self::through(Window::new(&view.source), view, start)
    }

    /// A walk that looks through this window.
    pub(crate) fn through(window: Window, view: &View, start: u64) -> Self {
        let none = BatchHeader {
            body_bytes: 0,
            first_seq: view.context.base_seq,
            durable_seq: view.context.base_seq,
            timestamp_ms: view.context.base_timestamp_ms,
            count: 0,
            sparse: false,
            packed: false,
        };
        Self {
            context: view.context,
            keys: view.keys.clone(),
            packed_appends: view.packed_appends,
            window,
            inner: view.context,
            records_end: start,
            is_packed: false,
            file: None,
            block_time_ms: 0,
            used: Bytes::new(),
            next_batch: start,
            next: Spot::first_of(none, start),
            left: 0,
            stepped: false,
        }
    }

    /// A walk that begins where an entry of the index says that a batch does, for a seq at or above that
    /// batch's; from the start of the segment if there is none, or another: an index that verifies may
    /// still say something else than the frames, and would hide what it leads past.
    pub(crate) fn from_entry(
        window: Window,
        view: &View,
        entry: Option<IndexEntry>,
        (seq_delta, limit): (u64, u64),
    ) -> Self {
        let start = HEADER_BYTES as u64;
        let Some(entry) = entry else {
            return Self::through(window, view, start);
        };
        let mut frames = Self::through(window, view, entry.offset.into());
        if view.index.is_known() || frames.begins(entry, seq_delta, limit) {
            return frames;
        }
        Self::new(view, start)
    }

    /// Whether the batch of an entry begins here.
    pub(super) fn begins(&mut self, entry: IndexEntry, seq_delta: u64, limit: u64) -> bool {
        let first_seq = self.context.base_seq.checked_add(entry.seq_delta.into());
        u64::from(entry.seq_delta) <= seq_delta
            && matches!(self.open_batch(limit), Ok(true))
            && self.next.batch_offset == u64::from(entry.offset)
            && Some(self.next.batch.first_seq) == first_seq
    }

    /// The lowest seq that the segment may hold.
    pub(crate) fn base_seq(&self) -> Seq {
        self.context.base_seq
    }

    /// Where the next record starts, or the next batch if none is left of the open one.
    pub(crate) fn offset(&self) -> u64 {
        if self.left == 0 {
            self.next_batch
        } else if self.next.batch.packed {
            self.next.batch_offset
        } else {
            self.next.offset
        }
    }

    /// Whether a record is left of the open batch.
    #[inline]
    pub(crate) fn is_in_batch(&self) -> bool {
        self.left > 0
    }

    /// Brings the walk in front of the next record below `limit`; false if there is none.
    #[inline]
    pub(crate) fn go_on(&mut self, limit: u64) -> Result<bool, Fault> {
        if self.left > 0 {
            return Ok(true);
        }
        self.open_batch(limit)
    }

    /// Opens the next batch that has records, if there is one below `limit`.
    #[inline(never)]
    fn open_batch(&mut self, limit: u64) -> Result<bool, Fault> {
        if self.left == 0 && self.file.is_some() {
            self.leave_block();
        }
        while self.left == 0 {
            let offset = self.next_batch;
            if offset >= limit {
                return Ok(false);
            }
            let seq = self.context.base_seq;
            let io = |error| Fault::Io { offset, error };
            let fault = |defect| Fault::Defect {
                offset,
                seq,
                defect,
            };
            let header_bytes = BATCH_HEADER_BYTES as u64;
            let bytes = self.window.get(offset, header_bytes, limit).map_err(io)?;
            let batch = BatchHeader::decode(bytes, &self.context, offset).map_err(fault)?;
            let needed_bytes = batch.batch_bytes();
            if offset + needed_bytes > limit {
                let available_bytes = limit - offset;
                return Err(fault(Defect::Truncated {
                    needed_bytes,
                    available_bytes,
                }));
            }
            // Fetched as a whole, so that no record of it straddles two chunks.
            let whole = self.window.get(offset, needed_bytes, limit).map_err(io)?;
            let body = whole.get(BATCH_HEADER_BYTES..).unwrap_or_default();
            if !batch.packed && must_be_sealed(&batch, body, &self.context, &self.keys) {
                return Err(fault(Defect::Tampered));
            }
            self.next_batch = offset + needed_bytes;
            self.records_end = self.next_batch;
            (self.inner, self.is_packed) = (self.context, batch.packed);
            self.stepped = false;
            self.next = Spot::first_of(batch, offset);
            self.left = batch.count;
        }
        Ok(true)
    }

    /// Has memory fetched that the walk will come to: a look at every so many bytes, which are
    /// independent of each other and which nothing waits for.
    pub(crate) fn touch(&self, from: u64, to: u64, step_bytes: u64) {
        if self.file.is_some() || !self.window.has_fetched(from, to) {
            return;
        }
        let bytes = self.window.peek(from, to).iter();
        let step = usize::try_from(step_bytes).unwrap_or(usize::MAX).max(64);
        black_box(bytes.step_by(step).fold(0, |all, byte| all ^ byte));
    }

    /// Where the next record is, for coming back to it with [`at`](Self::at).
    pub(crate) fn peek(&mut self, limit: u64) -> Result<Option<Spot>, Fault> {
        Ok(self.go_on(limit)?.then_some(self.next))
    }

    /// How many records are left of the open batch.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Goes to a spot found earlier, behind which so many records are left of its batch.
    pub(crate) fn go_back(&mut self, spot: &Spot, left: u32) -> Result<(), Fault> {
        self.enter(spot)?;
        (self.next, self.left, self.next_batch) = (self.timed(spot), left, spot.batch_end());
        // What lies before the spot was stepped over.
        self.stepped = true;
        Ok(())
    }

    /// Where the batch of the next record starts.
    pub(crate) fn batch_offset(&mut self, limit: u64) -> Result<Option<u64>, Fault> {
        Ok(self.peek(limit)?.map(|spot| spot.batch_offset))
    }

    /// The seq of the next record.
    pub(crate) fn peek_seq(&mut self, limit: u64) -> Result<Option<Seq>, Fault> {
        if !self.go_on(limit)? {
            return Ok(None);
        }
        self.next_seq().map(Some)
    }

    /// The next record of the open batch, verified, and the chunk that it lies in. `None` if its seq is
    /// not below `before`, or if [`go_on`](Self::go_on) has to open another batch.
    #[inline(always)]
    pub(crate) fn next(&mut self, before: Seq) -> Result<Option<(RecordRef<'_>, &Bytes)>, Fault> {
        if self.left == 0 || self.next.dense_seq >= before {
            return Ok(None);
        }
        if self.is_packed {
            self.open_next()?;
        }
        let Spot {
            offset,
            batch,
            dense_seq,
            ..
        } = &self.next;
        let bytes = self.window.peek(*offset, self.records_end);
        match record::decode(bytes, &self.inner, batch, *dense_seq) {
            // Of a sparse batch only the record itself could tell.
            Ok((record, _)) if record.seq >= before => Ok(None),
            Ok((record, frame_bytes)) => {
                self.next.offset += frame_bytes as u64;
                self.next.dense_seq = record.seq.saturating_add(1);
                self.left -= 1;
                Ok(Some((record, self.window.chunk())))
            }
            Err(defect) => Err(self.first_fault(&self.next, defect)),
        }
    }

    /// The place of a defect. Met behind records that were only stepped over, the true one may be
    /// theirs: then the batch is walked again, verifying.
    #[cold]
    fn first_fault(&self, spot: &Spot, defect: Defect) -> Fault {
        // Of what is packed no record has a place of its own.
        let place = |offset| match spot.batch.packed {
            true => spot.batch_offset,
            false => offset,
        };
        let mut fault = Fault::Defect {
            offset: place(spot.offset),
            seq: spot.dense_seq,
            defect,
        };
        if self.stepped {
            let start = spot.batch_offset + BATCH_HEADER_BYTES as u64;
            let body = self.window.peek(start, self.records_end);
            let mut records = Records::new(body, self.inner, spot.batch);
            let mut seq = spot.batch.first_seq;
            loop {
                let offset = start + records.consumed_bytes() as u64;
                match records.next() {
                    Some(Ok(record)) => seq = record.seq.saturating_add(1),
                    Some(Err(defect)) => {
                        fault = Fault::Defect {
                            offset: place(offset),
                            seq,
                            defect,
                        }
                    }
                    None => break,
                }
            }
        }
        fault
    }

    /// The record at a spot found earlier, verified, and the chunk that it lies in.
    ///
    /// INVARIANT: the spot is of the open batch, or the walk does not go on: its batch may be gone
    /// from the window.
    pub(crate) fn at(&mut self, spot: &Spot) -> Result<(RecordRef<'_>, &Bytes), Fault> {
        self.enter(spot)?;
        let spot = &self.timed(spot);
        let bytes = self.window.peek(spot.offset, self.records_end);
        match record::decode(bytes, &self.inner, &spot.batch, spot.dense_seq) {
            Ok((record, _)) => Ok((record, self.window.chunk())),
            Err(defect) => Err(self.first_fault(spot, defect)),
        }
    }
}
