//! The writer's lock: advisory, exclusive, released by the kernel however the process ends.
//!
//! Two locks are taken, on the directory itself and on the file `LOCK` inside it. The directory
//! cannot be unlinked while it holds a log, so the lock survives a well-meaning `rm LOCK`; the file
//! carries the holder's process id for the error message. Both are `flock` locks of their own open
//! file descriptions: a second handle of the same process and a forked child are refused too.
//!
//! That of the directory decides. Where there is no room for the file, or none may be written, it is
//! enough: whoever opens the log takes both, and this one first.

use super::{LockAttempt, VfsLock, at, is_full};
use std::{
    fs::{File, TryLockError},
    io,
    os::{
        fd::BorrowedFd,
        unix::fs::{FileExt, MetadataExt},
    },
};

/// The process id is written in so many characters over what was there, so that it needs no room that
/// the file did not have before.
const PROCESS_ID_CHARS: usize = 10;

#[derive(Debug)]
struct DirLock {
    _dir: File,
    _file: Option<File>,
}

impl VfsLock for DirLock {}

pub(super) fn try_lock(dir: BorrowedFd<'_>) -> io::Result<LockAttempt> {
    let handle = File::from(at::open(dir, ".", libc::O_RDONLY | libc::O_DIRECTORY)?);
    if !lock(&handle)? {
        let there = at::open(dir, "LOCK", FLAGS).map(File::from);
        return Ok(LockAttempt::Busy(there.ok().and_then(|file| holder(&file))));
    }
    let file = match at::open(dir, "LOCK", FLAGS | libc::O_CREAT) {
        Ok(file) => File::from(file),
        Err(error) if is_full(&error) => {
            return Ok(LockAttempt::Held(Box::new(DirLock {
                _dir: handle,
                _file: None,
            })));
        }
        Err(error) => return Err(error),
    };
    if !lock(&file)? {
        return Ok(LockAttempt::Busy(holder(&file)));
    }
    // Only a help for humans: not synced, nobody decides by it, and a full disk may refuse it.
    // Through a second name it might lead into somebody else's file.
    let meta = file.metadata()?;
    if meta.is_file() && meta.nlink() == 1 {
        let id = format!("{:<PROCESS_ID_CHARS$}", std::process::id());
        file.write_all_at(id.as_bytes(), 0).ok();
    }
    Ok(LockAttempt::Held(Box::new(DirLock {
        _dir: handle,
        _file: Some(file),
    })))
}

const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK;

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The number at the beginning; an older holder may have left more behind it.
fn holder(file: &File) -> Option<u32> {
    let mut text = [0; PROCESS_ID_CHARS];
    let len = file.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..len)?).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
