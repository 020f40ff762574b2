//! How the callers of one group learn what became of it.
//!
//! INVARIANT: a caller registers under the queue's lock before it parks, and the leader hands on the
//! lead under the same lock, so one of the two always sees the other: nobody sleeps through.

use crate::{
    error::{Error, Result},
    options::Durability,
    sync::{Condvar, Mutex},
};
use std::task::Waker;

/// How far a group has come.
#[derive(Clone, Debug)]
enum Phase {
    Queued,
    Written,
    Durable,
    Failed(Error),
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// Threads that parked, or are about to.
    parked_count: usize,
    /// One of them is asked to lead.
    lead_asked: bool,
    wakers: Vec<Waker>,
}

/// Shared by the group and all who wait for it.
#[derive(Debug)]
pub(super) struct Completion {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Completion {
    pub(super) fn new() -> Self {
        let wakers = Vec::new();
        let inner = Inner {
            phase: Phase::Queued,
            parked_count: 0,
            lead_asked: false,
            wakers,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }

    /// What became of it, if that is known for this level.
    pub(super) fn reached(&self, level: Durability) -> Option<Result<()>> {
        outcome(&self.inner.lock().phase, level)
    }

    pub(super) fn written(&self) {
        self.set(Phase::Written);
    }

    pub(super) fn durable(&self) {
        self.set(Phase::Durable);
    }

    pub(super) fn fail(&self, error: Error) {
        self.set(Phase::Failed(error));
    }

    fn set(&self, phase: Phase) {
        let mut inner = self.inner.lock();
        inner.phase = phase;
        let wakers = std::mem::take(&mut inner.wakers);
        let parked = inner.parked_count > 0;
        drop(inner);
        if parked {
            self.changed.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Announces a thread that will park. Called under the queue's lock.
    pub(super) fn register(&self) {
        self.inner.lock().parked_count += 1;
    }

    /// Parks a registered thread until the level is reached, the group failed, or it should lead.
    pub(super) fn park(&self, level: Durability) {
        let mut inner = self.inner.lock();
        while !inner.lead_asked && outcome(&inner.phase, level).is_none() {
            self.changed.wait(&mut inner);
        }
        inner.lead_asked = false;
        inner.parked_count -= 1;
    }

    /// Asks a parked thread to lead. Called under the queue's lock; false if there is none.
    pub(super) fn ask_to_lead(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.parked_count == 0 {
            return false;
        }
        inner.lead_asked = true;
        drop(inner);
        self.changed.notify_one();
        true
    }

    /// Leaves a waker to be woken at the next change.
    pub(super) fn watch(&self, waker: &Waker) {
        let mut inner = self.inner.lock();
        if !inner.wakers.iter().any(|known| known.will_wake(waker)) {
            inner.wakers.push(waker.clone());
        }
    }
}

fn outcome(phase: &Phase, level: Durability) -> Option<Result<()>> {
    match (phase, level) {
        (Phase::Failed(error), _) => Some(Err(error.clone())),
        (_, Durability::Buffered)
        | (Phase::Written | Phase::Durable, Durability::Written)
        | (Phase::Durable, Durability::Durable) => Some(Ok(())),
        _ => None,
    }
}
