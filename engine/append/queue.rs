//! The queue: gives seqs, decides where bytes will go, and holds back who runs ahead.
//!
//! INVARIANT: `plan` is where the next group's bytes go if everything queued before is written. When
//! a write fails, the plan and `next_seq` go back with it, and so does everything behind it.

use super::group::{Group, Scratch};
use super::{AppendOptions, Core, Ledger, NewRecord, Spare, completion::Completion};
use crate::{
    catalog::Level,
    error::{Error, ErrorKind, Op, Result},
    format::{
        NUMBER_MAX,
        batch::{BATCH_HEADER_BYTES, COUNT_MAX},
    },
    options::Durability,
    segment::Tail,
    sync::{Arc, MutexGuard},
    types::Seq,
};
use std::{collections::VecDeque, ops::Range, task::Waker, time::Duration};

/// The seqs of an append, and what to wait on, if anything.
pub(super) type Queued = (Range<Seq>, Option<Arc<Completion>>);

/// What became of an attempt to queue records.
pub(super) enum Attempt<'a> {
    /// They are queued; nobody has had the lock since.
    Queued(Queued, MutexGuard<'a, State>),
    /// First something has to happen.
    Wait(MutexGuard<'a, State>, For),
}

/// What an append has to wait for before it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The end of the log is being changed.
    End,
    /// The queue is full.
    Room,
    /// The next segment is not prepared.
    Segment,
}

/// What the queue's lock guards.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: VecDeque<Group>,
    /// The segment that the next group goes to, and where in it.
    pub(super) plan: (Arc<Tail>, u64),
    pub(super) next_seq: Seq,
    /// Who appended what lately, what is queued included.
    pub(super) ledger: Ledger,
    pub(super) queued_bytes: usize,
    /// Whether somebody leads.
    pub(super) leading: bool,
    /// Callers that were under way when the last sync ended: those it released, those that wait still.
    pub(super) company: usize,
    /// How long the last groups took to be written and synced, and their size in bytes; the later ones
    /// count more.
    pub(super) usual_trip: Duration,
    /// How long it took until the next one of those whom a sync had released came back.
    pub(super) usual_arrival: Duration,
    pub(super) usual_group_bytes: usize,
    /// Whether the one who leads is changing the end of the log: then nobody plans behind it.
    pub(super) end_changes: bool,
    pub(super) spare: Option<Spare>,
    /// Whether a segment was finished, so that it is time to seal it and to prepare another.
    pub(super) seal_due: bool,
    /// The failed sync after which nothing is appended any more.
    pub(super) poison: Option<Error>,
    pub(super) closed: bool,
    pub(super) stop_worker: bool,
    /// Buffered records that were dropped with a group that failed: told at the next sync.
    pub(super) lost_buffered: Option<Error>,
    /// Below it are records whose repeat was told that they are buffered.
    pub(super) promised_seq: Seq,
    /// What earlier groups left, to be used again.
    pub(super) scratches: Vec<Scratch>,
    /// When the oldest buffered record was queued.
    pub(super) buffered_since: Option<Duration>,
    /// When the oldest write was made that no sync covers.
    pub(super) unsynced_since: Option<Duration>,
    /// Where much was written that no sync covers: the worker has the system begin with that.
    pub(super) write_back: Option<Arc<Tail>>,
    /// What failed in the background, until somebody asks.
    pub(super) worker_error: Option<Error>,
    /// When the last sync for appends returned.
    pub(super) synced_at: Option<Duration>,
    /// Up to where a watermark that is itself durable attests durability.
    pub(super) attested_seq: Seq,
    /// After a write failed for want of space: not before then does the worker try again.
    pub(super) retry_at: Option<Duration>,
    /// Whether the worker, if there is one, does something that takes its time, so that nobody should
    /// wait for it to work off the queue.
    pub(super) worker_away: bool,
    /// Whether the worker has set its clock for the next idle watermark.
    pub(super) idle_armed: bool,
    /// Threads that wait for `room`.
    pub(super) room_waiters: usize,
    /// Tasks that wait for it.
    pub(super) room_wakers: Vec<Waker>,
    /// What tasks have asked the worker to do in their stead, and whether it takes no more.
    #[cfg(feature = "async")]
    pub(super) errands: VecDeque<super::later::Errand>,
    #[cfg(feature = "async")]
    pub(super) worker_ended: bool,
    /// Why no room is made at present: the last write or the last attempt to prepare a segment failed.
    pub(super) stuck: Option<Error>,
    /// Whether somebody waits for preparing a segment to be tried again, back-off or not.
    pub(super) try_now: bool,
}

impl State {
    pub(super) fn new(tail: Arc<Tail>, end: u64, next_seq: Seq, ledger: Ledger) -> Self {
        Self {
            queue: VecDeque::new(),
            plan: (tail, end),
            next_seq,
            ledger,
            queued_bytes: 0,
            leading: false,
            company: 0,
            usual_trip: Duration::ZERO,
            usual_arrival: Duration::ZERO,
            usual_group_bytes: 0,
            end_changes: false,
            spare: None,
            seal_due: false,
            poison: None,
            closed: false,
            stop_worker: false,
            lost_buffered: None,
            promised_seq: 0,
            scratches: Vec::new(),
            buffered_since: None,
            unsynced_since: None,
            write_back: None,
            worker_error: None,
            synced_at: None,
            attested_seq: next_seq,
            retry_at: None,
            worker_away: true,
            idle_armed: false,
            room_waiters: 0,
            room_wakers: Vec::new(),
            #[cfg(feature = "async")]
            errands: VecDeque::new(),
            #[cfg(feature = "async")]
            worker_ended: false,
            stuck: None,
            try_now: false,
        }
    }

    /// The group that takes what comes next; a new one if the last takes no more.
    #[inline]
    pub(super) fn back(&mut self) -> Option<&mut Group> {
        if self.open_group().is_none() {
            let (tail, end) = (self.plan.0.clone(), self.plan.1);
            let scratch = self.scratches.pop().unwrap_or_default();
            self.queue
                .push_back(Group::new(tail, None, end, self.next_seq, scratch));
        }
        self.queue.back_mut()
    }

    /// The last group, if it takes more.
    #[inline]
    fn open_group(&self) -> Option<&Group> {
        let fits = |group: &&Group| group.open && Arc::ptr_eq(&group.tail, &self.plan.0);
        self.queue.back().filter(fits)
    }
}

impl Core {
    /// Checks, numbers and queues records, waiting for room and for a segment as long as it takes. The
    /// completion is `None` if there is nothing to wait for.
    pub(super) fn enqueue(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
    ) -> Result<Queued> {
        self.enqueue_and_hold(records, how, level)
            .map(|(queued, _)| queued)
    }

    /// As [`enqueue`](Self::enqueue), for who goes on with the queue in hand.
    #[inline]
    pub(super) fn enqueue_and_hold<'a>(
        &'a self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
    ) -> Result<(Queued, MutexGuard<'a, State>)> {
        let body_bytes = self.check(records, how)?;
        let mut state = self.state.lock();
        loop {
            match self.attempt(state, records, how, level, body_bytes)? {
                Attempt::Queued(queued, state) => return Ok((queued, state)),
                Attempt::Wait(waiting, why) => state = self.wait_for(waiting, why)?,
            }
        }
    }

    /// Numbers and queues records, if that is possible now.
    #[inline]
    pub(super) fn attempt<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
        body_bytes: usize,
    ) -> Result<Attempt<'a>> {
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let new_batch = loop {
            if state.end_changes {
                return Ok(Attempt::Wait(state, For::End));
            }
            Self::check_open(&state, Op::Append)?;
            if let Some(repeat) = self.find_repeat(&mut state, how.producer, count, level)? {
                return Ok(Attempt::Queued(repeat, state));
            }
            if let Some(expected) = how.expected_seq
                && expected != state.next_seq
            {
                return Err(Error::seq_mismatch(expected, state.next_seq));
            }
            if count == 0 {
                let none = state.next_seq..state.next_seq;
                return Ok(Attempt::Queued((none, None), state));
            }
            if state.next_seq.saturating_add(count.into()) > NUMBER_MAX {
                let note = "the log has given out all of its numbers";
                return Err(Error::note(ErrorKind::TooLarge, Op::Append, note));
            }
            let queued = state.queued_bytes;
            if queued > 0 && queued + body_bytes > self.options.queued_bytes_max(level) {
                return Ok(Attempt::Wait(state, For::Room));
            }
            let fresh = |group: &Group| {
                // With a worker, a group waits no longer than the buffer interval.
                self.options.background || group.batch_age_ms(self.dir.vfs().unix_time_ms()) < 100
            };
            let new_batch = !state
                .open_group()
                .is_some_and(|group| group.batch_has_room(body_bytes, count) && fresh(group));
            let needed = body_bytes + if new_batch { BATCH_HEADER_BYTES } else { 0 };
            if state.plan.1 + needed as u64 <= self.options.segment_bytes {
                break new_batch;
            }
            if !self.plan_rotation(&mut state) {
                return Ok(Attempt::Wait(state, For::Segment));
            }
        };
        let queued = self.push(&mut state, records, how, level, new_batch)?;
        if level == Durability::Buffered {
            state = self.buffered(state);
        }
        Ok(Attempt::Queued(queued, state))
    }

    /// Encodes records that have their place into the last group.
    #[inline]
    fn push(
        &self,
        state: &mut State,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
        new_batch: bool,
    ) -> Result<Queued> {
        let first_seq = state.next_seq;
        let buffer_bytes = self.options.buffer_bytes;
        let begin_at_ms = new_batch.then(|| self.dir.vfs().unix_time_ms());
        let Some(group) = state.back() else {
            return Err(Error::note(
                ErrorKind::InvalidInput,
                Op::Append,
                "the queue is empty",
            ));
        };
        let before = group.buffer.len();
        group.push(records, how.producer, begin_at_ms);
        group.wants = stronger(group.wants, level);
        if level == Durability::Buffered {
            group.buffered_count += records.len();
        } else {
            group.owes = true;
        }
        // A buffer that is full is written as it is: larger ones would not stay in the cache.
        group.open &= group.wants != Durability::Buffered || group.buffer.len() < buffer_bytes;
        let (added, end, next_seq) = (group.buffer.len() - before, group.end(), group.next_seq);
        let done = (level != Durability::Buffered).then(|| group.done.clone());
        state.queued_bytes += added;
        state.plan.1 = end;
        state.next_seq = next_seq;
        if let Some(producer) = how.producer {
            let settled_seq = self.watermark.get(Level::Written);
            state.ledger.add(producer, first_seq..next_seq, settled_seq);
        }
        Ok((first_seq..next_seq, done))
    }

    /// Limits, before anything is queued. Gives the size of the frames in bytes.
    pub(super) fn check(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<usize> {
        let limit = self.options.record_limit();
        let mut body_bytes = 0;
        for record in records {
            record.check(limit)?;
            // Eight bytes more than most need: a clock far off gives each record its own time.
            body_bytes += record.parts(Some(0), how.producer).frame_bytes();
        }
        let batch_bytes = (body_bytes + BATCH_HEADER_BYTES) as u64;
        if batch_bytes > self.options.batch_bytes_max() {
            return Err(Error::too_large(
                "a batch",
                batch_bytes,
                self.options.batch_bytes_max(),
            ));
        }
        if records.len() as u64 > COUNT_MAX.into() {
            let note = "a batch holds at most 2^24 - 1 records";
            return Err(Error::note(ErrorKind::TooLarge, Op::Append, note));
        }
        if records.is_empty() && how.producer.is_some() {
            let note = "an append that names its producer holds at least one record";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Append, note));
        }
        Ok(body_bytes)
    }

    /// After a buffered record was queued: has the buffer written when it is full.
    fn buffered<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.buffered_since.is_none() {
            state.buffered_since = Some(self.dir.vfs().monotonic());
            self.work.notify_one();
        }
        if state.queued_bytes < self.options.buffer_bytes || state.leading {
            return state;
        }
        if self.options.background {
            self.work.notify_one();
            return state;
        }
        self.lead(state);
        self.state.lock()
    }

    /// Queues the wish that everything so far be durable; `None` if it is.
    pub(super) fn enqueue_sync(&self) -> Result<Option<Arc<Completion>>> {
        let mut state = self.wait_for_end(self.state.lock());
        Self::check_open(&state, Op::Sync)?;
        let durable_seq = self.durable_seq();
        if !state.leading && state.queue.is_empty() && durable_seq == state.next_seq {
            // A header without records may be unsynced: it matters with the first record.
            state.unsynced_since = None;
            return Ok(None);
        }
        let group = state.back();
        Ok(group.map(|group| {
            group.wants = Durability::Durable;
            group.done.clone()
        }))
    }

    /// Queues a watermark behind the last sync, if the tail has room for it.
    pub(super) fn enqueue_watermark(&self) -> Option<Arc<Completion>> {
        let mut state = self.state.lock();
        let fits = state.plan.1 + BATCH_HEADER_BYTES as u64 <= self.options.segment_bytes;
        if !fits || state.leading || !state.queue.is_empty() || state.poison.is_some() {
            return None;
        }
        let now_ms = self.dir.vfs().unix_time_ms();
        let group = state.back()?;
        group.push_watermark(now_ms);
        group.open = false;
        group.wants = Durability::Durable;
        let (done, end) = (group.done.clone(), group.end());
        state.plan.1 = end;
        state.queued_bytes += BATCH_HEADER_BYTES;
        Some(done)
    }
}

pub(super) fn stronger(a: Durability, b: Durability) -> Durability {
    match (a, b) {
        (Durability::Durable, _) | (_, Durability::Durable) => Durability::Durable,
        (Durability::Written, _) | (_, Durability::Written) => Durability::Written,
        _ => Durability::Buffered,
    }
}
