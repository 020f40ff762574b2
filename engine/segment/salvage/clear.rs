//! The tolerant walk through a batch in the clear, where not every record may be: what has to be sealed and is not was
//! put there by somebody.

use super::{Gap, Piece, salvage_batch};
use crate::{
    error::Defect,
    format::{BatchHeader, SegmentContext, batch::BATCH_HEADER_BYTES},
    seal::KeyRing,
    types::Seq,
};

/// The records of a batch in the clear whose header verified; gives the seq after the last it accounts for.
pub(super) fn salvage_clear(
    body: &[u8],
    offset: u64,
    (context, keys): (&SegmentContext, &KeyRing),
    batch: &BatchHeader,
    budget: &mut u64,
    each: &mut impl FnMut(Piece<'_>),
) -> Seq {
    let end_offset = offset + batch.batch_bytes();
    let tampered = |offset, seqs: (Seq, Seq)| {
        Piece::Gap(Gap {
            offset,
            end_offset,
            first_seq: seqs.0,
            next_seq: seqs.1,
            defect: Defect::Tampered,
            torn: false,
        })
    };
    if batch.count > 0 && keys.insists(batch.first_seq) {
        each(tampered(offset, (batch.first_seq, batch.next_seq())));
        return batch.next_seq();
    }
    // One that begins where records may be in the clear may go on where they may not.
    let mut clear = |piece: Piece<'_>| match piece {
        Piece::Record(at, record) if keys.insists(record.seq) => {
            each(tampered(at, (record.seq, record.seq.saturating_add(1))));
        }
        other => each(other),
    };
    let body_offset = offset + BATCH_HEADER_BYTES as u64;
    salvage_batch(body, body_offset, context, batch, budget, &mut clear)
}
