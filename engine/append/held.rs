//! The queue's lock, that of the segments, and what is said once they are let go.
//!
//! INVARIANT: code of the application, a waker or who listens to events, runs under no lock of ours: it
//! may look at the log, and would wait for itself. So whatever has something to say leaves it in
//! [`After`], under the queue's lock, and the guard that lets go of the last lock says it.
//!
//! Called by every room of appending that takes the queue's lock.

use super::{Core, State, completion::Completion};
use crate::{
    error::{Error, ErrorKind, Op},
    observe::event,
    sync::{
        self, Arc, Condvar, MutexGuard, ThreadId,
        atomic::{AtomicBool, Ordering},
    },
    types::SegmentId,
};
use std::{
    ops::{Deref, DerefMut},
    task::Waker,
    time::Duration,
};

/// What is said once nothing is locked.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Boxed, because almost always there is nothing.
    said: Option<Box<Said>>,
    /// Who has the right to seal, trim, rewind and swap segments just now: it still locks something.
    segments_held_by: Option<ThreadId>,
    /// Whether there is something: for who has let go of the lock, which every append does.
    pub(super) is_due: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Said {
    wakers: Vec<Waker>,
    poisoned: Option<Error>,
    write_failed: Option<Error>,
    rotated: Vec<SegmentId>,
}

impl After {
    /// Whether there is something to say that need not wait for the segments to be let go.
    #[inline]
    fn may_say(&self) -> bool {
        self.said.is_some() && self.segments_held_by != Some(sync::thread_id())
    }

    fn said(&mut self) -> &mut Said {
        self.is_due.store(true, Ordering::Relaxed);
        self.said.get_or_insert_default()
    }

    /// Wakes tasks.
    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        let mut wakers = wakers.into_iter().peekable();
        if wakers.peek().is_some() {
            self.said().wakers.extend(wakers);
        }
    }

    /// A group failed: its threads are told now, its tasks woken then.
    pub(super) fn fail(&mut self, done: &Completion, error: Error) {
        self.wake(done.fail(error));
    }

    /// Tells those who read that nothing more will come.
    pub(super) fn poisoned(&mut self, error: &Error) {
        self.said().poisoned = Some(error.clone());
    }

    pub(super) fn write_failed(&mut self, error: &Error) {
        self.said().write_failed = Some(error.clone());
    }

    pub(super) fn rotated(&mut self, segment: SegmentId) {
        self.said().rotated.push(segment);
    }
}

impl Said {
    fn say(self, core: &Core) {
        for id in self.rotated {
            event!(info, "rotated", segment = id.0);
        }
        if let Some(error) = self.write_failed {
            event!(warn, "write failed", error = format!("{error}"));
        }
        if let Some(error) = self.poisoned {
            event!(error, "poisoned", error = format!("{error}"));
            let error = error.consequence(ErrorKind::Poisoned, Op::Read);
            core.watermark.fail(error);
        }
        self.wakers.into_iter().for_each(Waker::wake);
    }
}

/// Says what there is when dropped, which is after the lock beside it was let go.
#[derive(Debug)]
struct Saying<'a>(&'a Core);

impl Drop for Saying<'_> {
    #[inline]
    fn drop(&mut self) {
        // What this thread has left it sees; what others leave they say themselves.
        if self.0.say_is_due.load(Ordering::Relaxed) {
            self.0.say();
        }
    }
}

/// The queue, locked.
#[derive(Debug)]
pub(super) struct Held<'a> {
    // The order is that of dropping: first the lock goes, then it is said.
    state: MutexGuard<'a, State>,
    saying: Saying<'a>,
}

impl<'a> Held<'a> {
    /// Waits to be called, or for no reason.
    pub(super) fn wait(mut self, called: &Condvar) -> Self {
        if self.state.after.may_say() {
            return self.again();
        }
        called.wait(&mut self.state);
        self
    }

    /// As [`wait`](Self::wait), for so long at most.
    pub(super) fn wait_for(mut self, called: &Condvar, time: Duration) -> Self {
        if self.state.after.may_say() {
            return self.again();
        }
        called.wait_for(&mut self.state, time);
        self
    }

    /// Lets go, says what there is to say, and locks again.
    fn again(self) -> Self {
        let core = self.saying.0;
        drop(self);
        core.lock()
    }
}

impl Deref for Held<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// The right to seal, trim, rewind and swap segments.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    core: &'a Core,
    held: Option<MutexGuard<'a, ()>>,
}

impl Drop for Segments<'_> {
    fn drop(&mut self) {
        let mut state = self.core.lock();
        state.after.segments_held_by = None;
        self.held = None;
        // With the queue's lock goes what was to be said.
    }
}

impl Core {
    /// Locks the queue.
    #[inline]
    pub(super) fn lock(&self) -> Held<'_> {
        Held {
            state: self.state.lock(),
            saying: Saying(self),
        }
    }

    /// Says what was left to be said, if nothing is locked by this thread and nobody else has said it.
    #[cold]
    fn say(&self) {
        let mut state = self.state.lock();
        let said = match state.after.may_say() {
            true => {
                self.say_is_due.store(false, Ordering::Relaxed);
                state.after.said.take()
            }
            false => None,
        };
        drop(state);
        if let Some(said) = said {
            said.say(self);
        }
    }

    /// While it is held, segments are neither sealed nor trimmed, rewound or swapped.
    pub(crate) fn hold_segments(&self) -> Segments<'_> {
        let held = Some(self.maintenance.lock());
        self.lock().after.segments_held_by = Some(sync::thread_id());
        Segments { core: self, held }
    }
}
