//! Files that are open only while they are used: those of logs that are many in one process.
//!
//! A file that rests between two uses may be closed, and is opened again for whoever comes: by its name, in the
//! directory that is held. Of all such logs together so many stay open as were used lately. Who finds the process
//! without a descriptor closes all that rest, and tries once more.
//!
//! INVARIANTS: a file with a write that no sync has covered stays open: the system tells a write that it lost to
//! whoever has the file open, and may forget it for who opens it later. So does one in use. What is opened again is
//! the very file that was closed, and as long as it was, or nothing is done with it. Its name is its own for as long
//! as it may be closed: whoever takes that away has it kept open first.
//!
//! Called by `Dir`.

use super::{Access, Dir, FileIdentity, VfsFile, is_out_of_files};
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Weak},
};

/// Files that stay open of all logs together, beside those that are in use or not synced: a descriptor each.
const OPEN_FILES_MAX: usize = 256;
/// So many are looked at before one more is open than should be: they may all be in use.
const LOOKS_MAX: usize = 16;

/// Whether a write has to be synced before its file may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    Follow,
    /// Nobody relies on what is written.
    Never,
}

/// The files that are open of many logs, in the order in which they were opened or looked over last.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    row: Mutex<VecDeque<Weak<Resting>>>,
    count_max: AtomicUsize,
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self {
            row: Mutex::default(),
            count_max: AtomicUsize::new(OPEN_FILES_MAX),
        }
    }
}

impl OpenFiles {
    /// From now on so many stay open.
    pub(crate) fn set_max(&self, count: usize) {
        self.count_max.store(count, Ordering::Relaxed);
    }

    /// Takes in a file that was just opened, and closes others if it is one too many.
    fn put(&self, file: Weak<Resting>) {
        let mut row = self.row.lock();
        row.push_back(file);
        for _ in 0..LOOKS_MAX {
            if row.len() <= self.count_max.load(Ordering::Relaxed) {
                break;
            }
            let Some(next) = row.pop_front() else { break };
            // Nobody has it any more; or it was used since it was looked at last; or it must not be closed.
            let stays = |file: &Arc<Resting>| {
                file.used.swap(false, Ordering::Relaxed) || file.close() == Closing::NotYet
            };
            if next.upgrade().as_ref().is_some_and(stays) {
                row.push_back(next);
            }
        }
    }

    /// Closes all that may be: the process has no descriptor left.
    pub(super) fn clear(&self) {
        let mut row = self.row.lock();
        row.retain(|file| {
            let file = file.upgrade();
            file.is_some_and(|file| file.close() == Closing::NotYet)
        });
    }
}

/// What came of closing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// It is closed, or kept open by who has it: it does not count any more.
    Done,
    NotYet,
}

/// A file that may be closed between two uses.
#[derive(Debug)]
pub(super) struct Resting {
    dir: Dir,
    name: Box<str>,
    files: Arc<OpenFiles>,
    syncs: Syncs,
    me: Weak<Self>,
    /// Whether it was used since the row was looked over.
    used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Nothing while it is closed.
    file: Option<Arc<dyn VfsFile>>,
    /// As it was when it was closed last.
    identity: FileIdentity,
    /// Calls under way.
    user_count: usize,
    kept_open: bool,
    /// Writes that were made, and how many of them a sync covers.
    write_count: u64,
    synced_count: u64,
}

impl State {
    fn is_synced(&self) -> bool {
        self.write_count == self.synced_count
    }
}

impl Resting {
    /// Over a file that is open; the file itself where the system cannot tell it from others.
    pub(super) fn over(
        dir: Dir,
        name: &str,
        file: Arc<dyn VfsFile>,
        (files, syncs): (&Arc<OpenFiles>, Syncs),
    ) -> Arc<dyn VfsFile> {
        let Ok(Some(identity)) = file.identity() else {
            return file;
        };
        let state = State {
            file: Some(file),
            identity,
            user_count: 0,
            kept_open: false,
            write_count: 0,
            synced_count: 0,
        };
        let resting = Arc::new_cyclic(|me| Self {
            dir,
            name: name.into(),
            files: files.clone(),
            syncs,
            me: me.clone(),
            used: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        files.put(Arc::downgrade(&resting));
        resting
    }

    /// Uses the file, which is open meanwhile.
    fn with<T>(&self, work: impl FnOnce(&dyn VfsFile) -> io::Result<T>) -> io::Result<T> {
        self.with_then(work, |_| ())
    }

    /// The same, and `then` says what has happened, before anybody can close it.
    fn with_then<T>(
        &self,
        work: impl FnOnce(&dyn VfsFile) -> io::Result<T>,
        then: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let file = match self.begin() {
            Err(error) if is_out_of_files(&error) => {
                self.files.clear();
                self.begin()?
            }
            begun => begun?,
        };
        let outcome = work(&*file);
        let mut state = self.state.lock();
        then(&mut state);
        state.user_count -= 1;
        outcome
    }

    /// Whoever begins is counted, and ends by counting back.
    fn begin(&self) -> io::Result<Arc<dyn VfsFile>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        let (file, is_new) = match &state.file {
            Some(file) => (file.clone(), false),
            None => (self.open_again(&state.identity)?, true),
        };
        state.user_count += 1;
        if is_new {
            state.file = Some(file.clone());
            drop(state);
            self.files.put(self.me.clone());
        }
        Ok(file)
    }

    fn open_again(&self, identity: &FileIdentity) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.dir.open_now(&self.name, Access::ReadWrite)?;
        if file.identity()?.as_ref() != Some(identity) {
            let note = "another file has its name, or somebody else has changed it";
            return Err(io::Error::other(note));
        }
        Ok(file)
    }

    fn close(&self) -> Closing {
        let mut state = self.state.lock();
        if state.kept_open || state.file.is_none() {
            return Closing::Done;
        }
        if state.user_count > 0 || (self.syncs == Syncs::Follow && !state.is_synced()) {
            return Closing::NotYet;
        }
        let identity = state.file.as_ref().map(|file| file.identity());
        let Some(Ok(Some(identity))) = identity else {
            return Closing::NotYet;
        };
        state.identity = identity;
        state.file = None;
        Closing::Done
    }
}

impl VfsFile for Resting {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|file| file.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.with_then(
            |file| file.write_at(buf, offset),
            |state| state.write_count += 1,
        )
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_then(|file| file.set_len(len), |state| state.write_count += 1)
    }

    fn sync(&self) -> io::Result<()> {
        let covers = {
            let state = self.state.lock();
            if state.is_synced() && !state.kept_open {
                return Ok(()); // Nothing was written since, by anybody.
            }
            state.write_count
        };
        // DURABILITY: whoever asked says what is safe after it. It is open since the first write that was counted.
        self.with(|file| file.sync())?;
        let mut state = self.state.lock();
        state.synced_count = state.synced_count.max(covers);
        Ok(())
    }

    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(|file| file.write_back(offset, len))
    }

    /// What is written that way is not counted.
    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        self.keep_open()?;
        self.with(|file| file.direct())
    }

    fn is_sole(&self) -> io::Result<bool> {
        self.with(|file| file.is_sole())
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        self.with(|file| file.identity())
    }

    fn ready(&self) -> io::Result<()> {
        self.with_then(|_| Ok(()), |state| state.write_count += 1)
    }

    fn keep_open(&self) -> io::Result<()> {
        self.with_then(|_| Ok(()), |state| state.kept_open = true)
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<bytes::Bytes>> {
        self.with(|file| file.map(offset, len))
    }
}
