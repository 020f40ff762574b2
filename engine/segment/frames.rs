//! The readers' walk over one segment: record by record, each verified before it is shown.
//!
//! Lending: a record borrows from the walk's window until the next call. The walk can start at any
//! seq, go backwards by way of the index, and go on in a tail that grew.

use super::{Fault, Source, Window, index::Index};
use crate::{
    error::Defect,
    format::{
        BatchHeader, RecordRef, SegmentContext,
        batch::{BATCH_HEADER_BYTES, Records},
        record::{self, frame_bytes_unverified},
    },
    types::{SegmentId, Seq},
};
use bytes::Bytes;

/// Everything needed to read one segment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) segment: SegmentId,
    pub(crate) context: SegmentContext,
    pub(crate) source: Source,
    pub(crate) index: Index,
}

/// Where a record starts, and what it is verified against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(super) offset: u64,
    pub(super) batch: BatchHeader,
    pub(super) batch_offset: u64,
    pub(super) dense_seq: Seq,
}

/// A walk over the records of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    context: SegmentContext,
    window: Window,
    /// Where the next batch starts.
    next_batch: u64,
    /// Where the next record starts, in which batch, and how many are left of it.
    next_record: Option<(Spot, u32)>,
    /// Whether the walk stepped over records of this batch without verifying them.
    stepped: bool,
}

impl Frames {
    pub(crate) fn new(view: &View, start: u64) -> Self {
        Self {
            context: view.context,
            window: Window::new(view.source.clone()),
            next_batch: start,
            next_record: None,
            stepped: false,
        }
    }

    /// The chunk that the record handed out last lies in.
    pub(crate) fn chunk(&self) -> &Bytes {
        self.window.chunk()
    }

    fn batch_end(spot: &Spot) -> u64 {
        spot.batch_offset + spot.batch.batch_bytes()
    }

    /// Opens the next batch that has records, if there is one below `limit`.
    fn open_batch(&mut self, limit: u64) -> Result<bool, Fault> {
        while self.next_record.is_none() {
            let offset = self.next_batch;
            if offset >= limit {
                return Ok(false);
            }
            let fault = |defect| Fault::Defect {
                offset,
                seq: self.context.base_seq,
                defect,
            };
            let bytes = self
                .window
                .get(offset, BATCH_HEADER_BYTES as u64, limit)
                .map_err(|error| Fault::Io { offset, error })?;
            let batch = BatchHeader::decode(bytes, &self.context, offset).map_err(fault)?;
            let end = offset + batch.batch_bytes();
            if end > limit {
                let available_bytes = limit - offset;
                let needed_bytes = batch.batch_bytes();
                return Err(fault(Defect::Truncated {
                    needed_bytes,
                    available_bytes,
                }));
            }
            // Fetched as a whole, so that no record of it straddles two chunks.
            self.window
                .get(offset, batch.batch_bytes(), limit)
                .map_err(|error| Fault::Io { offset, error })?;
            self.next_batch = end;
            self.stepped = false;
            if batch.count > 0 {
                let dense_seq = batch.first_seq;
                let offset_of_first = offset + BATCH_HEADER_BYTES as u64;
                let spot = Spot {
                    offset: offset_of_first,
                    batch,
                    batch_offset: offset,
                    dense_seq,
                };
                self.next_record = Some((spot, batch.count));
            }
        }
        Ok(true)
    }

    /// Goes to the first record at or above `seq`, without verifying what it steps over.
    pub(crate) fn seek(&mut self, seq: Seq, limit: u64) -> Result<(), Fault> {
        while self.open_batch(limit)? {
            let Some((spot, _)) = self.next_record else {
                break;
            };
            let passes = |batch: &BatchHeader| !batch.sparse && batch.next_seq() <= seq;
            if passes(&spot.batch) || (spot.batch.sparse && !self.step_to(seq, limit)?) {
                self.next_record = None;
            } else {
                if !spot.batch.sparse {
                    self.step_to(seq, limit)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Steps inside the open batch; false if all of its records are below `seq`.
    fn step_to(&mut self, seq: Seq, limit: u64) -> Result<bool, Fault> {
        while let Some((spot, left)) = self.next_record {
            let own_seq = self.seq_at(&spot)?;
            if own_seq >= seq {
                return Ok(true);
            }
            let end = Self::batch_end(&spot).min(limit);
            let bytes = self.window.peek(spot.offset, end);
            // A length that does not fit is left to the verified walk, which names the place.
            let Some(frame_bytes) = frame_bytes_unverified(bytes, spot.batch.sparse) else {
                return Ok(true);
            };
            self.stepped = true;
            self.next_record = (left > 1).then_some((
                Spot {
                    offset: spot.offset + frame_bytes as u64,
                    dense_seq: own_seq.saturating_add(1),
                    ..spot
                },
                left - 1,
            ));
        }
        Ok(false)
    }

    /// The seq of the record at a spot. In a dense batch the header tells. In a sparse one the record
    /// does, and is verified before it is believed: a seq that is wrong would have the walk stop early
    /// or step over the record, and it would silently be gone.
    fn seq_at(&mut self, spot: &Spot) -> Result<Seq, Fault> {
        self.fetch(spot)?;
        if spot.batch.sparse {
            return Ok(self.at(spot)?.seq);
        }
        Ok(spot.dense_seq)
    }

    /// Steps over one record without verifying it; false if its length does not fit, which reading it
    /// will tell.
    pub(crate) fn skip(&mut self, limit: u64) -> Result<bool, Fault> {
        let (before, seq) = (self.next_record, self.peek_seq(limit)?);
        let Some(seq) = seq else { return Ok(false) };
        self.step_to(seq.saturating_add(1), limit)?;
        let offset = |place: Option<(Spot, u32)>| place.map(|(spot, _)| spot.offset);
        Ok(offset(before) != offset(self.next_record))
    }

    /// Where the next record is, for coming back to it with [`at`](Self::at).
    pub(crate) fn peek(&mut self, limit: u64) -> Result<Option<Spot>, Fault> {
        Ok(if self.open_batch(limit)? {
            self.next_record.map(|(spot, _)| spot)
        } else {
            None
        })
    }

    /// Where the batch of the next record starts.
    pub(crate) fn batch_offset(&mut self, limit: u64) -> Result<Option<u64>, Fault> {
        Ok(self.peek(limit)?.map(|spot| spot.batch_offset))
    }

    /// The seq of the next record.
    pub(crate) fn peek_seq(&mut self, limit: u64) -> Result<Option<Seq>, Fault> {
        let Some(spot) = self.peek(limit)? else {
            return Ok(None);
        };
        self.seq_at(&spot).map(Some)
    }

    /// The next record below `limit`, verified.
    #[inline]
    pub(crate) fn next(&mut self, limit: u64) -> Result<Option<RecordRef<'_>>, Fault> {
        if self.next_record.is_none() && !self.open_batch(limit)? {
            return Ok(None);
        }
        let Some((spot, left)) = self.next_record else {
            return Ok(None);
        };
        let end = Self::batch_end(&spot);
        self.fetch(&spot)?;
        match record::decode(
            self.window.peek(spot.offset, end),
            &self.context,
            &spot.batch,
            spot.dense_seq,
        ) {
            Ok((record, frame_bytes)) => {
                let offset = spot.offset + frame_bytes as u64;
                let dense_seq = record.seq.saturating_add(1);
                self.next_record = (left > 1).then_some((
                    Spot {
                        offset,
                        dense_seq,
                        ..spot
                    },
                    left - 1,
                ));
                Ok(Some(record))
            }
            Err(defect) => Err(self.first_fault(&spot, defect)),
        }
    }

    pub(crate) fn fetch(&mut self, spot: &Spot) -> Result<(), Fault> {
        let end = Self::batch_end(spot);
        match self.window.get(spot.offset, end - spot.offset, end) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::Io {
                offset: spot.offset,
                error,
            }),
        }
    }

    /// The place of a defect. Met behind records that were only stepped over, the true one may be
    /// theirs: then the batch is walked again, verifying.
    fn first_fault(&self, spot: &Spot, defect: Defect) -> Fault {
        let mut fault = Fault::Defect {
            offset: spot.offset,
            seq: spot.dense_seq,
            defect,
        };
        if self.stepped {
            let start = spot.batch_offset + BATCH_HEADER_BYTES as u64;
            let body = self.window.peek(start, Self::batch_end(spot));
            let mut records = Records::new(body, self.context, spot.batch);
            let mut seq = spot.batch.first_seq;
            loop {
                let offset = start + records.consumed_bytes() as u64;
                match records.next() {
                    Some(Ok(record)) => seq = record.seq.saturating_add(1),
                    Some(Err(defect)) => {
                        fault = Fault::Defect {
                            offset,
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

    /// The record at a spot found earlier, verified.
    pub(crate) fn at(&mut self, spot: &Spot) -> Result<RecordRef<'_>, Fault> {
        self.fetch(spot)?;
        let bytes = self.window.peek(spot.offset, Self::batch_end(spot));
        match record::decode(bytes, &self.context, &spot.batch, spot.dense_seq) {
            Ok((record, _)) => Ok(record),
            Err(defect) => Err(self.first_fault(spot, defect)),
        }
    }
}
