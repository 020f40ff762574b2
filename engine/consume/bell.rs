//! Waiting for records and, alike, for whatever else lets a consumer or a queue go on.
//!
//! INVARIANT: who waits has looked at the number of rings before it looked for work; who changes what may
//! be waited for rings afterwards. So one of the two always sees the other.

#[cfg(feature = "async")]
use crate::sync::Mutex;
use crate::{
    catalog::{Level, Wait, Watermark},
    log::Log,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    types::Seq,
};
#[cfg(feature = "async")]
use std::{collections::BTreeMap, task::Waker};
use std::{fmt, time::Duration};

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

/// Ends the waiting of a consumer or of a queue's workers, from any thread; from
/// [`Consumer::interrupt_handle`](crate::Consumer::interrupt_handle) and
/// [`Queue::interrupt_handle`](crate::Queue::interrupt_handle).
///
/// It does not keep the log open. Cheap to clone.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let mut mailer = log.consumer("mailer")?;
/// let stop = mailer.interrupt_handle();
/// let worker = std::thread::spawn(move || mailer.next()); // Waits.
/// stop.interrupt();
/// assert!(worker.join().unwrap()?.is_none());
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone)]
pub struct InterruptHandle(pub(super) Arc<Bell>);

impl InterruptHandle {
    /// From now on no call waits: those that are waiting, and all later ones that might, give nothing at
    /// once, even if there is something. `try_next` goes on as before, for who wants to take the rest.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
        self.0.ring();
    }

    /// Whether [`interrupt`](Self::interrupt) was called, here or of a clone.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptHandle")
            .field("interrupted", &self.is_interrupted())
            .finish()
    }
}
