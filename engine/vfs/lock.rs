//! The writer's lock: advisory, exclusive, released by the kernel however the process ends.
//!
//! Two locks are taken, on the directory itself and on the file `LOCK` inside it. The directory
//! cannot be unlinked while it holds a log, so the lock survives a well-meaning `rm LOCK`; the file
//! carries the holder's process id for the error message. Both are `flock` locks of their own open
//! file descriptions: a second handle of the same process and a forked child are refused too.

use super::{LockAttempt, VfsLock};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

#[derive(Debug)]
struct DirLock {
    _dir: File,
    _file: File,
}

impl VfsLock for DirLock {}

pub(super) fn try_lock(dir: &Path) -> io::Result<LockAttempt> {
    let handle = File::open(dir)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(dir.join("LOCK"))?;
    for lock in [&handle, &file] {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(LockAttempt::Busy(holder(&file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    // Only a help for humans: not synced, and nobody decides by it.
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(LockAttempt::Held(Box::new(DirLock {
        _dir: handle,
        _file: file,
    })))
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    // The other process may hold the file open anywhere; our own handle starts at its beginning.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
