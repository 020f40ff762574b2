//! Open files and held locks of the simulated disk.
//!
//! INVARIANT: a handle holds a number, not a name, so a file that was removed or replaced goes on
//! working; dropping the last handle frees it. Handed out by `mod`, as `dyn VfsFile`.

use super::{
    disk::Change,
    fault::SyncFailure,
    names::Ino,
    state::{State, copy},
    trace::{Call, OpKind},
};
use crate::vfs::{Access, BLOCK_BYTES, FileIdentity, VfsFile, VfsLock};
use parking_lot::Mutex;
use std::{fmt, io, path::Path, sync::Arc};

pub(super) struct SimFile {
    shared: Arc<Mutex<State>>,
    ino: Ino,
    path: Arc<Path>,
    access: Access,
    /// Whether it writes past the page cache.
    direct: bool,
}

impl SimFile {
    /// Counts the file as open; `state` is what `shared` holds, locked already.
    pub(super) fn open(
        shared: &Arc<Mutex<State>>,
        state: &mut State,
        ino: Ino,
        path: &Path,
        access: Access,
    ) -> Arc<dyn VfsFile> {
        state.opened(ino);
        Arc::new(Self {
            shared: shared.clone(),
            ino,
            path: path.into(),
            access,
            direct: false,
        })
    }

    fn call(&self, kind: OpKind) -> Call {
        Call::on(kind, self.path.clone())
    }

    fn write_call(&self, state: &mut State, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut call = self.call(OpKind::Write);
        call.offset = offset;
        call.len = buf.len() as u64;
        call.bytes = copy(buf);
        state.write_call(call, self.ino)
    }

    /// Writes whole blocks, all or an error. What they change is written, and is what may be torn or
    /// lost: a byte that is written over with its own value stays what it is, as it does when the
    /// kernel writes out a page of which one byte has changed.
    fn write_blocks(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let in_blocks = |place: u64| place.is_multiple_of(BLOCK_BYTES as u64);
        let place = buf.as_ptr().align_offset(BLOCK_BYTES);
        if place != 0 || !in_blocks(offset) || !in_blocks(buf.len() as u64) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut state = self.shared.lock();
        let mut old = vec![0; buf.len()];
        let file = state.disk.files.get(&self.ino);
        let old_len = file.map_or(0, |file| file.live.read(offset, &mut old));
        let same = |(new, old): &(&u8, &u8)| new == old;
        let mut start = buf.iter().zip(&old).take(old_len).take_while(same).count();
        let after = buf.iter().zip(&old).skip(start).rev().take_while(same);
        let end = buf.len()
            - if old_len < buf.len() {
                0
            } else {
                after.count()
            };
        while start < end {
            let changed = buf.get(start..end).unwrap_or_default();
            start += self.write_call(&mut state, changed, offset + start as u64)?;
        }
        Ok(buf.len())
    }

    /// A call that makes the first change, or fails like a sync and makes the second.
    fn sync_call(
        &self,
        call: Call,
        change: Change,
        failed: impl FnOnce(SyncFailure) -> Change,
    ) -> io::Result<()> {
        self.shared.lock().sync_call(call, |_, fault| {
            Ok(match fault {
                Some(fault) if fault.errno().is_some() => failed(fault.sync_failure()),
                _ => change,
            })
        })
    }

    /// Refuses what the handle was not opened for, before it counts as a call.
    fn check_writable(&self, errno: i32) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut call = self.call(OpKind::Read);
        call.offset = offset;
        call.len = buf.len() as u64;
        self.shared.lock().read_call(call, self.ino, buf)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable(libc::EBADF)?;
        if self.direct {
            return self.write_blocks(buf, offset);
        }
        self.write_call(&mut self.shared.lock(), buf, offset)
    }

    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        self.check_writable(libc::EBADF)?;
        let mut state = self.shared.lock();
        state.call(self.call(OpKind::Open), |state| {
            state.check_descriptors(1)?;
            Ok(((), Change::Nothing))
        })?;
        state.opened(self.ino);
        Ok(Some(Arc::new(Self {
            shared: self.shared.clone(),
            ino: self.ino,
            path: self.path.clone(),
            access: Access::ReadWrite,
            direct: true,
        })))
    }

    fn len(&self) -> io::Result<u64> {
        self.shared.lock().call(self.call(OpKind::Len), |state| {
            let file = state.disk.files.get(&self.ino);
            Ok((file.map_or(0, |file| file.live.len()), Change::Nothing))
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable(libc::EINVAL)?;
        let mut call = self.call(OpKind::SetLen);
        call.len = len;
        self.shared
            .lock()
            .call(call, |state| state.plan_set_len(self.ino, len))
    }

    fn sync(&self) -> io::Result<()> {
        let failed = |how| Change::SyncFailed(self.ino, how);
        self.sync_call(self.call(OpKind::Sync), Change::Sync(self.ino), failed)
    }

    fn is_sole(&self) -> io::Result<bool> {
        self.shared.lock().call(self.call(OpKind::Len), |state| {
            let alone =
                state.opened_times(self.ino) == 1 && state.disk.tree.name_count(self.ino) == 1;
            Ok((alone, Change::Nothing))
        })
    }

    /// No call: a disk that answers this wrong is none that anything could be tried on.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        let state = self.shared.lock();
        let file = state.disk.files.get(&self.ino);
        Ok(Some(FileIdentity {
            device: 0,
            number: self.ino,
            bytes: file.map_or(0, |file| file.live.len()),
        }))
    }

    /// Whatever it did may be undone by a power cut, as may be what was only written: so it does
    /// nothing, unless it fails. Then it loses what a failed sync loses.
    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable(libc::EBADF)?;
        let mut call = self.call(OpKind::WriteBack);
        (call.offset, call.len) = (offset, len);
        let range = offset..offset.saturating_add(len);
        self.sync_call(call, Change::WriteBack(self.ino), |how| {
            Change::WriteBackFailed(self.ino, range, how)
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.shared.lock().closed(self.ino);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Holds a directory's lock. It is released with the guard, and nobody holds one after a boot.
pub(super) struct SimLock {
    shared: Arc<Mutex<State>>,
    dir: Ino,
}

impl SimLock {
    pub(super) fn new(shared: &Arc<Mutex<State>>, dir: Ino) -> Self {
        let shared = shared.clone();
        Self { shared, dir }
    }
}

impl VfsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.shared.lock().locks.remove(&self.dir);
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").finish_non_exhaustive()
    }
}
