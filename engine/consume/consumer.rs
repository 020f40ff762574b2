//! A consumer: one reader with a named, durable position.

use super::{check_seq, options::QueueOptions, position::Position, queue::Queue};
use crate::{
    append::{AppendOptions, NewRecord},
    error::Result,
    read::{Record, TailReader},
    types::Seq,
};
use std::{ops::Range, time::Duration};

/// Reads a log from where it was acknowledged last; from [`Log::consumer`](crate::Log::consumer).
///
/// Every record is given at least once: what was given and not acknowledged is given again after
/// reopening. It counts as a handle of the log, which stays open with it.
///
/// If trimming or retention passed it, it gives `Trimmed` with the seq to resume from, again and again
/// until [`seek`](Self::seek) says where to go on. After a rewind a consumer should be opened anew:
/// moves that went with the records are undone only then.
#[derive(Debug)]
pub struct Consumer {
    position: Position,
    tail: TailReader,
}

impl Consumer {
    pub(super) fn new(position: Position) -> Self {
        let tail = position.log.tail(position.seq());
        Self { position, tail }
    }

    #[cfg(feature = "async")]
    pub(super) fn into_parts(self) -> (Position, TailReader) {
        (self.position, self.tail)
    }

    /// Its cursor's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.position.name()
    }

    /// The next number that is not acknowledged.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.position.seq()
    }

    /// Numbers between that and the durable end.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let end_seq = self.position.log.durable_seq();
        end_seq.saturating_sub(self.seq())
    }

    /// The next record; waits for it. `None`: the log was closed.
    ///
    /// # Errors
    /// `Trimmed`; `Damaged` with its place; `Poisoned`; `Io`. It is told again until
    /// [`seek`](Self::seek) goes elsewhere.
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails and can be asked again"
    )]
    pub fn next(&mut self) -> Result<Option<Record>> {
        self.step(|tail| tail.next().transpose())
    }

    /// As [`next`](Self::next), waiting at most this long. `None`: none came, or the log was closed.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        self.step(|tail| tail.next_timeout(timeout))
    }

    /// The next record if it is there by now.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Record>> {
        self.step(TailReader::try_next)
    }

    fn step(
        &mut self,
        read: impl FnOnce(&mut TailReader) -> Result<Option<Record>>,
    ) -> Result<Option<Record>> {
        let seq = self.position.seq();
        if self.tail.next_seq() < seq {
            self.tail = self.position.log.tail(seq); // It was acknowledged unread.
        }
        let outcome = read(&mut self.tail);
        if outcome.is_err() {
            // A tail ends with its first error; this one tells it again.
            self.tail = self.position.log.tail(self.tail.next_seq());
        }
        outcome
    }

    /// Everything up to and including `seq` is done; durable when it returns. What was acknowledged
    /// before stays so.
    ///
    /// # Errors
    /// `InvalidInput` for what is not durable yet; `NoSpace`, `Io`: then it counts here, and is stored
    /// with the next; `Poisoned`, `Closed`.
    pub fn ack(&self, seq: Seq) -> Result<()> {
        self.position.ack(seq)
    }

    /// Goes to a number, back or forth; durable when it returns. That is the position, and what is
    /// read next.
    ///
    /// # Errors
    /// `InvalidInput` beyond the durable end; as [`ack`](Self::ack).
    pub fn seek(&mut self, seq: Seq) -> Result<()> {
        check_seq(&self.position.log, seq)?;
        self.tail = self.position.log.tail(seq);
        self.position.seek(seq)
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
        self.position.append(records, seq, how)
    }

    /// Deals the records out to workers, from the position on.
    ///
    /// # Errors
    /// `InvalidInput` for options that cannot be honoured.
    pub fn into_queue(self, options: QueueOptions) -> Result<Queue> {
        options.check(&self.position.log)?;
        Ok(Queue::new(self.position, options))
    }
}
