//! The tolerant walk: every record that still verifies, and a gap for every range that does not.
//!
//! Used where damage is looked at on purpose: `verify`, `repair`, salvage reads. Batches count as
//! containers only: a record is kept if its own checksum, bound to salt and seq, holds, even when a
//! neighbour in its batch is lost.

mod clear;
mod packed;
mod resume;

use super::{Fault, Window, mend::with_one_bit_turned, witness::search_headers};
use crate::{
    error::Defect,
    format::{
        BatchHeader, RecordRef, SegmentContext, StoredHead,
        batch::{BATCH_HEADER_BYTES, Records, check_annex},
        record,
    },
    seal::KeyRing,
    types::Seq,
};
use clear::salvage_clear;
use packed::salvage_packed;
use resume::{SEARCH_BYTES_MAX, SEARCH_FACTOR, resume};
use std::ops::ControlFlow;

/// A range of bytes that does not verify, and the seqs that are missing with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) offset: u64,
    pub(crate) end_offset: u64,
    /// The first seq that may be missing, and the one after the last.
    pub(crate) first_seq: Seq,
    pub(crate) next_seq: Seq,
    pub(crate) defect: Defect,
    /// Whether nothing says that it was ever durable, nor what is behind it.
    pub(crate) torn: bool,
}

impl Gap {
    /// A packed batch that verifies, and whose records cannot be had here.
    pub(crate) fn unread(
        offset: u64,
        batch: &BatchHeader,
        head: &StoredHead,
        defect: Defect,
    ) -> Self {
        Self {
            offset,
            end_offset: offset + batch.batch_bytes(),
            first_seq: batch.first_seq,
            next_seq: head.next_seq(),
            defect,
            torn: false,
        }
    }
}

/// What the walk meets.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// A batch header that verifies, and where it starts; its records follow.
    Batch(u64, &'a BatchHeader),
    /// The head of a batch whose records are packed, which verifies, and where the batch starts. What they
    /// cannot be had for, if they cannot; else they follow, as if they were not packed.
    Packed(u64, &'a BatchHeader, &'a StoredHead, Option<Defect>),
    /// A record that verifies, and where it starts.
    Record(u64, RecordRef<'a>),
    /// Something that does not.
    Gap(Gap),
}

/// The part of a segment to walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) frames_end: u64,
    /// The seq expected first, and the one after the last record that should be there.
    pub(crate) first_seq: Seq,
    pub(crate) next_seq: Seq,
    /// Whether batches follow each other without gaps, as in every segment but a copy.
    pub(crate) dense: bool,
    /// Below it everything had been durable. Batches from there on were never confirmed: each counts
    /// whole and behind the one before, or it and all that follows do not.
    pub(crate) durable_seq: Seq,
    /// Whether the segment's base time is lost: then records without a time of their own have time 0.
    pub(crate) times_lost: bool,
}

impl Range {
    /// Of a segment whose end and times are known.
    pub(crate) fn known() -> Self {
        Self {
            offset: 0,
            frames_end: 0,
            first_seq: 0,
            next_seq: 0,
            dense: false,
            durable_seq: Seq::MAX,
            times_lost: false,
        }
    }
}

/// How much of a batch is looked at to mend its header, in bytes: enough for most first records.
const MEND_BYTES: u64 = 64 * 1024;

/// Walks a range of a segment to its end, whatever is in it.
pub(crate) fn salvage(
    window: &mut Window,
    (context, keys): (&SegmentContext, &KeyRing),
    range: Range,
    mut each: impl FnMut(Piece<'_>),
) -> Result<(), Fault> {
    let (mut offset, mut expected) = (range.offset, range.first_seq);
    let mut budget = SEARCH_BYTES_MAX;
    while offset < range.frames_end {
        if expected >= range.durable_seq
            && let Some(gap) = unconfirmed(window, context, &range, offset, expected)?
        {
            each(Piece::Gap(gap));
            return Ok(());
        }
        let bytes = window
            .get(offset, BATCH_HEADER_BYTES as u64, range.frames_end)
            .map_err(|error| Fault::Io { offset, error })?;
        let mut header = header_at(bytes, context, offset, expected, range.dense);
        if let Err(defect) = header {
            let bytes = window
                .get(offset, u64::MAX, range.frames_end.min(offset + MEND_BYTES))
                .map_err(|error| Fault::Io { offset, error })?;
            if let Some(batch) = mend(bytes, context, offset, (expected, range.dense)) {
                // Reported, though no record is missing.
                let end_offset = offset + BATCH_HEADER_BYTES as u64;
                let (first_seq, next_seq) = (expected, expected);
                each(Piece::Gap(Gap {
                    offset,
                    end_offset,
                    first_seq,
                    next_seq,
                    defect,
                    torn: false,
                }));
                header = Ok(batch);
            }
        }
        let defect = match header {
            Ok(mut batch) if offset + batch.batch_bytes() <= range.frames_end => {
                if range.times_lost {
                    batch.timestamp_ms = 0;
                }
                let end = offset + batch.batch_bytes();
                let bytes = window
                    .get(offset, batch.batch_bytes(), end)
                    .map_err(|error| Fault::Io { offset, error })?;
                each(Piece::Batch(offset, &batch));
                let body = bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default();
                let body_offset = offset + BATCH_HEADER_BYTES as u64;
                budget = budget.saturating_add(SEARCH_FACTOR.saturating_mul(batch.batch_bytes()));
                let how = (context, keys);
                expected = match batch.packed {
                    true => salvage_packed(body, offset, how, &batch, &mut budget, &mut each)?,
                    false => salvage_clear(body, offset, how, &batch, &mut budget, &mut each),
                };
                if let Some(defect) = annex_defect(&batch, body, context, offset) {
                    each(Piece::Gap(Gap {
                        offset: body_offset,
                        end_offset: end,
                        first_seq: expected,
                        next_seq: expected,
                        defect,
                        torn: false,
                    }));
                }
                offset = end;
                continue;
            }
            Ok(batch) => Defect::Truncated {
                needed_bytes: batch.batch_bytes(),
                available_bytes: range.frames_end - offset,
            },
            Err(defect) => defect,
        };
        let next = next_header(window, context, offset + 1, expected, range.frames_end)?;
        let next = next.filter(|(_, first_seq)| *first_seq <= range.durable_seq);
        let (end_offset, next_seq) = next.unwrap_or((range.frames_end, range.next_seq));
        let next_seq = next_seq.max(expected);
        let gap = Gap {
            offset,
            end_offset,
            first_seq: expected,
            next_seq,
            defect,
            torn: false,
        };
        each(Piece::Gap(gap));
        (offset, expected) = (end_offset, next_seq);
    }
    if expected < range.next_seq && range.dense {
        let defect = Defect::SequenceGap {
            expected: range.next_seq,
            found: expected,
        };
        each(Piece::Gap(Gap {
            offset,
            end_offset: offset,
            first_seq: expected,
            next_seq: range.next_seq,
            defect,
            torn: false,
        }));
    }
    Ok(())
}

/// What is wrong with the batch that should follow, of which nothing says that it was durable.
fn unconfirmed(
    window: &mut Window,
    context: &SegmentContext,
    range: &Range,
    offset: u64,
    expected: Seq,
) -> Result<Option<Gap>, Fault> {
    let get = |window: &mut Window, bytes| {
        let got = window.get(offset, bytes, range.frames_end);
        got.map(<[u8]>::to_vec)
            .map_err(|error| Fault::Io { offset, error })
    };
    let head = get(window, BATCH_HEADER_BYTES as u64)?;
    let wrong = match header_at(&head, context, offset, expected, range.dense) {
        Err(defect) => Some(defect),
        Ok(batch) => {
            let bytes = get(window, batch.batch_bytes())?;
            let len = usize::try_from(batch.batch_bytes()).unwrap_or(usize::MAX);
            match bytes.get(BATCH_HEADER_BYTES..len) {
                Some(body) if batch.count == 0 => annex_defect(&batch, body, context, offset),
                Some(body) if batch.packed => {
                    StoredHead::decode(body, &batch, context, offset).err()
                }
                Some(body) => Records::new(body, *context, batch).find_map(Result::err),
                None => Some(Defect::Truncated {
                    needed_bytes: batch.batch_bytes(),
                    available_bytes: range.frames_end - offset,
                }),
            }
        }
    };
    Ok(wrong.map(|defect| Gap {
        offset,
        end_offset: range.frames_end,
        first_seq: expected,
        next_seq: expected,
        defect,
        torn: true,
    }))
}

/// What is wrong with the body of a batch without records, if anything is.
fn annex_defect(
    batch: &BatchHeader,
    body: &[u8],
    context: &SegmentContext,
    offset: u64,
) -> Option<Defect> {
    let annex = usize::try_from(batch.body_bytes).ok();
    let annex = annex.and_then(|bytes| body.get(..bytes)).unwrap_or(body);
    (batch.count == 0)
        .then(|| check_annex(annex, context, offset).err())
        .flatten()
}

/// A header that verifies and does not go back; behind a gap it may be ahead of what was expected.
fn header_at(
    bytes: &[u8],
    context: &SegmentContext,
    offset: u64,
    expected: Seq,
    dense: bool,
) -> Result<BatchHeader, Defect> {
    let batch = BatchHeader::decode(bytes, context, offset)?;
    if batch.first_seq < expected || (dense && batch.first_seq != expected) {
        return Err(Defect::SequenceGap {
            expected,
            found: batch.first_seq,
        });
    }
    Ok(batch)
}

/// A header with one bit turned, if that makes it verify and the first record behind it too: then
/// the records of the batch need not be lost with it.
fn mend(
    bytes: &[u8],
    context: &SegmentContext,
    offset: u64,
    (expected, dense): (Seq, bool),
) -> Option<BatchHeader> {
    let (head, body) = bytes.split_first_chunk::<BATCH_HEADER_BYTES>()?;
    with_one_bit_turned(head, |turned| {
        let batch = header_at(turned, context, offset, expected, dense).ok()?;
        let whole = match usize::try_from(batch.body_bytes) {
            _ if batch.count == 0 => true,
            Ok(bytes) if batch.packed => {
                let body = body.get(..bytes).unwrap_or_default();
                StoredHead::decode(body, &batch, context, offset).is_ok()
            }
            _ => record::decode(body, context, &batch, batch.first_seq).is_ok(),
        };
        whole.then_some(batch)
    })
}

/// The next place where a batch header verifies, and its first seq.
fn next_header(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    expected: Seq,
    frames_end: u64,
) -> Result<Option<(u64, Seq)>, Fault> {
    let mut found = None;
    search_headers(window, context, from, frames_end, |offset, batch| {
        let first_seq = batch.map_or(expected, |batch| batch.first_seq);
        if first_seq < expected {
            return ControlFlow::Continue(());
        }
        found = Some((offset, first_seq));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The records of one batch whose header verified; gives the seq after the last it accounts for.
fn salvage_batch(
    body: &[u8],
    body_offset: u64,
    context: &SegmentContext,
    batch: &BatchHeader,
    budget: &mut u64,
    each: &mut impl FnMut(Piece<'_>),
) -> Seq {
    let (mut at, mut seq, mut left) = (0, batch.first_seq, u64::from(batch.count));
    let of_batch = SEARCH_BYTES_MAX.min(*budget);
    let mut rest_of_it = of_batch;
    while left > 0 {
        let rest = body.get(at..).unwrap_or_default();
        let defect = match record::decode(rest, context, batch, seq) {
            Ok((record, frame_bytes)) => {
                each(Piece::Record(body_offset + at as u64, record));
                (at, seq, left) = (at + frame_bytes, record.seq.saturating_add(1), left - 1);
                continue;
            }
            Err(defect) => defect,
        };
        let resumed = resume(rest, context, batch, (seq, left), &mut rest_of_it);
        let (skip, next_seq, lost) = resumed.unwrap_or((rest.len(), seq + left, left));
        each(Piece::Gap(Gap {
            offset: body_offset + at as u64,
            end_offset: body_offset + (at + skip) as u64,
            first_seq: seq,
            next_seq,
            defect,
            torn: false,
        }));
        (at, seq, left) = (at + skip, next_seq, left - lost);
    }
    *budget -= of_batch - rest_of_it;
    if batch.count > 0 && at < body.len() {
        each(Piece::Gap(Gap {
            offset: body_offset + at as u64,
            end_offset: body_offset + body.len() as u64,
            first_seq: seq,
            next_seq: seq,
            defect: Defect::Malformed("batch length"),
            torn: false,
        }));
    }
    seq
}
