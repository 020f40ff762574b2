//! What a task has the worker do in its stead.
//!
//! Called by `later`, which makes them; kept among the worker's duties.

use std::fmt;

/// What a task cannot do without blocking.
pub(super) struct Errand(Box<dyn FnOnce() + Send>);

impl Errand {
    pub(super) fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    pub(super) fn run(self) {
        (self.0)();
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}
