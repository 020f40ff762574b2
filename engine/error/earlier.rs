//! Why the system is not even asked any more: a sync failed before.
//!
//! It travels inside an `io::Error`, from the door to the operating system up to [`Error`](super::Error),
//! which calls it `Poisoned`.

use std::{fmt, io, sync::Arc};

/// The first sync that failed.
#[derive(Clone, Debug)]
pub(crate) struct EarlierSync {
    text: Arc<str>,
}

impl EarlierSync {
    /// Of a file of this name.
    pub(crate) fn new(name: &str, error: &io::Error) -> Self {
        let text =
            format!("an earlier sync failed, and nothing is written after it ({name}: {error})");
        Self { text: text.into() }
    }

    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for EarlierSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for EarlierSync {}
