//! Dividing a range among walks that go at the same time: by bytes, at the borders of segments and at the
//! entries of their indexes.
//!
//! INVARIANT: together the walks are the range, whatever an index says: a cut is a seq, and each walk finds
//! its first record as any other does.

use super::{Reader, Scan, resolve};
use crate::{
    catalog::Catalog,
    error::Result,
    format::header::HEADER_BYTES,
    segment::{Sealed, Tail, View},
    sync::{Arc, atomic::AtomicU64},
    types::Seq,
};
use std::ops::{Range, RangeBounds};

/// What a segment has of the range.
struct Piece<'a> {
    seqs: Range<Seq>,
    bytes: Range<u64>,
    of: Of<'a>,
}

enum Of<'a> {
    Sealed(&'a Arc<Sealed>),
    Tail(&'a Arc<Tail>),
}

impl Piece<'_> {
    /// What `read` makes of the segment; `None` if it cannot be opened, which a walk over it will tell.
    fn with<T>(&self, read: impl Fn(&View) -> T) -> Option<T> {
        match self.of {
            Of::Sealed(segment) => segment.with(|loaded| read(&loaded.view)).ok(),
            Of::Tail(tail) => Some(read(&tail.view())),
        }
    }

    /// Leaves out what is not in the range.
    fn clip(mut self, range: &Range<Seq>) -> Self {
        let offset_of = |view: &View, seq: Seq| {
            let delta = seq.saturating_sub(view.context.base_seq);
            let entry = view.index.floor(delta);
            entry.map_or(HEADER_BYTES as u64, |entry| entry.offset.into())
        };
        if self.seqs.start < range.start {
            let start = self.with(|view| offset_of(view, range.start));
            (self.seqs.start, self.bytes.start) = (range.start, start.unwrap_or(self.bytes.start));
        }
        if self.seqs.end > range.end {
            let end = self.with(|view| offset_of(view, range.end));
            (self.seqs.end, self.bytes.end) = (range.end, end.unwrap_or(self.bytes.end));
        }
        self
    }

    fn byte_count(&self) -> u64 {
        self.bytes.end.saturating_sub(self.bytes.start)
    }

    /// The seq that begins at the entry of the index next to an offset.
    fn seq_near(&self, offset: u64) -> Option<Seq> {
        self.with(|view| {
            let (mut low, mut high) = (0, view.index.entry_count());
            while low < high {
                let middle = low + (high - low) / 2;
                match view.index.entry(middle) {
                    Some(entry) if u64::from(entry.offset) < offset => low = middle + 1,
                    _ => high = middle,
                }
            }
            let last = view.index.entry_count().checked_sub(1)?;
            let entry = view.index.entry(low.min(last))?;
            view.context.base_seq.checked_add(entry.seq_delta.into())
        })?
    }
}

fn pieces<'a>(catalog: &'a Catalog, range: &Range<Seq>) -> Vec<Piece<'a>> {
    let sealed = catalog.sealed.iter().map(|segment| Piece {
        seqs: segment.entry.base_seq..segment.entry.next_seq,
        bytes: HEADER_BYTES as u64..segment.entry.frames_end,
        of: Of::Sealed(segment),
    });
    let bases = catalog
        .tails
        .iter()
        .skip(1)
        .map(|tail| tail.context.base_seq);
    let unsealed = catalog.tails.iter().zip(bases.chain([Seq::MAX]));
    let unsealed = unsealed.map(|(tail, next_seq)| Piece {
        seqs: tail.context.base_seq..next_seq,
        bytes: HEADER_BYTES as u64..tail.written_end(),
        of: Of::Tail(tail),
    });
    let overlaps = |it: &Piece<'_>| it.seqs.start < range.end && it.seqs.end > range.start;
    let all = sealed.chain(unsealed).filter(overlaps);
    all.map(|piece| piece.clip(range)).collect()
}

/// Where to cut a range into at most `count` parts, in order.
fn cuts(catalog: &Catalog, range: &Range<Seq>, count: u64) -> Vec<Seq> {
    let pieces = pieces(catalog, range);
    let total_bytes: u64 = pieces.iter().map(Piece::byte_count).sum();
    let (mut cuts, mut last) = (Vec::new(), range.start);
    let (mut number, mut passed_bytes) = (1, 0);
    for piece in &pieces {
        let byte_count = piece.byte_count();
        let share = |number| total_bytes / count * number + total_bytes % count * number / count;
        while number < count && share(number) < passed_bytes + byte_count {
            let offset = piece.bytes.start + share(number) - passed_bytes;
            let found = piece.seq_near(offset);
            let cut = found.map_or(piece.seqs.start, |seq| {
                seq.clamp(piece.seqs.start, piece.seqs.end)
            });
            if cut > last && cut < range.end {
                cuts.push(cut);
                last = cut;
            }
            number += 1;
        }
        passed_bytes += byte_count;
    }
    cuts
}

impl Reader {
    /// Divides a range into up to `count` scans that together are that range, each beginning where the one
    /// before ends, with about the same number of bytes. They are of one moment, and each goes its own way:
    /// to threads, or to whatever shares out work.
    ///
    /// There are fewer where the range is small: cuts are made at the entries of the index, one for each 4 KiB or
    /// each batch that is larger. Each scan takes the memory of an ordinary one.
    ///
    /// ```
    /// use cairnlog::{Log, Result};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// for number in 0..1000 {
    ///     log.append(format!("{number}"))?;
    /// }
    /// let bytes = std::thread::scope(|scope| {
    ///     let scans = log.reader().split(.., 4)?.into_iter();
    ///     let threads: Vec<_> = scans
    ///         .map(|mut scan| {
    ///             scope.spawn(move || {
    ///                 let mut bytes = 0;
    ///                 while let Some(record) = scan.next_ref() {
    ///                     bytes += record?.value.map_or(0, <[u8]>::len);
    ///                 }
    ///                 Result::Ok(bytes)
    ///             })
    ///         })
    ///         .collect();
    ///     let sums = threads.into_iter().map(|thread| thread.join().unwrap());
    ///     sums.sum::<Result<usize>>()
    /// })?;
    /// assert_eq!(bytes, 2890);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn split(&self, range: impl RangeBounds<Seq>, count: usize) -> Result<Vec<Scan>> {
        let (end, catalog) = self.snapshot()?;
        let (first, limit) = resolve(range, catalog.head_seq)?;
        let next = limit.min(end);
        let mut starts = vec![first];
        starts.extend(cuts(&catalog, &(first..next), count.max(1) as u64));
        let ends = starts.iter().skip(1).copied().chain([next]);
        let shared_end = Arc::new(AtomicU64::new(next));
        let scans = starts.iter().zip(ends).map(|(start, end)| {
            let walk = self.walk(catalog.clone(), (*start, end), limit);
            walk.one_of(shared_end.clone())
        });
        let mut scans: Vec<_> = scans.collect();
        let beyond = catalog.beyond.clone().filter(|_| limit > end);
        let last = scans.pop().map(|last| last.followed_by(beyond));
        scans.extend(last);
        Ok(scans)
    }
}
