//! A directory that goes by its path, for file systems that cannot hold one open.
//!
//! What a held directory promises if the path comes to mean another one is not promised here. Called by
//! `Dir`; calls whatever `Vfs` there is.

use super::{Access, DirEntry, LockAttempt, Vfs, VfsDir, VfsFile, Watch};
use std::{
    any::Any,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug)]
pub(super) struct ByPath {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
}

impl ByPath {
    pub(super) fn new(vfs: Arc<dyn Vfs>, path: &Path) -> Self {
        let path = path.to_owned();
        Self { vfs, path }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn same_kind(dir: &dyn VfsDir) -> io::Result<&ByPath> {
    let any: &dyn Any = dir;
    any.downcast_ref()
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

impl VfsDir for ByPath {
    fn create_dir(&self, name: &str) -> io::Result<bool> {
        self.vfs.create_dir(&self.at(name))
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn VfsDir>> {
        let dir = Self::new(self.vfs.clone(), &self.at(name));
        dir.list()?; // It is there, and a directory.
        Ok(Arc::new(dir))
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.vfs.list(&self.path)
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.create_new(&self.at(name))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.open(&self.at(name), access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.vfs.rename(&self.at(from), &self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.vfs.remove(&self.at(name))
    }

    fn hard_link(&self, name: &str, to: &dyn VfsDir) -> io::Result<()> {
        self.vfs.hard_link(&self.at(name), &same_kind(to)?.at(name))
    }

    fn copy(&self, name: &str, to: &dyn VfsDir) -> io::Result<u64> {
        self.vfs.copy(&self.at(name), &same_kind(to)?.at(name))
    }

    fn watch(&self, name: Option<&str>) -> io::Result<Option<Box<dyn Watch>>> {
        match name {
            Some(name) => self.vfs.watch(&self.at(name)),
            None => self.vfs.watch(&self.path),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.vfs.sync_dir(&self.path)
    }

    fn sync_name(&self) -> io::Result<()> {
        let parent = self.path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        self.vfs.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        self.vfs.try_lock(&self.path)
    }
}
