//! How a copy is made.

use cairnlog::vfs::{RealFs, Vfs};
use std::{sync::Arc, time::Duration};

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    pub(crate) keep: Duration,
    pub(crate) take_over: bool,
    pub(crate) forget_others: bool,
    pub(crate) clock: Arc<dyn Vfs>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(24 * 3600),
            take_over: false,
            forget_others: false,
            clock: Arc::new(RealFs::default()),
        }
    }
}

impl CopyOptions {
    /// The defaults: moments of the last day are kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a moment can be restored after a newer one was taken, by the store's clock. What no moment needs
    /// any more is deleted. The newest few are always kept. Default: a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Goes on in a store where the same log was copied that has gone on elsewhere since: by one that was restored from
    /// there, as a rule. What is in the store and not in this log stays in the history. Default: no, that is refused.
    #[must_use]
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Gives up what the store keeps for other continuations of this log, which let go of it ([`Copier::release`](crate::Copier::release)):
    /// for when they are gone for good. If one is not, it loses those segments. Default: no, that is kept for ever.
    #[must_use]
    pub fn forget_others(mut self, forget: bool) -> Self {
        self.forget_others = forget;
        self
    }

    /// Where time and randomness come from: for tests. Default: the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Vfs>) -> Self {
        self.clock = clock;
        self
    }
}
