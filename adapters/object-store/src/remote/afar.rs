//! A file system in which the files of one moment are, as far as they have been asked for. Nothing can be written.
//!
//! Called by the engine; calls `segment`, `cache`.

use super::{
    cache::{BLOCK_BYTES, Cache},
    disk::Disk,
    segment::{AHEAD_MAX, Segment, copy_from},
};
use crate::{history::Snapshot, layout::File, store::Store};
use bytes::Bytes;
use cairnlog::{
    LogId, SegmentId,
    format::names,
    vfs::{Access, DirEntry, LockAttempt, RealFs, Vfs, VfsFile},
};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The directory that the log seems to be in.
pub(super) const DIR: &str = "/";

/// The files of a moment, as far as they have been asked for.
#[derive(Debug)]
pub(super) struct Afar {
    store: Store,
    files: BTreeMap<SegmentId, Arc<File>>,
    /// What is fetched already, by its name.
    small: BTreeMap<String, Bytes>,
    cache: Arc<Mutex<Cache>>,
    disk: Option<Arc<Disk>>,
    log_id: LogId,
    real: RealFs,
}

impl Afar {
    pub(super) fn new(
        store: &Store,
        snapshot: Snapshot,
        cache_bytes: usize,
        disk: Option<Disk>,
    ) -> Self {
        let log_id = snapshot.commit.log_id;
        let Snapshot {
            manifest,
            files,
            producers,
            cursors,
            ..
        } = snapshot;
        let cursors = cursors.into_iter().map(|(id, bytes)| {
            let name = format!("{}/{}", names::CURSORS, names::cursor(id));
            (name, bytes.into())
        });
        let mut small: BTreeMap<_, _> = cursors.collect();
        small.insert(names::MANIFEST.to_owned(), manifest.encode().into());
        small.extend(producers.map(|bytes| (names::PRODUCERS.to_owned(), bytes)));
        let blocks_max = (cache_bytes as u64 / BLOCK_BYTES).max(AHEAD_MAX);
        Self {
            store: store.clone(),
            files: files
                .into_iter()
                .map(|file| (file.id, Arc::new(file)))
                .collect(),
            small,
            real: RealFs::default(),
            cache: Arc::new(Mutex::new(Cache::new(blocks_max))),
            disk: disk.map(Arc::new),
            log_id,
        }
    }
}

/// A path, from the directory of the log on.
fn name_of(path: &Path) -> &str {
    let name = path.strip_prefix(DIR).unwrap_or(path);
    name.to_str().unwrap_or_default()
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for Afar {
    fn create_dir(&self, _: &Path) -> io::Result<bool> {
        read_only()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |name: &str, size_bytes| DirEntry {
            name: name.to_owned(),
            size_bytes,
            is_file: true,
        };
        let within = name_of(path);
        let small = self.small.iter().filter_map(|(name, bytes)| {
            let (directory, name) = name.rsplit_once('/').unwrap_or(("", name));
            (directory == within).then(|| entry(name, bytes.len() as u64))
        });
        let mut entries: Vec<_> = small.collect();
        if within.is_empty() {
            let files = self.files.values();
            entries.extend(files.map(|file| entry(&names::segment(file.id), file.bytes())));
        } else if entries.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(entries)
    }

    fn create_new(&self, _: &Path) -> io::Result<Arc<dyn VfsFile>> {
        read_only()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        if access == Access::ReadWrite {
            return read_only();
        }
        let name = name_of(path);
        if let Some(bytes) = self.small.get(name) {
            return Ok(Arc::new(AfarFile::Small(bytes.clone())));
        }
        let file = names::parse_segment(name).and_then(|id| self.files.get(&id));
        let file = file.ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Arc::new(AfarFile::Segment(Segment {
            store: self.store.clone(),
            log_id: self.log_id,
            file,
            cache: self.cache.clone(),
            disk: self.disk.clone(),
            ahead: Mutex::default(),
        })))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn try_lock(&self, _: &Path) -> io::Result<LockAttempt> {
        read_only()
    }

    fn unix_time_ms(&self) -> i64 {
        self.real.unix_time_ms()
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.real.sleep(time);
    }

    fn random(&self) -> u64 {
        self.real.random()
    }
}

/// A file of that moment: in memory, or fetched as it is read.
#[derive(Debug)]
enum AfarFile {
    Small(Bytes),
    Segment(Segment),
}

impl VfsFile for AfarFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Small(bytes) => Ok(copy_from(bytes, offset, buf)),
            Self::Segment(segment) => segment.read_at(buf, offset),
        }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Segment(segment) => segment.len(),
        })
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }
}
