//! Where the next record of a batch is, behind one that does not verify.

use crate::{
    format::{
        BatchHeader, SegmentContext,
        record::{self, RECORD_BYTES_MIN},
    },
    types::Seq,
};

/// How many bytes are checksummed in search of the next record of a batch, in all: noise in a large
/// batch has a length that fits at every other place, and would be checksummed from each of them.
/// Behind a length that can be trusted nothing is searched, so this bounds the search only.
pub(super) const SEARCH_BYTES_MAX: u64 = 256 << 20;

/// Of all batches of a walk together not more than that, and so many bytes for each that they have. Damage takes
/// the whole of it in a batch here and there; batches that are crafted for it would in each.
pub(super) const SEARCH_FACTOR: u64 = 256;

/// Up to this length the next record of a sparse batch is searched for from the start, in bytes.
const SPARSE_SEARCH_BYTES: usize = 64 * 1024;

/// How many lost records in a row are tried for each place where the next could start.
const LOST_RUN_MAX: u64 = 8;

/// Finds the next record of a batch behind one whose length cannot be trusted: its distance in
/// bytes, its seq, and how many records were lost on the way.
pub(super) fn resume(
    rest: &[u8],
    context: &SegmentContext,
    batch: &BatchHeader,
    (seq, left): (Seq, u64),
    budget: &mut u64,
) -> Option<(usize, Seq, u64)> {
    // The stated length first: it is right unless the damage hit the length itself.
    let stated = record::frame_bytes_unverified(rest, batch.sparse);
    // In a sparse batch a wrong one may meet a later record, which verifies too: the first that does
    // is the next.
    let stated = stated.filter(|bytes| !batch.sparse || *bytes > SPARSE_SEARCH_BYTES);
    let places = stated.into_iter().chain(RECORD_BYTES_MIN..rest.len());
    for skip in places {
        let candidate = rest.get(skip..)?;
        let lost_max = if Some(skip) == stated {
            1
        } else {
            LOST_RUN_MAX
        };
        if Some(skip) != stated {
            let frame_bytes = record::frame_bytes_unverified(candidate, batch.sparse);
            let Some(frame_bytes) = frame_bytes else {
                continue;
            };
            *budget = budget.checked_sub(frame_bytes as u64 * lost_max.min(left - 1))?;
        }
        for lost in 1..=lost_max.min(left - 1) {
            if let Ok((record, _)) = record::decode(candidate, context, batch, seq + lost) {
                // A sparse record says itself which one it is; a dense one is told by its seed.
                return Some((skip, record.seq, lost));
            }
            if batch.sparse {
                break;
            }
        }
    }
    None
}
