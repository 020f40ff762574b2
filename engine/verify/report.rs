//! What a look found, as values.

use crate::{
    error::{Defect, Place},
    types::Seq,
};
use std::{fmt, ops::Range};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// A segment file that is not this log's, and is left alone.
    Stray,
    /// Derived data does not verify and is rebuilt when needed: nothing is lost.
    Derived,
    /// An unfinished last write: opening cuts it.
    Torn,
    /// Bytes that were durable do not verify.
    Damage,
    /// A newer program's: this one does not know what it says; or sealed under a key that it has not got.
    Unsupported,
}

impl FindingKind {
    /// What a defect is in something that was durable.
    pub(crate) fn of(defect: Defect) -> Self {
        if defect.is_out_of_reach() {
            Self::Unsupported
        } else {
            Self::Damage
        }
    }
}

/// Something that does not verify, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub kind: FindingKind,
    /// Where it starts.
    pub place: Place,
    /// Where it ends in the file, if that is known.
    pub end_offset: Option<u64>,
    /// The records that are missing with it; empty if it is none, or not known.
    pub seqs: Range<Seq>,
    /// What is wrong.
    pub defect: Defect,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FindingKind::Stray => "stray",
            FindingKind::Derived => "derived",
            FindingKind::Torn => "torn",
            FindingKind::Damage => "damage",
            FindingKind::Unsupported => "unsupported",
        };
        write!(f, "{kind}: {}: {}", self.place, self.defect)?;
        if self.seqs.is_empty() {
            return Ok(());
        }
        write!(f, ", missing seq {}..{}", self.seqs.start, self.seqs.end)
    }
}

/// The state of a log as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Health {
    /// Everything verifies.
    Clean,
    /// The end is an unfinished write, which opening would cut.
    Torn,
    /// Something that was durable does not verify.
    Damaged,
    /// A newer program wrote a part of it: that one can tell.
    Unsupported,
}

/// What [`Options::verify`](crate::Options::verify) found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Everything that does not verify.
    pub findings: Vec<Finding>,
    /// Segments looked at.
    pub segment_count: u64,
    /// Segments that were not looked at: they live elsewhere, and nothing was given that reads them there
    /// ([`Options::far_segments`](crate::Options::far_segments)).
    pub far_count: u64,
    /// Records that verify.
    pub record_count: u64,
    /// Bytes of segments looked at.
    pub byte_count: u64,
    /// The oldest record kept.
    pub head_seq: Seq,
    /// The seq after the last record that verifies.
    pub next_seq: Seq,
}

impl VerifyReport {
    /// The state of the log as a whole.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.findings.iter().map(|finding| finding.kind).max() {
            None | Some(FindingKind::Stray | FindingKind::Derived) => Health::Clean,
            Some(FindingKind::Torn) => Health::Torn,
            Some(FindingKind::Damage) => Health::Damaged,
            Some(FindingKind::Unsupported) => Health::Unsupported,
        }
    }
}

/// How far a long look has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes looked at.
    pub done_bytes: u64,
    /// Bytes to look at in all.
    pub total_bytes: u64,
}
