//! What the log tells about itself: counters and histograms, always; `tracing` events
//! and an export to `metrics` behind features.
//!
//! INVARIANT: everything here returns `()` or a copy of numbers. Nothing on the durable path depends
//! on it, and no decision is taken from it.

#[cfg(feature = "metrics")]
mod export;
mod histogram;

#[cfg(feature = "metrics")]
pub use export::MetricsExport;
pub use histogram::Histogram;

use crate::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    types::Seq,
};
use histogram::Recording;

/// Counts since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended_records: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) group_count: AtomicU64,
    pub(crate) sync_count: AtomicU64,
    pub(crate) rotation_count: AtomicU64,
    pub(crate) sync_ns: Recording,
    pub(crate) sync_records: Recording,
    pub(crate) durable_append_ns: Recording,
    pub(crate) written_append_ns: Recording,
    pub(crate) buffered_append_ns: Recording,
    /// Whether the next append that is not durable goes untimed.
    pub(crate) skip_next: AtomicBool,
}

impl Counters {
    /// Called by who has the writer's lock, and so by one at a time.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        let count = counter.load(Ordering::Relaxed);
        counter.store(count.wrapping_add(amount), Ordering::Relaxed);
    }
}

/// A look at a log's numbers, all of one moment as far as threads allow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The oldest record kept.
    pub head_seq: Seq,
    /// The number that the next append gets.
    pub next_seq: Seq,
    /// Everything below is in the operating system's cache or better.
    pub written_seq: Seq,
    /// Everything below survives power loss.
    pub durable_seq: Seq,
    /// Records appended since the log was opened.
    pub appended_records: u64,
    /// Bytes of keys and values appended since the log was opened.
    pub appended_bytes: u64,
    /// Bytes written into segments since the log was opened: framing included, fill left out.
    pub written_bytes: u64,
    /// Groups written since the log was opened: each is one positional write.
    pub group_count: u64,
    /// Syncs for appends since the log was opened.
    pub sync_count: u64,
    /// Segments begun since the log was opened.
    pub rotation_count: u64,
    /// Segments now, the tail included.
    pub segment_count: u64,
    /// Bytes of frames in all segments now.
    pub frame_bytes: u64,
    /// Bytes of frames in sealed segments now.
    pub sealed_bytes: u64,
    /// Those of them in segments that live elsewhere.
    pub far_bytes: u64,
    /// Those of the sealed ones in segments with keys that were never compacted: the dirty part.
    pub dirty_bytes: u64,
    /// Bytes waiting in memory to be written.
    pub queued_bytes: u64,
    /// How long each sync of a segment for appends took since the log was opened, in nanoseconds.
    pub sync_ns: Histogram,
    /// How many records each sync made durable that made any, since the log was opened: the group commit
    /// at work.
    pub sync_records: Histogram,
    /// How long durable appends took since the log was opened, from the call until the caller was told, in
    /// nanoseconds: an append of many records once. Left out are those that failed, and those by
    /// [`submit`](crate::Log::submit) and by sinks, whose callers come back when they like.
    pub durable_append_ns: Histogram,
    /// The same for appends that are [written](crate::Durability::Written). A look at the clock would be
    /// felt by each, so one in 64 records is timed, the first included: the count is not that of appends.
    pub written_append_ns: Histogram,
    /// The same for those that are [buffered](crate::Durability::Buffered), timed as rarely.
    pub buffered_append_ns: Histogram,
}

/// Emits a `tracing` event if the feature is on; costs nothing if it is not.
macro_rules! event {
    ($level:ident, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!($($field = $value,)* $message);
        #[cfg(not(feature = "tracing"))]
        { $(_ = &$value;)* }
    }};
}
pub(crate) use event;
