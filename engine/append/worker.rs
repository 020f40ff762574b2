//! The background work: writes out what nobody waits for, prepares and seals segments, allocates
//! space ahead, and marks idleness with a watermark. A thread of the log's own does it, by default, or
//! those of a pool in turns. What is done next is said by `agenda`.

use super::{
    Core,
    agenda::{Agenda, Duty},
    state::State,
};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    observe::event,
    options::Durability,
    pool::{Seat, Turns, Worker},
    segment::Tail,
    sync::{self, Arc, JoinHandle, Mutex},
    types::SegmentId,
};
use std::{
    fmt::Debug,
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// After a failed attempt at maintenance, not before this long is it tried again.
const BACK_OFF: Duration = Duration::from_millis(200);
/// Where others compact already, not before this long is it tried again.
const LONG_BACK_OFF: Duration = Duration::from_millis(100);

/// Why the worker does nothing more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// It has a seat, and its turn is over.
    TurnOver,
    /// The log is being closed.
    Closing,
}

/// Where a log has its turns, and what it has in mind between them.
#[derive(Debug)]
pub(super) struct Shared {
    seat: Seat,
    agenda: Mutex<Agenda>,
}

/// Has a pool do the work.
pub(super) fn share(core: &Arc<Core>, worker: &Worker) {
    let who: Arc<dyn Turns> = core.clone();
    let shared = Shared {
        seat: worker.seat(&who),
        agenda: Mutex::default(),
    };
    #[cfg(feature = "async")]
    core.watermark.share(worker);
    core.shared.get_or_init(|| shared).seat.call();
}

/// Begins a thread that does the work.
pub(super) fn start(core: &Arc<Core>) -> Result<JoinHandle> {
    let its = core.clone();
    // Held, so that it is inside before it can go out.
    let mut state = core.lock();
    let worker = sync::spawn("cairn-worker", move || {
        its.without_panic(|| {
            its.work(&mut Agenda::default());
        });
        its.leave(sync::thread_id());
    })
    .map_err(|error| Error::io(Op::Open, error))?;
    state.life.enter(worker.thread().id());
    Ok(worker)
}

/// Work for a log that belongs to rooms above, done between the worker's other duties.
pub(crate) trait Upkeep: Debug + Send + Sync {
    /// Does one thing that is due; true if there was one. Between two small steps it calls `between`,
    /// with the time to let pass before the next, and ends when that breaks. What fails it notes itself.
    fn step(&self, core: &Core, between: &mut dyn FnMut(Duration) -> ControlFlow<()>) -> bool;
}

impl Turns for Core {
    fn turn(&self) {
        let Some(shared) = self.shared.get() else {
            return;
        };
        let mut agenda = shared.agenda.lock();
        let thread = sync::thread_id();
        if !self.lock().life.let_in(thread) {
            return self.end();
        }
        let mut gone = None;
        self.without_panic(|| gone = Some(self.work(&mut agenda)));
        // Who rests or lets others go first has left, under the lock under which it decided that.
        if gone != Some(Gone::TurnOver) {
            self.leave(thread);
        }
    }
}

impl Core {
    /// Has the worker look whether there is something to do.
    pub(super) fn nudge_worker(&self) {
        self.work.notify_one();
        if let Some(shared) = self.shared.get() {
            shared.seat.call();
        }
    }

    /// Nothing is appended after a panic of the worker.
    fn without_panic(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let note = "the background worker panicked";
            let error = Error::note(ErrorKind::Poisoned, Op::Append, note);
            self.poison_by(&error);
            self.end();
        }
    }

    fn work(&self, agenda: &mut Agenda) -> Gone {
        loop {
            if let ControlFlow::Break(gone) = self.duties(agenda, None) {
                return gone;
            }
            if self.dir.vfs().monotonic() >= agenda.upkeep_after {
                self.keep_up(agenda);
            }
        }
    }

    /// Ends the turn, if there are turns, and this is the time.
    fn turn_is_over(&self, state: &mut State, ends: impl FnOnce(&Seat) -> bool) -> bool {
        let over = (self.shared.get()).is_some_and(|shared| ends(&shared.seat));
        if over {
            state.life.leave(sync::thread_id());
        }
        over
    }

    /// Compacts and retains what is due, going on with the duties between any two steps of it.
    fn keep_up(&self, agenda: &mut Agenda) {
        let Some(upkeep) = &self.upkeep else { return };
        let seat = self.shared.get().map(|shared| &shared.seat);
        let _long = match seat.map(Seat::begin_long) {
            Some(None) => {
                agenda.upkeep_after = self.dir.vfs().monotonic() + LONG_BACK_OFF;
                return;
            }
            may => may,
        };
        let mut between = |pause| {
            let until = self.dir.vfs().monotonic().saturating_add(pause);
            let going = self.duties(agenda, Some(until));
            going.map_break(|_| ())
        };
        // As long as there is something to do, whatever else is due comes in between.
        let mut worked = false;
        while upkeep.step(self, &mut between) {
            worked = true;
            if between(Duration::ZERO).is_break() {
                break;
            }
        }
        agenda.kept_up(worked, self.dir.vfs().monotonic());
    }

    /// Who waits for the queue to get shorter sees to that while the worker is away.
    fn go_away(&self, state: &mut State) {
        state.duties.set_away(true);
        self.make_room(state);
    }

    /// Keeps an error of the background work for whoever asks, or closes.
    pub(crate) fn note(&self, error: &Error) {
        event!(warn, "background work failed", error = format!("{error}"));
        self.lock().duties.note(error);
    }

    /// Does what is due and waits for more: until upkeep is due, or until a moment. Where turns are had,
    /// nobody waits who does not do that for a moment. Whenever it does something else than this, the
    /// worker is away.
    fn duties(&self, agenda: &mut Agenda, until: Option<Duration>) -> ControlFlow<Gone> {
        let mut state = self.lock();
        loop {
            state.duties.set_away(false);
            if state.duties.take_segment_begun() {
                agenda.segment_begun(self.dir.vfs().monotonic());
            }
            let upkeep = self.upkeep.is_some().then_some(agenda.upkeep_after);
            let leave_at = until.or(upkeep);
            match self.next_duty(&mut state, agenda, leave_at) {
                Duty::Wait(time) => {
                    let rests = |seat: &Seat| {
                        seat.rest(time);
                        true
                    };
                    if until.is_none() && self.turn_is_over(&mut state, rests) {
                        return ControlFlow::Break(Gone::TurnOver);
                    }
                    state = match time {
                        Some(time) => state.wait_for(&self.work, time),
                        None => state.wait(&self.work),
                    };
                    continue;
                }
                Duty::Lead => {
                    self.lead(state);
                    state = self.lock();
                }
                Duty::Leave => {
                    self.go_away(&mut state);
                    return ControlFlow::Continue(());
                }
                Duty::End => {
                    drop(state);
                    self.end();
                    return ControlFlow::Break(Gone::Closing);
                }
                duty => {
                    self.go_away(&mut state);
                    drop(state);
                    self.take(duty, agenda);
                    state = self.lock();
                }
            }
            let steps_back = Seat::lets_others_go_first;
            if until.is_none() && self.turn_is_over(&mut state, steps_back) {
                return ControlFlow::Break(Gone::TurnOver);
            }
        }
    }

    /// Does what takes its time.
    pub(super) fn take(&self, duty: Duty, agenda: &mut Agenda) {
        match duty {
            Duty::Maintain => self.prepare(agenda),
            Duty::Fill => self.fill_ahead(agenda),
            Duty::MarkIdle => {
                if let Some(done) = self.enqueue_watermark() {
                    // A failure has poisoned the log and is told to whoever appends next.
                    self.wait(&done, Durability::Durable).ok();
                }
            }
            Duty::Sync => self.sync_at_last(),
            Duty::WriteBack(tail) => self.write_back(&tail),
            #[cfg(feature = "async")]
            Duty::Errand(errand) => errand.run(),
            Duty::End | Duty::Lead | Duty::Leave | Duty::Wait(_) => {}
        }
    }

    /// Seals and prepares segments.
    fn prepare(&self, agenda: &mut Agenda) {
        if let Err(error) = self.maintain(Op::Rotate) {
            // An append that needs the segment meets the same error and is told it, too.
            self.note(&error);
            let mut state = self.lock();
            state.waiting.stick(&error);
            self.make_room(&mut state);
            agenda.maintain_after = self.dir.vfs().monotonic() + BACK_OFF;
        }
    }

    /// Fills a piece of space ahead of the appends.
    fn fill_ahead(&self, agenda: &mut Agenda) {
        let Some((id, space, end)) = agenda.filling.take() else {
            return;
        };
        let filled = space.fill_piece(end, self.options.direct_writes);
        let filled = filled.and_then(|filled| {
            if filled && self.options.is_one_of_many() {
                // DURABILITY: nobody is told of it. Until it is synced the file stays open, and of many logs only so many do.
                space.sync()?;
            }
            Ok(filled)
        });
        match filled {
            Ok(true) => agenda.filling = Some((id, space, end)),
            Ok(false) => {}
            Err(error) => {
                event!(warn, "filling ahead failed", segment = id.0);
                agenda.maintain_after = self.dir.vfs().monotonic() + BACK_OFF;
                if space.sync_failed() {
                    // It may have been frames that this sync lost, not only zeros.
                    self.stop(id, space.allocated_end(), error);
                }
            }
        }
    }

    /// Has the system begin to write to the device what was only written, if that is much: the worker's
    /// task when there is no worker. True if it was.
    pub(super) fn write_back_due(&self) -> bool {
        let due = self.lock().duties.take_write_back();
        due.iter().for_each(|tail| self.write_back(tail));
        due.is_some()
    }

    /// Has the system begin to write to the device what was only written.
    fn write_back(&self, tail: &Tail) {
        if let Err(error) = tail.space.write_back(tail.written_end()) {
            self.stop(tail.id, tail.space.given_end(), error);
        }
    }

    /// After a failed sync of the worker's own.
    fn stop(&self, id: SegmentId, offset: u64, error: io::Error) {
        let error = Error::io(Op::Sync, error).at(Place::in_segment(id, offset));
        self.poison_by(&error);
    }

    /// Syncs what has waited for it long enough.
    fn sync_at_last(&self) {
        if let Err(error) = self.sync_all() {
            self.note(&error);
            // If it was for want of space it is tried again after as long a time.
            self.lock().duties.unsynced(self.dir.vfs().monotonic());
        }
    }

    /// From now on others do what is to be done.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        self.go_away(&mut state);
        #[cfg(feature = "async")]
        {
            let left = state.duties.end_errands();
            drop(state);
            left.into_iter().for_each(super::errand::Errand::run);
        }
    }

    /// Writes what is buffered, without a sync: the worker's task when there is no worker.
    pub(super) fn write_buffered(&self) -> Result<bool> {
        let mut wrote = false;
        loop {
            let state = self.lock();
            if state.queue.is_led() || state.queue.is_empty() {
                return Ok(wrote);
            }
            self.lead(state).map_or(Ok(()), Err)?;
            wrote = true;
        }
    }
}
