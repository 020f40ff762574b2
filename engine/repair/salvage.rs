//! Reading past damage, by explicit choice: every record that verifies, and a gap for every range
//! that does not; and the same into a new log.

use super::{records, writer::Copies};
use crate::{
    append::Ledger,
    error::{Defect, Error, ErrorKind, Op, Place, Result},
    format::{
        Manifest, RecordRef, SegmentHeader,
        header::{HEADER_BYTES, Origin},
        manifest::SpareEntry,
        names,
    },
    manifest::ManifestStore,
    options::Options,
    recover::{self, Facts, ManifestFact},
    segment::{Piece, Range, Source, Window, new_log_id, nonzero_end},
    types::{LogId, SegmentId, Seq},
    verify::{Finding, FindingKind, of_gap},
    vfs::{Access, Dir, read_full_at},
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

/// A segment to be read, and what is known of it.
struct Candidate {
    id: SegmentId,
    header: SegmentHeader,
    /// From the manifest, if it names the segment as sealed.
    sealed: Option<(u64, Seq)>,
}

/// Reads all segments in the order of their seqs, past whatever does not verify.
///
/// With a manifest, the segments that it names; without one, every segment file there is: then a
/// record that two files hold is taken from the newer.
pub(crate) fn read_salvage(dir: &Dir, mut each: impl FnMut(Salvaged<'_>)) -> Result<()> {
    let manifest = dir
        .read(names::MANIFEST, Manifest::stated_bytes)
        .ok()
        .and_then(|bytes| Manifest::decode(&bytes).ok());
    let mut next_seq = 0;
    for candidate in candidates(dir, manifest.as_ref(), &mut each)? {
        let head_seq = manifest.as_ref().map_or(0, |manifest| manifest.head_seq);
        read_segment(dir, &candidate, &mut |item| match item {
            Salvaged::Record(record) => {
                if record.seq >= next_seq.max(head_seq) {
                    next_seq = record.seq + 1;
                    each(Salvaged::Record(record));
                }
            }
            Salvaged::Gap(gap) => each(Salvaged::Gap(gap)),
        })?;
    }
    Ok(())
}

fn candidates(
    dir: &Dir,
    manifest: Option<&Manifest>,
    each: &mut impl FnMut(Salvaged<'_>),
) -> Result<Vec<Candidate>> {
    let listed = dir
        .list()
        .map_err(|error| Error::io(Op::Salvage, error).at(Place::file(dir.path())))?;
    let present: Vec<SegmentId> = listed
        .iter()
        .filter_map(|entry| names::parse_segment(&entry.name))
        .collect();
    let named = |id: &SegmentId| {
        manifest.is_none_or(|manifest| {
            manifest.sealed.iter().any(|entry| entry.id == *id)
                || manifest.tail.id == *id
                || manifest.spare.is_some_and(|spare| spare.id == *id)
        })
    };
    let gap = |id, seqs, defect| {
        Salvaged::Gap(Finding {
            kind: FindingKind::of(defect),
            place: Place::in_segment(id, 0),
            end_offset: None,
            seqs,
            defect,
        })
    };
    if let Some(manifest) = manifest {
        for entry in manifest
            .sealed
            .iter()
            .filter(|entry| !present.contains(&entry.id))
        {
            each(gap(
                entry.id,
                entry.base_seq..entry.next_seq,
                Defect::MissingFile,
            ));
        }
    }
    let mut found = Vec::new();
    for id in present.into_iter().filter(named) {
        let entry =
            manifest.and_then(|manifest| manifest.sealed.iter().find(|entry| entry.id == id));
        match read_header(dir, id)? {
            Ok(header) => {
                let sealed = entry.map(|entry| (entry.frames_end, entry.next_seq));
                found.push(Candidate { id, header, sealed });
            }
            Err(Defect::Zeroed) if entry.is_none() => {}
            Err(defect) => {
                each(gap(
                    id,
                    entry.map_or(0..0, |entry| entry.base_seq..entry.next_seq),
                    defect,
                ));
            }
        }
    }
    // Of two files with the same base the newer, with the higher id, goes first.
    found.sort_by_key(|candidate| (candidate.header.base_seq, std::cmp::Reverse(candidate.id)));
    Ok(found)
}

fn read_header(dir: &Dir, id: SegmentId) -> Result<std::result::Result<SegmentHeader, Defect>> {
    let io = |error| Error::io(Op::Salvage, error).at(Place::in_segment(id, 0));
    let file = dir.open(&names::segment(id), Access::Read).map_err(io)?;
    let mut head = [0; HEADER_BYTES];
    let read = read_full_at(&*file, &mut head, 0).map_err(io)?;
    let head = head.get(..read).unwrap_or_default();
    Ok(SegmentHeader::decode(head).map_err(|defect| {
        if head.iter().all(|byte| *byte == 0) {
            Defect::Zeroed
        } else {
            defect
        }
    }))
}

fn read_segment(
    dir: &Dir,
    candidate: &Candidate,
    each: &mut impl FnMut(Salvaged<'_>),
) -> Result<()> {
    let Candidate { id, header, sealed } = candidate;
    let io = |error| Error::io(Op::Salvage, error).at(Place::in_segment(*id, 0));
    let file = dir.open(&names::segment(*id), Access::Read).map_err(io)?;
    let file_end = file.len().map_err(io)?;
    let mut window = Window::new(&Source::File(file));
    let written = nonzero_end(&mut window, HEADER_BYTES as u64, file_end)
        .map_err(|fault| fault.into_error(Op::Salvage, *id))?;
    let (frames_end, next_seq) = sealed.unwrap_or((written, header.base_seq));
    let range = Range {
        offset: HEADER_BYTES as u64,
        frames_end,
        first_seq: header.base_seq,
        next_seq,
        dense: header.origin == Origin::Live && sealed.is_some(),
    };
    records(
        &mut window,
        &header.context(),
        range,
        *id,
        |piece| match piece {
            Piece::Record(_, record) => each(Salvaged::Record(record)),
            Piece::Gap(gap) => each(Salvaged::Gap(of_gap(*id, &gap))),
            Piece::Batch(..) => {}
        },
    )
}

/// Writes what a salvaging read finds into a new log: see [`Options::salvage`].
pub(crate) fn salvage_into(from: &Dir, to: &Dir, options: &Options) -> Result<SalvageReport> {
    options.check()?;
    let (facts, plan) = recover::plan(from, options)?;
    refuse_newer(from, &facts)?;
    if matches!(plan, recover::Plan::Create { .. }) {
        return Err(recover::not_found(Op::Salvage, from));
    }
    let at = |error| Error::io(Op::Salvage, error).at(Place::file(to.path()));
    to.create().map_err(at)?;
    if !to.list().map_err(at)?.is_empty() {
        let note = "the directory for the new log is not empty";
        return Err(
            Error::note(ErrorKind::InvalidInput, Op::Salvage, note).at(Place::file(to.path()))
        );
    }
    let log_id = new_log_id(to);
    let mut copies = Copies::new(to, options, log_id, SegmentId(1), Ledger::default());
    let mut report = SalvageReport {
        record_count: 0,
        gaps: Vec::new(),
        next_seq: 0,
    };
    let mut outcome = Ok(());
    read_salvage(from, |item| match item {
        Salvaged::Gap(gap) if gap.kind == FindingKind::Unsupported && outcome.is_ok() => {
            outcome = Err(Error::defect(Op::Salvage, gap.place, gap.defect));
        }
        Salvaged::Record(record) if outcome.is_ok() => {
            outcome = copies.add(&record);
            report.record_count += 1;
            report.next_seq = record.seq + 1;
        }
        Salvaged::Record(_) => {}
        Salvaged::Gap(gap) => {
            report.next_seq = report.next_seq.max(gap.seqs.end);
            report.gaps.push(gap);
        }
    })?;
    outcome?;
    commit_new(to, log_id, copies, report.next_seq)?;
    Ok(report)
}

/// What would be left out because only a newer program can read it is no loss to be told: that one has
/// to be used. Looked for before anything is written.
fn refuse_newer(from: &Dir, facts: &Facts) -> Result<()> {
    recover::refuse_newer(facts, Op::Salvage)?;
    let ManifestFact::Valid(manifest) = &facts.manifest else {
        return Ok(());
    };
    for entry in &manifest.sealed {
        // What cannot be read is a gap, and told as such.
        if let Ok(Err(defect)) = read_header(from, entry.id)
            && defect.is_unsupported()
        {
            let place = Place::in_segment(entry.id, 0);
            return Err(Error::defect(Op::Salvage, place, defect));
        }
    }
    Ok(())
}

/// Makes what was copied a log.
fn commit_new(to: &Dir, log_id: LogId, mut copies: Copies<'_>, next_seq: Seq) -> Result<()> {
    let sealed = copies.finish_segment()?;
    let head_seq = sealed.first().map_or(next_seq, |first| first.base_seq);
    let (tail, spare, next_segment_id) = copies.end(next_seq)?;
    let ledger = copies.ledger(next_seq, tail.tail.id);
    let first = Manifest {
        log_id,
        generation: 0,
        created_ms: to.vfs().unix_time_ms(),
        head_seq,
        next_segment_id,
        durable_seq: next_seq,
        durable_end: tail.summary.end,
        clean: true,
        sealed,
        tail: tail.tail.entry(),
        spare: None,
    };
    let store = ManifestStore::new(to.clone(), first);
    // DURABILITY: after this commit the new log exists.
    store.commit_with(Op::Salvage, ledger.as_deref(), |manifest| {
        manifest.spare = Some(SpareEntry {
            id: spare.id,
            salt: spare.salt,
        });
    })
}
