//! Leading a group: one write, one sync, and what follows when either fails.

use super::{Core, Writer, completion::Completion, group::Group, held::Held, state::State};
use crate::{
    catalog::Level,
    error::{Error, ErrorKind, Op, Place, Result},
    format::SegmentHeader,
    observe::Counters,
    options::Durability,
    segment::{Summary, TailWriter, Way},
    sync::{self, Arc, atomic::Ordering},
    types::Seq,
};
use std::{io, task::Waker, time::Duration};

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
        let first = state.queue.first()?;
        let gathers = first.wants == Durability::Durable;
        state.queue.take_lead();
        if gathers {
            state = self.gather(state);
        }
        let Some(mut group) = state.queue.take_first() else {
            // The log was poisoned meanwhile.
            state.queue.leave_lead();
            self.hand_on(&mut state);
            return None;
        };
        if state.queue.is_empty() {
            state.duties.queue_is_empty();
        }
        if gathers && self.options.background && self.fill_due(&state).is_some() {
            // Beside this group's sync: begun after it, all of the zeros would stand before the next one's.
            self.nudge_worker();
        }
        drop(state);

        let outcome = self.carry_out(&mut group);

        let mut state = self.lock();
        state.queue.leave_lead();
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
        if error
            .as_ref()
            .is_some_and(|error| error.kind() == ErrorKind::NoSpace)
        {
            self.catalog.load().returned().release(&self.dir);
        }
        if let Some(done) = to_wake {
            done.wake_all().into_iter().for_each(Waker::wake);
        }
        error
    }

    /// Waits for those whom the last sync released, where that pays: they are on their way with their
    /// next append, and come too late for this sync if it starts at once.
    fn gather<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        let Some(done) = state.queue.first().map(|first| first.done.clone()) else {
            return state;
        };
        let before = done.parked_count();
        let Some(wish) = state.pace.wish(before) else {
            return state;
        };
        drop(state);
        let start = self.dir.vfs().monotonic();
        sync::yield_until(|| done.parked_count() >= wish.wanted, wish.limit);
        let waited = self.dir.vfs().monotonic().saturating_sub(start);
        let after = done.parked_count();
        let mut state = self.lock();
        state.pace.waited(wish, waited, before, after);
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
        self.cursors.moved_by(group);
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
        group.finish(durable_seq, &**self.dir.vfs(), &mut writer.packer);
        if group.begins.is_some() {
            // Once the segment before is sealed it may go, and readers of the set from before read on in it.
            let before = &writer.tail;
            let kept_open = before.tail.space.keep_open();
            kept_open.map_err(|error| not_begun(before, before.summary.end, error))?;
        }
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
        Counters::add(&self.counters.written_bytes, group.stored().len() as u64);
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
        mut header: Box<SegmentHeader>,
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
        if let Some(slot) = group.stored_mut().get_mut(..bytes.len()) {
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
    fn write(&self, writer: &TailWriter, group: &mut Group) -> Result<(), Failure> {
        let way = match group.wants {
            Durability::Durable if self.options.direct_writes => Way::PastCache,
            Durability::Durable => Way::InPieces(self.options.buffer_bytes),
            _ => Way::Unsynced,
        };
        let space = &writer.tail.space;
        // If it cannot be opened nothing was written, and nothing has to be cut back.
        (space.file().ready()).map_err(|error| not_begun(writer, group.offset, error))?;
        let padding = space.padding(group.end());
        let offset = group.offset;
        let written = group.padded(padding, |bytes| writer.write(bytes, offset, way));
        let Err(error) = written else {
            return Ok(());
        };
        let place = Place::in_segment(writer.tail.id, group.offset);
        match space.cut_back(group.offset) {
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

    #[inline]
    fn settle(&self, state: &mut State, group: Box<Group>) {
        state.duties.write_went_well();
        state.waiting.go_on();
        if group.begins.is_some() {
            state.duties.set_seal_due(true);
            state.after.rotated(group.tail.id);
        }
        if group.wants == Durability::Durable {
            state.pace.synced(&group);
            state.ahead.synced(&group, state.pace.group_bytes());
            state.duties.synced(group.synced_at, group.states_seq);
        } else {
            if state.duties.is_all_synced() {
                state.duties.unsynced(self.dir.vfs().monotonic());
                self.nudge_worker(); // It sets its clock for the sync.
            }
            let kept_back = group.end().saturating_sub(group.tail.space.given_end());
            if kept_back / BUFFERS_GIVEN >= self.options.buffer_bytes as u64 {
                state.duties.give_to_disk(group.tail.clone());
                self.nudge_worker();
            }
        }
        // A buffer that grew for one huge batch is not kept, unless such are usual.
        let usual = self.options.buffer_bytes.max(state.pace.group_bytes());
        state.queue.settle(group, usual.saturating_mul(2));
    }

    /// Passes the lead to whoever waits: first a parked caller of the next group that has one, else
    /// the worker.
    pub(super) fn hand_on(&self, state: &mut State) {
        let waited_for = state.waiting.is_thread() || state.waiting.is_task();
        if waited_for && !self.goes_on(state) {
            self.make_room(state);
        }
        let asked = state.queue.ask_to_lead();
        if self.options.background && self.work_is_due(state, asked) {
            self.nudge_worker();
        }
    }

    /// Whether the worker is about to write more, and much more waits. Who waits for room sleeps on then:
    /// to be woken for each buffer that was written costs more than to append what fits it.
    fn goes_on(&self, state: &State) -> bool {
        let much = self.options.queued_bytes_max(Durability::Buffered) / 2;
        state.queue.bytes() > much && self.worker_comes(state)
    }

    /// Wakes whoever waits for room, for a segment or for the end to stand still.
    pub(super) fn make_room(&self, state: &mut State) {
        if state.waiting.is_thread() {
            self.room.notify_all();
        }
        let wakers = state.waiting.take_tasks();
        state.after.wake(wakers);
    }
}

/// The failure of a write for which the file could not be opened.
fn not_begun(writer: &TailWriter, offset: u64, error: io::Error) -> Failure {
    let place = Place::in_segment(writer.tail.id, offset);
    Failure::Write(Error::io(Op::Append, error).at(place))
}
