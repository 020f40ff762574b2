//! Where the verified records end: in the tail, or in the spare that follows it.

use super::{
    super::look::{Facts, HeaderFact, UnsealedFact},
    Damage,
};
use crate::{
    error::{Defect, Place},
    format::Manifest,
    segment::{Identity, Stop},
    types::{SegmentId, Seq},
};

/// Where the verified records of the unsealed segments end.
pub(super) struct End<'a> {
    pub(super) segment: &'a UnsealedFact,
    pub(super) offset: u64,
    pub(super) next_seq: Seq,
    /// Why it is not an orderly end, if it is not.
    pub(super) defect: Option<(u64, Seq, Defect)>,
    pub(super) in_spare: bool,
}

fn damaged(id: SegmentId, base_seq: Seq, defect: Defect) -> Box<Damage> {
    Box::new(Damage {
        place: Place::in_segment(id, 0).with_seq(base_seq),
        defect,
        first_seq: base_seq,
        next_seq: base_seq,
    })
}

/// Follows the tail, and the spare if that was begun, to the end of what verifies.
pub(super) fn find_end<'a>(facts: &'a Facts, manifest: &Manifest) -> Result<End<'a>, Box<Damage>> {
    let end = tail_end(facts, manifest)?;
    match &facts.spare {
        Some(spare) => spare_end(spare, end, manifest),
        None => Ok(end),
    }
}

fn tail_end<'a>(facts: &'a Facts, manifest: &Manifest) -> Result<End<'a>, Box<Damage>> {
    let (id, base_seq) = (manifest.tail.id, manifest.tail.base_seq);
    let fail = |defect| damaged(id, base_seq, defect);
    let tail = facts
        .tail
        .as_ref()
        .ok_or_else(|| fail(Defect::MissingFile))?;
    let header = match (&tail.header, tail.file_bytes) {
        (_, None) => return Err(fail(Defect::MissingFile)),
        (HeaderFact::Valid(header), _) => header,
        (HeaderFact::Blank, _) => return Err(fail(Defect::Zeroed)),
        (HeaderFact::Invalid(defect), _) => return Err(fail(*defect)),
    };
    let identity = Identity {
        log_id: manifest.log_id,
        id: id.0,
        salt: tail.salt,
        base_seq,
    };
    identity.check(header).map_err(fail)?;
    let scan = tail
        .scan
        .as_ref()
        .ok_or_else(|| fail(Defect::MissingFile))?;
    Ok(End {
        segment: tail,
        offset: scan.summary.end,
        next_seq: scan.summary.next_seq,
        defect: defect_of(&scan.stop),
        in_spare: false,
    })
}

/// Where the end is, given where the tail ends: there, or in the spare that follows it.
fn spare_end<'a>(
    spare: &'a UnsealedFact,
    tail: End<'a>,
    manifest: &Manifest,
) -> Result<End<'a>, Box<Damage>> {
    let next_seq = tail.next_seq;
    let fail = |defect| damaged(spare.id, next_seq, defect);
    let not_behind = |tail: End<'a>, defect| {
        let defect = tail.defect.or(Some((tail.offset, tail.next_seq, defect)));
        Ok(End { defect, ..tail })
    };
    let begun = match (&spare.header, spare.file_bytes) {
        (_, None) => return Err(fail(Defect::MissingFile)),
        (HeaderFact::Valid(header), _) => header,
        (HeaderFact::Blank, _) if spare.witness.nonzero_end == 0 => return Ok(tail),
        // The first group of a rotation that no sync ever covered.
        (HeaderFact::Blank, _) => return not_behind(tail, Defect::Zeroed),
        (HeaderFact::Invalid(defect), _) => return not_behind(tail, *defect),
    };
    let identity = Identity {
        log_id: manifest.log_id,
        id: spare.id.0,
        salt: spare.salt,
        base_seq: begun.base_seq,
    };
    identity.check(begun).map_err(fail)?;
    if begun.base_seq < tail.next_seq {
        return Err(fail(Defect::Malformed("base of the next segment")));
    }
    let tail_scan = tail.segment.scan.as_ref();
    let follows = begun.predecessor.is_some_and(|before| {
        before.id == tail.segment.id
            && before.salt == tail.segment.salt
            && before.frames_end == tail.offset
            && before.next_seq == tail.next_seq
            && tail_scan.is_some_and(|scan| scan.summary.checksum == before.checksum)
    });
    match &spare.scan {
        Some(scan) if follows && begun.base_seq == tail.next_seq => Ok(End {
            segment: spare,
            offset: scan.summary.end,
            next_seq: scan.summary.next_seq,
            defect: defect_of(&scan.stop),
            in_spare: true,
        }),
        // It was begun behind frames that are not here.
        _ => not_behind(tail, Defect::Zeroed),
    }
}

/// The place, the record there, and what is wrong with it.
fn defect_of(stop: &Stop) -> Option<(u64, Seq, Defect)> {
    match stop {
        Stop::Defect {
            offset,
            seq,
            defect,
        } => Some((*offset, *seq, *defect)),
        Stop::Reached | Stop::EndOfFile | Stop::Zeros | Stop::Footer => None,
    }
}
