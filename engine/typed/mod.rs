//! Values instead of bytes: a thin layer over a log, by serde and a codec of the user's choice.
//!
//! INVARIANT: a value that does not decode is an error with its seq and nothing more; the record
//! itself verified, and the records around it read.
//!
//! Rooms: this file the log, `reads` its records with their values, `consumer` a consumer's, `stream` those
//! of tasks.
//!
//! Called by applications; calls `Log` and consume.

mod consumer;
mod reads;
#[cfg(feature = "async")]
mod stream;

pub use consumer::TypedConsumer;
pub use reads::{TypedRecord, TypedScan, TypedTail};
#[cfg(feature = "async")]
pub use stream::TypedStream;

use crate::{
    append::{AppendOptions, NewRecord},
    consume::ConsumerOptions,
    error::{Error, Op, Result},
    log::Log,
    read::Record,
    types::Seq,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    marker::PhantomData,
    ops::{Range, RangeBounds},
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
        self.append_with(value, &AppendOptions::new())
    }

    /// As [`append`](Self::append), with options.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Durability, Log, Typed};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let temperatures: Typed<f32> = Typed::new(Log::open(dir.path().join("log"))?);
    /// let soon = AppendOptions::new().durability(Durability::Written);
    /// temperatures.append_with(&21.5, &soon)?;
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append), and as [`Log::append_records`].
    pub fn append_with(&self, value: &T, how: &AppendOptions) -> Result<Seq> {
        let bytes = self.encode(value)?;
        let records = [NewRecord::value(&bytes)];
        Ok(self.log.append_records(&records, how)?.start)
    }

    /// Appends values that enter the log together or not at all.
    ///
    /// # Errors
    /// `Codec` if one of them has no bytes, and none is appended; as [`Log::append_batch`].
    pub fn append_batch<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<Range<Seq>>
    where
        T: 'a,
    {
        self.append_batch_with(values, &AppendOptions::new())
    }

    /// As [`append_batch`](Self::append_batch), with options.
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch), and as [`Log::append_records`].
    pub fn append_batch_with<'a>(
        &self,
        values: impl IntoIterator<Item = &'a T>,
        how: &AppendOptions,
    ) -> Result<Range<Seq>>
    where
        T: 'a,
    {
        let bytes: Result<Vec<Vec<u8>>> = values.into_iter().map(|it| self.encode(it)).collect();
        let bytes = bytes?;
        let records: Vec<_> = bytes.iter().map(NewRecord::value).collect();
        self.log.append_records(&records, how)
    }

    /// Appends the new value of a key; `None` is its end.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_keyed(&self, key: impl AsRef<[u8]>, value: Option<&T>) -> Result<Seq> {
        self.append_keyed_with(key, value, &AppendOptions::new())
    }

    /// As [`append_keyed`](Self::append_keyed), with options.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with).
    pub fn append_keyed_with(
        &self,
        key: impl AsRef<[u8]>,
        value: Option<&T>,
        how: &AppendOptions,
    ) -> Result<Seq> {
        let key = key.as_ref();
        let bytes = value.map(|value| self.encode(value)).transpose()?;
        let record = match &bytes {
            Some(bytes) => NewRecord::keyed(key, bytes),
            None => NewRecord::tombstone(key),
        };
        Ok(self.log.append_records(&[record], how)?.start)
    }

    /// The durable record with this number, and its value.
    ///
    /// # Errors
    /// `Codec` with its seq if it does not decode; as [`Log::get`].
    pub fn get(&self, seq: Seq) -> Result<Option<TypedRecord<T>>> {
        reads::decode_any(&self.codec, self.log.get(seq)?)
    }

    /// The newest record of a key, and its value; `None` if the key has none, or was ended.
    ///
    /// ```
    /// use cairnlog::{Log, Typed};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let prices: Typed<u32> = Typed::new(Log::open(dir.path().join("log"))?);
    /// prices.append_keyed("apples", Some(&120))?;
    /// prices.append_keyed("apples", Some(&130))?;
    /// let price = prices.latest("apples")?.and_then(|record| record.into_value());
    /// assert_eq!(price, Some(130));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Codec` with its seq if it does not decode; as [`Reader::latest`](crate::Reader::latest).
    pub fn latest(&self, key: impl AsRef<[u8]>) -> Result<Option<TypedRecord<T>>> {
        let newest = self.log.reader().latest(key.as_ref(), ..)?;
        let live = newest.filter(|record| !record.is_tombstone());
        reads::decode_any(&self.codec, live)
    }

    /// The durable records of a range with their values. One that does not decode is an error with its
    /// seq, and the next call goes on behind it.
    ///
    /// # Errors
    /// As [`Log::scan`].
    pub fn scan(&self, range: impl RangeBounds<Seq>) -> Result<TypedScan<'_, T, C>> {
        Ok(TypedScan::new(self.log.scan(range)?, &self.codec))
    }

    /// The value of a record that was read in another way, as by a queue's worker; `None` for a
    /// tombstone.
    ///
    /// ```
    /// use cairnlog::{Log, QueueOptions, Typed};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let jobs: Typed<String> = Typed::new(Log::open(dir.path().join("log"))?);
    /// jobs.append(&"sweep".to_owned())?;
    /// let queue = jobs.log().consumer("workers")?.into_queue(QueueOptions::new())?;
    /// let job = queue.next()?.expect("there is one");
    /// assert_eq!(jobs.decode(job.record())?.as_deref(), Some("sweep"));
    /// job.ack()?;
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Codec` with its seq if it does not decode.
    pub fn decode(&self, record: &Record) -> Result<Option<T>> {
        reads::value(&self.codec, record)
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>> {
        self.codec
            .encode(value)
            .map_err(|error| Error::codec(Op::Encode, error))
    }
}

impl<T, C: Codec<T> + Clone> Typed<T, C> {
    /// The durable records from `from` on and those to come, with their values.
    ///
    /// ```
    /// use cairnlog::{Log, Typed};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let words: Typed<String> = Typed::new(Log::open(dir.path().join("log"))?);
    /// let mut tail = words.tail(0);
    /// let follower = std::thread::spawn(move || tail.next().expect("one comes"));
    /// words.append(&"hello".to_owned())?;
    /// let word = follower.join().unwrap()?.into_value();
    /// assert_eq!(word.as_deref(), Some("hello"));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn tail(&self, from: Seq) -> TypedTail<T, C> {
        TypedTail::new(self.log.tail(from), self.codec.clone())
    }

    /// The consumer of this name, with the values of what it reads.
    ///
    /// ```
    /// use cairnlog::{Log, Typed};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let words: Typed<String> = Typed::new(Log::open(dir.path().join("log"))?);
    /// words.append(&"hello".to_owned())?;
    /// let mut printer = words.consumer("printer")?;
    /// let word = printer.try_next()?.expect("there is one");
    /// assert_eq!(word.value().map(String::as_str), Some("hello"));
    /// printer.ack(word.seq())?;
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::consumer`].
    pub fn consumer(&self, name: &str) -> Result<TypedConsumer<T, C>> {
        self.consumer_with(name, &ConsumerOptions::new())
    }

    /// As [`consumer`](Self::consumer), with options.
    ///
    /// # Errors
    /// As [`Log::consumer_with`].
    pub fn consumer_with(
        &self,
        name: &str,
        options: &ConsumerOptions,
    ) -> Result<TypedConsumer<T, C>> {
        let consumer = self.log.consumer_with(name, options)?;
        Ok(TypedConsumer::new(consumer, self.codec.clone()))
    }
}
