//! A backup that was brought up to date, up to its commit or a little further: what stands beside the segments was
//! written for the manifest to come, under names of its own.
//!
//! INVARIANT: what belongs to the manifest in force takes its name, and no other does; so after a power cut at any
//! moment this comes to the same. Only where the mark of a backup is, which goes when the log is opened.
//!
//! Called by opening and by who brings a backup up to date, under the lock; calls format and vfs.

use crate::{
    error::{Error, Op, Place, Result},
    format::{Manifest, ProducersFile, backup::BackupMark, cursor::CursorFile, names},
    vfs::Dir,
};
use std::io;

/// What a finished backup says of itself; `None` if nothing that verifies does.
pub(crate) fn backup_mark(dir: &Dir, op: Op) -> Result<Option<BackupMark>> {
    let bytes = read(dir, names::BACKUP, BackupMark::stated_bytes, op)?;
    Ok(bytes.and_then(|bytes| BackupMark::decode(&bytes)))
}

/// Has what was written for this manifest take its place, and what was not go. True if that changed anything.
pub(crate) fn settle_backup(dir: &Dir, manifest: &Manifest, op: Op) -> Result<bool> {
    let Some(mark) = backup_mark(dir, op)? else {
        return Ok(false);
    };
    let mut has_changed = settle_producers(dir, manifest, op)?;
    let cursors = dir.child(names::CURSORS);
    let listed = match cursors.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(at(&cursors, "", op))?,
    };
    let files = || listed.iter().filter(|entry| entry.is_file);
    let mut has_cursors_changed = false;
    for (name, id) in files().filter_map(|it| Some((&it.name, names::parse_cursor_next(&it.name)?)))
    {
        let bytes = read(&cursors, name, CursorFile::stated_bytes, op)?.unwrap_or_default();
        let is_ours = CursorFile::decode(&bytes).is_ok_and(|it| it.owner() == manifest.owner());
        take(&cursors, (name, &names::cursor(id)), is_ours, op)?;
        has_cursors_changed = true;
    }
    // Cursors that there are no more: they are of the manifest before.
    let is_past = |incarnation: u32| {
        let states = [mark.before.incarnation, mark.now.incarnation];
        incarnation != manifest.incarnation && states.contains(&incarnation)
    };
    for entry in files().filter(|it| names::parse_cursor(&it.name).is_some()) {
        let Some(bytes) = read(&cursors, &entry.name, CursorFile::stated_bytes, op)? else {
            continue;
        };
        let owner = CursorFile::decode(&bytes).map(|it| it.owner());
        if owner.is_ok_and(|it| it.log_id == manifest.log_id && is_past(it.incarnation)) {
            cursors
                .remove_if_there(&entry.name)
                .map_err(at(&cursors, &entry.name, op))?;
            has_cursors_changed = true;
        }
    }
    if has_cursors_changed {
        // DURABILITY: after this line the cursors are those of the manifest in force.
        cursors.sync().map_err(at(&cursors, "", op))?;
    }
    has_changed |= has_cursors_changed;
    if has_changed {
        // DURABILITY: after this line so are the producers.
        dir.sync().map_err(at(dir, "", op))?;
    }
    Ok(has_changed)
}

fn settle_producers(dir: &Dir, manifest: &Manifest, op: Op) -> Result<bool> {
    let bytes = read(dir, names::PRODUCERS_NEXT, ProducersFile::stated_bytes, op)?;
    let Some(bytes) = bytes else {
        return Ok(false);
    };
    let is_ours = ProducersFile::decode(&bytes).is_ok_and(|it| it.owner() == manifest.owner());
    take(dir, (names::PRODUCERS_NEXT, names::PRODUCERS), is_ours, op)?;
    Ok(true)
}

/// Gives a file its name, if it is the manifest's, or removes it.
fn take(dir: &Dir, (next, name): (&str, &str), is_ours: bool, op: Op) -> Result<()> {
    let taken = match is_ours {
        // Where a crash has left both names to one file, renaming does nothing.
        true => (dir.rename(next, name)).and_then(|()| dir.remove_if_there(next)),
        false => dir.remove_if_there(next),
    };
    taken.map_err(at(dir, next, op))
}

fn read(dir: &Dir, name: &str, stated: fn(&[u8]) -> u64, op: Op) -> Result<Option<Vec<u8>>> {
    match dir.read(name, stated) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(at(dir, name, op)),
    }
}

fn at(dir: &Dir, name: &str, op: Op) -> impl FnOnce(io::Error) -> Error {
    let place = Place::file(dir.path().join(name));
    move |error| Error::io(op, error).at(place)
}
