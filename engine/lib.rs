//! Cairn: an embedded, append-only log.
#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
#![deny(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::let_underscore_must_use,
    clippy::dbg_macro,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::undocumented_unsafe_blocks
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
pub mod format;
mod types;
pub mod vfs;

pub use error::{Defect, Error, ErrorKind, Op, Place, Result};
pub use types::{LogId, SegmentId, Seq};
