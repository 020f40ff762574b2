//! What lies behind the verified batches of an unsealed segment: zeros, what a write left, old bytes, and
//! whether any of it attests that more had been there.
//!
//! INVARIANT: every byte offset is tried. In a file that was another segment before, a header counts only
//! if it can be there: chance gets so many tries in old bytes (`format.md`, "What is known beyond it").
//!
//! Called by `scan`, recovery, verification and repair.

use super::{Fault, Window, scan::get};
use crate::{
    format::{
        BatchHeader, SegmentContext, SegmentHeader,
        batch::{BATCH_HEADER_BYTES, cannot_be_header, has_checksum},
        clear_end,
        manifest::FRAMES_END_MAX,
        packed::PACKED_RECORD_BYTES_MIN,
        record::RECORD_BYTES_MIN,
    },
    types::Seq,
};
use std::ops::ControlFlow;

/// The offset after the last byte that is not zero, at least `from`.
pub(crate) fn nonzero_end(window: &mut Window, from: u64, file_end: u64) -> Result<u64, Fault> {
    let (mut at, mut end) = (from, from);
    let file_end = file_end.min(FRAMES_END_MAX);
    while at < file_end {
        let bytes = get(window, at, 1, file_end)?;
        if bytes.is_empty() {
            break;
        }
        // A file may be zeros to its end, and those are passed at the speed of memory.
        if !is_zero(bytes)
            && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        {
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
    Ok(end)
}

/// Whether all of it is zeros; many bytes at a time, also in a build without optimization.
fn is_zero(bytes: &[u8]) -> bool {
    let zeros = [0; ZERO_CHUNK_BYTES];
    bytes.chunks(zeros.len()).all(|it| zeros.starts_with(it))
}

/// Compared at once.
const ZERO_CHUNK_BYTES: usize = 1024;

/// What the bytes behind an unverified place say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The highest durable watermark that any batch header states.
    pub(crate) durable_seq: Seq,
    /// The highest seq that follows a batch whose header verifies.
    pub(crate) next_seq: Seq,
    /// After the last byte that is not zero; in a file that was another segment before, after the last that
    /// can be of this one.
    pub(crate) nonzero_end: u64,
    /// Where the last batch ends whose header verifies, if that is in the file: it may end in zeros.
    pub(crate) batches_end: u64,
    /// Where the first header is that only a newer program can read.
    pub(crate) newer: Option<u64>,
}

impl Witness {
    /// Up to where there may be records.
    pub(crate) fn frames_end(&self) -> u64 {
        self.nonzero_end.max(self.batches_end)
    }
}

/// What there may be in a file behind an end that is in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beyond {
    /// Zeros.
    Zeros,
    /// What another segment left there.
    Old(Old),
}

/// What another segment left behind an end. Among so many bytes a header may verify by chance: one counts if its
/// records can lie there, the first of them being `next_seq` or behind it by as many as fit before, in this file
/// or in `bytes_before` of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Old {
    pub(crate) next_seq: Seq,
    pub(crate) bytes_before: u64,
    /// Whether records may have been packed as they were appended: then more of them fit.
    pub(crate) packed_appends: bool,
}

impl Beyond {
    /// In a segment with this header, behind frames after which this seq is next.
    pub(crate) fn of(header: &SegmentHeader, next_seq: Seq) -> Self {
        match header.recycled {
            true => Self::Old(Old {
                next_seq,
                bytes_before: 0,
                packed_appends: header.packed_appends,
            }),
            false => Self::Zeros,
        }
    }
}

/// Searches every byte offset from `from` to the end of the file for batch headers that verify.
///
/// A header is witness enough without its records: it has its own checksum, bound to salt and
/// offset, and states what a sync had already confirmed when it was written.
pub(crate) fn witness(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    file_end: u64,
    beyond: Beyond,
) -> Result<Witness, Fault> {
    match beyond {
        Beyond::Zeros => witness_in_zeros(window, context, from, file_end),
        Beyond::Old(old) => witness_in_old(window, context, from, file_end, old),
    }
}

/// Among old bytes. What only a newer program can read is told by the segment's header, or the manifest.
pub(super) fn witness_in_old(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    file_end: u64,
    old: Old,
) -> Result<Witness, Fault> {
    let record_bytes_min = match old.packed_appends {
        true => PACKED_RECORD_BYTES_MIN.into(),
        false => RECORD_BYTES_MIN as u64,
    };
    let mut found = Witness {
        nonzero_end: nonzero_end(window, from, clear_end(from).min(file_end))?,
        ..Witness::default()
    };
    search_headers(window, context, from, file_end, |offset, batch| {
        let room = old.bytes_before + (offset - from);
        let fits = |batch: &&BatchHeader| {
            let records = batch.first_seq.checked_sub(old.next_seq);
            records.is_some_and(|count| count <= room / record_bytes_min)
        };
        if let Some(batch) = batch.filter(fits) {
            let end = (offset + batch.batch_bytes()).min(file_end);
            found.durable_seq = found.durable_seq.max(batch.durable_seq);
            found.next_seq = found.next_seq.max(batch.next_seq());
            found.nonzero_end = found.nonzero_end.max(end);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn witness_in_zeros(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    file_end: u64,
) -> Result<Witness, Fault> {
    let nonzero_end = nonzero_end(window, from, file_end)?;
    let mut found = Witness {
        nonzero_end,
        ..Witness::default()
    };
    search_headers(
        window,
        context,
        from,
        file_end.min(nonzero_end + BATCH_HEADER_BYTES as u64),
        |offset, batch| {
            match batch {
                Some(batch) => {
                    found.durable_seq = found.durable_seq.max(batch.durable_seq);
                    found.next_seq = found.next_seq.max(batch.next_seq());
                    let end = offset + batch.batch_bytes();
                    if end <= file_end {
                        found.batches_end = found.batches_end.max(end);
                    }
                }
                None => found.newer = found.newer.or(Some(offset)),
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(found)
}

/// Tries every byte offset of a range for a batch header that verifies, until `each` has enough. One that
/// only a newer program can read is told of without what it says.
pub(super) fn search_headers(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    end: u64,
    mut each: impl FnMut(u64, Option<&BatchHeader>) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let (mut at, end) = (from, end.min(FRAMES_END_MAX));
    while at < end {
        let bytes = get(window, at, BATCH_HEADER_BYTES as u64, end)?;
        let candidates = bytes.len().saturating_sub(BATCH_HEADER_BYTES - 1);
        if candidates == 0 {
            break;
        }
        if is_zero(bytes) {
            // Zero is no header, and none begins here but within the last bytes.
            at += candidates as u64;
            continue;
        }
        for (offset, candidate) in (at..).zip(bytes.windows(BATCH_HEADER_BYTES)) {
            if cannot_be_header(candidate) || !has_checksum(candidate, context, offset) {
                continue;
            }
            let more = match BatchHeader::decode(candidate, context, offset) {
                Ok(batch) => each(offset, Some(&batch)),
                Err(defect) if defect.is_unsupported() => each(offset, None),
                Err(_) => ControlFlow::Continue(()),
            };
            if more.is_break() {
                return Ok(());
            }
        }
        at += candidates as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;
    use crate::{
        segment::Source,
        vfs::{Vfs, sim::SimFs},
    };
    use std::path::Path;

    const CONTEXT: SegmentContext = SegmentContext {
        salt: 0x1234_5678_9abc_def0,
        base_seq: 1000,
        base_timestamp_ms: 0,
        log_id: crate::types::LogId([0; 16]),
    };
    const FROM: u64 = 300;

    /// What is heard in a file of old bytes with one header that verifies at an offset.
    fn heard(offset: u64, first_seq: Seq, durable_seq: Seq, beyond: Beyond) -> Witness {
        let file = SimFs::new(1).create_new(Path::new("/file")).unwrap();
        let old: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8 | 1).collect();
        file.write_at(&old, 0).unwrap();
        let cleared = vec![0; usize::try_from(clear_end(FROM) - FROM).unwrap()];
        file.write_at(&cleared, FROM).unwrap();
        let header = BatchHeader {
            body_bytes: 80,
            first_seq,
            durable_seq,
            timestamp_ms: 0,
            count: 2,
            sparse: false,
            packed: false,
        };
        file.write_at(&header.encode(&CONTEXT, offset), offset)
            .unwrap();
        let mut window = Window::new(&Source::File(file));
        witness(&mut window, &CONTEXT, FROM, 40_000, beyond).unwrap()
    }

    /// Old bytes are as good as noise, and in enough of it a checksum holds by chance. Then a log was
    /// refused as damaged of which nothing is lost.
    #[test]
    fn is_a_header_heard_among_old_bytes_that_cannot_be_there() {
        let of = |bytes_before, packed_appends| {
            Beyond::Old(Old {
                next_seq: 1010,
                bytes_before,
                packed_appends,
            })
        };
        let old = of(0, false);
        let nothing = Witness {
            nonzero_end: FROM,
            ..Witness::default()
        };
        // Up to here the records of 9,700 bytes reach, if each is as small as can be.
        let most = 1010 + 9_700 / 8;
        for (first_seq, durable_seq, can_be) in [
            (1010, 1010, true),
            (1012, 1011, true),
            (most, 1300, true),
            (most + 1, 1300, false),
            (1009, 1009, false),
            (1 << 31, 1 << 30, false),
        ] {
            let found = heard(FROM + 9_700, first_seq, durable_seq, old);
            if can_be {
                assert_eq!(
                    (found.durable_seq, found.next_seq),
                    (durable_seq, first_seq + 2)
                );
                assert_eq!(found.nonzero_end, FROM + 9_700 + 24 + 80);
            } else {
                assert_eq!(found, nothing, "first seq {first_seq}");
            }
        }
        // Among zeros nothing is there by chance, and all is heard.
        let found = heard(FROM + 9_700, 1 << 31, 1 << 30, Beyond::Zeros);
        assert_eq!(found.durable_seq, 1 << 30);
        // What the tail has room for may have been there, if the header is in the next segment.
        let old = of(8, false);
        assert_eq!(heard(FROM + 9_700, most + 1, 1300, old).durable_seq, 1300);
        // Packed ones take half of that at least.
        let packed_most = 1010 + 9_700 / 4;
        let found = heard(FROM + 9_700, packed_most, 1300, of(0, true));
        assert_eq!(found.durable_seq, 1300);
        let found = heard(FROM + 9_700, packed_most + 1, 1300, of(0, true));
        assert_eq!(found, nothing);
    }
}
