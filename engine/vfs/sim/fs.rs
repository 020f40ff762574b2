//! The simulated disk as the engine sees it: the calls that go by path.
//!
//! INVARIANT: every method is one call of `state`, traced and numbered there; errors are of the
//! kinds that the real file system gives. Called by whatever is under test.

use super::{
    OpKind, SimFs,
    disk::Change,
    file::{SimFile, SimLock},
    names::{Ino, Name, NameEffect, Slot},
    trace::Call,
};
use crate::vfs::{Access, DirEntry, LockAttempt, Vfs, VfsFile};
use std::{ffi::OsStr, io, path::Path, sync::Arc, time::Duration};

impl Vfs for SimFs {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let call = Call::on(OpKind::CreateDir, path);
        self.lock().call(call, |state| {
            let tree = &state.disk.tree;
            if let Ok(old) = tree.lookup(path) {
                return match tree.live(old) {
                    Some(_) => Ok((false, Change::Nothing)),
                    None => Err(io::ErrorKind::AlreadyExists.into()),
                };
            }
            Ok((true, Change::CreateDir(state.slot_of_new(path)?)))
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let call = Call::on(OpKind::List, path);
        self.lock().call(call, |state| {
            let dir = state.disk.tree.lookup(path)?;
            let names = state.disk.tree.live(dir);
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

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.lock();
        let ino = state.call(Call::on(OpKind::CreateNew, path), |state| {
            let slot = state.slot_of_new(path)?;
            Ok((state.disk.next_ino(), Change::CreateFile(slot)))
        })?;
        let access = Access::ReadWrite;
        Ok(SimFile::open(&self.shared, &mut state, ino, path, access))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.lock();
        let ino = state.call(Call::on(OpKind::Open, path), |state| {
            let ino = state.disk.tree.lookup(path)?;
            match (state.disk.files.contains_key(&ino), access) {
                (true, _) => Ok((ino, Change::Nothing)),
                (false, Access::ReadWrite) => Err(io::ErrorKind::IsADirectory.into()),
                (false, Access::Read) => Err(io::ErrorKind::InvalidInput.into()),
            }
        })?;
        Ok(SimFile::open(&self.shared, &mut state, ino, path, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut call = Call::on(OpKind::Rename, from);
        call.to = Some(to.into());
        self.lock().call(call, |state| state.plan_rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut call = Call::on(OpKind::Link, from);
        call.to = Some(to.into());
        self.lock().call(call, |state| {
            let ino = state.disk.tree.lookup(from)?;
            if state.disk.tree.live(ino).is_some() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let (put, cut) = (Some((state.slot_of_new(to)?, ino)), None);
            Ok(((), Change::Names(NameEffect { put, cut })))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let call = Call::on(OpKind::Remove, path);
        self.lock().call(call, |state| {
            let cut = state.disk.tree.slot(path)?;
            let ino = state.disk.tree.at(&cut).ok_or(io::ErrorKind::NotFound)?;
            if state.disk.tree.live(ino).is_some() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let (put, cut) = (None, Some(cut));
            Ok(((), Change::Names(NameEffect { put, cut })))
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let call = Call::on(OpKind::SyncDir, path);
        self.lock().sync_call(call, |state, fault| {
            let dir = state.disk.tree.lookup(path)?;
            let names = state.disk.tree.live(dir);
            names.ok_or(io::ErrorKind::NotADirectory)?;
            Ok(match fault.filter(|fault| fault.errno().is_some()) {
                Some(fault) => Change::SyncDirFailed(dir, fault.sync_failure()),
                None => Change::SyncDir(dir),
            })
        })
    }

    fn try_lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        let mut state = self.lock();
        let ino = state.call(Call::on(OpKind::Lock, dir), |state| {
            let ino = state.disk.tree.lookup(dir)?;
            let names = state.disk.tree.live(ino);
            let names = names.ok_or(io::ErrorKind::NotADirectory)?;
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
