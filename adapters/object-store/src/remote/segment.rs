//! A segment's file, of which some blocks were fetched: who reads on is fetched more for at a time.
//!
//! Called by `afar`, as a file, and `far`; calls the store, `cache`, `disk`.

use super::{
    cache::{BLOCK_BYTES, Cache},
    disk::{At, Disk},
};
use crate::{
    error::{Error, Result},
    layout::{File, Object},
    store::Store,
};
use bytes::Bytes;
use cairnlog::LogId;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Blocks that one request fetches at most, for who reads on.
pub(super) const AHEAD_MAX: u64 = 16;

/// A segment, some blocks of which are.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) store: Store,
    pub(super) log_id: LogId,
    pub(super) file: Arc<File>,
    pub(super) cache: Arc<Mutex<Cache>>,
    pub(super) disk: Option<Arc<Disk>>,
    /// The block that comes next for who reads on, and how many are fetched then.
    pub(super) ahead: Mutex<(u64, u64)>,
}

impl Segment {
    /// Fetches blocks of the part that an offset is in, into the cache; gives the first.
    fn fetch(&self, (number, start): (usize, u64), block: u64) -> Result<Bytes> {
        let part = &self.file.parts[number];
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let place = start / BLOCK_BYTES + block;
        let count = if ahead.0 == place {
            (ahead.1 * 2).clamp(1, AHEAD_MAX)
        } else {
            1
        };
        let from = block * BLOCK_BYTES;
        let to = (from + count * BLOCK_BYTES).min(part.bytes);
        let name = part.key.name();
        let bytes = self.store.get_range(&name, from..to)?;
        let bytes = bytes.ok_or_else(|| Error::NotFound(format!("{name} is gone")))?;
        if bytes.len() as u64 != to - from {
            return Err(Error::damaged(name, "it is shorter than it was"));
        }
        *ahead = (place + count, count);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, at) in (0..bytes.len()).step_by(BLOCK_BYTES as usize).enumerate() {
            let end = bytes.len().min(at + BLOCK_BYTES as usize);
            // Of its own, so that one block that stays does not keep the others.
            let own = Bytes::copy_from_slice(&bytes[at..end]);
            cache.put((part.key, block + index as u64), own);
        }
        drop(cache);
        if let Some(disk) = &self.disk {
            let blocks = bytes.chunks(BLOCK_BYTES as usize).zip(block..);
            blocks.for_each(|(content, block)| disk.put(self.at(part, block), content));
        }
        Ok(bytes.slice(..bytes.len().min(BLOCK_BYTES as usize)))
    }

    /// A block as the disk knows it.
    fn at<'a>(&self, part: &'a Object, block: u64) -> At<'a> {
        let log_id = self.log_id;
        At {
            log_id,
            part,
            block,
        }
    }

    /// A block, from where it is nearest.
    fn block(&self, (number, start): (usize, u64), block: u64) -> Result<Bytes> {
        let key = (self.file.parts[number].key, block);
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cache().get(key);
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let part = &self.file.parts[number];
        let len = (part.bytes - block * BLOCK_BYTES).min(BLOCK_BYTES);
        let on_disk = |disk: &Arc<Disk>| disk.get(self.at(part, block), len as usize);
        let kept = self.disk.as_ref().and_then(on_disk);
        let Some(bytes) = kept else {
            return self.fetch((number, start), block);
        };
        cache().put(key, bytes.clone());
        Ok(bytes)
    }

    /// The part in which an offset is, and where that part begins.
    fn part_at(&self, offset: u64) -> Option<(usize, u64)> {
        let mut start = 0;
        for (number, part) in self.file.parts.iter().enumerate() {
            if offset < start + part.bytes {
                return Some((number, start));
            }
            start += part.bytes;
        }
        None
    }

    pub(super) fn len(&self) -> u64 {
        self.file.bytes()
    }

    /// Reads from an offset on, up to the end of a block.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some((number, start)) = self.part_at(offset) else {
            return Ok(0);
        };
        let within = offset - start;
        let block = within / BLOCK_BYTES;
        let bytes = self.block((number, start), block);
        let bytes = bytes.map_err(Error::into_io)?;
        Ok(copy_from(&bytes, within % BLOCK_BYTES, buf))
    }
}

/// Copies what is there from an offset on, as far as there is room; how much that is.
pub(super) fn copy_from(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let there = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
    let there = there.unwrap_or_default();
    let count = there.len().min(buf.len());
    buf[..count].copy_from_slice(&there[..count]);
    count
}
