//! Was the log changed, or is this another key under the same number? Where nothing at all opens that is sealed under a
//! key, it is the key: and a repair would take out all of it.

use super::{salvage::read, survey::survey};
use crate::{
    error::{Defect, Error, ErrorKind, Op, Place, Result},
    options::Options,
    seal::KeyId,
    segment::Piece,
    verify::Finding,
    vfs::Dir,
};
use std::collections::{BTreeMap, BTreeSet};

/// Refuses to repair a log of which no batch opens with a key that it is sealed under.
pub(super) fn check_keys(dir: &Dir, options: &Options, findings: &[Finding]) -> Result<()> {
    if !findings.iter().any(|it| it.defect == Defect::Tampered) {
        return Ok(());
    }
    let (mut opened, mut tampered) = (BTreeSet::new(), BTreeMap::<KeyId, Place>::new());
    for part in &survey(dir, options)?.parts {
        let mut under = None;
        read(part, |piece| match piece {
            Piece::Batch(..) => under = None,
            Piece::Packed(_, _, head, None) => under = head.key_id(),
            Piece::Record(..) => opened.extend(under),
            Piece::Gap(gap) if gap.defect == Defect::Tampered => {
                let place = Place::in_segment(part.id, gap.offset).with_seq(gap.first_seq);
                if let Some(id) = under {
                    tampered.entry(id).or_insert(place);
                }
            }
            Piece::Packed(..) | Piece::Gap(_) => {}
        })?;
    }
    match tampered.into_iter().find(|(id, _)| !opened.contains(id)) {
        None => Ok(()),
        Some((_, place)) => {
            let note = "nothing opens that is sealed under the key of this batch: it is another key under the same number, \
                        or all of it was changed";
            Err(Error::note(ErrorKind::KeyMissing, Op::Repair, note).at(place))
        }
    }
}
