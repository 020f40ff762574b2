//! Finding one record, also where there is damage beside it.

use super::{
    Fault, Frames, Piece, Spot, View, Window,
    salvage::{Range, salvage},
};
use crate::types::Seq;

/// The first record at or above `seq`, if the segment holds one below `limit`.
///
/// Damage beside the record does not hide it: if the walk to it meets some, its surroundings are
/// searched, and only if the record itself does not verify is that the answer.
pub(crate) fn find(view: &View, seq: Seq, limit: u64) -> Result<Option<(Frames, Spot)>, Fault> {
    let start = view
        .index
        .floor_offset(seq.saturating_sub(view.context.base_seq));
    let mut frames = Frames::new(view, start);
    let sought = match frames.seek(seq, limit) {
        Ok(()) => frames.peek(limit),
        Err(fault) => Err(fault),
    };
    let fault = match sought {
        Ok(None) => return Ok(None),
        Ok(Some(spot)) => match frames.at(&spot).map(|_| ()) {
            Ok(()) => return Ok(Some((frames, spot))),
            Err(fault) => fault,
        },
        Err(fault) => fault,
    };
    if matches!(fault, Fault::Io { .. }) {
        return Err(fault);
    }
    match find_beside_damage(view, seq, start, limit)? {
        Some(spot) => Ok(Some((frames, spot))),
        None => Err(fault),
    }
}

/// Searches the part of a segment that one index entry stands for.
fn find_beside_damage(
    view: &View,
    seq: Seq,
    start: u64,
    limit: u64,
) -> Result<Option<Spot>, Fault> {
    let number = view
        .index
        .floor_count(seq.saturating_sub(view.context.base_seq));
    let next = view
        .index
        .entry(number)
        .map_or(limit, |entry| entry.offset.into());
    let range = Range {
        offset: start,
        frames_end: next.min(limit),
        first_seq: view.context.base_seq,
        next_seq: seq,
        dense: false,
    };
    let (mut batch_at, mut found) = (None, None);
    let mut window = Window::new(view.source.clone());
    salvage(&mut window, &view.context, range, |piece| match piece {
        Piece::Batch(offset, batch) => batch_at = Some((offset, *batch)),
        Piece::Record(offset, record) if record.seq == seq => {
            found = batch_at.map(|(batch_offset, batch)| Spot {
                offset,
                batch,
                batch_offset,
                dense_seq: seq,
            });
        }
        Piece::Record(..) | Piece::Gap(_) => {}
    })?;
    Ok(found)
}
