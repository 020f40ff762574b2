//! Room that is held back: a file that is removed when the disk is full, so that what has to be written
//! there finds room.
//!
//! A log that is one of many begins with a small one, and takes the rest with its first sealed segment.
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
/// That of a log that is one of many and has no sealed segment: a few times what its own small files take.
const SMALL_BYTES: u64 = 16 * 1024;

/// The ballast of one directory.
#[derive(Debug)]
pub(crate) struct Ballast {
    dir: Dir,
    name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How much it has to be, in bytes.
    wanted: u64,
    /// How much is there; not known before somebody has looked.
    held: Option<u64>,
}

impl Ballast {
    pub(crate) fn new(dir: Dir, name: &'static str) -> Self {
        let wanted = match dir.is_one_of_many() {
            true => SMALL_BYTES,
            false => BALLAST_BYTES,
        };
        let state = Mutex::new(State { wanted, held: None });
        Self { dir, name, state }
    }

    /// From now on it is as large as any.
    pub(crate) fn want_all(&self) {
        self.state.lock().wanted = BALLAST_BYTES;
    }

    /// Gives its room back; false if there was none to give.
    pub(crate) fn give(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        if state.held == Some(0) {
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
        state.held = Some(0);
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
        let whole = whole_bytes(self.dir.len(self.name)?);
        Ok(self.dir.is(dir) && whole.is_some_and(|there| len <= there))
    }

    /// Lets its file and another of its directory, whose bytes mean nothing, change names: the other has its room
    /// then, and nothing was freed that somebody else could take. What has its name is made anew, or given, as
    /// ever.
    pub(crate) fn change_with(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.held = None;
        if !self.dir.exchange(self.name, name)? {
            self.dir.rename(self.name, name)?;
        }
        // DURABILITY: after this line the two are not the same file by any names that survive: what has the
        // ballast's name may be cut.
        self.dir.sync()
    }

    /// Takes its room again, all of it or none, if that was given back or never held.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.held.is_some_and(|held| held >= state.wanted) {
            return Ok(());
        }
        let there = match whole_bytes(self.dir.len(self.name)?) {
            Some(bytes) => bytes,
            None => {
                self.dir.remove_if_there(self.name)?;
                0
            }
        };
        let grown = there >= state.wanted || self.dir.fill(self.name, there, state.wanted)?;
        state.held = Some(if grown {
            there.max(state.wanted)
        } else {
            there
        });
        Ok(())
    }
}

/// The size of a ballast, if the whole of it is there.
fn whole_bytes(there: Option<u64>) -> Option<u64> {
    there.filter(|bytes| [SMALL_BYTES, BALLAST_BYTES].contains(bytes))
}

/// Whether an error is that of a full disk, or of a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
