//! The handle's side of appending.

use super::Log;
use crate::{
    append::{AppendOptions, NewRecord, Ticket},
    error::Result,
    types::Seq,
};
use std::ops::Range;

impl Log {
    /// Appends a value and waits until it is durable, or as the log's options say. Gives its number.
    ///
    /// # Errors
    /// `TooLarge` before anything is queued; `NoSpace`, and nothing of it will ever be in the log;
    /// `Indeterminate` if its sync failed; `Poisoned` after any failed sync; `Closed`; `Io`.
    pub fn append(&self, value: impl AsRef<[u8]>) -> Result<Seq> {
        let records = [NewRecord::value(value.as_ref())];
        Ok(self.append_records(&records, &AppendOptions::new())?.start)
    }

    /// Appends the new value of a key; otherwise as [`append`](Self::append).
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_keyed(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seq> {
        let record = NewRecord::keyed(key.as_ref(), value.as_ref());
        self.append_with(record, &AppendOptions::new())
    }

    /// Appends the end of a key; otherwise as [`append`](Self::append).
    ///
    /// ```
    /// use cairnlog::Log;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_keyed("apples", "3")?;
    /// let end = log.append_tombstone("apples")?; // Compaction drops both, in time.
    /// assert!(log.get(end)?.expect("it is there").value().is_none());
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_tombstone(&self, key: impl AsRef<[u8]>) -> Result<Seq> {
        let record = NewRecord::tombstone(key.as_ref());
        self.append_with(record, &AppendOptions::new())
    }

    /// Appends one record with options of its own. Gives its number.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Durability, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let fast = AppendOptions::new().durability(Durability::Buffered);
    /// log.append_with("a value", &fast)?;
    /// log.append_with(("a key", "its value"), &fast)?;
    /// log.append_with(NewRecord::value("of 1970").timestamp_ms(0), &fast)?;
    /// assert_eq!(log.sync()?, 3);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append_records`](Self::append_records).
    pub fn append_with<'a>(
        &self,
        record: impl Into<NewRecord<'a>>,
        how: &AppendOptions,
    ) -> Result<Seq> {
        Ok(self.append_records(&[record.into()], how)?.start)
    }

    /// Appends values that enter the log together or not at all. Gives their numbers.
    ///
    /// # Errors
    /// As [`append`](Self::append); `TooLarge` if they do not fit one segment together.
    pub fn append_batch<I>(&self, values: I) -> Result<Range<Seq>>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let values: Vec<I::Item> = values.into_iter().collect();
        let records: Vec<NewRecord<'_>> = values.iter().map(NewRecord::value).collect();
        self.append_records(&records, &AppendOptions::new())
    }

    /// Appends records, with keys, tombstones, times, that enter the log together or not at all.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, ErrorKind, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let records = [NewRecord::keyed("apples", "3"), NewRecord::tombstone("pears")];
    /// assert_eq!(log.append_records(&records, &AppendOptions::new())?, 0..2);
    /// let only_first = AppendOptions::new().expected_seq(0);
    /// let error = log.append_records(&records, &only_first).unwrap_err();
    /// assert_eq!((error.kind(), error.next_seq()), (ErrorKind::SeqMismatch, Some(2)));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch); `SeqMismatch` if the expected seq is not the next;
    /// `InvalidInput` for a tombstone without a key; `Duplicate` and `Fenced` as a
    /// [producer](AppendOptions::producer) may be told.
    pub fn append_records(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        self.inner.appender.append(records, how)
    }

    /// How many of these records, from the first on, enter the log in one batch at most: for who cuts batches as large as
    /// the [segments](crate::Options::segment_bytes) of this log allow. 0 if the first is too large by itself.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::options().segment_bytes(4096).open(dir.path().join("log"))?;
    /// let (records, how) = ([NewRecord::value(&[7; 1000]); 10], AppendOptions::new());
    /// let mut rest = &records[..];
    /// while !rest.is_empty() {
    ///     let (batch, behind) = rest.split_at(log.batch_len(rest, &how).max(1));
    ///     log.append_records(batch, &how)?; // Tells of one that is too large.
    ///     rest = behind;
    /// }
    /// assert_eq!(log.next_seq(), 10);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn batch_len(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> usize {
        self.inner.appender.core().batch_len(records, how)
    }

    /// Queues records and returns at once, unless the queue is full: then it waits for room. The
    /// ticket can be waited for or awaited.
    ///
    /// # Errors
    /// As [`append_records`](Self::append_records), as far as it is known before the write.
    pub fn submit(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<Ticket> {
        self.inner.appender.submit(records, how)
    }
}
