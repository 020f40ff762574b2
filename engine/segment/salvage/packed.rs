//! The tolerant walk through a packed batch: its records verify together, or one wrong byte is mended, or
//! they are lost together.

use super::{Gap, Piece, salvage_batch};
use crate::{
    error::Defect,
    format::{BatchHeader, SegmentContext, StoredHead, batch::BATCH_HEADER_BYTES, packed::inner},
    seal::KeyRing,
    segment::{Fault, unpack},
    types::Seq,
};
use bytes::Bytes;

/// The records of a packed batch whose header verified; gives the seq after the last it accounts for.
pub(super) fn salvage_packed(
    body: &[u8],
    offset: u64,
    (context, keys): (&SegmentContext, &KeyRing),
    batch: &BatchHeader,
    budget: &mut u64,
    each: &mut impl FnMut(Piece<'_>),
) -> Result<Seq, Fault> {
    let body_offset = offset + BATCH_HEADER_BYTES as u64;
    let gap = |seqs: (Seq, Seq), defect| Gap {
        offset: body_offset,
        end_offset: offset + batch.batch_bytes(),
        first_seq: seqs.0,
        next_seq: seqs.1,
        defect,
        torn: false,
    };
    let mended;
    let (head, body) = match StoredHead::decode(body, batch, context, offset) {
        Ok(head) => (head, body),
        Err(defect) => {
            mended = matches!(defect, Defect::BadChecksum { .. })
                .then(|| StoredHead::mend(body, batch, context, offset))
                .flatten()
                .filter(|(head, body)| {
                    let opened = unpack(head, body, batch, (context, keys), Bytes::new());
                    match opened {
                        Ok(block) => block.is_ok(),
                        Err(defect) => defect.is_out_of_reach(),
                    }
                });
            let Some((head, body)) = &mended else {
                let next_seq = batch.next_seq();
                each(Piece::Gap(gap((batch.first_seq, next_seq), defect)));
                return Ok(next_seq);
            };
            // Reported, though no record is missing.
            each(Piece::Gap(gap((batch.first_seq, batch.first_seq), defect)));
            (*head, body.as_slice())
        }
    };
    let next_seq = head.next_seq();
    let without = head
        .opener(body, keys)
        .err()
        .filter(|defect| defect.is_out_of_reach());
    each(Piece::Packed(offset, batch, &head, without));
    if without.is_some() {
        return Ok(next_seq);
    }
    match unpack(&head, body, batch, (context, keys), Bytes::new()) {
        Ok(Ok((block, time))) => {
            let batch = &BatchHeader {
                timestamp_ms: time,
                ..*batch
            };
            // Of what is packed nothing has a place of its own.
            let mut whole = |piece: Piece<'_>| match piece {
                Piece::Gap(part) => {
                    each(Piece::Gap(gap(
                        (part.first_seq, part.next_seq),
                        part.defect,
                    )));
                }
                other => each(other),
            };
            let context = inner(context);
            salvage_batch(&block, body_offset, &context, batch, budget, &mut whole);
        }
        Ok(Err(error)) => return Err(Fault::Io { offset, error }),
        Err(defect) => each(Piece::Gap(gap((batch.first_seq, next_seq), defect))),
    }
    Ok(next_seq)
}
