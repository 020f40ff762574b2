//! Files that come back: a segment that no manifest names any more becomes the file of a later one, so
//! that each byte is written once and no file grows under an append.
//!
//! INVARIANTS: bytes that anybody can still see never change. A file loses its name at once, and is made
//! over under one that nobody opens; and only if nobody else has it ([`VfsFile::is_sole`]): asked once more when its header is
//! gone, since whoever saw the header had opened the file by then. When in doubt it is removed. Its old
//! frames are of another salt and never verify; what is known of them is that they may be there
//! (`format.md`, "Segment").
//!
//! Called by `Sealed` with what comes back, by maintenance for a spare.

use crate::{
    format::{CLEAR_BYTES, clear_end, names},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    types::SegmentId,
    vfs::{Access, Dir, VfsFile, write_all_at},
};
use std::{collections::VecDeque, io, sync::Arc};

/// So many files are kept at most.
pub(crate) const KEPT_MAX: usize = 2;
/// Larger ones are not used again, in bytes: recovery searches what is behind the end, and in so many
/// bytes of anything it meets nothing by chance.
const RECYCLED_BYTES_MAX: u64 = 256 << 20;

/// The files that came back.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    /// Whether any are kept.
    wanted: AtomicBool,
    ids: Mutex<VecDeque<SegmentId>>,
}

impl Returned {
    /// From now on files are kept.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Takes the file of a segment that no manifest names, or removes it. Its name is gone at once either
    /// way. If this fails it is an orphan, which the next opening removes.
    pub(super) fn take(&self, dir: &Dir, id: SegmentId) {
        let mut ids = self.ids.lock();
        let wanted = self.wanted.load(Ordering::Acquire) && ids.len() < KEPT_MAX;
        let name = names::segment(id);
        if wanted && dir.rename(&name, &names::segment_new(id)).is_ok() {
            ids.push_back(id);
        } else {
            dir.remove_if_there(&name).ok();
        }
    }

    /// Gives back the room of all that are kept; true if there was any. What cannot be removed is left to
    /// the next opening.
    pub(crate) fn release(&self, dir: &Dir) -> bool {
        let ids = std::mem::take(&mut *self.ids.lock());
        for id in &ids {
            dir.remove_if_there(&names::segment_new(*id)).ok();
        }
        !ids.is_empty()
    }

    /// The same, and none is kept any more.
    pub(crate) fn end(&self, dir: &Dir) {
        self.wanted.store(false, Ordering::Release);
        self.release(dir);
    }

    /// A file for a segment to come, made of one that is not larger than needed, if there is one; and its
    /// size in bytes. It has its name, which is not durable yet.
    ///
    /// # Errors
    /// A sync failed. Whatever else goes wrong, the file is removed and another way is found.
    pub(crate) fn make_over(
        &self,
        dir: &Dir,
        id: SegmentId,
        segment_bytes: u64,
    ) -> io::Result<Option<(Arc<dyn VfsFile>, u64)>> {
        loop {
            let Some(old) = self.ids.lock().pop_front() else {
                return Ok(None);
            };
            match make_over(dir, old, id, segment_bytes) {
                Ok(Some(made)) => return Ok(Some(made)),
                Err(error) if dir.sync_failed() => return Err(error),
                Ok(None) | Err(_) => dir.remove_if_there(&names::segment_new(old))?,
            }
        }
    }
}

fn make_over(
    dir: &Dir,
    old: SegmentId,
    id: SegmentId,
    segment_bytes: u64,
) -> io::Result<Option<(Arc<dyn VfsFile>, u64)>> {
    let name = names::segment_new(old);
    let file = dir.open(&name, Access::ReadWrite)?;
    let file_bytes = file.len()?;
    let fits = segment_bytes / 2..=segment_bytes.saturating_mul(2).min(RECYCLED_BYTES_MAX);
    if !fits.contains(&file_bytes) || !file.is_sole()? {
        return Ok(None);
    }
    let cleared = usize::try_from(CLEAR_BYTES.min(file_bytes)).unwrap_or(0);
    write_all_at(&*file, &vec![0; cleared], 0)?;
    // DURABILITY: after this line the file is no segment any more, under whatever name it is found.
    file.sync()?;
    if !file.is_sole()? {
        return Ok(None);
    }
    dir.rename(&name, &names::segment(id))?;
    Ok(Some((file, file_bytes)))
}

/// How far behind its frames a file that was made over is zeros, as it is being written.
///
/// INVARIANT: behind the frames are zeros up to `format::clear_end`, so that an end can be told from what
/// a write left unfinished, though old bytes follow.
#[derive(Debug)]
pub(super) struct Cleared {
    /// Zeros reach up to here at least; or the file ends before.
    end: crate::sync::atomic::AtomicU64,
}

impl Cleared {
    /// Of a file in which frames end here.
    pub(super) fn behind(frames_end: u64) -> Self {
        Self {
            end: clear_end(frames_end).into(),
        }
    }

    /// How many zeros a write that ends here has to add.
    pub(super) fn padding(&self, frames_end: u64) -> usize {
        let end = clear_end(frames_end);
        let known = end <= self.end.load(Ordering::Relaxed);
        if known {
            0
        } else {
            usize::try_from(end - frames_end).unwrap_or(0)
        }
    }

    /// They were written.
    pub(super) fn reach(&self, end: u64) {
        self.end.fetch_max(end, Ordering::Relaxed);
    }
}
