//! Queueing: gives seqs, decides where bytes will go, and holds back who runs ahead.
//!
//! INVARIANT: what is checked and what is queued is one turn of the queue's lock: nobody comes in between.

use super::{
    AppendOptions, Core, NewRecord, completion::Completion, group::Group, held::Held,
    sealing::sealing_bytes_max, state::State,
};
use crate::{
    catalog::Level,
    error::{Error, ErrorKind, Op, Result},
    format::{
        NUMBER_MAX,
        batch::{BATCH_HEADER_BYTES, COUNT_MAX},
    },
    options::Durability,
    segment::Tail,
    sync::Arc,
    types::Seq,
};
use std::ops::Range;

/// The seqs of an append, and what to wait on, if anything.
pub(super) type Queued = (Range<Seq>, Option<Arc<Completion>>);

/// What became of an attempt to queue records.
pub(super) enum Attempt<'a> {
    /// They are queued; nobody has had the lock since.
    Queued(Queued, Held<'a>),
    /// First something has to happen.
    Wait(Held<'a>, For),
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
    ) -> Result<(Queued, Held<'a>)> {
        let body_bytes = self.check(records, how)?;
        let mut state = self.lock();
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
        mut state: Held<'a>,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
        body_bytes: usize,
    ) -> Result<Attempt<'a>> {
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let new_batch = loop {
            if state.queue.end_changes() {
                return Ok(Attempt::Wait(state, For::End));
            }
            state.life.check_open(Op::Append)?;
            if let Some(repeat) = self.find_repeat(&mut state, how.producer, count, level)? {
                return Ok(Attempt::Queued(repeat, state));
            }
            if let Some(expected) = how.expected_seq
                && expected != state.queue.next_seq()
            {
                return Err(Error::seq_mismatch(expected, state.queue.next_seq()));
            }
            if count == 0 {
                let none = state.queue.next_seq()..state.queue.next_seq();
                return Ok(Attempt::Queued((none, None), state));
            }
            if state.queue.next_seq().saturating_add(count.into()) > NUMBER_MAX {
                let note = "the log has given out all of its numbers";
                return Err(Error::note(ErrorKind::TooLarge, Op::Append, note));
            }
            let queued = state.queue.bytes();
            if queued > 0 && queued + body_bytes > self.options.queued_bytes_max(level) {
                return Ok(Attempt::Wait(state, For::Room));
            }
            let fresh = |group: &Group| {
                // With a worker, a group waits no longer than the buffer interval.
                self.options.background || group.batch_age_ms(self.dir.vfs().unix_time_ms()) < 100
            };
            let new_batch = !state.queue.open_group().is_some_and(|group| {
                group.batch_has_room(body_bytes, records, how.producer) && fresh(group)
            });
            let needed = body_bytes + self.framing_bytes(how, new_batch);
            let may_go_there = self.may_hold(&state.queue.plan().0);
            let fits = may_go_there && state.queue.has_room(needed, self.options.segment_bytes);
            // What is to be packed goes into a new segment, if one is prepared; else it goes there as it is.
            if fits && self.may_pack_next(&state.queue.plan().0) && self.plan_rotation(&mut state) {
                continue;
            }
            if fits {
                break new_batch;
            }
            if let (false, Some(id)) = (may_go_there, self.options.keys.current_id())
                && self.options.keys.current().is_none()
            {
                return Err(Error::key_missing(Op::Append, id));
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
        let begin_at_ms = new_batch.then(|| self.dir.vfs().unix_time_ms());
        let limits = (
            self.options.buffer_bytes,
            self.watermark.get(Level::Written),
        );
        let queued = (state.queue).push(records, how, level, begin_at_ms, limits);
        queued.ok_or_else(|| {
            let note = "the queue is empty";
            Error::note(ErrorKind::InvalidInput, Op::Append, note)
        })
    }

    /// Limits, before anything is queued. Gives the size of the frames in bytes.
    pub(super) fn check(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<usize> {
        let limit = self.options.record_limit();
        let mut body_bytes = 0;
        for record in records {
            record.check(limit)?;
            body_bytes += frame_bytes(record, how);
        }
        self.check_keys()?;
        let batch_bytes = (body_bytes + self.framing_bytes(how, true)) as u64;
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

    /// How many of these, from the first on, one batch takes, if none is too large by itself.
    pub(crate) fn batch_len(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> usize {
        let mut batch_bytes = self.framing_bytes(how, true) as u64;
        let fitting = records.iter().zip(0..COUNT_MAX).take_while(|(record, _)| {
            batch_bytes += frame_bytes(record, how) as u64;
            batch_bytes <= self.options.batch_bytes_max()
        });
        fitting.count()
    }

    /// What a batch takes beside its records, if they begin it, or more of it if they share one.
    #[inline]
    fn framing_bytes(&self, how: &AppendOptions, begins: bool) -> usize {
        let sealing_bytes = match self.options.keys.seals() {
            true => sealing_bytes_max(begins, how.producer.is_some()),
            false => 0,
        };
        sealing_bytes + if begins { BATCH_HEADER_BYTES } else { 0 }
    }

    /// Whether records may go into this segment: into one that is not sealed only if they are not to be.
    #[inline]
    fn may_hold(&self, tail: &Tail) -> bool {
        !self.options.keys.seals() || tail.sealing.is_some()
    }

    /// Whether records are packed in the next segment and not in this one, which was begun when none were to be.
    #[inline]
    fn may_pack_next(&self, tail: &Tail) -> bool {
        self.options.pack_appends.is_some() && !tail.packed_appends
    }

    /// Nothing is appended in the clear to a log that is sealed.
    #[inline]
    fn check_keys(&self) -> Result<()> {
        if self.sealed && !self.options.keys.seals() {
            let note = "the log is sealed, and it was opened without keys: see `Options::keys`";
            return Err(Error::note(ErrorKind::KeyMissing, Op::Append, note));
        }
        Ok(())
    }

    /// After a buffered record was queued: has the buffer written when it is full.
    fn buffered<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        if !state.duties.has_buffered() {
            state.duties.buffered(self.dir.vfs().monotonic());
            self.nudge_worker();
        }
        if state.queue.bytes() < self.options.buffer_bytes || state.queue.is_led() {
            return state;
        }
        if self.options.background {
            self.nudge_worker();
            return state;
        }
        self.lead(state);
        self.lock()
    }

    /// Queues the wish that everything so far be durable; `None` if it is.
    pub(super) fn enqueue_sync(&self) -> Result<Option<Arc<Completion>>> {
        let mut state = self.wait_for_end(self.lock());
        state.life.check_going(Op::Sync)?;
        let durable_seq = self.durable_seq();
        let idle = !state.queue.is_led() && state.queue.is_empty();
        if idle && durable_seq == state.queue.next_seq() {
            // A header without records may be unsynced: it matters with the first record.
            state.duties.all_synced();
            return Ok(None);
        }
        Ok(state.queue.back_wanting(Durability::Durable))
    }

    /// Queues the wish that everything so far be written; `None` if it is, or if nothing is written any more.
    pub(super) fn enqueue_write(&self) -> Option<Arc<Completion>> {
        let mut state = self.wait_for_end(self.lock());
        let written = self.watermark.get(Level::Written) >= state.queue.next_seq();
        if written || state.life.check_going(Op::Append).is_err() {
            return None;
        }
        state.queue.back_wanting(Durability::Written)
    }

    /// Queues a watermark behind the last sync, if the tail has room for it.
    pub(super) fn enqueue_watermark(&self) -> Option<Arc<Completion>> {
        let mut state = self.lock();
        let fits = (state.queue).has_room(BATCH_HEADER_BYTES, self.options.segment_bytes);
        if !fits || state.queue.is_led() || !state.queue.is_empty() || state.life.poison().is_some()
        {
            return None;
        }
        let now_ms = self.dir.vfs().unix_time_ms();
        state.queue.push_watermark(now_ms)
    }
}

/// Eight bytes more than most need: a clock far off gives each record its own time.
#[inline]
fn frame_bytes(record: &NewRecord<'_>, how: &AppendOptions) -> usize {
    record.parts(Some(0), how.producer).frame_bytes()
}
