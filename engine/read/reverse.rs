//! Walking a segment backwards: the sparse index cuts it into blocks, each is walked forwards to find
//! where its records start, and read from its end.
//!
//! INVARIANT: of a block so much is kept at a time that its size does not show. One batch may be a block
//! of millions of records: then a mark stands for a run of them, which is walked again, into marks of its
//! own, when its turn comes. That is [`MARKS_MAX`] marks for each power of half of it that a block has
//! records, four at most.

use super::{Record, part_at};
use crate::{
    catalog::Catalog,
    error::{Op, Result},
    segment::{Fault, Frames, Spot, View},
    types::Seq,
};

/// Kept of one walk, at most. A block of small batches, as appends make them, has fewer records.
const MARKS_MAX: usize = 1024;

/// Where a run of records starts, that has been walked past.
#[derive(Clone, Copy)]
struct Mark {
    spot: Spot,
    /// Records left of its batch there.
    left: u32,
    /// Records of the run.
    count: u64,
}

/// The records of one segment below a seq, newest first.
pub(super) struct Reverse {
    view: View,
    frames: Frames,
    limit: u64,
    /// Records at or above are not wanted.
    before: Seq,
    /// Records below are not wanted.
    first: Seq,
    /// The block to be walked next, counted in index entries; 0 is the start of the segment.
    block: Option<usize>,
    /// What is left of the current block, oldest first.
    marks: Vec<Mark>,
    /// Where it ends, in bytes.
    end: u64,
}

impl Reverse {
    /// The segment that holds the last record below `next`, if there is one at or above `first`.
    pub(super) fn before(catalog: &Catalog, first: Seq, next: Seq) -> Result<Option<Self>> {
        let Some(last) = next.checked_sub(1) else {
            return Ok(None);
        };
        let mut part = part_at(catalog, last)?;
        // `last` may lie in a gap before the segment found: then its predecessor is wanted.
        if part
            .as_ref()
            .is_none_or(|part| part.view.context.base_seq > last)
        {
            let number = catalog
                .sealed
                .partition_point(|segment| segment.entry.base_seq <= last);
            let Some(below) = number.checked_sub(1).and_then(|n| catalog.sealed.get(n)) else {
                return Ok(None);
            };
            let Some(seq) = below.entry.next_seq.checked_sub(1) else {
                return Ok(None);
            };
            part = part_at(catalog, seq)?;
        }
        let Some(part) = part else { return Ok(None) };
        let delta = last.saturating_sub(part.view.context.base_seq);
        let block = part.view.index.floor_count(delta);
        let frames = Frames::new(&part.view, 0);
        Ok(Some(Self {
            limit: part.limit,
            frames,
            before: next,
            first,
            block: Some(block),
            marks: Vec::new(),
            end: part.limit,
            view: View::clone(&part.view),
        }))
    }

    /// The lowest seq that the segment may hold.
    pub(super) fn base_seq(&self) -> Seq {
        self.view.context.base_seq
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        let id = self.view.segment;
        let fault = |fault: Fault| fault.into_error(Op::Read, id);
        loop {
            if let Some(mark) = self.marks.pop() {
                if mark.count > 1 {
                    self.frames
                        .go_back(&mark.spot, mark.left)
                        .and_then(|()| self.mark(mark.count))
                        .map_err(fault)?;
                    continue;
                }
                let (record, chunk) = self.frames.at(&mark.spot).map_err(fault)?;
                let wanted = record.seq >= self.first;
                self.before = record.seq;
                return Ok(wanted.then(|| Record::keep(&record, chunk)));
            }
            let Some(block) = self.block else {
                return Ok(None);
            };
            self.block = block.checked_sub(1);
            self.walk(block).map_err(fault)?;
        }
    }

    /// Marks the records between an index entry and the one after it.
    fn walk(&mut self, mut block: usize) -> Result<(), Fault> {
        let ends = |view: &View, block: usize| {
            let from = block
                .checked_sub(1)
                .and_then(|number| view.index.entry(number));
            (from, view.index.entry(block))
        };
        let (from, to) = ends(&self.view, block);
        if !self.view.is_true(from, to, self.limit) {
            // Of what was walked before, all ends were as they should be.
            self.view = self.view.indexed_anew(self.limit)?;
            let last = self.before.saturating_sub(1);
            block = (self.view.index).floor_count(last.saturating_sub(self.base_seq()));
            self.block = block.checked_sub(1);
        }
        let index = &self.view.index;
        let start = match block.checked_sub(1) {
            None => crate::format::header::HEADER_BYTES as u64,
            Some(number) => match index.entry(number) {
                Some(entry) => entry.offset.into(),
                None => return Ok(()),
            },
        };
        let end = index
            .entry(block)
            .map_or(self.limit, |entry| entry.offset.into());
        self.end = end.min(self.limit);
        self.frames = Frames::new(&self.view, start);
        self.mark(u64::MAX)
    }

    /// Marks so many records from where the walk is, or those up to the end of the block. They are verified
    /// when they are read; the walk's window then already holds them.
    fn mark(&mut self, count_max: u64) -> Result<(), Fault> {
        let (begun, end) = (self.marks.len(), self.end);
        let (mut count, mut run) = (0_u64, 1_u64);
        // Not even a look at what follows the last: bytes behind the watermark may be gone by now,
        // if the sync that should have covered them failed.
        while count < count_max
            && let Some(seq) = self.frames.peek_seq(end)?
            && seq < self.before
        {
            if !count.is_multiple_of(run) {
                self.marks
                    .last_mut()
                    .into_iter()
                    .for_each(|it| it.count += 1);
            } else if let Some(spot) = self.frames.peek(end)? {
                let left = self.frames.left();
                self.marks.push(Mark {
                    spot,
                    left,
                    count: 1,
                });
            }
            count += 1;
            if seq.saturating_add(1) >= self.before || !self.frames.skip(end)? {
                break;
            }
            if self.marks.len() - begun > MARKS_MAX {
                self.join(begun);
                run *= 2;
            }
        }
        Ok(())
    }

    /// Makes one run of each two neighbours.
    fn join(&mut self, begun: usize) {
        for runs in self.marks.split_off(begun).chunks(2) {
            let count = runs.iter().map(|it| it.count).sum();
            let first = runs.first().map(|first| Mark { count, ..*first });
            self.marks.extend(first);
        }
    }
}
