//! A ticket for records that are queued: to be waited for, or awaited.

use super::{Core, completion::Completion};
use crate::{error::Result, options::Durability, sync::Arc, types::Seq};
use std::{
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

/// Stands for records that were queued by [`Log::submit`](crate::Log::submit).
///
/// It is a `Future` that needs no runtime: the log's worker does the work. Dropping it takes
/// nothing back: the records are appended all the same.
///
/// ```
/// use cairnlog::{AppendOptions, Log, NewRecord};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let first = log.submit(&[NewRecord::value("a")], &AppendOptions::new())?;
/// let second = log.submit(&[NewRecord::value("b")], &AppendOptions::new())?;
/// assert_eq!((first.wait()?, second.wait()?), (0..1, 1..2)); // One sync for both.
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[must_use = "a ticket that nobody waits for tells nobody what became of the records"]
pub struct Ticket {
    core: Arc<Core>,
    seqs: Range<Seq>,
    done: Option<Arc<Completion>>,
    level: Durability,
}

impl Ticket {
    pub(super) fn new(
        core: Arc<Core>,
        seqs: Range<Seq>,
        done: Option<Arc<Completion>>,
        level: Durability,
    ) -> Self {
        Self {
            core,
            seqs,
            done,
            level,
        }
    }

    /// The numbers that the records get if they are appended.
    #[must_use]
    pub fn seqs(&self) -> Range<Seq> {
        self.seqs.clone()
    }

    /// Waits until the records are at the level that was asked for; gives their numbers.
    ///
    /// # Errors
    /// As [`Log::append`](crate::Log::append).
    pub fn wait(self) -> Result<Range<Seq>> {
        if let Some(done) = &self.done {
            self.core.wait(done, self.level)?;
        }
        Ok(self.seqs)
    }
}

impl Future for Ticket {
    type Output = Result<Range<Seq>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(done) = &self.done else {
            return Poll::Ready(Ok(self.seqs()));
        };
        if let Some(outcome) = done.reached(self.level) {
            return Poll::Ready(outcome.map(|()| self.seqs()));
        }
        // Watch first, look second: whatever changes in between wakes us.
        done.watch(self.level, context.waker());
        match done.reached(self.level) {
            Some(outcome) => {
                // Whoever was to wake us may have looked before: then our waker is there for good.
                done.forget(self.level, context.waker());
                Poll::Ready(outcome.map(|()| self.seqs()))
            }
            None if self.core.options.background => {
                self.core.nudge_worker();
                Poll::Pending
            }
            // Without a worker the one who polls does the work.
            None => Poll::Ready(self.core.wait(done, self.level).map(|()| self.seqs())),
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("seqs", &self.seqs)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}
