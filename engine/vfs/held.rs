//! A directory of the operating system, held open: whatever becomes of its path, calls go to this one.
//!
//! INVARIANT: nothing here names a path. Names are looked up in the directory itself, without following
//! links; a directory that was moved, or whose place another took, goes on where it is.
//!
//! Called by way of `Dir`; calls `at`.

use super::{
    Access, DirEntry, LockAttempt, VfsDir, VfsFile, at,
    lock::{self, Lockable},
    real::RealFile,
};
use std::{
    any::Any,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

/// A directory that is open.
#[derive(Debug)]
pub(super) struct HeldDir {
    open: Arc<Lockable>,
}

const DIRECTORY: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY;

impl HeldDir {
    /// Opens the directory that a path names by now; links on the way are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_DIRECTORY);
        let open = Lockable::new(options.open(path)?);
        Ok(Self { open })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.open.dir.as_fd()
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        Ok(at::open(self.fd(), name, flags)?.into())
    }

    fn file(&self, name: &str, access: Access) -> io::Result<File> {
        let access = match access {
            Access::Read => libc::O_RDONLY,
            Access::ReadWrite => libc::O_RDWR,
        };
        // Neither led elsewhere by a link, nor hanging on a pipe.
        let flags = access | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::from(at::open(self.fd(), name, flags)?);
        if !file.metadata()?.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "not a regular file"));
        }
        Ok(file)
    }
}

fn shared(file: File) -> Arc<dyn VfsFile> {
    Arc::new(RealFile { file })
}

/// A held directory of this kind, if it is one.
fn same_kind(dir: &dyn VfsDir) -> Option<&HeldDir> {
    let any: &dyn Any = dir;
    any.downcast_ref()
}

impl VfsDir for HeldDir {
    fn create_dir(&self, name: &str) -> io::Result<bool> {
        match at::mkdir(self.fd(), name) {
            Ok(()) => Ok(true),
            // Whether it is a directory shows when it is opened.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn VfsDir>> {
        let dir = at::open(self.fd(), name, DIRECTORY | libc::O_NOFOLLOW)?;
        let open = Lockable::new(dir.into());
        Ok(Arc::new(Self { open }))
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        at::list(self.fd(), |name, stat| {
            entries.push(DirEntry {
                name,
                size_bytes: if stat.is_file { stat.size_bytes } else { 0 },
                is_file: stat.is_file,
            });
        })?;
        Ok(entries)
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        self.create(name).map(shared)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.file(name, access).map(shared)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        at::rename(self.fd(), from, to)
    }

    #[cfg(target_os = "linux")]
    fn exchange(&self, one: &str, other: &str) -> io::Result<bool> {
        at::exchange(self.fd(), one, other)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        at::unlink(self.fd(), name)
    }

    fn hard_link(&self, name: &str, to: &dyn VfsDir) -> io::Result<()> {
        let to = same_kind(to).ok_or(io::ErrorKind::Unsupported)?;
        at::link(self.fd(), name, to.fd())
    }

    fn copy(&self, name: &str, to: &dyn VfsDir) -> io::Result<u64> {
        match same_kind(to) {
            // Between two files this is `copy_file_range`: the kernel shares the blocks where it can.
            Some(to) => io::copy(&mut self.file(name, Access::Read)?, &mut to.create(name)?),
            None => {
                super::copy_by_position(&*self.open(name, Access::Read)?, &*to.create_new(name)?)
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn watch(&self, name: Option<&str>) -> io::Result<Option<Box<dyn super::Watch>>> {
        super::watch::watch(self.fd(), name)
    }

    fn sync(&self) -> io::Result<()> {
        // By the descriptor that is held: none is needed, and errors since it was opened are told.
        self.open.dir.sync_all()
    }

    fn sync_name(&self) -> io::Result<()> {
        // The directory that holds it by now, whatever path or link led here. That of the root is itself.
        File::from(at::open(self.fd(), "..", DIRECTORY)?).sync_all()
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        lock::try_lock(&self.open)
    }
}
