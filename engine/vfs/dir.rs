//! A log's directory: a file system and a path, so that the rooms above speak of names only.

use super::{Access, DirEntry, LockAttempt, Vfs, VfsFile, write_all_at};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One directory of a file system. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    vfs: Arc<dyn Vfs>,
    path: Arc<Path>,
}

impl Dir {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, path: &Path) -> Self {
        Self {
            vfs,
            path: path.into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A directory inside this one; it need not exist.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            vfs: self.vfs.clone(),
            path: self.at(name).into(),
        }
    }

    /// Creates the directory if it is not there. Its name is not yet durable.
    pub(crate) fn create(&self) -> io::Result<()> {
        self.vfs.create_dir(&self.path).map(drop)
    }

    /// Makes the directory's own name durable.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        let parent = self.path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        // DURABILITY: after this line the directory survives; what is in it does not yet.
        self.vfs.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    pub(crate) fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.vfs.list(&self.path)
    }

    pub(crate) fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.create_new(&self.at(name))
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.open(&self.at(name), access)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.vfs.rename(&self.at(from), &self.at(to))
    }

    /// Gives a file the same name in another directory as well.
    pub(crate) fn hard_link(&self, name: &str, to: &Self) -> io::Result<()> {
        self.vfs.hard_link(&self.at(name), &to.at(name))
    }

    /// Copies a file under the same name into another directory. Nothing of it is durable yet.
    pub(crate) fn copy(&self, name: &str, to: &Self) -> io::Result<u64> {
        self.vfs.copy(&self.at(name), &to.at(name))
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.vfs.remove(&self.at(name))
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
        self.vfs.sync_dir(&self.path)
    }

    pub(crate) fn try_lock(&self) -> io::Result<LockAttempt> {
        self.vfs.try_lock(&self.path)
    }

    /// Creates a file with this content and makes the content durable, not yet the name.
    pub(crate) fn write_new(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let file = self.create_new(name)?;
        write_all_at(&*file, content, 0)?;
        // DURABILITY: after this line the content survives under whatever name it durably has.
        file.sync()
    }

    /// The whole content of a file that is expected to be small.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open(name, Access::Read)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut content = Vec::new();
        content
            .try_reserve_exact(len)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        content.resize(len, 0);
        let read = super::read_full_at(&*file, &mut content, 0)?;
        content.truncate(read);
        Ok(content)
    }
}
