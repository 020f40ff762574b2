//! Values for tasks.

use super::{
    Codec, Typed, TypedConsumer, TypedTail,
    reads::{TypedRecord, decode},
};
use crate::{
    append::{AppendOptions, NewRecord},
    consume::ConsumerStream,
    error::Result,
    read::{Record, TailStream},
    types::Seq,
};
use futures_core::Stream;
use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};

/// A stream of records with their values; from [`TypedTail::into_stream`] and
/// [`TypedConsumer::into_stream`].
///
/// It derefs to the stream of bytes, which acknowledges. A value that does not decode is an error with its
/// seq, and the stream goes on behind it.
#[must_use = "a stream does nothing unless it is polled"]
pub struct TypedStream<S, T, C> {
    stream: S,
    codec: C,
    of: PhantomData<fn() -> T>,
}

// Of its parts only the stream could be pinned, and it is polled as one that is not.
impl<S, T, C> Unpin for TypedStream<S, T, C> {}

impl<S, T, C> TypedStream<S, T, C> {
    fn new(stream: S, codec: C) -> Self {
        let of = PhantomData;
        Self { stream, codec, of }
    }
}

impl<T, C> TypedTail<T, C> {
    /// The same records as a `Stream`, which waits for more without a thread.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> TypedStream<TailStream, T, C> {
        let (tail, codec) = self.into_parts();
        TypedStream::new(tail.into_stream(), codec)
    }
}

impl<T, C> TypedConsumer<T, C> {
    /// The same records as a `Stream`, which waits for more without a thread.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, Typed};
    /// use futures_util::StreamExt;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let words: Typed<String> = Typed::new(Log::open(dir.path().join("log"))?);
    /// words.append_async(&"hello".to_owned(), &AppendOptions::new()).await?;
    /// let mut printer = words.consumer("printer")?.into_stream();
    /// let word = printer.next().await.expect("there is one")?;
    /// assert_eq!(word.value().map(String::as_str), Some("hello"));
    /// printer.ack(word.seq()).await?;
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> TypedStream<ConsumerStream, T, C> {
        let (consumer, codec) = self.into_parts();
        TypedStream::new(consumer.into_stream(), codec)
    }
}

impl<T, C: Codec<T>> Typed<T, C> {
    /// Appends a value and waits, without a thread, for the level asked for. Gives its number.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn append_async(&self, value: &T, how: &AppendOptions) -> Result<Seq> {
        let bytes = self.encode(value)?;
        let records = [NewRecord::value(&bytes)];
        Ok(self.log.append_async(&records, how).await?.start)
    }
}

impl<S, T, C> Stream for TypedStream<S, T, C>
where
    S: Stream<Item = Result<Record>> + Unpin,
    C: Codec<T>,
{
    type Item = Result<TypedRecord<T>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.stream).poll_next(context);
        polled.map(|next| next.map(|it| it.and_then(|record| decode(&self.codec, record))))
    }
}

impl<S, T, C> Deref for TypedStream<S, T, C> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.stream
    }
}

impl<S, T, C> DerefMut for TypedStream<S, T, C> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: fmt::Debug, T, C> fmt::Debug for TypedStream<S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedStream").field(&self.stream).finish()
    }
}
