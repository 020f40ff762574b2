//! Records with their values: of a range, and as they come.

use super::Codec;
use crate::{
    error::{Error, Op, Place, Result},
    read::{Record, Scan, TailReader},
    types::Seq,
};
use std::{fmt, marker::PhantomData, ops::Deref, time::Duration};

pub(super) fn value<T, C: Codec<T>>(codec: &C, record: &Record) -> Result<Option<T>> {
    let value = record.value().map(|bytes| codec.decode(bytes));
    value.transpose().map_err(|error| {
        Error::codec(Op::Decode, error).at(Place::default().with_seq(record.seq()))
    })
}

pub(super) fn decode<T, C: Codec<T>>(codec: &C, record: Record) -> Result<TypedRecord<T>> {
    let value = value(codec, &record)?;
    Ok(TypedRecord { record, value })
}

/// The same of a record that may not be there.
pub(super) fn decode_any<T, C: Codec<T>>(
    codec: &C,
    record: Option<Record>,
) -> Result<Option<TypedRecord<T>>> {
    record.map(|record| decode(codec, record)).transpose()
}

/// A record with its value. It derefs to the record.
#[derive(Clone, Debug)]
pub struct TypedRecord<T> {
    record: Record,
    value: Option<T>,
}

impl<T> TypedRecord<T> {
    /// The record as it is stored.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Its value, owned; `None` for a tombstone.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        self.value
    }
}

impl<T> Deref for TypedRecord<T> {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

/// The records of a range with their values; from [`Typed::scan`](crate::Typed::scan).
#[derive(Debug)]
pub struct TypedScan<'a, T, C> {
    scan: Scan,
    codec: &'a C,
    of: PhantomData<fn() -> T>,
}

impl<'a, T, C> TypedScan<'a, T, C> {
    pub(super) fn new(scan: Scan, codec: &'a C) -> Self {
        let of = PhantomData;
        Self { scan, codec, of }
    }
}

impl<T, C: Codec<T>> Iterator for TypedScan<'_, T, C> {
    type Item = Result<TypedRecord<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(
            self.scan
                .next()?
                .and_then(|record| decode(self.codec, record)),
        )
    }
}

impl<T, C: Codec<T>> DoubleEndedIterator for TypedScan<'_, T, C> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(
            self.scan
                .next_back()?
                .and_then(|record| decode(self.codec, record)),
        )
    }
}

/// Follows a log of values; from [`Typed::tail`](crate::Typed::tail). As [`TailReader`], but that a value
/// which does not decode is an error with its seq, and the next call goes on behind it.
pub struct TypedTail<T, C> {
    tail: TailReader,
    codec: C,
    of: PhantomData<fn() -> T>,
}

impl<T, C> TypedTail<T, C> {
    pub(super) fn new(tail: TailReader, codec: C) -> Self {
        let of = PhantomData;
        Self { tail, codec, of }
    }

    #[cfg(feature = "async")]
    pub(super) fn into_parts(self) -> (TailReader, C) {
        (self.tail, self.codec)
    }

    /// The lowest seq that it has not shown yet.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.tail.next_seq()
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.tail.is_finished()
    }
}

impl<T, C: Codec<T>> TypedTail<T, C> {
    /// Waits at most this long for the next record. `None`: none came, or the log was closed.
    ///
    /// # Errors
    /// `Codec` if its value does not decode; as [`TailReader::next_timeout`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<TypedRecord<T>>> {
        decode_any(&self.codec, self.tail.next_timeout(timeout)?)
    }

    /// The next record if it is there by now.
    ///
    /// # Errors
    /// As [`next_timeout`](Self::next_timeout).
    pub fn try_next(&mut self) -> Result<Option<TypedRecord<T>>> {
        self.next_timeout(Duration::ZERO)
    }
}

impl<T, C: Codec<T>> Iterator for TypedTail<T, C> {
    type Item = Result<TypedRecord<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.tail.next()?;
        Some(next.and_then(|record| decode(&self.codec, record)))
    }
}

impl<T, C> fmt::Debug for TypedTail<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedTail")
            .field("next_seq", &self.next_seq())
            .finish_non_exhaustive()
    }
}
