//! The writable segment: what readers share of it, and what only the writer has.
//!
//! INVARIANTS: one `TailWriter` writes, under the append leadership; bytes below `written_end` never
//! change, so a reader that saw the watermark may read them without a lock. Space is filled with
//! zeros ahead of the end, under the same mutex that guards the allocated length, so that a fill
//! never runs over a frame.

use super::{Scan, Source, Summary, Tally, frames::View, index::Index, summary::push_index};
use crate::{
    format::{
        BatchHeader, IndexEntry, SegmentContext,
        footer::{Footer, INDEX_STEP_BYTES},
        header::HEADER_BYTES,
        manifest::TailEntry,
    },
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    types::SegmentId,
    vfs::{VfsFile, write_all_at},
};
use std::io;

/// Zeros are written in pieces of this many bytes, so that a waiting append waits for one piece.
const FILL_BYTES: u64 = 256 * 1024;

/// A segment that is, or until a moment ago was, the tail.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) id: SegmentId,
    pub(crate) context: SegmentContext,
    pub(crate) file: std::sync::Arc<dyn VfsFile>,
    index: RwLock<Vec<IndexEntry>>,
    written_end: AtomicU64,
    /// The file's length; bytes between the written end and here are zeros. Changed under `filling`.
    allocated_end: AtomicU64,
    filling: Mutex<()>,
    /// Held during a sync; whether one has failed.
    syncing: Mutex<bool>,
}

impl Tail {
    pub(crate) fn new(
        id: SegmentId,
        context: SegmentContext,
        file: std::sync::Arc<dyn VfsFile>,
        allocated_end: u64,
    ) -> Self {
        Self {
            id,
            context,
            file,
            index: RwLock::new(Vec::new()),
            written_end: AtomicU64::new(HEADER_BYTES as u64),
            allocated_end: AtomicU64::new(allocated_end),
            filling: Mutex::new(()),
            syncing: Mutex::new(false),
        }
    }

    /// How a manifest names it as the tail.
    pub(crate) fn entry(&self) -> TailEntry {
        TailEntry {
            id: self.id,
            salt: self.context.salt,
            base_seq: self.context.base_seq,
        }
    }

    /// Where the frames end that were written so far, in bytes.
    pub(crate) fn written_end(&self) -> u64 {
        self.written_end.load(Ordering::Acquire)
    }

    /// The file's length, as allocated or written.
    pub(crate) fn allocated_end(&self) -> u64 {
        self.allocated_end.load(Ordering::Acquire)
    }

    pub(crate) fn index_len(&self) -> usize {
        self.index.read().len()
    }

    pub(crate) fn index_entry(&self, number: usize) -> Option<IndexEntry> {
        self.index.read().get(number).copied()
    }

    pub(crate) fn view(self: &Arc<Self>) -> View {
        View {
            segment: self.id,
            context: self.context,
            source: Source::File(self.file.clone()),
            index: Index::Tail(self.clone()),
        }
    }

    /// Makes what was written before the call durable.
    ///
    /// INVARIANT: one at a time, and after one that failed none succeeds. The operating system tells
    /// a failed sync once, to whoever asked, and calls the lost pages clean: had a fill ahead or a
    /// seal asked, the next sync of an append would return success for bytes that are gone.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut failed = self.syncing.lock();
        if *failed {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        // DURABILITY: after this line every frame of this file that was written before it survives.
        let synced = self.file.sync();
        *failed = synced.is_err();
        synced
    }

    /// Whether a sync has failed, so that nothing may be appended here any more.
    pub(crate) fn sync_failed(&self) -> bool {
        *self.syncing.lock()
    }

    /// Fills with zeros up to `end`, so that appends overwrite allocated space instead of extending
    /// the file, and makes the new length durable.
    pub(crate) fn allocate(&self, end: u64) -> io::Result<()> {
        loop {
            let _filling = self.filling.lock();
            let allocated = self.allocated_end();
            if allocated >= end {
                return Ok(());
            }
            let next = end.min(allocated + FILL_BYTES);
            let zeros = vec![0; usize::try_from(next - allocated).unwrap_or(0)];
            // What a failed fill leaves behind are zeros or nothing: harmless either way.
            write_all_at(&*self.file, &zeros, allocated)?;
            // DURABILITY: after this line the new length survives, so an append's sync has no
            // metadata to write. Frames below are durable too, but nobody was told so.
            self.sync()?;
            self.allocated_end.store(next, Ordering::Release);
        }
    }
}

/// The writer's side of the tail.
#[derive(Debug)]
pub(crate) struct TailWriter {
    pub(crate) tail: Arc<Tail>,
    pub(crate) summary: Summary,
}

impl TailWriter {
    /// A writer at the end of what is there.
    pub(crate) fn new(tail: Arc<Tail>, summary: Summary, index: Vec<IndexEntry>) -> Self {
        *tail.index.write() = index;
        tail.written_end.store(summary.end, Ordering::Release);
        Self { tail, summary }
    }

    /// Writes a group of batches at the end with one positional write.
    ///
    /// On an error the file may hold part of it: the caller cuts back or poisons.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end <= self.tail.allocated_end() {
            return write_all_at(&*self.tail.file, bytes, offset);
        }
        // Past the allocated end, a fill in flight must not run over this write.
        let _filling = self.tail.filling.lock();
        self.tail.allocated_end.fetch_max(end, Ordering::AcqRel);
        write_all_at(&*self.tail.file, bytes, offset)
    }

    /// Takes what was written into the account and lets readers find it.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        batches: &[(u64, BatchHeader)],
        next_seq: u64,
        tally: &Tally,
    ) {
        let first_seq = batches
            .first()
            .map_or(next_seq, |(_, batch)| batch.first_seq);
        self.summary.add(bytes, first_seq, next_seq, tally);
        {
            let mut index = self.tail.index.write();
            for (offset, batch) in batches {
                push_index(&mut index, &self.tail.context, batch, *offset);
            }
        }
        self.tail
            .written_end
            .store(self.summary.end, Ordering::Release);
    }

    /// Takes in what a scan found that went on from here: frames that another process wrote.
    pub(crate) fn take_in(&mut self, scan: Scan) {
        let mut index = self.tail.index.write();
        for entry in scan.index {
            // The scan's index began anew, with an entry for whatever came first.
            let far = |last: &IndexEntry| {
                u64::from(entry.offset) >= u64::from(last.offset) + INDEX_STEP_BYTES
            };
            if index.last().is_none_or(far) {
                index.push(entry);
            }
        }
        drop(index);
        self.summary = scan.summary;
        self.tail
            .written_end
            .store(self.summary.end, Ordering::Release);
    }

    /// The same segment at the same place, without anything that changes in common.
    pub(crate) fn apart(&self) -> Self {
        let Tail {
            id, context, file, ..
        } = &*self.tail;
        let tail = Tail::new(*id, *context, file.clone(), self.tail.allocated_end());
        let index = self.tail.index.read().clone();
        Self::new(Arc::new(tail), self.summary.clone(), index)
    }

    /// Cuts the file back to the last good end known in memory, durably, so that a write that failed
    /// can never come back.
    pub(crate) fn cut_back(&self, end: u64) -> io::Result<()> {
        let _filling = self.tail.filling.lock();
        self.tail.file.set_len(end)?;
        self.tail.allocated_end.store(end, Ordering::Release);
        // DURABILITY: after this line nothing of the failed write survives anywhere.
        self.tail.sync()
    }

    /// The footer of the segment as it stands.
    pub(crate) fn footer(&self) -> (Footer, Vec<IndexEntry>) {
        let index = self.tail.index.read().clone();
        (self.summary.footer(index.len()), index)
    }
}
