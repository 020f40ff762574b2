//! The journey of letting go: sealed segments of which the same bytes are elsewhere live there alone from now on.
//!
//! INVARIANTS: what is let go of was read in full in both places right before, verified here, and the same there; what was
//! read there earlier, and is kept, is not asked. The commit says that a segment is far, and only then does its file go: with its
//! last reader, or at the next opening.
//!
//! Called by `Log`; calls append (for a moment without sealing), catalog, segment.

use crate::{
    append::Core,
    error::{Defect, Error, ErrorKind, Op, Place, Result},
    format::{header::HEADER_BYTES, header::Origin, manifest::SealedEntry},
    observe::event,
    options::Options,
    segment::{Fault, Home, Loaded, Piece, Range, Sealed, Window, salvage},
    sync::Arc,
    types::SegmentId,
};
use std::collections::BTreeMap;

/// So much of both is compared at a time, in bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// What was let go of; from [`Log::release`](crate::Log::release).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseReport {
    /// The segments that live elsewhere now, and did not before.
    pub segments: Vec<SegmentId>,
    /// Bytes of frames in them.
    pub frame_bytes: u64,
}

/// Lets go of those of these segments that are sealed, and here.
pub(crate) fn release(core: &Core, ids: &[SegmentId]) -> Result<ReleaseReport> {
    core.check_going(Op::Release)?;
    if core.options().far.is_none() {
        let note =
            "the log was opened without what reads segments elsewhere (`Options::far_segments`)";
        return Err(Error::note(ErrorKind::InvalidInput, Op::Release, note));
    }
    let catalog = core.catalog().load();
    let is_meant = |it: &&Arc<Sealed>| !it.entry.far && ids.contains(&it.entry.id);
    let options = core.options().with_far_anew();
    let mut compared = BTreeMap::new();
    for segment in catalog.sealed.iter().filter(is_meant) {
        compare(core, &options, &segment.entry)?;
        compared.insert(segment.entry.id, segment.entry.salt);
    }
    let is_compared = |entry: &SealedEntry| compared.get(&entry.id) == Some(&entry.salt);
    let _no_other_change = core.hold_segments();
    core.check_going(Op::Release)?;
    // What was trimmed or compacted meanwhile is no part of the log any more.
    let goes = |entry: &SealedEntry| !entry.far && is_compared(entry);
    let mut report = ReleaseReport::default();
    // DURABILITY: after this commit these segments are read elsewhere, before it here.
    core.commit(Op::Release, None, |manifest| {
        for entry in manifest.sealed.iter_mut().filter(|entry| goes(entry)) {
            entry.far = true;
            report.segments.push(entry.id);
            report.frame_bytes += entry.frames_end;
        }
    })?;
    core.catalog().swap(|catalog| {
        let here: Vec<_> = (catalog.sealed.iter().enumerate())
            .filter(|(_, segment)| goes(&segment.entry))
            .map(|(at, segment)| (at, segment.clone()))
            .collect();
        for (at, segment) in here {
            let far = catalog.segment(SealedEntry {
                far: true,
                ..segment.entry
            });
            segment.retire();
            if let Some(place) = Arc::make_mut(&mut catalog.sealed).get_mut(at) {
                *place = far;
            }
        }
    });
    event!(info, "released", segments = report.segments.len());
    Ok(report)
}

/// Whether all that is here of a segment verifies, and is there as well.
fn compare(core: &Core, options: &Options, entry: &SealedEntry) -> Result<()> {
    let fault = |fault: Fault| fault.into_error(Op::Release, entry.id);
    let open = |far| {
        let entry = SealedEntry { far, ..*entry };
        let home = Home::apart(core.dir().clone(), core.log_id(), options);
        Sealed::new(entry, home).open().map_err(fault)
    };
    let (here, there) = (open(false)?, open(true)?);
    verify(core, entry, &here)?;
    let mut windows = [&here, &there].map(|it| Window::of_chunks(&it.view.source, PIECE_BYTES));
    let mut offset = 0;
    while offset < entry.frames_end {
        core.check_going(Op::Release)?;
        let end = entry.frames_end.min(offset + PIECE_BYTES);
        let [here, there] = &mut windows;
        let io = |error| fault(Fault::Io { offset, error });
        let here = here.get(offset, end - offset, end).map_err(io)?;
        let there = there.get(offset, end - offset, end).map_err(io)?;
        if here != there || here.len() as u64 != end - offset {
            return Err(other(entry, offset, "copy elsewhere: it has other bytes"));
        }
        offset = end;
    }
    // What finds a record there without reading all before it.
    match (here.footer, there.footer) {
        (Ok(here), there) if there != Ok(here) => {
            let what = "copy elsewhere: it has another footer, or none";
            Err(other(entry, entry.frames_end, what))
        }
        _ => Ok(()),
    }
}

fn other(entry: &SealedEntry, offset: u64, what: &'static str) -> Error {
    let place = Place::in_segment(entry.id, offset);
    Error::defect(Op::Release, place, Defect::Malformed(what))
}

/// Whether it verifies as it is stored: no key and no codec is needed. What does not is not made to look well elsewhere.
fn verify(core: &Core, entry: &SealedEntry, here: &Loaded) -> Result<()> {
    let range = Range {
        offset: HEADER_BYTES as u64,
        frames_end: entry.frames_end,
        first_seq: entry.base_seq,
        next_seq: entry.next_seq,
        dense: here.origin == Origin::Live,
        ..Range::known()
    };
    let mut bad = None;
    let how = (&here.view.context, &core.options().keys);
    salvage(&mut Window::new(&here.view.source), how, range, |piece| {
        if let Piece::Gap(gap) = piece
            && !gap.defect.is_out_of_reach()
        {
            bad.get_or_insert((gap.offset, gap.defect));
        }
    })
    .map_err(|fault| fault.into_error(Op::Release, entry.id))?;
    match bad {
        None => Ok(()),
        Some((offset, defect)) => {
            let place = Place::in_segment(entry.id, offset);
            Err(Error::defect(Op::Release, place, defect))
        }
    }
}
