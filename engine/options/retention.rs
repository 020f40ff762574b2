//! How long records are kept.

use crate::types::Seq;
use std::time::Duration;

/// Which sealed segments are dropped from the head: whole ones only, and only while a limit is passed.
///
/// A cursor that [holds](crate::ConsumerOptions::holds) keeps what its consumer has not acknowledged,
/// up to [`held_bytes_max`](Self::held_bytes_max). One that does not verify holds nothing: its consumer
/// is stopped, and [`RetainReport`](crate::RetainReport) names it.
///
/// What is dropped is out of the log at once. Its files go when nobody in this process reads them any more:
/// a [`Scan`](crate::Scan) and a [`TailReader`](crate::TailReader) show the log as it was when they looked, and
/// keep its files until they have come to that end or are dropped, however slow they are; a
/// [`Record`](crate::Record) keeps the file of its bytes until it is [detached](crate::Record::detach). Readers
/// in other processes can keep the space of files, by having them open or mapped, but no names.
///
/// ```
/// use cairnlog::{Log, Retention};
/// use std::time::Duration;
/// # let dir = tempfile::tempdir().unwrap();
/// let week = Retention::new().age_max(Duration::from_secs(7 * 86_400)).bytes_max(10 << 30);
/// let log = Log::options().retention(week).open(dir.path().join("orders.log"))?;
/// assert_eq!(log.retain(&Retention::new().seq_min(100))?.segment_count, 0);
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub(crate) bytes_max: Option<u64>,
    pub(crate) age_max: Option<Duration>,
    pub(crate) seq_min: Option<Seq>,
    pub(crate) held_bytes_max: Option<u64>,
}

impl Retention {
    /// Everything is kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes of frames in all segments, the tail included.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = Some(bytes);
        self
    }

    /// The greatest age of a segment's youngest record, by its own time. A time ahead of the clock counts
    /// as that of the segment behind it: a clock that was wrong once keeps nothing for good.
    #[must_use]
    pub fn age_max(mut self, age: Duration) -> Self {
        self.age_max = Some(age);
        self
    }

    /// Records below may go.
    #[must_use]
    pub fn seq_min(mut self, seq: Seq) -> Self {
        self.seq_min = Some(seq);
        self
    }

    /// The most bytes that cursors hold back: beyond them, segments go although a consumer has not seen
    /// them. It is told: its next read gives `Trimmed` with the seq to go on from. Default: no bound.
    #[must_use]
    pub fn held_bytes_max(mut self, bytes: u64) -> Self {
        self.held_bytes_max = Some(bytes);
        self
    }
}
