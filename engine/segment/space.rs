//! The file of a segment that is being written, or will be next: its space, filled ahead with zeros.
//!
//! Overwriting zeros that are there costs a sync about a third less than extending the file: it has
//! no metadata to write. A spare is filled before it is used, a tail as it grows.
//!
//! INVARIANT: space is filled under the mutex that guards the allocated length, and a write beyond
//! that length holds it too, so a fill never runs over a frame.

use super::{direct::Direct, recycle::Cleared};
use crate::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    vfs::{VfsFile, write_all_at, write_back_blocks},
};
use std::{io, sync::Arc};

/// Zeros are written in pieces of this many bytes: an append's sync may have to wait for one.
pub(crate) const FILL_BYTES: u64 = 128 * 1024;

/// How bytes go to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into the page cache, and no sync follows.
    Unsynced,
    /// The same, and a sync follows at once. The device is given what is large in pieces of so many
    /// bytes, as they come: it writes the first while the next are copied.
    InPieces(usize),
    /// Past the page cache, in whole blocks, if the file can; a sync follows.
    PastCache,
}

/// A file to write a segment to.
#[derive(Debug)]
pub(crate) struct Space {
    file: Arc<dyn VfsFile>,
    /// The file's length; bytes between what is written and here are zeros. Changed under `filling`.
    /// Beyond everything once the segment is finished.
    allocated_end: AtomicU64,
    filling: Mutex<()>,
    /// Held during a sync, and while the system is asked to begin with that of frames; whether any has failed.
    syncing: Mutex<bool>,
    /// Up to here the system was asked to write to the device.
    given_end: AtomicU64,
    /// The way past the page cache, once it was asked for; `None` if there is none.
    direct: OnceLock<Option<Box<Direct>>>,
    /// Of a file that was another segment before: how far it is zeros behind what was written.
    cleared: Option<Cleared>,
}

impl Space {
    pub(crate) fn new(file: Arc<dyn VfsFile>, allocated_end: u64) -> Self {
        Self {
            file,
            allocated_end: AtomicU64::new(allocated_end),
            filling: Mutex::new(()),
            syncing: Mutex::new(false),
            given_end: AtomicU64::new(0),
            direct: OnceLock::new(),
            cleared: None,
        }
    }

    /// Over a file that was another segment before, all of it allocated, and in which frames end here.
    pub(crate) fn recycled(file: Arc<dyn VfsFile>, file_end: u64, frames_end: u64) -> Self {
        Self {
            cleared: Some(Cleared::behind(frames_end)),
            ..Self::new(file, file_end)
        }
    }

    /// Whether the file was another segment before.
    pub(crate) fn is_recycled(&self) -> bool {
        self.cleared.is_some()
    }

    /// How many zeros a write whose frames end here has to add, so that the end can be told.
    pub(crate) fn padding(&self, frames_end: u64) -> usize {
        let padding = |cleared: &Cleared| cleared.padding(frames_end);
        self.cleared.as_ref().map_or(0, padding)
    }

    pub(crate) fn file(&self) -> &Arc<dyn VfsFile> {
        &self.file
    }

    /// Sees to it that the file stays open: it may lose its name from now on.
    pub(crate) fn keep_open(&self) -> io::Result<()> {
        self.file.keep_open()
    }

    /// The file's length, as allocated or written.
    pub(crate) fn allocated_end(&self) -> u64 {
        self.allocated_end.load(Ordering::Acquire)
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

    /// Up to where the system was asked to write to the device.
    pub(crate) fn given_end(&self) -> u64 {
        self.given_end.load(Ordering::Relaxed)
    }

    /// Has the system begin to write to the device the frames written up to `end`, so that the next sync
    /// finds little left to do.
    ///
    /// Never beside a sync, and an error counts as that of one: it may be the only word of a write that
    /// was lost, and no sync may succeed that did not hear of it.
    pub(crate) fn write_back(&self, end: u64) -> io::Result<()> {
        let begun = self.given_end();
        if begun >= end {
            return Ok(());
        }
        let mut failed = self.syncing.lock();
        self.given_end.store(end, Ordering::Relaxed);
        if *failed {
            return Ok(());
        }
        let given = write_back_blocks(&*self.file, begun, end);
        *failed = given.is_err();
        given
    }

    /// Writes where the frames end: frames, and [padding](Self::padding) if there has to be any.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64, way: Way) -> io::Result<()> {
        self.write_bytes(bytes, offset, way)?;
        let end = offset + bytes.len() as u64;
        self.cleared.iter().for_each(|cleared| cleared.reach(end));
        Ok(())
    }

    fn write_bytes(&self, bytes: &[u8], offset: u64, way: Way) -> io::Result<()> {
        let direct = self.direct(way == Way::PastCache);
        let end = offset + bytes.len() as u64;
        let end = direct.map_or(end, |_| Direct::padded(end));
        let write = || {
            let past = direct.map(|direct| direct.write(&*self.file, bytes, offset));
            or_by_cache(past, || self.write_by_cache(bytes, offset, way))
        };
        if end <= self.allocated_end() {
            return write();
        }
        // Past the allocated end, a fill in flight must not run over this write.
        let _filling = self.filling.lock();
        self.allocated_end.fetch_max(end, Ordering::AcqRel);
        write()
    }

    fn write_by_cache(&self, bytes: &[u8], mut offset: u64, way: Way) -> io::Result<()> {
        match way {
            Way::InPieces(piece_bytes) if bytes.len() / 2 >= piece_bytes => {
                for piece in bytes.chunks(piece_bytes) {
                    write_all_at(&*self.file, piece, offset)?;
                    offset += piece.len() as u64;
                    self.write_back(offset)?;
                }
                Ok(())
            }
            _ => write_all_at(&*self.file, bytes, offset),
        }
    }

    /// The way past the page cache, if that is asked for and there is one.
    fn direct(&self, past_cache: bool) -> Option<&Direct> {
        let open = || Some(Box::new(Direct::new(self.file.direct().ok()??)));
        past_cache.then(|| self.direct.get_or_init(open).as_deref())?
    }

    /// Fills one piece with zeros, at most up to `end`, so that appends overwrite allocated space
    /// instead of extending the file, and has the system begin to write it. False if that was there.
    ///
    /// Without a sync: what survives a power cut is zeros or nothing, as with a sync that was on its way. The next
    /// append's writes the new length too, once for each piece; one here would keep the device from that of an append.
    pub(crate) fn fill_piece(&self, end: u64, past_cache: bool) -> io::Result<bool> {
        let _filling = self.filling.lock();
        let allocated = self.allocated_end();
        if allocated >= end {
            return Ok(false);
        }
        let next = end.min(allocated + FILL_BYTES);
        let blocks = Direct::padded(allocated) == allocated && Direct::padded(next) == next;
        let direct = self.direct(past_cache && blocks);
        let past = direct.map(|direct| direct.fill(allocated, next));
        // What a failed fill leaves behind are zeros or nothing: harmless either way.
        or_by_cache(past, || {
            let zeros = vec![0; usize::try_from(next - allocated).unwrap_or(0)];
            write_all_at(&*self.file, &zeros, allocated)
        })?;
        self.give_zeros(allocated, next)?;
        self.allocated_end.store(next, Ordering::Release);
        Ok(true)
    }

    /// Has the system begin to write what was filled in. Beside a sync, so that neither waits for the other: nothing is
    /// written into these blocks before, so they hold no frame, and an error here is no word of one.
    fn give_zeros(&self, start: u64, end: u64) -> io::Result<()> {
        let given = write_back_blocks(&*self.file, Direct::padded(start), end);
        if given.is_err() {
            *self.syncing.lock() = true;
        }
        given
    }

    /// Ends the filling: what follows the frames from now on is a footer.
    pub(crate) fn finish(&self) {
        let _filling = self.filling.lock();
        self.allocated_end.store(u64::MAX, Ordering::Release);
    }

    /// Cuts the file back to the last good end known in memory, durably, so that a write that failed
    /// can never come back.
    pub(crate) fn cut_back(&self, end: u64) -> io::Result<()> {
        let _filling = self.filling.lock();
        self.file.set_len(end)?;
        self.allocated_end.store(end, Ordering::Release);
        self.given_end.fetch_min(end, Ordering::Relaxed);
        // DURABILITY: after this line nothing of the failed write survives anywhere.
        self.sync()
    }
}

/// What came of a write past the page cache, or of the usual one: where there is no other, or the
/// device wants larger blocks.
fn or_by_cache(
    past: Option<io::Result<()>>,
    by_cache: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match past {
        Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => by_cache(),
        Some(outcome) => outcome,
        None => by_cache(),
    }
}

#[cfg(test)]
mod tests;
