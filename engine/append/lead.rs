//! Leading a group: one write, one sync, and what follows when either fails.

use super::{Core, Writer, completion::Completion, group::Group, held::Held, state::State};
use crate::{
    catalog::Level,
    error::{Error, Op, Place, Result},
    format::SegmentHeader,
    observe::Counters,
    options::Durability,
    segment::{Summary, TailWriter, Way},
    sync::{self, Arc, atomic::Ordering},
    types::Seq,
};
use std::{task::Waker, time::Duration};

/// How long a leader waits for company at most: who stays away longer is thinking, and yielding so
/// long takes a processor from somebody else.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// A leader that did not wait for company thinks it quicker by one part in this many: what made it
/// slow may have passed.
const ARRIVAL_DECAY: u32 = 64;
/// As many groups are kept to be used again: one is written, one gathers, and what runs ahead.
const SCRATCHES_MAX: usize = 4;

/// After so many buffers have been written without a sync, the disk is given them to begin with.
const BUFFERS_GIVEN: u64 = 4;

/// Whom to wake once the lead is handed on: threads, and tasks.
type Told = (Option<Arc<Completion>>, Vec<Waker>);

/// What failed, and what is left of it.
enum Failure {
    /// Nothing was tried, because a sync of anybody's has failed before.
    Refused(Error),
    /// The write: it was cut back, so nothing of the group is or will be in the log.
    Write(Error),
    /// The sync, or cutting back: it is unknown what survives.
    Sync(Error),
}

impl Core {
    /// Takes the first group of the queue to the disk and hands on the lead. Gives the error if that
    /// failed; everybody concerned has been told then.
    ///
    /// INVARIANT: called with `leading` false; returns with it false.
    pub(super) fn lead<'a>(&'a self, mut state: Held<'a>) -> Option<Error> {
        debug_assert!(!state.leading, "one leads at a time");
        let first = state.queue.front()?;
        let gathers = first.wants == Durability::Durable;
        state.leading = true;
        if gathers {
            state = self.gather(state);
        }
        let Some(mut group) = state.queue.pop_front() else {
            // The log was poisoned meanwhile.
            state.leading = false;
            self.hand_on(&mut state);
            return None;
        };
        group.open = false;
        if state.queue.is_empty() {
            state.buffered_since = None;
        }
        drop(state);

        let outcome = self.carry_out(&mut group);

        let mut state = self.lock();
        state.leading = false;
        let (to_wake, error) = match outcome {
            Ok((to_wake, wakers)) => {
                state.after.wake(wakers);
                self.settle(&mut state, group);
                (to_wake, None)
            }
            Err(Failure::Refused(error)) => {
                state.after.fail(&group.done, error.clone());
                self.poison(&mut state, None, &error);
                (None, Some(error))
            }
            Err(Failure::Write(error)) => {
                self.take_back(&mut state, group, &error);
                (None, Some(error))
            }
            Err(Failure::Sync(error)) => {
                self.poison(&mut state, Some(&group), &error);
                (None, Some(error))
            }
        };
        self.hand_on(&mut state);
        drop(state);
        if let Some(done) = to_wake {
            done.wake_all().into_iter().for_each(Waker::wake);
        }
        error
    }

    /// Waits for those whom the last sync released, where that pays: they are on their way with their
    /// next append, and come too late for this sync if it starts at once.
    ///
    /// If all are there sooner than a trip to the disk takes, waiting saves one. Else a quarter of them
    /// is enough: while these use the disk the others come, and two groups take turns.
    fn gather<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        let Some(first) = state.queue.front() else {
            return state;
        };
        let (before, limit) = (first.done.parked_count(), state.usual_trip.min(GATHER_MAX));
        let all = state.company.saturating_sub(1);
        let missing = u32::try_from(all.saturating_sub(before)).unwrap_or(u32::MAX);
        let usual = state.usual_arrival;
        let wanted = if usual.saturating_mul(missing) <= limit {
            all
        } else {
            all / 4
        };
        if before >= wanted {
            state.usual_arrival = usual - usual / ARRIVAL_DECAY;
            return state;
        }
        let done = first.done.clone();
        drop(state);
        let start = self.dir.vfs().monotonic();
        sync::yield_until(|| done.parked_count() >= wanted, limit);
        let waited = self.dir.vfs().monotonic().saturating_sub(start);
        let arrived = done.parked_count().saturating_sub(before);
        let arrival = if 2 * arrived >= wanted - before {
            waited / u32::try_from(arrived.max(1)).unwrap_or(u32::MAX)
        } else {
            // Who did not come may never: so little is waited in vain, one group of twenty.
            4 * waited
        };
        let mut state = self.lock();
        state.usual_arrival = (7 * state.usual_arrival + arrival) / 8;
        state
    }

    /// Writes and syncs a group, and tells its callers; gives whom to wake once the lead is handed on.
    /// Nobody is told under the writer's lock.
    fn carry_out(&self, group: &mut Group) -> Result<Told, Failure> {
        self.dir.check_changeable().map_err(|error| {
            Failure::Refused(Error::io(Op::Append, error).at(Place::file(self.dir.path())))
        })?;
        let wants_sync = group.wants == Durability::Durable;
        let start = wants_sync.then(|| self.dir.vfs().monotonic());
        if !group.buffer.is_empty() {
            let mut writer = self.writer.lock();
            let outcome = self.write_group(&mut writer, group);
            drop(writer);
            if let Err(failure) = outcome {
                return Err(self.not_written(group, failure));
            }
            self.watermark.raise(Level::Written, group.next_seq);
        }
        let wakers = group.done.written();
        let Some(start) = start else {
            return Ok((None, wakers));
        };
        wakers.into_iter().for_each(Waker::wake);
        let synced = self.sync_writer(&mut self.writer.lock());
        group.synced_at = synced.map_err(Failure::Sync)?;
        group.disk_time = group.synced_at.saturating_sub(start);
        // First of all: what anybody was told is shown to all from then on, whatever becomes of us.
        self.publish_below(group.next_seq);
        let records = group.next_seq.saturating_sub(self.durable_seq());
        if records > 0 {
            self.counters.sync_records.add(records);
        }
        self.watermark.raise(Level::Durable, group.next_seq);
        // Before anybody is told: who is quick is back in the queue before this group is settled.
        group.company = self.parked_count.load(Ordering::Relaxed) + 1;
        group.done.durable();
        if self.parked_count.load(Ordering::Relaxed) > group.done.parked_count() {
            // The next leader, who is among the others, would stand behind all of these for a
            // processor, and the disk would have nothing to do.
            return Ok((Some(group.done.clone()), Vec::new()));
        }
        Ok((None, group.done.wake_all()))
    }

    /// A group was not written. Whoever wanted it durable wanted so what had been written before as well.
    fn not_written(&self, group: &Group, failure: Failure) -> Failure {
        if let (Failure::Write(_), Durability::Durable) = (&failure, group.wants) {
            if let Err(error) = self.sync_writer(&mut self.writer.lock()) {
                return Failure::Sync(error);
            }
            let written = self.watermark.get(Level::Written);
            self.watermark.raise(Level::Durable, written);
        }
        failure
    }

    fn write_group(&self, writer: &mut Writer, group: &mut Group) -> Result<(), Failure> {
        let durable_seq = self.durable_seq();
        group.finish(durable_seq);
        match group.begins.take() {
            Some(header) => self.begin_segment(writer, group, header, durable_seq)?,
            None => self.write(&writer.tail, group)?,
        }
        if !writer.unsynced.iter().any(|tail| tail.id == group.tail.id) {
            writer.unsynced.push(group.tail.clone());
        }
        if group.batches().len() > 0 {
            let frames = group.frames();
            writer
                .tail
                .advance(frames, group.batches(), group.next_seq, &group.tally);
        }
        Counters::add(&self.counters.group_count, 1);
        Counters::add(&self.counters.written_bytes, group.buffer.len() as u64);
        Counters::add(
            &self.counters.appended_records,
            group.tally.record_count.into(),
        );
        Counters::add(&self.counters.appended_bytes, group.payload_bytes);
        Ok(())
    }

    /// Writes the header of the next segment together with its first batches.
    fn begin_segment(
        &self,
        writer: &mut Writer,
        group: &mut Group,
        mut header: SegmentHeader,
        durable_seq: Seq,
    ) -> Result<(), Failure> {
        let before = &writer.tail;
        header.predecessor = Some(
            before
                .summary
                .predecessor(before.tail.id, &before.tail.context),
        );
        header.durable_seq = durable_seq;
        let bytes = header.encode();
        if let Some(slot) = group.buffer.get_mut(..bytes.len()) {
            slot.copy_from_slice(&bytes);
        }
        let summary = Summary::new(header.base_seq, &bytes);
        let next = TailWriter::new(group.tail.clone(), summary, Vec::new());
        group.begins = Some(header);
        self.write(&next, group)?;
        let finished = std::mem::replace(&mut writer.tail, next);
        writer.finished.push(finished);
        writer.ledger = group.ledger.take();
        let tail = group.tail.clone();
        self.catalog.swap(|catalog| catalog.tails.push(tail));
        Counters::add(&self.counters.rotation_count, 1);
        Ok(())
    }

    /// Writes, and on an error cuts back durably, so that the failed bytes can never come back.
    fn write(&self, writer: &TailWriter, group: &Group) -> Result<(), Failure> {
        let way = match group.wants {
            Durability::Durable if self.options.direct_writes => Way::PastCache,
            Durability::Durable => Way::InPieces(self.options.buffer_bytes),
            _ => Way::Unsynced,
        };
        let Err(error) = writer.write(&group.buffer, group.offset, way) else {
            return Ok(());
        };
        let place = Place::in_segment(writer.tail.id, group.offset);
        match writer.tail.space.cut_back(group.offset) {
            Ok(()) => Err(Failure::Write(Error::io(Op::Append, error).at(place))),
            Err(error) => Err(Failure::Sync(Error::io(Op::Sync, error).at(place))),
        }
    }

    /// Syncs every segment that has frames no sync covers, oldest first. Gives the moment at
    /// which that was done.
    pub(super) fn sync_writer(&self, writer: &mut Writer) -> Result<Duration> {
        let mut now = self.dir.vfs().monotonic();
        while let Some(tail) = writer.unsynced.first() {
            // DURABILITY: after the last of these lines every frame written so far survives.
            tail.space.sync().map_err(|error| {
                Error::io(Op::Sync, error).at(Place::in_segment(tail.id, tail.written_end()))
            })?;
            let end = self.dir.vfs().monotonic();
            self.counters.sync_ns.add_time(end.saturating_sub(now));
            now = end;
            writer.unsynced.remove(0);
            Counters::add(&self.counters.sync_count, 1);
        }
        Ok(now)
    }

    fn settle(&self, state: &mut State, group: Group) {
        state.queued_bytes = state.queued_bytes.saturating_sub(group.buffer.len());
        state.retry_at = None;
        state.stuck = None;
        if group.begins.is_some() {
            state.seal_due = true;
            state.after.rotated(group.tail.id);
        }
        if group.wants == Durability::Durable {
            state.company = group.company;
            state.usual_trip = (7 * state.usual_trip + group.disk_time) / 8;
            state.usual_group_bytes = (7 * state.usual_group_bytes + group.buffer.len()) / 8;
            state.synced_at = Some(group.synced_at);
            state.attested_seq = state.attested_seq.max(group.states_seq);
            state.unsynced_since = None;
            state.write_back = None;
        } else {
            if state.unsynced_since.is_none() {
                state.unsynced_since = Some(self.dir.vfs().monotonic());
                self.work.notify_one(); // It sets its clock for the sync.
            }
            let kept_back = group.end().saturating_sub(group.tail.space.given_end());
            if kept_back / BUFFERS_GIVEN >= self.options.buffer_bytes as u64 {
                state.write_back = Some(group.tail.clone());
                self.work.notify_one();
            }
        }
        if state.scratches.len() < SCRATCHES_MAX {
            // A buffer that grew for one huge batch is not kept, unless such are usual.
            let usual = self.options.buffer_bytes.max(state.usual_group_bytes);
            let scratch = group.into_scratch(usual.saturating_mul(2));
            state.scratches.extend(scratch);
        }
    }

    /// Passes the lead to whoever waits: first a parked caller of the next group that has one, else
    /// the worker.
    pub(super) fn hand_on(&self, state: &mut State) {
        let waited_for = state.room_waiters > 0 || !state.room_wakers.is_empty();
        if waited_for && !self.goes_on(state) {
            self.make_room(state);
        }
        let asked = state.queue.iter().any(|group| group.done.ask_to_lead());
        if self.options.background && self.work_is_due(state, asked) {
            self.work.notify_one();
        }
    }

    /// Whether the worker is about to write more, and much more waits. Who waits for room sleeps on then:
    /// to be woken for each buffer that was written costs more than to append what fits it.
    fn goes_on(&self, state: &State) -> bool {
        let much = self.options.queued_bytes_max(Durability::Buffered) / 2;
        state.queued_bytes > much && self.worker_comes(state)
    }

    /// Wakes whoever waits for room, for a segment or for the end to stand still.
    pub(super) fn make_room(&self, state: &mut State) {
        if state.room_waiters > 0 {
            self.room.notify_all();
        }
        let wakers = std::mem::take(&mut state.room_wakers);
        state.after.wake(wakers);
    }

    /// Lets the worker write what nobody waits for with a thread of its own.
    pub(super) fn nudge_worker(&self) {
        self.work.notify_one();
    }
}
