//! Who has which record of a queue, and for how long. What queue and leases share.
//!
//! INVARIANTS: a record that was taken from the log is pending until it is done, so the position never
//! passes it; a delivery is counted durably before the record is handed out; whoever changes what a
//! waiting worker may be waiting for rings, also for the end of a lease that began while it waited.
//! Records are dropped once the lock is free.
//!
//! Called by `queue`, `later` and `lease`; calls `position`.

use super::{
    bell::Bell,
    handed::{Dealt, Handed},
    held::Held,
    options::QueueOptions,
    position::Hand,
    standing::Tracked,
};
use crate::{
    error::Result,
    read::{Record, TailReader},
    sync::{Arc, Mutex, MutexGuard},
    types::Seq,
};
use std::{collections::BTreeSet, fmt, mem, time::Duration};

pub(super) struct Dealer {
    pub(super) hand: Hand,
    pub(super) options: QueueOptions,
    pub(super) bell: Arc<Bell>,
    state: Mutex<State>,
}

pub(super) struct State {
    tail: TailReader,
    /// Read, and not pending yet: there was no room.
    peeked: Option<Record>,
    /// The pending records that were read and are not done.
    pub(super) held: Held,
    /// Those that were handed out before the queue was opened, and not read again yet.
    unread: BTreeSet<Seq>,
    /// How many deliveries are counted ahead, and when some were counted last.
    pub(super) ahead_max: usize,
    pub(super) counted_at: Duration,
    /// Those who found nothing to do and wait, now and so far.
    waiting_count: usize,
    #[cfg(feature = "async")]
    waited_count: u64,
    /// Whether a thread rings at the end of leases, for tasks.
    #[cfg(feature = "async")]
    watched: bool,
}

/// What a worker is to do.
pub(super) enum Step {
    /// Work on these, once their deliveries are stored.
    Deliver(Handed),
    /// Put the one to the dead letters, and this is its round.
    Bury(Handed, u32),
    Wait(Waiting),
}

/// Somebody who waits until the log goes beyond a seq, a lease ends, or somebody rings.
pub(super) struct Waiting {
    pub(super) dealer: Arc<Dealer>,
    /// Its own among those of the queue.
    #[cfg(feature = "async")]
    number: u64,
    pub(super) beyond_seq: Seq,
    pub(super) lease_left: Option<Duration>,
    pub(super) seen: u64,
}

/// A record that a worker has; from [`Queue::in_flight`](crate::Queue::in_flight).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// Its number.
    pub seq: Seq,
    /// How often it was handed out, this time included.
    pub delivery_count: u32,
    /// How long the lease lasts; `None` while the delivery is being stored.
    pub lease_left: Option<Duration>,
}

impl Dealer {
    pub(super) fn new(hand: Hand, options: QueueOptions, bell: Arc<Bell>) -> Arc<Self> {
        let state = State {
            tail: hand.log.tail(hand.seq()),
            peeked: None,
            held: Held::default(),
            unread: hand.open_seqs(),
            ahead_max: 0,
            counted_at: Duration::ZERO,
            waiting_count: 0,
            #[cfg(feature = "async")]
            waited_count: 0,
            #[cfg(feature = "async")]
            watched: false,
        };
        Arc::new(Self {
            hand,
            options,
            bell,
            state: Mutex::new(state),
        })
    }

    fn now(&self) -> Duration {
        self.hand.log.core().dir().vfs().monotonic()
    }

    fn now_ms(&self) -> i64 {
        self.hand.log.core().dir().vfs().unix_time_ms()
    }

    /// Finds up to `max` records that nobody has, and leases them without an end.
    pub(super) fn step(self: &Arc<Self>, max: usize) -> Result<Step> {
        let (now, now_ms) = (self.now(), self.now_ms());
        let (mut dealt, mut dropped) = (Vec::new(), Vec::new());
        let mut state = self.state.lock();
        let room = (self.options.in_flight_max).saturating_sub(state.held.expire(now).1);
        while dealt.len() < room.min(max) {
            let seq = match self.find(&mut state, &mut dropped, now_ms) {
                Ok(Some(seq)) => seq,
                Err(error) if dealt.is_empty() => return Err(error),
                Ok(None) | Err(_) => break, // An error is told again by the next call.
            };
            let (delivery_count, round) = self.hand.open(seq).unwrap_or_default();
            let doomed = self.options.is_doomed(delivery_count);
            if doomed && !dealt.is_empty() {
                break; // The next call buries it.
            }
            dealt.extend(state.held.lease(seq));
            if doomed {
                return Ok(Step::Bury(self.handed(dealt, Vec::new()), round));
            }
        }
        if !dealt.is_empty() {
            let ahead = self.ahead(&mut state, &mut dropped, &dealt, (now, now_ms));
            return Ok(Step::Deliver(self.handed(dealt, ahead)));
        }
        state.waiting_count += 1;
        #[cfg(feature = "async")]
        {
            state.waited_count += 1;
        }
        Ok(Step::Wait(Waiting {
            dealer: self.clone(),
            #[cfg(feature = "async")]
            number: state.waited_count,
            // With a record that there is no room for, only an acknowledgement helps.
            beyond_seq: match state.peeked {
                None if room > 0 => state.tail.next_seq(),
                _ => Seq::MAX,
            },
            lease_left: state.next_change(now, now_ms),
            seen: self.bell.rings(),
        }))
    }

    /// Begins the terms of leases, whose deliveries are counted. Of records that were acknowledged
    /// meanwhile, by a worker that had them before, the count becomes 0.
    pub(super) fn begin(&self, dealt: &mut [Dealt], counts: &[u32]) {
        let end = self.now().saturating_add(self.options.lease);
        let mut state = self.state.lock();
        for (dealt, count) in dealt.iter_mut().zip(counts) {
            let valid = state.held.set_end(dealt.record.seq(), dealt.token, end);
            dealt.delivery_count = if valid { *count } else { 0 };
        }
        // Whoever waits knows of no such end yet.
        self.changed(state);
    }

    fn handed(self: &Arc<Self>, dealt: Vec<Dealt>, ahead: Vec<Seq>) -> Handed {
        let dealer = self.clone();
        Handed {
            dealer,
            dealt,
            ahead,
        }
    }

    /// A record that nobody has and that is not done; what turns out to be done is put to `dropped`.
    fn find(
        &self,
        state: &mut State,
        dropped: &mut Vec<Record>,
        now_ms: i64,
    ) -> Result<Option<Seq>> {
        loop {
            let Some(seq) = state.held.free(now_ms).next() else {
                break;
            };
            if self.hand.open(seq).is_some() {
                return Ok(Some(seq));
            }
            dropped.extend(state.held.remove(seq));
        }
        self.read(state, dropped, now_ms)
    }

    /// Takes the next record that is not done from the log, and keeps track of it; those that have to wait
    /// are passed. `None` if there is none by now, or no room to.
    pub(super) fn read(
        &self,
        state: &mut State,
        dropped: &mut Vec<Record>,
        now_ms: i64,
    ) -> Result<Option<Seq>> {
        loop {
            let next = match state.peeked.take() {
                Some(record) => Some(record),
                None => state.tail.try_next().inspect_err(|_| {
                    // A tail ends with its first error; this one tells it again.
                    state.tail = self.hand.log.tail(state.tail.next_seq());
                })?,
            };
            let seq = (next.as_ref()).map_or(state.tail.next_seq(), Record::seq);
            // Handed out before the queue was opened, and not in the log any more.
            let unread = state.unread.split_off(&seq);
            let gone = mem::replace(&mut state.unread, unread);
            self.hand.taken(seq, &gone);
            let Some(record) = next else {
                return Ok(None);
            };
            state.unread.remove(&seq);
            match self.hand.track(seq) {
                Tracked::Done => dropped.push(record),
                Tracked::Open => {
                    let own_time = self.options.by_time.then(|| record.timestamp_ms());
                    let not_before_ms = self.hand.not_before_ms(seq).max(own_time.unwrap_or(0));
                    state.held.insert(record, not_before_ms);
                    if not_before_ms <= now_ms {
                        return Ok(Some(seq));
                    }
                }
                Tracked::NoRoom => {
                    state.peeked = Some(record);
                    return Ok(None);
                }
            }
        }
    }

    /// The record is done, whoever did it. Not stored yet. A lease of before the queue was sent
    /// elsewhere changes nothing.
    pub(super) fn done(&self, seq: Seq, token: u64) {
        let mut state = self.state.lock();
        if state.held.is_void(token) {
            return;
        }
        let held = state.held.remove(seq);
        self.hand.done(seq);
        self.changed(state);
        drop(held);
    }

    /// Whether a lease is of before the queue was sent elsewhere.
    pub(super) fn is_void(&self, token: u64) -> bool {
        self.state.lock().held.is_void(token)
    }

    /// Gives the record again after a delay, if it is still this worker's; whether it is. Not stored yet.
    pub(super) fn release(&self, seq: Seq, token: u64, delay: Duration) -> bool {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let not_before_ms = match delay_ms {
            0 => 0,
            delay_ms => self.now_ms().saturating_add(delay_ms),
        };
        let mut state = self.state.lock();
        let own = state.held.release(seq, token, not_before_ms);
        if own {
            self.hand.wait_until(seq, not_before_ms);
        }
        self.changed(state);
        own
    }

    /// The same after the delay that the options say.
    pub(super) fn back_off(&self, seq: Seq, token: u64, delivery_count: u32) {
        let random = self.hand.log.core().dir().vfs().random();
        let delay = self.options.backoff.after(delivery_count, random);
        self.release(seq, token, delay);
    }

    /// Begins the term anew, if the record is still this worker's.
    pub(super) fn extend(&self, seq: Seq, token: u64) -> bool {
        let end = self.now().saturating_add(self.options.lease);
        self.state.lock().held.set_end(seq, token, end)
    }

    /// Goes elsewhere; what was handed out by now means nothing any more. Not stored yet.
    pub(super) fn seek(&self, seq: Seq) -> Result<()> {
        let tail = self.hand.log.tail(seq);
        let mut state = self.state.lock();
        self.hand.set(seq)?;
        state.unread.clear();
        let old = (
            mem::replace(&mut state.tail, tail),
            state.held.leave(),
            state.peeked.take(),
        );
        self.changed(state);
        drop(old);
        Ok(())
    }

    /// What workers have, in the order of the seqs.
    pub(super) fn in_flight(&self) -> Vec<InFlight> {
        let now = self.now();
        let mut state = self.state.lock();
        state.held.expire(now);
        let mut in_flight = state.held.in_flight(now);
        drop(state);
        in_flight.retain_mut(|it| {
            let open = self.hand.open(it.seq);
            it.delivery_count = open.map_or(0, |(delivery_count, _)| delivery_count);
            open.is_some()
        });
        in_flight
    }

    /// Whether nobody was watching the ends of leases so far.
    #[cfg(feature = "async")]
    pub(super) fn begin_watch(&self) -> bool {
        !mem::replace(&mut self.state.lock().watched, true)
    }

    #[cfg(feature = "async")]
    pub(super) fn end_watch(&self) {
        self.state.lock().watched = false;
    }

    /// Ends the leases whose time is over, and rings if a record is there to be had; gives the number of
    /// rings and how long it is until the next one may be. `None` once nobody waits.
    #[cfg(feature = "async")]
    pub(super) fn watch_on(&self) -> Option<(u64, Option<Duration>)> {
        let now = self.now();
        let mut state = self.state.lock();
        state.watched = state.waiting_count > 0;
        if !state.watched {
            return None;
        }
        let (ended_count, _) = state.held.expire(now);
        let now_ms = self.now_ms();
        let is_due = state.held.free(now_ms).next().is_some();
        let left = state.next_change(now, now_ms);
        if ended_count > 0 || is_due {
            self.changed(state);
        }
        Some((self.bell.rings(), left))
    }

    /// Rings if somebody waits, once the lock is free.
    fn changed(&self, state: MutexGuard<'_, State>) {
        let awaited = state.waiting_count > 0;
        drop(state);
        if awaited {
            self.bell.ring();
        }
    }
}

impl State {
    /// How long it is until a lease ends, or the time of a record comes that waits for it.
    fn next_change(&self, now: Duration, now_ms: i64) -> Option<Duration> {
        let ends = [self.held.next_end(now), self.held.next_due(now_ms)];
        ends.into_iter().flatten().min()
    }
}

#[cfg(feature = "async")]
impl Waiting {
    /// Has the task that waits woken by the next ring.
    pub(super) fn call(&self, waker: std::task::Waker) {
        self.dealer.bell.call(self.number, waker);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.dealer.state.lock().waiting_count -= 1;
        #[cfg(feature = "async")]
        self.dealer.bell.leave_alone(self.number);
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.hand.name())
            .field("seq", &self.hand.seq())
            .finish_non_exhaustive()
    }
}
