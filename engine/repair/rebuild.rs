//! Repairing a log that has lost its manifest: what its segments hold, written anew beside them.
//!
//! No manifest is made of a listing: a file that a trim or a compaction was about to remove, or that a
//! recovery had left behind, may be among them. So every record is read and its place in the log
//! shown by its seq, as salvage does it; what was trimmed may be back.
//!
//! Called by repair.

use super::{Salvaged, dedup, merge, read_salvage, salvage::New, survey::finding, writer::Copies};
use crate::{
    append::Ledger,
    error::{Defect, Error, ErrorKind, Op, Place, Result},
    format::{Owner, names},
    options::Options,
    recover::{self, CutBytes, Facts, HeaderFact, ProducersFact},
    segment::{Source, Window, new_incarnation, nonzero_end},
    types::{LogId, SegmentId, Seq},
    verify::{Finding, FindingKind},
    vfs::{Access, Dir},
};
use std::ops::Range;

/// What is missing, and what else does not verify; nothing is changed.
pub(super) fn look(
    dir: &Dir,
    options: &Options,
    facts: &Facts,
) -> Result<(Vec<Finding>, Vec<Range<Seq>>)> {
    let mut findings = Vec::new();
    let ledger = match &facts.producers {
        ProducersFact::Missing => None,
        ProducersFact::Invalid(defect) => Some(*defect),
        // Of another incarnation, or nobody knows of which.
        ProducersFact::Valid(file) if Some(file.owner()) == facts.owner => None,
        ProducersFact::Valid(_) => Some(Defect::UnknownFile),
    };
    let place = Place::file(names::PRODUCERS);
    findings.extend(ledger.map(|defect| finding(place, 0..0, defect)));
    read_salvage(dir, options, |item| {
        if let Salvaged::Gap(gap) = item {
            findings.push(gap);
        }
    })?;
    let lost = merge(findings.iter().map(|finding| finding.seqs.clone()));
    Ok((findings, lost))
}

/// The segments that would be written anew.
pub(super) fn sources(facts: &Facts) -> Vec<SegmentId> {
    let all = facts.unnamed.iter();
    let begun = all.filter(|fact| fact.header != HeaderFact::Blank || fact.holds_frames);
    dedup(begun.map(|fact| fact.id).collect())
}

pub(super) fn run(dir: &Dir, options: &Options, facts: &Facts) -> Result<Vec<CutBytes>> {
    let headers = facts.unnamed.iter().map(|fact| &fact.header);
    let mut logs: Vec<LogId> = headers
        .filter_map(|header| match header {
            HeaderFact::Valid(header) => Some(header.log_id),
            HeaderFact::Blank | HeaderFact::Invalid(_) => None,
        })
        .collect();
    logs.dedup();
    let &[log_id] = logs.as_slice() else {
        let note = "its segments do not say of which log they are; salvage into a new one";
        let place = Place::file(names::MANIFEST);
        return Err(Error::note(ErrorKind::Damaged, Op::Repair, note).at(place));
    };
    let kept = keep_originals(dir, facts)?;
    let ids = facts.unnamed.iter().map(|fact| fact.id.0);
    let next_id = SegmentId(ids.max().unwrap_or(0).saturating_add(1));
    // Cursors and the ledger go on as they are, if anything says whose they are.
    let owner = facts.owner.unwrap_or_else(|| Owner {
        log_id,
        incarnation: new_incarnation(dir),
    });
    let ledger = match facts.producers.owner() == Some(owner) {
        true => facts.ledger(SegmentId(u64::MAX)),
        false => Ledger::default(),
    };
    let mut copies = Copies::new(dir, options, owner, next_id, ledger);
    let mut outcome = Ok(());
    let used_seq = read_salvage(dir, options, |item| {
        match item {
            _ if outcome.is_err() => {}
            Salvaged::Record(record) => outcome = copies.add(&record),
            // It is there, and would be left out for want of a key or a codec.
            Salvaged::Gap(gap) if gap.kind == FindingKind::Unsupported => {
                outcome = Err(Error::defect(Op::Repair, gap.place, gap.defect));
            }
            Salvaged::Gap(_) => {}
        }
    })?;
    outcome?;
    let as_new = New {
        dir,
        owner,
        generation: facts.watermark.generation(),
        op: Op::Repair,
        sealed: options.keys.seals(),
        // They were nowhere else.
        marks: Vec::new(),
    };
    as_new.commit(copies, used_seq)?;
    for fact in &facts.unnamed {
        // Kept in quarantine, named by no manifest: what cannot be removed is an orphan.
        dir.remove_if_there(&names::segment(fact.id)).ok();
    }
    Ok(kept)
}

/// Every byte of every segment, and of a manifest that does not verify, durably, before anything changes.
fn keep_originals(dir: &Dir, facts: &Facts) -> Result<Vec<CutBytes>> {
    let mut ranges = Vec::new();
    for id in sources(facts) {
        let at = |error| Error::io(Op::Repair, error).at(Place::in_segment(id, 0));
        let file = dir.open(&names::segment(id), Access::Read).map_err(at)?;
        let file_end = file.len().map_err(at)?;
        let end = nonzero_end(&mut Window::new(&Source::File(file)), 0, file_end)
            .map_err(|fault| fault.into_error(Op::Repair, id))?;
        ranges.push((id, 0, end));
    }
    if facts.manifest != recover::ManifestFact::Missing {
        recover::keep_file(dir, names::MANIFEST)?;
    }
    recover::keep(dir, &ranges)
}
