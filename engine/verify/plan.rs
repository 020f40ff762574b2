//! What opening would do, told without doing it.

use super::{Finding, FindingKind, begun, unsealed_segments};
use crate::{
    error::{Op, Result},
    options::Options,
    recover::{self, CutBytes, ManifestFact, Plan, Verdict},
    types::{SegmentId, Seq},
    vfs::Dir,
};
use std::fmt;

/// What opening a log would do; from [`Options::plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryPlan {
    /// Whether opening would refuse, because of the findings.
    pub refuses: bool,
    /// The state in which the log is.
    pub verdict: Verdict,
    /// What does not verify.
    pub findings: Vec<Finding>,
    /// The number that the next append would get; 0 if opening would refuse.
    pub next_seq: Seq,
    /// The seq below which the disk itself attests that all was durable.
    pub proven_seq: Seq,
    /// Bytes that would be cut, and kept in quarantine.
    pub cut: Vec<CutBytes>,
    /// Segment files of interrupted work that would be removed.
    pub orphans: Vec<SegmentId>,
}

pub(crate) fn plan(dir: &Dir, options: &Options) -> Result<RecoveryPlan> {
    let (facts, plan) = recover::plan(dir, options)?;
    if matches!(plan, Plan::Create { .. }) && matches!(facts.manifest, ManifestFact::Missing) {
        return Err(recover::not_found(Op::Open, dir));
    }
    let mut looked = begun(&plan);
    if let Some(manifest) = facts.valid_manifest() {
        unsealed_segments(dir, &facts, &plan, (manifest, &options.keys), &mut looked)?;
    }
    let end = facts.tail.as_ref().and_then(|tail| tail.scan.as_ref());
    let end_seq = end.map_or(0, |scan| scan.summary.next_seq);
    let mut told = RecoveryPlan {
        refuses: plan.refuses(),
        verdict: Verdict::Clean,
        findings: looked.findings,
        next_seq: end_seq,
        proven_seq: end_seq,
        cut: Vec::new(),
        orphans: Vec::new(),
    };
    match plan {
        Plan::Create { remove } | Plan::Resume { remove, .. } => told.orphans = remove,
        Plan::Refuse { .. } => (told.next_seq, told.proven_seq) = (0, 0),
        Plan::Carry { carry, remove } => {
            told.verdict = if carry.torn.is_some() {
                Verdict::Torn
            } else {
                Verdict::Unclean
            };
            (told.next_seq, told.proven_seq) = (carry.next_seq, carry.proven_seq);
            told.orphans = remove;
            let cut = |(segment, offset, end): (SegmentId, u64, u64)| CutBytes {
                segment,
                offset,
                bytes: end - offset,
                kept_in: None,
            };
            told.cut = carry.cut.into_iter().map(cut).collect();
        }
    }
    Ok(told)
}

impl fmt::Display for RecoveryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let newer = |finding: &Finding| finding.kind == FindingKind::Unsupported;
        if self.findings.iter().any(newer) {
            return write!(
                f,
                "opening would refuse: a newer program wrote a part of the log"
            );
        }
        if self.refuses {
            return write!(
                f,
                "opening would refuse to write; `repair` says what can be done"
            );
        }
        for piece in &self.cut {
            let CutBytes {
                segment,
                offset,
                bytes,
                ..
            } = piece;
            writeln!(
                f,
                "would cut {bytes} bytes at segment {segment} offset {offset} and keep them"
            )?;
        }
        for id in &self.orphans {
            writeln!(f, "would remove segment {id}, which no manifest names")?;
        }
        if self.verdict == Verdict::Clean {
            return write!(f, "clean: would go on at seq {}", self.next_seq);
        }
        if self.next_seq > self.proven_seq {
            let (from, to) = (self.proven_seq, self.next_seq);
            writeln!(
                f,
                "would carry seq {from}..{to} into a new segment, not proven durable before"
            )?;
        }
        write!(f, "{}: would go on at seq {}", self.verdict, self.next_seq)
    }
}
