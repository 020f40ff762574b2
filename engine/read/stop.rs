//! What calls a tail away from its waiting, whatever it waits for.
//!
//! INVARIANT: who waits says on what, then looks whether he was called, and then waits; who calls says so
//! first, and then has him look. So one of the two always sees the other.

use crate::{
    catalog::{Interrupts, Watermark},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    vfs::WatchStop,
};

#[derive(Debug)]
pub(super) struct Stop {
    called: AtomicBool,
    watermark: Arc<Watermark>,
    /// The watch that is waited on just now.
    watch: Mutex<Option<std::sync::Arc<dyn WatchStop>>>,
}

impl Stop {
    pub(super) fn new(watermark: &Arc<Watermark>) -> Arc<Self> {
        Arc::new(Self {
            called: AtomicBool::new(false),
            watermark: watermark.clone(),
            watch: Mutex::default(),
        })
    }

    /// Whether it was called.
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// Says what is waited on from now on, or that nothing is.
    pub(super) fn waits_on(&self, watch: Option<std::sync::Arc<dyn WatchStop>>) {
        *self.watch.lock() = watch;
    }
}

impl Interrupts for Stop {
    fn interrupt(&self) {
        self.called.store(true, Ordering::SeqCst);
        self.watermark.wake();
        let watch = self.watch.lock().clone();
        if let Some(watch) = watch {
            watch.stop();
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_called()
    }
}
