//! A walk over a range of the log, in either direction, over one snapshot of the catalog.
//!
//! Where another process writes, its compaction or trim may take files away under a walk. Then it goes
//! on over the newer set, which lacks records for the sake of newer ones behind the end that the walk had.
//!
//! INVARIANT: so whatever a set shows above what the walk was to show, and that its range includes, is
//! added to what is left when the set is taken over, in whichever direction it goes: of each key the walk
//! shows the newest record that one of the sets has.

use super::{Record, follow::Follower, newer, part_at, reverse::Reverse};
use crate::{
    catalog::Catalog,
    error::{Error, Op, Result},
    format::RecordRef,
    segment::{Fault, Frames, Window},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    types::{SegmentId, Seq},
};
use bytes::Bytes;
use std::{fmt, iter::FusedIterator};

/// The records of a range; from [`Log::scan`](crate::Log::scan).
///
/// As an `Iterator` it gives records that own a reference to their bytes, from either end;
/// [`next_ref`](Self::next_ref) lends them instead, which is faster. After an error it ends.
///
/// It shows the log as of one moment. In another process than the writer's, compaction may take files
/// away under a walk; then it goes on in the new ones. If its range is open, it also shows what was
/// appended up to that moment, so that no key is without its value: backwards, such newer records come
/// before the walk goes on below, which is the one case in which a record comes after an older one.
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
    /// What is left, or the lowest part of it: from the first to before the next.
    first: Seq,
    next: Seq,
    /// What newer sets added to that and a walk backwards left a gap before, lowest first.
    above: Vec<(Seq, Seq)>,
    /// The end of all that was to be shown so far, and the end of the range that was asked for.
    end: Seq,
    limit: Seq,
    /// Set if it is one of several that are a range together: the end of all that they are to show.
    shared_end: Option<Arc<AtomicU64>>,
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
        (first, next): (Seq, Seq),
        limit: Seq,
    ) -> Self {
        Self {
            catalog,
            follower,
            first,
            next,
            above: Vec::new(),
            end: next,
            limit,
            shared_end: None,
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

    /// The same, as one of several that are a range together.
    pub(super) fn one_of(mut self, shared_end: Arc<AtomicU64>) -> Self {
        self.shared_end = Some(shared_end);
        self
    }

    /// The range of seqs that is left to be read.
    #[must_use]
    pub fn remaining(&self) -> std::ops::Range<Seq> {
        let next = self.above.last().map_or(self.next, |(_, next)| *next);
        self.first..next.max(self.first)
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
                self.above.clear();
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
            && self.above.is_empty()
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
            self.take_newer(error)?;
            let head_seq = self.catalog.head_seq;
            if self.first < head_seq {
                return Err(Error::trimmed(Op::Read, self.first, head_seq));
            }
            match self.advance() {
                Err(next) => error = next,
                found => return found,
            }
        }
    }

    /// Goes on at the same record in the segments that there are by now: seqs are never reused, so no
    /// record comes twice, and none is left out that is still in the log.
    fn take_newer(&mut self, error: Error) -> Result<()> {
        self.catalog = newer(self.follower.as_ref(), &self.catalog, error)?;
        (self.forward, self.backward) = (None, None);
        let end = self.catalog.durable_seq.min(self.limit);
        if let Some(shared) = &self.shared_end {
            // Of those that are a range together one shows it, the first that takes the newer set.
            self.end = shared.fetch_max(end, Ordering::AcqRel);
        }
        let start = self.end.max(self.catalog.head_seq);
        if start < end {
            match self.above.last_mut() {
                None if self.next == self.end => self.next = end,
                Some((_, next)) if *next == self.end => *next = end,
                _ => self.above.push((start, end)),
            }
            self.end = end;
            self.beyond = self.catalog.beyond.clone();
        }
        Ok(())
    }

    /// Brings the forward walk in front of the next record, if there is one left; false at the end.
    #[inline(never)]
    fn advance(&mut self) -> Result<bool> {
        loop {
            if self.advance_below_next()? {
                return Ok(true);
            }
            if self.above.is_empty() {
                return Ok(false);
            }
            (self.first, self.next) = self.above.remove(0);
            self.forward = None;
        }
    }

    /// The same as far as the lowest part of what is left goes.
    fn advance_below_next(&mut self) -> Result<bool> {
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
            let (limit, segment) = (forward.limit, forward.segment);
            let fault = |fault: Fault| fault.into_error(Op::Read, segment);
            if forward.frames.go_on(limit).map_err(fault)? {
                if self.above.is_empty() {
                    return Ok(true); // Whether it is behind the end shows when it is read.
                }
                let seq = forward.frames.peek_seq(limit).map_err(fault)?;
                return Ok(seq.is_some_and(|seq| seq < self.next));
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
        loop {
            if let Some(error) = self.beyond.take() {
                return Err(error);
            }
            match self.step_back() {
                Err(error) => self.take_newer(error)?,
                found => return found,
            }
        }
    }

    fn step_back(&mut self) -> Result<Option<Record>> {
        let head_seq = self.catalog.head_seq;
        loop {
            let (first, next) = match self.above.last_mut() {
                Some((first, next)) => (*first, next),
                None => (self.first, &mut self.next),
            };
            if first >= *next {
                self.backward = None;
                match self.above.pop() {
                    Some(_) => continue,
                    None => return Ok(None),
                }
            }
            if self.backward.is_none() {
                self.backward = Reverse::before(&self.catalog, first, *next)?;
            }
            let Some(reverse) = self.backward.as_mut() else {
                // The head may have passed the walk.
                if first < head_seq {
                    return Err(Error::trimmed(Op::Read, first, head_seq));
                }
                *next = first;
                continue;
            };
            match reverse.next()? {
                Some(record) if record.seq() < head_seq && first < head_seq => {
                    // And a part of what is below it may still be there.
                    return Err(Error::trimmed(Op::Read, first, head_seq));
                }
                // The walk forwards has shown it since this one began, and between them is a gap.
                Some(record) if record.seq() < first => *next = first,
                Some(record) => {
                    *next = record.seq();
                    return Ok(Some(record));
                }
                None => {
                    *next = (*next).min(reverse.base_seq());
                    self.backward = None;
                }
            }
        }
    }

    fn end(&mut self) {
        (self.first, self.beyond) = (self.next, None);
        self.above.clear();
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
