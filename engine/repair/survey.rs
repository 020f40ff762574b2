//! What there is to be salvaged: the segments to read, how far each goes, and what is missing as a whole.
//!
//! Everything that says how far the log was durable is asked, so that what is gone with a whole file, or
//! with the end of one, is told like what is gone from its middle. An error of the device is an error.
//!
//! Called by salvage.

use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{
        Footer, Manifest, SegmentContext, SegmentHeader,
        footer::FOOTER_BYTES,
        header::{HEADER_BYTES, Origin},
        manifest::SealedEntry,
        names,
    },
    options::{FarSource, Options},
    recover::{self, Facts, HeaderFact, ManifestFact, UnsealedFact},
    seal::KeyRing,
    segment::{
        Beyond, Fault, Found, Identity, Range, Source, Window, mend_header, open_damaged,
        open_damaged_sealed, witness,
    },
    types::{LogId, SegmentId, Seq},
    verify::{Finding, FindingKind},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::{io, sync::Arc};

/// What a salvaging read goes through.
pub(super) struct Survey {
    /// In the order of their seqs; of two with the same base the newer first.
    pub(super) parts: Vec<Part>,
    /// What is wrong with files as a whole.
    pub(super) findings: Vec<Finding>,
    /// Records below were dropped.
    pub(super) head_seq: Seq,
    /// Above all seqs that may have been given, as far as anything says.
    pub(super) used_seq: Seq,
}

/// A segment to be read.
pub(super) struct Part {
    pub(super) id: SegmentId,
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) context: SegmentContext,
    pub(super) range: Range,
    /// Whether its batches may be packed.
    pub(super) packed: bool,
    /// What its sealed records are opened with.
    pub(super) keys: KeyRing,
    /// Without a manifest: the seq after the records of the segment before it.
    follows_seq: Option<Seq>,
}

impl Part {
    /// What is missing before it, if the records so far end here.
    pub(super) fn missing_before(&self, next_seq: Seq) -> Option<Finding> {
        let follows_seq = self.follows_seq.filter(|seq| *seq > next_seq)?;
        Some(finding(
            Place::in_segment(self.id, 0),
            next_seq..follows_seq,
            Defect::MissingFile,
        ))
    }
}

pub(super) fn finding(place: Place, seqs: std::ops::Range<Seq>, defect: Defect) -> Finding {
    Finding {
        kind: FindingKind::of(defect),
        place,
        end_offset: None,
        seqs,
        defect,
    }
}

fn io_at(id: SegmentId) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::io(Op::Salvage, error).at(Place::in_segment(id, 0))
}

pub(super) fn survey(dir: &Dir, options: &Options) -> Result<Survey> {
    let mut survey = survey_files(dir, &options.far)?;
    for part in &mut survey.parts {
        part.keys = options.keys.clone();
    }
    Ok(survey)
}

fn survey_files(dir: &Dir, far: &FarSource) -> Result<Survey> {
    let facts = recover::look(dir, Op::Salvage)?;
    let defect = match &facts.manifest {
        ManifestFact::Valid(manifest) => {
            return Named {
                dir,
                facts: &facts,
                manifest,
                far,
            }
            .survey();
        }
        ManifestFact::Missing => Defect::MissingFile,
        ManifestFact::Invalid(defect) => *defect,
    };
    let mut found = unnamed(dir, &facts)?;
    let place = Place::file(names::MANIFEST);
    found.findings.insert(0, finding(place, 0..0, defect));
    Ok(found)
}

/// A log with a manifest.
struct Named<'a> {
    dir: &'a Dir,
    facts: &'a Facts,
    manifest: &'a Manifest,
    far: &'a FarSource,
}

impl Named<'_> {
    fn survey(&self) -> Result<Survey> {
        let attested_seq = recover::attested(self.facts, self.manifest);
        let given_seq = attested_seq.max(self.facts.unnamed_seq(self.manifest));
        let newer = recover::newer_segments(self.facts, self.manifest);
        let newer = newer.into_iter().map(|damage| {
            let seqs = damage.first_seq..damage.next_seq;
            finding(damage.place, seqs, damage.defect)
        });
        let mut survey = Survey {
            parts: Vec::new(),
            findings: newer.collect(),
            head_seq: self.manifest.head_seq,
            used_seq: given_seq.max(self.manifest.tail.base_seq),
        };
        for entry in &self.manifest.sealed {
            let range = Range {
                offset: HEADER_BYTES as u64,
                frames_end: entry.frames_end,
                first_seq: entry.base_seq,
                next_seq: entry.next_seq,
                ..Range::known()
            };
            self.add_sealed(&mut survey, entry, range)?;
        }
        for fact in self.facts.tail.iter().chain(&self.facts.spare) {
            self.add_unsealed(&mut survey, fact, attested_seq)?;
        }
        Ok(survey)
    }

    fn add_unsealed(
        &self,
        survey: &mut Survey,
        fact: &UnsealedFact,
        attested_seq: Seq,
    ) -> Result<()> {
        let scanned = fact
            .scan
            .as_ref()
            .map_or((0, 0), |scan| (scan.summary.end, scan.summary.next_seq));
        let used = fact.witness.next_seq.max(scanned.1);
        survey.used_seq = survey.used_seq.max(used);
        let is_tail = fact.id == self.manifest.tail.id;
        let base_seq = match &fact.header {
            HeaderFact::Valid(header) => header.base_seq,
            _ if is_tail => self.manifest.tail.base_seq,
            HeaderFact::Blank if fact.witness.nonzero_end == 0 => return Ok(()),
            // Where it was begun nobody says any more: at most behind what the tail has.
            _ => survey.parts.last().map_or(0, |part| part.range.first_seq),
        };
        let range = Range {
            offset: HEADER_BYTES as u64,
            frames_end: fact.witness.frames_end().max(scanned.0),
            first_seq: base_seq,
            next_seq: self.facts.ends_below(fact.id, attested_seq),
            dense: true,
            durable_seq: attested_seq,
            times_lost: false,
        };
        self.add(survey, fact.id, fact.salt, range)
    }

    fn add_sealed(&self, survey: &mut Survey, entry: &SealedEntry, range: Range) -> Result<()> {
        let found = open_damaged_sealed(self.dir, self.manifest.log_id, entry, self.far);
        let missing = match (entry.far, self.far) {
            (false, _) => Defect::MissingFile,
            (true, None) => Defect::Far,
            (true, Some(_)) => Defect::MissingFar,
        };
        take(survey, entry.id, found, (range, missing))
    }

    fn add(&self, survey: &mut Survey, id: SegmentId, salt: u64, range: Range) -> Result<()> {
        let identity = Identity {
            log_id: self.manifest.log_id,
            id: id.0,
            salt,
            base_seq: range.first_seq,
        };
        let found = open_damaged(self.dir, identity);
        take(survey, id, found, (range, Defect::MissingFile))
    }
}

/// Takes a segment in, as it was found, or tells how it is missing.
fn take(
    survey: &mut Survey,
    id: SegmentId,
    found: io::Result<Option<Found>>,
    (range, missing): (Range, Defect),
) -> Result<()> {
    let Some(found) = found.map_err(io_at(id))? else {
        let lost = range.first_seq..range.next_seq.max(range.first_seq);
        let place = Place::in_segment(id, 0);
        survey.findings.push(finding(place, lost, missing));
        return Ok(());
    };
    if let Some(defect) = found.defect {
        let none = range.first_seq..range.first_seq;
        survey
            .findings
            .push(finding(Place::in_segment(id, 0), none, defect));
    }
    if found.times_lost {
        let defect = Defect::Malformed("segment header: the times of its records are lost, and 0");
        let none = range.first_seq..range.first_seq;
        survey
            .findings
            .push(finding(Place::in_segment(id, 0), none, defect));
    }
    survey.parts.push(part(id, found, range)?);
    Ok(())
}

/// What is to be read of a segment that was opened. Where one that no manifest calls sealed has a footer,
/// its frames end there.
fn part(id: SegmentId, found: Found, range: Range) -> Result<Part> {
    let mut range = Range {
        dense: range.dense || found.dense,
        times_lost: found.times_lost,
        ..range
    };
    if range.durable_seq != Seq::MAX {
        let mut window = Window::new(&Source::File(found.file.clone()));
        let footer = footer(&mut window, &found.context, range.frames_end);
        if let Some(footer) = footer.map_err(|fault| fault.into_error(Op::Salvage, id))? {
            range.frames_end = footer.frames_end;
            range.next_seq = footer.next_seq;
            range.durable_seq = Seq::MAX;
            // Compaction leaves gaps.
            range.dense = found.dense;
        }
    }
    Ok(Part {
        id,
        file: found.file,
        context: found.context,
        range,
        packed: found.packed,
        keys: KeyRing::default(),
        follows_seq: None,
    })
}

/// The first footer that verifies.
fn footer(
    window: &mut Window,
    context: &SegmentContext,
    end: u64,
) -> std::result::Result<Option<Footer>, Fault> {
    let mut offset = HEADER_BYTES as u64;
    while offset + FOOTER_BYTES as u64 <= end {
        let bytes = window
            .get(offset, FOOTER_BYTES as u64, end)
            .map_err(|error| Fault::Io { offset, error })?;
        let places = bytes.len() - (FOOTER_BYTES - 1).min(bytes.len());
        for (at, place) in bytes.windows(FOOTER_BYTES).enumerate() {
            let offset = offset + at as u64;
            if place.starts_with(b"CAIRNFTR")
                && let Ok(footer) = Footer::decode(place, context, offset)
            {
                return Ok(Some(footer));
            }
        }
        if places == 0 {
            break;
        }
        offset += places as u64;
    }
    Ok(None)
}

/// Every segment file there is.
fn unnamed(dir: &Dir, facts: &Facts) -> Result<Survey> {
    let mut survey = Survey {
        parts: Vec::new(),
        findings: Vec::new(),
        head_seq: 0,
        used_seq: 0,
    };
    let (mut attested_seq, mut logs): (Seq, Vec<LogId>) = (0, Vec::new());
    for fact in &facts.unnamed {
        let file = dir
            .open(&names::segment(fact.id), Access::Read)
            .map_err(io_at(fact.id))?;
        let mut head = [0; HEADER_BYTES];
        read_full_at(&*file, &mut head, 0).map_err(io_at(fact.id))?;
        let defect = match &fact.header {
            HeaderFact::Valid(_) => None,
            HeaderFact::Blank if !fact.holds_frames => continue,
            HeaderFact::Blank => Some(Defect::Zeroed),
            HeaderFact::Invalid(defect) => Some(*defect),
        };
        let is_its_own = |header: &SegmentHeader| header.id == fact.id;
        let Some(header) = mend_header(&head, is_its_own) else {
            let defect = defect.unwrap_or(Defect::Malformed("segment id"));
            survey
                .findings
                .push(finding(Place::in_segment(fact.id, 0), 0..0, defect));
            continue;
        };
        if let Some(defect) = defect {
            survey
                .findings
                .push(finding(Place::in_segment(fact.id, 0), 0..0, defect));
        }
        let part = of_file(fact.id, &header, file)?;
        attested_seq = attested_seq.max(header.durable_seq).max(part.1);
        survey.used_seq = survey.used_seq.max(part.2).max(header.base_seq);
        logs.push(header.log_id);
        survey.parts.push(part.0);
    }
    attested_seq = attested_seq.max(recover::told(facts));
    survey.used_seq = survey.used_seq.max(attested_seq);
    let by_seq = |part: &Part| (part.range.first_seq, std::cmp::Reverse(part.id));
    survey.parts.sort_by_key(by_seq);
    let count = survey.parts.len();
    for (at, part) in survey.parts.iter_mut().enumerate() {
        if part.range.durable_seq != Seq::MAX {
            part.range.durable_seq = attested_seq;
            // The last one should reach as far as anything says.
            part.range.next_seq = if at + 1 == count {
                attested_seq
            } else {
                part.range.first_seq
            };
        }
    }
    let end_seq = survey.parts.last().map(|part| part.range.next_seq);
    if let Some(end_seq) = end_seq.filter(|end| *end < attested_seq) {
        // It was finished: what came behind it was in files that are gone.
        let place = Place::default().with_seq(end_seq);
        let missing = finding(place, end_seq..attested_seq, Defect::MissingFile);
        survey.findings.push(missing);
    }
    Ok(survey)
}

/// A segment of which only its file is known; how far it says that the log was durable, and which seqs
/// it names.
fn of_file(
    id: SegmentId,
    header: &SegmentHeader,
    file: Arc<dyn VfsFile>,
) -> Result<(Part, Seq, Seq)> {
    let file_end = file.len().map_err(io_at(id))?;
    let context = header.context();
    let mut window = Window::new(&Source::File(file.clone()));
    let from = HEADER_BYTES as u64;
    let beyond = Beyond::of(header, header.base_seq);
    let seen = witness(&mut window, &context, from, file_end.max(from), beyond);
    let seen = seen.map_err(|fault| fault.into_error(Op::Salvage, id))?;
    let found = Found {
        file,
        context,
        dense: header.origin == Origin::Live,
        packed: header.packed,
        times_lost: false,
        defect: None,
    };
    let range = Range {
        offset: from,
        frames_end: seen.frames_end(),
        first_seq: header.base_seq,
        next_seq: header.base_seq,
        dense: true,
        durable_seq: 0,
        times_lost: false,
    };
    let mut part = part(id, found, range)?;
    part.follows_seq = header.predecessor.map(|before| before.next_seq);
    Ok((part, seen.durable_seq, seen.next_seq))
}
