//! The handle by which one thread ends the waiting of another.
//!
//! It holds what is waited on, and never the log. Called by whoever waits: tails, consumers, queues.

use crate::sync::Arc;
use std::fmt;

/// What can be called away from its waiting, for good.
pub(crate) trait Interrupts: Send + Sync {
    fn interrupt(&self);
    fn is_interrupted(&self) -> bool;
}

/// Ends the waiting of a tail, a consumer or of a queue's workers, from any thread; from
/// [`TailReader::interrupt_handle`](crate::TailReader::interrupt_handle),
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
pub struct InterruptHandle(Arc<dyn Interrupts>);

impl InterruptHandle {
    pub(crate) fn new(of: Arc<dyn Interrupts>) -> Self {
        Self(of)
    }

    /// From now on no call waits: those that are waiting, and all later ones that might, give nothing at
    /// once, even if there is something. `try_next` goes on as before, for who wants to take the rest.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }

    /// Whether [`interrupt`](Self::interrupt) was called, here or of a clone.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptHandle")
            .field("interrupted", &self.is_interrupted())
            .finish()
    }
}
