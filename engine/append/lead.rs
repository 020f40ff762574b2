//! Leading a group: one write, one sync, and what follows when either fails.

use super::{Core, Spare, Writer, completion::Completion, group::Group, queue::State};
use crate::{
    catalog::Level,
    error::{Error, ErrorKind, Op, Place, Result},
    format::SegmentHeader,
    observe::{Counters, event},
    options::Durability,
    segment::{Summary, Tail, TailWriter},
    sync::{self, Arc, MutexGuard, atomic::Ordering},
    types::Seq,
};
use std::{task::Waker, time::Duration};

/// How long the worker leaves a full disk alone before it tries to write buffered records again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How long a leader waits for company at most: who stays away longer is thinking, and yielding so
/// long takes a processor from somebody else.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// A leader that did not wait for company thinks it quicker by one part in this many: what made it
/// slow may have passed.
const ARRIVAL_DECAY: u32 = 64;
/// As many groups are kept to be used again: one is written, one gathers, and what runs ahead.
const SCRATCHES_MAX: usize = 4;

/// What failed, and what is left of it.
enum Failure {
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
    pub(super) fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Option<Error> {
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

        let durable_before = self.durable_seq();
        let outcome = self.carry_out(&mut group);

        let mut state = self.state.lock();
        state.leading = false;
        let (to_wake, error) = match outcome {
            Ok(to_wake) => {
                self.settle(&mut state, group);
                (to_wake, None)
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
            done.wake_all();
        }
        if self.durable_seq() > durable_before {
            // Everybody was woken before.
            self.publish();
        }
        error
    }

    /// Waits for those whom the last sync released, where that pays: they are on their way with their
    /// next append, and come too late for this sync if it starts at once.
    ///
    /// If all are there sooner than a trip to the disk takes, waiting saves one. Else a quarter of them
    /// is enough: while these use the disk the others come, and two groups take turns.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
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
        let mut state = self.state.lock();
        state.usual_arrival = (7 * state.usual_arrival + arrival) / 8;
        state
    }

    /// Writes and syncs a group, and tells its callers; gives whom to wake once the lead is handed on.
    fn carry_out(&self, group: &mut Group) -> Result<Option<Arc<Completion>>, Failure> {
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        let wants_sync = group.wants == Durability::Durable;
        let start = wants_sync.then(|| self.dir.vfs().monotonic());
        if !group.buffer.is_empty() {
            self.write_group(writer, group)?;
            self.watermark.raise(Level::Written, group.next_seq);
        }
        group.done.written();
        if let Some(start) = start {
            self.sync_writer(writer).map_err(Failure::Sync)?;
            group.disk_time = self.dir.vfs().monotonic().saturating_sub(start);
            self.watermark.raise(Level::Durable, group.next_seq);
            // Before anybody is told: who is quick is back in the queue before this group is settled.
            group.company = self.parked_count.load(Ordering::Relaxed) + 1;
            group.done.durable();
            if self.parked_count.load(Ordering::Relaxed) > group.done.parked_count() {
                // The next leader, who is among the others, would stand behind all of these for a
                // processor, and the disk would have nothing to do.
                return Ok(Some(group.done.clone()));
            }
            group.done.wake_all();
        }
        Ok(None)
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
        event!(info, "rotated", segment = group.tail.id.0);
        Ok(())
    }

    /// Writes, and on an error cuts back durably, so that the failed bytes can never come back.
    fn write(&self, writer: &TailWriter, group: &Group) -> Result<(), Failure> {
        // What nobody syncs now goes to the page cache, where it costs no trip to the disk.
        let past_cache = self.options.direct_writes && group.wants == Durability::Durable;
        let Err(error) = writer.write(&group.buffer, group.offset, past_cache) else {
            return Ok(());
        };
        let place = Place::in_segment(writer.tail.id, group.offset);
        match writer.tail.space.cut_back(group.offset) {
            Ok(()) => Err(Failure::Write(Error::io(Op::Append, error).at(place))),
            Err(error) => Err(Failure::Sync(Error::io(Op::Sync, error).at(place))),
        }
    }

    /// Syncs every segment that has frames no sync covers, oldest first.
    pub(super) fn sync_writer(&self, writer: &mut Writer) -> Result<()> {
        while let Some(tail) = writer.unsynced.first() {
            // DURABILITY: after the last of these lines every frame written so far survives.
            tail.space.sync().map_err(|error| {
                Error::io(Op::Sync, error).at(Place::in_segment(tail.id, tail.written_end()))
            })?;
            writer.unsynced.remove(0);
            Counters::add(&self.counters.sync_count, 1);
        }
        Ok(())
    }

    fn settle(&self, state: &mut State, group: Group) {
        state.queued_bytes = state.queued_bytes.saturating_sub(group.buffer.len());
        state.retry_at = None;
        state.stuck = None;
        if group.wants == Durability::Durable {
            state.company = group.company;
            state.usual_trip = (7 * state.usual_trip + group.disk_time) / 8;
            state.usual_group_bytes = (7 * state.usual_group_bytes + group.buffer.len()) / 8;
            state.synced_at = Some(self.dir.vfs().monotonic());
            state.attested_seq = state.attested_seq.max(group.states_seq);
            state.unsynced_since = None;
        } else if state.unsynced_since.is_none() {
            state.unsynced_since = Some(self.dir.vfs().monotonic());
            self.work.notify_one(); // It sets its clock for the sync.
        }
        if state.scratches.len() < SCRATCHES_MAX {
            // A buffer that grew for one huge batch is not kept, unless such are usual.
            let usual = self.options.buffer_bytes.max(state.usual_group_bytes);
            let scratch = group.into_scratch(2 * usual);
            state.scratches.extend(scratch);
        }
    }

    /// A write failed and was cut back: the queue goes back to where it was before. Records that are
    /// acknowledged as buffered stay queued, as long as nobody before them has to be told an error.
    fn take_back(&self, state: &mut State, group: Group, error: &Error) {
        state.queue.push_front(group);
        state.retry_at = Some(self.dir.vfs().monotonic() + RETRY_AFTER);
        state.stuck = Some(error.clone());
        let kept = state.queue.iter().take_while(|group| !group.owes).count();
        let dropped = state.queue.split_off(kept);
        for group in &mut state.queue {
            // Whoever waits for a sync of it is told now; the records themselves wait on.
            let done = std::mem::replace(&mut group.done, Arc::new(Completion::default()));
            done.fail(error.clone());
            group.wants = Durability::Buffered;
            group.open = false;
        }
        state.queue.retain(|group| !group.buffer.is_empty());
        if let Some(first) = dropped.front() {
            state.next_seq = first.first_seq;
            state.ledger.drop_from(first.first_seq);
            state.plan = self.plan_before(state, first);
        }
        for group in dropped {
            drop_group(state, &group, error);
        }
        state.queued_bytes = state.queue.iter().map(|group| group.buffer.len()).sum();
        event!(warn, "write failed", error = tracing_text(error));
    }

    /// Where the next group goes when this one is dropped.
    fn plan_before(&self, state: &State, dropped: &Group) -> (Arc<Tail>, u64) {
        if dropped.begins.is_none() {
            return (dropped.tail.clone(), dropped.offset);
        }
        match state.queue.back() {
            Some(kept) => (kept.tail.clone(), kept.end()),
            None => {
                let writer = self.writer.lock();
                (writer.tail.tail.clone(), writer.tail.summary.end)
            }
        }
    }

    /// A sync failed: nothing is retried and nothing lies. The group that was written may or may not
    /// survive; what was only queued is not and will not be in the log.
    pub(super) fn poison(&self, state: &mut State, written: Option<&Group>, error: &Error) {
        event!(error, "poisoned", error = tracing_text(error));
        state.poison = Some(error.clone());
        if let Some(group) = written {
            group
                .done
                .fail(error.consequence(ErrorKind::Indeterminate, Op::Append));
        }
        for group in state.queue.drain(..) {
            group
                .done
                .fail(error.consequence(ErrorKind::Poisoned, Op::Append));
        }
        state.queued_bytes = 0;
        self.make_room(state);
        self.watermark
            .fail(error.consequence(ErrorKind::Poisoned, Op::Read));
    }

    /// Passes the lead to whoever waits: first a parked caller of the next group that has one, else
    /// the worker.
    pub(super) fn hand_on(&self, state: &mut State) {
        self.make_room(state);
        let asked = state.queue.iter().any(|group| group.done.ask_to_lead());
        if !asked && self.options.background && self.work_is_due(state) {
            self.work.notify_one();
        }
    }

    /// Wakes whoever waits for room, for a segment or for the end to stand still.
    pub(super) fn make_room(&self, state: &mut State) {
        if state.room_waiters > 0 {
            self.room.notify_all();
        }
        state.room_wakers.drain(..).for_each(Waker::wake);
    }

    /// Lets the worker write what nobody waits for with a thread of its own.
    pub(super) fn nudge_worker(&self) {
        self.work.notify_one();
    }
}

fn drop_group(state: &mut State, group: &Group, error: &Error) {
    if let Some(header) = &group.begins {
        // Its file was never written, or cut to nothing: it is a spare again.
        state.spare = Some(Spare {
            id: header.id,
            salt: header.salt,
            space: group.tail.space.clone(),
        });
    }
    if group.buffered_count > 0 {
        state.lost_buffered.get_or_insert_with(|| error.clone());
    }
    group.done.fail(error.clone());
}

#[cfg(feature = "tracing")]
fn tracing_text(error: &Error) -> impl tracing::Value {
    tracing::field::display(error.to_string())
}

#[cfg(not(feature = "tracing"))]
fn tracing_text(error: &Error) -> &Error {
    error
}
