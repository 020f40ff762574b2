//! What a failed sync ends: all writing to a directory, to those in it, and to their files.
//!
//! INVARIANT: after a failed sync, of whichever, nothing is changed any more: the system tells a lost write once,
//! and a later sync may return success for what the first one lost.
//!
//! Called by `Dir`.

use super::{FileIdentity, VfsFile};
use crate::{error::EarlierSync, sync::Mutex};
use std::{
    io,
    sync::{Arc, OnceLock},
};

/// What a directory, those in it and their files share.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) syncing: Mutex<()>,
    /// The first sync that failed.
    failed: OnceLock<EarlierSync>,
}

impl Fate {
    pub(super) fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            Some(earlier) => Err(io::Error::other(earlier.clone())),
            None => Ok(()),
        }
    }

    /// Remembers what a sync came to, and of which file.
    pub(super) fn tell(&self, name: &str, outcome: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &outcome {
            self.failed.set(EarlierSync::new(name, error)).ok();
        }
        outcome
    }
}

/// A file that is written: not any more once a sync has failed, its own or another's.
#[derive(Debug)]
pub(super) struct Guarded {
    file: Arc<dyn VfsFile>,
    name: Arc<str>,
    fate: Arc<Fate>,
}

impl Guarded {
    pub(super) fn new(name: &str, file: Arc<dyn VfsFile>, fate: Arc<Fate>) -> Self {
        let name = name.into();
        Self { file, name, fate }
    }
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

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        self.file.identity()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<bytes::Bytes>> {
        self.file.map(offset, len)
    }
}
