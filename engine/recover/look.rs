//! Look: gathers what is on disk. Never writes, never judges.

mod segments;

use segments::{chain, unnamed};

use super::{
    heard::{Heard, WatermarkFact},
    newer::newer,
};
use crate::{
    append::Ledger,
    error::{Defect, Error, Op, Place, Result},
    format::{Manifest, Owner, ProducersFile, SegmentHeader, names},
    segment::{Scan, Witness},
    types::{SegmentId, Seq},
    vfs::{Dir, DirEntry},
};
use std::{collections::BTreeMap, io};

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

    /// The seq below which all was durable when it was stored: it tells of nothing else.
    pub(crate) fn as_of_seq(&self) -> Seq {
        match self {
            Self::Valid(file) => file.as_of_seq,
            Self::Missing | Self::Invalid(_) => 0,
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
    /// The seq after the last that a batch in it names, if records were appended to it, or may have been.
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
    /// The highest id that something has which is no file, and so no segment.
    pub(crate) occupied_id: Option<SegmentId>,
    /// Files of an interrupted commit or backup.
    pub(crate) leftovers: Vec<String>,
    /// Segments that live elsewhere, and whose file is here all the same: it was about to go.
    pub(crate) let_go: Vec<SegmentId>,
    /// What a newer program wrote and this one does not know: judged before all else.
    pub(crate) newer: Vec<(Place, Defect)>,
    pub(crate) reserve: bool,
    pub(crate) watermark: WatermarkFact,
    /// The highest seq that a cursor says was durable: what it has passed, and as of when.
    pub(crate) cursors_seq: Seq,
    /// Whose all this is, if anything says so.
    pub(crate) owner: Option<Owner>,
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
    pub(crate) fn ends_below(&self, id: SegmentId, durable_seq: Seq) -> Seq {
        match self.spare.as_ref().map(|spare| (spare, &spare.header)) {
            Some((next, HeaderFact::Valid(begun))) if next.id != id && begun.salt == next.salt => {
                durable_seq.min(begun.base_seq)
            }
            _ => durable_seq,
        }
    }

    /// The seq after the last in a segment of this log that its manifest does not name: it was given, whatever
    /// becomes of that.
    pub(crate) fn unnamed_seq(&self, manifest: &Manifest) -> Seq {
        let is_of_log = |fact: &&UnnamedFact| match &fact.header {
            HeaderFact::Valid(header) => header.log_id == manifest.log_id && header.id == fact.id,
            HeaderFact::Blank | HeaderFact::Invalid(_) => false,
        };
        let ours = self.unnamed.iter().filter(is_of_log);
        ours.map(|fact| fact.names_seqs_below).max().unwrap_or(0)
    }

    /// The id for the next new segment: above every file that is there, named or not, so that nothing is
    /// ever created over one. Files under ids that no writer comes to are nobody's.
    pub(crate) fn first_free_id(&self, manifest: &Manifest) -> SegmentId {
        let there = self.unnamed.iter().map(|fact| fact.id);
        let near = there
            .chain(self.occupied_id)
            .filter(|id| !is_far(*id, manifest));
        let next_id = near.map(|id| id.0 + 1);
        SegmentId(next_id.fold(manifest.next_segment_id.0, u64::max))
    }

    /// Whether a backup was being made here.
    pub(crate) fn is_backup(&self) -> bool {
        self.leftovers.iter().any(|name| name == names::BACKUP)
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
    let listed = list(dir, op)?;
    // The size of each segment file. There may be very many: their names are let go here.
    let (mut segments, mut occupied_id) = (BTreeMap::new(), None);
    let mut others = BTreeMap::new();
    for entry in listed {
        match names::parse_segment(&entry.name) {
            Some(id) if entry.is_file => _ = segments.insert(id, entry.size_bytes),
            Some(id) => occupied_id = occupied_id.max(Some(id)),
            None => _ = others.insert(entry.name, entry.is_file),
        }
    }
    let is_there = |name: &str| others.contains_key(name);
    // A directory or a pipe of such a name is nobody's, and not read.
    let is_file = |name: &str| others.get(name) == Some(&true);
    let heard = Heard::read(dir, op, is_file(names::WATERMARK), is_there(names::CURSORS))?;
    let manifest = manifest_fact(dir, op, is_there(names::MANIFEST))?;
    let mut facts = Facts {
        producers: producers(dir, op, is_there, &manifest)?,
        manifest,
        sealed_defects: Vec::new(),
        tail: None,
        spare: None,
        unnamed: Vec::new(),
        occupied_id,
        leftovers: leftovers(&others),
        let_go: Vec::new(),
        newer: Vec::new(),
        reserve: is_file(names::RESERVE),
        watermark: heard.watermark,
        cursors_seq: 0,
        owner: None,
    };
    let mut named = Vec::new();
    if let ManifestFact::Valid(manifest) = &facts.manifest {
        facts.watermark = heard.watermark.heard_by(manifest);
        facts.sealed_defects = sealed_defects(manifest, &segments);
        named.extend(manifest.sealed.iter().map(|entry| entry.id));
        let far = manifest.sealed.iter().filter(|entry| entry.far);
        let is_here = |id: &SegmentId| segments.contains_key(id);
        facts.let_go = far.map(|entry| entry.id).filter(is_here).collect();
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
    facts.owner = owner(&facts, heard.owner());
    facts.cursors_seq = facts.owner.map_or(0, |owner| heard.passed(owner));
    facts.newer = newer(&facts, heard.unheard);
    Ok(facts)
}

/// Files that are nothing any more, among the others with whether each is a file.
fn leftovers(others: &BTreeMap<String, bool>) -> Vec<String> {
    let names = [names::MANIFEST_NEW, names::PRODUCERS_NEW, names::BACKUP];
    let is_left = |name: &str| names.contains(&name) || names::parse_segment_new(name).is_some();
    let files = others.iter().filter(|(_, is_file)| **is_file);
    let left = files.filter(|(name, _)| is_left(name));
    left.map(|(name, _)| name.clone()).collect()
}

/// Whose all this is. Without a manifest what is beside the segments says it, if they are of that log.
fn owner(facts: &Facts, of_cursors: Option<Owner>) -> Option<Owner> {
    if let Some(manifest) = facts.valid_manifest() {
        return Some(manifest.owner());
    }
    let is_of_log = |owner: &Owner| {
        (facts.unnamed.iter()).any(|fact| match &fact.header {
            HeaderFact::Valid(header) => header.log_id == owner.log_id,
            HeaderFact::Blank | HeaderFact::Invalid(_) => false,
        })
    };
    let beside = [facts.watermark.owner(), facts.producers.owner(), of_cursors];
    beside.into_iter().flatten().find(is_of_log)
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
        .read(names::MANIFEST, Manifest::stated_bytes)
        .map_err(|error| Error::io(op, error).at(Place::file(names::MANIFEST)))?;
    Ok(match Manifest::decode(&bytes) {
        Ok(manifest) => ManifestFact::Valid(Box::new(manifest)),
        Err(defect) => ManifestFact::Invalid(defect),
    })
}

/// The ledger, also if it was written for a backup's manifest that came, and has not taken its name yet.
fn producers(
    dir: &Dir,
    op: Op,
    is_there: impl Fn(&str) -> bool,
    manifest: &ManifestFact,
) -> Result<ProducersFact> {
    let fact = |name: &str| match is_there(name) {
        true => producers_fact(dir, op, name, manifest),
        false => Ok(ProducersFact::Missing),
    };
    let found = fact(names::PRODUCERS)?;
    if matches!(found, ProducersFact::Valid(_)) || !is_there(names::BACKUP) {
        return Ok(found);
    }
    match fact(names::PRODUCERS_NEXT)? {
        next @ ProducersFact::Valid(_) => Ok(next),
        _ => Ok(found),
    }
}

fn producers_fact(dir: &Dir, op: Op, name: &str, manifest: &ManifestFact) -> Result<ProducersFact> {
    let bytes = dir
        .read(name, ProducersFile::stated_bytes)
        .map_err(|error| Error::io(op, error).at(Place::file(name)))?;
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
    let here = manifest.sealed.iter().filter(|entry| !entry.far);
    here.filter_map(of).collect()
}
