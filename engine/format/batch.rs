//! The 24-byte batch header and the walk over a batch's records. Layout: `format.md`, "Batch".
//!
//! A batch is in the log if and only if its header and every record of it verify.

use super::{NUMBER_MAX, RecordRef, SegmentContext, at, check_crc, checksum, packed};
use super::{checksum::Kind, fixed, record, u32_at};
use crate::{error::Defect, types::Seq};

/// The size of a batch header in bytes.
pub const BATCH_HEADER_BYTES: usize = 24;
/// The most records in one batch: 24 bits of count.
pub const COUNT_MAX: u32 = (1 << 24) - 1;

const COUNT_MASK: u32 = COUNT_MAX;
/// Bits 28 to 31 of the last word: the pattern that makes zero invalid and a search fast.
const PATTERN: u32 = 0xA << 28;
const PATTERN_MASK: u32 = 0xF << 28;
const SPARSE: u32 = 1 << 24;
const WATERMARK: u32 = 1 << 25;
/// The records are stored otherwise: see `packed`.
const PACKED: u32 = 1 << 26;
/// The header goes on: what follows is for a later version to say.
const EXTENDED: u32 = 1 << 27;

/// The smallest body of an annex in bytes: its checksum and its kind.
pub const ANNEX_BYTES_MIN: usize = 8;

/// The header of a batch, or a watermark when `count` is 0: then it only states `durable_seq`, or has an
/// annex for a body, which says something that nobody needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Bytes of records, or of the annex, after the header.
    pub body_bytes: u32,
    /// The seq of its first record; for a watermark, the next seq to be given.
    pub first_seq: Seq,
    /// The seq below which a sync had returned success when it was written.
    pub durable_seq: Seq,
    /// The time of those records that carry none of their own, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Records in it.
    pub count: u32,
    /// Whether each record carries its seq (after compaction) instead of following its neighbour.
    pub sparse: bool,
    /// Whether the records are [packed] together.
    pub packed: bool,
}

impl BatchHeader {
    /// Header and records together, in bytes.
    #[must_use]
    pub fn batch_bytes(&self) -> u64 {
        BATCH_HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// The seq after the last record of a dense batch.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.first_seq.saturating_add(self.count.into())
    }

    /// Whether a batch with this time can state it: at most 24 days from the segment's own.
    #[must_use]
    pub fn timestamp_fits(context: &SegmentContext, timestamp_ms: i64) -> bool {
        let distance = timestamp_ms.checked_sub(context.base_timestamp_ms);
        distance.is_some_and(|distance| i32::try_from(distance).is_ok())
    }

    /// The header as stored at `offset` of the segment.
    ///
    /// INVARIANT: seqs lie within `u32` of the segment's base, and so does the time: a segment is
    /// rotated before they do not.
    #[must_use]
    pub fn encode(&self, context: &SegmentContext, offset: u64) -> [u8; BATCH_HEADER_BYTES] {
        let delta = |from: u64, to: u64| {
            debug_assert!(
                from <= to && to - from <= u32::MAX.into(),
                "seq delta out of range"
            );
            u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX)
        };
        let time = self.timestamp_ms.saturating_sub(context.base_timestamp_ms);
        let time = i32::try_from(time).unwrap_or(if time < 0 { i32::MIN } else { i32::MAX });
        let mut last = PATTERN | (self.count & COUNT_MASK);
        last |= if self.sparse { SPARSE } else { 0 };
        last |= if self.count == 0 { WATERMARK } else { 0 };
        last |= if self.packed { PACKED } else { 0 };
        let mut out = [0; BATCH_HEADER_BYTES];
        let fields = [
            [0; 4],
            self.body_bytes.to_le_bytes(),
            delta(context.base_seq, self.first_seq).to_le_bytes(),
            delta(self.durable_seq, self.first_seq).to_le_bytes(),
            time.to_le_bytes(),
            last.to_le_bytes(),
        ];
        for (slot, field) in out.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field);
        }
        let crc = checksum::crc32c(seed(context, offset), &at::<20>(&out, 4));
        if let Some(slot) = out.first_chunk_mut() {
            *slot = crc.to_le_bytes();
        }
        out
    }

    /// Reads the header at `offset`, the start of `bytes`.
    ///
    /// # Errors
    /// Zeros, a checksum that does not match, or a value that no writer produces.
    #[inline]
    pub fn decode(bytes: &[u8], context: &SegmentContext, offset: u64) -> Result<Self, Defect> {
        let bytes: &[u8; BATCH_HEADER_BYTES] = fixed(bytes)?;
        if bytes == &[0; BATCH_HEADER_BYTES] {
            return Err(Defect::Zeroed);
        }
        check_crc(
            at::<20>(bytes, 4).as_slice(),
            seed(context, offset),
            u32_at(bytes, 0),
        )?;
        let last = u32_at(bytes, 20);
        if last & PATTERN_MASK != PATTERN {
            return Err(Defect::Malformed("batch flags"));
        }
        if last & EXTENDED != 0 {
            return Err(Defect::UnknownExtension);
        }
        let count = last & COUNT_MASK;
        let body_bytes = u32_at(bytes, 4);
        let sparse = last & SPARSE != 0;
        let packed = last & PACKED != 0;
        let first_seq = context.base_seq.checked_add(u32_at(bytes, 8).into());
        let durable_seq = first_seq.and_then(|seq| seq.checked_sub(u32_at(bytes, 12).into()));
        let (Some(first_seq), Some(durable_seq)) = (first_seq, durable_seq) else {
            return Err(Defect::Malformed("batch seq"));
        };
        let least = match packed {
            true => packed::HEAD_BYTES as u64,
            false => u64::from(count) * record_bytes_min(sparse),
        };
        if (last & WATERMARK != 0) != (count == 0)
            || u64::from(body_bytes) < least
            || (count == 0
                && (sparse || packed || (1..ANNEX_BYTES_MIN).contains(&(body_bytes as usize))))
            || first_seq.saturating_add(count.into()) > NUMBER_MAX
        {
            return Err(Defect::Malformed("batch counts"));
        }
        let time = i32::from_le_bytes(at(bytes, 16));
        let timestamp_ms = context.base_timestamp_ms.saturating_add(time.into());
        Ok(Self {
            body_bytes,
            first_seq,
            durable_seq,
            timestamp_ms,
            count,
            sparse,
            packed,
        })
    }
}

/// The body of an annex that goes into a batch at this offset: something of a kind, which readers that do
/// not know the kind step over.
#[must_use]
pub fn encode_annex(kind: u32, content: &[u8], context: &SegmentContext, offset: u64) -> Vec<u8> {
    let mut body = [&[0; 4], kind.to_le_bytes().as_slice(), content].concat();
    seal_annex(&mut body, context, offset);
    body
}

/// Puts the checksum of an annex in its place.
pub(crate) fn seal_annex(body: &mut [u8], context: &SegmentContext, offset: u64) {
    let seed = checksum::seed(Kind::Annex, context.salt, offset);
    let sum = checksum::crc32c(seed, body.get(4..).unwrap_or_default());
    if let Some(slot) = body.first_chunk_mut() {
        *slot = sum.to_le_bytes();
    }
}

/// Checks the body of a batch without records at this offset; gives the kind of its annex, if it has one.
///
/// # Errors
/// Too few bytes, or a checksum that does not match.
pub fn check_annex(
    body: &[u8],
    context: &SegmentContext,
    offset: u64,
) -> Result<Option<u32>, Defect> {
    if body.is_empty() {
        return Ok(None);
    }
    let head: &[u8; ANNEX_BYTES_MIN] = fixed(body)?;
    let seed = checksum::seed(Kind::Annex, context.salt, offset);
    check_crc(body.get(4..).unwrap_or_default(), seed, u32_at(head, 0))?;
    Ok(Some(u32_at(head, 4)))
}

/// A quick "surely not a batch header" for searching; `bytes` start at the candidate.
#[inline]
#[must_use]
pub fn cannot_be_header(bytes: &[u8]) -> bool {
    u32_at(bytes, 20) & PATTERN_MASK != PATTERN
}

/// Whether the header that starts here has its checksum: for searching, where almost nothing has, and a defect
/// that says why would cost more than the sum.
#[inline]
pub(crate) fn has_checksum(bytes: &[u8], context: &SegmentContext, offset: u64) -> bool {
    let bytes: Option<&[u8; BATCH_HEADER_BYTES]> = bytes.first_chunk();
    bytes.is_some_and(|bytes| {
        checksum::crc32c(seed(context, offset), &at::<20>(bytes, 4)) == u32_at(bytes, 0)
    })
}

/// From this size on a record's own checksum is cheaper to join to another than to sum it anew.
const JOINED_BYTES_MIN: u32 = 512;

/// The plain checksum of a batch as stored, continued from `seed`. Its header and its records were
/// verified, or only just encoded: those of large records is taken over from their own.
pub(crate) fn checksum_verified(
    seed: u32,
    bytes: &[u8],
    context: &SegmentContext,
    batch: &BatchHeader,
) -> u32 {
    if batch.packed || batch.body_bytes / JOINED_BYTES_MIN < batch.count.max(1) {
        return checksum::crc32c(seed, bytes);
    }
    let (head, mut body) = bytes
        .split_at_checked(BATCH_HEADER_BYTES)
        .unwrap_or((bytes, &[]));
    let mut sum = checksum::crc32c(seed, head);
    let mut dense_seq = batch.first_seq;
    for _ in 0..batch.count {
        let Some(frame) = record::frame_verified(body, context, batch, dense_seq) else {
            break;
        };
        sum = checksum::crc32c(sum, &frame.checksum.to_le_bytes());
        sum = checksum::join(sum, frame.checksum, frame.seed, frame.bytes - 4);
        body = body.get(frame.bytes..).unwrap_or_default();
        dense_seq = frame.seq.saturating_add(1);
    }
    checksum::crc32c(sum, body)
}

pub(super) fn record_bytes_min(sparse: bool) -> u64 {
    (record::RECORD_BYTES_MIN + if sparse { record::SEQ_DELTA_BYTES } else { 0 }) as u64
}

fn seed(context: &SegmentContext, offset: u64) -> u32 {
    checksum::seed(Kind::Batch, context.salt, offset)
}

/// Walks the records of a batch, verifying each. Ends after the first defect.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    body: &'a [u8],
    context: SegmentContext,
    batch: BatchHeader,
    dense_seq: Seq,
    left: u32,
    consumed_bytes: usize,
}

impl<'a> Records<'a> {
    /// The records in `body`, the bytes after the header of `batch`.
    #[must_use]
    pub fn new(body: &'a [u8], context: SegmentContext, batch: BatchHeader) -> Self {
        let (dense_seq, left) = (batch.first_seq, batch.count);
        Self {
            body,
            context,
            batch,
            dense_seq,
            left,
            consumed_bytes: 0,
        }
    }

    /// How far into the body the walk has come, in bytes.
    #[must_use]
    pub fn consumed_bytes(&self) -> usize {
        self.consumed_bytes
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, Defect>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let rest_bytes = std::mem::take(&mut self.body).len();
            return (rest_bytes != 0).then_some(Err(Defect::Malformed("batch length")));
        }
        match record::decode(self.body, &self.context, &self.batch, self.dense_seq) {
            Ok((record, frame_bytes)) => {
                self.left -= 1;
                self.consumed_bytes += frame_bytes;
                self.dense_seq = record.seq.saturating_add(1);
                self.body = self.body.get(frame_bytes..).unwrap_or_default();
                Some(Ok(record))
            }
            Err(defect) => {
                self.left = 0;
                self.body = &[];
                Some(Err(defect))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_HEADER_BYTES, BatchHeader, checksum_verified};
    use crate::format::{SegmentContext, crc32c, record};

    #[test]
    fn is_a_checksum_that_takes_over_those_of_large_records_the_one_of_the_bytes() {
        let context = SegmentContext {
            salt: 0x0123_4567_89ab_cdef,
            base_seq: 40,
            base_timestamp_ms: 0,
            log_id: crate::types::LogId([0; 16]),
        };
        let value: Vec<u8> = (0..20_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for (sparse, sizes) in [
            (false, [600, 20_000, 0, 5_000].as_slice()),
            (true, &[600, 20_000, 0, 5_000]),
            (false, &[1, 2, 3]),
            (false, &[]),
        ] {
            let mut batch = BatchHeader {
                body_bytes: 0,
                first_seq: 44,
                durable_seq: 41,
                timestamp_ms: 0,
                count: 0,
                sparse,
                packed: false,
            };
            let mut body = Vec::new();
            for (number, size) in (0..).zip(sizes) {
                let parts = record::RecordParts {
                    key: None,
                    value: value.get(..*size),
                    timestamp_ms: None,
                    producer: None,
                };
                let delta = if sparse { 3 * number } else { number };
                let seq = batch.first_seq + u64::from(delta);
                record::encode(
                    &mut body,
                    context.salt,
                    seq,
                    sparse.then_some(delta),
                    &parts,
                );
                batch.count += 1;
            }
            batch.body_bytes = u32::try_from(body.len()).expect("small");
            let mut bytes = batch.encode(&context, 512).to_vec();
            assert_eq!(bytes.len(), BATCH_HEADER_BYTES);
            bytes.extend_from_slice(&body);
            let sum = checksum_verified(77, &bytes, &context, &batch);
            assert_eq!(sum, crc32c(77, &bytes), "sparse {sparse}, {sizes:?}");
        }
    }
}
