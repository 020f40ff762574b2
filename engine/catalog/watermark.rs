//! How far the log is written and how far it is durable, and the way to wait for more.
//!
//! INVARIANTS: neither watermark goes down; `durable` names only what a sync has confirmed. Waiting
//! never polls: a waiter counts itself before it looks, the writer looks for waiters after it
//! raises, so one of the two always sees the other. Threads wait here, tasks in `tasks`.

#[cfg(feature = "async")]
use super::tasks::Tasks;
use crate::{
    error::Error,
    sync::{
        Condvar, Deadline, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    types::Seq,
};
use crossbeam_utils::CachePadded;
use std::time::Duration;

/// Which of the two watermarks bounds a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Written,
    Durable,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The watermark is beyond the seq.
    Reached,
    /// The log was closed or poisoned: nothing more will come.
    Ended,
    /// Time ran out.
    TimedOut,
    /// Whoever waits was called for something else.
    Called,
}

#[derive(Debug)]
pub(crate) struct Watermark {
    // Readers load these while the writer raises them: a cache line each. With the latter is what is looked at when it
    // was raised, or before it is waited for.
    written: CachePadded<AtomicU64>,
    durable: AtomicU64,
    waiter_count: AtomicUsize,
    ended: AtomicBool,
    /// Why it ended, if not in order.
    failure: Mutex<Option<Error>>,
    /// Held to wait, and to wake.
    waiting: Mutex<()>,
    raised: Condvar,
    #[cfg(feature = "async")]
    pub(super) tasks: Tasks,
}

impl Watermark {
    pub(crate) fn new(next_seq: Seq) -> Self {
        Self {
            written: CachePadded::new(AtomicU64::new(next_seq)),
            durable: AtomicU64::new(next_seq),
            waiter_count: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            failure: Mutex::new(None),
            waiting: Mutex::new(()),
            raised: Condvar::new(),
            #[cfg(feature = "async")]
            tasks: Tasks::new(),
        }
    }

    /// The seq below which everything is at this level.
    pub(crate) fn get(&self, level: Level) -> Seq {
        match level {
            Level::Written => self.written.load(Ordering::SeqCst),
            Level::Durable => self.durable.load(Ordering::SeqCst),
        }
    }

    pub(crate) fn raise(&self, level: Level, seq: Seq) {
        match level {
            Level::Written => self.written.fetch_max(seq, Ordering::SeqCst),
            Level::Durable => self.durable.fetch_max(seq, Ordering::SeqCst),
        };
        self.wake();
        #[cfg(feature = "async")]
        self.tasks.raised(level, seq);
    }

    /// Lets every waiter go: nothing more will come.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake();
        self.call_tasks();
    }

    /// Lets every task that waits look again.
    pub(crate) fn call_tasks(&self) {
        #[cfg(feature = "async")]
        self.tasks.call_all();
    }

    /// As [`end`](Self::end), because of an error.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.end();
    }

    /// The error because of which nothing more will come.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Lets every thread that waits look again: after what it may be called for has changed.
    pub(crate) fn wake(&self) {
        if self.waiter_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        // Whoever counted itself and has looked is waiting by the time this lock is ours.
        drop(self.waiting.lock());
        self.raised.notify_all();
    }

    pub(super) fn look(&self, level: Level, seq: Seq) -> Option<Wait> {
        // Ended is read first: what was raised before the end is still to be seen.
        let ended = self.ended.load(Ordering::SeqCst);
        if self.get(level) > seq {
            return Some(Wait::Reached);
        }
        ended.then_some(Wait::Ended)
    }

    /// Waits until the watermark is beyond `seq`.
    pub(crate) fn wait_beyond(&self, level: Level, seq: Seq, timeout: Option<Duration>) -> Wait {
        self.wait_beyond_or(level, seq, timeout, || false)
    }

    /// As [`wait_beyond`](Self::wait_beyond), or until `called`: who makes that true calls
    /// [`wake`](Self::wake) afterwards.
    pub(crate) fn wait_beyond_or(
        &self,
        level: Level,
        seq: Seq,
        timeout: Option<Duration>,
        called: impl Fn() -> bool,
    ) -> Wait {
        let look = || {
            let reached = self.look(level, seq);
            reached.or_else(|| called().then_some(Wait::Called))
        };
        if let Some(wait) = look() {
            return wait;
        }
        if timeout == Some(Duration::ZERO) {
            return Wait::TimedOut; // And nobody who raises it has anything to do with us.
        }
        let deadline = timeout.map(Deadline::after);
        self.waiter_count.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.waiting.lock();
        let wait = loop {
            if let Some(wait) = look() {
                break wait;
            }
            // A wake-up may be for another: the watermark was raised, but not far enough for us.
            match deadline.map(Deadline::left) {
                None => self.raised.wait(&mut guard),
                Some(left) if left.is_zero() => break Wait::TimedOut,
                Some(left) => {
                    self.raised.wait_for(&mut guard, left);
                }
            }
        };
        drop(guard);
        self.waiter_count.fetch_sub(1, Ordering::SeqCst);
        wait
    }
}
