//! A queue: one cursor, many workers, each record with one of them at a time.
//!
//! INVARIANT: a call that waits ends by a record, by its deadline, by an interruption or with the log.

use super::{
    bell::Bell,
    deal::{Dealer, InFlight, Step, Waiting},
    handed::Handed,
    lease::Lease,
    options::QueueOptions,
    position::Hand,
};
use crate::{
    catalog::{InterruptHandle, Wait},
    error::{Error, ErrorKind, Op, Result},
    sync::{Arc, Deadline},
    types::Seq,
};
use std::time::Duration;

/// Deals the records of a log out to workers; from [`Consumer::into_queue`](crate::Consumer::into_queue).
///
/// Cheap to clone; every worker has one. A record that is leased and not acknowledged in time, or
/// whose lease is dropped, is given again, also after a crash; how often it was handed out is known
/// then too. Records may be done in any order.
///
/// ```
/// use cairnlog::{Log, QueueOptions};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append_batch(["one", "two"])?;
/// let queue = log.consumer("workers")?.into_queue(QueueOptions::new())?;
/// let workers: Vec<_> = (0..2)
///     .map(|_| {
///         let queue = queue.clone();
///         std::thread::spawn(move || {
///             let job = queue.next()?.expect("there is one for each");
///             println!("{}", String::from_utf8_lossy(job.record()));
///             job.ack()
///         })
///     })
///     .collect();
/// for worker in workers {
///     worker.join().unwrap()?;
/// }
/// assert_eq!(queue.seq(), 2);
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) dealer: Arc<Dealer>,
}

impl Queue {
    pub(super) fn new(hand: Hand, options: QueueOptions, bell: Arc<Bell>) -> Self {
        let dealer = Dealer::new(hand, options, bell);
        Self { dealer }
    }

    /// Its cursor's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.dealer.hand.name().to_owned()
    }

    /// The lowest number that is not done.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.dealer.hand.seq()
    }

    /// Numbers between that and the durable end. Records among them may be done already.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.dealer.hand.lag()
    }

    /// What workers have at the moment, in the order of the numbers; at most as many as
    /// [`QueueOptions::in_flight_max`] says.
    #[must_use]
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.dealer.in_flight()
    }

    /// The next record to work on; waits for it. `None`: the log was closed, or the queue
    /// [interrupted](Self::interrupt_handle).
    ///
    /// # Errors
    /// As [`Consumer::next`](crate::Consumer::next), until [`seek`](Self::seek) goes elsewhere; what
    /// storing the delivery meets, `NoSpace` or `Io`: then the record was not handed out; what the log of
    /// the dead letters says.
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails and can be asked again"
    )]
    pub fn next(&self) -> Result<Option<Lease>> {
        Ok(self.take(1, None)?.pop())
    }

    /// As [`next`](Self::next), waiting at most this long. `None` also if none came.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_timeout(&self, timeout: Duration) -> Result<Option<Lease>> {
        Ok(self.take(1, Some(timeout))?.pop())
    }

    /// The next record if it is there by now.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&self) -> Result<Option<Lease>> {
        Ok(self.take(1, Some(Duration::ZERO))?.pop())
    }

    /// Up to `max` records: those that are there by now or, if none is, waits at most `wait` for the
    /// first. All of them share one write of their deliveries, and their leases begin together. None:
    /// as of [`next_timeout`](Self::next_timeout).
    ///
    /// ```
    /// use cairnlog::{Log, QueueOptions};
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_batch(["one", "two", "three"])?;
    /// let queue = log.consumer("workers")?.into_queue(QueueOptions::new())?;
    /// let jobs = queue.next_batch(2, Duration::from_secs(1))?;
    /// assert_eq!(jobs.len(), 2);
    /// for job in jobs {
    ///     job.ack()?;
    /// }
    /// assert_eq!((queue.seq(), queue.lag()), (2, 1));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`next`](Self::next). What was found before an error is given, and the error told by the call
    /// after.
    pub fn next_batch(&self, max: usize, wait: Duration) -> Result<Vec<Lease>> {
        self.take(max, Some(wait))
    }

    /// Goes to a number, back or forth; durable when it returns. From there on records are given anew,
    /// as if none had been handed out before; leases of before are over, and acknowledging them changes
    /// nothing.
    ///
    /// # Errors
    /// `InvalidInput` beyond the durable end; `NoSpace`, `Io`: then it counts here, and is stored with the
    /// next acknowledgement; `Poisoned`, `Closed`.
    pub fn seek(&self, seq: Seq) -> Result<()> {
        self.dealer.seek(seq)?;
        self.dealer.hand.stored()
    }

    /// What lets another thread end the waiting of all workers of this queue, without keeping the log
    /// open.
    #[must_use]
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle::new(self.dealer.bell.clone())
    }

    fn take(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Lease>> {
        self.dealer.or_none_if_closed(self.look(max, timeout))
    }

    fn look(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Lease>> {
        let deadline = timeout.map(Deadline::after);
        while max > 0 && !self.dealer.bell.forbids(timeout) {
            let waiting = match self.dealer.step(max)? {
                Step::Deliver(handed) => match self.deliver(handed)? {
                    none if none.is_empty() => continue,
                    leases => return Ok(leases),
                },
                Step::Bury(handed, round) => {
                    self.bury(handed, round)?;
                    continue;
                }
                Step::Wait(waiting) => waiting,
            };
            self.dealer.catch_up()?;
            let left = deadline.map(Deadline::left);
            if left.is_some_and(|left| left.is_zero()) || waiting.wait(left)? == Wait::Ended {
                break;
            }
        }
        Ok(Vec::new())
    }

    fn deliver(&self, handed: Handed) -> Result<Vec<Lease>> {
        let counts = self.dealer.hand.count(&handed.seqs(), &handed.ahead)?;
        Ok(self.dealer.leases(handed, &counts))
    }

    fn bury(&self, handed: Handed, round: u32) -> Result<()> {
        for dealt in &handed.dealt {
            let hand = &self.dealer.hand;
            hand.bury(&dealt.record, round, &self.dealer.options)?;
        }
        handed.buried();
        Ok(())
    }
}

impl Dealer {
    pub(super) fn leases(self: &Arc<Self>, handed: Handed, counts: &[u32]) -> Vec<Lease> {
        let dealt = handed.begin(counts).into_iter();
        dealt.map(|it| Lease::new(self.clone(), it)).collect()
    }

    /// Stores what the position passed by itself, since it was done before or is gone.
    pub(super) fn catch_up(&self) -> Result<()> {
        if self.hand.is_behind() {
            self.hand.stored()?;
        }
        Ok(())
    }

    /// A log that was closed has nothing to give, and that is no error.
    pub(super) fn or_none_if_closed<T: Default>(&self, taken: Result<T>) -> Result<T> {
        let is_closed = |error: &Error| error.kind() == ErrorKind::Closed;
        match taken {
            Err(error) if is_closed(&error) => match self.hand.log.core().check_usable(Op::Consume)
            {
                Err(own) if is_closed(&own) => Ok(T::default()),
                _ => Err(error), // It is of the log of the dead letters.
            },
            taken => taken,
        }
    }
}

impl Waiting {
    /// Waits at most this long.
    fn wait(self, timeout: Option<Duration>) -> Result<Wait> {
        let left = timeout.into_iter().chain(self.lease_left).min();
        let bell = &self.dealer.bell;
        let wait = bell.wait(self.beyond_seq, self.seen, left);
        let failed = (wait == Wait::Ended).then(|| bell.watermark.failure());
        failed.flatten().map_or(Ok(wait), Err)
    }
}
