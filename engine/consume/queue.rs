//! A queue: one cursor, many workers, each record with one of them at a time.
//!
//! INVARIANTS: a record that was taken from the log is pending until it is done, so the position never
//! passes it; a delivery is counted durably before the record is handed out; whoever changes what a
//! waiting worker may be waiting for calls it, so nobody polls.

use super::{
    lease::Lease,
    options::QueueOptions,
    position::{Position, Tracked},
};
use crate::{
    append::{AppendOptions, NewRecord},
    catalog::{Level, Wait},
    error::{ErrorKind, Result},
    format::Producer,
    log::Log,
    options::Durability,
    read::{Record, TailReader},
    sync::{
        Arc, Deadline, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    types::Seq,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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
    shared: Arc<Shared>,
}

/// What queue and leases share.
#[derive(Debug)]
pub(super) struct Shared {
    position: Position,
    options: QueueOptions,
    state: Mutex<State>,
    /// Counts what may let a waiting worker go on: a record given back, room made.
    calls: AtomicU64,
}

#[derive(Debug)]
struct State {
    tail: TailReader,
    /// Read, and not pending yet: there was no room.
    peeked: Option<Record>,
    /// The pending records that were read and are not done.
    held: BTreeMap<Seq, Held>,
    /// Those that were handed out before the queue was opened, and not read again yet.
    unread: BTreeSet<Seq>,
    next_token: u64,
}

#[derive(Debug)]
struct Held {
    record: Record,
    lease: Option<Term>,
}

/// Whose it is, and until when.
#[derive(Clone, Copy, Debug)]
struct Term {
    token: u64,
    deadline: Deadline,
}

/// What a worker is to do.
enum Step {
    /// Work on this one, once its delivery is stored.
    Deliver(Seq, u64),
    /// Put this one to the dead letters.
    Bury(Seq, u64),
    /// Wait until the log goes beyond a seq, or a lease ends.
    Wait(Seq, Option<Duration>),
}

impl Queue {
    pub(super) fn new(position: Position, options: QueueOptions) -> Self {
        let tail = position.log.tail(position.seq());
        let unread = position.with(|position| position.open_seqs());
        Self {
            shared: Arc::new(Shared {
                position,
                options,
                state: Mutex::new(State {
                    tail,
                    peeked: None,
                    held: BTreeMap::new(),
                    unread,
                    next_token: 0,
                }),
                calls: AtomicU64::new(0),
            }),
        }
    }

    /// The lowest number that is not done.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.shared.position.seq()
    }

    /// The next record to work on; waits for it. `None`: the log was closed.
    ///
    /// # Errors
    /// As [`Consumer::next`](crate::Consumer::next), until a consumer of the name seeks elsewhere; what
    /// storing the delivery meets, `NoSpace` or `Io`: then the record was not handed out; what the log of
    /// the dead letters says.
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails and can be asked again"
    )]
    pub fn next(&self) -> Result<Option<Lease>> {
        self.take(None)
    }

    /// As [`next`](Self::next), waiting at most this long. `None`: none came, or the log was closed.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_timeout(&self, timeout: Duration) -> Result<Option<Lease>> {
        self.take(Some(timeout))
    }

    fn take(&self, timeout: Option<Duration>) -> Result<Option<Lease>> {
        let deadline = timeout.map(Deadline::after);
        let shared = &self.shared;
        loop {
            // Before the look: whoever changes something after it calls.
            let seen = shared.calls.load(Ordering::SeqCst);
            let (beyond_seq, lease_left) = match shared.step()? {
                Step::Deliver(seq, token) => match shared.deliver(seq, token)? {
                    Some((record, count)) => {
                        return Ok(Some(Lease::new(shared.clone(), record, token, count)));
                    }
                    None => continue,
                },
                Step::Bury(seq, token) => {
                    shared.bury(seq, token)?;
                    continue;
                }
                Step::Wait(beyond_seq, lease_left) => (beyond_seq, lease_left),
            };
            let left = deadline.map(Deadline::left);
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let watermark = shared.position.log.watermark();
            let called = || shared.calls.load(Ordering::SeqCst) != seen;
            let left = left.into_iter().chain(lease_left).min();
            if watermark.wait_beyond_or(Level::Durable, beyond_seq, left, called) == Wait::Ended {
                return watermark.failure().map_or(Ok(None), Err);
            }
        }
    }
}

impl Shared {
    /// Finds the next record that nobody has, and leases it without an end.
    fn step(&self) -> Result<Step> {
        let mut state = self.state.lock();
        let (leased_count, lease_left) = state.expire();
        if leased_count >= self.options.in_flight_max {
            return Ok(Step::Wait(Seq::MAX, lease_left));
        }
        let free = state.held.iter().find(|(_, held)| held.lease.is_none());
        let found = match free.map(|(seq, _)| *seq) {
            Some(seq) => Some(seq),
            None => self.read(&mut state)?,
        };
        let Some(seq) = found else {
            // With a record that there is no room for, only an acknowledgement helps.
            let beyond_seq = match state.peeked {
                None => state.tail.next_seq(),
                Some(_) => Seq::MAX,
            };
            return Ok(Step::Wait(beyond_seq, lease_left));
        };
        let token = state.next_token;
        state.next_token += 1;
        if let Some(held) = state.held.get_mut(&seq) {
            let deadline = Deadline::after(Duration::MAX);
            held.lease = Some(Term { token, deadline });
        }
        let count = self.position.with(|position| position.delivery_count(seq));
        if self.options.dead_letters.is_some() && count >= self.options.deliveries_max {
            return Ok(Step::Bury(seq, token));
        }
        Ok(Step::Deliver(seq, token))
    }

    /// Takes the next record that is not done from the log, and keeps track of it; `None` if there is
    /// none by now, or no room to.
    fn read(&self, state: &mut State) -> Result<Option<Seq>> {
        loop {
            let record = match state.peeked.take() {
                Some(record) => record,
                None => match state.tail.try_next() {
                    Ok(Some(record)) => record,
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        // A tail ends with its first error; this one tells it again.
                        state.tail = self.position.log.tail(state.tail.next_seq());
                        return Err(error);
                    }
                },
            };
            let seq = record.seq();
            // Handed out before the queue was opened, and not in the log any more.
            let unread = state.unread.split_off(&seq);
            let gone = std::mem::replace(&mut state.unread, unread);
            state.unread.remove(&seq);
            let tracked = self.position.with(|position| {
                gone.iter().for_each(|seq| position.done(*seq));
                position.track(seq)
            });
            match tracked {
                Tracked::Done => {}
                Tracked::Open => {
                    let lease = None;
                    state.held.insert(seq, Held { record, lease });
                    return Ok(Some(seq));
                }
                Tracked::NoRoom => {
                    state.peeked = Some(record);
                    return Ok(None);
                }
            }
        }
    }

    /// Counts a delivery, durably, and begins the term of its lease. `None` if the record was
    /// acknowledged meanwhile, by a worker that had it before.
    fn deliver(&self, seq: Seq, token: u64) -> Result<Option<(Record, u32)>> {
        let mut count = 0;
        let stored = self.position.change(|position| {
            count = position.delivery_count(seq).saturating_add(1);
            position.set_delivery_count(seq, count);
        });
        if let Err(error) = stored {
            self.position
                .with(|position| position.set_delivery_count(seq, count - 1));
            self.release(seq, token);
            return Err(error);
        }
        let mut state = self.state.lock();
        let Some(held) = state.held.get_mut(&seq) else {
            return Ok(None);
        };
        let deadline = Deadline::after(self.options.lease);
        held.lease = Some(Term { token, deadline });
        Ok(Some((held.record.clone(), count)))
    }

    /// Puts a record to the dead letters, durably, and only then takes it for done.
    fn bury(&self, seq: Seq, token: u64) -> Result<()> {
        let record = self.state.lock().held.get(&seq).map(|it| it.record.clone());
        let (Some(record), Some(dead)) = (record, &self.options.dead_letters) else {
            return Ok(());
        };
        let buried = self.append_dead(dead, &record);
        if let Err(error) = buried
            && error.kind() != ErrorKind::Duplicate
        {
            self.release(seq, token);
            return Err(error);
        }
        self.ack(seq)
    }

    fn append_dead(&self, dead: &Log, record: &Record) -> Result<()> {
        let letter = match (record.key(), record.value()) {
            (Some(key), Some(value)) => NewRecord::keyed(key, value),
            (Some(key), None) => NewRecord::tombstone(key),
            (None, value) => NewRecord::value(value.unwrap_or_default()),
        };
        let how = AppendOptions::new()
            .durability(Durability::Durable)
            .producer(self.producer(record.seq()));
        let letter = letter.timestamp_ms(record.timestamp_ms());
        dead.append_records(&[letter], &how).map(drop)
    }

    /// A producer for each dead letter, since they do not come in the order of their seqs: no two of
    /// one cursor are the same, and those of two logs or cursors are far apart.
    fn producer(&self, seq: Seq) -> Producer {
        let log_id = self.position.log.id().0;
        let of_log = u64::from_le_bytes(log_id.first_chunk().copied().unwrap_or_default());
        let of_cursor = self.position.id().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Producer {
            id: of_log.wrapping_add(of_cursor).wrapping_add(seq),
            epoch: 0,
            number: seq,
        }
    }

    /// The record is done, whoever did it; durable when it returns.
    pub(super) fn ack(&self, seq: Seq) -> Result<()> {
        let mut state = self.state.lock();
        state.held.remove(&seq);
        let end_seq = state.end_seq();
        self.position.with(|position| {
            position.done(seq);
            position.settle(end_seq);
        });
        drop(state);
        self.call();
        self.position.change(|_| {})
    }

    /// Gives the record again, now, if it is still this worker's.
    pub(super) fn release(&self, seq: Seq, token: u64) {
        let mut state = self.state.lock();
        if let Some(held) = state.leased(seq, token) {
            held.lease = None;
        }
        drop(state);
        self.call();
    }

    /// Begins the term anew, if the record is still this worker's.
    pub(super) fn extend(&self, seq: Seq, token: u64) -> bool {
        let mut state = self.state.lock();
        let held = state.leased(seq, token);
        held.is_some_and(|held| {
            let deadline = Deadline::after(self.options.lease);
            held.lease = Some(Term { token, deadline });
            true
        })
    }

    fn call(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.position.log.watermark().wake();
    }
}

impl State {
    /// Ends the leases whose time is over; gives the count of the others, and how long the shortest
    /// of them has left.
    fn expire(&mut self) -> (usize, Option<Duration>) {
        let (mut count, mut shortest) = (0, None);
        for held in self.held.values_mut() {
            let Some(term) = held.lease else { continue };
            let left = term.deadline.left();
            if left.is_zero() {
                held.lease = None;
            } else {
                count += 1;
                shortest = Some(shortest.map_or(left, |other: Duration| other.min(left)));
            }
        }
        (count, shortest)
    }

    fn leased(&mut self, seq: Seq, token: u64) -> Option<&mut Held> {
        let held = self.held.get_mut(&seq)?;
        let own = held.lease.is_some_and(|term| term.token == token);
        own.then_some(held)
    }

    /// Where the records begin that were not taken from the log yet.
    fn end_seq(&self) -> Seq {
        let peeked = self.peeked.as_ref().map(Record::seq);
        peeked.unwrap_or_else(|| self.tail.next_seq())
    }
}
