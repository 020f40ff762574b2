//! Queues for tasks: nothing here blocks a thread on the disk, on records or on the end of a lease.
//!
//! What blocks the log's worker does. The end of a lease wakes nobody by itself, and tasks bring no
//! clock: one thread for the queue, as long as tasks wait beside leases, rings when one ends.
//!
//! INVARIANT: what the worker does holds the position and not the queue, so that it keeps neither queue nor
//! cursor in use; a future that is dropped gives back what it was about to hand out.

use super::{
    deal::{Dealer, Step, Waiting},
    lease::Lease,
    queue::Queue,
};
use crate::{
    append::{AppendOptions, AsRecord},
    catalog::{Level, Seat, Wait},
    error::{Error, Op, Result},
    sync::{self, Arc},
    types::Seq,
};
use std::{
    future::poll_fn,
    ops::Range,
    task::{Context, Poll},
    time::Duration,
};

/// How often the thread that rings looks whether it is still needed.
const LOOK_UP: Duration = Duration::from_secs(1);

impl Queue {
    /// As [`next`](Self::next), without a thread that waits. Dropping the future loses nothing.
    ///
    /// ```
    /// use cairnlog::{Log, QueueOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append("one")?;
    /// let queue = log.consumer("workers")?.into_queue(QueueOptions::new())?;
    /// let job = queue.next_async().await?.expect("there is one");
    /// job.ack_async().await?;
    /// assert_eq!(queue.seq(), 1);
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`next`](Self::next).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn next_async(&self) -> Result<Option<Lease>> {
        Ok(self.next_batch_async(1).await?.pop())
    }

    /// Up to `max` records: those that are there by now or, if none is, waits for the first. As
    /// [`next_batch`](Self::next_batch), without a thread that waits; the runtime has deadlines.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn next_batch_async(&self, max: usize) -> Result<Vec<Lease>> {
        self.dealer.or_none_if_closed(self.look_async(max).await)
    }

    async fn look_async(&self, max: usize) -> Result<Vec<Lease>> {
        let (dealer, core) = (&self.dealer, self.dealer.hand.log.core());
        let position = || dealer.hand.position().clone();
        let mut seat = None;
        while max > 0 && !dealer.bell.forbids(None) {
            let waiting = match dealer.step(max)? {
                Step::Deliver(handed) => {
                    let (position, seqs) = (position(), handed.seqs());
                    let ahead = handed.ahead.clone();
                    let counts = core.later(move || position.count(&seqs, &ahead)).await?;
                    match dealer.leases(handed, &counts) {
                        none if none.is_empty() => continue,
                        leases => return Ok(leases),
                    }
                }
                Step::Bury(handed, round) => {
                    for dealt in &handed.dealt {
                        let (record, how) = (dealt.record.clone(), dealer.options.clone());
                        let position = position();
                        let bury = move || position.bury(&record, round, &how);
                        core.later(bury).await?;
                    }
                    handed.buried();
                    continue;
                }
                Step::Wait(waiting) => waiting,
            };
            if dealer.hand.is_behind() {
                let position = position();
                core.later(move || position.stored()).await?;
            }
            if waiting.lease_left.is_some() {
                dealer.watch()?;
            }
            if poll_fn(|context| waiting.poll(&mut seat, context)).await? == Wait::Ended {
                return dealer.bell.watermark.failure().map_or(Ok(Vec::new()), Err);
            }
        }
        Ok(Vec::new())
    }

    /// As [`seek`](Self::seek): it counts at once, and is durable when the future is ready. The worker
    /// stores it, even if that is dropped.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn seek_async(
        &self,
        seq: Seq,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let changed = self.dealer.seek(seq);
        self.dealer.hand.position().store_later(changed)
    }
}

impl Lease {
    /// As [`ack`](Self::ack): it counts at once, and is durable when the future is ready. The worker
    /// stores it, even if that is dropped.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn ack_async(mut self) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        self.done();
        self.dealer.hand.position().store_later(Ok(()))
    }

    /// As [`append`](Self::append), of records that are owned, or values. The worker does it, even if the future is dropped.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn append_async<R: AsRecord + Send + 'static>(
        mut self,
        records: Vec<R>,
    ) -> Result<Range<Seq>> {
        self.check_valid()?;
        let (position, seq) = (self.dealer.hand.position().clone(), self.record().seq());
        let append = move || {
            let records: Vec<_> = records.iter().map(AsRecord::record).collect();
            position.append_done(&records, seq, &AppendOptions::new())
        };
        let appended = self.dealer.hand.log.core().later(append).await;
        self.settle(&appended);
        appended
    }
}

impl Dealer {
    /// Has a thread ring at the end of leases, as long as somebody waits.
    fn watch(self: &Arc<Self>) -> Result<()> {
        if !self.begin_watch() {
            return Ok(());
        }
        let (dealer, bell) = (Arc::downgrade(self), self.bell.clone());
        let run = move || {
            while let Some((seen, left)) = dealer.upgrade().and_then(|it| it.watch_on()) {
                let left = left.unwrap_or(LOOK_UP).min(LOOK_UP);
                if bell.wait(Seq::MAX, seen, Some(left)) == Wait::Ended {
                    return;
                }
            }
        };
        let started = sync::spawn("cairn-leases", run).map(drop);
        started.map_err(|error| {
            self.end_watch();
            Error::io(Op::Consume, error)
        })
    }
}

impl Waiting {
    fn poll(&self, seat: &mut Option<Seat>, context: &Context<'_>) -> Poll<Result<Wait>> {
        let bell = &self.dealer.bell;
        // First the waker, then the look: whoever rings in between finds it.
        self.call(context.waker().clone());
        if bell.rings() != self.seen {
            return Poll::Ready(Ok(Wait::Called));
        }
        let awaited = (Level::Durable, self.beyond_seq);
        match (bell.watermark).poll_beyond(seat, awaited, context.waker()) {
            Ok(None) => Poll::Pending,
            Ok(Some(wait)) => Poll::Ready(Ok(wait)),
            Err(error) => Poll::Ready(Err(Error::io(Op::Consume, error))),
        }
    }
}
