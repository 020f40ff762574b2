//! Those who wait for room in the queue, for a segment, or for the end of the log to stand still; and
//! why there is none, if that is known.
//!
//! INVARIANT: who waits has said so under the queue's lock; whatever makes room looks for them under the
//! same lock, threads and tasks alike: nobody sleeps through.
//!
//! Part of what the queue's lock guards. Changed by `room`, `later` and `lead`.

use crate::error::Error;
use std::task::Waker;

/// Who waits, and for what.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    threads: usize,
    tasks: Vec<Waker>,
    /// Why no room is made at present: the last write or the last attempt to prepare a segment failed.
    stuck: Option<Error>,
}

impl Waiting {
    /// A thread begins to wait.
    pub(super) fn come(&mut self) {
        self.threads += 1;
    }

    /// A thread waits no more.
    pub(super) fn go(&mut self) {
        self.threads -= 1;
    }

    pub(super) fn is_thread(&self) -> bool {
        self.threads > 0
    }

    pub(super) fn is_task(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// A task waits. Gives its waker back if it does already, to be dropped where nothing is locked.
    #[cfg(feature = "async")]
    #[must_use = "a waker is dropped where nothing is locked"]
    pub(super) fn leave(&mut self, waker: Waker) -> Option<Waker> {
        if self.tasks.iter().any(|known| known.will_wake(&waker)) {
            return Some(waker);
        }
        self.tasks.push(waker);
        None
    }

    /// The tasks, to be woken where nothing is locked; they wait no more.
    #[must_use = "tasks sleep on"]
    pub(super) fn take_tasks(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.tasks)
    }

    /// Nothing makes room for now.
    pub(super) fn stick(&mut self, error: &Error) {
        self.stuck = Some(error.clone());
    }

    /// Something did, or tries again.
    pub(super) fn go_on(&mut self) {
        self.stuck = None;
    }

    #[cfg(feature = "async")]
    pub(super) fn stuck(&self) -> Option<&Error> {
        self.stuck.as_ref()
    }
}
