//! A consumer: one reader with a named, durable position.

use super::{bell::Bell, options::QueueOptions, position::Hand, queue::Queue};
use crate::{
    append::{AppendOptions, NewRecord},
    catalog::{InterruptHandle, Wait},
    error::Result,
    read::{Record, TailReader},
    sync::{Arc, Deadline},
    types::Seq,
};
use std::{fmt, ops::Range, time::Duration};

/// Reads a log from where it was acknowledged last; from [`Log::consumer`](crate::Log::consumer).
///
/// Every record is given at least once: what was given and not acknowledged is given again after
/// reopening. It counts as a handle of the log, which stays open with it.
///
/// If trimming or retention passed it, it gives `Trimmed` with the seq to resume from, again and again
/// until [`seek`](Self::seek) says where to go on. After a rewind a consumer should be opened anew:
/// moves that went with the records are undone only then.
pub struct Consumer {
    hand: Hand,
    bell: Arc<Bell>,
    tail: TailReader,
}

impl Consumer {
    pub(super) fn new(hand: Hand) -> Self {
        let tail = hand.log.tail(hand.seq());
        let bell = Bell::new(&hand.log);
        Self { hand, bell, tail }
    }

    #[cfg(feature = "async")]
    pub(super) fn into_parts(self) -> (Hand, TailReader) {
        (self.hand, self.tail)
    }

    /// Its cursor's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.hand.name().to_owned()
    }

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

    /// The next record; waits for it. `None`: the log was closed, or the consumer
    /// [interrupted](Self::interrupt_handle).
    ///
    /// # Errors
    /// `Trimmed`; `Damaged` with its place; `Poisoned`; `Io`. It is told again until
    /// [`seek`](Self::seek) goes elsewhere.
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails and can be asked again"
    )]
    pub fn next(&mut self) -> Result<Option<Record>> {
        self.take(None)
    }

    /// As [`next`](Self::next), waiting at most this long. `None` also if none came.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        self.take(Some(timeout))
    }

    /// The next record if it is there by now.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Record>> {
        let seq = self.hand.seq();
        if self.tail.next_seq() < seq {
            self.tail = self.hand.log.tail(seq); // It was acknowledged unread.
        }
        let outcome = self.tail.try_next();
        if outcome.is_err() {
            // A tail ends with its first error; this one tells it again.
            self.tail = self.hand.log.tail(self.tail.next_seq());
        }
        outcome
    }

    /// Up to `max` records: those that are there by now or, if none is, waits at most `wait` for the
    /// first. None: as of [`next_timeout`](Self::next_timeout).
    ///
    /// ```
    /// use cairnlog::Log;
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_batch(["one", "two", "three"])?;
    /// let mut mailer = log.consumer("mailer")?;
    /// let mails = mailer.next_batch(100, Duration::from_secs(1))?;
    /// assert_eq!(mails.len(), 3);
    /// mailer.ack(mails[2].seq())?; // One write for all three.
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`next`](Self::next). What was read before an error is given, and the error told by the call
    /// after.
    pub fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<Record>> {
        let mut batch = Vec::new();
        if max > 0 {
            batch.extend(self.take(Some(wait))?);
        }
        while !batch.is_empty() && batch.len() < max {
            match self.try_next() {
                Ok(Some(record)) => batch.push(record),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(batch)
    }

    /// What lets another thread end the waiting of this consumer, without keeping the log open.
    #[must_use]
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle::new(self.bell.clone())
    }

    fn take(&mut self, timeout: Option<Duration>) -> Result<Option<Record>> {
        let deadline = timeout.map(Deadline::after);
        loop {
            let seen = self.bell.rings();
            if self.bell.forbids(timeout) {
                return Ok(None);
            }
            if let Some(record) = self.try_next()? {
                return Ok(Some(record));
            }
            let left = deadline.map(Deadline::left);
            let wait = self.bell.wait(self.tail.next_seq(), seen, left);
            if self.tail.is_finished() || wait == Wait::TimedOut {
                return Ok(None);
            }
        }
    }

    /// Everything up to and including `seq` is done; durable when it returns. What was acknowledged
    /// before stays so.
    ///
    /// # Errors
    /// `InvalidInput` for what is not durable yet; `NoSpace`, `Io`: then it counts here, and is stored
    /// with the next; `Poisoned`, `Closed`.
    pub fn ack(&self, seq: Seq) -> Result<()> {
        self.hand.pass(seq)?;
        self.hand.stored()
    }

    /// Goes to a number, back or forth; durable when it returns. That is the position, and what is
    /// read next.
    ///
    /// # Errors
    /// `InvalidInput` beyond the durable end; as [`ack`](Self::ack).
    pub fn seek(&mut self, seq: Seq) -> Result<()> {
        self.hand.set(seq)?;
        self.tail = self.hand.log.tail(seq);
        self.hand.stored()
    }

    /// Appends to the same log what came of everything up to and including `seq`, and acknowledges it:
    /// both or neither, whatever happens. The level is always durable. No records: as
    /// [`ack`](Self::ack).
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append("2 apples")?;
    /// let mut till = log.consumer("till")?;
    /// let order = till.try_next()?.expect("there is one");
    /// let bill = [NewRecord::keyed("bill", "2.40")];
    /// till.append(&bill, order.seq(), &AppendOptions::new())?; // Exactly one bill for each order.
    /// assert_eq!(till.seq(), 1);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Duplicate` if the cursor is past `seq` already; `InvalidInput` for what is not durable yet, or if
    /// `how` names a producer; as [`Log::append_records`](crate::Log::append_records).
    pub fn append(
        &self,
        records: &[NewRecord<'_>],
        seq: Seq,
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        self.hand.append(records, seq, how)
    }

    /// Deals the records out to workers, from the position on.
    ///
    /// # Errors
    /// `InvalidInput` for options that cannot be honoured.
    pub fn into_queue(self, options: QueueOptions) -> Result<Queue> {
        options.check(&self.hand.log)?;
        Ok(Queue::new(self.hand, options, self.bell))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.hand.name())
            .field("seq", &self.seq())
            .finish_non_exhaustive()
    }
}
