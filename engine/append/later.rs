//! Appending for tasks: nothing here blocks a thread on a sync, on a full queue or on a file.
//!
//! INVARIANT: whoever finds no room leaves a waker under the queue's lock, and whatever makes room
//! takes it under the same lock: no task sleeps through. What a task cannot do without blocking the
//! worker does for it, in order; when the log is closed the worker does what is left before it ends.

use super::{
    AppendOptions, Core, NewRecord, Ticket,
    errand::Errand,
    queue::{Attempt, For},
};
use crate::{
    error::Result,
    sync::{Arc, Mutex},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

#[derive(Debug)]
struct Outcome<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// What became of something that the worker does for a task. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "nobody is told what became of it"]
pub struct Later<T> {
    outcome: Arc<Mutex<Outcome<T>>>,
}

impl<T> Future for Later<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Cloned and dropped while nothing is locked: it is not ours.
        let waker = context.waker().clone();
        let mut outcome = self.outcome.lock();
        let value = outcome.value.take();
        let unneeded = match value {
            Some(_) => Some(waker),
            None => outcome.waker.replace(waker),
        };
        drop(outcome);
        drop(unneeded);
        value.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Core {
    /// Has the worker do something that blocks. Without a worker, after it ended, or once the log is being
    /// closed, it is done here.
    pub(crate) fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Later<T> {
        let (value, waker) = (None, None);
        let outcome = Arc::new(Mutex::new(Outcome { value, waker }));
        let told = outcome.clone();
        let errand = Errand::new(move || {
            let value = work();
            let mut told = told.lock();
            told.value = Some(value);
            let waker = told.waker.take();
            drop(told);
            waker.into_iter().for_each(Waker::wake);
        });
        let mut state = self.lock();
        if self.options.background && state.duties.takes_errands() && !state.life.is_over() {
            state.duties.send(errand);
            drop(state);
            self.nudge_worker();
        } else {
            drop(state);
            errand.run();
        }
        Later { outcome }
    }

    /// Queues records if that is possible without waiting; else wakes the task when it may be. What
    /// keeps room from being made is tried once more before it is told: `tried` says that it was.
    pub(crate) fn poll_submit(
        self: &Arc<Self>,
        context: &Context<'_>,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        tried: &mut bool,
    ) -> Poll<Result<Ticket>> {
        how.check()?;
        let level = how.durability.unwrap_or(self.options.durability);
        let body_bytes = self.check(records, how)?;
        // Cloned while nothing is locked, and only if it is needed: it is not ours.
        let mut waker = None;
        let (mut state, why) = loop {
            match self.attempt(self.lock(), records, how, level, body_bytes)? {
                Attempt::Queued((seqs, done), _) => {
                    self.nudge_worker();
                    return Poll::Ready(Ok(Ticket::new(self.clone(), seqs, done, level)));
                }
                Attempt::Wait(state, why) if waker.is_some() => break (state, why),
                Attempt::Wait(state, _) => drop(state),
            }
            waker = Some(context.waker().clone());
        };
        if !self.options.background {
            // Without a worker the one who polls does the work.
            drop(state);
            let (seqs, done) = self.enqueue(records, how, level)?;
            return Poll::Ready(Ok(Ticket::new(self.clone(), seqs, done, level)));
        }
        if why != For::End
            && let Some(error) = state.waiting.stuck().cloned()
        {
            if *tried {
                return Poll::Ready(Err(error));
            }
            *tried = true;
            state.waiting.go_on();
            state.duties.try_now();
        }
        let unneeded = waker.and_then(|waker| state.waiting.leave(waker));
        drop(state);
        drop(unneeded);
        self.nudge_worker();
        Poll::Pending
    }
}
