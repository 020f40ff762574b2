//! Bytes of a segment file, mapped or read, through one sliding window.
//!
//! A window never holds more than one chunk or one batch, whichever is larger, so a walk over a
//! segment of any size takes bounded memory. Chunks are shared (`Bytes`): a record that outlives
//! the walk keeps its chunk alive and copies nothing; a chunk that nobody kept is read into again.
//!
//! INVARIANT: bytes of a mapping are given out once they were fetched, so that a disk which fails is an error.
//! A walk forwards has them fetched ahead. Who looks here and there does so once for each [`PART_BYTES`] of
//! an open segment: of what leaves the cache after that, and cannot be read again, the system sends a signal.

use crate::{
    sync::atomic::{AtomicU64, Ordering},
    vfs::{VfsFile, fetch, read_full_at},
};
use bytes::{Bytes, BytesMut};
use std::{io, ops::Range, sync::Arc};

/// How much is read at a time, in bytes, unless asked otherwise.
const CHUNK_BYTES: u64 = 256 * 1024;

/// How much is mapped, or fetched of a mapping, at a time: at most.
const MAPPED_CHUNK_BYTES: u64 = 1 << 20;

/// How much of a mapping is fetched at a time by who looks here and there; a walk forwards begins with it.
const PART_BYTES: u64 = 64 * 1024;

/// Where the bytes of a segment come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The whole of it is mapped.
    Mapped(Mapped),
    /// It is read by position.
    File(Arc<dyn VfsFile>),
}

/// A segment's mapping.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    bytes: Bytes,
    /// A bit for each part, once it was fetched.
    parts: Arc<[AtomicU64]>,
}

impl Mapped {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let words = (bytes.len() as u64).div_ceil(PART_BYTES * 64);
        Self {
            bytes,
            parts: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// A view that slides over a source.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// What is read from; if nothing, the chunk is all there is.
    file: Option<Arc<dyn VfsFile>>,
    chunk: Bytes,
    chunk_start: u64,
    chunk_bytes: u64,
    /// Whether chunks are mapped, if the file can be.
    mapped: bool,
    /// Of a segment that is mapped as a whole, which parts were fetched, and what this walk knows to be.
    parts: Option<Arc<[AtomicU64]>>,
    fetched: Range<u64>,
    /// How much the walk has fetched next.
    ahead_bytes: u64,
}

impl Window {
    pub(crate) fn new(source: &Source) -> Self {
        Self::of_chunks(source, CHUNK_BYTES)
    }

    /// A window that reads this many bytes at a time.
    pub(crate) fn of_chunks(source: &Source, chunk_bytes: u64) -> Self {
        let (file, chunk, parts) = match source {
            Source::Mapped(map) => (None, map.bytes.clone(), Some(map.parts.clone())),
            Source::File(file) => (Some(file.clone()), Bytes::new(), None),
        };
        Self {
            file,
            chunk,
            chunk_start: 0,
            chunk_bytes,
            mapped: false,
            parts,
            fetched: 0..0,
            ahead_bytes: PART_BYTES,
        }
    }

    /// A window that maps a chunk at a time: a walk that leaves no more than that in memory.
    pub(crate) fn mapped(source: &Source) -> Self {
        let mut window = Self::of_chunks(source, MAPPED_CHUNK_BYTES);
        window.mapped = true;
        window
    }

    /// A window of what is in memory, and stands for what starts at this offset.
    pub(super) fn of_memory(chunk: Bytes, chunk_start: u64) -> Self {
        Self {
            file: None,
            chunk,
            chunk_start,
            chunk_bytes: 0,
            mapped: false,
            parts: None,
            fetched: 0..0,
            ahead_bytes: 0,
        }
    }

    /// Whether what it holds begins here.
    pub(super) fn starts_at(&self, offset: u64) -> bool {
        self.chunk_start == offset
    }

    /// Gives the chunk back.
    pub(super) fn into_chunk(self) -> Bytes {
        self.chunk
    }

    /// The chunk that holds the bytes given last, for making them outlive the walk.
    #[inline]
    pub(crate) fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The bytes from `offset`, at least `needed` of them unless `limit` or the file's end comes
    /// first, and whatever of the chunk lies behind. Nothing at or past `limit` is ever returned.
    pub(crate) fn get(&mut self, offset: u64, needed: u64, limit: u64) -> io::Result<&[u8]> {
        let wanted_end = offset.saturating_add(needed).min(limit);
        if self.parts.is_some() {
            if !self.has_fetched(offset, wanted_end) {
                self.fetch(offset, wanted_end, limit)?;
            }
        } else if !self.holds(offset, wanted_end)
            && let Some(file) = &self.file
        {
            let end = wanted_end.max(offset.saturating_add(self.chunk_bytes).min(limit));
            let (len, used) = (end.saturating_sub(offset), std::mem::take(&mut self.chunk));
            let map = match usize::try_from(len) {
                // Where no mapping is to be had, reading does as well.
                Ok(len) if self.mapped => file.map(offset, len).ok().flatten(),
                _ => None,
            };
            let map = map.map(|map| fetch(&map).map(|()| map)).transpose()?;
            self.chunk = map.map_or_else(|| read(&**file, offset, len, used), Ok)?;
            self.chunk_start = offset;
        }
        Ok(self.peek(offset, limit))
    }

    fn holds(&self, offset: u64, end: u64) -> bool {
        offset >= self.chunk_start && end <= self.chunk_start + self.chunk.len() as u64
    }

    /// Whether a look at these bytes can bring no signal.
    pub(super) fn has_fetched(&self, offset: u64, end: u64) -> bool {
        self.parts.is_none() || offset >= self.fetched.start && end <= self.fetched.end
    }

    /// Has a part of the mapping fetched.
    #[inline(never)]
    fn fetch(&mut self, offset: u64, wanted_end: u64, limit: u64) -> io::Result<()> {
        let goes_on = self.fetched.contains(&offset) || self.fetched.end == offset;
        if goes_on && limit.saturating_sub(offset) > PART_BYTES {
            self.ahead_bytes = (self.ahead_bytes * 2).min(MAPPED_CHUNK_BYTES);
            let end = wanted_end.max(offset.saturating_add(self.ahead_bytes).min(limit));
            fetch(self.peek(offset, end))?;
            self.fetched = offset..end;
            return Ok(());
        }
        for number in offset / PART_BYTES..wanted_end.div_ceil(PART_BYTES) {
            let word = usize::try_from(number / 64).ok();
            let parts = self.parts.as_deref().unwrap_or_default();
            let bit = 1 << (number % 64);
            let Some(word) = word.and_then(|word| parts.get(word)) else {
                break;
            };
            if word.load(Ordering::Relaxed) & bit == 0 {
                let start = number * PART_BYTES;
                fetch(self.peek(start, start.saturating_add(PART_BYTES)))?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        let end = wanted_end.div_ceil(PART_BYTES) * PART_BYTES;
        self.fetched = offset / PART_BYTES * PART_BYTES..end;
        Ok(())
    }

    /// What the chunk has of the bytes from `offset` to `limit`, reading nothing.
    #[inline]
    pub(crate) fn peek(&self, offset: u64, limit: u64) -> &[u8] {
        let inside = |offset: u64| usize::try_from(offset.checked_sub(self.chunk_start)?).ok();
        let end = inside(limit).unwrap_or(0).min(self.chunk.len());
        let start = inside(offset).unwrap_or(usize::MAX);
        self.chunk.get(start..end).unwrap_or_default()
    }
}

/// Reads into the memory of a chunk that nobody holds any more, or else into new memory.
fn read(file: &dyn VfsFile, offset: u64, len: u64, used: Bytes) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut chunk = match used.try_into_mut() {
        Ok(chunk) if chunk.capacity() >= len => chunk,
        _ => {
            let mut memory = Vec::new();
            memory
                .try_reserve_exact(len)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            memory.resize(len, 0);
            BytesMut::from(Bytes::from(memory))
        }
    };
    chunk.resize(len, 0);
    let read = read_full_at(file, &mut chunk, offset)?;
    chunk.truncate(read);
    Ok(chunk.freeze())
}
