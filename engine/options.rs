//! How a log is opened. One value, passed in; no globals and no environment variables.

mod choice;
mod compaction;
mod far;
mod many;
mod packing;
mod retention;
mod sealing;

pub use choice::{Durability, OnAmbiguousTail, ReadMode};
pub use compaction::{CompactOptions, KeyMatch};
pub(crate) use far::{FarFile, FarSource};
pub use far::{FarSegment, FarSegments};
pub use packing::PackOptions;
pub use retention::Retention;
pub use sealing::ResealOptions;

use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::{Compression, batch::BATCH_HEADER_BYTES, header::HEADER_BYTES, record, sealed},
    pool::Worker,
    seal::{KeyProvider, KeyRing},
    types::Seq,
    vfs::{RealFs, Vfs},
};
use std::{sync::Arc, time::Duration};

/// How to open a [`Log`](crate::Log).
///
/// ```
/// use cairnlog::{Durability, Log};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::options()
///     .durability(Durability::Written)
///     .segment_bytes(16 << 20)
///     .open(dir.path().join("orders.log"))?;
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) record_bytes_max: Option<u32>,
    pub(crate) queue_bytes_max: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) buffer_interval: Duration,
    pub(crate) idle_watermark: Option<Duration>,
    pub(crate) lock_timeout: Duration,
    pub(crate) read_mode: ReadMode,
    pub(crate) on_ambiguous_tail: OnAmbiguousTail,
    pub(crate) background: bool,
    pub(crate) worker: Option<Worker>,
    pub(crate) sync_interval: Option<Duration>,
    // Shared by all clones, and so by the logs that are opened with them.
    pub(crate) compaction: Option<Arc<CompactOptions>>,
    pub(crate) pack: Option<PackOptions>,
    pub(crate) pack_appends: Option<Compression>,
    pub(crate) keys: KeyRing,
    pub(crate) far: FarSource,
    pub(crate) retention: Option<Arc<Retention>>,
    pub(crate) publish: bool,
    pub(crate) direct_writes: bool,
    pub(crate) recycle: bool,
    pub(crate) threads: usize,
    pub(crate) vfs: Arc<dyn Vfs>,
}

/// The smallest segment size in bytes: room for a header and a few small batches.
pub const SEGMENT_BYTES_MIN: u64 = 512;
/// The largest segment size in bytes: offsets inside a segment are 32 bits in its index.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            durability: Durability::Durable,
            segment_bytes: 64 << 20,
            record_bytes_max: None,
            queue_bytes_max: 8 << 20,
            buffer_bytes: 256 << 10,
            buffer_interval: Duration::from_millis(10),
            idle_watermark: Some(Duration::from_millis(100)),
            lock_timeout: Duration::ZERO,
            read_mode: ReadMode::Mapped,
            on_ambiguous_tail: OnAmbiguousTail::Cut,
            background: true,
            worker: None,
            sync_interval: Some(Duration::from_secs(1)),
            compaction: None,
            pack: None,
            pack_appends: None,
            keys: KeyRing::default(),
            far: None,
            retention: None,
            publish: true,
            direct_writes: false,
            recycle: true,
            threads: 1,
            vfs: Arc::new(RealFs::default()),
        }
    }
}

/// Buffers that may be full before who appends buffered records has to wait.
const BUFFERS_AHEAD: usize = 8;

impl Options {
    /// The defaults: durable appends, segments of 64 MiB, mapped reads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to create the log if there is none. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// What an append waits for unless it says otherwise. Default: [`Durability::Durable`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The size at which a segment is full, in bytes: 512 to 2^31, 64 MiB by default. A batch does
    /// not span segments, so this bounds a batch too.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// The most bytes of key and value in one record. Default: 16 MiB, or what fits a segment. What
    /// the writer accepts every reader reads, whatever its own options.
    #[must_use]
    pub fn record_bytes_max(mut self, bytes: u32) -> Self {
        self.record_bytes_max = Some(bytes);
        self
    }

    /// Bytes that may wait in memory to be written; who appends beyond waits. Default: 8 MiB.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }

    /// Bytes of buffered records that are written together. Default: 256 KiB. Who appends buffered
    /// records runs ahead of the writing by eight such buffers at most: more would not stay in the
    /// processor's cache. After each four that no sync covers the system is asked to begin writing them
    /// to the disk, and so it is for each that a durable append of two or more consists of (on Linux).
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// The longest time that a buffered record stays in memory. Default: 10 ms. Needs the
    /// background worker.
    #[must_use]
    pub fn buffer_interval(mut self, interval: Duration) -> Self {
        self.buffer_interval = interval;
        self
    }

    /// How long after its last sync an idle log writes, and syncs, a watermark, so that later damage
    /// to the last records is provable; `None`: not before close. Default: 100 ms. Needs the
    /// background worker.
    #[must_use]
    pub fn idle_watermark(mut self, after: Option<Duration>) -> Self {
        self.idle_watermark = after;
        self
    }

    /// How long a record that was only written stays without a sync, at most; `None`: until the next
    /// sync or close. Default: 1 s. Needs the background worker.
    #[must_use]
    pub fn sync_interval(mut self, interval: Option<Duration>) -> Self {
        self.sync_interval = interval;
        self
    }

    /// Compacts sealed segments when it is due, in the background or by
    /// [`Log::maintain`](crate::Log::maintain). Default: not at all; by hand,
    /// [`Log::compact`](crate::Log::compact) does.
    #[must_use]
    pub fn compaction(mut self, how: CompactOptions) -> Self {
        self.compaction = Some(Arc::new(how));
        self
    }

    /// Seals what is written from now on: keys and values of records, in the tail as well, so that who reads
    /// the disk learns nothing of them, and who changes one is found out. `SECURITY.md` says what stays in
    /// the clear: sizes, times, counts, numbers, names of cursors. Needs the cargo feature `seal`. Default:
    /// nothing is sealed.
    ///
    /// Readers, of other processes too, take the same keys; without one, what is sealed under it is
    /// `KeyMissing`, and everything else is read: a walk ends there, and another may begin behind it.
    /// Recovery, verification, trimming, retention and backup need none. Appending to a sealed log without
    /// keys is refused. What was there before stays as it is until [`Log::reseal`](crate::Log::reseal).
    /// Programs from before there was sealing refuse such a log by name.
    ///
    /// For each batch it costs 56 bytes (84 if its records have keys, or times of their own; 28 more for each
    /// append that names its producer).
    #[must_use]
    pub fn keys(mut self, provider: impl KeyProvider + 'static) -> Self {
        self.keys = self.keys.with(Arc::new(provider));
        self
    }

    /// From this seq on a record that is in the clear is [`Tampered`](ErrorKind::Tampered), whoever put it there. Without it
    /// what is in the clear is read as ever, also in a sealed log, which may have been in the clear before; and
    /// who writes the disk may take the seal off. 0 is for a log that was sealed from the beginning, or
    /// [resealed](crate::Log::reseal). Default: nothing has to be sealed.
    #[must_use]
    pub fn sealed_from(mut self, seq: Seq) -> Self {
        self.keys = self.keys.sealed_from(seq);
        self
    }

    /// Drops segments from the head as they pass the limits, in the background or by
    /// [`Log::maintain`](crate::Log::maintain): a second later, of a log at rest within a minute. Default: everything is
    /// kept.
    #[must_use]
    pub fn retention(mut self, limits: Retention) -> Self {
        self.retention = Some(Arc::new(limits));
        self
    }

    /// How long to wait for another writer to let go of the log. Default: not at all.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How sealed segments are read. Default: [`ReadMode::Mapped`].
    #[must_use]
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// What to do with an end that does not verify and that nothing attests. Default: cut it.
    #[must_use]
    pub fn on_ambiguous_tail(mut self, choice: OnAmbiguousTail) -> Self {
        self.on_ambiguous_tail = choice;
        self
    }

    /// Whether a background thread prepares segments, writes buffers out and marks idleness. Without
    /// it the same work is done inside appends, or by [`Log::maintain`](crate::Log::maintain).
    /// Default: yes.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Has threads that many logs share do the background work, instead of one of this log's own. A log at
    /// rest then takes no thread and no processor time, and two descriptors: its files are open while they are used
    /// ([`Worker::open_files_max`]). A fresh one takes 44 KiB of the disk, where one alone has half a MiB ready. With
    /// [`background(false)`](Self::background) the threads are not used, the rest holds. Default: a thread of its own.
    #[must_use]
    pub fn worker(mut self, worker: Worker) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Whether readers in other processes are told how far the log is durable, by one small write
    /// that is not synced, after each sync and commit. Without it they see less: what later batches
    /// and the manifest attest. Default: yes.
    #[must_use]
    pub fn publish(mut self, publish: bool) -> Self {
        self.publish = publish;
        self
    }

    /// Whether durable appends are written past the page cache, in whole blocks of 4 KiB (`O_DIRECT`).
    /// The kernel then has less to do: on the machine of `BENCHMARKS.md` a tenth more appends, or a fifth
    /// more of large ones.
    /// But who reads what was just appended reads it from the disk, so tailing readers come later.
    /// Where the file system has no such way it makes no difference. Default: no.
    #[must_use]
    pub fn direct_writes(mut self, direct_writes: bool) -> Self {
        self.direct_writes = direct_writes;
        self
    }

    /// Whether the files of segments that are trimmed, dropped by retention or compacted away are used
    /// again for segments to come: then an append neither waits for space nor writes twice, zeros first
    /// and records later. At most two files are kept for that, of at most 256 MiB each, until the log is
    /// closed or the disk is full. A file that anybody still has, a reader of whatever process, a hard
    /// link, a mapped record, is removed instead; so is each where the file system cannot tell (it grants
    /// leases on Linux: ext4, xfs, btrfs, tmpfs). An older program that does not know of this refuses to
    /// open such a log for writing, by name. A log with [`keys`](Self::keys) does without. Default: yes.
    #[must_use]
    pub fn recycle(mut self, recycle: bool) -> Self {
        self.recycle = recycle;
        self
    }

    /// How many threads read at a time where all of a log is read: by [`verify`](Self::verify), at the end of a
    /// backup, by [`salvage`](Self::salvage), and where a compaction that holds no rate tells keys apart. Each
    /// takes the memory of a window, 256 KiB or the largest batch; in a compaction 1 MiB; in a salvage that of
    /// a segment, and about 100 bytes for each of its records. Default: one, the caller's own.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The file system to live on. Default: the operating system's.
    #[must_use]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// How many bytes may wait in memory when a record of this level is queued behind them.
    pub(crate) fn queued_bytes_max(&self, level: Durability) -> usize {
        let ahead = self.buffer_bytes.saturating_mul(BUFFERS_AHEAD);
        match level {
            Durability::Buffered => self.queue_bytes_max.min(ahead),
            _ => self.queue_bytes_max,
        }
    }

    /// Whether sealed segments are mapped.
    pub(crate) fn mapped(&self) -> bool {
        self.read_mode == ReadMode::Mapped
    }

    pub(crate) fn batch_bytes_max(&self) -> u64 {
        self.segment_bytes - HEADER_BYTES as u64
    }

    /// What a record may take beside key and value, in a batch of its own.
    fn framing_bytes_max(&self) -> u64 {
        let sealing_bytes = if self.keys.seals() {
            sealed::added_bytes(false, 1)
        } else {
            0
        };
        (BATCH_HEADER_BYTES + record::RECORD_BYTES_MIN + 2 + 8 + 20 + sealing_bytes) as u64
    }

    pub(crate) fn record_limit(&self) -> u64 {
        let head = self.framing_bytes_max();
        let fits = self.batch_bytes_max().saturating_sub(head);
        self.record_bytes_max.map_or(fits.min(16 << 20), u64::from)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |note| Err(Error::note(ErrorKind::InvalidInput, Op::Open, note));
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse("segment_bytes must be 512 to 2^31");
        }
        let head = self.framing_bytes_max();
        if self.record_limit() + head > self.batch_bytes_max()
            || self.record_limit() > record::VALUE_BYTES_MAX as u64
        {
            return refuse("record_bytes_max must be below 2^27 and fit a segment");
        }
        if self.queue_bytes_max == 0 || self.buffer_bytes == 0 {
            return refuse("queue_bytes_max and buffer_bytes must not be 0");
        }
        (self.pack.as_ref()).map_or(Ok(()), |how| how.check(Op::Open))?;
        (self.pack_appends).map_or(Ok(()), |codec| packing::check_built(codec, Op::Open))?;
        self.check_keys()?;
        (self.compaction.as_ref()).map_or(Ok(()), |how| how.check())
    }
}
