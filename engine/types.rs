//! The two numbers that everything here speaks of.
//!
//! Called by every room; calls nothing.

use std::fmt;

/// The number of a record: dense from 0 as records are appended, never reused, kept by compaction.
///
/// After a [`rewind`](crate::Log::rewind) the numbers that were dropped stay unused, so a number
/// names one record for the life of the log.
pub type Seq = u64;

/// The number of a segment file. Ids start at 1 and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a log, drawn at random when the log is created and repeated in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
