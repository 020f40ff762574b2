//! From open to closed: who is inside, and who closes.
//!
//! Inside is whoever changes files otherwise than by the queue: a worker of the log's own for all its life, one
//! that it shares for its turn, a verb for as long as it takes. Once somebody asks to close, nobody comes in
//! any more, nothing is queued, and the last one out closes: makes everything durable, names the end, lets go
//! of the directory. Every call of `close` waits for that and is told the same.
//!
//! INVARIANTS: who is inside waits for nobody's closing, not even for its own. After `Closed` no file is
//! changed by us: nobody is inside, nobody leads, nothing is queued, and maintenance is refused.
//!
//! Called by the handle, by every verb, by the worker.

use super::{Core, duties::Duties, state::State};
use crate::{
    error::{Error, ErrorKind, Op, Result},
    observe::event,
    sync::{self, ThreadId},
};
use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// So long at most does a pause last before it is looked whether the log is being closed.
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Open,
    /// Somebody asked for it; the last one out begins.
    Closing,
    /// Somebody closes.
    Finishing,
    /// How it went.
    Closed(Result<()>),
}

/// How far a log has come in its life; part of what the queue's lock guards.
#[derive(Debug, Default)]
pub(super) struct Life {
    phase: Phase,
    /// The threads inside, each as often as it came in.
    inside: Vec<ThreadId>,
    /// The failed sync after which nothing is appended any more.
    poison: Option<Error>,
}

impl Life {
    /// The failed sync after which nothing is appended any more.
    #[inline]
    pub(super) fn poison(&self) -> Option<&Error> {
        self.poison.as_ref()
    }

    /// Nothing is appended after this.
    pub(super) fn poison_with(&mut self, error: &Error) {
        self.poison.get_or_insert_with(|| error.clone());
    }

    /// Whether it is being closed, or is.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// Whether anything may be appended.
    #[inline]
    pub(super) fn check_open(&self, op: Op) -> Result<()> {
        self.check_not_closed(op)?;
        self.check_sound(op)
    }

    #[inline]
    fn check_not_closed(&self, op: Op) -> Result<()> {
        if self.is_over() {
            return Err(Error::note(ErrorKind::Closed, op, "the log is closed"));
        }
        Ok(())
    }

    /// Whether what was begun may be carried on: syncing and sealing, until all is closed.
    #[inline]
    pub(super) fn check_going(&self, op: Op) -> Result<()> {
        if let Phase::Closed(_) = self.phase {
            return Err(Error::note(ErrorKind::Closed, op, "the log is closed"));
        }
        self.check_sound(op)
    }

    fn check_sound(&self, op: Op) -> Result<()> {
        match &self.poison {
            Some(error) => Err(error.consequence(ErrorKind::Poisoned, op)),
            None => Ok(()),
        }
    }

    pub(super) fn enter(&mut self, thread: ThreadId) {
        self.inside.push(thread);
    }

    /// Lets a worker in for its turn, unless somebody closes the log already, or it is closed.
    pub(super) fn let_in(&mut self, thread: ThreadId) -> bool {
        let open = matches!(self.phase, Phase::Open | Phase::Closing);
        if open {
            self.enter(thread);
        }
        open
    }

    /// Somebody is out, who need not be the one who closes.
    pub(super) fn leave(&mut self, thread: ThreadId) {
        if let Some(at) = self.inside.iter().position(|it| *it == thread) {
            self.inside.swap_remove(at);
        }
    }

    /// Whether it is time to close, and it falls to whoever asks. What tasks have asked for is done first,
    /// by a worker that is on its way.
    fn take_turn(&mut self, duties: &Duties) -> bool {
        let all_out = self.inside.is_empty() && !duties.has_errands();
        let mine = matches!(self.phase, Phase::Closing) && all_out;
        if mine {
            self.phase = Phase::Finishing;
        }
        mine
    }
}

/// Whoever has it is inside.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    core: &'a Core,
    thread: ThreadId,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.core.leave(self.thread);
    }
}

impl State {
    fn take_turn_to_close(&mut self) -> bool {
        self.life.take_turn(&self.duties)
    }
}

impl Core {
    /// Comes in to change files.
    ///
    /// # Errors
    /// `Closed`, but for who is inside already; `Poisoned`.
    pub(crate) fn enter(&self, op: Op) -> Result<Inside<'_>> {
        let thread = sync::thread_id();
        let mut state = self.lock();
        if state.life.inside.contains(&thread) {
            state.life.check_going(op)?;
        } else {
            state.life.check_open(op)?;
        }
        state.life.enter(thread);
        Ok(Inside { core: self, thread })
    }

    /// Goes out; the last one closes the log, if it is to be.
    pub(super) fn leave(&self, thread: ThreadId) {
        let mut state = self.lock();
        state.life.leave(thread);
        if state.take_turn_to_close() {
            drop(state);
            self.finish();
        }
    }

    /// Whether the log takes changes: not after it was closed or poisoned; the error says why.
    pub(crate) fn check_usable(&self, op: Op) -> Result<()> {
        self.lock().life.check_open(op)
    }

    /// Whether it was not closed; it may be poisoned.
    pub(crate) fn check_not_closed(&self, op: Op) -> Result<()> {
        self.lock().life.check_not_closed(op)
    }

    /// Whether a change that is under way may be made: whoever is inside is waited for.
    pub(crate) fn check_going(&self, op: Op) -> Result<()> {
        self.lock().life.check_going(op)
    }

    /// Lets time pass; `Break` as soon as the log is being closed.
    pub(crate) fn pause(&self, time: Duration) -> ControlFlow<()> {
        let mut left = time;
        loop {
            if self.lock().life.is_over() {
                return ControlFlow::Break(());
            }
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            let piece = left.min(PAUSE_MAX);
            self.dir.vfs().sleep(piece);
            left -= piece;
        }
    }

    /// Closes the log, or waits until it is closed; tells how that went. Who is inside is not waited for
    /// by itself: then it closes once they are out.
    pub(super) fn close(&self) -> Result<()> {
        let thread = sync::thread_id();
        let mut state = self.lock();
        if let Phase::Open = state.life.phase {
            state.life.phase = Phase::Closing;
            // Who waits for room is told, and the worker comes to its end.
            self.make_room(&mut state);
            self.nudge_worker();
        }
        if state.take_turn_to_close() {
            drop(state);
            self.finish();
            state = self.lock();
        }
        loop {
            if let Phase::Closed(outcome) = &state.life.phase {
                return outcome.clone();
            }
            if state.life.inside.contains(&thread) {
                let note = "it is closed as soon as the closure that asked for it has returned";
                return Err(Error::note(ErrorKind::InvalidInput, Op::Close, note));
            }
            state = state.wait(&self.closed);
        }
    }

    /// Makes everything durable, seals what is finished, names the end, and lets go of the directory.
    fn finish(&self) {
        let closed = catch_unwind(AssertUnwindSafe(|| self.finish_files()));
        let closed = closed.unwrap_or_else(|_| {
            let note = "closing panicked";
            Err(Error::note(ErrorKind::Panicked, Op::Close, note))
        });
        let poison;
        {
            // Whoever is about to seal something for an append that was refused is done, or refused.
            let _segments = self.hold_segments();
            let mut state = self.lock();
            while state.queue.is_led() {
                state = self.wait_here(state);
            }
            state.queue.give_up();
            self.make_room(&mut state);
            // Whoever is told that it is closed may open it.
            drop(self.lock_of_dir.lock().take());
            state.life.phase = Phase::Closed(closed.clone());
            poison = state.life.poison().cloned();
        }
        self.closed.notify_all();
        match poison {
            Some(error) => (self.watermark).fail(error.consequence(ErrorKind::Poisoned, Op::Read)),
            None => self.watermark.end(),
        }
        event!(info, "closed", clean = closed.is_ok());
    }

    fn finish_files(&self) -> Result<()> {
        let synced = self.sync();
        // Even where buffered records were lost, and `synced` tells so, the log has an end to name.
        if self.seal_at_close().is_err() {
            // For want of space, say: the end is named all the same, or what keeps it from that told.
            event!(warn, "tail not sealed at close",);
        }
        let ended = self.commit_end();
        self.catalog.load().returned().end(&self.dir);
        // What failed in the background and was not asked for is told at last. Not for want of space: what
        // could not be written is told by the sync, and what was tried for later comes too late.
        let failed = self.lock().duties.take_error();
        let failed = failed.filter(|error| error.kind() != ErrorKind::NoSpace);
        synced.and(ended).and(failed.map_or(Ok(()), Err))
    }
}
