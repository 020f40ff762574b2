//! A consumer of values.
//!
//! INVARIANT: a value that does not decode stops nobody: it is told once, by its seq, and passed.

use super::{
    Codec,
    reads::{TypedRecord, decode, decode_any},
};
use crate::{consume::Consumer, error::Result};
use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A consumer with the values of what it reads; from [`Typed::consumer`](crate::Typed::consumer).
///
/// It derefs to the [`Consumer`]: acknowledging, seeking and appending are its own. A value that does not
/// decode is an error with its seq, and the next call goes on behind it.
pub struct TypedConsumer<T, C> {
    consumer: Consumer,
    codec: C,
    of: PhantomData<fn() -> T>,
}

impl<T, C> TypedConsumer<T, C> {
    pub(super) fn new(consumer: Consumer, codec: C) -> Self {
        let of = PhantomData;
        Self {
            consumer,
            codec,
            of,
        }
    }

    /// The consumer itself, of bytes.
    #[must_use]
    pub fn into_inner(self) -> Consumer {
        self.consumer
    }

    #[cfg(feature = "async")]
    pub(super) fn into_parts(self) -> (Consumer, C) {
        (self.consumer, self.codec)
    }
}

impl<T, C: Codec<T>> TypedConsumer<T, C> {
    /// As [`Consumer::next`].
    ///
    /// # Errors
    /// `Codec` if its value does not decode; as [`Consumer::next`].
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails and can be asked again"
    )]
    pub fn next(&mut self) -> Result<Option<TypedRecord<T>>> {
        decode_any(&self.codec, self.consumer.next()?)
    }

    /// As [`Consumer::next_timeout`].
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<TypedRecord<T>>> {
        decode_any(&self.codec, self.consumer.next_timeout(timeout)?)
    }

    /// As [`Consumer::try_next`].
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<TypedRecord<T>>> {
        decode_any(&self.codec, self.consumer.try_next()?)
    }

    /// As [`Consumer::next_batch`], each record with its value or why it has none.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`].
    pub fn next_batch(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Result<TypedRecord<T>>>> {
        let batch = self.consumer.next_batch(max, wait)?;
        let decoded = batch.into_iter().map(|record| decode(&self.codec, record));
        Ok(decoded.collect())
    }
}

impl<T, C> Deref for TypedConsumer<T, C> {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        &self.consumer
    }
}

impl<T, C> DerefMut for TypedConsumer<T, C> {
    fn deref_mut(&mut self) -> &mut Consumer {
        &mut self.consumer
    }
}

impl<T, C> fmt::Debug for TypedConsumer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer")
            .field(&self.consumer)
            .finish()
    }
}
