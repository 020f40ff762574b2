//! The writer's lock: advisory, exclusive, released by the kernel however the process ends.
//!
//! Two locks are taken, on the directory itself and on the file `LOCK` inside it. The directory
//! cannot be unlinked while it holds a log, so the lock survives a well-meaning `rm LOCK`; the file
//! carries the holder's process id for the error message. Both are `flock` locks of open file
//! descriptions: a second handle of the same process and a forked child are refused too.
//!
//! Both are unlocked, and not only closed: a child that was just forked has their descriptors until it is another
//! program. That of the directory is on the descriptor by which the directory is held, so that it takes no other, and
//! readers hold it for longer than the lock. It decides. Where there is no room for the file, or none may be written, it is
//! enough: whoever opens the log takes both, and this one first.

use super::{LockAttempt, VfsLock, at, is_full};
use crate::sync::atomic::{AtomicBool, Ordering};
use std::{
    fs::{File, TryLockError},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    sync::Arc,
};

/// The process id is written in so many characters over what was there, so that it needs no room that
/// the file did not have before.
const PROCESS_ID_CHARS: usize = 10;

/// A directory that is open, and can be locked.
#[derive(Debug)]
pub(super) struct Lockable {
    pub(super) dir: File,
    /// The system gives a lock again to the descriptor that has it.
    locked: AtomicBool,
}

impl Lockable {
    pub(super) fn new(dir: File) -> Arc<Self> {
        let locked = AtomicBool::new(false);
        Arc::new(Self { dir, locked })
    }
}

#[derive(Debug)]
struct DirLock {
    of: Arc<Lockable>,
    file: Option<File>,
    /// A forked child has the same open directory: what it drops must not unlock its parent's.
    process_id: u32,
}

impl VfsLock for DirLock {}

impl Drop for DirLock {
    fn drop(&mut self) {
        if self.process_id != std::process::id() {
            return;
        }
        // First: whoever has the lock of the directory expects this one to be free.
        self.file.take().iter().for_each(|file| {
            file.unlock().ok();
        });
        self.of.dir.unlock().ok();
        self.of.locked.store(false, Ordering::SeqCst);
    }
}

pub(super) fn try_lock(of: &Arc<Lockable>) -> io::Result<LockAttempt> {
    let dir = of.dir.as_fd();
    let busy = || {
        let there = at::open(dir, "LOCK", FLAGS).map(File::from);
        Ok(LockAttempt::Busy(there.ok().and_then(|file| holder(&file))))
    };
    if of.locked.swap(true, Ordering::SeqCst) {
        return busy();
    }
    match lock(&of.dir) {
        Ok(true) => {}
        refused => {
            of.locked.store(false, Ordering::SeqCst);
            return refused.and_then(|_| busy());
        }
    }
    // Whatever goes wrong from here on, it is unlocked.
    let mut held = DirLock {
        of: of.clone(),
        file: None,
        process_id: std::process::id(),
    };
    let file = match at::open(dir, "LOCK", FLAGS | libc::O_CREAT) {
        Ok(file) => File::from(file),
        Err(error) if is_full(&error) => return Ok(LockAttempt::Held(Box::new(held))),
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
    held.file = Some(file);
    Ok(LockAttempt::Held(Box::new(held)))
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
