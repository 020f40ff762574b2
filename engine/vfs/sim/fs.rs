//! The simulated disk as the engine sees it: the calls that name something, by a path or in a directory
//! that is held.
//!
//! INVARIANTS: every method is one call of `state`, traced and numbered there; errors are of the
//! kinds that the real file system gives. A held directory is a number: it stays the same one under
//! whatever path. Called by whatever is under test.

use super::{
    OpKind, SimFs,
    disk::Change,
    file::{SimFile, SimLock},
    names::{Ino, Name, NameEffect, Slot},
    state::State,
    trace::Call,
};
use crate::vfs::{Access, DirEntry, LockAttempt, Vfs, VfsDir, VfsFile};
use std::{
    any::Any,
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What a call names.
#[derive(Clone, Copy)]
enum At<'a> {
    Path(&'a Path),
    /// A name in a directory that is held, with the path that it was opened by.
    Held(&'a SimDir, &'a str),
}

impl At<'_> {
    /// For the trace, and for rules by which calls fail.
    fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => (*path).to_owned(),
            Self::Held(dir, name) => dir.path.join(name),
        }
    }

    fn slot(&self, state: &State) -> io::Result<Slot> {
        match self {
            Self::Path(path) => state.disk.tree.slot(path),
            Self::Held(dir, name) => Ok(Slot {
                dir: dir.ino,
                name: Arc::from(OsStr::new(name)),
            }),
        }
    }

    /// The place, if there is nothing yet.
    fn free_slot(&self, state: &State) -> io::Result<Slot> {
        state.free(self.slot(state)?)
    }

    /// What has the name, links not followed.
    fn ino(&self, state: &State) -> io::Result<Ino> {
        match self {
            Self::Path(path) => state.disk.tree.lookup(path),
            Self::Held(..) => {
                let there = state.disk.tree.at(&self.slot(state)?);
                there.ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }
}

/// One of the methods below for each kind of call.
impl SimFs {
    fn create_dir_at(&self, at: At<'_>) -> io::Result<bool> {
        let call = Call::on(OpKind::CreateDir, at.path());
        self.lock().call(call, |state| {
            let tree = &state.disk.tree;
            let there = match at {
                At::Path(path) => tree.lookup_followed(path).or_else(|_| at.ino(state)),
                At::Held(..) => at.ino(state),
            };
            match there.map(|ino| tree.live(ino)) {
                Ok(Some(_)) => Ok((false, Change::Nothing)),
                Ok(None) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => Ok((true, Change::CreateDir(at.free_slot(state)?))),
            }
        })
    }

    /// Holds a directory; `find` says which.
    fn hold(
        &self,
        path: &Path,
        find: impl FnOnce(&State) -> io::Result<Ino>,
    ) -> io::Result<Arc<SimDir>> {
        let mut state = self.lock();
        let ino = state.call(Call::on(OpKind::OpenDir, path), |state| {
            let ino = find(state)?;
            state
                .disk
                .tree
                .live(ino)
                .ok_or(io::ErrorKind::NotADirectory)?;
            state.check_descriptors(1)?;
            Ok((ino, Change::Nothing))
        })?;
        state.opened(ino);
        let (fs, path) = (self.clone(), path.into());
        Ok(Arc::new(SimDir { fs, ino, path }))
    }

    /// What needs a descriptor for the time of the call where no directory is held.
    fn list_of(&self, path: &Path, dir: impl FnOnce(&State) -> io::Result<Ino>) -> Listed {
        self.lock().call(Call::on(OpKind::List, path), |state| {
            state.check_descriptors(1)?;
            let names = state.disk.tree.live(dir(state)?);
            let entry = |(name, ino): (&Name, &Ino)| {
                let file = state.disk.files.get(ino);
                DirEntry {
                    name: name.to_string_lossy().into_owned(),
                    size_bytes: file.map_or(0, |file| file.live.len()),
                    is_file: file.is_some(),
                }
            };
            let names = names.ok_or(io::ErrorKind::NotADirectory)?;
            Ok((names.iter().map(entry).collect(), Change::Nothing))
        })
    }

    fn create_new_at(&self, at: At<'_>) -> io::Result<Arc<dyn VfsFile>> {
        let (mut state, path) = (self.lock(), at.path());
        let ino = state.call(Call::on(OpKind::CreateNew, &*path), |state| {
            let slot = at.free_slot(state)?;
            state.check_descriptors(1)?;
            Ok((state.disk.next_ino(), Change::CreateFile(slot)))
        })?;
        let access = Access::ReadWrite;
        Ok(SimFile::open(&self.shared, &mut state, ino, &path, access))
    }

    fn open_at(&self, at: At<'_>, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let (mut state, path) = (self.lock(), at.path());
        let ino = state.call(Call::on(OpKind::Open, &*path), |state| {
            let ino = at.ino(state)?;
            if state.disk.tree.links.contains_key(&ino) {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            match (state.disk.files.contains_key(&ino), access) {
                (true, _) => state.check_descriptors(1)?,
                (false, Access::ReadWrite) => return Err(io::ErrorKind::IsADirectory.into()),
                (false, Access::Read) => return Err(io::ErrorKind::InvalidInput.into()),
            }
            Ok((ino, Change::Nothing))
        })?;
        Ok(SimFile::open(&self.shared, &mut state, ino, &path, access))
    }

    fn rename_at(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let mut call = Call::on(OpKind::Rename, from.path());
        call.to = Some(to.path().into());
        self.lock().call(call, |state| {
            state.plan_rename(from.slot(state)?, to.slot(state)?)
        })
    }

    fn link_at(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let mut call = Call::on(OpKind::Link, from.path());
        call.to = Some(to.path().into());
        self.lock().call(call, |state| {
            let ino = from.ino(state)?;
            if state.disk.tree.live(ino).is_some() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let put = Some((to.free_slot(state)?, ino));
            let effect = NameEffect {
                put,
                ..NameEffect::default()
            };
            Ok(((), Change::Names(effect)))
        })
    }

    fn remove_at(&self, at: At<'_>) -> io::Result<()> {
        let call = Call::on(OpKind::Remove, at.path());
        self.lock().call(call, |state| {
            let ino = at.ino(state)?;
            if state.disk.tree.live(ino).is_some() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let effect = NameEffect {
                cut: Some(at.slot(state)?),
                ..NameEffect::default()
            };
            Ok(((), Change::Names(effect)))
        })
    }

    fn sync_dir_of(
        &self,
        path: &Path,
        dir: impl FnOnce(&State) -> io::Result<Ino>,
    ) -> io::Result<()> {
        let call = Call::on(OpKind::SyncDir, path);
        self.lock().sync_call(call, |state, fault| {
            let dir = dir(state)?;
            let names = state.disk.tree.live(dir);
            names.ok_or(io::ErrorKind::NotADirectory)?;
            Ok(match fault.filter(|fault| fault.errno().is_some()) {
                Some(fault) => Change::SyncDirFailed(dir, fault.sync_failure()),
                None => Change::SyncDir(dir),
            })
        })
    }

    fn lock_of(
        &self,
        path: &Path,
        dir: impl FnOnce(&State) -> io::Result<Ino>,
    ) -> io::Result<LockAttempt> {
        let mut state = self.lock();
        let ino = state.call(Call::on(OpKind::Lock, path), |state| {
            let ino = dir(state)?;
            let names = state.disk.tree.live(ino);
            let names = names.ok_or(io::ErrorKind::NotADirectory)?;
            state.check_descriptors(1)?;
            // The file stays empty: the holder's number is known without it, and bytes that nobody
            // ever syncs would double the states of every crash point of a run.
            let name = Arc::from(OsStr::new("LOCK"));
            let change = match names.contains_key(&name) {
                true => Change::Nothing,
                false => Change::CreateFile(Slot { dir: ino, name }),
            };
            Ok((ino, change))
        })?;
        Ok(match state.locks.insert(ino) {
            true => LockAttempt::Held(Box::new(SimLock::new(&self.shared, ino))),
            false => LockAttempt::Busy(Some(state.machine.process_id)),
        })
    }
}

type Listed = io::Result<Vec<DirEntry>>;

impl Vfs for SimFs {
    fn open_dir(&self, path: &Path) -> io::Result<Option<Arc<dyn VfsDir>>> {
        let dir = self.hold(path, |state| state.disk.tree.lookup_followed(path))?;
        Ok(Some(dir))
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        self.create_dir_at(At::Path(path))
    }

    fn list(&self, path: &Path) -> Listed {
        self.list_of(path, |state| state.disk.tree.lookup_followed(path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.create_new_at(At::Path(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.open_at(At::Path(path), access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_at(At::Path(from), At::Path(to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.link_at(At::Path(from), At::Path(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.remove_at(At::Path(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.sync_dir_of(path, |state| {
            state.check_descriptors(1)?;
            state.disk.tree.lookup_followed(path)
        })
    }

    fn try_lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        self.lock_of(dir, |state| state.disk.tree.lookup_followed(dir))
    }

    fn unix_time_ms(&self) -> i64 {
        let mut state = self.lock();
        state.tick();
        state.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.lock().tick()
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }

    fn random(&self) -> u64 {
        self.lock().rng.next()
    }
}

/// A directory of the simulated disk, held open.
struct SimDir {
    fs: SimFs,
    ino: Ino,
    /// The path that it was opened by, for the trace.
    path: Box<Path>,
}

impl SimDir {
    fn same_kind(dir: &dyn VfsDir) -> io::Result<&Self> {
        let any: &dyn Any = dir;
        any.downcast_ref()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl VfsDir for SimDir {
    fn create_dir(&self, name: &str) -> io::Result<bool> {
        self.fs.create_dir_at(At::Held(self, name))
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn VfsDir>> {
        let at = At::Held(self, name);
        Ok(self.fs.hold(&at.path(), |state| at.ino(state))?)
    }

    fn list(&self) -> Listed {
        self.fs.list_of(&self.path, |_| Ok(self.ino))
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        self.fs.create_new_at(At::Held(self, name))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.fs.open_at(At::Held(self, name), access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fs.rename_at(At::Held(self, from), At::Held(self, to))
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<bool> {
        let (one, other) = (At::Held(self, one), At::Held(self, other));
        let mut call = Call::on(OpKind::Exchange, one.path());
        call.to = Some(other.path().into());
        self.fs.lock().call(call, |state| {
            state.plan_exchange(one.slot(state)?, other.slot(state)?)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fs.remove_at(At::Held(self, name))
    }

    fn hard_link(&self, name: &str, to: &dyn VfsDir) -> io::Result<()> {
        let to = At::Held(Self::same_kind(to)?, name);
        self.fs.link_at(At::Held(self, name), to)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.sync_dir_of(&self.path, |_| Ok(self.ino))
    }

    fn sync_name(&self) -> io::Result<()> {
        let path = self.path.parent().unwrap_or(&self.path);
        self.fs.sync_dir_of(path, |state| {
            state.check_descriptors(1)?;
            let parent = state.disk.tree.parent(self.ino);
            parent.ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        self.fs.lock_of(&self.path, |_| Ok(self.ino))
    }
}

impl Drop for SimDir {
    fn drop(&mut self) {
        self.fs.lock().closed(self.ino);
    }
}

impl fmt::Debug for SimDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
