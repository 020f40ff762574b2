//! The journeys of looking without touching: verify everything, tell what opening would do, and show
//! a segment frame by frame.
//!
//! INVARIANT: nothing here writes, and no lock is taken, so evidence stays as it is. While a writer is
//! alive its newest frames may look torn.
//!
//! Called by `Log` and repair; calls recover (to look and decide), segment.

mod inspect;
mod plan;
mod report;
mod sealed;

pub use inspect::Inspected;
pub(crate) use inspect::inspect;
pub use plan::RecoveryPlan;
pub(crate) use plan::plan;
pub use report::{Finding, FindingKind, Health, Progress, VerifyReport};

use crate::{
    error::{Op, Place, Result},
    format::{Manifest, SegmentHeader, header::HEADER_BYTES, manifest::SealedEntry},
    options::Options,
    recover::{self, Damage, Facts, HeaderFact, Plan, UnsealedFact},
    seal::KeyRing,
    segment::{Gap, Piece, Range as FrameRange, Scan, Source, Window, salvage},
    sync::in_order,
    types::{LogId, SegmentId, Seq},
    vfs::{Access, Dir},
};

/// Reads everything, and lists what does not verify.
pub(crate) fn verify(
    dir: &Dir,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<VerifyReport> {
    let (facts, plan) = recover::plan(dir, options)?;
    let mut report = begun(&plan);
    let Some(manifest) = facts.valid_manifest() else {
        if matches!(plan, Plan::Create { .. }) {
            return Err(recover::not_found(Op::Verify, dir));
        }
        return Ok(report);
    };
    report.head_seq = manifest.head_seq;
    // What is wrong with sealed segments is told below, more exactly than by their files' sizes.
    let sealed = |id| manifest.sealed.iter().any(|entry| Some(entry.id) == id);
    report
        .findings
        .retain(|finding| !sealed(finding.place.segment));
    // What lives elsewhere is looked at if it was said where.
    let is_here = |entry: &&SealedEntry| options.far.is_some() || !entry.far;
    let here: Vec<SealedEntry> = manifest.sealed.iter().filter(is_here).copied().collect();
    report.far_count = (manifest.sealed.len() - here.len()) as u64;
    report.next_seq = manifest.sealed.last().map_or(0, |entry| entry.next_seq);
    let sealed_bytes: u64 = here.iter().map(|entry| entry.frames_end).sum();
    let strays = recover::strays(&facts, manifest).into_iter();
    report.findings.extend(strays.map(|(id, defect)| Finding {
        kind: FindingKind::Stray,
        place: Place::in_segment(id, 0),
        end_offset: None,
        seqs: 0..0,
        defect,
    }));
    let unsealed = || facts.tail.iter().chain(&facts.spare);
    let unsealed_bytes: u64 = unsealed().map(used_bytes).sum();
    let total_bytes = sealed_bytes + unsealed_bytes;
    let mut before = None;
    let look = |entry: &SealedEntry| {
        (
            entry.frames_end,
            sealed::look(dir, manifest.log_id, entry, options),
        )
    };
    in_order(options.threads, &here, look, |(frames_end, looked)| {
        progress(Progress {
            done_bytes: report.byte_count,
            total_bytes,
        });
        let looked = looked?;
        report.segment_count += 1;
        report.byte_count += frames_end;
        report.record_count += looked.record_count;
        report.next_seq = report.next_seq.max(looked.next_seq);
        before = looked.follow(before, &mut report.findings);
        Ok(())
    })?;
    unsealed_segments(dir, &facts, &plan, (manifest, &options.keys), &mut report)?;
    progress(Progress {
        done_bytes: report.byte_count,
        total_bytes,
    });
    Ok(report)
}

/// The first of these sealed segments' defects that costs a record; no manifest has to name them.
pub(crate) fn first_harm(
    dir: &Dir,
    log_id: LogId,
    entries: &[SealedEntry],
    options: &Options,
) -> Result<Option<Finding>> {
    let (mut before, mut findings) = (None, Vec::new());
    let look = |entry: &SealedEntry| sealed::look(dir, log_id, entry, options);
    in_order(options.threads, entries, look, |looked| {
        before = looked?.follow(before, &mut findings);
        Ok(())
    })?;
    let is_harm = |finding: &Finding| finding.kind > FindingKind::Derived;
    Ok(findings.into_iter().find(is_harm))
}

/// A report of nothing but what opening would meet.
fn begun(plan: &Plan) -> VerifyReport {
    VerifyReport {
        findings: of_plan(plan),
        segment_count: 0,
        far_count: 0,
        record_count: 0,
        byte_count: 0,
        head_seq: 0,
        next_seq: 0,
    }
}

/// Looks at what opening looks at, and names the records of each place where it would refuse.
fn unsealed_segments(
    dir: &Dir,
    facts: &Facts,
    plan: &Plan,
    (manifest, keys): (&Manifest, &KeyRing),
    report: &mut VerifyReport,
) -> Result<()> {
    let attested_seq = recover::attested(facts, manifest);
    for fact in facts.tail.iter().chain(&facts.spare) {
        let until_seq = facts.ends_below(fact.id, attested_seq);
        // Behind what a newer program wrote nothing can be told apart.
        let refused = plan.refuses() && facts.newer.is_empty();
        unsealed_segment(dir, (fact, keys), until_seq, refused, report)?;
    }
    Ok(())
}

fn used_bytes(fact: &UnsealedFact) -> u64 {
    fact.scan
        .as_ref()
        .map_or(0, |scan| scan.summary.end)
        .max(fact.witness.nonzero_end)
}

fn of_plan(plan: &Plan) -> Vec<Finding> {
    let finding = |kind, damage: &Damage| Finding {
        kind,
        place: damage.place.clone(),
        end_offset: None,
        seqs: damage.first_seq..damage.next_seq,
        defect: damage.defect,
    };
    match plan {
        Plan::Refuse { damage } => damage
            .iter()
            .map(|damage| finding(FindingKind::of(damage.defect), damage))
            .collect(),
        Plan::Carry { carry, .. } => carry
            .torn
            .iter()
            .map(|torn| finding(FindingKind::Torn, torn))
            .collect(),
        Plan::Create { .. } | Plan::Resume { .. } => Vec::new(),
    }
}

pub(crate) fn of_gap(segment: SegmentId, gap: &Gap) -> Finding {
    Finding {
        kind: if gap.torn {
            FindingKind::Torn
        } else {
            FindingKind::of(gap.defect)
        },
        place: Place::in_segment(segment, gap.offset).with_seq(gap.first_seq),
        end_offset: Some(gap.end_offset),
        seqs: gap.first_seq..gap.next_seq,
        defect: gap.defect,
    }
}

/// Whether what verified of an unsealed segment opens as well: with keys what is sealed, and what is packed.
fn look_under_seal(
    dir: &Dir,
    fact: &UnsealedFact,
    (header, scan): (&SegmentHeader, &Scan),
    keys: &KeyRing,
    report: &mut VerifyReport,
) -> Result<()> {
    if !keys.seals() && !header.packed_appends {
        return Ok(());
    }
    let io = |error| crate::error::Error::io(Op::Verify, error).at(Place::in_segment(fact.id, 0));
    let file = dir.open(&crate::format::names::segment(fact.id), Access::Read);
    let range = FrameRange {
        offset: HEADER_BYTES as u64,
        frames_end: scan.summary.end,
        first_seq: header.base_seq,
        next_seq: scan.summary.next_seq,
        dense: true,
        ..FrameRange::known()
    };
    let mut window = Window::new(&Source::File(file.map_err(io)?));
    salvage(&mut window, (&header.context(), keys), range, |piece| {
        if let Piece::Gap(gap) = piece {
            report.findings.push(of_gap(fact.id, &gap));
        }
    })
    .map_err(|fault| fault.into_error(Op::Verify, fact.id))
}

fn unsealed_segment(
    dir: &Dir,
    (fact, keys): (&UnsealedFact, &KeyRing),
    until_seq: Seq,
    refused: bool,
    report: &mut VerifyReport,
) -> Result<()> {
    let (HeaderFact::Valid(header), Some(scan)) = (&fact.header, &fact.scan) else {
        return Ok(());
    };
    report.segment_count += 1;
    report.byte_count += used_bytes(fact);
    report.record_count += u64::from(scan.summary.tally.record_count);
    look_under_seal(dir, fact, (header, scan), keys, report)?;
    report.next_seq = scan.summary.next_seq;
    if !refused || fact.witness.nonzero_end <= scan.summary.end {
        return Ok(());
    }
    // Where opening refuses, the first place is known; this lists the others, and what is whole.
    let io = |error| crate::error::Error::io(Op::Verify, error).at(Place::in_segment(fact.id, 0));
    let file = dir
        .open(&crate::format::names::segment(fact.id), Access::Read)
        .map_err(io)?;
    let range = FrameRange {
        offset: scan.summary.end,
        frames_end: fact.witness.frames_end(),
        first_seq: scan.summary.next_seq,
        next_seq: until_seq,
        dense: true,
        durable_seq: until_seq,
        ..FrameRange::known()
    };
    let mut window = Window::new(&Source::File(file));
    let known: Vec<Option<u64>> = report
        .findings
        .iter()
        .map(|found| found.place.offset)
        .collect();
    // What is not sealed on the disk yet is counted by what stands in the clear.
    let how = (&header.context(), &KeyRing::default());
    salvage(&mut window, how, range, |piece| match piece {
        Piece::Record(_, record) => {
            report.record_count += 1;
            report.next_seq = record.seq + 1;
        }
        Piece::Gap(gap) => {
            let finding = of_gap(fact.id, &gap);
            match known
                .iter()
                .position(|offset| *offset == finding.place.offset)
            {
                Some(at) => report
                    .findings
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|known| {
                        known.place = finding.place.clone();
                        known.end_offset = finding.end_offset;
                        known.seqs = finding.seqs.clone();
                    }),
                None => report.findings.push(finding),
            }
        }
        Piece::Batch(..) | Piece::Packed(..) => {}
    })
    .map_err(|fault| fault.into_error(Op::Verify, fact.id))
}
