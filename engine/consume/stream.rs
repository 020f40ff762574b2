//! A consumer for tasks: records as a stream, and acknowledgements that await.

use super::{Consumer, position::Position};
use crate::{
    append::AppendOptions,
    error::Result,
    read::{Record, TailStream},
    sync::Arc,
    types::Seq,
};
use futures_core::Stream;
use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

/// What a consumer reads, as a stream; from [`Consumer::into_stream`].
///
/// Every record is given at least once: dropping it, at any point, loses nothing, since only what was
/// acknowledged is not given again. After an error it ends.
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
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct ConsumerStream {
    position: Arc<Position>,
    tail: TailStream,
}

impl Consumer {
    /// The same records as a `Stream`.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> ConsumerStream {
        let (position, tail) = self.into_parts();
        ConsumerStream {
            position: Arc::new(position),
            tail: tail.into_stream(),
        }
    }
}

impl ConsumerStream {
    /// The next number that is not acknowledged.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.position.seq()
    }

    /// Everything up to and including `seq` is done; durable when it is ready. The worker stores it.
    /// It does so even if the future is dropped.
    ///
    /// # Errors
    /// As [`Consumer::ack`].
    pub fn ack(&self, seq: Seq) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let position = self.position.clone();
        self.position.log.core().later(move || position.ack(seq))
    }

    /// Appends values to the same log for everything up to and including `seq`, and acknowledges it:
    /// both or neither. The worker does it, even if the future is dropped.
    ///
    /// # Errors
    /// As [`Consumer::append`].
    pub fn append(
        &self,
        values: Vec<Vec<u8>>,
        seq: Seq,
    ) -> impl Future<Output = Result<Range<Seq>>> + Send + 'static + use<> {
        let position = self.position.clone();
        self.position.log.core().later(move || {
            let records: Vec<_> = values.iter().map(crate::append::NewRecord::value).collect();
            position.append(&records, seq, &AppendOptions::new())
        })
    }
}

impl Stream for ConsumerStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.tail).poll_next(context)
    }
}
