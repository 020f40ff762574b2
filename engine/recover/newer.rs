//! What a newer program wrote: versions and features that this one does not know.
//!
//! INVARIANT: a log of which a part is not known is not written to, and nothing of it is cut, removed,
//! or called damage. The manifest states the features of every segment that it names; this is a look at
//! all that it does not name, and at what a program that forgot to state them left.
//!
//! Called by look; calls format.

use super::look::{Facts, HeaderFact, ManifestFact, ProducersFact, UnnamedFact, UnsealedFact};
use crate::{
    error::{Defect, Place},
    format::{WRITE_FEATURES, names},
    segment::Stop,
    types::SegmentId,
};

/// Every structure that says it is a newer program's, and where. `unheard` is what does not verify of the
/// files beside the log: there such a program may have told what this one would not hear.
pub(super) fn newer(facts: &Facts, unheard: Vec<(Place, Defect)>) -> Vec<(Place, Defect)> {
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
    found.extend(unheard);
    found.retain(|(_, defect)| defect.is_unsupported());
    found
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
