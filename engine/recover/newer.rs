//! What a newer program wrote: versions and features that this one does not know.
//!
//! INVARIANT: a log of which a part is not known is not written to, and nothing of it is cut, removed,
//! or called damage. The manifest states the features of every segment that it names; this is a look at
//! all that it does not name, and at what a program that forgot to state them left.
//!
//! Called by look; calls format.

use super::heard::WatermarkFact;
use super::look::{Facts, HeaderFact, ManifestFact, ProducersFact, UnnamedFact, UnsealedFact};
use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{WRITE_FEATURES, WatermarkFile, cursor::CursorFile, names},
    segment::Stop,
    types::SegmentId,
    vfs::{Dir, is_out_of_reach},
};
use std::{io, path::PathBuf};

/// Every structure that says it is a newer program's, and where.
pub(super) fn newer(dir: &Dir, op: Op, facts: &Facts) -> Result<Vec<(Place, Defect)>> {
    let mut found: Vec<(Place, Defect)> = Vec::new();
    found.extend(of_manifest(&facts.manifest));
    if let ProducersFact::Invalid(defect) = &facts.producers {
        found.push((Place::file(names::PRODUCERS), *defect));
    }
    for fact in facts.tail.iter().chain(&facts.spare) {
        found.extend(of_header(fact.id, &fact.header));
        found.extend(of_frames(fact));
    }
    let unnamed = facts.unnamed.iter();
    found.extend(unnamed.filter_map(|UnnamedFact { id, header, .. }| of_header(*id, header)));
    if facts.watermark != WatermarkFact::Missing {
        found.extend(of_watermark(dir, op)?);
    }
    found.extend(of_cursors(dir, op)?);
    found.retain(|(_, defect)| defect.is_unsupported());
    Ok(found)
}

fn of_manifest(fact: &ManifestFact) -> Option<(Place, Defect)> {
    match fact {
        ManifestFact::Missing => None,
        ManifestFact::Invalid(defect) => Some((Place::file(names::MANIFEST), *defect)),
        ManifestFact::Valid(manifest) => {
            let unknown = manifest.write_features & !WRITE_FEATURES;
            let defect = Defect::UnknownFeature(unknown);
            (unknown != 0).then(|| (Place::file(names::MANIFEST), defect))
        }
    }
}

fn of_header(id: SegmentId, header: &HeaderFact) -> Option<(Place, Defect)> {
    match header {
        HeaderFact::Invalid(defect) => Some((Place::in_segment(id, 0), *defect)),
        HeaderFact::Blank | HeaderFact::Valid(_) => None,
    }
}

/// Where its batches stop, or what stands behind.
fn of_frames(fact: &UnsealedFact) -> Option<(Place, Defect)> {
    let at = |offset| Place::in_segment(fact.id, offset);
    let stop = fact.scan.as_ref().map(|scan| scan.stop);
    if let Some(Stop::Defect {
        offset,
        seq,
        defect,
    }) = stop
        && defect.is_unsupported()
    {
        return Some((at(offset).with_seq(seq), defect));
    }
    let behind = fact.witness.newer?;
    Some((at(behind), Defect::UnknownExtension))
}

/// A file of a writer that may have told there what this one would not hear.
fn of_watermark(dir: &Dir, op: Op) -> Result<Option<(Place, Defect)>> {
    let place = Place::file(names::WATERMARK);
    let read = read_if_ours(dir, names::WATERMARK, WatermarkFile::stated_bytes);
    let Some(bytes) = read.map_err(|error| Error::io(op, error).at(place.clone()))? else {
        return Ok(None);
    };
    Ok(WatermarkFile::decode(&bytes)
        .err()
        .map(|defect| (place, defect)))
}

fn of_cursors(dir: &Dir, op: Op) -> Result<Vec<(Place, Defect)>> {
    let cursors = dir.child(names::CURSORS);
    let place = |name: &str| Place::file([names::CURSORS, name].iter().collect::<PathBuf>());
    let listed = match cursors.list() {
        Err(error) if is_out_of_reach(&error) => return Ok(Vec::new()),
        listed => listed.map_err(|error| Error::io(op, error).at(place("")))?,
    };
    let mut found = Vec::new();
    for entry in listed.iter().filter(|entry| entry.is_file) {
        let place = place(&entry.name);
        if names::parse_cursor(&entry.name).is_none() {
            continue;
        }
        let read = read_if_ours(&cursors, &entry.name, CursorFile::stated_bytes);
        let read = read.map_err(|error| Error::io(op, error).at(place.clone()))?;
        let defect = read.and_then(|bytes| CursorFile::decode(&bytes).err());
        found.extend(defect.map(|defect| (place, defect)));
    }
    Ok(found)
}

/// A file, as far as it says that it goes; `None` if it is gone, or somebody else's.
fn read_if_ours(dir: &Dir, name: &str, stated: fn(&[u8]) -> u64) -> io::Result<Option<Vec<u8>>> {
    match dir.read(name, stated) {
        Err(error) if is_out_of_reach(&error) => Ok(None),
        read => read.map(Some),
    }
}
