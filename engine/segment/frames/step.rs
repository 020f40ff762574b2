//! The walk past records that are not wanted: by their lengths, which the batch's header vouches for as a
//! whole, or by their seqs.

use super::Frames;
use crate::{format::record::frame_bytes_unverified, segment::Fault, types::Seq};

impl Frames {
    /// Goes to the first record at or above `seq`, without verifying what it steps over.
    pub(crate) fn seek(&mut self, seq: Seq, limit: u64) -> Result<(), Fault> {
        while self.go_on(limit)? {
            let batch = &self.next.batch;
            if batch.sparse {
                if self.step_sparse(seq)? {
                    break;
                }
            } else if batch.next_seq() > seq {
                self.step_dense(seq)?;
                break;
            } else {
                self.left = 0;
            }
        }
        Ok(())
    }

    /// Steps inside a sparse batch; false if all of its records are below `seq`.
    fn step_sparse(&mut self, seq: Seq) -> Result<bool, Fault> {
        while self.left > 0 {
            let own_seq = self.next_seq()?;
            if own_seq >= seq || !self.step_over(own_seq)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Steps inside a dense batch that holds `seq`, or to a length that does not fit.
    fn step_dense(&mut self, seq: Seq) -> Result<(), Fault> {
        while self.next.dense_seq < seq && self.step_over(self.next.dense_seq)? {}
        Ok(())
    }

    /// Steps over the next record, which has this seq, without verifying it; false if its length does
    /// not fit, which is left to the verified walk, as that names the place.
    pub(super) fn step_over(&mut self, seq: Seq) -> Result<bool, Fault> {
        if self.is_packed {
            self.open_next()?;
        }
        let bytes = self.window.peek(self.next.offset, self.records_end);
        let Some(frame_bytes) = frame_bytes_unverified(bytes, self.next.batch.sparse) else {
            return Ok(false);
        };
        self.stepped = true;
        self.next.offset += frame_bytes as u64;
        self.next.dense_seq = seq.saturating_add(1);
        self.left -= 1;
        Ok(true)
    }

    /// The seq of the next record, of which there is one. In a dense batch the header tells. In a
    /// sparse one the record does, and is verified before it is believed: a seq that is wrong would
    /// have the walk stop early or step over the record, and it would silently be gone.
    pub(super) fn next_seq(&mut self) -> Result<Seq, Fault> {
        let spot = self.next;
        if spot.batch.sparse {
            return Ok(self.at(&spot)?.0.seq);
        }
        Ok(spot.dense_seq)
    }

    /// Steps over one record without verifying it; false if its length does not fit, which reading it
    /// will tell.
    pub(crate) fn skip(&mut self, limit: u64) -> Result<bool, Fault> {
        match self.peek_seq(limit)? {
            Some(seq) => self.step_over(seq),
            None => Ok(false),
        }
    }
}
