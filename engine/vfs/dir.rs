//! A log's directory: held open, so that the rooms above speak of names only, and nothing goes by path.
//!
//! INVARIANTS: it is opened once, and every call goes to the directory that was found then, whatever
//! becomes of its path. Syncs of directories are made one at a time. After a failed sync, of a directory
//! or of a file that was opened here for writing, nothing is written, cut, renamed or removed any more
//! by way of this object or what shares its fate: the system tells a lost write once, and a later sync
//! may return success for what the first one lost.

use super::{
    Access, DirEntry, LockAttempt, Vfs, VfsDir, VfsFile, Watch, ballast::is_full, by_path::ByPath,
    read_full_at, write_all_at,
};
use crate::{error::EarlierSync, sync::Mutex};
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
}

/// What a directory, those in it and their files share.
#[derive(Debug, Default)]
struct Fate {
    syncing: Mutex<()>,
    /// The first sync that failed.
    failed: OnceLock<EarlierSync>,
}

impl Fate {
    fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            Some(earlier) => Err(io::Error::other(earlier.clone())),
            None => Ok(()),
        }
    }

    /// Remembers what a sync came to, and of which file.
    fn tell(&self, name: &str, outcome: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &outcome {
            self.failed.set(EarlierSync::new(name, error)).ok();
        }
        outcome
    }
}

impl Dir {
    /// The directory that a path names when it is first used.
    pub(crate) fn new(vfs: Arc<dyn Vfs>, path: &Path) -> Self {
        Self::with(vfs, path.to_owned(), None, Arc::default())
    }

    fn with(
        vfs: Arc<dyn Vfs>,
        path: PathBuf,
        parent: Option<(Self, String)>,
        fate: Arc<Fate>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                vfs,
                path,
                parent,
                held: OnceLock::new(),
                fate,
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
        Self::with(vfs.clone(), path.join(name), parent, fate.clone())
    }

    /// The directory itself, opened on first use.
    fn held(&self) -> io::Result<&dyn VfsDir> {
        if self.inner.held.get().is_none() {
            let opened = match &self.inner.parent {
                Some((parent, name)) => parent.held()?.open_dir(name)?,
                None => open(&self.inner.vfs, &self.inner.path)?,
            };
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
        self.inner.fate.failed.get().is_some()
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
        self.held()?.list()
    }

    pub(crate) fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.guarded(name, self.to_change()?.create_new(name)?))
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.held()?.open(name, access)?;
        Ok(match access {
            Access::Read => file,
            Access::ReadWrite => self.guarded(name, file),
        })
    }

    fn guarded(&self, name: &str, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        let (name, fate) = (name.into(), self.inner.fate.clone());
        Arc::new(Guarded { file, name, fate })
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
        self.held()?.try_lock()
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

/// A file that is written: not any more once a sync has failed, its own or another's.
#[derive(Debug)]
struct Guarded {
    file: Arc<dyn VfsFile>,
    name: Arc<str>,
    fate: Arc<Fate>,
}

impl VfsFile for Guarded {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.fate.check()?;
        self.file.write_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fate.check()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.fate.check()?;
        // DURABILITY: whoever asked says what is safe after it.
        self.fate.tell(&self.name, self.file.sync())
    }

    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.fate.check()?;
        let begun = self.file.write_back(offset, len);
        self.fate.tell(&self.name, begun)
    }

    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        let (name, fate) = (self.name.clone(), self.fate.clone());
        let direct = self.file.direct()?;
        Ok(direct.map(|file| Arc::new(Self { file, name, fate }) as _))
    }

    fn is_sole(&self) -> io::Result<bool> {
        self.file.is_sole()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<bytes::Bytes>> {
        self.file.map(offset, len)
    }
}
