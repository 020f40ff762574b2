//! New records that own their bytes, for who appends and does not wait here: sinks and tasks.
//!
//! Called by `sink`, and by consume for tasks.

use super::{AppendOptions, NewRecord};
use bytes::Bytes;

/// What is a new record and owns it: bytes, which are a value, or an [`OwnedRecord`].
pub trait AsRecord {
    /// The record that it is.
    fn record(&self) -> NewRecord<'_>;

    /// How a sink appends it, if not as the sink says. Default: as the sink says.
    fn options(&self) -> Option<&AppendOptions> {
        None
    }
}

impl<T: AsRef<[u8]>> AsRecord for T {
    fn record(&self) -> NewRecord<'_> {
        NewRecord::value(self)
    }
}

/// A new record that owns its bytes, for sinks and tasks: a [`NewRecord`] of one's own. Cheap to make of [`Bytes`].
///
/// ```
/// use cairnlog::{AppendOptions, Durability, Log, OwnedRecord};
/// use futures_util::SinkExt;
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let log = Log::open(dir.path().join("log"))?;
/// let mut sink = log.sink(AppendOptions::new());
/// let soon = AppendOptions::new().durability(Durability::Written);
/// sink.feed(OwnedRecord::keyed("pears", "3").timestamp_ms(1_700_000_000_000)).await?;
/// sink.feed(OwnedRecord::value("nobody waits for this").options(soon)).await?;
/// sink.send(OwnedRecord::tombstone("pears")).await?;
/// assert_eq!(log.next_seq(), 3);
/// # Ok::<(), cairnlog::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    key: Option<Bytes>,
    value: Option<Bytes>,
    timestamp_ms: Option<i64>,
    options: Option<AppendOptions>,
}

impl OwnedRecord {
    /// A value without a key.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self::of(None, Some(value.into()))
    }

    /// The new value of a key.
    pub fn keyed(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::of(Some(key.into()), Some(value.into()))
    }

    /// The end of a key.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self::of(Some(key.into()), None)
    }

    fn of(key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self {
            key,
            value,
            timestamp_ms: None,
            options: None,
        }
    }

    /// Its time in milliseconds since 1970, instead of the moment of appending.
    #[must_use]
    pub fn timestamp_ms(mut self, time: i64) -> Self {
        self.timestamp_ms = Some(time);
        self
    }

    /// How a sink appends it, instead of how the sink says: its producer, its level. Where records are appended
    /// together, as by [`ConsumerStream::append`](crate::ConsumerStream::append), it means nothing.
    #[must_use]
    pub fn options(mut self, how: AppendOptions) -> Self {
        self.options = Some(how);
        self
    }
}

impl AsRecord for OwnedRecord {
    fn record(&self) -> NewRecord<'_> {
        let record = match (&self.key, &self.value) {
            (Some(key), Some(value)) => NewRecord::keyed(key, value),
            (Some(key), None) => NewRecord::tombstone(key),
            (None, value) => NewRecord::value(value.as_deref().unwrap_or_default()),
        };
        match self.timestamp_ms {
            Some(time) => record.timestamp_ms(time),
            None => record,
        }
    }

    fn options(&self) -> Option<&AppendOptions> {
        self.options.as_ref()
    }
}
