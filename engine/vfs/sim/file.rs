//! Open files and held locks of the simulated disk.
//!
//! INVARIANT: a handle holds a number, not a name, so a file that was removed or replaced goes on
//! working; dropping the last handle frees it. Handed out by `mod`, as `dyn VfsFile`.

use super::{
    disk::Change,
    names::Ino,
    state::{State, copy},
    trace::{Call, OpKind},
};
use crate::vfs::{Access, VfsFile, VfsLock};
use parking_lot::Mutex;
use std::{fmt, io, path::Path, sync::Arc};

pub(super) struct SimFile {
    shared: Arc<Mutex<State>>,
    ino: Ino,
    path: Arc<Path>,
    access: Access,
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
        })
    }

    fn call(&self, kind: OpKind) -> Call {
        Call::on(kind, self.path.clone())
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
        let mut call = self.call(OpKind::Write);
        call.offset = offset;
        call.len = buf.len() as u64;
        call.bytes = copy(buf);
        self.shared.lock().write_call(call, self.ino)
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
        let call = self.call(OpKind::Sync);
        self.shared.lock().sync_call(call, |_, fault| {
            Ok(match fault {
                Some(fault) if fault.errno().is_some() => {
                    Change::SyncFailed(self.ino, fault.sync_failure())
                }
                _ => Change::Sync(self.ino),
            })
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
