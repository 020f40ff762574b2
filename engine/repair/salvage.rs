//! Reading past damage, by explicit choice: every record that verifies, and a gap for every range
//! that does not; and the same into a new log.

use super::{
    ahead::{Ahead, is_small},
    records,
    survey::{Part, Survey, survey},
    writer::{Copies, forget_ledger},
};
use crate::{
    append::Ledger,
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, Mark, Owner, RecordRef, SEALED_FEATURE},
    manifest::ManifestStore,
    options::Options,
    recover,
    segment::{Gap, Piece, Source, Window, new_incarnation, new_log_id},
    sync::in_order,
    types::{SegmentId, Seq},
    verify::{Finding, FindingKind, of_gap},
    vfs::Dir,
};

/// What a salvaging read meets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Salvaged<'a> {
    /// A record that verifies.
    Record(RecordRef<'a>),
    /// A range that does not.
    Gap(Finding),
}

/// What [`Options::salvage`] wrote and missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Records written into the new log.
    pub record_count: u64,
    /// Ranges that do not verify.
    pub gaps: Vec<Finding>,
    /// The number that the next append to the new log gets.
    pub next_seq: Seq,
}

/// Reads all segments in the order of their seqs, past whatever does not verify. Gives the seq above all
/// that may have been given to a record, whether anything is left of it or not.
///
/// With a manifest, the segments that it names; without one, every segment file there is: then a
/// record that two files hold is taken from the newer.
pub(crate) fn read_salvage(
    dir: &Dir,
    options: &Options,
    each: impl FnMut(Salvaged<'_>),
) -> Result<Seq> {
    read_surveyed(survey(dir, options)?, options.threads, each)
}

fn read_surveyed(
    survey: Survey,
    threads: usize,
    mut each: impl FnMut(Salvaged<'_>),
) -> Result<Seq> {
    survey
        .findings
        .into_iter()
        .for_each(|it| each(Salvaged::Gap(it)));
    let mut told = Telling {
        next_seq: survey.head_seq,
        used_seq: survey.used_seq,
        each,
    };
    for parts in survey.parts.chunks(threads.max(1)) {
        if parts.len() == 1 || !parts.iter().all(is_small) {
            for part in parts {
                told.begin(part);
                read(part, |piece| told.take(part, piece))?;
            }
            continue;
        }
        let mut of_parts = parts.iter();
        in_order(threads, parts, Ahead::of, |ahead| {
            let ahead = ahead?;
            if let Some(part) = of_parts.next() {
                told.begin(part);
                ahead.each(|piece| told.take(part, piece));
            }
            Result::Ok(())
        })?;
    }
    Ok(told.used_seq.max(told.next_seq))
}

/// Reads a segment, past what does not verify.
pub(super) fn read(part: &Part, each: impl FnMut(Piece<'_>)) -> Result<()> {
    let mut window = Window::new(&Source::File(part.file.clone()));
    records(
        &mut window,
        (&part.context, &part.keys),
        part.range,
        part.id,
        each,
    )
}

/// What has been told so far, and to whom.
struct Telling<F> {
    next_seq: Seq,
    used_seq: Seq,
    each: F,
}

impl<F: FnMut(Salvaged<'_>)> Telling<F> {
    fn begin(&mut self, part: &Part) {
        if let Some(missing) = part.missing_before(self.next_seq) {
            (self.each)(Salvaged::Gap(missing));
        }
    }

    fn take(&mut self, part: &Part, piece: Piece<'_>) {
        match piece {
            Piece::Record(_, record) if record.seq >= self.next_seq => {
                self.next_seq = record.seq + 1;
                (self.each)(Salvaged::Record(record));
            }
            Piece::Gap(gap) => {
                self.used_seq = self.used_seq.max(gap.next_seq);
                // What another file had was given already.
                let first_seq = gap.first_seq.max(self.next_seq);
                let left = Gap {
                    first_seq,
                    next_seq: gap.next_seq.max(first_seq),
                    ..gap
                };
                (self.each)(Salvaged::Gap(of_gap(part.id, &left)));
            }
            Piece::Packed(offset, batch, head, Some(defect)) => {
                self.take(part, Piece::Gap(Gap::unread(offset, batch, head, defect)));
            }
            Piece::Record(..) | Piece::Batch(..) | Piece::Packed(..) => {}
        }
    }
}

/// Writes what a salvaging read finds into a new log: see [`Options::salvage`].
pub(crate) fn salvage_into(from: &Dir, to: &Dir, options: &Options) -> Result<SalvageReport> {
    options.check()?;
    let (facts, plan) = recover::plan(from, options)?;
    recover::refuse_newer(&facts, Op::Salvage)?;
    if matches!(plan, recover::Plan::Create { .. }) {
        return Err(recover::not_found(Op::Salvage, from));
    }
    // What would be left out because only a newer program can read it is no loss to be told: that one has
    // to be used. Looked for before anything is written.
    let survey = survey(from, options)?;
    let newer = |it: &&Finding| it.kind == FindingKind::Unsupported;
    if let Some(newer) = survey.findings.iter().find(newer) {
        let place = newer.place.clone();
        return Err(Error::defect(Op::Salvage, place, newer.defect));
    }
    let at = |error| Error::io(Op::Salvage, error).at(Place::file(to.path()));
    to.create().map_err(at)?;
    if !to.list().map_err(at)?.is_empty() {
        let note = "the directory for the new log is not empty";
        return Err(
            Error::note(ErrorKind::InvalidInput, Op::Salvage, note).at(Place::file(to.path()))
        );
    }
    let owner = Owner {
        log_id: new_log_id(to),
        incarnation: new_incarnation(to),
    };
    let mut copies = Copies::new(to, options, owner, SegmentId(1), Ledger::default());
    let mut report = SalvageReport {
        record_count: 0,
        gaps: Vec::new(),
        next_seq: 0,
    };
    let marks = facts
        .valid_manifest()
        .map(|manifest| manifest.marks.clone());
    let marks = marks.unwrap_or_default();
    let mut outcome = Ok(());
    let used_seq = read_surveyed(survey, options.threads, |item| match item {
        Salvaged::Gap(gap) if gap.kind == FindingKind::Unsupported && outcome.is_ok() => {
            outcome = Err(Error::defect(Op::Salvage, gap.place, gap.defect));
        }
        Salvaged::Record(record) if outcome.is_ok() => {
            outcome = copies.add(&record);
            report.record_count += 1;
        }
        Salvaged::Record(_) => {}
        Salvaged::Gap(gap) => report.gaps.push(gap),
    })?;
    outcome?;
    report.next_seq = used_seq;
    let as_new = New {
        dir: to,
        owner,
        generation: 0,
        op: Op::Salvage,
        sealed: options.keys.seals(),
        marks,
    };
    as_new.commit(copies, report.next_seq)?;
    Ok(report)
}

/// A log whose manifest is its first, or takes the place of one that is lost.
pub(super) struct New<'a> {
    pub(super) dir: &'a Dir,
    pub(super) owner: Owner,
    /// Readers may know of manifests up to this one.
    pub(super) generation: u64,
    pub(super) op: Op,
    /// Whether what was copied was sealed.
    pub(super) sealed: bool,
    /// What its marks are set to.
    pub(super) marks: Vec<Mark>,
}

impl New<'_> {
    /// Makes what was copied the log.
    pub(super) fn commit(self, mut copies: Copies<'_>, next_seq: Seq) -> Result<()> {
        let sealed = copies.finish_segment()?;
        let head_seq = sealed.first().map_or(next_seq, |first| first.base_seq);
        let (tail, spare, next_segment_id) = copies.end(next_seq)?;
        let ledger = copies.ledger(next_seq, tail.tail.id);
        let first = Manifest {
            log_id: self.owner.log_id,
            incarnation: self.owner.incarnation,
            write_features: if self.sealed { SEALED_FEATURE } else { 0 },
            generation: self.generation,
            created_ms: self.dir.vfs().unix_time_ms(),
            head_seq,
            next_segment_id,
            durable_seq: next_seq,
            durable_end: tail.summary.end,
            clean: true,
            has_ledger: ledger.is_some(),
            sealed,
            tail: tail.tail.entry(),
            spare: None,
            marks: self.marks,
        };
        let store = ManifestStore::new(self.dir.clone(), first);
        // DURABILITY: after this commit the log is what was copied.
        store.commit_with(self.op, ledger.as_deref(), |manifest| {
            manifest.spare = Some(spare.entry());
        })?;
        match ledger {
            Some(_) => Ok(()),
            None => forget_ledger(self.dir, self.op),
        }
    }
}
