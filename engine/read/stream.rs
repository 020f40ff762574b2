//! Reading as streams, for tasks that must not block a thread while they wait.
//!
//! Waiting needs no thread in the writer's process: the watermark has the task woken. In another process
//! one thread, shared by all tails of a reader, waits for the files to change.
//!
//! INVARIANTS: dropping a stream loses nothing, since reading moves nothing, and leaves nothing behind. A
//! poll looks at what is there, arranges to be woken, looks once more, and returns: it never goes round.

use super::{Record, Scan, TailReader, follow::Lookout};
use crate::{
    catalog::{Seat, Wait},
    error::{Error, Op, Result},
};
use futures_core::Stream;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// After so many records in a row that were there at once, others get their turn.
const TURN_RECORDS: u32 = 128;

/// Gives way after a number of records: a stream that is always ready would keep its thread.
#[derive(Debug, Default)]
struct Turn(u32);

impl Turn {
    /// Whether it is over; then the task is woken again at once.
    fn is_over(&mut self, context: &Context<'_>) -> bool {
        self.0 += 1;
        let over = self.0 > TURN_RECORDS;
        if over {
            self.0 = 0;
            context.waker().wake_by_ref();
        }
        over
    }
}

/// The records of a range as a stream; from [`Scan::into_stream`].
///
/// Records are read when they are asked for; a page that is not in memory is waited for.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct ScanStream {
    scan: Scan,
    turn: Turn,
}

impl Scan {
    /// The same records as a `Stream`.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> ScanStream {
        let turn = Turn::default();
        ScanStream { scan: self, turn }
    }
}

impl Stream for ScanStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.turn.is_over(context) {
            return Poll::Pending;
        }
        Poll::Ready(self.scan.next())
    }
}

/// Follows the log as a stream; from [`TailReader::into_stream`]. It ends as the iterator does.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct TailStream {
    tail: TailReader,
    turn: Turn,
    /// Its place among those who wait for the watermark.
    seat: Option<Seat>,
    /// Keeps the thread that waits for another process.
    lookout: Option<Lookout>,
}

impl TailReader {
    /// The same records as a `Stream`, which waits for more without a thread.
    ///
    /// ```
    /// use cairnlog::Log;
    /// use futures_util::StreamExt;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let log = Log::open(dir.path().join("log"))?;
    /// let mut news = log.tail(0).into_stream();
    /// log.append_async(&[cairnlog::NewRecord::value("hello")], &Default::default()).await?;
    /// assert_eq!(&*news.next().await.expect("the log is open")?, b"hello");
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn into_stream(self) -> TailStream {
        TailStream {
            tail: self,
            turn: Turn::default(),
            seat: None,
            lookout: None,
        }
    }
}

impl TailStream {
    /// The lowest seq that it has not shown yet.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.tail.next_seq()
    }

    /// Arranges to be woken when there may be more; true if that is so already.
    fn wait(&mut self, context: &Context<'_>) -> Result<bool> {
        let reader = self.tail.reader();
        if let (Some(follower), None) = (&reader.follower, &self.lookout) {
            self.lookout = Some(follower.keep_lookout()?);
        }
        let awaited = (reader.level, self.tail.next_seq());
        let waited = (reader.watermark)
            .poll_beyond(&mut self.seat, awaited, context.waker())
            .map_err(|error| Error::io(Op::Read, error))?;
        Ok(matches!(waited, Some(Wait::Reached | Wait::Ended)))
    }

    fn step(&mut self, context: &Context<'_>) -> Result<Poll<Option<Record>>> {
        for _ in 0..2 {
            if let Some(record) = self.tail.try_next()? {
                return Ok(Poll::Ready(Some(record)));
            }
            if self.tail.is_finished() {
                return Ok(Poll::Ready(None));
            }
            if !self.wait(context)? {
                return Ok(Poll::Pending);
            }
        }
        // It came, and was rewound at once: others have their turn first.
        context.waker().wake_by_ref();
        Ok(Poll::Pending)
    }
}

impl Stream for TailStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.turn.is_over(context) {
            return Poll::Pending;
        }
        let polled = self.step(context);
        if self.tail.is_finished() {
            (self.seat, self.lookout) = (None, None);
        }
        match polled {
            Ok(Poll::Ready(record)) => Poll::Ready(record.map(Ok)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}
