//! The journeys past damage, each by explicit choice: repair in place, and salvage into a new log.
//!
//! INVARIANTS: what is cut is first kept in `quarantine/`, durably; the repaired set of segments
//! becomes true with one manifest commit; every record that still verifies is kept, and every seq
//! that is lost is named. A dry run writes nothing.
//!
//! Called by `Log`; calls verify, recover, segment, manifest.

mod salvage;
mod writer;

pub use salvage::{SalvageReport, Salvaged};
pub(crate) use salvage::{read_salvage, salvage_into};

use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        Manifest,
        header::HEADER_BYTES,
        manifest::{SealedEntry, SpareEntry, TailEntry},
        names,
    },
    manifest::ManifestStore,
    options::Options,
    recover::{self, CutBytes, Facts, HeaderFact, ManifestFact, UnsealedFact},
    segment::{Piece, Range as FrameRange, Sealed, Source, Window, salvage as walk},
    types::{SegmentId, Seq},
    verify::{self, Finding, FindingKind},
    vfs::{Access, Dir},
};
use std::ops::Range;
use writer::Copies;

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

    /// Whether records that were durable and do not verify any more may be given up. Default: no.
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
}

/// Repairs a log: see [`Options::repair`].
pub(crate) fn repair(dir: &Dir, options: &Options, how: RepairOptions) -> Result<RepairReport> {
    options.check()?;
    let _lock = recover::lock(dir, options.lock_timeout)?;
    let found = verify::verify(dir, options, |_| {})?;
    let damage = |finding: &&Finding| finding.kind == FindingKind::Damage;
    let lost = merge(
        found
            .findings
            .iter()
            .filter(damage)
            .map(|finding| finding.seqs.clone()),
    );
    let rewritten = found
        .findings
        .iter()
        .filter(damage)
        .filter_map(|found| found.place.segment);
    let mut report = RepairReport {
        applied: false,
        lost,
        kept: Vec::new(),
        rewritten: dedup(rewritten.collect()),
        findings: found.findings,
    };
    let Some(worst) = report.findings.iter().find(damage) else {
        // Nothing but a torn tail, at most: that is what opening is for.
        if how.apply && !report.findings.is_empty() {
            drop(_lock);
            report.kept = reopen(dir, options)?;
            report.applied = true;
        }
        return Ok(report);
    };
    if !how.apply {
        return Ok(report);
    }
    if !how.accept_loss {
        let note = "records would be lost, which has to be accepted";
        return Err(Error::note(ErrorKind::Damaged, Op::Repair, note).at(worst.place.clone()));
    }
    let facts = recover::look(dir, Op::Repair)?;
    let ManifestFact::Valid(manifest) = &facts.manifest else {
        let note =
            "without a manifest nothing says which segments are the log; salvage into a new one";
        return Err(
            Error::note(ErrorKind::Damaged, Op::Repair, note).at(Place::file(names::MANIFEST))
        );
    };
    let damaged = report.rewritten.clone();
    report.kept = Repair {
        dir,
        options,
        facts: &facts,
        manifest,
        damaged,
    }
    .run()?;
    report.applied = true;
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

struct Repair<'a> {
    dir: &'a Dir,
    options: &'a Options,
    facts: &'a Facts,
    manifest: &'a Manifest,
    damaged: Vec<SegmentId>,
}

impl Repair<'_> {
    fn run(self) -> Result<Vec<CutBytes>> {
        let unsealed: Vec<&UnsealedFact> =
            self.facts.tail.iter().chain(&self.facts.spare).collect();
        let kept = self.keep_originals(&unsealed)?;
        let mut copies = Copies::new(
            self.dir,
            self.options,
            self.manifest.log_id,
            self.first_free_id(),
        );
        let mut sealed: Vec<SealedEntry> = Vec::new();
        for entry in &self.manifest.sealed {
            if self.damaged.contains(&entry.id) {
                self.copy_sealed(entry, &mut copies)?;
                sealed.append(&mut copies.finish_segment()?);
            } else {
                sealed.push(*entry);
            }
        }
        // The unsealed end is written anew as a whole: nothing is appended behind old bytes.
        let mut end_seq = self.manifest.durable_seq.max(self.manifest.tail.base_seq);
        for fact in &unsealed {
            end_seq = end_seq.max(self.copy_unsealed(fact, &mut copies)?);
        }
        sealed.append(&mut copies.finish_segment()?);
        end_seq = sealed
            .last()
            .map_or(end_seq, |last| end_seq.max(last.next_seq));
        self.commit(copies, sealed, end_seq)?;
        for id in self
            .damaged
            .iter()
            .copied()
            .chain(unsealed.iter().map(|fact| fact.id))
        {
            // Kept in quarantine, named by no manifest: what cannot be removed is an orphan.
            self.dir.remove_if_there(&names::segment(id)).ok();
        }
        Ok(kept)
    }

    /// No file of this id or above is there, named or not.
    fn first_free_id(&self) -> SegmentId {
        let unnamed = self.facts.unnamed.iter().map(|fact| fact.id.0 + 1);
        SegmentId(unnamed.fold(self.manifest.next_segment_id.0, u64::max))
    }

    /// Every byte of every file that will go, durably, before anything changes.
    fn keep_originals(&self, unsealed: &[&UnsealedFact]) -> Result<Vec<CutBytes>> {
        let ids = self
            .damaged
            .iter()
            .copied()
            .chain(unsealed.iter().map(|fact| fact.id));
        let newer = self.facts.unnamed.iter().map(|fact| fact.id);
        let newer = newer.filter(|id| *id >= self.manifest.next_segment_id);
        let mut ranges = Vec::new();
        for id in dedup(ids.chain(newer).collect()) {
            // A missing file has nothing to keep.
            if let Ok(file) = self.dir.open(&names::segment(id), Access::Read) {
                let end = file
                    .len()
                    .map_err(|error| Error::io(Op::Repair, error).at(Place::in_segment(id, 0)))?;
                ranges.push((id, 0, end));
            }
        }
        recover::keep(self.dir, &ranges)
    }

    fn copy_sealed(&self, entry: &SealedEntry, copies: &mut Copies<'_>) -> Result<()> {
        let sealed = Sealed::new(*entry, self.manifest.log_id, self.dir.clone(), false);
        let Ok(loaded) = verify::load(&sealed, Op::Repair)? else {
            return Ok(());
        };
        let range = verify::frames_of(&sealed, loaded.origin);
        let mut window = Window::new(loaded.view.source.clone());
        copies.take(&mut window, &loaded.view.context, range, entry.id, |_| {})
    }

    /// Copies what verifies of an unsealed segment; gives the seq after all that it held.
    fn copy_unsealed(&self, fact: &UnsealedFact, copies: &mut Copies<'_>) -> Result<Seq> {
        let HeaderFact::Valid(header) = &fact.header else {
            return Ok(0);
        };
        let io = |error| Error::io(Op::Repair, error).at(Place::in_segment(fact.id, 0));
        let file = self
            .dir
            .open(&names::segment(fact.id), Access::Read)
            .map_err(io)?;
        let scanned = fact.scan.as_ref().map_or(0, |scan| scan.summary.end);
        let range = FrameRange {
            offset: HEADER_BYTES as u64,
            frames_end: fact.witness.nonzero_end.max(scanned),
            first_seq: header.base_seq,
            next_seq: header.base_seq,
            dense: true,
        };
        let mut window = Window::new(Source::File(file));
        let mut end_seq = header.base_seq;
        copies.take(&mut window, &header.context(), range, fact.id, |seq| {
            end_seq = seq + 1
        })?;
        Ok(end_seq.max(fact.witness.durable_seq))
    }

    fn commit(&self, mut copies: Copies<'_>, sealed: Vec<SealedEntry>, end_seq: Seq) -> Result<()> {
        let (tail, spare, next_id) = copies.end(end_seq)?;
        let store = ManifestStore::new(self.dir.clone(), self.manifest.clone(), self.facts.reserve);
        // DURABILITY: after this commit the repaired log is in force.
        store.commit(Op::Repair, |manifest| {
            manifest.sealed = sealed;
            let context = tail.tail.context;
            manifest.tail = TailEntry {
                id: tail.tail.id,
                salt: context.salt,
                base_seq: end_seq,
            };
            manifest.spare = Some(SpareEntry {
                id: spare.id,
                salt: spare.salt,
            });
            manifest.next_segment_id = next_id;
            manifest.durable_seq = end_seq;
            manifest.durable_end = tail.summary.end;
            manifest.clean = true;
        })
    }
}

/// Walks a range and feeds the records that verify to `each`.
fn records(
    window: &mut Window,
    context: &crate::format::SegmentContext,
    range: FrameRange,
    id: SegmentId,
    each: impl FnMut(Piece<'_>),
) -> Result<()> {
    walk(window, context, range, each).map_err(|fault| fault.into_error(Op::Repair, id))
}
