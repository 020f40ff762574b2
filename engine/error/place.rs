//! Where something is.

use crate::types::{SegmentId, Seq};
use std::{fmt, path::PathBuf};

/// Where something is: as much of the place as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file, relative to the log's directory or as the caller gave it.
    pub path: Option<PathBuf>,
    /// The segment.
    pub segment: Option<SegmentId>,
    /// The distance in bytes from the start of the file.
    pub offset: Option<u64>,
    /// The record.
    pub seq: Option<Seq>,
}

impl Place {
    /// A place inside a segment.
    #[must_use]
    pub fn in_segment(segment: SegmentId, offset: u64) -> Self {
        Self {
            segment: Some(segment),
            offset: Some(offset),
            ..Self::default()
        }
    }

    /// A whole file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// This place, at this record.
    #[must_use]
    pub fn with_seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if let Some(path) = &self.path {
            write!(f, "{}", path.display())?;
            gap = " ";
        }
        if let Some(segment) = self.segment {
            write!(f, "{gap}segment {segment}")?;
            gap = " ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{gap}offset {offset}")?;
            gap = " ";
        }
        self.seq.map_or(Ok(()), |seq| write!(f, "{gap}seq {seq}"))
    }
}
