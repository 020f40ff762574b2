//! Copying the records of one segment into another that is written aside.
//!
//! Used by rewind and backup.

use super::{Builder, Fault, Frames, View};
use crate::{
    error::{Error, Op, Place, Result},
    format::{Producer, SegmentHeader, manifest::SealedEntry, names},
    types::Seq,
    vfs::Dir,
};
use std::ops::Range;

/// Copies what a segment has below `end_seq`, from the batch at the start of this range of bytes on, into one with
/// this header, batch by batch, and seals it; tells who appended each record. `None` if that is nothing. The name is
/// not yet durable: the caller syncs the directory.
///
/// What is sealed under a key is copied as it is stored; only of a batch that `end_seq` cuts through are the
/// records needed.
pub(crate) fn copy_below(
    dir: &Dir,
    header: SegmentHeader,
    (view, frames): (&View, Range<u64>),
    end_seq: Seq,
    op: Op,
    mut each: impl FnMut(Seq, Option<Producer>),
) -> Result<Option<SealedEntry>> {
    let name = names::segment(header.id);
    let io = |error| Error::io(op, error).at(Place::file(name.clone()));
    let fault = |fault: Fault| fault.into_error(op, view.segment);
    let (limit, mut next_seq) = (frames.end, header.base_seq);
    let mut builder = Builder::create(dir, header, &view.keys).map_err(io)?;
    let mut frames = Frames::new(view, frames.start);
    let mut batch = None;
    let mut is_empty = true;
    // Not even a look at what follows the last: it may be written just now.
    while next_seq < end_seq {
        if let Some((stored, head, body)) = frames.stored(limit, end_seq).map_err(fault)? {
            builder
                .add_stored(&stored, (&head, body), stored.first_seq)
                .map_err(io)?;
            head.producers(body, &stored)
                .for_each(|(seq, producer)| each(seq, producer));
            (next_seq, is_empty) = (head.next_seq(), false);
            frames.leave_batch();
            continue;
        }
        let at = frames.batch_offset(limit).map_err(fault)?;
        let Some((record, _)) = frames.next(end_seq).map_err(fault)? else {
            break;
        };
        if batch != at {
            builder.end_batch().map_err(io)?;
            batch = at;
        }
        builder.add(&record, record.seq).map_err(io)?;
        each(record.seq, record.producer);
        (next_seq, is_empty) = (record.seq.saturating_add(1), false);
    }
    if is_empty {
        return Ok(None);
    }
    builder.seal().map(Some).map_err(io)
}
