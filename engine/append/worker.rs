//! The background thread: writes out what nobody waits for, prepares and seals segments, allocates
//! space ahead, and marks idleness with a watermark. At most one a log, on by default.

use super::{Core, queue::State};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    observe::event,
    options::Durability,
    segment::Space,
    sync::{self, Arc, JoinHandle},
    types::SegmentId,
};
use std::{
    fmt::Debug,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// After a failed attempt at maintenance, not before this long is it tried again.
const BACK_OFF: Duration = Duration::from_millis(200);
/// How often compaction and retention look whether they are due.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The same after they failed: what they do for nothing costs reading the log.
const UPKEEP_BACK_OFF: Duration = Duration::from_secs(30);

pub(super) fn start(core: &Arc<Core>) -> Result<JoinHandle> {
    let core = core.clone();
    sync::spawn("cairn-worker", move || {
        if catch_unwind(AssertUnwindSafe(|| core.work())).is_err() {
            let note = "the background worker panicked";
            let error = Error::note(ErrorKind::Poisoned, Op::Append, note);
            core.poison(&mut core.state.lock(), None, &error);
        }
    })
    .map_err(|error| Error::io(Op::Open, error))
}

/// Work for a log that belongs to rooms above, done between the worker's other duties.
pub(crate) trait Upkeep: Debug + Send + Sync {
    /// Does one thing that is due; true if there was one. Between two small steps it calls `between`,
    /// with the time to let pass before the next, and ends when that breaks.
    fn step(
        &self,
        core: &Core,
        between: &mut dyn FnMut(Duration) -> ControlFlow<()>,
    ) -> Result<bool>;
}

/// When what failed or was looked for is tried again, on the clock of the file system.
#[derive(Debug, Default)]
struct Agenda {
    maintain_after: Duration,
    upkeep_after: Duration,
    /// It panicked, and would again.
    upkeep_ended: bool,
    /// The file that is being filled ahead, and up to where.
    filling: Option<(SegmentId, Arc<Space>, u64)>,
}

impl Core {
    fn work(&self) {
        let mut agenda = Agenda::default();
        while self.duties(&mut agenda, None).is_continue() {
            let due = self.dir.vfs().monotonic() >= agenda.upkeep_after;
            if due && self.upkeep.is_some() && !agenda.upkeep_ended {
                self.keep_up(&mut agenda);
            }
        }
    }

    /// Compacts and retains what is due, going on with the duties between any two steps of it.
    fn keep_up(&self, agenda: &mut Agenda) {
        let Some(upkeep) = &self.upkeep else { return };
        let mut between = |pause| {
            let until = self.dir.vfs().monotonic() + pause;
            self.duties(agenda, Some(until))
        };
        // As long as there is something to do, whatever else is due comes in between.
        loop {
            let step = || upkeep.step(self, &mut between);
            match catch_unwind(AssertUnwindSafe(step)) {
                Ok(Ok(true)) if between(Duration::ZERO).is_continue() => {}
                Ok(Ok(_)) => break,
                Ok(Err(error)) => {
                    self.note(&error);
                    agenda.upkeep_after = self.dir.vfs().monotonic() + UPKEEP_BACK_OFF;
                    return;
                }
                Err(_) => {
                    let note = "compaction or retention panicked";
                    self.note(&Error::note(ErrorKind::Panicked, Op::Compact, note));
                    agenda.upkeep_ended = true;
                    return;
                }
            }
        }
        agenda.upkeep_after = self.dir.vfs().monotonic() + UPKEEP_INTERVAL;
    }

    /// Keeps an error of the background work for whoever asks, or closes.
    fn note(&self, error: &Error) {
        event!(warn, "background work failed", error = format!("{error}"));
        self.state.lock().worker_error = Some(error.clone());
    }

    /// Does what is due and waits for more: until upkeep is due, or until a moment. `Break`: the log
    /// is being closed.
    fn duties(&self, agenda: &mut Agenda, until: Option<Duration>) -> ControlFlow<()> {
        loop {
            self.prepare(agenda);
            if self.watermark_is_due()
                && let Some(done) = self.enqueue_watermark()
            {
                // A failure has poisoned the log and is told to whoever appends next.
                self.wait(&done, Durability::Durable).ok();
            }
            self.sync_if_due();
            let mut state = self.state.lock();
            #[cfg(feature = "async")]
            if let Some(errand) = state.next_errand() {
                drop(state);
                errand.run();
                continue;
            }
            if state.stop_worker {
                #[cfg(feature = "async")]
                {
                    state.worker_ended = true;
                }
                return ControlFlow::Break(());
            }
            if !state.leading && self.write_is_due(&state) {
                self.lead(state);
                continue;
            }
            state.idle_armed = self.watermark_deadline(&state).is_some();
            let now = self.dir.vfs().monotonic();
            let wanted = self.upkeep.is_some() && !agenda.upkeep_ended;
            let upkeep = wanted.then_some(agenda.upkeep_after);
            let leave = until.or(upkeep);
            if leave.is_some_and(|at| at <= now) {
                return ControlFlow::Continue(());
            }
            if agenda.filling.is_some() {
                continue; // The next piece, after a look at everything else.
            }
            let own = self.next_deadline(&state, agenda.maintain_after, now);
            match [own, leave].into_iter().flatten().min() {
                Some(deadline) if deadline <= now => {}
                Some(deadline) => {
                    self.work.wait_for(&mut state, deadline - now);
                }
                None => self.work.wait(&mut state),
            }
        }
    }

    /// Seals and prepares segments, and allocates space, if that is due and did not fail just now.
    fn prepare(&self, agenda: &mut Agenda) {
        let now = self.dir.vfs().monotonic();
        if std::mem::take(&mut self.state.lock().try_now) {
            agenda.maintain_after = Duration::ZERO;
        }
        if now < agenda.maintain_after {
            return;
        }
        if self.maintenance_is_due()
            && let Err(error) = self.maintain(Op::Rotate)
        {
            // An append that needs the segment meets the same error and is told it, too.
            self.note(&error);
            let mut state = self.state.lock();
            state.stuck = Some(error);
            self.make_room(&mut state);
            agenda.maintain_after = self.dir.vfs().monotonic() + BACK_OFF;
        }
        self.fill_ahead(agenda);
    }

    /// Fills space ahead of the appends if that is due, a piece at a time.
    fn fill_ahead(&self, agenda: &mut Agenda) {
        let due = self.fill_due(&self.state.lock());
        let (id, space, end) = match (due, agenda.filling.take()) {
            // What was begun is filled up to where it was due then.
            (None, Some(begun)) => begun,
            (Some(due), _) => due,
            (None, None) => return,
        };
        match space.fill_piece(end, self.options.direct_writes) {
            Ok(true) => agenda.filling = Some((id, space, end)),
            Ok(false) => {}
            Err(error) => {
                event!(warn, "filling ahead failed", segment = id.0);
                agenda.maintain_after = self.dir.vfs().monotonic() + BACK_OFF;
                if space.sync_failed() {
                    // It may have been frames that this sync lost, not only zeros.
                    let place = Place::in_segment(id, space.allocated_end());
                    let error = Error::io(Op::Sync, error).at(place);
                    self.poison(&mut self.state.lock(), None, &error);
                }
            }
        }
    }

    /// Whether the worker should lead: somebody waits without a thread, or a buffer is full or old.
    fn write_is_due(&self, state: &State) -> bool {
        let Some(first) = state.queue.front() else {
            return false;
        };
        let now = self.dir.vfs().monotonic();
        if state.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let old = state
            .buffered_since
            .is_some_and(|at| now >= at + self.options.buffer_interval);
        let full = state.queued_bytes >= self.options.buffer_bytes || !state.room_wakers.is_empty();
        old || full || first.wants != Durability::Buffered
    }

    /// Whether the leader should wake the worker when it hands on.
    pub(super) fn work_is_due(&self, state: &State) -> bool {
        let idle_timer_starts = !state.idle_armed && self.watermark_deadline(state).is_some();
        idle_timer_starts
            || self.write_is_due(state)
            || state.spare.is_none()
            || self.fill_due(state).is_some()
    }

    fn watermark_is_due(&self) -> bool {
        let state = self.state.lock();
        self.watermark_deadline(&state)
            .is_some_and(|at| self.dir.vfs().monotonic() >= at)
    }

    fn watermark_deadline(&self, state: &State) -> Option<Duration> {
        // What was written since will be synced, and then it is time to think of a watermark.
        let wanted = state.attested_seq < self.durable_seq()
            && state.unsynced_since.is_none()
            && state.queue.is_empty()
            && state.poison.is_none();
        let after = self.options.idle_watermark.filter(|_| wanted)?;
        Some(state.synced_at? + after)
    }

    fn next_deadline(
        &self,
        state: &State,
        maintain_after: Duration,
        now: Duration,
    ) -> Option<Duration> {
        if state.poison.is_some() {
            return None;
        }
        // What is due already, while somebody leads, is handed on by the one who leads.
        let to_come = |at: &Duration| !state.leading || *at > now;
        let buffered = state
            .buffered_since
            .map(|at| at + self.options.buffer_interval)
            .filter(to_come);
        let retry = state
            .retry_at
            .filter(|at| !state.queue.is_empty() && to_come(at));
        let maintenance = (maintain_after > now).then_some(maintain_after);
        let write = retry.or(buffered);
        let sync = self.sync_deadline(state);
        [write, maintenance, sync, self.watermark_deadline(state)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When what was only written has waited long enough for its sync.
    fn sync_deadline(&self, state: &State) -> Option<Duration> {
        let since = state.unsynced_since.filter(|_| state.poison.is_none())?;
        Some(since + self.options.sync_interval?)
    }

    fn sync_if_due(&self) {
        let now = self.dir.vfs().monotonic();
        let due = self.sync_deadline(&self.state.lock());
        if due.is_some_and(|at| at <= now)
            && let Err(error) = self.sync()
        {
            self.note(&error);
            // If it was for want of space it is tried again after as long a time.
            self.state.lock().unsynced_since = Some(now);
        }
    }

    pub(super) fn stop_worker(&self) {
        self.state.lock().stop_worker = true;
        self.work.notify_all();
    }

    /// Writes what is buffered, without a sync: the worker's task when there is no worker.
    pub(super) fn write_buffered(&self) -> Result<bool> {
        let mut wrote = false;
        loop {
            let state = self.state.lock();
            if state.leading || state.queue.is_empty() {
                return Ok(wrote);
            }
            self.lead(state).map_or(Ok(()), Err)?;
            wrote = true;
        }
    }
}
