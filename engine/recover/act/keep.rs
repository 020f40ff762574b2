//! Keeping what is cut: every byte goes to `quarantine/`, durably, before anything changes. Once: what an
//! attempt that failed later has kept is not kept again.

use super::io_at;
use crate::{
    error::{Place, Result},
    format::{names, producers::FILE_BYTES_MAX},
    recover::report::CutBytes,
    types::SegmentId,
    vfs::{Access, Ballast, Dir, VfsFile, read_full_at, write_all_at},
};
use std::{io, path::PathBuf};

/// What is copied or compared at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Copies the bytes that will be cut into `quarantine/`, durably.
pub(crate) fn keep(dir: &Dir, cut: &[(SegmentId, u64, u64)]) -> Result<Vec<CutBytes>> {
    let mut kept = Vec::new();
    let quarantine = dir.child(names::QUARANTINE);
    let ballast = Ballast::new(dir.clone(), names::RESERVE);
    let at = |name: &str| Place::file(format!("{}/{name}", names::QUARANTINE));
    for (id, offset, end) in cut {
        ballast
            .lend(|| quarantine.create())
            .map_err(io_at(at("")))?;
        let file = dir
            .open(&names::segment(*id), Access::Read)
            .map_err(io_at(Place::in_segment(*id, *offset)))?;
        let name = |attempt: u32| format!("{:020}-{offset:010}-{attempt}.cut", id.0);
        let is_copy = |name: &str| is_copy(&*file, *offset, *end, &quarantine, name);
        let (name, is_kept) = kept_or_free(&quarantine, name, is_copy).map_err(io_at(at("")))?;
        if !is_kept {
            // Without it nothing is cut: it has the room that is held back, if there is no other.
            let copy = || copy_range(&*file, *offset, *end, &quarantine, &name);
            ballast.lend(copy).map_err(io_at(at(&name)))?;
        }
        kept.push(CutBytes {
            segment: *id,
            offset: *offset,
            bytes: end - offset,
            kept_in: Some([names::QUARANTINE, &name].iter().collect()),
        });
    }
    if !kept.is_empty() {
        // DURABILITY: after this line the cut bytes survive under their names in quarantine.
        quarantine.sync().map_err(io_at(at("")))?;
    }
    Ok(kept)
}

/// Copies a whole file that will be replaced into `quarantine/`, durably; gives where.
pub(crate) fn keep_file(dir: &Dir, name: &str) -> Result<PathBuf> {
    let quarantine = dir.child(names::QUARANTINE);
    let kept_in = |name: &str| -> PathBuf { [names::QUARANTINE, name].iter().collect() };
    let fail = |name: &str| io_at(Place::file(kept_in(name)));
    let content = dir
        .read(name, |_| FILE_BYTES_MAX)
        .map_err(io_at(Place::file(name)))?;
    quarantine.create().map_err(fail(""))?;
    let free = |attempt: u32| format!("{name}-{attempt}.cut");
    let is_copy = |name: &str| Ok(quarantine.read(name, |_| FILE_BYTES_MAX)? == content);
    let (free, is_kept) = kept_or_free(&quarantine, free, is_copy).map_err(fail(""))?;
    if !is_kept {
        let written = quarantine.write_new(&free, &content);
        clear(&quarantine, &free, written).map_err(fail(&free))?;
    }
    // DURABILITY: after this line the copy survives under its name in quarantine.
    quarantine.sync().map_err(fail(""))?;
    Ok(kept_in(&free))
}

/// The name of a copy that an earlier attempt, which failed later, has made; or else a free one. Nothing
/// there is overwritten.
fn kept_or_free(
    quarantine: &Dir,
    name: impl Fn(u32) -> String,
    is_copy: impl Fn(&str) -> io::Result<bool>,
) -> io::Result<(String, bool)> {
    let listed = quarantine.list()?;
    for attempt in 0.. {
        let name = name(attempt);
        if !listed.iter().any(|entry| entry.name == name) {
            return Ok((name, false));
        }
        if is_copy(&name)? {
            let copy = quarantine.open(&name, Access::ReadWrite)?;
            // DURABILITY: the copy survives, whether the attempt that made it came so far or not.
            copy.sync()?;
            return Ok((name, true));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a file in quarantine has just these bytes.
fn is_copy(
    file: &dyn VfsFile,
    offset: u64,
    end: u64,
    quarantine: &Dir,
    name: &str,
) -> io::Result<bool> {
    let copy = quarantine.open(name, Access::Read)?;
    if copy.len()? != end - offset {
        return Ok(false);
    }
    let (mut at, mut there, mut kept) = (offset, vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    while at < end {
        let want = PIECE_BYTES.min(usize::try_from(end - at).unwrap_or(PIECE_BYTES));
        let (Some(there), Some(kept)) = (there.get_mut(..want), kept.get_mut(..want)) else {
            return Ok(false);
        };
        let read = read_full_at(file, there, at)?;
        if read < want || read_full_at(&*copy, kept, at - offset)? < want || there != kept {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// Leaves nothing of a file that was not written whole.
fn clear(dir: &Dir, name: &str, written: io::Result<()>) -> io::Result<()> {
    if written.is_err() {
        dir.remove_if_there(name).ok();
    }
    written
}

fn copy_range(file: &dyn VfsFile, offset: u64, end: u64, to: &Dir, name: &str) -> io::Result<()> {
    let copy = to.create_new(name)?;
    let written = write_range(file, offset, end, &*copy);
    clear(to, name, written)
}

fn write_range(file: &dyn VfsFile, offset: u64, end: u64, copy: &dyn VfsFile) -> io::Result<()> {
    let (mut at, mut buffer) = (offset, vec![0; PIECE_BYTES]);
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = read_full_at(file, buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        write_all_at(copy, bytes, at - offset)?;
        at += read as u64;
    }
    // DURABILITY: the copied bytes survive; their name does after the directory is synced.
    copy.sync()
}
