//! Cairn is an embedded, append-only log: what it acknowledged survives `kill -9`, power loss and
//! disks that lie about a failed sync.
//!
//! ```
//! use cairnlog::Log;
//! # let dir = tempfile::tempdir().unwrap();
//! let log = Log::open(dir.path().join("orders.log"))?; // Creates or recovers; takes the lock.
//! let seq = log.append("order 1 created")?; // Durable when it returns.
//! log.append_batch(["order 1 paid", "order 1 shipped"])?; // All or nothing, one sync.
//! for record in log.scan(seq..)? {
//!     let record = record?; // Verified.
//!     println!("{}: {}", record.seq(), String::from_utf8_lossy(&record));
//! }
//! # Ok::<(), cairnlog::Error>(())
//! ```
//!
//! * [`Log`] is the handle, [`Options`] says how to open one.
//! * [`Reader`], [`Scan`] and [`TailReader`] read, also [in other processes](Reader::open); [`Ticket`]
//!   waits for what was [submitted](Log::submit).
//! * [`Consumer`] reads on where it was acknowledged last, [`Queue`] deals records out to many workers.
//! * [`LargeWriter`] and [`LargeReader`] are for values of any size, in flat memory.
//! * [`CompactOptions`] and [`Retention`] keep a log from growing for ever; [`Log::backup`] copies it.
//! * [`Recovery`] is what opening found and did.
//! * [`vfs::sim`] is a disk that loses power, for testing this library and your application.
//! * Features: `async` brings streams, a sink and appends that await; `typed` values instead of bytes;
//!   `tracing` events, `metrics` a log's [numbers](Stats) for the crate of that name.
//! * [`mod@format`] reads the stored structures, for tools that look at bytes.
//!
//! The guide, from the first hour to a failing disk, is in `docs/guide` of the repository.
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

mod append;
mod backup;
mod catalog;
mod compact;
mod consume;
mod cursor;
mod error;
pub mod format;
mod large;
mod log;
mod manifest;
mod observe;
mod options;
mod pool;
mod read;
mod recover;
mod release;
mod repair;
mod retain;
mod seal;
mod segment;
mod sync;
mod trim;
#[cfg(feature = "typed")]
mod typed;
mod types;
mod upkeep;
mod verify;
pub mod vfs;

pub use append::{AppendOptions, NewRecord, Ticket};
#[cfg(feature = "async")]
#[cfg_attr(docsrs, doc(cfg(feature = "async")))]
pub use append::{AppendSink, AsRecord, OwnedRecord};
pub use backup::{BackupOptions, BackupReport, StoredFile, StoredLog, StoredMoment, StoredSegment};
pub use catalog::InterruptHandle;
pub use compact::{CompactProgress, CompactReport};
#[cfg(feature = "async")]
#[cfg_attr(docsrs, doc(cfg(feature = "async")))]
pub use consume::ConsumerStream;
pub use consume::{
    Backoff, Consumer, ConsumerOptions, CursorInfo, InFlight, Lease, Queue, QueueOptions, Start,
};
pub use error::{Defect, Error, ErrorKind, Op, Place, Result};
pub use format::{Compression, Mark, Producer, RecordRef};
#[cfg(feature = "async")]
#[cfg_attr(docsrs, doc(cfg(feature = "async")))]
pub use large::LargeStream;
pub use large::{LargeReader, LargeWriter};
pub use log::Log;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use observe::MetricsExport;
pub use observe::{Histogram, Stats};
pub use options::{
    CompactOptions, Durability, FarSegment, FarSegments, KeyMatch, OnAmbiguousTail, Options,
    PackOptions, ReadMode, ResealOptions, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
pub use pool::Worker;
pub use read::{Reader, Record, Scan, SegmentInfo, TailReader};
#[cfg(feature = "async")]
#[cfg_attr(docsrs, doc(cfg(feature = "async")))]
pub use read::{ScanStream, TailStream};
pub use recover::{CutBytes, Recovery, Verdict};
pub use release::ReleaseReport;
pub use repair::{RepairOptions, RepairReport, SalvageReport, Salvaged};
pub use retain::{RetainReport, StoppedBy};
pub use seal::{Cipher, KEY_BYTES, Key, KeyId, KeyProvider, Keys};
#[cfg(all(feature = "typed", feature = "async"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "typed", feature = "async"))))]
pub use typed::TypedStream;
#[cfg(feature = "typed")]
#[cfg_attr(docsrs, doc(cfg(feature = "typed")))]
pub use typed::{Codec, Postcard, Typed, TypedConsumer, TypedRecord, TypedScan, TypedTail};
pub use types::{LogId, SegmentId, Seq};
pub use upkeep::Maintained;
pub use verify::{Finding, FindingKind, Health, Inspected, Progress, RecoveryPlan, VerifyReport};

/// The README's example compiles and runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do the blocks of the guide, page by page.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../docs/guide/src/first-hour.md")]
    struct FirstHour;
    #[doc = include_str!("../docs/guide/src/durability.md")]
    struct Durability;
    #[doc = include_str!("../docs/guide/src/reading.md")]
    struct Reading;
    #[doc = include_str!("../docs/guide/src/consuming.md")]
    struct Consuming;
    #[cfg(feature = "async")]
    #[doc = include_str!("../docs/guide/src/large.md")]
    struct Large;
    #[doc = include_str!("../docs/guide/src/compaction.md")]
    struct Compaction;
    #[doc = include_str!("../docs/guide/src/processes.md")]
    struct Processes;
    #[cfg(all(feature = "async", feature = "typed"))]
    #[doc = include_str!("../docs/guide/src/tasks.md")]
    struct Tasks;
    #[cfg(feature = "async")]
    #[doc = include_str!("../docs/guide/src/pipelines.md")]
    struct Pipelines;
    #[doc = include_str!("../docs/guide/src/backup.md")]
    struct Backup;
    #[doc = include_str!("../docs/guide/src/operating.md")]
    struct Operating;
    #[doc = include_str!("../docs/guide/src/which.md")]
    struct Which;
    #[doc = include_str!("../docs/guide/src/testing.md")]
    struct Testing;
}
