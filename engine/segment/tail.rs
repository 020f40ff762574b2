//! The writable segment: what readers share of it, and what only the writer has.
//!
//! INVARIANTS: one `TailWriter` writes, under the append leadership; bytes below `written_end` never
//! change, so a reader that saw the watermark may read them without a lock.

use super::{
    Scan, Source, Space, Summary, Tally, View, Way,
    index::Index,
    summary::{next_entry, push_index},
};
use crate::{
    format::{
        BatchHeader, IndexEntry, SegmentContext, SegmentHeader, footer::Footer,
        header::HEADER_BYTES, manifest::TailEntry,
    },
    seal::{Key, KeyId, KeyRing},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    types::SegmentId,
};
use std::io;

/// A segment that is, or until a moment ago was, the tail.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) id: SegmentId,
    pub(crate) context: SegmentContext,
    pub(crate) space: Arc<Space>,
    /// Whether its header says that batches may be sealed.
    pub(crate) sealed: bool,
    /// Whether it says that they may be packed.
    pub(crate) packed_appends: bool,
    /// What they are opened with, and sealed under what the provider says is current when it is begun.
    keys: KeyRing,
    pub(crate) sealing: Option<(KeyId, Key)>,
    index: RwLock<Vec<IndexEntry>>,
    written_end: AtomicU64,
}

impl Tail {
    pub(crate) fn new(header: &SegmentHeader, space: Arc<Space>, keys: &KeyRing) -> Self {
        Self {
            id: header.id,
            context: header.context(),
            space,
            sealed: header.sealed,
            packed_appends: header.packed_appends,
            keys: keys.clone(),
            sealing: header.sealed.then(|| keys.current()).flatten(),
            index: RwLock::new(Vec::new()),
            written_end: AtomicU64::new(HEADER_BYTES as u64),
        }
    }

    /// Sealed under the same key as the one before, if the provider has not got its current one just now.
    pub(crate) fn or_sealing(mut self, before: Option<(KeyId, Key)>) -> Self {
        if self.sealed && self.sealing.is_none() {
            self.sealing = before;
        }
        self
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
            source: Source::File(self.space.file().clone()),
            index: Index::Tail(self.clone()),
            sealed: self.sealed,
            packed_appends: self.packed_appends,
            keys: self.keys.clone(),
        }
    }
}

/// The writer's side of the tail.
#[derive(Debug)]
pub(crate) struct TailWriter {
    pub(crate) tail: Arc<Tail>,
    pub(crate) summary: Summary,
    /// No batch that starts before it gets an entry in the index.
    next_entry: u64,
}

impl TailWriter {
    /// A writer at the end of what is there.
    pub(crate) fn new(tail: Arc<Tail>, summary: Summary, index: Vec<IndexEntry>) -> Self {
        let next_entry = next_entry(&index);
        *tail.index.write() = index;
        tail.written_end.store(summary.end, Ordering::Release);
        Self {
            tail,
            summary,
            next_entry,
        }
    }

    /// Writes a group of batches at the end with one positional write.
    ///
    /// On an error the file may hold part of it: the caller cuts back or poisons.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64, way: Way) -> io::Result<()> {
        self.tail.space.write(bytes, offset, way)
    }

    /// Takes what was written into the account and lets readers find it.
    pub(crate) fn advance<'a>(
        &mut self,
        bytes: &[u8],
        batches: impl Iterator<Item = (u64, &'a BatchHeader)> + Clone,
        next_seq: u64,
        tally: &Tally,
    ) {
        let headers = batches.clone().map(|(_, batch)| batch);
        self.summary
            .add(bytes, &self.tail.context, headers, next_seq, tally);
        if self.summary.end > self.next_entry {
            let mut index = self.tail.index.write();
            for (offset, batch) in batches {
                push_index(&mut index, &self.tail.context, batch, offset);
            }
            self.next_entry = next_entry(&index);
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
            if u64::from(entry.offset) >= next_entry(&index) {
                index.push(entry);
            }
        }
        self.next_entry = next_entry(&index);
        drop(index);
        self.summary = scan.summary;
        self.tail
            .written_end
            .store(self.summary.end, Ordering::Release);
    }

    /// The same segment at the same place, without anything that changes in common.
    pub(crate) fn apart(&self) -> Self {
        let space = &self.tail.space;
        let space = Space::new(space.file().clone(), space.allocated_end());
        let tail = Tail {
            id: self.tail.id,
            context: self.tail.context,
            space: Arc::new(space),
            sealed: self.tail.sealed,
            packed_appends: self.tail.packed_appends,
            keys: self.tail.keys.clone(),
            sealing: self.tail.sealing.clone(),
            index: RwLock::default(),
            written_end: AtomicU64::new(self.tail.written_end()),
        };
        let index = self.tail.index.read().clone();
        Self::new(Arc::new(tail), self.summary.clone(), index)
    }

    /// The footer of the segment as it stands.
    pub(crate) fn footer(&self) -> (Footer, Vec<IndexEntry>) {
        let index = self.tail.index.read().clone();
        (self.summary.footer(index.len()), index)
    }
}
