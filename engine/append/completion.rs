//! How the callers of one group learn what became of it.
//!
//! One word tells the phase; threads wait on it in the kernel, so that one call wakes all whom a sync
//! covers, and they take no lock on their way out. Who waits for a sync, thread or task, is not woken by the write.
//!
//! INVARIANT: a caller registers under the queue's lock before it parks, and the leader hands on the
//! lead under the same lock, so one of the two always sees the other: nobody sleeps through. And
//! whoever sets the word looks for registered callers after it, who look at the word after
//! registering.

use crate::{
    error::{Error, Result},
    options::Durability,
    sync::{
        Mutex, Signal,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};
use std::task::Waker;

const WRITTEN: u32 = 1;
const DURABLE: u32 = 2;
const FAILED: u32 = 3;
const PHASE: u32 = 0b11;
/// Beside the phase: one of the parked threads is asked to lead.
const LEAD: u32 = 0b100;

/// Shared by the group and all who wait for it.
#[derive(Debug, Default)]
pub(super) struct Completion {
    word: Signal,
    /// Threads that parked, or are about to, and how many of them wait for the write alone.
    parked_count: AtomicUsize,
    parked_for_write: AtomicUsize,
    error: Mutex<Option<Error>>,
    watched: AtomicBool,
    /// Those of tasks, each with the level that it waits for.
    wakers: Mutex<Vec<(Durability, Waker)>>,
}

impl Completion {
    /// What became of it, if that is known for this level.
    pub(super) fn reached(&self, level: Durability) -> Option<Result<()>> {
        self.outcome(self.word.load(), level)
    }

    fn outcome(&self, word: u32, level: Durability) -> Option<Result<()>> {
        let known = match level {
            Durability::Buffered => true,
            Durability::Written => word & PHASE >= WRITTEN,
            Durability::Durable => word & PHASE >= DURABLE,
        };
        if word & PHASE == FAILED {
            return self.error.lock().clone().map(Err);
        }
        known.then_some(Ok(()))
    }

    /// Says so; gives the tasks to wake, as the others here do.
    #[must_use = "tasks sleep on"]
    pub(super) fn written(&self) -> Vec<Waker> {
        self.word.store(WRITTEN);
        let concerned = |level| level == Durability::Written;
        self.wake(&self.parked_for_write, concerned)
    }

    /// Says so to whoever looks; who is parked is woken by [`wake_all`](Self::wake_all).
    pub(super) fn durable(&self) {
        self.word.store(DURABLE);
    }

    #[must_use = "tasks sleep on"]
    pub(super) fn fail(&self, error: Error) -> Vec<Waker> {
        *self.error.lock() = Some(error);
        self.word.store(FAILED);
        self.wake_all()
    }

    #[must_use = "tasks sleep on"]
    pub(super) fn wake_all(&self) -> Vec<Waker> {
        self.wake(&self.parked_count, |_| true)
    }

    /// Wakes threads. Tasks are woken by the caller, when it holds no lock: their wakers are not ours.
    fn wake(
        &self,
        concerned_count: &AtomicUsize,
        concerned: impl Fn(Durability) -> bool,
    ) -> Vec<Waker> {
        if concerned_count.load(SeqCst) > 0 {
            self.word.wake_all();
        }
        if !self.watched.load(SeqCst) {
            return Vec::new();
        }
        let mut wakers = self.wakers.lock();
        let told = wakers.extract_if(.., |(level, _)| concerned(*level));
        told.map(|(_, waker)| waker).collect()
    }

    /// How many threads wait for it.
    pub(super) fn parked_count(&self) -> usize {
        self.parked_count.load(SeqCst)
    }

    /// Announces a thread that will park. Called under the queue's lock.
    pub(super) fn register(&self, level: Durability) {
        self.parked_count.fetch_add(1, SeqCst);
        if level == Durability::Written {
            self.parked_for_write.fetch_add(1, SeqCst);
        }
    }

    /// Parks a registered thread until the level is reached, the group failed, or it should lead.
    pub(super) fn park(&self, level: Durability) {
        loop {
            let word = self.word.load();
            if self.outcome(word, level).is_some() {
                break;
            }
            if word & LEAD == 0 {
                self.word.wait_while(word);
            } else if self.word.replace(word, word & !LEAD) {
                break;
            }
        }
        if level == Durability::Written {
            self.parked_for_write.fetch_sub(1, SeqCst);
        }
        self.parked_count.fetch_sub(1, SeqCst);
    }

    /// Asks a parked thread to lead. Called under the queue's lock; false if there is none.
    pub(super) fn ask_to_lead(&self) -> bool {
        if self.parked_count() == 0 {
            return false;
        }
        self.word.set_bits(LEAD);
        self.word.wake_one();
        true
    }

    /// Leaves a waker to be woken when the level is reached, or is known not to be.
    pub(super) fn watch(&self, level: Durability, waker: &Waker) {
        let waker = waker.clone();
        let mut wakers = self.wakers.lock();
        let known = |(at, known): &(_, Waker)| *at == level && known.will_wake(&waker);
        let spare = if wakers.iter().any(known) {
            Some(waker)
        } else {
            wakers.push((level, waker));
            None
        };
        drop(wakers);
        drop(spare);
        self.watched.store(true, SeqCst);
    }

    /// Takes a waker back that was left, if it is still there.
    pub(super) fn forget(&self, level: Durability, waker: &Waker) {
        let mut wakers = self.wakers.lock();
        let known = |(at, known): &(_, Waker)| *at == level && known.will_wake(waker);
        let at = wakers.iter().position(known);
        let left = at.map(|at| wakers.swap_remove(at));
        drop(wakers);
        drop(left);
    }
}
