//! A run of batches as they are stored, for who copies a segment without knowing what is in it.
//!
//! INVARIANT: each batch verifies as far as that takes neither codec nor key; a run ends between two.

use super::{Fault, View, Window};
use crate::{
    error::Defect,
    format::{
        BatchHeader, SegmentContext, StoredHead,
        batch::{BATCH_HEADER_BYTES, Records, check_annex},
        header::HEADER_BYTES,
    },
};
use bytes::Bytes;

/// The stored bytes from `from`, the start of the segment or of a batch, up to `limit`, the end of one: about
/// `bytes_max` of them, but one batch at least.
pub(crate) fn run(view: &View, from: u64, limit: u64, bytes_max: u64) -> Result<Bytes, Fault> {
    let io = |error| Fault::Io {
        offset: from,
        error,
    };
    let mut window = Window::of_chunks(&view.source, bytes_max);
    let start = from.max(HEADER_BYTES as u64);
    let mut end = start;
    while end < limit {
        let body_at = end + BATCH_HEADER_BYTES as u64;
        if body_at - from > bytes_max && end > start {
            break;
        }
        let bytes = window.get(from, body_at - from, limit).map_err(io)?;
        let batch = BatchHeader::decode(part(bytes, from, end), &view.context, end)
            .map_err(|defect| fault(view, end, defect))?;
        let next = end.saturating_add(batch.batch_bytes());
        if next - from > bytes_max && end > start {
            break;
        }
        // Only for the first batch of a run is more read than at first: so all of it is verified as it is given.
        let bytes = window.get(from, next - from, limit).map_err(io)?;
        let body_bytes = usize::try_from(batch.body_bytes).unwrap_or(usize::MAX);
        let body = part(bytes, from, body_at).get(..body_bytes);
        let cut = Defect::Truncated {
            needed_bytes: batch.batch_bytes(),
            available_bytes: part(bytes, from, end).len() as u64,
        };
        body.ok_or(cut)
            .and_then(|body| verify(body, &batch, &view.context, end))
            .map_err(|defect| fault(view, end, defect))?;
        end = next;
    }
    let bytes = window.get(from, end - from, limit).map_err(io)?;
    let len = usize::try_from(end - from)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    Ok(match window.starts_at(from) {
        true => window.into_chunk().slice(..len),
        false => Bytes::copy_from_slice(window.peek(from, end)),
    })
}

fn fault(view: &View, offset: u64, defect: Defect) -> Fault {
    Fault::Defect {
        offset,
        seq: view.context.base_seq,
        defect,
    }
}

/// What lies from `offset` on in bytes that begin at `from`.
fn part(bytes: &[u8], from: u64, offset: u64) -> &[u8] {
    let skipped = usize::try_from(offset - from).unwrap_or(usize::MAX);
    bytes.get(skipped..).unwrap_or_default()
}

/// Verifies the body of a batch as it is stored.
fn verify(
    body: &[u8],
    batch: &BatchHeader,
    context: &SegmentContext,
    offset: u64,
) -> Result<(), Defect> {
    if batch.count == 0 {
        return check_annex(body, context, offset).map(drop);
    }
    if batch.packed {
        return StoredHead::decode(body, batch, context, offset).map(drop);
    }
    Records::new(body, *context, *batch).try_for_each(|record| record.map(drop))
}
