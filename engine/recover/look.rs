//! Look: gathers what is on disk. Never writes, never judges.

use super::{
    heard::{WatermarkFact, passed, watermark_fact},
    newer::newer,
};
use crate::{
    append::Ledger,
    error::{Defect, Error, Op, Place, Result},
    format::{
        Manifest, Owner, ProducersFile, SegmentContext, SegmentHeader, header::HEADER_BYTES, names,
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

impl ProducersFact {
    /// Whose it is.
    pub(crate) fn owner(&self) -> Option<Owner> {
        match self {
            Self::Valid(file) => Some(file.owner()),
            Self::Missing | Self::Invalid(_) => None,
        }
    }
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
    /// Of a copy that says where appends go on: the seq after the last that a batch in it names.
    pub(crate) names_seqs_below: Seq,
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
    pub(crate) watermark: WatermarkFact,
    /// The highest seq that a cursor says was durable: what it has passed, and as of when.
    pub(crate) cursors_seq: Seq,
}

impl Facts {
    /// The manifest, if there is one that verifies.
    pub(crate) fn valid_manifest(&self) -> Option<&Manifest> {
        match &self.manifest {
            ManifestFact::Valid(manifest) => Some(manifest),
            ManifestFact::Missing | ManifestFact::Invalid(_) => None,
        }
    }

    /// Below which seq the records of an unsealed segment lie, if all below this one were durable.
    pub(crate) fn ends_below(&self, fact: &UnsealedFact, durable_seq: Seq) -> Seq {
        match self.spare.as_ref().map(|spare| (spare.id, &spare.header)) {
            Some((id, HeaderFact::Valid(begun))) if id != fact.id => {
                durable_seq.min(begun.base_seq)
            }
            _ => durable_seq,
        }
    }

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

/// Looks at a directory. Whatever says how far the log was durable is read before the log: beside a
/// writer that is alive it is true of what is read later.
pub(crate) fn look(dir: &Dir, op: Op) -> Result<Facts> {
    let mut facts = gather(dir, op)?;
    facts.newer = newer(dir, op, &facts)?;
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
            // A directory or a pipe of this name is nobody's, and not read.
            None if entry.name == names::WATERMARK && !entry.is_file => {}
            None => others.push(entry.name),
        }
    }
    let is_there = |name: &str| others.iter().any(|other| other == name);
    let told = watermark_fact(dir, op, is_there(names::WATERMARK))?;
    let passed = passed(dir, op, is_there(names::CURSORS))?;
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
        watermark: told,
        cursors_seq: 0,
    };
    let mut named = Vec::new();
    if let ManifestFact::Valid(manifest) = &facts.manifest {
        facts.watermark = told.heard_by(manifest);
        facts.cursors_seq = passed.of(manifest.owner());
        facts.sealed_defects = sealed_defects(manifest, &segments);
        named.extend(manifest.sealed.iter().map(|entry| entry.id));
        let (tail, spare) = chain(dir, op, manifest, &segments)?;
        named.extend([tail.id].into_iter().chain(spare.as_ref().map(|it| it.id)));
        (facts.tail, facts.spare) = (Some(tail), spare);
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

/// The segments that are not sealed: the tail, and the spare if there is one.
fn chain(
    dir: &Dir,
    op: Op,
    manifest: &Manifest,
    segments: &BTreeMap<SegmentId, u64>,
) -> Result<(UnsealedFact, Option<UnsealedFact>)> {
    let size = |id| segments.get(&id).copied();
    let named = manifest.tail;
    let (id, base_seq) = (named.id, named.base_seq);
    let tail = unsealed(dir, op, id, named.salt, base_seq, size(id))?;
    let next_seq = (tail.scan.as_ref()).map_or(base_seq, |scan| scan.summary.next_seq);
    let spare = manifest
        .spare
        .map(|named| unsealed(dir, op, named.id, named.salt, next_seq, size(named.id)))
        .transpose()?;
    Ok((tail, spare))
}

fn list(dir: &Dir, op: Op) -> Result<Vec<DirEntry>> {
    dir.list().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => super::not_found(op, dir),
        _ => Error::io(op, error).at(Place::file(dir.path())),
    })
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
            manifest.owner().check(file.owner())?;
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
    let mut window = Window::new(&Source::File(file));
    let fault = |fault: Fault| fault.into_error(op, id);
    let (end, names_seqs_below) = match &header {
        HeaderFact::Valid(header) if header.appends_from.is_some() => {
            let context = header.context();
            let found = witness(&mut window, &context, from, file_end.max(from)).map_err(fault)?;
            (found.nonzero_end, found.next_seq)
        }
        _ => {
            let end = nonzero_end(&mut window, from, file_end.max(from)).map_err(fault)?;
            (end, 0)
        }
    };
    Ok(Some(UnnamedFact {
        id,
        header,
        holds_frames: end > from,
        names_seqs_below,
    }))
}
