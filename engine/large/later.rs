//! Large values for tasks: writes that await, and a stream of pieces.
//!
//! INVARIANT: a future that is dropped leaves the writer whole: a piece that was queued is waited for by the next call.

use super::{LargeReader, LargeWriter};
use crate::{error::Result, types::Seq};
use bytes::Bytes;
use futures_core::Stream;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

impl LargeWriter {
    /// Takes all bytes in, and waits, without a thread, whenever a piece is full. If the future is dropped before it is
    /// done, a part of the bytes may have been taken.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log};
    /// use futures_util::TryStreamExt;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let log = Log::open(dir.path().join("log"))?;
    /// let mut writer = log.large_writer(&AppendOptions::new())?;
    /// for _ in 0..1000 {
    ///     writer.write_all_async(&[7; 1000]).await?; // From a socket, say.
    /// }
    /// let seq = writer.finish_async().await?; // Durable.
    /// let pieces = log.large(seq)?.expect("it is there").into_stream();
    /// let bytes = pieces.try_fold(0, async |sum, piece| Ok(sum + piece.len()));
    /// assert_eq!(bytes.await?, 1_000_000);
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Log::append_records`](crate::Log::append_records).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn write_all_async(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.check_open()?;
        while !bytes.is_empty() {
            if self.is_full() {
                self.push_async(false).await?;
            }
            let count = self.take(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// As [`finish`](Self::finish), without a thread that waits. Dropped before it is done, the value may be
    /// finished all the same; called again, it says so.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn finish_async(&mut self) -> Result<Seq> {
        loop {
            match self.finished() {
                Some(seq) => return Ok(seq),
                None => {
                    self.check_there()?;
                    self.push_async(true).await?;
                }
            }
        }
    }

    async fn push_async(&mut self, is_last: bool) -> Result<()> {
        if self.on_way.is_none() {
            let log = self.log.clone();
            let (record, how) = self.record(is_last);
            let ticket = log.submit_async(&[record], &how).await?;
            self.on_way = Some((ticket, is_last));
        }
        if let Some((ticket, is_last)) = &mut self.on_way {
            let (appended, is_last) = (ticket.await, *is_last);
            self.on_way = None;
            self.settle(is_last, appended)?;
        }
        Ok(())
    }
}

/// The pieces of a large value as a stream; from [`LargeReader::into_stream`].
///
/// A piece is read when it is asked for; a page that is not in memory is waited for. It ends after the first error.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct LargeStream {
    /// `None` after an error.
    reader: Option<LargeReader>,
    /// Others had their turn since the last piece.
    gave_way: bool,
}

impl LargeReader {
    /// What is left of the value as a `Stream` of [`Bytes`], a piece each.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> LargeStream {
        LargeStream {
            reader: Some(self),
            gave_way: true,
        }
    }
}

impl Stream for LargeStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.gave_way {
            self.gave_way = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.gave_way = false;
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(None);
        };
        let next = reader.next_piece().transpose();
        if matches!(next, Some(Err(_))) {
            self.reader = None;
        }
        Poll::Ready(next)
    }
}
