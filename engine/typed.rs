//! Values instead of bytes: a thin layer over a log, by serde and a codec of the user's choice.
//!
//! INVARIANT: a value that does not decode is an error with its seq and nothing more; the record
//! itself verified, and the records around it read.
//!
//! Called by applications; calls `Log`.

use crate::{
    append::{AppendOptions, NewRecord},
    error::{Error, Op, Place, Result},
    log::Log,
    read::{Record, Scan},
    types::Seq,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, Range, RangeBounds},
};

/// Turns values into bytes and back.
pub trait Codec<T> {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The bytes of a value.
    ///
    /// # Errors
    /// If the value has none.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Self::Error>;

    /// The value of bytes.
    ///
    /// # Errors
    /// If they are not those of a value.
    fn decode(&self, bytes: &[u8]) -> Result<T, Self::Error>;
}

/// The default codec: [postcard](https://postcard.jamesmunns.com/wire-format), compact and with a
/// documented format. Fields are not named in it: a type that changes needs a new variant of an enum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    type Error = postcard::Error;

    fn encode(&self, value: &T) -> Result<Vec<u8>, Self::Error> {
        postcard::to_allocvec(value)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Self::Error> {
        // What is left over belongs to another type.
        match postcard::take_from_bytes(bytes)? {
            (value, []) => Ok(value),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

/// A log of values of one type.
///
/// ```
/// use cairnlog::{Log, Typed};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Order {
///     Created { id: u64 },
///     Paid { id: u64, cents: u32 },
/// }
/// # let dir = tempfile::tempdir().unwrap();
/// let orders: Typed<Order> = Typed::new(Log::open(dir.path().join("orders.log"))?);
/// orders.append(&Order::Created { id: 1 })?;
/// orders.append(&Order::Paid { id: 1, cents: 250 })?;
/// for order in orders.scan(..)? {
///     let order = order?;
///     println!("{}: {:?}", order.record().seq(), order.value());
/// }
/// # Ok::<(), cairnlog::Error>(())
/// ```
pub struct Typed<T, C = Postcard> {
    log: Log,
    codec: C,
    of: PhantomData<fn(T) -> T>,
}

impl<T, C: Clone> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self::with_codec(self.log.clone(), self.codec.clone())
    }
}

impl<T, C> fmt::Debug for Typed<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl<T> Typed<T> {
    /// Over a log whose values are in [`Postcard`]'s format.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self::with_codec(log, Postcard)
    }
}

impl<T, C> Typed<T, C> {
    /// Over a log whose values this codec reads and writes.
    #[must_use]
    pub fn with_codec(log: Log, codec: C) -> Self {
        let of = PhantomData;
        Self { log, codec, of }
    }

    /// The log: for everything that is not about values.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl<T, C: Codec<T>> Typed<T, C> {
    /// Appends a value and waits as the log's options say. Gives its number.
    ///
    /// # Errors
    /// `Codec` if it has no bytes; as [`Log::append`].
    pub fn append(&self, value: &T) -> Result<Seq> {
        self.log.append(self.encode(value)?)
    }

    /// Appends values that enter the log together or not at all.
    ///
    /// # Errors
    /// `Codec` if one of them has no bytes, and none is appended; as [`Log::append_batch`].
    pub fn append_batch<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<Range<Seq>>
    where
        T: 'a,
    {
        let bytes: Result<Vec<Vec<u8>>> = values.into_iter().map(|it| self.encode(it)).collect();
        self.log.append_batch(bytes?)
    }

    /// Appends the new value of a key; `None` is its end.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_keyed(&self, key: impl AsRef<[u8]>, value: Option<&T>) -> Result<Seq> {
        let key = key.as_ref();
        let bytes = value.map(|value| self.encode(value)).transpose()?;
        let record = match &bytes {
            Some(bytes) => NewRecord::keyed(key, bytes),
            None => NewRecord::tombstone(key),
        };
        Ok(self
            .log
            .append_records(&[record], &AppendOptions::new())?
            .start)
    }

    /// The durable record with this number, and its value.
    ///
    /// # Errors
    /// `Codec` with its seq if it does not decode; as [`Log::get`].
    pub fn get(&self, seq: Seq) -> Result<Option<TypedRecord<T>>> {
        let record = self.log.get(seq)?;
        record.map(|record| decode(&self.codec, record)).transpose()
    }

    /// The durable records of a range with their values. One that does not decode is an error with its
    /// seq, and the next call goes on behind it.
    ///
    /// # Errors
    /// As [`Log::scan`].
    pub fn scan(&self, range: impl RangeBounds<Seq>) -> Result<TypedScan<'_, T, C>> {
        Ok(TypedScan {
            scan: self.log.scan(range)?,
            codec: &self.codec,
            of: PhantomData,
        })
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>> {
        self.codec
            .encode(value)
            .map_err(|error| Error::codec(Op::Encode, error))
    }
}

fn decode<T, C: Codec<T>>(codec: &C, record: Record) -> Result<TypedRecord<T>> {
    let value = record.value().map(|bytes| codec.decode(bytes));
    let value = value.transpose().map_err(|error| {
        Error::codec(Op::Decode, error).at(Place::default().with_seq(record.seq()))
    })?;
    Ok(TypedRecord { record, value })
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

/// The records of a range with their values; from [`Typed::scan`].
#[derive(Debug)]
pub struct TypedScan<'a, T, C> {
    scan: Scan,
    codec: &'a C,
    of: PhantomData<fn() -> T>,
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
