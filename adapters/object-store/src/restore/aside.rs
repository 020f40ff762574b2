//! The directory in which a log is restored before it is one, and its way up from there.
//!
//! INVARIANT: what `FROM` names is the moment that the files are of; `READY` is there only once all of them verified.
//!
//! Called by `restore` and `fetch`; calls the file system.

use crate::error::{Error, Result};
use cairnlog::{
    format::names,
    vfs::{Access, DirEntry, Vfs, read_full_at, write_all_at},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// Where it is done.
const ASIDE: &str = "restore";
/// Says of which commit what is aside is.
pub(super) const FROM: &str = "FROM";
/// Says that what is aside was verified, and may be moved up.
pub(super) const READY: &str = "READY";

/// The directory in which it is done, and the one that it is in.
pub(super) struct Aside<'a> {
    pub(super) vfs: &'a dyn Vfs,
    dir: &'a Path,
    pub(super) path: PathBuf,
}

impl<'a> Aside<'a> {
    pub(super) fn new(vfs: &'a dyn Vfs, dir: &'a Path) -> Self {
        let path = dir.join(ASIDE);
        Self { vfs, dir, path }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        match name {
            "" => self.path.clone(),
            name => self.path.join(name),
        }
    }

    pub(super) fn has(&self, name: &str) -> Result<bool> {
        match self.vfs.open(&self.at(name), Access::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(&self.at(name))(error)),
        }
    }

    /// Takes the directory, if it is free or ours; what is aside is of this commit then.
    pub(super) fn begin(&self, from: &str) -> Result<()> {
        let io = Error::io;
        self.vfs.create_dir(self.dir).map_err(io(self.dir))?;
        let there = self.vfs.list(self.dir).map_err(io(self.dir))?;
        let is_there = |name: &str| there.iter().any(|entry| entry.name == name);
        let is_ours = is_there(names::BACKUP) && is_there(ASIDE);
        let only_mark = there.iter().all(|entry| entry.name == names::BACKUP);
        if !is_ours && !only_mark {
            let dir = self.dir.display();
            return Err(Error::InvalidInput(format!(
                "the directory {dir} is not empty"
            )));
        }
        if !is_there(names::BACKUP) {
            let mark = self.dir.join(names::BACKUP);
            // DURABILITY: from here on nobody takes the directory for a log, or makes one of it.
            let file = self.vfs.create_new(&mark).map_err(io(&mark))?;
            file.sync().map_err(io(&mark))?;
            self.vfs.sync_dir(self.dir).map_err(io(self.dir))?;
        }
        self.vfs.create_dir(&self.path).map_err(io(&self.path))?;
        self.vfs.sync_dir(self.dir).map_err(io(self.dir))?;
        if let Some(parent) = self.dir.parent().filter(|it| !it.as_os_str().is_empty()) {
            self.vfs.sync_dir(parent).map_err(io(parent))?;
        }
        if self.read(FROM)?.as_deref() != Some(from.as_bytes()) {
            // Another moment: parts of it may be there all the same. What was moved up may not.
            self.remove(READY)?;
            self.remove(FROM)?;
            self.sync("")?;
            for entry in self.vfs.list(self.dir).map_err(io(self.dir))? {
                if entry.is_file && entry.name != names::BACKUP {
                    let path = self.dir.join(&entry.name);
                    self.vfs.remove(&path).map_err(io(&path))?;
                }
            }
            self.write(FROM, from.as_bytes())?;
            self.sync("")?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let io = || Error::io(&self.at(name));
        let file = match self.vfs.open(&self.at(name), Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io())?,
        };
        let len = usize::try_from(file.len().map_err(io())?).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = read_full_at(&*file, &mut bytes, 0).map_err(io())?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Writes a file anew, durably.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.remove(name)?;
        let path = self.at(name);
        let write = || {
            let file = self.vfs.create_new(&path)?;
            write_all_at(&*file, bytes, 0)?;
            // DURABILITY: after this line the content survives under whatever name it durably has.
            file.sync()
        };
        write().map_err(Error::io(&path))
    }

    pub(super) fn create_dir(&self, name: &str) -> Result<()> {
        let path = self.at(name);
        self.vfs
            .create_dir(&path)
            .map(drop)
            .map_err(Error::io(&path))
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match self.vfs.remove(&self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&self.at(name))(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the names in a directory durable, if it is there.
    pub(super) fn sync(&self, name: &str) -> Result<()> {
        // DURABILITY: after this line what was written there survives under its name.
        match self.vfs.sync_dir(&self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&self.at(name))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is aside and not wanted: what an earlier try made of the files.
    pub(super) fn keep_only(&self, wanted: &BTreeSet<String>) -> Result<()> {
        for name in ["", names::CURSORS] {
            let listed = match self.vfs.list(&self.at(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(Error::io(&self.at(name)))?,
            };
            let is_left = |entry: &&DirEntry| {
                entry.is_file && (!name.is_empty() || !wanted.contains(&entry.name))
            };
            for entry in listed.iter().filter(is_left) {
                let path = self.at(name).join(&entry.name);
                self.vfs.remove(&path).map_err(Error::io(&path))?;
            }
        }
        Ok(())
    }

    /// Moves what is aside to where it belongs, the manifest last. What was moved already is left there.
    pub(super) fn move_up(&self) -> Result<()> {
        self.move_in("")?;
        // DURABILITY: after these two lines everything that the manifest names is where it belongs.
        self.vfs
            .sync_dir(&self.path)
            .map_err(Error::io(&self.path))?;
        self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))?;
        if self.has(names::MANIFEST)? {
            let (from, to) = (self.at(names::MANIFEST), self.dir.join(names::MANIFEST));
            self.vfs.rename(&from, &to).map_err(Error::io(&to))?;
            // DURABILITY: after this line the directory is the log.
            self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))?;
        }
        let mark = self.dir.join(names::BACKUP);
        for name in [READY, FROM, names::LOCK] {
            self.remove(name)?;
        }
        // Empty by now; where that cannot be said to the file system it stays, and means nothing.
        for name in [names::CURSORS, ""] {
            std::fs::remove_dir(self.at(name)).ok();
        }
        self.vfs.remove(&mark).map_err(Error::io(&mark))?;
        // DURABILITY: after this line nothing is left of the mark. With it the log would be the same.
        self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))
    }

    fn move_in(&self, within: &str) -> Result<()> {
        let from = self.at(within);
        let to = if within.is_empty() {
            self.dir.to_owned()
        } else {
            self.dir.join(within)
        };
        let listed = self.vfs.list(&from).map_err(Error::io(&from))?;
        let stays = |name: &str| {
            within.is_empty() && [READY, FROM, names::LOCK, names::MANIFEST].contains(&name)
        };
        for entry in listed.iter().filter(|entry| !stays(&entry.name)) {
            if entry.is_file {
                let to = to.join(&entry.name);
                self.vfs
                    .rename(&from.join(&entry.name), &to)
                    .map_err(Error::io(&to))?;
            } else if within.is_empty() {
                let to = to.join(&entry.name);
                self.vfs.create_dir(&to).map_err(Error::io(&to))?;
                self.move_in(&entry.name)?;
                self.vfs.sync_dir(&to).map_err(Error::io(&to))?;
            }
        }
        Ok(())
    }
}
