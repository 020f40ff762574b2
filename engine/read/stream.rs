//! Reading as streams, for tasks that must not block a thread while they wait.
//!
//! Waiting needs no thread in the writer's process: the watermark wakes the task. In another process
//! one thread, shared by all tails of a reader, waits for the files to change.
//!
//! INVARIANT: dropping a stream loses nothing, since reading moves nothing; the thread ends within
//! [`LOOK_UP`] of the last of them.

use super::{Record, Scan, TailReader, follow::Follower};
use crate::{
    catalog::Wait,
    error::{Error, Op, Result},
    sync::{self, Mutex},
};
use futures_core::Stream;
use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

/// After so many records in a row that were there at once, others get their turn.
const TURN_RECORDS: u32 = 128;
/// How often the thread that waits for another process looks whether it is still needed.
const LOOK_UP: Duration = Duration::from_secs(1);

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
    /// Keeps the thread that waits for another process.
    lookout: Option<Arc<()>>,
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

    /// Arranges to be woken when there may be more; `Ready` if that is so already.
    fn poll_more(&mut self, context: &Context<'_>) -> Poll<Result<()>> {
        let reader = self.tail.reader();
        if let (Some(follower), None) = (&reader.follower, &self.lookout) {
            match follower.keep_lookout() {
                Ok(lookout) => self.lookout = Some(lookout),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let reader = self.tail.reader();
        let seq = self.tail.next_seq();
        match reader
            .watermark
            .poll_beyond(reader.level, seq, context.waker())
        {
            None | Some(Wait::TimedOut | Wait::Called) => Poll::Pending,
            Some(Wait::Reached | Wait::Ended) => Poll::Ready(Ok(())),
        }
    }
}

impl Stream for TailStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.turn.is_over(context) {
            return Poll::Pending;
        }
        loop {
            match self.tail.try_next().transpose() {
                Some(record) => return Poll::Ready(Some(record)),
                None if self.tail.is_finished() => return Poll::Ready(None),
                None => {}
            }
            match self.poll_more(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Whoever holds one keeps the thread of a follower.
pub(super) type Lookout = Mutex<Weak<()>>;

impl Follower {
    /// Has a thread wait for what another process writes, for as long as the token is kept.
    fn keep_lookout(self: &crate::sync::Arc<Self>) -> Result<Arc<()>> {
        let mut lookout = self.lookout.lock();
        if let Some(kept) = lookout.upgrade() {
            return Ok(kept);
        }
        let token = Arc::new(());
        let (follower, watched) = (self.clone(), Arc::downgrade(&token));
        let run = move || {
            let mut alarm = super::follow::Alarm::default();
            while watched.upgrade().is_some() {
                let seen = follower.watermark.get(follower.level);
                // What it sees raises the watermark, and that wakes the tasks.
                if let Err(error) = follower.wait_beyond(&mut alarm, seen, Some(LOOK_UP)) {
                    return follower.watermark.fail(error);
                }
            }
        };
        sync::spawn("cairn-lookout", run).map_err(|error| Error::io(Op::Read, error))?;
        *lookout = Arc::downgrade(&token);
        Ok(token)
    }
}
