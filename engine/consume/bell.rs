//! Waiting for records and, alike, for whatever else lets a consumer or a queue go on.
//!
//! INVARIANT: who waits has looked at the number of rings before it looked for work; who changes what may
//! be waited for rings afterwards. So one of the two always sees the other.

#[cfg(feature = "async")]
use crate::sync::Mutex;
use crate::{
    catalog::{Interrupts, Level, Wait, Watermark},
    log::Log,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    types::Seq,
};
use std::time::Duration;
#[cfg(feature = "async")]
use std::{collections::BTreeMap, task::Waker};

pub(super) struct Bell {
    pub(super) watermark: Arc<Watermark>,
    rings: AtomicU64,
    interrupted: AtomicBool,
    /// The tasks that wait, by numbers of their own.
    #[cfg(feature = "async")]
    tasks: Mutex<BTreeMap<u64, Waker>>,
}

impl Bell {
    pub(super) fn new(log: &Log) -> Arc<Self> {
        Arc::new(Self {
            watermark: log.reader().watermark,
            rings: AtomicU64::new(0),
            interrupted: AtomicBool::new(false),
            #[cfg(feature = "async")]
            tasks: Mutex::default(),
        })
    }

    /// Has everybody who waits look again.
    pub(super) fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.watermark.wake();
        #[cfg(feature = "async")]
        {
            let tasks = std::mem::take(&mut *self.tasks.lock());
            tasks.into_values().for_each(Waker::wake);
        }
    }

    /// Has a task woken by the next ring.
    #[cfg(feature = "async")]
    pub(super) fn call(&self, number: u64, waker: Waker) {
        // What was there is dropped once the lock is free.
        let _old = self.tasks.lock().insert(number, waker);
    }

    /// Leaves a task alone.
    #[cfg(feature = "async")]
    pub(super) fn leave_alone(&self, number: u64) {
        let _old = self.tasks.lock().remove(&number);
    }

    pub(super) fn rings(&self) -> u64 {
        self.rings.load(Ordering::SeqCst)
    }

    /// Whether a call with this timeout gives nothing, at once: it would wait, and is not to.
    pub(super) fn forbids(&self, timeout: Option<Duration>) -> bool {
        timeout != Some(Duration::ZERO) && self.interrupted.load(Ordering::SeqCst)
    }

    /// Waits until the log goes beyond a seq, or somebody has rung since `seen` was looked at.
    pub(super) fn wait(&self, beyond_seq: Seq, seen: u64, timeout: Option<Duration>) -> Wait {
        let called = || self.rings() != seen;
        let level = Level::Durable;
        self.watermark
            .wait_beyond_or(level, beyond_seq, timeout, called)
    }
}

impl Interrupts for Bell {
    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.ring();
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
