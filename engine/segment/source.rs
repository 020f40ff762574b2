//! Bytes of a segment file, mapped or read, through one sliding window.
//!
//! A window never holds more than one chunk or one batch, whichever is larger, so a walk over a
//! segment of any size takes bounded memory. Chunks are shared (`Bytes`): a record that outlives
//! the walk keeps its chunk alive and copies nothing.

use crate::vfs::{VfsFile, read_full_at};
use bytes::Bytes;
use std::{io, sync::Arc};

/// How much is read at a time, in bytes, unless asked otherwise.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Where the bytes of a segment come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The whole of it is mapped.
    Mapped(Bytes),
    /// It is read by position.
    File(Arc<dyn VfsFile>),
}

/// A view that slides over a source.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    source: Source,
    chunk: Bytes,
    chunk_start: u64,
    chunk_bytes: u64,
}

impl Window {
    pub(crate) fn new(source: Source) -> Self {
        Self::of_chunks(source, CHUNK_BYTES)
    }

    /// A window that reads this many bytes at a time.
    pub(crate) fn of_chunks(source: Source, chunk_bytes: u64) -> Self {
        let chunk = match &source {
            Source::Mapped(bytes) => bytes.clone(),
            Source::File(_) => Bytes::new(),
        };
        Self {
            source,
            chunk,
            chunk_start: 0,
            chunk_bytes,
        }
    }

    /// The chunk that holds the records handed out last, for making them outlive the walk.
    pub(crate) fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The bytes from `offset`, at least `needed` of them unless `limit` or the file's end comes
    /// first, and whatever of the chunk lies behind. Nothing at or past `limit` is ever returned.
    pub(crate) fn get(&mut self, offset: u64, needed: u64, limit: u64) -> io::Result<&[u8]> {
        let wanted_end = offset.saturating_add(needed).min(limit);
        let chunk_end = self.chunk_start + self.chunk.len() as u64;
        if (offset < self.chunk_start || wanted_end > chunk_end)
            && let Source::File(file) = &self.source
        {
            let end = wanted_end.max(offset.saturating_add(self.chunk_bytes).min(limit));
            self.chunk = read(&**file, offset, end.saturating_sub(offset))?;
            self.chunk_start = offset;
        }
        Ok(self.peek(offset, limit))
    }

    /// What the chunk has of the bytes from `offset` to `limit`, reading nothing.
    #[inline]
    pub(crate) fn peek(&self, offset: u64, limit: u64) -> &[u8] {
        let start = offset.checked_sub(self.chunk_start).map(usize::try_from);
        let end = usize::try_from(limit.saturating_sub(self.chunk_start)).unwrap_or(usize::MAX);
        let visible = self
            .chunk
            .get(..end.min(self.chunk.len()))
            .unwrap_or_default();
        match start {
            Some(Ok(start)) => visible.get(start..).unwrap_or_default(),
            _ => &[],
        }
    }
}

fn read(file: &dyn VfsFile, offset: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut buf = Vec::new();
    buf.try_reserve_exact(len)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    buf.resize(len, 0);
    let read = read_full_at(file, &mut buf, offset)?;
    buf.truncate(read);
    Ok(Bytes::from(buf))
}
