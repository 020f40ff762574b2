//! What a call would do to the disk, or why it is refused, as POSIX has it.
//!
//! INVARIANT: nothing is changed here. A plan holds for the disk that it was made on, so it is
//! carried out under the same lock. Called by `state`, `fs` and `file`.

use super::{
    disk::Change,
    names::{Ino, NameEffect, Slot},
    state::State,
};
use std::io;

/// No file system of today holds a larger file.
const FILE_MAX: u64 = i64::MAX as u64;

impl State {
    /// How many bytes of a write there is room for; the error if there are some, but room for none.
    pub(super) fn room(&self, ino: Ino, offset: u64, len: usize) -> io::Result<usize> {
        let end = offset.checked_add(len as u64);
        end.filter(|end| *end <= FILE_MAX)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.room_to_write(ino, offset, len)
    }

    pub(super) fn plan_set_len(&self, ino: Ino, len: u64) -> io::Result<((), Change)> {
        if len > FILE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(((), Change::SetLen { ino, len }))
    }

    pub(super) fn plan_rename(&self, from: Slot, to: Slot) -> io::Result<((), Change)> {
        let tree = &self.disk.tree;
        let ino = tree.at(&from).ok_or(io::ErrorKind::NotFound)?;
        let moves_dir = tree.live(ino).is_some();
        if moves_dir && tree.is_below(to.dir, ino) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(old) = tree.at(&to) {
            if old == ino {
                return Ok(((), Change::Nothing));
            }
            match (moves_dir, tree.live(old)) {
                (_, Some(_)) if tree.is_below(from.dir, old) => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                (false, Some(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, None) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, Some(names)) if !names.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        let effect = NameEffect {
            put: Some((to, ino)),
            also: None,
            cut: Some(from),
        };
        Ok(((), Change::Names(effect)))
    }

    pub(super) fn plan_exchange(&self, one: Slot, other: Slot) -> io::Result<(bool, Change)> {
        let file = |slot: &Slot| self.disk.tree.at(slot).ok_or(io::ErrorKind::NotFound);
        let (of_one, of_other) = (file(&one)?, file(&other)?);
        let effect = NameEffect {
            put: Some((one, of_other)),
            also: Some((other, of_one)),
            cut: None,
        };
        Ok((true, Change::Names(effect)))
    }

    /// A place that has nothing yet.
    pub(super) fn free(&self, slot: Slot) -> io::Result<Slot> {
        match self.disk.tree.at(&slot) {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => Ok(slot),
        }
    }
}
