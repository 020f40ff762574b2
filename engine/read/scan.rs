//! A walk over a range of the log, in either direction, over one snapshot of the catalog.

use super::{Record, follow::Follower, newer, part_at, reverse::Reverse};
use crate::{
    catalog::Catalog,
    error::{Error, Op, Result},
    format::RecordRef,
    segment::{Fault, Frames, Window},
    sync::Arc,
    types::{SegmentId, Seq},
};
use bytes::Bytes;
use std::{fmt, iter::FusedIterator};

/// The records of a range; from [`Log::scan`](crate::Log::scan).
///
/// As an `Iterator` it gives records that own a reference to their bytes, from either end;
/// [`next_ref`](Self::next_ref) lends them instead, which is faster. After an error it ends.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append_batch(["a", "b", "c"])?;
/// let newest_first: Result<Vec<_>, _> = log.scan(..)?.rev().collect();
/// assert_eq!(newest_first?.iter().map(|record| record.seq()).collect::<Vec<_>>(), [2, 1, 0]);
/// # Ok::<(), cairnlog::Error>(())
/// ```
pub struct Scan {
    catalog: Arc<Catalog>,
    /// Set if another process writes, which may take segments away under the walk.
    follower: Option<Arc<Follower>>,
    /// What is left: from the first to before the next.
    first: Seq,
    next: Seq,
    /// Whether the range ends where the log did, and was not yet walked from there.
    open_end: bool,
    forward: Option<Forward>,
    backward: Option<Reverse>,
    /// What a walk to the end of the range ends with, as that lies where only a newer program can read.
    beyond: Option<Error>,
}

/// A walk forwards over one segment.
struct Forward {
    frames: Frames,
    segment: SegmentId,
    /// The seq after its last record, if that is fixed.
    next_seq: Option<Seq>,
    /// Where its readable frames end, in bytes.
    limit: u64,
}

impl Forward {
    fn starting_at(catalog: &Catalog, seq: Seq) -> Result<Option<Self>> {
        Ok(part_at(catalog, seq)?.map(|part| {
            let delta = seq.saturating_sub(part.view.context.base_seq);
            let window = Window::new(&part.view.source);
            let entry = part.view.index.floor(delta);
            Self {
                frames: Frames::from_entry(window, &part.view, entry, (delta, part.limit)),
                segment: part.view.segment,
                next_seq: part.next_seq,
                limit: part.limit,
            }
        }))
    }

    #[cold]
    fn error(&self, fault: Fault) -> Error {
        fault.into_error(Op::Read, self.segment)
    }
}

impl Scan {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        follower: Option<Arc<Follower>>,
        first: Seq,
        next: Seq,
        open_end: bool,
    ) -> Self {
        Self {
            catalog,
            follower,
            first,
            next,
            open_end,
            forward: None,
            backward: None,
            beyond: None,
        }
    }

    /// The same, with an error behind its last record.
    pub(super) fn followed_by(mut self, beyond: Option<Error>) -> Self {
        self.beyond = beyond;
        self
    }

    /// The range of seqs that is left to be read.
    #[must_use]
    pub fn remaining(&self) -> std::ops::Range<Seq> {
        self.first..self.next.max(self.first)
    }

    /// Lends the next record; it lives until the next call.
    #[inline]
    pub fn next_ref(&mut self) -> Option<Result<RecordRef<'_>>> {
        self.lend().map(|lent| lent.map(|(record, _)| record))
    }

    /// The next record and the chunk that it lies in.
    #[inline(always)]
    fn lend(&mut self) -> Option<Result<(RecordRef<'_>, &Bytes)>> {
        match self.go_on() {
            Ok(true) => {}
            Ok(false) => return self.beyond.take().map(Err),
            Err(error) => {
                self.end();
                return Some(Err(error));
            }
        }
        let forward = self.forward.as_mut()?;
        match forward.frames.next(self.next) {
            Ok(Some((record, chunk))) => {
                self.first = record.seq.saturating_add(1);
                Some(Ok((record, chunk)))
            }
            Ok(None) => None,
            Err(fault) => {
                (self.first, self.beyond) = (self.next, None);
                Some(Err(fault.into_error(Op::Read, forward.segment)))
            }
        }
    }

    /// As [`advance`](Self::advance), over a newer catalog if another process has changed the segments.
    #[inline(always)]
    fn go_on(&mut self) -> Result<bool> {
        if self.first < self.next
            && let Some(forward) = &self.forward
            && forward.frames.is_in_batch()
        {
            return Ok(true);
        }
        match self.advance() {
            Err(error) => self.go_on_after(error),
            found => found,
        }
    }

    #[cold]
    fn go_on_after(&mut self, mut error: Error) -> Result<bool> {
        loop {
            self.start_over(error)?;
            match self.advance() {
                Err(next) => error = next,
                found => return found,
            }
        }
    }

    /// Goes on at the same record in the segments that there are by now: seqs are never reused, so no
    /// record comes twice, and none is left out that is still in the log.
    fn start_over(&mut self, error: Error) -> Result<()> {
        self.catalog = newer(self.follower.as_ref(), &self.catalog, error)?;
        self.forward = None;
        if self.open_end {
            // Compaction may have dropped records for newer ones behind the end: so those are shown.
            self.next = self.next.max(self.catalog.durable_seq);
        }
        let head_seq = self.catalog.head_seq;
        if self.first < head_seq {
            return Err(Error::trimmed(Op::Read, self.first, head_seq));
        }
        Ok(())
    }

    /// Brings the forward walk in front of the next record, if the range may have one; false at its end.
    #[inline(never)]
    fn advance(&mut self) -> Result<bool> {
        while self.first < self.next {
            if self.forward.is_none() {
                let Some(mut forward) = Forward::starting_at(&self.catalog, self.first)? else {
                    return Ok(false);
                };
                // The range ends in a gap before this segment: what is in it may not be durable yet.
                if forward.frames.base_seq() >= self.next {
                    return Ok(false);
                }
                let sought = forward.frames.seek(self.first, forward.limit);
                sought.map_err(|fault| forward.error(fault))?;
                self.forward = Some(forward);
            }
            let Some(forward) = self.forward.as_mut() else {
                return Ok(false);
            };
            if forward
                .frames
                .go_on(forward.limit)
                .map_err(|fault| fault.into_error(Op::Read, forward.segment))?
            {
                return Ok(true);
            }
            // The segment has no more. Seqs up to its end are gone, whatever they were.
            let Some(next_seq) = forward.next_seq else {
                return Ok(false);
            };
            self.first = self.first.max(next_seq);
            self.forward = None;
        }
        Ok(false)
    }

    /// As [`step_back`](Self::step_back), over a newer catalog if another process has changed the
    /// segments.
    fn next_back_record(&mut self) -> Result<Option<Record>> {
        if let Some(error) = self.beyond.take() {
            return Err(error);
        }
        self.open_end = false;
        loop {
            match self.step_back() {
                Err(error) => {
                    self.catalog = newer(self.follower.as_ref(), &self.catalog, error)?;
                    self.backward = None;
                }
                found => return found,
            }
        }
    }

    fn step_back(&mut self) -> Result<Option<Record>> {
        let head_seq = self.catalog.head_seq;
        while self.first < self.next {
            if self.backward.is_none() {
                self.backward = Reverse::before(&self.catalog, self.first, self.next)?;
            }
            let Some(reverse) = self.backward.as_mut() else {
                // The head may have passed the walk.
                let trimmed = || Error::trimmed(Op::Read, self.first, head_seq);
                return (self.first >= head_seq).then_some(None).ok_or_else(trimmed);
            };
            match reverse.next()? {
                Some(record) if record.seq() < head_seq && self.first < head_seq => {
                    // And a part of what is below it may still be there.
                    return Err(Error::trimmed(Op::Read, self.first, head_seq));
                }
                Some(record) => {
                    self.next = record.seq();
                    return Ok((record.seq() >= self.first).then_some(record));
                }
                None => {
                    self.next = self.next.min(reverse.base_seq());
                    self.backward = None;
                }
            }
        }
        Ok(None)
    }

    fn end(&mut self) {
        (self.first, self.beyond) = (self.next, None);
    }
}

impl Iterator for Scan {
    type Item = Result<Record>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let lent = self.lend()?;
        Some(lent.map(|(record, chunk)| Record::keep(&record, chunk)))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self.next_back_record() {
            Ok(record) => record.map(Ok),
            Err(error) => {
                self.end();
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for Scan {}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
