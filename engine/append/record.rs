//! What an application hands in: a record, and how to append it.
//!
//! INVARIANT: the epoch of cursors comes from consumers alone.

use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::{
        Producer,
        producers::EPOCH_CURSOR,
        record::{KEY_BYTES_MAX, RecordParts},
    },
    options::Durability,
    types::Seq,
};

/// A record to append: an optional key, a value or a tombstone, optionally a time.
///
/// ```
/// use cairnlog::NewRecord;
/// let paid = NewRecord::value(b"order 7 paid");
/// let price = NewRecord::keyed(b"apples", b"1.20").timestamp_ms(1_700_000_000_000);
/// let gone = NewRecord::tombstone(b"pears");
/// # let _ = (paid, price, gone);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub(crate) parts: RecordPartsOf<'a>,
}

/// The parts of a record in a form that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPartsOf<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp_ms: Option<i64>,
}

impl<'a> NewRecord<'a> {
    /// A value without a key.
    pub fn value(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::of(None, Some(value.as_ref()))
    }

    /// The new value of a key.
    pub fn keyed(
        key: &'a (impl AsRef<[u8]> + ?Sized),
        value: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        Self::of(Some(key.as_ref()), Some(value.as_ref()))
    }

    /// The end of a key: compaction drops what it had, and in time this record too.
    pub fn tombstone(key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::of(Some(key.as_ref()), None)
    }

    fn of(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self {
            parts: RecordPartsOf {
                key,
                value,
                timestamp_ms: None,
            },
        }
    }

    /// Its time in milliseconds since 1970, instead of the moment of appending.
    #[must_use]
    pub fn timestamp_ms(mut self, time: i64) -> Self {
        self.parts.timestamp_ms = Some(time);
        self
    }

    pub(crate) fn payload_bytes(&self) -> u64 {
        let of = |part: Option<&[u8]>| part.map_or(0, |bytes| bytes.len() as u64);
        of(self.parts.key) + of(self.parts.value)
    }

    pub(crate) fn check(&self, payload_bytes_max: u64) -> Result<()> {
        let key_bytes = self.parts.key.map_or(0, <[u8]>::len);
        if key_bytes > KEY_BYTES_MAX {
            return Err(Error::too_large(
                "a key",
                key_bytes as u64,
                KEY_BYTES_MAX as u64,
            ));
        }
        if self.payload_bytes() > payload_bytes_max {
            return Err(Error::too_large(
                "a record",
                self.payload_bytes(),
                payload_bytes_max,
            ));
        }
        if self.parts.key.is_none() && self.parts.value.is_none() {
            let note = "a tombstone needs a key";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Append, note));
        }
        Ok(())
    }

    /// The parts to encode; a batch whose own time cannot be stated gives it to each record.
    pub(crate) fn parts(
        &self,
        time_if_none: Option<i64>,
        producer: Option<Producer>,
    ) -> RecordParts<'a> {
        RecordParts {
            key: self.parts.key,
            value: self.parts.value,
            timestamp_ms: self.parts.timestamp_ms.or(time_if_none),
            producer,
        }
    }
}

/// A value without a key.
impl<'a, V: AsRef<[u8]> + ?Sized> From<&'a V> for NewRecord<'a> {
    fn from(value: &'a V) -> Self {
        Self::value(value)
    }
}

/// A key and its new value.
impl<'a, K, V> From<(&'a K, &'a V)> for NewRecord<'a>
where
    K: AsRef<[u8]> + ?Sized,
    V: AsRef<[u8]> + ?Sized,
{
    fn from((key, value): (&'a K, &'a V)) -> Self {
        Self::keyed(key, value)
    }
}

/// How to append, where it differs from the log's options.
///
/// ```
/// use cairnlog::{AppendOptions, Durability};
/// let how = AppendOptions::new().durability(Durability::Written).expected_seq(12);
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    pub(crate) durability: Option<Durability>,
    pub(crate) expected_seq: Option<Seq>,
    pub(crate) producer: Option<Producer>,
}

impl AppendOptions {
    /// As the log's options say, unconditionally.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What this append waits for.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Append only if the first record gets this number; else nothing is appended and the error,
    /// `SeqMismatch`, carries the actual next number.
    #[must_use]
    pub fn expected_seq(mut self, seq: Seq) -> Self {
        self.expected_seq = Some(seq);
        self
    }

    /// Names the append, so that it can be repeated safely: a repeat appends nothing, gives the seqs of
    /// the original, and waits for its level as the original does. Also after a crash. All records of
    /// the append carry the name.
    ///
    /// A producer's numbers rise, with gaps as it likes, within an epoch of 0 to 2^32 - 2; a higher
    /// epoch takes over, starts its numbers anew, and fences off the lower ones. The log remembers the
    /// last 8 appends of each of the last 4096 producers, by their latest append. A number of a known
    /// producer that is older is refused as `Duplicate`; a producer that is not known any more is taken
    /// for a new one. Records that are rewound free their numbers, those of the 8 that are remembered.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, ErrorKind, Log, NewRecord, Producer};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let order = [NewRecord::value("order 1 created")];
    /// let how = AppendOptions::new().producer(Producer { id: 7, epoch: 0, number: 42 });
    /// assert_eq!(log.append_records(&order, &how)?, 0..1);
    /// assert_eq!(log.append_records(&order, &how)?, 0..1); // Was the first one lost? It was not.
    /// assert_eq!(log.next_seq(), 1);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// What only a consumer may say.
    pub(crate) fn check(&self) -> Result<()> {
        if (self.producer).is_some_and(|producer| producer.epoch == EPOCH_CURSOR) {
            let note = "the epoch 2^32 - 1 of a producer is kept for cursors";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Append, note));
        }
        Ok(())
    }
}
