//! Decide: a pure function from facts to a plan. `format.md`, "Recovery by cases", is its prose.

mod end;
mod witness;

use end::{End, find_end};
pub(crate) use witness::{attested, newer_segments, strays, told};
use witness::{is_older, judge_unnamed, strongest};

use super::{
    heard::WatermarkFact,
    look::{Facts, HeaderFact, ManifestFact, ProducersFact, UnnamedFact, UnsealedFact},
};
use crate::{
    error::{Defect, Place},
    format::{
        Manifest,
        header::{HEADER_BYTES, Origin},
        names,
    },
    options::OnAmbiguousTail,
    segment::Stop,
    types::{SegmentId, Seq},
};

/// The segments that creation makes, before a manifest names them.
pub(super) const FIRST_TAIL: SegmentId = SegmentId(1);
pub(super) const FIRST_SPARE: SegmentId = SegmentId(2);

/// What opening will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// There is no log, or one whose creation was interrupted before it held anything.
    Create { remove: Vec<SegmentId> },
    /// The end is in order: append behind it.
    Resume {
        remove: Vec<SegmentId>,
        /// Whether the log was closed in order; else its manifest has to be made certain first.
        clean: bool,
    },
    /// The end is unclean: seal what is proven, carry the rest into a new segment.
    Carry {
        carry: Carry,
        remove: Vec<SegmentId>,
    },
    /// Bytes that were durable do not verify. Nothing is done.
    Refuse { damage: Vec<Damage> },
}

/// How to leave an unclean end behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carry {
    /// The seq below which all is proven to be durable.
    pub(crate) proven_seq: Seq,
    /// The seq after the last record that is kept.
    pub(crate) next_seq: Seq,
    /// Whether the spare had become the tail, with records to keep.
    pub(crate) spare_begun: bool,
    /// Ranges to be kept in quarantine: segment, offset, end.
    pub(crate) cut: Vec<(SegmentId, u64, u64)>,
    /// What did not verify, if anything was cut.
    pub(crate) torn: Option<Damage>,
}

/// One place that does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) place: Place,
    pub(crate) defect: Defect,
    /// The seqs that are affected: the first, and the one after the last that is known to be.
    pub(crate) first_seq: Seq,
    pub(crate) next_seq: Seq,
}

/// Decides what opening does about these facts.
pub(crate) fn decide(facts: &Facts, on_ambiguous: OnAmbiguousTail) -> Plan {
    if !facts.newer.is_empty() {
        let newer = facts.newer.iter();
        return Plan::Refuse {
            damage: newer
                .map(|(place, defect)| at_place(place, *defect))
                .collect(),
        };
    }
    match &facts.manifest {
        ManifestFact::Missing => without_manifest(facts),
        ManifestFact::Invalid(defect) => Plan::Refuse {
            damage: vec![file_damage(names::MANIFEST, *defect)],
        },
        ManifestFact::Valid(manifest) => decide_named(facts, manifest, on_ambiguous),
    }
}

/// Decides about a log of which it is known what it is.
fn decide_named(facts: &Facts, manifest: &Manifest, on_ambiguous: OnAmbiguousTail) -> Plan {
    let mut damage = damaged_files(facts, manifest);
    let (remove, unexplained) = judge_unnamed(facts, manifest);
    damage.extend(unexplained);
    damage.extend(is_older(facts, manifest));
    let (attested_seq, witness) = strongest(facts, manifest);
    let end = match find_end(facts, manifest) {
        Ok(end) => end,
        Err(mut found) => {
            let below = |id| facts.ends_below(id, attested_seq);
            found.next_seq = (found.next_seq).max(found.place.segment.map_or(attested_seq, below));
            damage.push(*found);
            return Plan::Refuse { damage };
        }
    };
    if attested_seq > end.next_seq {
        let ends_early = Defect::EndsEarly {
            durable_seq: attested_seq,
            witness,
        };
        let unknown = (end.offset, end.next_seq, ends_early);
        let (offset, seq, defect) = end.defect.unwrap_or(unknown);
        damage.push(Damage {
            place: Place::in_segment(end.segment.id, offset).with_seq(seq),
            defect,
            first_seq: end.next_seq,
            next_seq: facts.ends_below(end.segment.id, attested_seq),
        });
    }
    let torn = end.defect.map(|(offset, seq, defect)| Damage {
        place: Place::in_segment(end.segment.id, offset).with_seq(seq),
        defect,
        first_seq: end.next_seq,
        next_seq: end.next_seq,
    });
    if let (Some(torn), OnAmbiguousTail::Refuse, true) = (&torn, on_ambiguous, damage.is_empty()) {
        damage.push(torn.clone());
    }
    if !damage.is_empty() {
        return Plan::Refuse { damage };
    }
    let clean = ends_clean(facts, manifest, &end);
    if torn.is_none() && (clean || is_empty(facts, &end)) {
        return Plan::Resume { remove, clean };
    }
    let cut = if torn.is_some() {
        cut_ranges(facts, &end)
    } else {
        Vec::new()
    };
    let carry = Carry {
        proven_seq: attested_seq.max(manifest.tail.base_seq),
        next_seq: end.next_seq,
        spare_begun: end.in_spare,
        cut,
        torn,
    };
    Plan::Carry { carry, remove }
}

/// The files that are not as they were named: sealed segments, and the ledger, without which repeats
/// of appends would be taken for new ones.
fn damaged_files(facts: &Facts, manifest: &Manifest) -> Vec<Damage> {
    let sealed = facts.sealed_defects.iter();
    let sealed = sealed.map(|(id, first_seq, next_seq, defect)| Damage {
        place: Place::in_segment(*id, 0).with_seq(*first_seq),
        defect: *defect,
        first_seq: *first_seq,
        next_seq: *next_seq,
    });
    let ledger = match &facts.producers {
        ProducersFact::Invalid(defect) => Some(*defect),
        ProducersFact::Missing => manifest.has_ledger.then_some(Defect::MissingFile),
        // It is stored before each commit of another tail.
        ProducersFact::Valid(file) => {
            let (tail, spare) = (manifest.tail, manifest.spare);
            let old_seq = (file.as_of_seq < tail.base_seq).then_some(Defect::WrongIdentity {
                field: "seq that the ledger is as of",
                expected: tail.base_seq,
                found: file.as_of_seq,
            });
            // A rewind begins a tail at the same seq, and voids what the ledger before it says. One that is
            // for a later tail was stored before a commit that did not happen.
            let is_next = spare.is_some_and(|spare| spare.id == file.tail_id);
            let of_old_tail = file.tail_id < tail.id && !is_next;
            let old_tail = of_old_tail.then_some(Defect::WrongIdentity {
                field: "tail of the ledger",
                expected: tail.id.0,
                found: file.tail_id.0,
            });
            old_seq.or(old_tail).filter(|_| manifest.has_ledger)
        }
    };
    let ledger = ledger.map(|defect| file_damage(names::PRODUCERS, defect));
    sealed.chain(ledger).collect()
}

/// Without a manifest only an interrupted creation is harmless: it left nothing that was ever told.
fn without_manifest(facts: &Facts) -> Plan {
    if facts.is_backup() {
        return Plan::Refuse {
            damage: vec![file_damage(names::BACKUP, Defect::UnfinishedBackup)],
        };
    }
    // The reserve, the ledger and the watermark are written after the first commit has returned.
    let told = matches!(facts.watermark, WatermarkFact::Told(_));
    let committed = facts.reserve || told || facts.producers != ProducersFact::Missing;
    if committed || !facts.unnamed.iter().all(is_of_creation) {
        return Plan::Refuse {
            damage: vec![file_damage(names::MANIFEST, Defect::MissingFile)],
        };
    }
    Plan::Create {
        remove: facts.unnamed.iter().map(|fact| fact.id).collect(),
    }
}

/// Whether an interrupted creation can have left this file: a tail without frames, or a spare, each
/// of which a crash may have torn in any way.
fn is_of_creation(fact: &UnnamedFact) -> bool {
    let begun = matches!(&fact.header, HeaderFact::Valid(header)
        if header.origin == Origin::Live || header.base_seq > 0);
    match fact.id {
        FIRST_TAIL => !begun && !fact.holds_frames,
        FIRST_SPARE => !matches!(fact.header, HeaderFact::Valid(_)),
        _ => false,
    }
}

/// Whether the log was closed in order exactly here.
fn ends_clean(facts: &Facts, manifest: &Manifest, end: &End<'_>) -> bool {
    manifest.clean
        && !end.in_spare
        && manifest.durable_seq == end.next_seq
        && manifest.durable_end == end.offset
        && facts
            .tail
            .as_ref()
            .is_some_and(|tail| !ends_in_footer(tail))
}

/// Whether nothing was ever put behind the header of the tail.
fn is_empty(facts: &Facts, end: &End<'_>) -> bool {
    let blank = |spare: &UnsealedFact| spare.header == HeaderFact::Blank;
    !end.in_spare
        && end.offset == HEADER_BYTES as u64
        && facts.spare.as_ref().is_none_or(blank)
        && facts
            .tail
            .as_ref()
            .is_some_and(|tail| !ends_in_footer(tail))
}

fn ends_in_footer(fact: &UnsealedFact) -> bool {
    fact.scan
        .as_ref()
        .is_some_and(|scan| scan.stop == Stop::Footer)
}

/// What is cut: from where the end does not verify, and all of a spare that does not follow.
fn cut_ranges(facts: &Facts, end: &End<'_>) -> Vec<(SegmentId, u64, u64)> {
    let mut cut = Vec::new();
    if end.segment.witness.nonzero_end > end.offset {
        cut.push((end.segment.id, end.offset, end.segment.witness.nonzero_end));
    }
    if let (false, Some(spare)) = (end.in_spare, &facts.spare) {
        let scanned = spare.scan.as_ref().map_or(0, |scan| scan.summary.end);
        let spare_end = spare.witness.nonzero_end.max(scanned);
        if spare_end > 0 {
            cut.push((spare.id, 0, spare_end));
        }
    }
    cut
}

fn file_damage(name: &str, defect: Defect) -> Damage {
    at_place(&Place::file(name), defect)
}

fn at_place(place: &Place, defect: Defect) -> Damage {
    Damage {
        place: place.clone(),
        defect,
        first_seq: 0,
        next_seq: 0,
    }
}

#[cfg(test)]
mod tests;
