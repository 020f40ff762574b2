//! The only door to the operating system: files, directories, the lock, clocks, randomness.
//!
//! Everything above works on these traits, so the whole engine runs unchanged over the real
//! file system ([`RealFs`]) and over a simulated disk that loses power ([`sim::SimFs`]). A path is
//! used once, to hold a log's directory ([`Vfs::open_dir`]); from then on all goes by [`VfsDir`].
//!
//! INVARIANT: nothing outside this room names `std::fs`, a clock or a source of randomness; a test
//! (`tests/tidy.rs`) holds that. The traits promise no more than POSIX does: a write may be short,
//! nothing is durable before [`VfsFile::sync`], and no name before [`Vfs::sync_dir`].

mod at;
mod ballast;
mod by_path;
mod dir;
mod fate;
mod held;
mod lock;
mod map;
mod private;
mod real;
mod replace;
mod resting;
pub mod sim;
#[cfg(target_os = "linux")]
mod sole;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod write_back;

pub(crate) use ballast::{Ballast, is_full};
pub(crate) use dir::Dir;
pub(crate) use map::fetch;
pub(crate) use private::read_private;
pub use real::RealFs;
pub(crate) use replace::{NotReplaced, Replaced};
pub(crate) use resting::{OpenFiles, Syncs};

use bytes::Bytes;
use std::{any::Any, fmt::Debug, io, path::Path, sync::Arc, time::Duration};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory. Names that are not UTF-8 are given lossily.
    pub name: String,
    /// The size in bytes; 0 for what is not a regular file.
    pub size_bytes: u64,
    /// Whether it is a regular file (not a directory, link or device).
    pub is_file: bool,
}

/// What writes past the page cache are counted in: a multiple of every usual disk's own block.
pub const BLOCK_BYTES: usize = 4096;

/// Which file it is, of all that this machine has, and how long: for who opens one again by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// The file system that it is on.
    pub device: u64,
    /// Its number there (an inode's), which no other file has as long as it is there.
    pub number: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What became of an attempt to take a directory's lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is ours until the guard is dropped.
    Held(Box<dyn VfsLock>),
    /// Somebody else has it; the process id is theirs, if they left it readable.
    Busy(Option<u32>),
}

/// Holds a directory's exclusive lock for as long as it lives.
pub trait VfsLock: Debug + Send + Sync {}

/// A file system, with a clock and a source of randomness beside it.
///
/// Implementations promise POSIX and no more: what was not synced may be lost, whole or in part.
pub trait Vfs: Debug + Send + Sync + 'static {
    /// Opens the directory that a path names, following links. Whatever becomes of the path, what was
    /// opened stays the same directory. `None`, the default, if this file system cannot hold one: then the
    /// calls below are made with the path, each time.
    fn open_dir(&self, _path: &Path) -> io::Result<Option<Arc<dyn VfsDir>>> {
        Ok(None)
    }
    /// Creates a directory, mode 0700. True if it was not there before.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;
    /// The names in a directory, in no particular order.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates a file that must not exist yet, mode 0600, for reading and writing.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;
    /// Opens a regular file without following a link in its last component.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>>;
    /// Gives a file another name, replacing whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must not exist yet. Default: `Unsupported`.
    fn hard_link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Copies a file into one that must not exist yet; gives its size in bytes. Nothing of it is
    /// durable yet. Default: by reading and writing.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<u64> {
        copy_by_position(&*self.open(from, Access::Read)?, &*self.create_new(to)?)
    }
    /// A watch on a file, which need not exist yet, and on the names beside it; of a directory: on
    /// everything in it. `None`, the default, if this file system tells nobody of changes.
    fn watch(&self, _path: &Path) -> io::Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Tries to take the exclusive lock of a directory, through the file `LOCK` inside it.
    fn try_lock(&self, dir: &Path) -> io::Result<LockAttempt>;
    /// Wall-clock time in milliseconds since 1970-01-01 UTC.
    fn unix_time_ms(&self) -> i64;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Lets time pass.
    fn sleep(&self, time: Duration);
    /// An unpredictable number.
    fn random(&self) -> u64;
}

/// A directory that is held open. Names are single ones, looked up in this very directory; no link is
/// followed. It stays the same directory when it is renamed, and when another takes its path.
///
/// The methods are those of [`Vfs`], and promise the same.
pub trait VfsDir: Any + Debug + Send + Sync {
    /// Creates a directory in this one, mode 0700. True if there was nothing of that name before.
    fn create_dir(&self, name: &str) -> io::Result<bool>;
    /// Holds a directory in this one.
    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn VfsDir>>;
    /// The names in it, in no particular order.
    fn list(&self) -> io::Result<Vec<DirEntry>>;
    /// Creates a file that must not exist yet, mode 0600, for reading and writing.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>>;
    /// Opens a regular file.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>>;
    /// Gives a file another name, replacing whatever had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Lets two names change their files at one stroke, so that no name comes or goes and no room is
    /// needed. False, the default, if that cannot be done here.
    fn exchange(&self, _one: &str, _other: &str) -> io::Result<bool> {
        Ok(false)
    }
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file the same name in another directory as well, which must not have it yet. Default:
    /// `Unsupported`, as for a directory of another kind.
    fn hard_link(&self, _name: &str, _to: &dyn VfsDir) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Copies a file to the same name in another directory, which must not have it yet; gives its size in
    /// bytes. Nothing of it is durable yet. Default: by reading and writing.
    fn copy(&self, name: &str, to: &dyn VfsDir) -> io::Result<u64> {
        copy_by_position(&*self.open(name, Access::Read)?, &*to.create_new(name)?)
    }
    /// A watch on a file, which need not exist yet, and on the names beside it; without a name, on
    /// everything in the directory. `None`, the default, if nobody tells of changes.
    fn watch(&self, _name: Option<&str>) -> io::Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes its own name durable, in whatever directory it is by now.
    fn sync_name(&self) -> io::Result<()>;
    /// Tries to take its exclusive lock, through the file `LOCK` inside it.
    fn try_lock(&self) -> io::Result<LockAttempt>;
}

/// An open file. All access is positional, so one handle serves any number of threads.
#[allow(clippy::len_without_is_empty, reason = "a file is not a collection")]
pub trait VfsFile: Debug + Send + Sync {
    /// Reads at most `buf.len()` bytes at `offset`; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most `buf.len()` bytes at `offset`, extending the file as needed.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// The size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) to a size in bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and size durable. After an error nothing is known about either.
    fn sync(&self) -> io::Result<()>;
    /// Has the system begin to write these bytes to the device, so that a later [`sync`](Self::sync) has
    /// less left to do. Promises nothing, and waits at most for room in the device's queue. An error is of these
    /// bytes and may be the only word of their loss, so it counts as that of a failed sync; what was lost before is
    /// left to a sync to say. No bytes: nothing is done. Default: nothing.
    fn write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// Another handle of the same file, for writes past the page cache: offset, length and memory of
    /// each are multiples of [`BLOCK_BYTES`]. `None` if this file system has no such way. They are no
    /// more durable before a [`sync`](Self::sync) than others.
    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        Ok(None)
    }
    /// Whether nobody else has the file: no other handle or mapping of it, of this process or another, and
    /// no second name. Whoever cannot be sure says no. Default: no.
    fn is_sole(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Which file it is. `None`, the default, if this file system cannot tell: then it stays open for as long
    /// as it is in use, however many there are.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }

    /// Sees to it that the next write needs no descriptor, for a handle that is closed between two uses: it is
    /// open until the next [`sync`](Self::sync). Default: it is always open.
    fn ready(&self) -> io::Result<()> {
        Ok(())
    }

    /// Sees to it that it is open from now on, as such a handle has to be before somebody takes the file's name.
    /// Default: it is always open.
    fn keep_open(&self) -> io::Result<()> {
        Ok(())
    }

    /// So many bytes from `offset` as shared memory, or `None` if this file system does not map files.
    fn map(&self, _offset: u64, _len: usize) -> io::Result<Option<Bytes>> {
        Ok(None)
    }
}

/// Tells of changes, also by other processes, from the moment when it was made.
pub trait Watch: Debug + Send + Sync {
    /// Waits for a change since the last call, at most this long; `None` is for ever. May say that
    /// there was one when there was none. False: time ran out, or a signal came.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool>;
    /// What ends a wait from another thread, for good. `None`, the default, if nothing does: then who may be
    /// called away waits a little at a time.
    fn stopper(&self) -> Option<Arc<dyn WatchStop>> {
        None
    }
}

/// Ends the wait of a [`Watch`], now or the next one.
pub trait WatchStop: Debug + Send + Sync {
    /// It may tell of no change any more.
    fn stop(&self);
}

/// Whether an error says that the process, or the system, may open no more files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    [Some(libc::EMFILE), Some(libc::ENFILE)].contains(&error.raw_os_error())
}

/// Whether a file that cannot be read may as well not be there: it was removed since, is somebody else's,
/// or no file at all but a directory, a link, a pipe or a device. It will be so tomorrow.
pub(crate) fn is_out_of_reach(error: &io::Error) -> bool {
    let no_file = [libc::ELOOP, libc::ENXIO, libc::ENODEV];
    let kinds = [
        io::ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::IsADirectory,
        io::ErrorKind::NotADirectory,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|it| no_file.contains(&it))
}

/// Copies a file piece by piece.
fn copy_by_position(from: &dyn VfsFile, to: &dyn VfsFile) -> io::Result<u64> {
    let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        let read = read_full_at(from, &mut buffer, at)?;
        if read == 0 {
            return Ok(at);
        }
        write_all_at(to, buffer.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
}

/// Writes all of `buf` at `offset`, going on after short writes and interruptions.
///
/// # Errors
/// What [`VfsFile::write_at`] meets; `WriteZero` if it takes nothing more. Some of it may be written then.
pub fn write_all_at(file: &dyn VfsFile, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = buf.get(n..).ok_or(io::ErrorKind::InvalidData)?;
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has the system begin to write to the device what was written from `start` to `end`, in whole blocks: the
/// last, in which the next write starts, waits for that.
pub(crate) fn write_back_blocks(file: &dyn VfsFile, start: u64, end: u64) -> io::Result<()> {
    let block = |at: u64| at - at % BLOCK_BYTES as u64;
    let (start, end) = (block(start), block(end));
    if start < end {
        file.write_back(start, end - start)?;
    }
    Ok(())
}

/// Fills as much of `buf` as the file has at `offset`, and gives how many bytes; they are fewer only at its end.
///
/// # Errors
/// What [`VfsFile::read_at`] meets.
pub fn read_full_at(file: &dyn VfsFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
