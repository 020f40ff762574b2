//! What the worker does next, and when there will be something again.
//!
//! It only looks, takes the queue's lock once for all, because those who append want it too, and never
//! the writer's, which is held during a write.

use super::{Core, state::State};
use crate::{
    format::{batch::BATCH_HEADER_BYTES, header::HEADER_BYTES},
    options::Durability,
    segment::{FILL_BYTES, Space, Tail},
    sync::Arc,
    types::SegmentId,
};
use std::time::Duration;

/// A tail that was not filled before it was used is filled ahead by half as much as it has, at most
/// by half of this.
const STEP_BYTES_MAX: u64 = 4 << 20;
/// How often compaction and retention look whether they are due, where there is something to do now and then.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Where there is nothing, twice as late each time, up to this: of thousands of logs nearly all rest.
const UPKEEP_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What the worker has in mind, on the clock of the file system.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// When what failed is tried again, or looked for again.
    pub(super) maintain_after: Duration,
    pub(super) upkeep_after: Duration,
    /// Between the last two looks whether upkeep is due.
    pub(super) upkeep_interval: Duration,
    /// The file that is being filled ahead, and up to where.
    pub(super) filling: Option<(SegmentId, Arc<Space>, u64)>,
    /// Whose turn it was last.
    turn: usize,
}

impl Agenda {
    /// Looked whether upkeep is due, and did what was.
    pub(super) fn kept_up(&mut self, worked: bool, now: Duration) {
        let interval = match worked {
            true => UPKEEP_INTERVAL,
            false => (self.upkeep_interval * 2).clamp(UPKEEP_INTERVAL, UPKEEP_INTERVAL_MAX),
        };
        self.upkeep_interval = interval;
        let after = now + interval;
        // At rest at whole seconds: one look at the clock does for thousands of logs, and a thread wakes once.
        let full = Duration::from_secs(after.as_secs() + u64::from(after.subsec_nanos() > 0));
        self.upkeep_after = if worked { after } else { full };
    }

    /// There is more to keep up.
    pub(super) fn segment_begun(&mut self, now: Duration) {
        self.upkeep_interval = Duration::ZERO;
        self.upkeep_after = self.upkeep_after.min(now + UPKEEP_INTERVAL);
    }
}

/// The order in which what is due has its turns.
const TURNS: [Turn; 8] = [
    Turn::Maintain,
    Turn::Fill,
    Turn::MarkIdle,
    Turn::Sync,
    Turn::Errand,
    Turn::WriteBack,
    Turn::Lead,
    Turn::Leave,
];

#[derive(Clone, Copy, Debug)]
enum Turn {
    Maintain,
    Fill,
    MarkIdle,
    Sync,
    Errand,
    WriteBack,
    Lead,
    Leave,
}

/// One thing to do for the worker.
#[derive(Debug)]
pub(super) enum Duty {
    /// Seal what is finished, prepare the next segment.
    Maintain,
    /// Fill a piece ahead of the appends.
    Fill,
    /// Write a watermark behind the last sync.
    MarkIdle,
    /// Sync what was only written.
    Sync,
    /// What a task cannot do without blocking.
    #[cfg(feature = "async")]
    Errand(super::errand::Errand),
    /// The log is being closed.
    End,
    /// Have the system write back what was only written.
    WriteBack(Arc<Tail>),
    /// Write what nobody waits for with a thread of its own.
    Lead,
    /// Whoever called has something to do.
    Leave,
    /// Nothing, for so long; `None` is until somebody calls.
    Wait(Option<Duration>),
}

impl Core {
    /// What is due; `leave_at` is when somebody else wants the worker.
    ///
    /// INVARIANT: whatever is due has its turn before anything else has a second one.
    pub(super) fn next_duty(
        &self,
        state: &mut State,
        agenda: &mut Agenda,
        leave_at: Option<Duration>,
    ) -> Duty {
        let now = self.dir.vfs().monotonic();
        if state.life.is_over() {
            // Whoever closes does the rest.
            return take_errand(state).unwrap_or(Duty::End);
        }
        if state.duties.take_try_now() {
            agenda.maintain_after = Duration::ZERO;
        }
        if now >= agenda.maintain_after {
            // What was begun is filled up to where it was due then.
            let due = self.fill_due(state);
            agenda.filling = due.or(agenda.filling.take());
        }
        let turns = TURNS.iter().enumerate().cycle().skip(agenda.turn + 1);
        for (at, turn) in turns.take(TURNS.len()) {
            if let Some(duty) = self.due(*turn, state, agenda, leave_at, now) {
                agenda.turn = at;
                return duty;
            }
        }
        let own = self.next_deadline(state, agenda.maintain_after, now);
        let next = [own, leave_at].into_iter().flatten().min();
        Duty::Wait(next.map(|at| at.saturating_sub(now)))
    }

    /// What whoever has this turn has to do now, if anything.
    fn due(
        &self,
        turn: Turn,
        state: &mut State,
        agenda: &Agenda,
        leave_at: Option<Duration>,
        now: Duration,
    ) -> Option<Duty> {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let sound = state.life.poison().is_none();
        let (due, duty) = match turn {
            Turn::Maintain => {
                let due = now >= agenda.maintain_after && state.duties.seal_is_due() && sound;
                (due, Duty::Maintain)
            }
            Turn::Fill => (agenda.filling.is_some(), Duty::Fill),
            Turn::MarkIdle => {
                let due = !state.queue.is_led() && is_due(self.watermark_deadline(state));
                (due, Duty::MarkIdle)
            }
            Turn::Sync => (is_due(self.sync_deadline(state)), Duty::Sync),
            Turn::Errand => return take_errand(state),
            Turn::WriteBack => return state.duties.take_write_back().map(Duty::WriteBack),
            Turn::Lead => {
                let due = !state.queue.is_led() && self.write_is_due(state, now);
                (due, Duty::Lead)
            }
            Turn::Leave => (is_due(leave_at), Duty::Leave),
        };
        due.then_some(duty)
    }

    /// Whether the worker should lead: somebody waits without a thread, or a buffer is full or old.
    pub(super) fn write_is_due(&self, state: &State, now: Duration) -> bool {
        let Some(first) = state.queue.first() else {
            return false;
        };
        // Of what failed only records that are buffered are left, and those wait. What came since is waited for, and is
        // told that there is no room, or that there is some again.
        if first.wants == Durability::Buffered && state.duties.is_put_off(now) {
            return false;
        }
        let old = (state.duties.write_at(self.options.buffer_interval)).is_some_and(|at| now >= at);
        let full = state.queue.bytes() >= self.options.buffer_bytes || state.waiting.is_task();
        old || full || first.wants != Durability::Buffered
    }

    /// Whether the worker is here and will write what is queued.
    pub(super) fn worker_comes(&self, state: &State) -> bool {
        !state.duties.is_away() && self.write_is_due(state, self.dir.vfs().monotonic())
    }

    /// Whether the leader should wake the worker when it hands on; `led` if somebody else leads next.
    pub(super) fn work_is_due(&self, state: &State, led: bool) -> bool {
        if state.duties.seal_is_due() {
            return true;
        }
        let idle_timer_starts =
            !state.duties.is_idle_armed() && self.watermark_deadline(state).is_some();
        let write_is_due = || {
            // Alone, there is nothing: that needs no look at a clock.
            !state.queue.is_empty() && self.write_is_due(state, self.dir.vfs().monotonic())
        };
        !led && (idle_timer_starts || write_is_due())
    }

    fn next_deadline(
        &self,
        state: &mut State,
        maintain_after: Duration,
        now: Duration,
    ) -> Option<Duration> {
        // What is due already, while somebody leads, is handed on by the one who leads.
        let leading = state.queue.is_led();
        let to_come = |at: &Duration| !leading || *at > now;
        let idle = self.watermark_deadline(state).filter(to_come);
        state.duties.arm_idle(idle.is_some());
        if state.life.poison().is_some() {
            return None;
        }
        // After a write that failed: not before it is time to try again.
        let write = state.duties.write_at(self.options.buffer_interval);
        let write = write.filter(to_come);
        let maintenance = (maintain_after > now).then_some(maintain_after);
        let sync = self.sync_deadline(state);
        [write, maintenance, sync, idle].into_iter().flatten().min()
    }

    /// When a watermark should say what is durable, and there is room for one.
    fn watermark_deadline(&self, state: &State) -> Option<Duration> {
        let possible = state.queue.is_empty()
            && state.life.poison().is_none()
            && (state.queue).has_room(BATCH_HEADER_BYTES, self.options.segment_bytes);
        let idle = self.options.idle_watermark.filter(|_| possible)?;
        state.duties.mark_at(idle, self.durable_seq())
    }

    /// When what was only written has waited long enough for its sync.
    fn sync_deadline(&self, state: &State) -> Option<Duration> {
        let at = state.duties.sync_at(self.options.sync_interval);
        at.filter(|_| state.life.poison().is_none())
    }

    /// The file that should be filled ahead now, and up to where: the tail's, or else the next one,
    /// once the tail has come far enough to promise that it will be needed. Space ahead pays only where syncs are:
    /// without them, extending a file costs nothing extra.
    pub(super) fn fill_due(&self, state: &State) -> Option<(SegmentId, Arc<Space>, u64)> {
        if self.options.durability != Durability::Durable || state.life.poison().is_some() {
            return None;
        }
        let group_bytes = state.pace.group_bytes();
        let full = self.options.segment_bytes;
        let (tail, _) = state.queue.plan();
        let (end, allocated) = (tail.written_end(), tail.space.allocated_end());
        if self.options.is_one_of_many() && end == HEADER_BYTES as u64 {
            return None; // Many of them have nothing to say.
        }
        let step = end.clamp(self.options.ahead_bytes(), STEP_BYTES_MAX);
        if state.ahead.fills_tail(group_bytes) && allocated < (end + step / 2).min(full) {
            // In step with the appends, once there is enough.
            let piece_end = (allocated / FILL_BYTES + 1) * FILL_BYTES;
            let due = piece_end.min(end + step).min(full);
            return Some((tail.id, tail.space.clone(), due));
        }
        let ahead = end.checked_sub(full / 4)?;
        let next = state.queue.spare()?;
        // Never in one go, because an append stands behind each piece; whole a little before the tail is full.
        let pieces = 1 + ahead / FILL_BYTES * 3 / 2;
        let due = full.min(self.options.ahead_bytes() + pieces * FILL_BYTES);
        (state.ahead.fills_next(group_bytes) && next.space.allocated_end() < due)
            .then(|| (next.id, next.space.clone(), due))
    }
}

#[cfg(feature = "async")]
fn take_errand(state: &mut State) -> Option<Duty> {
    state.duties.take_errand().map(Duty::Errand)
}

#[cfg(not(feature = "async"))]
fn take_errand(_: &mut State) -> Option<Duty> {
    None
}

#[cfg(test)]
mod tests;
