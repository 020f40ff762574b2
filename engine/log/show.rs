//! What the log's own reader shows, of what is durable; and waiting until that is more.

use super::Log;
use crate::{
    error::Result,
    read::{Record, SegmentInfo},
    types::Seq,
};
use std::{ops::RangeBounds, time::Duration};

impl Log {
    /// The newest durable record of a key inside a range: see [`Reader::latest`](crate::Reader::latest).
    ///
    /// # Errors
    /// As [`Reader::latest`](crate::Reader::latest).
    pub fn latest(&self, key: &[u8], range: impl RangeBounds<Seq>) -> Result<Option<Record>> {
        self.inner.reader.latest(key, range)
    }

    /// The number of the first durable record at or after a time in milliseconds since 1970: see
    /// [`Reader::seek_time`](crate::Reader::seek_time).
    ///
    /// # Errors
    /// As [`Reader::seek_time`](crate::Reader::seek_time).
    pub fn seek_time(&self, timestamp_ms: i64) -> Result<Seq> {
        self.inner.reader.seek_time(timestamp_ms)
    }

    /// The oldest durable record that is kept; `None` if there is none.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn first(&self) -> Result<Option<Record>> {
        self.inner.reader.first()
    }

    /// The newest durable record; `None` if there is none.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn last(&self) -> Result<Option<Record>> {
        self.inner.reader.last()
    }

    /// The segments, from the oldest; the last is the one that is being written.
    ///
    /// # Errors
    /// None yet.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        self.inner.reader.segments()
    }

    /// Waits until the record with this number is durable: then `get`, scans and tails show it. It syncs
    /// nothing itself: a record that was appended as written or buffered is durable after
    /// [`Options::sync_interval`](crate::Options::sync_interval), or as soon as anybody syncs.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Durability, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let written = AppendOptions::new().durability(Durability::Written);
    /// let seq = log.append_records(&[NewRecord::value("news")], &written)?.start;
    /// assert!(log.get(seq)?.is_none()); // A power cut would take it.
    /// assert!(log.reader().including_written().get(seq)?.is_some());
    /// log.wait_durable(seq)?; // Up to a second, unless somebody syncs.
    /// assert!(log.get(seq)?.is_some());
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` if the log is closed before; `Poisoned` if a sync fails.
    pub fn wait_durable(&self, seq: Seq) -> Result<()> {
        self.inner.reader.wait_for(seq, None).map(drop)
    }

    /// As [`wait_durable`](Self::wait_durable), but no longer than this; false if time ran out.
    ///
    /// # Errors
    /// As [`wait_durable`](Self::wait_durable).
    pub fn wait_durable_timeout(&self, seq: Seq, timeout: Duration) -> Result<bool> {
        self.inner.reader.wait_for(seq, Some(timeout))
    }
}
