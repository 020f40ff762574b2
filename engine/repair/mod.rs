//! The journeys past damage, each by explicit choice: repair in place, and salvage into a new log.
//!
//! INVARIANTS: what is cut is first kept in `quarantine/`, durably; the repaired set of segments
//! becomes true with one manifest commit; every record that still verifies is kept, and every seq
//! that is lost is named. A dry run writes nothing.
//!
//! Called by `Log`; calls verify, recover, segment, manifest.

mod ahead;
mod apply;
mod keys;
mod rebuild;
mod salvage;
mod survey;
mod writer;

pub use salvage::{SalvageReport, Salvaged};
pub(crate) use salvage::{read_salvage, salvage_into};

use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::names,
    options::Options,
    recover::{self, CutBytes, Facts, ProducersFact},
    seal::KeyRing,
    segment::{Piece, Range as FrameRange, Window, salvage as walk},
    types::{SegmentId, Seq},
    verify::{self, Finding, FindingKind, VerifyReport},
    vfs::Dir,
};
use apply::Repair;
use std::{ops::Range, path::PathBuf};

/// What a repair may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairOptions {
    apply: bool,
    accept_loss: bool,
}

impl RepairOptions {
    /// A dry run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to change anything. Default: no.
    #[must_use]
    pub fn apply(mut self, apply: bool) -> Self {
        self.apply = apply;
        self
    }

    /// Whether records that were durable and do not verify any more may be given up, or what was known
    /// of producers. Default: no.
    #[must_use]
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }
}

/// What a repair did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Whether anything was changed.
    pub applied: bool,
    /// What did not verify.
    pub findings: Vec<Finding>,
    /// The records that are lost.
    pub lost: Vec<Range<Seq>>,
    /// The bytes that were taken out of the log, and where they are kept.
    pub kept: Vec<CutBytes>,
    /// Segments that were, or would be, written anew from what verifies.
    pub rewritten: Vec<SegmentId>,
    /// Of them those whose header is lost, and with it the time that their records were appended at: a
    /// record that has no time of its own gets 0.
    pub untimed: Vec<SegmentId>,
    /// Where the ledger of producers is kept that did not verify, relative to the log's directory. The
    /// repaired log knows of its producers only what the records say that were written anew.
    pub ledger_kept_in: Option<PathBuf>,
}

/// Repairs a log: see [`Options::repair`].
pub(crate) fn repair(dir: &Dir, options: &Options, how: RepairOptions) -> Result<RepairReport> {
    // What lives elsewhere is left as it is there: what is wrong with it is nothing that is mended here.
    let options = &options.without_far();
    options.check()?;
    check_repairable(dir, options)?;
    // Who only looks needs no lock, which may be a writer's or on a disk that cannot be written.
    let lock = (how.apply)
        .then(|| recover::lock(dir, options.lock_timeout))
        .transpose()?;
    let found = verify_known(dir, options)?;
    let facts = recover::look(dir, Op::Repair)?;
    let mut report = survey(dir, options, &facts, found.findings)?;
    let manifest = facts.valid_manifest();
    let unfinished = facts.is_backup();
    let damage = |finding: &&Finding| finding.kind == FindingKind::Damage;
    let Some(worst) = report.findings.iter().find(damage) else {
        // Nothing but a torn tail, at most: that is what opening is for.
        let torn = |finding: &Finding| finding.kind > FindingKind::Stray;
        if how.apply && report.findings.iter().any(torn) {
            drop(lock);
            report.kept = reopen(dir, options)?;
            report.applied = true;
        }
        return Ok(report);
    };
    if !how.apply {
        return Ok(report);
    }
    if !how.accept_loss {
        let note = "what was durable would be lost, which has to be accepted";
        return Err(Error::note(ErrorKind::Damaged, Op::Repair, note).at(worst.place.clone()));
    }
    keys::check_keys(dir, options, &report.findings)?;
    if unfinished && manifest.is_none() {
        let note = "a backup that was not finished is no log; make it again";
        return Err(Error::note(ErrorKind::Damaged, Op::Repair, note).at(worst.place.clone()));
    }
    let of_ledger =
        |finding: &Finding| finding.place.path.as_deref() == Some(names::PRODUCERS.as_ref());
    let is_there = facts.producers != ProducersFact::Missing;
    if is_there && report.findings.iter().any(of_ledger) {
        report.ledger_kept_in = Some(recover::keep_file(dir, names::PRODUCERS)?);
    }
    report.kept = match manifest {
        Some(manifest) => {
            Repair::of(dir, options, &facts, manifest, report.rewritten.clone()).run()?
        }
        None => rebuild::run(dir, options, &facts)?,
    };
    report.applied = true;
    Ok(report)
}

/// Refuses what repair cannot be of.
fn check_repairable(dir: &Dir, options: &Options) -> Result<()> {
    // Before the lock, which would leave its file in a directory that holds no log.
    let (facts, plan) = recover::plan(dir, options)?;
    recover::refuse_newer(&facts, Op::Repair)?;
    if matches!(plan, recover::Plan::Create { .. }) {
        return Err(recover::not_found(Op::Repair, dir));
    }
    Ok(())
}

/// What does not verify, in a log of which all is known.
fn verify_known(dir: &Dir, options: &Options) -> Result<VerifyReport> {
    let found = verify::verify(dir, options, |_| {})?;
    let newer = |finding: &&Finding| finding.kind == FindingKind::Unsupported;
    match found.findings.iter().find(newer) {
        Some(newer) => Err(Error::defect(Op::Repair, newer.place.clone(), newer.defect)),
        None => Ok(found),
    }
}

/// What a repair would do.
fn survey(
    dir: &Dir,
    options: &Options,
    facts: &Facts,
    findings: Vec<Finding>,
) -> Result<RepairReport> {
    let damage = findings.iter().filter(|it| it.kind == FindingKind::Damage);
    let lost = merge(damage.clone().map(|finding| finding.seqs.clone()));
    let rewritten = damage.filter_map(|found| found.place.segment);
    let mut report = RepairReport {
        applied: false,
        lost,
        kept: Vec::new(),
        rewritten: dedup(rewritten.collect()),
        untimed: Vec::new(),
        ledger_kept_in: None,
        findings,
    };
    if let Some(manifest) = facts.valid_manifest() {
        let repair = Repair::of(dir, options, facts, manifest, report.rewritten.clone());
        report.untimed = repair.untimed()?;
    } else if !facts.is_backup() {
        (report.findings, report.lost) = rebuild::look(dir, options, facts)?;
        report.rewritten = rebuild::sources(facts);
    }
    Ok(report)
}

fn reopen(dir: &Dir, options: &Options) -> Result<Vec<CutBytes>> {
    let log = options.clone().open(dir.path())?;
    log.close()?;
    Ok(log.recovery().cut.clone())
}

fn dedup(mut ids: Vec<SegmentId>) -> Vec<SegmentId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn merge(ranges: impl Iterator<Item = Range<Seq>>) -> Vec<Range<Seq>> {
    let mut sorted: Vec<Range<Seq>> = ranges.filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<Seq>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Walks a range and feeds the records that verify to `each`.
fn records(
    window: &mut Window,
    how: (&crate::format::SegmentContext, &KeyRing),
    range: FrameRange,
    id: SegmentId,
    each: impl FnMut(Piece<'_>),
) -> Result<()> {
    walk(window, how, range, each).map_err(|fault| fault.into_error(Op::Repair, id))
}
