//! Blocks of what was fetched, kept in a directory up to a bound: for who reads the same again, in another process or
//! after this one has ended.
//!
//! INVARIANTS
//! * A file is believed only if its checksum, which covers its name, and its length are right: one that is torn, cut or
//!   another's is a block that is not there, and goes.
//! * A file gets its name once it is written, whole; so any number of processes share a directory. Nothing is synced:
//!   what is lost is fetched again.
//! * What goes wrong here is never an error for who reads. As a log's own, the files are their owner's alone.
//!
//! Called by `segment`; calls the file system.

use crate::{
    error::{Error, Result},
    layout::Object,
};
use bytes::Bytes;
use cairnlog::{
    LogId,
    format::crc32c,
    vfs::{RealFs, Vfs},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Files that end in this are blocks, and what ends in the other is being written.
const BLOCK: &str = "block";
const NEW: &str = "new";
const CHECKSUM_BYTES: usize = 4;
/// After so many that were put, what others have put is looked at.
const LOOK: u64 = 64;
/// What is still being written after so long was left by a process that is gone.
const LEFT: Duration = Duration::from_secs(3600);

/// A directory of blocks.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    bytes_max: u64,
    files: Mutex<Files>,
}

/// Which block: whose it is, of which object, and which of its blocks.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) log_id: LogId,
    pub(super) part: &'a Object,
    pub(super) block: u64,
}

impl At<'_> {
    fn name(&self) -> String {
        let (log, block) = (u128::from_be_bytes(self.log_id.0), self.block);
        let (epoch, number) = (self.part.key.epoch, self.part.key.number);
        let (bytes, checksum) = (self.part.bytes, self.part.checksum);
        format!("{log:032x}-{epoch}-{number}-{bytes}-{checksum:08x}-{block}.{BLOCK}")
    }
}

/// The blocks that are known to be there: who used them last goes last.
#[derive(Debug, Default)]
struct Files {
    known: HashMap<String, (u64, u64)>,
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: u64,
    puts: u64,
}

impl Disk {
    /// Creates the directory if it is not there, and looks at what is.
    pub(super) fn open(dir: &Path, bytes_max: u64) -> Result<Self> {
        let mut owners_only = fs::DirBuilder::new();
        owners_only.recursive(true).mode(0o700);
        owners_only.create(dir).map_err(Error::io(dir))?;
        let disk = Self {
            dir: dir.to_owned(),
            bytes_max,
            files: Mutex::default(),
        };
        disk.look(&mut disk.files()).map_err(Error::io(dir))?;
        Ok(disk)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of so many bytes, if it is there.
    pub(super) fn get(&self, at: At<'_>, len: usize) -> Option<Bytes> {
        let name = at.name();
        let path = self.dir.join(&name);
        let bytes = fs::read(&path).ok()?;
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        if content.len() != len || u32::from_le_bytes(*checksum) != sum(&name, content) {
            self.files().forget(&name);
            fs::remove_file(&path).ok();
            return None;
        }
        self.files().used(name, bytes.len() as u64);
        let mut content = Bytes::from(bytes);
        content.truncate(len);
        Some(content)
    }

    /// Keeps a block, if that can be done.
    pub(super) fn put(&self, at: At<'_>, content: &[u8]) {
        let name = at.name();
        let drawn = RealFs::default().random();
        let new = self.dir.join(format!("{drawn:016x}.{NEW}"));
        let checksum = sum(&name, content).to_le_bytes();
        let write = || {
            let mut how = fs::OpenOptions::new();
            let how = how.write(true).create_new(true).mode(0o600);
            how.open(&new)?.write_all(&[content, &checksum].concat())?;
            fs::rename(&new, self.dir.join(&name))
        };
        if write().is_err() {
            fs::remove_file(&new).ok();
            return;
        }
        let mut files = self.files();
        files.used(name, (content.len() + CHECKSUM_BYTES) as u64);
        files.puts += 1;
        if files.puts >= LOOK {
            files.puts = 0;
            // What it cannot see it does not count.
            self.look(&mut files).ok();
        }
        self.make_room(&mut files);
    }

    fn make_room(&self, files: &mut Files) {
        while files.bytes > self.bytes_max
            && let Some((_, name)) = files.by_use.first_key_value()
        {
            let name = name.clone();
            files.forget(&name);
            fs::remove_file(self.dir.join(&name)).ok();
        }
    }

    /// Takes in what is there, and lets go of what is not any more.
    fn look(&self, files: &mut Files) -> io::Result<()> {
        let mut there = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // One that another process has just removed is not there.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let changed = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let is_old = || changed.elapsed().is_ok_and(|age| age > LEFT);
            match name.rsplit_once('.') {
                Some((_, BLOCK)) => there.push((changed, name, found.len())),
                Some((_, NEW)) if is_old() => drop(fs::remove_file(entry.path())),
                _ => {}
            }
        }
        there.sort();
        let is_there: HashSet<_> = there.iter().map(|it| &it.1).collect();
        let gone = files.known.keys().filter(|name| !is_there.contains(name));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|name| files.forget(name));
        for (_, name, bytes) in there {
            if !files.known.contains_key(&name) {
                files.used(name, bytes);
            }
        }
        self.make_room(files);
        Ok(())
    }
}

impl Files {
    fn used(&mut self, name: String, bytes: u64) {
        self.forget(&name);
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, name.clone());
        self.known.insert(name, (self.uses, bytes));
    }

    fn forget(&mut self, name: &str) {
        if let Some((used, bytes)) = self.known.remove(name) {
            self.by_use.remove(&used);
            self.bytes -= bytes;
        }
    }
}

fn sum(name: &str, content: &[u8]) -> u32 {
    crc32c(crc32c(0, name.as_bytes()), content)
}
