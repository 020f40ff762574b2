//! Finding one record, also where there is damage beside it.

use super::{
    Fault, Frames, Piece, Spot, View, Window,
    index::Span,
    salvage::{Range, salvage},
};
use crate::{format::RecordRef, types::Seq};
use bytes::Bytes;

/// What `keep` makes of the record with this seq, if the segment holds it below `limit`.
///
/// Damage beside the record does not hide it: if the walk to it meets some, its surroundings are
/// searched, and only if the record itself does not verify is that the answer.
pub(crate) fn find<T>(
    view: &View,
    seq: Seq,
    limit: u64,
    keep: impl Fn(&RecordRef<'_>, &Bytes) -> T,
) -> Result<Option<T>, Fault> {
    let delta = seq.saturating_sub(view.context.base_seq);
    let span = view.index.span(delta, limit);
    // What is read by position is read up to the next entry of the index: the record is before it.
    let window = Window::of_chunks(&view.source, span.end.saturating_sub(span.start));
    let mut frames = Frames::from_entry(window, view, span.from, (delta, limit));
    if let Some((near, size)) = span.near {
        frames.touch(span.start, near, size);
        frames.touch(near, near + size, 64);
    }
    let fault = match walk_to(&mut frames, seq, limit, &keep) {
        Err(fault @ Fault::Defect { .. }) => fault,
        found => return found,
    };
    match find_beside_damage(view, seq, span)? {
        Some(spot) => frames
            .at(&spot)
            .map(|(record, chunk)| Some(keep(&record, chunk))),
        None => Err(fault),
    }
}

fn walk_to<T>(
    frames: &mut Frames,
    seq: Seq,
    limit: u64,
    keep: impl Fn(&RecordRef<'_>, &Bytes) -> T,
) -> Result<Option<T>, Fault> {
    frames.seek(seq, limit)?;
    if !frames.go_on(limit)? {
        return Ok(None);
    }
    let found = frames.next(seq.saturating_add(1))?;
    Ok(found.map(|(record, chunk)| keep(&record, chunk)))
}

/// Searches the part of a segment that one index entry stands for.
fn find_beside_damage(view: &View, seq: Seq, span: Span) -> Result<Option<Spot>, Fault> {
    let range = Range {
        offset: span.start,
        frames_end: span.end,
        first_seq: view.context.base_seq,
        next_seq: seq,
        dense: false,
        ..Range::known()
    };
    let (mut batch_at, mut found) = (None, None);
    let mut window = Window::new(&view.source);
    salvage(
        &mut window,
        (&view.context, &view.keys),
        range,
        |piece| match piece {
            Piece::Batch(offset, batch) => batch_at = Some((offset, *batch)),
            Piece::Record(offset, record) if record.seq == seq => {
                found = batch_at.map(|(batch_offset, batch)| Spot {
                    offset,
                    batch,
                    batch_offset,
                    dense_seq: seq,
                });
            }
            Piece::Record(..) | Piece::Packed(..) | Piece::Gap(_) => {}
        },
    )?;
    Ok(found)
}
