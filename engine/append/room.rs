//! What an append waits for before it is queued: room in the queue, a segment to go to, an end of the
//! log that stands still.

use super::{Core, held::Held, queue::For, state::State};
use crate::{
    error::{Op, Result},
    format::{
        SegmentHeader,
        header::{HEADER_BYTES, Origin},
    },
    options::Durability,
    segment::Tail,
    sync::Arc,
};

/// A tail of so many bytes is sealed at close. A smaller one is read in a few milliseconds, and one more
/// segment for each time that a log is open is not worth them.
const SEALED_AT_CLOSE_BYTES: u64 = 1 << 20;

impl Core {
    pub(super) fn wait_for<'a>(&'a self, state: Held<'a>, why: For) -> Result<Held<'a>> {
        match why {
            For::End => Ok(self.wait_for_end(state)),
            For::Room => self.wait_for_room(state),
            For::Segment => self.wait_for_segment(state),
        }
    }

    /// Back-pressure: waits until the queue is shorter, working it off if nobody else does. The worker
    /// goes first: while it writes, who appends makes more.
    fn wait_for_room<'a>(&'a self, state: Held<'a>) -> Result<Held<'a>> {
        let worker_comes = self.worker_comes(&state);
        if state.queue.is_led() || worker_comes {
            if worker_comes {
                self.nudge_worker();
            }
            return Ok(self.wait_here(state));
        }
        self.lead(state).map_or(Ok(()), Err)?;
        Ok(self.lock())
    }

    /// Waits while the end of the log is being changed: where bytes go is not known meanwhile.
    pub(super) fn wait_for_end<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        while state.queue.end_changes() {
            state = self.wait_here(state);
        }
        state
    }

    /// Waits for room to be made, or the lead to be free.
    pub(super) fn wait_here<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        state.waiting.come();
        state = state.wait(&self.room);
        state.waiting.go();
        state
    }

    /// Has the next segment prepared.
    fn wait_for_segment<'a>(&'a self, state: Held<'a>) -> Result<Held<'a>> {
        // It is once the one before is sealed, and that once its successor is begun: what is queued
        // has to be written first.
        if state.queue.is_empty() && state.queue.is_led() {
            return self.wait_for_room(state);
        }
        let queued = state.queue.last_done();
        drop(state);
        if let Some(done) = queued {
            let mut state = self.lock();
            while done.reached(Durability::Written).is_none() {
                state = self.wait_for_room(state)?;
            }
        }
        self.maintain(Op::Rotate)?;
        Ok(self.lock())
    }

    /// Plans the next group into the next segment; false if that is not prepared.
    pub(super) fn plan_rotation(&self, state: &mut State) -> bool {
        let Some(spare) = state.queue.take_spare() else {
            return false;
        };
        let next_seq = state.queue.next_seq();
        let header = SegmentHeader {
            origin: Origin::Live,
            log_id: self.owner.log_id,
            id: spare.id,
            base_seq: next_seq,
            salt: spare.salt,
            base_timestamp_ms: self.dir.vfs().unix_time_ms(),
            predecessor: None, // Filled in when it is written: only then is it final.
            durable_seq: 0,
            appends_from: None,
            recycled: spare.space.is_recycled(),
            packed: false,
            sealed: self.options.keys.seals(),
            packed_appends: false,
        };
        let header = header.packing_appends(self.options.pack_appends.is_some());
        let before = state.queue.plan().0.sealing.clone();
        let tail = Tail::new(&header, spare.space, &self.options.keys).or_sealing(before);
        let ledger = self.freeze(state, next_seq, next_seq, spare.id);
        (state.queue).begin_segment(Arc::new(tail), header, ledger);
        true
    }

    /// Seals a large tail of a log that is being closed, so that opening it has none to read. Where no
    /// file is prepared for the next one, the tail stays as it is.
    pub(super) fn seal_at_close(&self) -> Result<()> {
        let mut state = self.lock();
        let large = state.queue.plan().1 >= SEALED_AT_CLOSE_BYTES;
        if !large || state.life.poison().is_some() || !self.plan_rotation(&mut state) {
            return Ok(());
        }
        let done = state.queue.back_wanting(Durability::Written);
        drop(state);
        done.map_or(Ok(()), |done| self.wait(&done, Durability::Written))?;
        self.maintain_finished(Op::Close)
    }

    /// Plans a rotation now, whatever room the tail has left.
    pub(super) fn rotate(&self) -> Result<()> {
        let mut state = self.wait_for_end(self.lock());
        state.life.check_going(Op::Rotate)?;
        let tail_id = state.queue.plan().0.id;
        let (tail, end) = state.queue.plan();
        let key_id = tail.sealing.as_ref().map(|(id, _)| *id);
        if *end == HEADER_BYTES as u64 && key_id == self.options.keys.current_id() {
            return Ok(()); // Nothing was put into it yet.
        }
        while state.queue.plan().0.id == tail_id {
            if !self.plan_rotation(&mut state) {
                state = self.wait_for_segment(state)?;
                state.life.check_going(Op::Rotate)?;
            }
        }
        let done = state.queue.back_wanting(Durability::Written);
        drop(state);
        done.map_or(Ok(()), |done| self.wait(&done, Durability::Written))
    }
}
