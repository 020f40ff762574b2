//! A log that is read where it is copied to, without being restored: the engine's own reader, over a file system
//! that fetches.
//!
//! INVARIANTS: it shows one moment, as the store has it; nothing is written. What is fetched is kept in memory, up to a
//! bound, in blocks, and on disk if asked to; who reads on is fetched more for at a time. Records are verified by the engine, as from a disk.
//!
//! Rooms: `afar` the file system, `segment` a file of it, `cache` and `disk` what was fetched; `far` the segments that a log has
//! let go of, for the log itself.

mod afar;
mod cache;
mod disk;
mod far;
mod segment;

use crate::{
    error::Result,
    history::{Moment, To},
    store::Store,
};
use afar::{Afar, DIR};
use cairnlog::{Options, ReadMode, Reader, VerifyReport, vfs::Vfs};
use disk::Disk;
pub use far::StoreSegments;
use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a log is read from afar.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    log: Options,
    to: To,
    cache_bytes: usize,
    disk: Option<(PathBuf, u64)>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            log: Options::new(),
            to: To::Latest,
            cache_bytes: 64 << 20,
            disk: None,
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

    /// Keeps what was fetched in a directory as well, up to so many bytes: for who reads the same again later. It is created
    /// if need be, and may be shared by any number of processes, logs and stores, each of which keeps the bound by itself
    /// and knows of what others put after 16 MiB. Nothing there is believed without its checksum: it may be
    /// removed at any time, as a whole or in part. What a log's own keys seal stays sealed in it. Default: none.
    #[must_use]
    pub fn cache_dir(mut self, dir: impl AsRef<Path>, bytes: u64) -> Self {
        self.disk = Some((dir.as_ref().to_owned(), bytes));
        self
    }

    /// Opens a log as [`RemoteReader::open`] does.
    ///
    /// # Errors
    /// As [`RemoteReader::open`]; `Io` if the directory of the cache cannot be made or read.
    pub fn open(&self, store: &Store) -> Result<RemoteReader> {
        let snapshot = store.snapshot(store.find(self.to)?)?;
        let moment = Moment::of(&snapshot.commit).unwrap_or_else(|| unreachable!("it has a state"));
        let disk = (self.disk.as_ref()).map(|(dir, bytes)| Disk::open(dir, *bytes));
        let afar = Afar::new(store, snapshot, self.cache_bytes, disk.transpose()?);
        let vfs: Arc<dyn Vfs> = Arc::new(afar);
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
