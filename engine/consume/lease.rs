//! A lease: a record that one worker has for itself, for a time.
//!
//! INVARIANT: it ends exactly once, by an acknowledgement or by giving the record back; dropping it
//! gives back.

use super::{deal::Dealer, handed::Dealt};
use crate::{
    append::{AppendOptions, NewRecord},
    error::{Error, ErrorKind, Op, Place, Result},
    read::Record,
    sync::Arc,
    types::Seq,
};
use std::{fmt, ops::Range, time::Duration};

/// A record to work on; from [`Queue::next`](crate::Queue::next). Dropping it gives the record again, after
/// the [back-off](crate::QueueOptions::backoff).
#[must_use = "a lease that is dropped gives its record again"]
pub struct Lease {
    pub(super) dealer: Arc<Dealer>,
    dealt: Dealt,
    /// Whether there is nothing to give back any more.
    over: bool,
}

impl Lease {
    pub(super) fn new(dealer: Arc<Dealer>, dealt: Dealt) -> Self {
        let over = false;
        Self {
            dealer,
            dealt,
            over,
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.dealt.record
    }

    /// How often it was handed out, this time included: at least so often, if one was cut short.
    #[must_use]
    pub fn delivery_count(&self) -> u32 {
        self.dealt.delivery_count
    }

    /// The work is done; durable when it returns. Also if it took too long and another worker has the
    /// record by now: it will not be given a third time. After [`Queue::seek`](crate::Queue::seek) it
    /// changes nothing: the record may be given again on purpose.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: then it counts here, and is stored with the next; `Poisoned`, `Closed`.
    pub fn ack(mut self) -> Result<()> {
        self.done();
        self.dealer.hand.stored()
    }

    /// Appends to the same log what came of the record, and acknowledges it: both or neither, whatever
    /// happens. So each record has its output once, though it may be worked on twice. The level is always
    /// durable. No records: as [`ack`](Self::ack).
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, NewRecord, QueueOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append("2 apples")?;
    /// let tills = log.consumer("tills")?.into_queue(QueueOptions::new())?;
    /// let order = tills.next()?.expect("there is one");
    /// let bill = [NewRecord::keyed("bill", "2.40")];
    /// order.append(&bill, &AppendOptions::new())?; // Exactly one bill for each order.
    /// assert_eq!(tills.seq(), 1);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Duplicate` if the record was acknowledged by another worker, or the queue was sent elsewhere:
    /// then nothing is appended. `InvalidInput` if `how` names a producer; as
    /// [`Log::append_records`](crate::Log::append_records): then the record is given again.
    pub fn append(mut self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<Range<Seq>> {
        self.check_valid()?;
        let seq = self.record().seq();
        let appended = self.dealer.hand.append_done(records, seq, how);
        self.settle(&appended);
        appended
    }

    /// Gives the record again, now, whatever the back-off is. It changes nothing if the lease is over.
    pub fn release(mut self) {
        self.give_back(Duration::ZERO);
    }

    /// Gives the record again after a delay; durable when it returns. The records behind it do not wait. It
    /// changes nothing if the lease is over.
    ///
    /// ```
    /// use cairnlog::{Log, QueueOptions};
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_batch(["call them", "call the others"])?;
    /// let calls = log.consumer("calls")?.into_queue(QueueOptions::new())?;
    /// let busy = calls.next()?.expect("there is one");
    /// busy.release_after(Duration::from_secs(600))?;
    /// let other = calls.next()?.expect("there is another");
    /// assert_eq!(&other.record()[..], b"call the others");
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn release_after(mut self, delay: Duration) -> Result<()> {
        match self.give_back(delay) {
            true => self.dealer.hand.stored(),
            false => Ok(()),
        }
    }

    fn give_back(&mut self, delay: Duration) -> bool {
        self.over = true;
        let seq = self.record().seq();
        self.dealer.release(seq, self.dealt.token, delay)
    }

    /// Begins the time of the lease anew. False if it is over: another worker may have the record.
    pub fn extend(&mut self) -> bool {
        let seq = self.record().seq();
        self.dealer.extend(seq, self.dealt.token)
    }

    pub(super) fn done(&mut self) {
        self.over = true;
        let seq = self.record().seq();
        self.dealer.done(seq, self.dealt.token);
    }

    pub(super) fn check_valid(&self) -> Result<()> {
        if !self.dealer.is_void(self.dealt.token) {
            return Ok(());
        }
        let note = "the queue was sent elsewhere, and its leases are over";
        Err(Error::note(ErrorKind::Duplicate, Op::Consume, note)
            .at(Place::default().with_seq(self.record().seq())))
    }

    /// The record is done if its output was appended, now or before.
    pub(super) fn settle(&mut self, appended: &Result<Range<Seq>>) {
        match appended {
            Err(error) if error.kind() != ErrorKind::Duplicate => {}
            _ => self.done(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.over {
            let (seq, token) = (self.record().seq(), self.dealt.token);
            self.dealer.back_off(seq, token, self.dealt.delivery_count);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("record", self.record())
            .field("delivery_count", &self.delivery_count())
            .finish_non_exhaustive()
    }
}
