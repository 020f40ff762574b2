//! What was written after a sync had returned, and says so: how far the log was durable, and that a
//! newer manifest was in force.

use super::{
    super::look::{Facts, HeaderFact, UnnamedFact, UnsealedFact, is_far},
    Damage, file_damage,
};
use crate::{
    error::{Defect, Place},
    format::{Manifest, Owner, check_log_id, header::Origin, names},
    types::{SegmentId, Seq},
};

/// The seqs below which the files beside the segments say that all was durable, and which say so. Those of
/// the log's owner are heard, and nobody's while nothing says who that is.
fn beside(facts: &Facts) -> impl Iterator<Item = (Seq, &'static str)> {
    let (watermark, producers) = (&facts.watermark, &facts.producers);
    let all = [
        (facts.owner, facts.cursors_seq, "a cursor"),
        (watermark.owner(), watermark.durable_seq(), names::WATERMARK),
        (producers.owner(), producers.as_of_seq(), names::PRODUCERS),
    ];
    let heard = move |owner: Option<Owner>| owner.is_some() && owner == facts.owner;
    let all = all.into_iter().filter(move |(owner, ..)| heard(*owner));
    all.map(|(_, seq, says)| (seq, says))
}

/// The highest of these, for who has no manifest.
pub(crate) fn told(facts: &Facts) -> Seq {
    beside(facts).map(|(seq, _)| seq).max().unwrap_or(0)
}

/// The highest seq below which anything on disk says that all was durable.
pub(crate) fn attested(facts: &Facts, manifest: &Manifest) -> Seq {
    strongest(facts, manifest).0
}

/// The same, and what says so.
pub(super) fn strongest(facts: &Facts, manifest: &Manifest) -> (Seq, &'static str) {
    let of = |fact: &UnsealedFact| {
        let header = match &fact.header {
            HeaderFact::Valid(header) => header.durable_seq,
            _ => 0,
        };
        let scan = fact.scan.as_ref().map_or(0, |scan| scan.durable_seq);
        header.max(scan).max(fact.witness.durable_seq)
    };
    // Only what was durable is trimmed.
    let manifest_seq = manifest.durable_seq.max(manifest.head_seq);
    let unsealed = facts.tail.iter().chain(&facts.spare);
    let log = [
        (unsealed.map(of).max().unwrap_or(0), "a segment"),
        (manifest_seq, names::MANIFEST),
    ];
    beside(facts)
        .chain(log)
        .max_by_key(|(seq, _)| *seq)
        .unwrap_or((0, ""))
}

/// A manifest was in force that is newer than the one that is there.
pub(super) fn is_older(facts: &Facts, manifest: &Manifest) -> Option<Damage> {
    let told = facts.watermark.generation();
    let defect = Defect::WrongIdentity {
        field: "generation",
        expected: told,
        found: manifest.generation,
    };
    (told > manifest.generation).then(|| file_damage(names::MANIFEST, defect))
}

/// Which unnamed segment files may go, and which prove that the manifest is not the newest.
///
/// A live header proves that: it is only ever written into a file that a manifest named. So does a
/// record that was appended to a copy. A copy that a crash cut short has no header, or half of one, or
/// holds what was put into it aside and no more. A file of another log, or under another's name, is not
/// ours to remove.
pub(super) fn judge_unnamed(facts: &Facts, manifest: &Manifest) -> (Vec<SegmentId>, Vec<Damage>) {
    let (mut remove, mut damage) = (Vec::new(), Vec::new());
    for fact in &facts.unnamed {
        if foreign(fact, manifest).is_some() {
            continue;
        }
        match used_seqs(fact).filter(|_| fact.id >= manifest.next_segment_id) {
            Some((first_seq, next_seq)) => damage.push(Damage {
                place: Place::in_segment(fact.id, 0),
                defect: Defect::UnknownFile,
                first_seq,
                next_seq,
            }),
            None if is_far(fact.id, manifest) => {}
            None => remove.push(fact.id),
        }
    }
    (remove, damage)
}

/// The segments that a newer manifest had named: what is in them is no part of the log by this one.
pub(crate) fn newer_segments(facts: &Facts, manifest: &Manifest) -> Vec<Damage> {
    judge_unnamed(facts, manifest).1
}

/// Why a file is not this log's, if it is not.
fn foreign(fact: &UnnamedFact, manifest: &Manifest) -> Option<Defect> {
    let HeaderFact::Valid(header) = &fact.header else {
        return None;
    };
    let differs = Defect::WrongIdentity {
        field: "segment id",
        expected: fact.id.0,
        found: header.id.0,
    };
    check_log_id(manifest.log_id, header.log_id)
        .err()
        .or((header.id != fact.id).then_some(differs))
}

/// Segment files that are left alone: another log's, under another's name, or under an id that is out
/// of reach.
pub(crate) fn strays(facts: &Facts, manifest: &Manifest) -> Vec<(SegmentId, Defect)> {
    let far = |fact: &UnnamedFact| {
        let is_used = used_seqs(fact).is_some();
        (is_far(fact.id, manifest) && !is_used).then_some(Defect::UnknownFile)
    };
    let unnamed = facts.unnamed.iter();
    unnamed
        .filter_map(|fact| Some((fact.id, foreign(fact, manifest).or_else(|| far(fact))?)))
        .collect()
}

/// The seqs from which on, and up to which, a file was in use as the tail, as far as it is known.
fn used_seqs(fact: &UnnamedFact) -> Option<(Seq, Seq)> {
    let HeaderFact::Valid(header) = &fact.header else {
        return None;
    };
    match (header.origin, header.appends_from) {
        (Origin::Live, _) => Some((header.base_seq, fact.names_seqs_below.max(header.base_seq))),
        (Origin::Copy, Some(from)) if fact.names_seqs_below > from => {
            Some((from, fact.names_seqs_below))
        }
        (Origin::Copy, _) => None,
    }
}
