//! The body of a packed batch: what a codec made of its records, behind a head that says so. Layout:
//! `format.md`, "Packed batch".
//!
//! The head holds a checksum of all of it, and what has to be known of the records without them: so that
//! whoever only counts, copies or verifies needs no codec.

use super::{
    BatchHeader, Compression, NUMBER_MAX, SegmentContext, batch::record_bytes_min, check_crc,
    stored,
};
use super::{at, checksum, checksum::Kind, fixed, i64_at, record, u32_at};
use crate::{error::Defect, types::Seq};

/// The size of the head in bytes.
pub const HEAD_BYTES: usize = 40;
/// The size of what it says of the records besides how long they are: its end.
pub const FACTS_BYTES: usize = 28;
/// The most bytes of records in a packed batch of more than one.
pub const RAW_BYTES_MAX: u32 = 1 << 20;
/// The same of one record: its head, key and value at their longest.
const ONE_RECORD_BYTES_MAX: usize =
    record::HEAD_BYTES_MAX + record::KEY_BYTES_MAX + record::VALUE_BYTES_MAX;

/// What the head of a packed batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHead {
    /// The codec, as stored: 1 is lz4, 2 is zstd. One that this library does not know is no defect before
    /// its records are wanted.
    pub codec: u8,
    /// Bytes of records when unpacked.
    pub raw_bytes: u32,
    /// The seq of its last record.
    pub last_seq: Seq,
    /// Records that are tombstones.
    pub tombstone_count: u32,
    /// Records that have a key.
    pub keyed_count: u32,
    /// The earliest time of a record, in milliseconds since 1970.
    pub min_timestamp_ms: i64,
    /// The latest.
    pub max_timestamp_ms: i64,
}

/// What records inside a packed batch are encoded and decoded against: their checksums bind them to
/// their seqs and to no file, so that a packed batch is copied as it is.
#[must_use]
pub fn inner(context: &SegmentContext) -> SegmentContext {
    SegmentContext {
        salt: 0,
        ..*context
    }
}

/// The body of a batch at this offset that holds these records, or nothing if they do not get smaller by
/// an eighth. `facts` is the head, but for what is found out here.
#[must_use]
pub fn encode(
    raw: &[u8],
    codec: Compression,
    batch: &BatchHeader,
    facts: &PackedHead,
    (context, offset): (&SegmentContext, u64),
) -> Option<Vec<u8>> {
    let packed = pack(raw, codec, batch)?;
    let head = PackedHead {
        codec: codec.id(),
        raw_bytes: u32::try_from(raw.len()).ok()?,
        ..*facts
    };
    Some(head.encode(&packed, batch, context, offset))
}

/// These records packed, if they get smaller by an eighth, the head counted in.
pub(super) fn pack(raw: &[u8], codec: Compression, batch: &BatchHeader) -> Option<Vec<u8>> {
    if raw.len() as u64 > raw_bytes_max(batch.count) {
        return None;
    }
    let packed = codec.pack(&columns(raw, batch)?)?;
    (HEAD_BYTES + packed.len() <= raw.len() - raw.len() / 8).then_some(packed)
}

impl PackedHead {
    /// The body of a batch at this offset, of what a codec made of its records.
    #[must_use]
    pub fn encode(
        &self,
        packed: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        offset: u64,
    ) -> Vec<u8> {
        let mut out = vec![0; 4];
        for word in [self.codec.into(), self.raw_bytes] {
            out.extend_from_slice(&u32::to_le_bytes(word));
        }
        self.encode_facts(&mut out, batch);
        out.extend_from_slice(packed);
        stored::sum(&mut out, context, offset);
        out
    }

    /// Checks the body of a packed batch at this offset, without unpacking it, and reads its head.
    ///
    /// # Errors
    /// Too few bytes, a checksum that does not match, or a value that no writer produces.
    pub fn decode(
        body: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        offset: u64,
    ) -> Result<Self, Defect> {
        let head: &[u8; HEAD_BYTES] = fixed(body)?;
        let seed = checksum::seed(Kind::Packed, context.salt, offset);
        check_crc(body.get(4..).unwrap_or_default(), seed, u32_at(head, 0))?;
        let kind = u32_at(head, 4);
        let Ok(codec) = u8::try_from(kind) else {
            return Err(Defect::UnknownExtension);
        };
        let facts = at::<FACTS_BYTES>(head, HEAD_BYTES - FACTS_BYTES);
        let packed = Self::decode_facts(&facts, batch, (codec, u32_at(head, 8)));
        match packed.can_be(batch, raw_bytes_max(batch.count)) {
            true => Ok(packed),
            false => Err(Defect::Malformed("head of a packed batch")),
        }
    }

    /// Puts what it says of the records behind what is in `out`, but for how long they are and the codec.
    pub(super) fn encode_facts(&self, out: &mut Vec<u8>, batch: &BatchHeader) {
        let last_delta = self.last_seq.saturating_sub(batch.first_seq);
        let last_delta = u32::try_from(last_delta).unwrap_or(u32::MAX);
        for word in [last_delta, self.tombstone_count, self.keyed_count] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.min_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
    }

    /// The same read again, of records of so many bytes and this codec.
    pub(super) fn decode_facts(
        facts: &[u8; FACTS_BYTES],
        batch: &BatchHeader,
        (codec, raw_bytes): (u8, u32),
    ) -> Self {
        Self {
            codec,
            raw_bytes,
            last_seq: batch.first_seq.saturating_add(u32_at(facts, 0).into()),
            tombstone_count: u32_at(facts, 4),
            keyed_count: u32_at(facts, 8),
            min_timestamp_ms: i64_at(facts, 12),
            max_timestamp_ms: i64_at(facts, 20),
        }
    }

    /// Whether a batch with this header can hold what it says, of no more bytes than that.
    pub(super) fn can_be(&self, batch: &BatchHeader, raw_bytes_max: u64) -> bool {
        let least = u64::from(batch.count) * record_bytes_min(batch.sparse);
        let last_delta = self.last_seq.saturating_sub(batch.first_seq);
        let last_least = batch.count.saturating_sub(1).into();
        (least..=raw_bytes_max).contains(&self.raw_bytes.into())
            && (last_delta == last_least || batch.sparse && last_delta > last_least)
            && self.last_seq < NUMBER_MAX
            && self.tombstone_count <= self.keyed_count
            && self.keyed_count <= batch.count
            && self.min_timestamp_ms <= self.max_timestamp_ms
    }

    /// Whether the records can be had here: what is missing otherwise, and whether so many bytes can come
    /// of these, before room is made for them.
    ///
    /// # Errors
    /// A codec that is not known, or not built; or more bytes than these can come to.
    pub fn check(&self, body: &[u8]) -> Result<(), Defect> {
        check(
            self.codec,
            self.raw_bytes,
            body.len().saturating_sub(HEAD_BYTES),
        )
    }

    /// Unpacks the records into `out`, which has room for exactly `raw_bytes`. They verify one by one,
    /// against [`inner`].
    ///
    /// # Errors
    /// As [`check`](Self::check), or bytes that are not what the codec made.
    pub fn unpack(&self, body: &[u8], batch: &BatchHeader, out: &mut [u8]) -> Result<(), Defect> {
        self.check(body)?;
        let packed = body.get(HEAD_BYTES..).unwrap_or_default();
        unpack(self.codec, packed, batch, out)
    }
}

/// Whether what this codec packed can be had here, and whether so many bytes can come of so many.
pub(super) fn check(codec: u8, raw_bytes: u32, packed_bytes: usize) -> Result<(), Defect> {
    let codec = Compression::of(codec).ok_or(Defect::UnknownCodec(codec))?;
    if !codec.is_built() {
        return Err(Defect::CodecNotBuilt(codec.name()));
    }
    match u64::from(raw_bytes) <= codec.raw_bytes_max(packed_bytes as u64) {
        true => Ok(()),
        false => Err(Defect::Malformed("length of packed records")),
    }
}

/// Unpacks what was [`check`]ed into `out`, which has room for exactly the records.
pub(super) fn unpack(
    codec: u8,
    packed: &[u8],
    batch: &BatchHeader,
    out: &mut [u8],
) -> Result<(), Defect> {
    let mut columns = vec![0; out.len()];
    Compression::of(codec)
        .filter(|codec| codec.unpack(packed, &mut columns))
        .and_then(|_| frames(&columns, batch, out))
        .ok_or(Defect::Malformed("packed records"))
}

/// The frames of a batch by columns: the checksums, in which a codec finds nothing, the metas, which are all
/// alike, and the rests, which then lie side by side.
fn columns(frames: &[u8], batch: &BatchHeader) -> Option<Vec<u8>> {
    let (mut heads, mut rests) = ([Vec::new(), Vec::new()], Vec::with_capacity(frames.len()));
    let mut left = frames;
    for _ in 0..batch.count {
        let frame_bytes = record::frame_bytes_unverified(left, batch.sparse)?;
        let (frame, behind) = left.split_at_checked(frame_bytes)?;
        let (head, rest) = frame.split_first_chunk::<{ record::RECORD_BYTES_MIN }>()?;
        for (column, word) in heads.iter_mut().zip(head.chunks_exact(4)) {
            column.extend_from_slice(word);
        }
        rests.extend_from_slice(rest);
        left = behind;
    }
    let [checksums, metas] = heads;
    left.is_empty().then(|| [checksums, metas, rests].concat())
}

/// The frames again, which fill `out` exactly; nothing if the columns are not those of such frames.
fn frames(columns: &[u8], batch: &BatchHeader, out: &mut [u8]) -> Option<()> {
    let words = usize::try_from(batch.count).ok()?.checked_mul(4)?;
    let (checksums, columns) = columns.split_at_checked(words)?;
    let (metas, mut rests) = columns.split_at_checked(words)?;
    let mut out = out;
    for (checksum, meta) in checksums.chunks_exact(4).zip(metas.chunks_exact(4)) {
        let bytes = record::rest_bytes_unverified(u32_at(meta, 0), rests, batch.sparse);
        let (rest, behind) = rests.split_at_checked(bytes)?;
        for part in [checksum, meta, rest] {
            let (slot, room) = out.split_at_mut_checked(part.len())?;
            slot.copy_from_slice(part);
            out = room;
        }
        rests = behind;
    }
    (out.is_empty() && rests.is_empty()).then_some(())
}

/// How many bytes the records of a packed batch may have.
pub(super) fn raw_bytes_max(count: u32) -> u64 {
    match count {
        1 => ONE_RECORD_BYTES_MAX as u64,
        _ => RAW_BYTES_MAX.into(),
    }
}
