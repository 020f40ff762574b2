//! Where a backup goes: a directory of its own, marked as no log until it is one.
//!
//! INVARIANT: whatever way leads there, the log's own directory is never written to.

use super::at_path;
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::names,
    vfs::{Dir, DirEntry},
};
use std::{
    io,
    path::{Component, Path, PathBuf},
};

pub(super) fn refuse(to: &Dir, note: &'static str) -> Error {
    Error::note(ErrorKind::InvalidInput, Op::Backup, note).at(Place::file(to.path()))
}

const INSIDE: &str = "a backup cannot be made inside the log itself";

/// Refuses a path that leads into the log by its words.
pub(super) fn check_outside(from: &Dir, to: &Dir) -> Result<()> {
    match plain(to.path())?.starts_with(plain(from.path())?) {
        true => Err(refuse(to, INSIDE)),
        false => Ok(()),
    }
}

/// Creates the directory and marks it as no log, durably.
pub(super) fn begin(from: &Dir, to: &Dir) -> Result<()> {
    let marks = count_marks(from);
    match to.create() {
        Err(error) if is_taken(&error) => return Err(refuse(to, "what is there is no directory")),
        created => created.map_err(at_path(to, ""))?,
    }
    let not_empty = "the directory for the backup is not empty";
    if !to.list().map_err(at_path(to, ""))?.is_empty() {
        return Err(refuse(to, not_empty));
    }
    match to.write_new(names::BACKUP, &[]) {
        Err(error) if is_taken(&error) => return Err(refuse(to, not_empty)), // By another backup.
        written => written.map_err(at_path(to, names::BACKUP))?,
    }
    // A path may lead anywhere, by links and mounts: so the log is asked whether the mark is in it.
    if count_marks(from) > marks {
        to.remove(names::BACKUP)
            .map_err(at_path(to, names::BACKUP))?;
        return Err(refuse(to, INSIDE));
    }
    // DURABILITY: after these two lines the directory survives, and the mark in it: until that is
    // removed or a manifest stands beside it, nobody takes it for a log or makes one of it.
    to.sync().map_err(at_path(to, ""))?;
    to.sync_name().map_err(at_path(to, ""))
}

fn is_taken(error: &io::Error) -> bool {
    [io::ErrorKind::AlreadyExists, io::ErrorKind::NotADirectory].contains(&error.kind())
}

/// The marks of backups in a directory and in all that are inside it. What cannot be looked at is not
/// counted: no directory, or one that is gone.
fn count_marks(dir: &Dir) -> usize {
    let marks = |entry: &DirEntry| match entry.is_file {
        true => usize::from(entry.name == names::BACKUP),
        false => count_marks(&dir.child(&entry.name)),
    };
    dir.list().iter().flatten().map(marks).sum()
}

/// A path without `.` and `..`. Links are not followed.
fn plain(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::io(Op::Backup, error).at(Place::file(path)))?;
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    Ok(plain)
}
