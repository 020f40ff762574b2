//! A log that is read where it is copied to, without being restored: the engine's own reader, over a file system
//! that fetches.
//!
//! INVARIANTS: it shows one moment, as the store has it; nothing is written. What is fetched is kept in memory, up to a
//! bound, in blocks; who reads on is fetched more for at a time. Records are verified by the engine, as from a disk.

use crate::{
    error::{Error, Result},
    history::{Moment, Snapshot, To},
    layout::File,
    store::Store,
};
use bytes::Bytes;
use cairnlog::{
    Options, ReadMode, Reader, SegmentId, VerifyReport,
    format::names,
    vfs::{Access, DirEntry, LockAttempt, RealFs, Vfs, VfsFile},
};
use std::{
    collections::BTreeMap,
    io,
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What is fetched and kept at a time, in bytes.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Blocks that one request fetches at most, for who reads on.
const AHEAD_MAX: u64 = 16;
/// The directory that the log seems to be in.
const DIR: &str = "/";

/// How a log is read from afar.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    log: Options,
    to: To,
    cache_bytes: usize,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            log: Options::new(),
            to: To::Latest,
            cache_bytes: 64 << 20,
        }
    }
}

impl RemoteOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the log is opened: with the keys of what is sealed.
    #[must_use]
    pub fn log(mut self, options: Options) -> Self {
        self.log = options;
        self
    }

    /// Which moment is shown. With [`To::Seq`] that is the oldest moment which has all records below; it may have more.
    /// Default: the newest.
    #[must_use]
    pub fn to(mut self, to: To) -> Self {
        self.to = to;
        self
    }

    /// How much of what was fetched is kept in memory, in bytes; 4 MiB at least. Default: 64 MiB.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Opens a log as [`RemoteReader::open`] does.
    ///
    /// # Errors
    /// As [`RemoteReader::open`].
    pub fn open(&self, store: &Store) -> Result<RemoteReader> {
        let snapshot = store.snapshot(store.find(self.to)?)?;
        let moment = Moment::of(&snapshot.commit).unwrap_or_else(|| unreachable!("it has a state"));
        let vfs: Arc<dyn Vfs> = Arc::new(Afar::new(store, snapshot, self.cache_bytes));
        let options = self.log.clone().read_mode(ReadMode::Positional).vfs(vfs);
        let reader = options.open_reader(DIR)?;
        Ok(RemoteReader {
            moment,
            options,
            reader,
        })
    }
}

/// Reads a log in a store, as it is at one moment: all that a [`Reader`] can.
///
/// A record by number takes a request or two; a scan one for 4 MiB. Opening reads what stands in the segments that are
/// not full.
///
/// ```
/// use cairnlog::Log;
/// use cairnlog_object_store::{Copier, CopyOptions, RemoteReader, Store};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("news")?;
/// let store = Store::open(dir.path().join("store").to_str().unwrap())?;
/// Copier::start(log.stored()?, &store, CopyOptions::new())?.step()?;
///
/// let reader = RemoteReader::open(&store)?;
/// assert_eq!(reader.get(0)?.as_deref(), Some(&b"news"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RemoteReader {
    moment: Moment,
    options: Options,
    reader: Reader,
}

impl RemoteReader {
    /// Opens the newest moment of the log in a store.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Damaged` if an object that says what there is is not what was put; `Log`; `Store`, `TimedOut`. What
    /// its reads meet are errors of the engine: `Io` if the store cannot be asked, or deleted what this moment needs.
    pub fn open(store: &Store) -> Result<Self> {
        RemoteOptions::new().open(store)
    }

    /// Which moment it shows.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Reads all of it, and tells what does not verify.
    ///
    /// # Errors
    /// `Log` if it cannot be read.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.options.verify(DIR)?)
    }
}

impl Deref for RemoteReader {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// The files of a moment, as far as they have been asked for.
#[derive(Debug)]
struct Afar {
    store: Store,
    files: BTreeMap<SegmentId, Arc<File>>,
    /// What is fetched already, by its name.
    small: BTreeMap<String, Bytes>,
    cache: Arc<Mutex<Cache>>,
    real: RealFs,
}

impl Afar {
    fn new(store: &Store, snapshot: Snapshot, cache_bytes: usize) -> Self {
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
            return Ok(Arc::new(Small(bytes.clone())));
        }
        let file = names::parse_segment(name).and_then(|id| self.files.get(&id));
        let file = file.ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Arc::new(Large {
            store: self.store.clone(),
            file,
            cache: self.cache.clone(),
            ahead: Mutex::default(),
        }))
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

/// A file that is in memory.
#[derive(Debug)]
struct Small(Bytes);

/// A segment, some blocks of which are.
#[derive(Debug)]
struct Large {
    store: Store,
    file: Arc<File>,
    cache: Arc<Mutex<Cache>>,
    /// The block that comes next for who reads on, and how many are fetched then.
    ahead: Mutex<(u64, u64)>,
}

impl Large {
    /// Fetches blocks of the part that an offset is in, into the cache; gives the first.
    fn fetch(&self, (number, start): (usize, u64), block: u64) -> Result<Bytes> {
        let part = &self.file.parts[number];
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let place = start / BLOCK_BYTES + block;
        let count = if ahead.0 == place {
            (ahead.1 * 2).clamp(1, AHEAD_MAX)
        } else {
            1
        };
        let from = block * BLOCK_BYTES;
        let to = (from + count * BLOCK_BYTES).min(part.bytes);
        let name = part.key.name();
        let bytes = self.store.get_range(&name, from..to)?;
        let bytes = bytes.ok_or_else(|| Error::NotFound(format!("{name} is gone")))?;
        if bytes.len() as u64 != to - from {
            return Err(Error::damaged(name, "it is shorter than it was"));
        }
        *ahead = (place + count, count);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, at) in (0..bytes.len()).step_by(BLOCK_BYTES as usize).enumerate() {
            let end = bytes.len().min(at + BLOCK_BYTES as usize);
            // Of its own, so that one block that stays does not keep the others.
            let own = Bytes::copy_from_slice(&bytes[at..end]);
            cache.put((self.file.id, number, block + index as u64), own);
        }
        Ok(bytes.slice(..bytes.len().min(BLOCK_BYTES as usize)))
    }

    /// The part in which an offset is, and where that part begins.
    fn part_at(&self, offset: u64) -> Option<(usize, u64)> {
        let mut start = 0;
        for (number, part) in self.file.parts.iter().enumerate() {
            if offset < start + part.bytes {
                return Some((number, start));
            }
            start += part.bytes;
        }
        None
    }
}

impl VfsFile for Large {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some((number, start)) = self.part_at(offset) else {
            return Ok(0);
        };
        let within = offset - start;
        let block = within / BLOCK_BYTES;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cache.get((self.file.id, number, block));
        drop(cache);
        let bytes = match known {
            Some(bytes) => bytes,
            None => self
                .fetch((number, start), block)
                .map_err(io::Error::other)?,
        };
        let skip = (within % BLOCK_BYTES) as usize;
        let there = bytes.get(skip..).unwrap_or_default();
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.bytes())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }
}

impl VfsFile for Small {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = usize::try_from(offset).ok().and_then(|at| self.0.get(at..));
        let there = there.unwrap_or_default();
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }
}

/// Which segment, which part of it, which block of that.
type BlockKey = (SegmentId, usize, u64);

/// Blocks, of which those go first that were not used for the longest time.
#[derive(Debug)]
struct Cache {
    blocks: BTreeMap<BlockKey, (Bytes, u64)>,
    by_use: BTreeMap<u64, BlockKey>,
    uses: u64,
    blocks_max: u64,
}

impl Cache {
    fn new(blocks_max: u64) -> Self {
        Self {
            blocks: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            blocks_max,
        }
    }

    fn get(&mut self, key: BlockKey) -> Option<Bytes> {
        let (bytes, used) = self.blocks.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, key);
        *used = self.uses;
        Some(bytes.clone())
    }

    fn put(&mut self, key: BlockKey, bytes: Bytes) {
        self.uses += 1;
        if let Some((_, used)) = self.blocks.insert(key, (bytes, self.uses)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        while self.blocks.len() as u64 > self.blocks_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.blocks.remove(&oldest);
        }
    }
}
