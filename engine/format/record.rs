//! A record frame: checksum, lengths and flags, then key and value. Layout: `format.md`, "Record".

use super::{BatchHeader, NUMBER_MAX, SegmentContext, at, checksum, checksum::Kind};
use super::{i64_at, producers::EPOCH_CURSOR, u16_at, u32_at, u64_at};
use crate::{error::Defect, types::Seq};

/// The longest value in bytes: 27 bits of length.
pub const VALUE_BYTES_MAX: usize = (1 << 27) - 1;
/// The longest key in bytes: 16 bits of length.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// The size of the seq that each record of a sparse batch states, in bytes.
pub const SEQ_DELTA_BYTES: usize = 4;
/// The smallest record frame in bytes: checksum and meta.
pub const RECORD_BYTES_MIN: usize = 8;

/// The longest head in bytes: with a seq, a key's length, a time and a producer.
pub(super) const HEAD_BYTES_MAX: usize = RECORD_BYTES_MIN + SEQ_DELTA_BYTES + 2 + 8 + 20;

const VALUE_MASK: u32 = (1 << 27) - 1;
const KEY: u32 = 1 << 27;
const TOMBSTONE: u32 = 1 << 28;
const TIMESTAMP: u32 = 1 << 29;
const PRODUCER: u32 = 1 << 30;
const MARKER: u32 = 1 << 31;

/// Who appended a record, and as which of its own: the identity of an idempotent append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The producer's id, chosen by the application.
    pub id: u64,
    /// The producer's incarnation; a higher one fences off the lower ones.
    pub epoch: u32,
    /// The producer's own number for the append; all records of it carry the same.
    pub number: u64,
}

/// A record that borrows its bytes from wherever they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its number.
    pub seq: Seq,
    /// Its time, in milliseconds since 1970: the caller's, or when it was appended.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` makes it a tombstone, which says that the key has no value any more.
    pub value: Option<&'a [u8]>,
    /// Who appended it, if that was said.
    pub producer: Option<Producer>,
}

/// What an encoder needs to know of a record beyond the batch it goes into.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    /// Its key, at most [`KEY_BYTES_MAX`].
    pub key: Option<&'a [u8]>,
    /// Its value, at most [`VALUE_BYTES_MAX`]; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its own time, if that is not the batch's.
    pub timestamp_ms: Option<i64>,
    /// Who appended it.
    pub producer: Option<Producer>,
}

impl RecordParts<'_> {
    /// The size of the frame in bytes, in a dense batch.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        RECORD_BYTES_MIN
            + self.key.map_or(0, |key| 2 + key.len())
            + self.timestamp_ms.map_or(0, |_| 8)
            + self.producer.map_or(0, |_| 20)
            + self.value.map_or(0, <[u8]>::len)
    }
}

/// Appends a record frame to `out`. `seq_delta` is the distance from the batch's first seq and is
/// stored only in a sparse batch.
///
/// INVARIANT: key and value are within their limits; `append` checks before anything is queued.
#[inline(always)]
pub fn encode(
    out: &mut Vec<u8>,
    salt: u64,
    seq: Seq,
    seq_delta: Option<u32>,
    record: &RecordParts<'_>,
) {
    let value = record.value.unwrap_or_default();
    let value_bytes = u32::try_from(value.len()).unwrap_or(VALUE_MASK);
    debug_assert!(
        value_bytes <= VALUE_MASK,
        "the value's limit was not checked"
    );
    let mut meta = MARKER | (value_bytes & VALUE_MASK);
    let mut flag = |set: bool, bit: u32| meta |= if set { bit } else { 0 };
    flag(record.key.is_some(), KEY);
    flag(record.value.is_none(), TOMBSTONE);
    flag(record.timestamp_ms.is_some(), TIMESTAMP);
    flag(record.producer.is_some(), PRODUCER);

    let mut head = Head::default();
    head.put(&(u64::from(meta) << 32).to_le_bytes());
    if let Some(delta) = seq_delta {
        head.put(&delta.to_le_bytes());
    }
    if let Some(key) = record.key {
        debug_assert!(
            key.len() <= KEY_BYTES_MAX,
            "the key's limit was not checked"
        );
        head.put(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    }
    if let Some(timestamp) = record.timestamp_ms {
        head.put(&timestamp.to_le_bytes());
    }
    if let Some(producer) = record.producer {
        head.put(&producer.id.to_le_bytes());
        head.put(&producer.epoch.to_le_bytes());
        head.put(&producer.number.to_le_bytes());
    }
    let key = record.key.unwrap_or_default();
    // Over the caller's bytes and not over their copy: what was only just stored is slow to load.
    let seed = checksum::seed(Kind::Record, salt, seq);
    let crc = [head.bytes().get(4..).unwrap_or_default(), key, value]
        .iter()
        .fold(seed, |crc, part| checksum::crc32c(crc, part));
    head.seal(crc);
    out.reserve(head.len + key.len() + value.len());
    out.extend_from_slice(head.bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// The head of a frame while it is put together: everything before the key.
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: [0; HEAD_BYTES_MAX],
            len: 0,
        }
    }
}

impl Head {
    #[inline(always)]
    fn put(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(slot) = self.bytes.get_mut(self.len..end) {
            slot.copy_from_slice(part);
            self.len = end;
        }
    }

    /// Puts the checksum in its place at the front.
    fn seal(&mut self, crc: u32) {
        if let Some(slot) = self.bytes.first_chunk_mut() {
            *slot = crc.to_le_bytes();
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The lengths in a record's head, bounded by the bytes that are there but not yet checksummed.
#[derive(Clone, Copy, Debug)]
struct Shape {
    meta: u32,
    head_bytes: usize,
    key_bytes: usize,
    value_bytes: usize,
}

impl Shape {
    /// The shape of the frame at the start of `bytes`, and the frame.
    #[inline(always)]
    fn read(bytes: &[u8], sparse: bool) -> Result<(Self, &[u8]), Defect> {
        let shape = Self::told_by(bytes, sparse);
        // What the bytes are too short for was read as zeros: then the rest of it does not fit either.
        match bytes.get(..shape.head_bytes + shape.key_bytes + shape.value_bytes) {
            Some(frame) => Ok((shape, frame)),
            None => Err(Self::truncated(bytes, sparse)),
        }
    }

    #[inline(always)]
    fn told_by(bytes: &[u8], sparse: bool) -> Self {
        let meta = u32_at(bytes, 4);
        let flag = |bit: u32, size: usize| if meta & bit == 0 { 0 } else { size };
        let fixed = RECORD_BYTES_MIN + if sparse { SEQ_DELTA_BYTES } else { 0 };
        Self {
            meta,
            head_bytes: fixed + flag(KEY, 2) + flag(TIMESTAMP, 8) + flag(PRODUCER, 20),
            key_bytes: if meta & KEY == 0 {
                0
            } else {
                u16_at(bytes, fixed).into()
            },
            value_bytes: (meta & VALUE_MASK) as usize,
        }
    }

    #[cold]
    fn truncated(bytes: &[u8], sparse: bool) -> Defect {
        let shape = Self::told_by(bytes, sparse);
        let whole = shape.head_bytes + shape.key_bytes + shape.value_bytes;
        let needs = [RECORD_BYTES_MIN, shape.head_bytes, whole];
        let needed = needs.into_iter().find(|needed| bytes.len() < *needed);
        Defect::Truncated {
            needed_bytes: needed.unwrap_or(whole) as u64,
            available_bytes: bytes.len() as u64,
        }
    }
}

/// Reads the record frame at the start of `bytes`, which reach to the end of the batch, and gives
/// the frame's size with it. `dense_seq` is the seq it must have in a dense batch; in a sparse one
/// its own field counts and `dense_seq` is the lowest that it may have.
///
/// # Errors
/// A length that does not fit, a checksum that does not match, or a value that no writer produces.
#[inline(always)]
pub fn decode<'a>(
    bytes: &'a [u8],
    context: &SegmentContext,
    batch: &BatchHeader,
    dense_seq: Seq,
) -> Result<(RecordRef<'a>, usize), Defect> {
    let (shape, frame) = Shape::read(bytes, batch.sparse)?;
    let seq = seq_of(frame, batch, dense_seq);
    let seed = checksum::seed(Kind::Record, context.salt, seq);
    let (stored, computed) = (
        u32_at(frame, 0),
        checksum::crc32c(seed, frame.get(4..).unwrap_or_default()),
    );
    if stored != computed {
        return Err(Defect::BadChecksum { stored, computed });
    }
    if batch.sparse {
        check_stated(seq, dense_seq)?;
    }
    let record = fields(frame, &shape, seq, batch.timestamp_ms)?;
    Ok((record, frame.len()))
}

/// What a record of a sparse batch says of its seq: of a dense one, the header did.
fn check_stated(seq: Seq, floor: Seq) -> Result<(), Defect> {
    if seq < floor {
        return Err(Defect::SequenceGap {
            expected: floor,
            found: seq,
        });
    }
    // The seq after it counts as well.
    if seq >= NUMBER_MAX {
        return Err(Defect::Malformed("record: seq is too large"));
    }
    Ok(())
}

/// The seq that a frame states, or that it has by its place.
#[inline(always)]
fn seq_of(frame: &[u8], batch: &BatchHeader, dense_seq: Seq) -> Seq {
    if batch.sparse {
        let delta = u32_at(frame, RECORD_BYTES_MIN);
        batch.first_seq.saturating_add(delta.into())
    } else {
        dense_seq
    }
}

/// Binds a frame to another salt: of a record that was verified, or only just encoded.
pub(crate) fn bind(frame: &mut [u8], salt: u64, seq: Seq) {
    let seed = checksum::seed(Kind::Record, salt, seq);
    let sum = checksum::crc32c(seed, frame.get(4..).unwrap_or_default());
    if let Some(slot) = frame.first_chunk_mut() {
        *slot = sum.to_le_bytes();
    }
}

/// A frame that was verified before: what its checksum is, what it started from, and its size.
pub(super) struct Frame {
    pub(super) checksum: u32,
    pub(super) seed: u32,
    pub(super) seq: Seq,
    pub(super) bytes: usize,
}

/// The frame at the start of `bytes`, in a batch that was verified before.
pub(super) fn frame_verified(
    bytes: &[u8],
    context: &SegmentContext,
    batch: &BatchHeader,
    dense_seq: Seq,
) -> Option<Frame> {
    let (_, frame) = Shape::read(bytes, batch.sparse).ok()?;
    let seq = seq_of(frame, batch, dense_seq);
    Some(Frame {
        checksum: u32_at(frame, 0),
        seed: checksum::seed(Kind::Record, context.salt, seq),
        seq,
        bytes: frame.len(),
    })
}

/// The fields of a frame whose checksum held.
#[inline(always)]
fn fields<'a>(
    frame: &'a [u8],
    shape: &Shape,
    seq: Seq,
    batch_timestamp_ms: i64,
) -> Result<RecordRef<'a>, Defect> {
    let has = |bit: u32| shape.meta & bit != 0;
    if !has(MARKER) {
        return Err(Defect::Malformed("record marker"));
    }
    if has(TOMBSTONE) && (!has(KEY) || shape.value_bytes != 0) {
        return Err(Defect::Malformed("tombstone"));
    }
    let mut cursor = shape.head_bytes;
    let producer = has(PRODUCER).then(|| {
        cursor -= 20;
        Producer {
            id: u64_at(frame, cursor),
            epoch: u32::from_le_bytes(at(frame, cursor + 8)),
            number: u64_at(frame, cursor + 12),
        }
    });
    if let Some(Producer { epoch, number, .. }) = producer
        && epoch == EPOCH_CURSOR
        && number > NUMBER_MAX
    {
        return Err(Defect::Malformed("record: a cursor's seq is too large"));
    }
    let timestamp_ms = if has(TIMESTAMP) {
        i64_at(frame, cursor - 8)
    } else {
        batch_timestamp_ms
    };
    let (key, value) = frame
        .get(shape.head_bytes..)
        .unwrap_or_default()
        .split_at_checked(shape.key_bytes)
        .unwrap_or_default();
    Ok(RecordRef {
        seq,
        timestamp_ms,
        key: has(KEY).then_some(key),
        value: (!has(TOMBSTONE)).then_some(value),
        producer,
    })
}

/// What a frame has behind checksum and meta, in bytes, by its meta and by what follows that. Not verified.
pub(super) fn rest_bytes_unverified(meta: u32, rest: &[u8], sparse: bool) -> usize {
    let flag = |bit: u32, size: usize| if meta & bit == 0 { 0 } else { size };
    let fixed = if sparse { SEQ_DELTA_BYTES } else { 0 };
    let key_bytes = match meta & KEY {
        0 => 0,
        _ => u16_at(rest, fixed).into(),
    };
    fixed
        + (flag(KEY, 2) + flag(TIMESTAMP, 8) + flag(PRODUCER, 20))
        + key_bytes
        + (meta & VALUE_MASK) as usize
}

/// The size of the frame at the start of `bytes` by its own account, not verified.
/// Only for stepping over records of a batch that was verified before.
#[inline]
#[must_use]
pub fn frame_bytes_unverified(bytes: &[u8], sparse: bool) -> Option<usize> {
    Shape::read(bytes, sparse)
        .ok()
        .map(|(_, frame)| frame.len())
}
