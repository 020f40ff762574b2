//! Logs in object storage: what `replicate`, `restore` and `remote` have in common. `far` is for every command that reads a
//! log of which old segments are there alone.

pub mod far;
mod follow;
pub mod look;
pub mod replicate;
pub mod restore;

use crate::exit::{self, Failure, Outcome};
use cairnlog_object_store::{Error, Result, Store};
use std::path::Path;

/// The store that a URL names, which is to be read: nothing is made.
pub fn existing(url: &str) -> Outcome<Store> {
    if !url.contains("://") && !Path::new(url).is_dir() {
        return Err(Failure::Said(format!("{url}: there is no such directory")));
    }
    store(url)
}

/// The store that a URL names.
pub fn store(url: &str) -> Outcome<Store> {
    match Store::open(url) {
        Err(Error::InvalidInput(what)) => Err(Failure::Usage(what)),
        opened => opened.in_store(Path::new(url)),
    }
}

/// Gives an error of a store the log that it was about.
pub trait InStore<T> {
    /// The log in which it happened.
    fn in_store(self, log: &Path) -> Outcome<T>;
}

impl<T> InStore<T> for Result<T> {
    fn in_store(self, log: &Path) -> Outcome<T> {
        self.map_err(|error| match error {
            Error::Log(error) => Failure::Engine(error, log.to_path_buf()),
            error @ Error::Damaged { .. } => {
                crate::stream::say!("cairn: {error}");
                Failure::Code(exit::DAMAGED)
            }
            error => Failure::Said(error.to_string()),
        })
    }
}
