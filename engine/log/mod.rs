//! `Log`: the handle. Every method is a few lines that call one journey.

mod append;
mod keep;
#[cfg(feature = "async")]
mod later;
mod marks;
mod show;
mod tools;

use crate::{
    append::{Appender, Core, Ticket, Upkeep},
    catalog::Level,
    compact,
    cursor::Cursors,
    error::{Error, ErrorKind, Op, Result},
    observe::Stats,
    options::{Durability, Options},
    read::{Reader, Record, Scan, TailReader},
    recover::{self, Recovery},
    sync::{Arc, atomic::Ordering},
    types::{LogId, Seq},
    upkeep::Keeper,
    vfs::Dir,
};
use std::{fmt, ops::RangeBounds, path::Path};

/// An append-only log in a directory of its own.
///
/// Cheap to clone; all clones share one log, and any number of threads may use it at once. When the
/// last clone is dropped the log is closed; [`close`](Self::close) does the same and tells how it
/// went.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("orders.log"))?;
/// let seq = log.append("order 1 created")?; // Durable when it returns.
/// for record in log.scan(seq..)? {
///     println!("{}", String::from_utf8_lossy(&record?));
/// }
/// log.close()?;
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    appender: Appender,
    keeper: Arc<Keeper>,
    reader: Reader,
    cursors: Arc<Cursors>,
    recovery: Recovery,
    log_id: LogId,
    /// The process that opened the log: a forked child must not write when it drops its copy.
    process_id: u32,
}

impl Log {
    /// Opens the log in this directory with the default [`Options`], creating or recovering it as
    /// needed. What recovery found is in [`recovery`](Self::recovery).
    ///
    /// # Errors
    /// `Locked` with the holder's process id if another handle writes to it; `Damaged` with the place
    /// if durable bytes do not verify; `Unsupported` if a newer version wrote it; `NoSpace`; `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    /// The options to open a log with.
    #[must_use]
    pub fn options() -> Options {
        Options::new()
    }

    fn open_with(path: &Path, options: Options) -> Result<Self> {
        let dir = Dir::of_one_of_many(options.vfs.clone(), path, options.open_files());
        let (parts, recovery, lock) = recover::open(&dir, options)?;
        let (catalog, watermark) = (parts.catalog.clone(), parts.watermark.clone());
        let owner = parts.owner;
        let cursors = Arc::new(Cursors::open(&dir, owner)?);
        let keeper = Arc::new(Keeper::new(cursors.clone()));
        let options = &parts.options;
        let wanted =
            options.compaction.is_some() || options.retention.is_some() || options.pack.is_some();
        let upkeep = wanted.then(|| keeper.clone() as Arc<dyn Upkeep>);
        let appender = Appender::new(parts, lock, upkeep)?;
        let inner = Inner {
            reader: Reader::new(catalog, watermark, appender.queued()),
            appender,
            keeper,
            cursors,
            recovery,
            log_id: owner.log_id,
            process_id: std::process::id(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes everything appended so far durable. Gives the seq below which everything is.
    ///
    /// # Errors
    /// `Indeterminate`, `Poisoned`, `NoSpace` (also for buffered records that had to be dropped), `Io`.
    pub fn sync(&self) -> Result<Seq> {
        self.inner.appender.sync()
    }

    /// Ends the tail segment early: the next append goes into a new one.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn rotate(&self) -> Result<()> {
        self.inner.appender.rotate()
    }

    /// A reader of what is durable; any number may read at once, and none blocks the writer.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.inner.reader.clone()
    }

    /// The durable record with this number: see [`Reader::get`].
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn get(&self, seq: Seq) -> Result<Option<Record>> {
        self.inner.reader.get(seq)
    }

    /// The durable records of a range: see [`Reader::scan`].
    ///
    /// # Errors
    /// As [`Reader::scan`].
    pub fn scan(&self, range: impl RangeBounds<Seq>) -> Result<Scan> {
        self.inner.reader.scan(range)
    }

    /// The durable records from `from` on, and those to come: see [`Reader::tail`].
    #[must_use]
    pub fn tail(&self, from: Seq) -> TailReader {
        self.reader().tail(from)
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// The log's identity, the same for all its life.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.inner.log_id
    }

    /// The number that the next append gets.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.inner.appender.next_seq()
    }

    /// The oldest record kept.
    #[must_use]
    pub fn head_seq(&self) -> Seq {
        self.inner.reader.catalog.load().head_seq
    }

    /// The seq below which everything is durable.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        self.inner.reader.watermark.get(Level::Durable)
    }

    /// The log's numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (inner, counters) = (&self.inner, self.inner.appender.counters());
        let catalog = inner.reader.catalog.load();
        let sealed_bytes: u64 = catalog
            .sealed
            .iter()
            .map(|segment| segment.entry.frames_end)
            .sum();
        let far = catalog.sealed.iter().filter(|segment| segment.entry.far);
        let far_bytes = far.map(|segment| segment.entry.frames_end).sum();
        let tail_bytes: u64 = catalog.tails.iter().map(|tail| tail.written_end()).sum();
        Stats {
            head_seq: catalog.head_seq,
            next_seq: self.next_seq(),
            written_seq: inner.reader.watermark.get(Level::Written),
            durable_seq: self.durable_seq(),
            appended_records: counters.appended_records.load(Ordering::Relaxed),
            appended_bytes: counters.appended_bytes.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
            group_count: counters.group_count.load(Ordering::Relaxed),
            sync_count: counters.sync_count.load(Ordering::Relaxed),
            rotation_count: counters.rotation_count.load(Ordering::Relaxed),
            segment_count: (catalog.sealed.len() + catalog.tails.len()) as u64,
            frame_bytes: sealed_bytes + tail_bytes,
            sealed_bytes,
            far_bytes,
            dirty_bytes: compact::dirty_bytes(&inner.appender.core().manifest().snapshot().sealed),
            queued_bytes: inner.appender.queued_bytes(),
            sync_ns: counters.sync_ns.snapshot(),
            sync_records: counters.sync_records.snapshot(),
            durable_append_ns: counters.durable_append_ns.snapshot(),
            written_append_ns: counters.written_append_ns.snapshot(),
            buffered_append_ns: counters.buffered_append_ns.snapshot(),
        }
    }

    /// The lowest position of a cursor that holds back retention; `None` if none does.
    ///
    /// # Errors
    /// `Damaged` with its place if a cursor does not verify: it may hold back what is not known. `Io`.
    pub fn held_seq(&self) -> Result<Option<Seq>> {
        let held = self.inner.cursors.held(self.core())?;
        held.damaged.into_iter().next().map_or(Ok(held.seq), Err)
    }

    pub(crate) fn cursor_files(&self) -> &Cursors {
        &self.inner.cursors
    }

    pub(crate) fn appender(&self) -> &Appender {
        &self.inner.appender
    }

    pub(crate) fn core(&self) -> &Core {
        self.inner.appender.core()
    }

    /// Closes the log for all its clones: everything appended becomes durable, the end is named
    /// in the manifest, so that any later damage to it is provable, and the directory is let go: it can
    /// be opened again. What is under way in other threads is waited for; a compaction ends early.
    /// Afterwards whatever would change the log says `Closed`. Every call is told the one outcome.
    ///
    /// # Errors
    /// As [`sync`](Self::sync). The log is closed all the same. `InvalidInput` within a closure that the
    /// log calls itself, a filter for example: it is closed as soon as that has returned.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<()> {
        if std::process::id() != self.process_id {
            let note = "the log was opened by another process";
            return Err(Error::note(ErrorKind::Closed, Op::Close, note));
        }
        self.appender.close()
    }
}

/// Short, whatever the log holds: it stands in what people print.
impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.core().dir().path())
            .field("head_seq", &self.head_seq())
            .field("durable_seq", &self.durable_seq())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who wants to know calls `close` first; then this does nothing.
        self.close().ok();
    }
}

impl Options {
    /// Opens the log in this directory, creating or recovering it as needed.
    ///
    /// # Errors
    /// As [`Log::open`]; `InvalidInput` for options that contradict each other; `NotFound` without
    /// [`create`](Self::create).
    pub fn open(self, path: impl AsRef<Path>) -> Result<Log> {
        Log::open_with(path.as_ref(), self)
    }
}

/// Everything a handle shares can be used from any thread.
const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Log>();
    check::<Reader>();
    check::<Record>();
    check::<Ticket>();
    check::<Durability>();
};
