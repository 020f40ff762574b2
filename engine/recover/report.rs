//! What opening found and did, as a value: never logged and lost.

use crate::{
    error::Defect,
    types::{SegmentId, Seq},
};
use std::{fmt, path::PathBuf};

/// The state in which a log was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// There was none; it was created.
    Created,
    /// It had been closed in order, or never used since.
    Clean,
    /// It had not been closed, and its end verifies.
    Unclean,
    /// Its end was an unfinished write, which was cut.
    Torn,
}

/// Bytes that recovery cut and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutBytes {
    /// The segment they were in.
    pub segment: SegmentId,
    /// Where in it.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// The file that keeps them, relative to the log's directory; `None` in a plan.
    pub kept_in: Option<PathBuf>,
}

/// What opening a log found and did; from [`Log::recovery`](crate::Log::recovery).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The state in which the log was found.
    pub verdict: Verdict,
    /// Segments of the log, as it is now.
    pub segment_count: u64,
    /// Records in them, trimmed ones that are still in a file included.
    pub record_count: u64,
    /// The oldest record kept.
    pub head_seq: Seq,
    /// The number that the next append gets.
    pub next_seq: Seq,
    /// The seq below which the disk itself attested that all was durable.
    pub proven_seq: Seq,
    /// Records behind that were found whole, and written anew into a segment of their own.
    pub carried_count: u64,
    /// What did not verify at the end, and where.
    pub torn: Option<(SegmentId, u64, Defect)>,
    /// The bytes that were cut, and where they are kept.
    pub cut: Vec<CutBytes>,
    /// Files of interrupted work that were removed.
    pub orphan_count: u64,
}

impl Recovery {
    /// How many bytes were cut in all.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut.iter().map(|piece| piece.bytes).sum()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Clean => "clean",
            Self::Unclean => "unclean",
            Self::Torn => "torn",
        })
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: seq {}..{} in {} segments, {} records",
            self.verdict, self.head_seq, self.next_seq, self.segment_count, self.record_count
        )?;
        if self.carried_count > 0 {
            write!(f, ", {} carried into a new segment", self.carried_count)?;
        }
        if let Some((segment, offset, defect)) = self.torn {
            write!(f, ", torn at segment {segment} offset {offset} ({defect})")?;
        }
        for piece in &self.cut {
            write!(f, ", {} bytes cut", piece.bytes)?;
            if let Some(kept_in) = &piece.kept_in {
                write!(f, " and kept in {}", kept_in.display())?;
            }
        }
        Ok(())
    }
}
