//! Look: gathers what is on disk. Never writes, never judges.

use super::newer::newer;
use crate::{
    append::Ledger,
    error::{Defect, Error, Op, Place, Result},
    format::{
        Manifest, ProducersFile, SegmentContext, SegmentHeader, check_log_id, header::HEADER_BYTES,
        names,
    },
    segment::{Fault, Limits, Scan, Source, Summary, Window, Witness, nonzero_end, scan, witness},
    types::{SegmentId, Seq},
    vfs::{Access, Dir, DirEntry, VfsFile, read_full_at},
};
use std::{collections::BTreeMap, io, sync::Arc};

/// The manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManifestFact {
    Missing,
    Valid(Box<Manifest>),
    Invalid(Defect),
}

/// The file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProducersFact {
    Missing,
    Valid(Box<ProducersFile>),
    Invalid(Defect),
}

/// The header region of an unsealed segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFact {
    /// Zeros or nothing: never begun.
    Blank,
    Valid(Box<SegmentHeader>),
    Invalid(Defect),
}

/// An unsealed segment that the manifest names: the tail, or the spare that may have become it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnsealedFact {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// `None` if the file is missing.
    pub(crate) file_bytes: Option<u64>,
    pub(crate) header: HeaderFact,
    /// The batches that verify, if the header does.
    pub(crate) scan: Option<Scan>,
    /// What lies behind them, or in the whole file if the header does not verify.
    pub(crate) witness: Witness,
}

/// A segment file that the manifest does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnnamedFact {
    pub(crate) id: SegmentId,
    pub(crate) header: HeaderFact,
    /// Whether anything but zeros lies behind the header.
    pub(crate) holds_frames: bool,
}

/// All facts about a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) manifest: ManifestFact,
    pub(crate) producers: ProducersFact,
    /// The sealed segments whose file is missing, or shorter than its frames.
    pub(crate) sealed_defects: Vec<(SegmentId, Seq, Seq, Defect)>,
    pub(crate) tail: Option<UnsealedFact>,
    pub(crate) spare: Option<UnsealedFact>,
    pub(crate) unnamed: Vec<UnnamedFact>,
    /// Files of an interrupted commit or backup.
    pub(crate) leftovers: Vec<&'static str>,
    /// What a newer program wrote and this one does not know: judged before all else.
    pub(crate) newer: Vec<(Place, Defect)>,
    pub(crate) reserve: bool,
    /// Whether readers were told of a watermark. What it says is of no account here.
    pub(crate) watermark: bool,
}

impl Facts {
    /// The id for the next new segment: above every file that is there, named or not, so that nothing is
    /// ever created over one. Files under ids that no writer comes to are nobody's.
    pub(crate) fn first_free_id(&self, manifest: &Manifest) -> SegmentId {
        let unnamed = self.unnamed.iter().map(|fact| fact.id);
        let near = unnamed.filter(|id| !is_far(*id, manifest));
        let next_id = near.map(|id| id.0 + 1);
        SegmentId(next_id.fold(manifest.next_segment_id.0, u64::max))
    }

    /// The ledger of producers as it is stored, in a log of which this segment is the tail.
    pub(crate) fn ledger(&self, tail_id: SegmentId) -> Ledger {
        match &self.producers {
            ProducersFact::Valid(file) => Ledger::of(file, tail_id),
            ProducersFact::Missing | ProducersFact::Invalid(_) => Ledger::default(),
        }
    }
}

/// How far above the next id a file may be and still be one that this log's writer began.
const ID_DISTANCE_MAX: u64 = 1 << 32;

/// Whether no writer of this manifest's log can have given out this id.
pub(crate) fn is_far(id: SegmentId, manifest: &Manifest) -> bool {
    id.0.saturating_sub(manifest.next_segment_id.0) >= ID_DISTANCE_MAX
}

/// Looks at a directory.
pub(crate) fn look(dir: &Dir, op: Op) -> Result<Facts> {
    let mut facts = gather(dir, op)?;
    facts.newer = newer(dir, &facts);
    Ok(facts)
}

fn gather(dir: &Dir, op: Op) -> Result<Facts> {
    let listed = list(dir, op)?;
    // The size of each segment file. There may be very many: their names are let go here.
    let mut segments = BTreeMap::new();
    let mut others = Vec::new();
    for entry in listed {
        match names::parse_segment(&entry.name).filter(|_| entry.is_file) {
            Some(id) => _ = segments.insert(id, entry.size_bytes),
            None => others.push(entry.name),
        }
    }
    let is_there = |name: &str| others.iter().any(|other| other == name);
    let manifest = manifest_fact(dir, op, is_there(names::MANIFEST))?;
    let listed = is_there(names::PRODUCERS);
    let mut facts = Facts {
        producers: producers_fact(dir, op, listed, &manifest)?,
        manifest,
        sealed_defects: Vec::new(),
        tail: None,
        spare: None,
        unnamed: Vec::new(),
        leftovers: [names::MANIFEST_NEW, names::PRODUCERS_NEW, names::BACKUP]
            .into_iter()
            .filter(|name| is_there(name))
            .collect(),
        newer: Vec::new(),
        reserve: is_there(names::RESERVE),
        watermark: is_there(names::WATERMARK),
    };
    let mut named = Vec::new();
    if let ManifestFact::Valid(manifest) = &facts.manifest {
        facts.sealed_defects = sealed_defects(manifest, &segments);
        named.extend(manifest.sealed.iter().map(|entry| entry.id));
        let tail = manifest.tail;
        let size = |id| segments.get(&id).copied();
        facts.tail = Some(unsealed(
            dir,
            op,
            tail.id,
            tail.salt,
            tail.base_seq,
            size(tail.id),
        )?);
        named.push(tail.id);
        if let Some(spare) = manifest.spare {
            let base_seq = next_seq(facts.tail.as_ref(), tail.base_seq);
            facts.spare = Some(unsealed(
                dir,
                op,
                spare.id,
                spare.salt,
                base_seq,
                size(spare.id),
            )?);
            named.push(spare.id);
        }
    }
    named.sort_unstable();
    for id in segments
        .keys()
        .filter(|id| named.binary_search(id).is_err())
    {
        facts.unnamed.extend(unnamed(dir, op, *id)?);
    }
    Ok(facts)
}

fn list(dir: &Dir, op: Op) -> Result<Vec<DirEntry>> {
    dir.list().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => super::not_found(op, dir),
        _ => Error::io(op, error).at(Place::file(dir.path())),
    })
}

fn next_seq(tail: Option<&UnsealedFact>, base_seq: Seq) -> Seq {
    let scan = tail.and_then(|tail| tail.scan.as_ref());
    scan.map_or(base_seq, |scan| scan.summary.next_seq)
}

fn manifest_fact(dir: &Dir, op: Op, listed: bool) -> Result<ManifestFact> {
    if !listed {
        return Ok(ManifestFact::Missing);
    }
    let bytes = dir
        .read(names::MANIFEST)
        .map_err(|error| Error::io(op, error).at(Place::file(names::MANIFEST)))?;
    Ok(match Manifest::decode(&bytes) {
        Ok(manifest) => ManifestFact::Valid(Box::new(manifest)),
        Err(defect) => ManifestFact::Invalid(defect),
    })
}

fn producers_fact(
    dir: &Dir,
    op: Op,
    listed: bool,
    manifest: &ManifestFact,
) -> Result<ProducersFact> {
    if !listed {
        return Ok(ProducersFact::Missing);
    }
    let bytes = dir
        .read(names::PRODUCERS)
        .map_err(|error| Error::io(op, error).at(Place::file(names::PRODUCERS)))?;
    let decoded = ProducersFile::decode(&bytes).and_then(|file| match manifest {
        ManifestFact::Valid(manifest) => {
            check_log_id(manifest.log_id, file.log_id)?;
            Ok(file)
        }
        _ => Ok(file),
    });
    Ok(match decoded {
        Ok(file) => ProducersFact::Valid(Box::new(file)),
        Err(defect) => ProducersFact::Invalid(defect),
    })
}

fn sealed_defects(
    manifest: &Manifest,
    segments: &BTreeMap<SegmentId, u64>,
) -> Vec<(SegmentId, Seq, Seq, Defect)> {
    let defect = |id: SegmentId, frames_end: u64| match segments.get(&id) {
        None => Some(Defect::MissingFile),
        Some(&size_bytes) if size_bytes < frames_end => Some(Defect::Truncated {
            needed_bytes: frames_end,
            available_bytes: size_bytes,
        }),
        Some(_) => None,
    };
    let of = |entry: &crate::format::manifest::SealedEntry| {
        let found = defect(entry.id, entry.frames_end)?;
        Some((entry.id, entry.base_seq, entry.next_seq, found))
    };
    manifest.sealed.iter().filter_map(of).collect()
}

/// Reads the header region of a segment file.
fn header_fact(file: &dyn VfsFile) -> io::Result<HeaderFact> {
    let mut head = [0; HEADER_BYTES];
    let read = read_full_at(file, &mut head, 0)?;
    let head = head.get(..read).unwrap_or_default();
    Ok(match SegmentHeader::decode(head) {
        Ok(header) => HeaderFact::Valid(Box::new(header)),
        Err(_) if head.iter().all(|byte| *byte == 0) => HeaderFact::Blank,
        Err(defect) => HeaderFact::Invalid(defect),
    })
}

fn unsealed(
    dir: &Dir,
    op: Op,
    id: SegmentId,
    salt: u64,
    base_seq: Seq,
    file_bytes: Option<u64>,
) -> Result<UnsealedFact> {
    let mut fact = UnsealedFact {
        id,
        salt,
        file_bytes,
        header: HeaderFact::Blank,
        scan: None,
        witness: Witness::default(),
    };
    let Some(file_end) = file_bytes else {
        return Ok(fact);
    };
    let io = |error| Error::io(op, error).at(Place::in_segment(id, 0));
    let fault = |fault: Fault| fault.into_error(op, id);
    let Some(file) = open(dir, op, id)? else {
        fact.file_bytes = None;
        return Ok(fact);
    };
    fact.header = header_fact(&*file).map_err(io)?;
    let mut window = Window::new(&Source::File(file));
    let (context, from) = match &fact.header {
        HeaderFact::Valid(header) => {
            let context = header.context();
            let summary = Summary::new(header.base_seq, &header.encode());
            let limits = Limits {
                file_end,
                until_seq: Seq::MAX,
            };
            let found = scan(&mut window, &context, summary, limits, |_| {}).map_err(fault)?;
            let end = found.summary.end;
            fact.scan = Some(found);
            (context, end)
        }
        // The salt is known from the manifest: frames can still be told from anything else.
        _ => (
            SegmentContext {
                salt,
                base_seq,
                base_timestamp_ms: 0,
            },
            0,
        ),
    };
    fact.witness = witness(&mut window, &context, from, file_end).map_err(fault)?;
    Ok(fact)
}

/// Opens a segment file that was listed; a writer that is alive may have removed it since.
fn open(dir: &Dir, op: Op, id: SegmentId) -> Result<Option<Arc<dyn VfsFile>>> {
    match dir.open(&names::segment(id), Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(op, error).at(Place::in_segment(id, 0))),
    }
}

fn unnamed(dir: &Dir, op: Op, id: SegmentId) -> Result<Option<UnnamedFact>> {
    let io = |error| Error::io(op, error).at(Place::in_segment(id, 0));
    let Some(file) = open(dir, op, id)? else {
        return Ok(None);
    };
    let file_end = file.len().map_err(io)?;
    let header = header_fact(&*file).map_err(io)?;
    let from = HEADER_BYTES as u64;
    let end = nonzero_end(
        &mut Window::new(&Source::File(file)),
        from,
        file_end.max(from),
    )
    .map_err(|fault| fault.into_error(op, id))?;
    Ok(Some(UnnamedFact {
        id,
        header,
        holds_frames: end > from,
    }))
}
