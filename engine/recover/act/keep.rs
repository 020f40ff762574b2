//! Keeping what is cut: every byte goes to `quarantine/`, durably, before anything changes.

use super::io_at;
use crate::{
    error::{Place, Result},
    format::{names, producers::FILE_BYTES_MAX},
    recover::report::CutBytes,
    types::SegmentId,
    vfs::{Access, Dir, VfsFile, read_full_at, write_all_at},
};
use std::{io, path::PathBuf};

/// Copies the bytes that will be cut into `quarantine/`, durably.
pub(crate) fn keep(dir: &Dir, cut: &[(SegmentId, u64, u64)]) -> Result<Vec<CutBytes>> {
    let mut kept = Vec::new();
    let quarantine = dir.child(names::QUARANTINE);
    let at = |name: &str| Place::file(format!("{}/{name}", names::QUARANTINE));
    for (id, offset, end) in cut {
        quarantine.create().map_err(io_at(at("")))?;
        let file = dir
            .open(&names::segment(*id), Access::Read)
            .map_err(io_at(Place::in_segment(*id, *offset)))?;
        let name = |attempt: u32| format!("{:020}-{offset:010}-{attempt}.cut", id.0);
        let name = free_name(&quarantine, name).map_err(io_at(at("")))?;
        copy_range(&*file, *offset, *end, &quarantine, &name).map_err(io_at(at(&name)))?;
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
    let free = free_name(&quarantine, free).map_err(fail(""))?;
    quarantine.write_new(&free, &content).map_err(fail(&free))?;
    // DURABILITY: after this line the copy survives under its name in quarantine.
    quarantine.sync().map_err(fail(""))?;
    Ok(kept_in(&free))
}

/// An earlier attempt, interrupted, may have kept the same bytes; nothing there is overwritten.
fn free_name(quarantine: &Dir, name: impl Fn(u32) -> String) -> io::Result<String> {
    let taken: Vec<String> = quarantine
        .list()?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let mut attempt = 0;
    while taken.contains(&name(attempt)) {
        attempt += 1;
    }
    Ok(name(attempt))
}

fn copy_range(file: &dyn VfsFile, offset: u64, end: u64, to: &Dir, name: &str) -> io::Result<()> {
    let copy = to.create_new(name)?;
    let (mut at, mut buffer) = (offset, vec![0; 64 * 1024]);
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = read_full_at(file, buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        write_all_at(&*copy, bytes, at - offset)?;
        at += read as u64;
    }
    // DURABILITY: the copied bytes survive; their name does after the directory is synced.
    copy.sync()
}
