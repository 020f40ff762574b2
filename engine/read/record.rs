//! A record that owns a cheap reference to its bytes.

use crate::{
    format::{Producer, RecordRef},
    types::Seq,
};
use bytes::Bytes;
use std::ops::Deref;

/// A record read from the log. It derefs to its value and keeps only a reference to the mapped or
/// read bytes: cloning it or turning it into [`Bytes`] copies nothing.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let seq = log.append("hello")?;
/// let record = log.get(seq)?.expect("it was just appended");
/// assert_eq!(&*record, b"hello");
/// let bytes: bytes::Bytes = record.into_bytes();
/// assert_eq!(bytes, "hello");
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    seq: Seq,
    timestamp_ms: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    producer: Option<Producer>,
}

impl Record {
    /// Keeps a borrowed record by sharing the chunk that it lies in.
    #[inline]
    pub(crate) fn keep(record: &RecordRef<'_>, chunk: &Bytes) -> Self {
        let share = |bytes: &[u8]| chunk.slice_ref(bytes);
        Self {
            seq: record.seq,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(share),
            value: record.value.map(share),
            producer: record.producer,
        }
    }

    /// Its number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Its time in milliseconds since 1970: the caller's, or when it was appended.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Its key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Its value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// Whether it says that its key has no value any more.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// Who appended it, if that was said.
    #[must_use]
    pub fn producer(&self) -> Option<Producer> {
        self.producer
    }

    /// The same record with bytes of its own. As read it shares memory with what lies around it, a part of
    /// the segment and often all of its mapping, and keeps that for as long as it lives.
    #[must_use]
    pub fn detach(self) -> Self {
        let own = |bytes: Option<Bytes>| bytes.map(|bytes| Bytes::copy_from_slice(&bytes));
        Self {
            key: own(self.key),
            value: own(self.value),
            ..self
        }
    }

    /// Its value, shared and not copied; empty for a tombstone.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.value.unwrap_or_default()
    }
}

impl Deref for Record {
    type Target = [u8];

    /// Its value; empty for a tombstone.
    fn deref(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Record> for Bytes {
    fn from(record: Record) -> Self {
        record.into_bytes()
    }
}
