//! A consumer for tasks: records as a stream, and acknowledgements that await.

use super::{Consumer, position::Hand};
use crate::{
    append::{AppendOptions, AsRecord},
    error::Result,
    read::{Record, TailStream},
    types::Seq,
};
use futures_core::Stream;
use std::{
    fmt,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

/// What a consumer reads, as a stream; from [`Consumer::into_stream`].
///
/// Every record is given at least once: dropping it, at any point, loses nothing, since only what was
/// acknowledged is not given again. It ends when the log is closed. After an error it goes on where it
/// was: what passes is over then, and what does not, such as `Trimmed` or `Damaged`, is told again and again
/// until [`seek`](Self::seek) goes elsewhere.
///
/// ```
/// use cairnlog::Log;
/// use futures_util::StreamExt;
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("order 1")?;
/// let mut orders = log.consumer("billing")?.into_stream();
/// let order = orders.next().await.expect("there is one")?;
/// orders.ack(order.seq()).await?; // Durable.
/// assert_eq!(orders.seq(), 1);
/// # Ok::<(), cairnlog::Error>(()) }).unwrap();
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct ConsumerStream {
    hand: Hand,
    tail: TailStream,
}

impl Consumer {
    /// The same records as a `Stream`.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> ConsumerStream {
        let (hand, tail) = self.into_parts();
        let tail = tail.into_stream();
        ConsumerStream { hand, tail }
    }
}

impl ConsumerStream {
    /// The next number that is not acknowledged.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.hand.seq()
    }

    /// Numbers between that and the durable end.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.hand.lag()
    }

    /// Everything up to and including `seq` is done. It counts here at once, and for the next consumer of
    /// the name; it is durable when the future is ready. The worker stores it, even if that is dropped.
    ///
    /// # Errors
    /// As [`Consumer::ack`].
    pub fn ack(&self, seq: Seq) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        self.hand.position().store_later(self.hand.pass(seq))
    }

    /// Goes to a number, back or forth: that is the position, and what is read next, at once. It is
    /// durable when the future is ready. The worker stores it, even if that is dropped.
    ///
    /// # Errors
    /// As [`Consumer::seek`].
    pub fn seek(&mut self, seq: Seq) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let set = self.hand.set(seq);
        if set.is_ok() {
            self.read_on(seq);
        }
        self.hand.position().store_later(set)
    }

    /// Appends records, or values, to the same log for everything up to and including `seq`, and acknowledges it:
    /// both or neither. The worker does it, even if the future is dropped.
    ///
    /// # Errors
    /// As [`Consumer::append`].
    pub fn append<R: AsRecord + Send + 'static>(
        &self,
        records: Vec<R>,
        seq: Seq,
    ) -> impl Future<Output = Result<Range<Seq>>> + Send + 'static + use<R> {
        let position = self.hand.position().clone();
        self.hand.log.core().later(move || {
            let records: Vec<_> = records.iter().map(AsRecord::record).collect();
            position.append(&records, seq, &AppendOptions::new())
        })
    }

    fn read_on(&mut self, seq: Seq) {
        self.tail = self.hand.log.tail(seq).into_stream();
    }
}

impl Stream for ConsumerStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let seq = self.hand.seq();
        if self.tail.next_seq() < seq {
            self.read_on(seq); // It was acknowledged unread.
        }
        let polled = Pin::new(&mut self.tail).poll_next(context);
        if let Poll::Ready(Some(Err(_))) = polled {
            // A tail ends with its first error; this one tells it again.
            let next_seq = self.tail.next_seq();
            self.read_on(next_seq);
        }
        polled
    }
}

impl fmt::Debug for ConsumerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerStream")
            .field("name", &self.hand.name())
            .field("seq", &self.seq())
            .finish_non_exhaustive()
    }
}
