//! A [Cairn](cairnlog) log in object storage: copied as it grows, restored to a moment, read from afar.
//!
//! [`Replicator`] follows a log, beside its writer or in another process, and puts what is durable into a
//! [`Store`]: a directory, memory, S3, Google Cloud Storage or Azure. It is seconds behind, nothing waits for it,
//! and it needs no key and no codec. [`restore`] makes a log of any moment that is kept, and [`RemoteReader`] reads
//! one without that. Conditional puts are all that it needs of a store: no lock, no database.
//!
//! How it commits, fences and collects is in `docs/decisions/copy-by-conditional-puts.md`.

#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
#![deny(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::let_underscore_must_use
)]

mod collect;
mod copier;
mod error;
mod history;
mod layout;
mod plan;
mod remote;
mod replicator;
mod restore;
mod store;
mod tier;

pub use copier::{Copier, CopyOptions};
pub use error::{Error, Result};
pub use history::{Moment, To};
pub use object_store;
pub use remote::{RemoteOptions, RemoteReader, StoreSegments};
pub use replicator::{Replicator, ReplicatorOptions, Status};
pub use restore::{RestoreOptions, RestoreReport, restore};
pub use store::Store;
pub use tier::Tier;

/// The README's example compiles with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
