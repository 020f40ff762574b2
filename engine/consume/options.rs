//! What can be asked of consumers and queues, and what can be told of cursors.

use super::Backoff;
use crate::{
    error::{Defect, Error, ErrorKind, Op, Result},
    format::cursor::PENDING_MAX,
    log::Log,
    types::Seq,
};
use std::time::Duration;

/// Five tries take three seconds.
const BACKOFF: Backoff =
    Backoff::exponential(Duration::from_millis(200), Duration::from_secs(60)).jitter(20);

/// Where a new cursor starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record kept.
    #[default]
    Head,
    /// Behind everything that is durable by now.
    End,
    /// At this number.
    Seq(Seq),
}

/// How to open a consumer.
///
/// ```
/// use cairnlog::{ConsumerOptions, Start};
/// let how = ConsumerOptions::new().start(Start::End).holds(true);
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerOptions {
    pub(super) start: Start,
    pub(super) holds: Option<bool>,
}

impl ConsumerOptions {
    /// From the head if the cursor is new, holding what it held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the cursor starts if it is new. Default: at the head.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Whether retention keeps what the cursor has not passed, from now on. Default: as it was, and
    /// no for a new one.
    #[must_use]
    pub fn holds(mut self, holds: bool) -> Self {
        self.holds = Some(holds);
        self
    }
}

/// A cursor as it stands; from [`Log::cursors`] and [`Options::cursors`](crate::Options::cursors).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorInfo {
    /// Its name; that of its file if it does not verify.
    pub name: String,
    /// The next number that its consumer has not acknowledged.
    pub seq: Seq,
    /// Numbers between that and the durable end.
    pub lag: u64,
    /// Whether it holds back retention.
    pub holds: bool,
    /// When its file was written last, in milliseconds since 1970.
    pub updated_ms: i64,
    /// Records at or above `seq` that a queue has handed out or knows to be done.
    pub pending_count: usize,
    /// What is wrong with its file; then all else but the name is zero.
    pub defect: Option<Defect>,
}

/// How a queue deals records out.
///
/// ```
/// use cairnlog::QueueOptions;
/// use std::time::Duration;
/// let how = QueueOptions::new().lease(Duration::from_secs(5)).in_flight_max(64);
/// # let _ = how;
/// ```
#[derive(Clone, Debug)]
pub struct QueueOptions {
    pub(super) lease: Duration,
    pub(super) deliveries_max: u32,
    pub(super) in_flight_max: usize,
    pub(super) backoff: Backoff,
    pub(super) by_time: bool,
    pub(super) dead_letters: Option<Log>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            deliveries_max: 5,
            in_flight_max: 1024,
            backoff: BACKOFF,
            by_time: false,
            dead_letters: None,
        }
    }
}

impl QueueOptions {
    /// Leases of 30 s, at most 1,024 at a time, a back-off from 200 ms to a minute, no log for dead
    /// letters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a worker has a record for itself; then it is given again. Default: 30 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How often a record is handed out before it goes to the dead letters; at least 1. Without a log
    /// for these it is handed out for ever. Default: 5.
    #[must_use]
    pub fn deliveries_max(mut self, count: u32) -> Self {
        self.deliveries_max = count;
        self
    }

    /// The most records that are leased at a time, 1 to 4,096. Default: 1,024.
    ///
    /// As many are kept track of in all, from the oldest that is not done: if that one is never done,
    /// 4,095 others are dealt out, and then no more.
    #[must_use]
    pub fn in_flight_max(mut self, count: usize) -> Self {
        self.in_flight_max = count;
        self
    }

    /// How long a record whose lease is dropped waits until it is handed out again; those behind it do not.
    /// It is stored with whatever the queue stores next. One whose lease ends by its time has waited long
    /// enough, and [`release`](crate::Lease::release) gives it again at once. Default: 200 ms after the first
    /// delivery, twice as long after each further one, a minute at most, by up to a fifth shorter.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Whether a record is handed out only once its own time has come, by the machine's clock: who appends
    /// a job to be done later gives it that time ([`NewRecord::timestamp_ms`](crate::NewRecord::timestamp_ms)).
    /// Those behind it do not wait; it counts among the 4,096 that are kept track of, and is kept in memory.
    /// Default: no. There are no priorities: a log has one order, and urgent jobs go into a log of their own.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, NewRecord, QueueOptions};
    /// use std::time::{Duration, SystemTime, UNIX_EPOCH};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    /// let later_ms = (now + Duration::from_secs(3600)).as_millis() as i64;
    /// let later = NewRecord::value("in an hour").timestamp_ms(later_ms);
    /// log.append_with(later, &AppendOptions::new())?;
    /// log.append("now")?;
    /// let jobs = log.consumer("jobs")?.into_queue(QueueOptions::new().by_time(true))?;
    /// let job = jobs.next()?.expect("there is one");
    /// assert_eq!(&job.record()[..], b"now");
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn by_time(mut self, by_time: bool) -> Self {
        self.by_time = by_time;
        self
    }

    /// The log that takes the records which were handed out too often: key, value and time, and a
    /// [`Producer`](crate::Producer) of which `number` is the record's seq here. Not the queue's own.
    ///
    /// After a crash in between a record is not put there twice, as long as it is among the last 4,096
    /// producers there. If it fails again after the cursor was set back, it is put there again. What that
    /// log refuses is told to whoever asks for the next record.
    #[must_use]
    pub fn dead_letters(mut self, log: &Log) -> Self {
        self.dead_letters = Some(log.clone());
        self
    }

    /// Whether a delivery may be counted before it comes. Not where one that is counted, and after a crash
    /// not known to have come, would be the last.
    pub(super) fn counts_ahead(&self) -> bool {
        !self.is_doomed(1)
    }

    /// Whether a record that was handed out so often goes to the dead letters.
    pub(super) fn is_doomed(&self, delivery_count: u32) -> bool {
        self.dead_letters.is_some() && delivery_count >= self.deliveries_max
    }

    pub(super) fn check(&self, log: &Log) -> Result<()> {
        let refuse = |note| Err(Error::note(ErrorKind::InvalidInput, Op::Consume, note));
        if !(1..=PENDING_MAX).contains(&self.in_flight_max) || self.deliveries_max == 0 {
            return refuse("in_flight_max must be 1 to 4096, deliveries_max at least 1");
        }
        if (self.dead_letters.as_ref()).is_some_and(|dead| dead.id() == log.id()) {
            return refuse("the dead letters of a log cannot go to the log itself");
        }
        Ok(())
    }
}
