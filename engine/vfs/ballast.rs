//! Room that is held back: a file that is removed when the disk is full, so that what has to be written
//! there finds room.
//!
//! INVARIANTS: it counts as held only if the whole file is there, durably; a short one is made anew.
//! Its bytes mean nothing, so that there is no room for it is no error.
//!
//! Called by manifest, recover and whoever else may need its room; calls `Dir`.

use super::{Access, Dir};
use crate::sync::Mutex;
use std::io;

/// Its size in bytes: with less to be had, xfs does not create a file.
pub(crate) const BALLAST_BYTES: u64 = 256 * 1024;

/// The ballast of one directory.
#[derive(Debug)]
pub(crate) struct Ballast {
    dir: Dir,
    name: &'static str,
    /// Whether it is there; not known before somebody has looked.
    held: Mutex<Option<bool>>,
}

impl Ballast {
    pub(crate) fn new(dir: Dir, name: &'static str) -> Self {
        let held = Mutex::new(None);
        Self { dir, name, held }
    }

    /// Gives its room back; false if there was none to give.
    pub(crate) fn give(&self) -> io::Result<bool> {
        let mut held = self.held.lock();
        if *held == Some(false) {
            return Ok(false);
        }
        let given = match self.dir.open(self.name, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            opened => {
                // What is cut is free at once; what is removed, on xfs, some time later.
                opened?.set_len(0)?;
                self.dir.remove(self.name)?;
                // DURABILITY: nothing relies on it; some file systems free what is removed only then.
                self.dir.sync()?;
                true
            }
        };
        *held = Some(false);
        Ok(given)
    }

    /// Does what may need room; if there is none, once more with that of the ballast.
    pub(crate) fn lend<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if is_full(&error) && self.give()? => {
                let outcome = work();
                if outcome.is_err() {
                    // It was not enough, so it is kept for something smaller.
                    self.renew().ok();
                }
                outcome
            }
            outcome => outcome,
        }
    }

    /// Whether it is there, and could stand in for a file of so many bytes in this directory.
    pub(crate) fn can_stand_in(&self, dir: &Dir, len: u64) -> io::Result<bool> {
        let is_large = len <= BALLAST_BYTES && self.dir.is(dir);
        Ok(is_large && self.dir.len(self.name)? == Some(BALLAST_BYTES))
    }

    /// Lets its file and another of its directory, whose bytes mean nothing, change names: the other has its room
    /// then, and nothing was freed that somebody else could take. What has its name is made anew, or given, as
    /// ever.
    pub(crate) fn change_with(&self, name: &str) -> io::Result<()> {
        let mut held = self.held.lock();
        *held = None;
        if !self.dir.exchange(self.name, name)? {
            self.dir.rename(self.name, name)?;
        }
        // DURABILITY: after this line the two are not the same file by any names that survive: what has the
        // ballast's name may be cut.
        self.dir.sync()
    }

    /// Takes its room again, all of it or none, if that was given back or never held.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let mut held = self.held.lock();
        if *held == Some(true) {
            return Ok(());
        }
        let there = self.dir.len(self.name)?.unwrap_or(0) == BALLAST_BYTES;
        if !there {
            self.dir.remove_if_there(self.name)?;
        }
        *held = Some(there || self.dir.fill(self.name, 0, BALLAST_BYTES)?);
        Ok(())
    }
}

/// Whether an error is that of a full disk, or of a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
