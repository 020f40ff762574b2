//! How sealed segments are compacted.

use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::RecordRef,
};
use std::{fmt, sync::Arc, time::Duration};

/// How compaction tells keys apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyMatch {
    /// By their bytes.
    #[default]
    Exact,
    /// By a hash of 128 bits under a key drawn for each pass: less memory for long keys, and so fewer
    /// passes. That two of 2^32 keys collide has a chance of 2^-65, and crafted keys do not raise it.
    Hashed,
}

/// Decides whether a record stays.
type Filter = dyn Fn(&RecordRef<'_>) -> bool + Send + Sync;

/// What compaction drops, when it is due, and what it may take.
///
/// It keeps the newest record of each key and every record without a key. Sequence numbers, order,
/// payloads and times stay as they are.
///
/// ```
/// use cairnlog::{CompactOptions, Log, NewRecord, AppendOptions};
/// use std::time::Duration;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("prices.log"))?;
/// let how = AppendOptions::new();
/// log.append_records(&[NewRecord::keyed("apples", "3")], &how)?;
/// log.append_records(&[NewRecord::keyed("apples", "4")], &how)?;
/// log.rotate()?; // Only sealed segments are compacted.
/// let report = log.compact(&CompactOptions::new().tombstone_age_min(Duration::ZERO))?;
/// assert_eq!(report.dropped_count, 1);
/// assert_eq!(&*log.get(1)?.expect("the newest record of its key"), b"4");
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone)]
pub struct CompactOptions {
    pub(crate) dirty_ratio_min: f64,
    pub(crate) age_min: Duration,
    pub(crate) tombstone_age_min: Duration,
    pub(crate) memory_bytes_max: usize,
    pub(crate) run_bytes_max: u64,
    pub(crate) rate_bytes_per_s: Option<u64>,
    pub(crate) keys: KeyMatch,
    pub(crate) filter: Option<Arc<Filter>>,
}

/// The least memory that compaction can work with, in bytes: a key may have 64 KiB.
const MEMORY_BYTES_MIN: usize = 1 << 20;

impl Default for CompactOptions {
    fn default() -> Self {
        Self {
            dirty_ratio_min: 0.5,
            age_min: Duration::ZERO,
            tombstone_age_min: Duration::from_secs(24 * 60 * 60),
            memory_bytes_max: 64 << 20,
            run_bytes_max: 1 << 30,
            rate_bytes_per_s: Some(64 << 20),
            keys: KeyMatch::Exact,
            filter: None,
        }
    }
}

impl CompactOptions {
    /// The defaults: due at half dirty, tombstones kept for a day, 64 MiB of memory, 64 MiB a second.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The share of bytes in segments that were never compacted, 0 to 1, from which on the background
    /// worker compacts. Called by hand, compaction does not ask. Default: 0.5.
    #[must_use]
    pub fn dirty_ratio_min(mut self, ratio: f64) -> Self {
        self.dirty_ratio_min = ratio;
        self
    }

    /// Segments with a record younger than this are left alone, and those behind them. Default: none.
    #[must_use]
    pub fn age_min(mut self, age: Duration) -> Self {
        self.age_min = age;
        self
    }

    /// How long a tombstone stays at least, by its own time, so that who follows the log sees it.
    /// A cursor that holds and has not passed it keeps it longer. Default: 24 hours.
    #[must_use]
    pub fn tombstone_age_min(mut self, age: Duration) -> Self {
        self.tombstone_age_min = age;
        self
    }

    /// Memory for telling keys apart, in bytes, at least 1 MiB. More keys than fit are worked off in
    /// several passes over the segments. Buffers and the index of one segment, less than 8 MiB, come
    /// on top. Default: 64 MiB.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.memory_bytes_max = bytes;
        self
    }

    /// How many bytes of segments are replaced by one commit, at least one segment: so much room on
    /// disk is needed beside the log. Default: 1 GiB.
    #[must_use]
    pub fn run_bytes_max(mut self, bytes: u64) -> Self {
        self.run_bytes_max = bytes;
        self
    }

    /// How many bytes it reads and writes a second, together. Default: 64 MiB. `None`: as fast as it
    /// can, reading through mappings if the log is [read](crate::ReadMode) so, and writing in a second
    /// thread unless the log is to have [none](crate::Options::background).
    #[must_use]
    pub fn rate_bytes_per_s(mut self, rate: Option<u64>) -> Self {
        self.rate_bytes_per_s = rate;
        self
    }

    /// How keys are told apart. Default: [`KeyMatch::Exact`].
    #[must_use]
    pub fn keys(mut self, keys: KeyMatch) -> Self {
        self.keys = keys;
        self
    }

    /// A further say on every record that would stay, with or without a key: `false` drops it. Asked at
    /// least once for each. Dropping the newest record of a key ends the key: older ones do not come back.
    ///
    /// The log holds it as long as it is open. So do not have it hold the log: then neither is ever let
    /// go; [`close`](crate::Log::close) it, or hold what the filter has to know. If it panics, the
    /// background worker compacts no more before the log is opened anew, and tells
    /// [`worker_error`](crate::Log::worker_error).
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(&RecordRef<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(keep));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |note| Err(Error::note(ErrorKind::InvalidInput, Op::Compact, note));
        if !(0.0..=1.0).contains(&self.dirty_ratio_min) {
            return refuse("dirty_ratio_min must be 0 to 1");
        }
        if self.memory_bytes_max < MEMORY_BYTES_MIN {
            return refuse("memory_bytes_max must be at least 1 MiB");
        }
        if self.rate_bytes_per_s == Some(0) || self.run_bytes_max == 0 {
            return refuse("rate_bytes_per_s and run_bytes_max must not be 0");
        }
        Ok(())
    }
}

impl fmt::Debug for CompactOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactOptions")
            .field("dirty_ratio_min", &self.dirty_ratio_min)
            .field("age_min", &self.age_min)
            .field("tombstone_age_min", &self.tombstone_age_min)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .field("run_bytes_max", &self.run_bytes_max)
            .field("rate_bytes_per_s", &self.rate_bytes_per_s)
            .field("keys", &self.keys)
            .field("filter", &self.filter.is_some())
            .finish()
    }
}
