//! A log's directory: held open, so that the rooms above speak of names only, and nothing goes by path.
//!
//! INVARIANTS: it is opened once, and every call goes to the directory that was found then, whatever
//! becomes of its path. Syncs of directories are made one at a time. After a failed sync, of a directory
//! or of a file that was opened here for writing, nothing is written, cut, renamed or removed any more
//! by way of this object or what shares its [fate](super::fate).

use super::{
    Access, DirEntry, LockAttempt, Vfs, VfsDir, VfsFile, Watch,
    ballast::is_full,
    by_path::ByPath,
    fate::{Fate, Guarded},
    is_out_of_files, read_full_at,
    resting::{OpenFiles, Resting, Syncs},
    write_all_at,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// Read of a file at first, in bytes: what states its length is within.
const HEAD_BYTES: usize = 256;

/// One directory of a file system. Cheap to clone; the clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    vfs: Arc<dyn Vfs>,
    /// Under which it was found, for messages.
    path: PathBuf,
    /// The directory that it is in, and its name there; `None` if it was named by a path.
    parent: Option<(Dir, String)>,
    held: OnceLock<Arc<dyn VfsDir>>,
    fate: Arc<Fate>,
    /// Where the files of many logs are counted that are open, if this is one of many.
    open_files: Option<Arc<OpenFiles>>,
}

impl Dir {
    /// The directory that a path names when it is first used.
    pub(crate) fn new(vfs: Arc<dyn Vfs>, path: &Path) -> Self {
        Self::of_one_of_many(vfs, path, None)
    }

    /// The same of one of many logs, whose files may be closed between two uses.
    pub(crate) fn of_one_of_many(
        vfs: Arc<dyn Vfs>,
        path: &Path,
        open_files: Option<Arc<OpenFiles>>,
    ) -> Self {
        Self::with(vfs, path.to_owned(), None, Arc::default(), open_files)
    }

    fn with(
        vfs: Arc<dyn Vfs>,
        path: PathBuf,
        parent: Option<(Self, String)>,
        fate: Arc<Fate>,
        open_files: Option<Arc<OpenFiles>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                vfs,
                path,
                parent,
                held: OnceLock::new(),
                fate,
                open_files,
            }),
        }
    }

    /// The path under which it was found: for messages, and never to open anything by.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    pub(crate) fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.inner.vfs
    }

    /// Whether this is the very same, opened once.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A directory inside this one; it need not exist. They share a fate.
    pub(crate) fn child(&self, name: &str) -> Self {
        let Inner {
            vfs, path, fate, ..
        } = &*self.inner;
        let parent = Some((self.clone(), name.to_owned()));
        let open_files = self.inner.open_files.clone();
        Self::with(
            vfs.clone(),
            path.join(name),
            parent,
            fate.clone(),
            open_files,
        )
    }

    /// Whether it is the directory of one of many logs.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.inner.open_files.is_some()
    }

    /// A file that was opened here for writing, and that need not stay open if this is one of many logs. It keeps
    /// its name until it [is kept open](VfsFile::keep_open); up to here it is durable, or need not be.
    pub(crate) fn resting(
        &self,
        name: &str,
        file: Arc<dyn VfsFile>,
        syncs: Syncs,
    ) -> Arc<dyn VfsFile> {
        match &self.inner.open_files {
            Some(files) => Resting::over(self.clone(), name, file, (files, syncs)),
            None => file,
        }
    }

    /// The directory itself, opened on first use.
    fn held(&self) -> io::Result<&dyn VfsDir> {
        if self.inner.held.get().is_none() {
            let opened = self.with_descriptor(|| match &self.inner.parent {
                Some((parent, name)) => parent.held()?.open_dir(name),
                None => open(&self.inner.vfs, &self.inner.path),
            })?;
            // If two came at once, one of them counts.
            self.inner.held.set(opened).ok();
        }
        let held = self.inner.held.get().map(|held| &**held);
        held.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The same for a call that changes something.
    fn to_change(&self) -> io::Result<&dyn VfsDir> {
        self.inner.fate.check()?;
        self.held()
    }

    /// Whether a sync failed: then nothing is changed any more.
    pub(crate) fn sync_failed(&self) -> bool {
        self.inner.fate.check().is_err()
    }

    /// The error that every change meets once a sync has failed.
    pub(crate) fn check_changeable(&self) -> io::Result<()> {
        self.inner.fate.check()
    }

    /// Creates the directory if it is not there. Its name is not yet durable.
    pub(crate) fn create(&self) -> io::Result<()> {
        match &self.inner.parent {
            Some((parent, name)) => parent.to_change()?.create_dir(name).map(drop)?,
            None => self.inner.vfs.create_dir(&self.inner.path).map(drop)?,
        }
        self.held().map(drop)
    }

    /// Makes the directory's own name durable.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        let held = self.to_change()?;
        let _one_at_a_time = self.inner.fate.syncing.lock();
        // DURABILITY: after this line the directory survives; what is in it does not yet.
        self.inner.fate.tell("..", held.sync_name())
    }

    pub(crate) fn list(&self) -> io::Result<Vec<DirEntry>> {
        let held = self.held()?;
        self.with_descriptor(|| held.list())
    }

    pub(crate) fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.with_descriptor(|| self.to_change()?.create_new(name))?;
        Ok(self.guarded(name, file))
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.with_descriptor(|| self.open_now(name, access))
    }

    /// As [`open`](Self::open); where the process has no descriptor left nothing is closed for it.
    pub(super) fn open_now(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.held()?.open(name, access)?;
        Ok(match access {
            Access::Read => file,
            Access::ReadWrite => self.guarded(name, file),
        })
    }

    /// Does what takes a descriptor; if there is none, once more when all files are closed that rest.
    fn with_descriptor<T>(&self, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match (work(), &self.inner.open_files) {
            (Err(error), Some(files)) if is_out_of_files(&error) => {
                files.clear();
                work()
            }
            (outcome, _) => outcome,
        }
    }

    fn guarded(&self, name: &str, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(Guarded::new(name, file, self.inner.fate.clone()))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.to_change()?.rename(from, to)
    }

    /// Lets two names change their files at one stroke; false if that cannot be done here.
    pub(crate) fn exchange(&self, one: &str, other: &str) -> io::Result<bool> {
        self.to_change()?.exchange(one, other)
    }

    /// The length of a file in bytes; `None` if it is not there.
    pub(crate) fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match self.open(name, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(opened?.len()?)),
        }
    }

    /// Takes room: a file, created if need be, whose bytes mean nothing, gets zeros from one offset, its
    /// end, to another. False if there is none; then the file is as it was.
    pub(crate) fn fill(&self, name: &str, from: u64, to: u64) -> io::Result<bool> {
        let held = self.to_change()?;
        let mut is_new = false;
        let file = match held.open(name, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                is_new = true;
                held.create_new(name)
            }
            opened => opened,
        };
        let filled = file.and_then(|file| {
            let zeros = vec![0; usize::try_from(to - from).unwrap_or(0)];
            write_all_at(&*file, &zeros, from)?;
            // DURABILITY: after this line the room is ours. A sync that finds none lost nothing that
            // anybody relies on; any other that fails is as bad as that of any file.
            match file.sync() {
                Err(error) if is_full(&error) => Err(error),
                synced => self.inner.fate.tell(name, synced),
            }
        });
        match filled {
            Err(error) if is_full(&error) => {
                self.cut(name, from)?;
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(()) if is_new => {
                // DURABILITY: after this line its name survives as well: a power cut keeps the room.
                self.sync()?;
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    /// Cuts a file whose bytes mean nothing; nothing is left of one that is cut to nothing.
    fn cut(&self, name: &str, len: u64) -> io::Result<()> {
        if len == 0 {
            return self.remove_if_there(name);
        }
        self.open(name, Access::ReadWrite)?.set_len(len)
    }

    /// Gives a file the same name in another directory as well.
    pub(crate) fn hard_link(&self, name: &str, to: &Self) -> io::Result<()> {
        self.held()?.hard_link(name, to.to_change()?)
    }

    /// Copies a file under the same name into another directory. Nothing of it is durable yet.
    pub(crate) fn copy(&self, name: &str, to: &Self) -> io::Result<u64> {
        self.held()?.copy(name, to.to_change()?)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.to_change()?.remove(name)
    }

    /// Removes a name; that it was not there is as good.
    pub(crate) fn remove_if_there(&self, name: &str) -> io::Result<()> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// DURABILITY: after it, every name in the directory survives as it is now.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let held = self.held()?;
        let _one_at_a_time = self.inner.fate.syncing.lock();
        self.inner.fate.check()?;
        // DURABILITY: as said above.
        self.inner.fate.tell("the directory", held.sync())
    }

    pub(crate) fn try_lock(&self) -> io::Result<LockAttempt> {
        let held = self.held()?;
        self.with_descriptor(|| held.try_lock())
    }

    /// A watch on a file and the names beside it, or on everything in the directory.
    pub(crate) fn watch(&self, name: Option<&str>) -> io::Result<Option<Box<dyn Watch>>> {
        self.held()?.watch(name)
    }

    /// Creates a file with this content and makes the content durable, not yet the name.
    pub(crate) fn write_new(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let file = self.create_new(name)?;
        write_all_at(&*file, content, 0)?;
        // DURABILITY: after this line the content survives under whatever name it durably has.
        file.sync()
    }

    /// The content of a file whose first bytes state how long it is, and one byte more if there is
    /// one: enough to see that it is longer. However long it is, no more is read.
    pub(crate) fn read(&self, name: &str, stated: fn(&[u8]) -> u64) -> io::Result<Vec<u8>> {
        let file = self.open(name, Access::Read)?;
        let file_bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut content = vec![0; HEAD_BYTES.min(file_bytes)];
        let read = read_full_at(&*file, &mut content, 0)?;
        content.truncate(read);
        let wanted = usize::try_from(stated(&content).saturating_add(1)).unwrap_or(usize::MAX);
        let wanted = wanted.min(file_bytes);
        let more = wanted.saturating_sub(read);
        content
            .try_reserve_exact(more)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        content.resize(wanted, 0);
        if let Some(rest) = content.get_mut(read..) {
            let count = read_full_at(&*file, rest, read as u64)?;
            content.truncate(read + count);
        }
        Ok(content)
    }
}

/// Holds the directory that a path names by now; by its path where the file system has no other way.
fn open(vfs: &Arc<dyn Vfs>, path: &Path) -> io::Result<Arc<dyn VfsDir>> {
    match vfs.open_dir(path)? {
        Some(dir) => Ok(dir),
        None => Ok(Arc::new(ByPath::new(vfs.clone(), path))),
    }
}
