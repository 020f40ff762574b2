//! The body of a packed batch: what a codec made of its records, behind a head that says so. Layout:
//! `format.md`, "Packed batch".
//!
//! The head holds a checksum of all of it, and what has to be known of the records without them: so that
//! whoever only counts, copies or verifies needs no codec.

use super::{
    BatchHeader, Compression, NUMBER_MAX, SegmentContext, batch::record_bytes_min, check_crc,
    stated, stated::StatedAppend, stored,
};
use super::{at, checksum, checksum::Kind, fixed, i64_at, record, u32_at};
use crate::{error::Defect, types::Seq};

/// The size of the head in bytes.
pub const HEAD_BYTES: usize = 40;
/// The size of what it says of the records besides how long they are: its end.
pub const FACTS_BYTES: usize = 28;
/// The most bytes of records in a packed batch of more than one.
pub const RAW_BYTES_MAX: u32 = 1 << 20;
/// What a record of a packed batch takes of it at least, in bytes: its checksum, in which no codec finds anything.
/// So there are no more records in the chain than there is room for.
pub const PACKED_RECORD_BYTES_MIN: u32 = 4;
/// The same of one record: its head, key and value at their longest.
const ONE_RECORD_BYTES_MAX: usize =
    record::HEAD_BYTES_MAX + record::KEY_BYTES_MAX + record::VALUE_BYTES_MAX;

/// What the head of a packed batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHead {
    /// The codec, as stored: 1 is lz4, 2 is zstd. One that this library does not know is no defect before
    /// its records are wanted.
    pub codec: u8,
    /// Appends of producers that are stated behind the records: of what was packed as it was appended, or is
    /// sealed.
    pub append_count: u8,
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

/// Room that packing takes, to be used again.
#[derive(Debug, Default)]
pub struct Room {
    columns: Vec<u8>,
    packed: Vec<u8>,
}

/// Puts the body of a batch at this offset behind what is in `out`: these records packed, and the appends of producers
/// that it states. Nothing, and `out` stays as it is, if they do not get smaller by an eighth. `facts` is the head, but
/// for what is found out here.
#[must_use]
pub fn encode(
    out: &mut Vec<u8>,
    raw: &[u8],
    codec: Compression,
    (batch, facts, appends): (&BatchHeader, &PackedHead, &[StatedAppend]),
    (context, offset): (&SegmentContext, u64),
    room: &mut Room,
) -> Option<()> {
    let packed = pack(raw, codec, batch, room)?;
    let head = PackedHead {
        codec: codec.id(),
        append_count: u8::try_from(appends.len()).ok()?,
        raw_bytes: u32::try_from(raw.len()).ok()?,
        ..*facts
    };
    if !saves(HEAD_BYTES + packed.len() + head.stated_bytes(), raw.len()) {
        return None;
    }
    let start = out.len();
    head.put(out, batch);
    out.extend_from_slice(packed);
    appends.iter().for_each(|append| append.encode(out));
    stored::sum(out.get_mut(start..)?, context, offset);
    Some(())
}

/// These records packed, if they get smaller by an eighth, the head counted in.
pub(super) fn pack<'a>(
    raw: &[u8],
    codec: Compression,
    batch: &BatchHeader,
    room: &'a mut Room,
) -> Option<&'a [u8]> {
    if raw.len() as u64 > raw_bytes_max(batch.count) {
        return None;
    }
    columns(raw, batch, &mut room.columns)?;
    codec.pack(&room.columns, &mut room.packed)?;
    let least = u64::from(batch.count) * u64::from(PACKED_RECORD_BYTES_MIN);
    let packed = room.packed.as_slice();
    (packed.len() as u64 >= least && saves(HEAD_BYTES + packed.len(), raw.len())).then_some(packed)
}

/// Whether it saves an eighth to store so many bytes instead of so many.
fn saves(stored_bytes: usize, raw_bytes: usize) -> bool {
    stored_bytes <= raw_bytes - raw_bytes / 8
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
        let mut out = Vec::new();
        self.put(&mut out, batch);
        out.extend_from_slice(packed);
        stored::sum(&mut out, context, offset);
        out
    }

    /// Puts the head behind what is in `out`; the checksum is still to come.
    fn put(&self, out: &mut Vec<u8>, batch: &BatchHeader) {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.codec, 0, 0, self.append_count]);
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        self.encode_facts(out, batch);
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
        let [codec, cipher, flags, append_count] = at(head, 4);
        if (cipher, flags) != (0, 0) {
            return Err(Defect::UnknownExtension);
        }
        let facts = at::<FACTS_BYTES>(head, HEAD_BYTES - FACTS_BYTES);
        let packed = Self::decode_facts(&facts, batch, (codec, append_count), u32_at(head, 8));
        match packed.can_be(batch, raw_bytes_max(batch.count))
            && packed.parts(body).is_some()
            && stated::are_in(packed.appends(body), &packed, batch)
        {
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
        (codec, append_count): (u8, u8),
        raw_bytes: u32,
    ) -> Self {
        Self {
            codec,
            append_count,
            raw_bytes,
            last_seq: batch.first_seq.saturating_add(u32_at(facts, 0).into()),
            tombstone_count: u32_at(facts, 4),
            keyed_count: u32_at(facts, 8),
            min_timestamp_ms: i64_at(facts, 12),
            max_timestamp_ms: i64_at(facts, 20),
        }
    }

    /// What the appends take that it states, in bytes.
    pub(super) fn stated_bytes(&self) -> usize {
        usize::from(self.append_count) * stated::APPEND_BYTES
    }

    /// What the codec made, and the stated appends.
    fn parts<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let behind = body.get(HEAD_BYTES..)?;
        behind.split_at_checked(behind.len().checked_sub(self.stated_bytes())?)
    }

    /// The appends of producers that it states, in the order of their seqs.
    pub(super) fn appends<'a>(
        &self,
        body: &'a [u8],
    ) -> impl Iterator<Item = StatedAppend> + use<'a> {
        stated::decode(self.parts(body).map_or(&[][..], |parts| parts.1))
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
        let packed_bytes = self.parts(body).map_or(0, |parts| parts.0.len());
        check(self.codec, self.raw_bytes, packed_bytes)
    }

    /// Unpacks the records into `out`, which has room for exactly `raw_bytes`. They verify one by one,
    /// against [`inner`].
    ///
    /// # Errors
    /// As [`check`](Self::check), or bytes that are not what the codec made.
    pub fn unpack(&self, body: &[u8], batch: &BatchHeader, out: &mut [u8]) -> Result<(), Defect> {
        self.check(body)?;
        let packed = self.parts(body).map_or(&[][..], |parts| parts.0);
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
fn columns(frames: &[u8], batch: &BatchHeader, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    out.resize(frames.len(), 0);
    let words = usize::try_from(batch.count).ok()?.checked_mul(4)?;
    let (checksums, columns) = out.split_at_mut_checked(words)?;
    let (metas, mut rests) = columns.split_at_mut_checked(words)?;
    let mut left = frames;
    for (checksum, meta) in checksums.chunks_exact_mut(4).zip(metas.chunks_exact_mut(4)) {
        let frame_bytes = record::frame_bytes_unverified(left, batch.sparse)?;
        let (frame, behind) = left.split_at_checked(frame_bytes)?;
        let (head, rest) = frame.split_first_chunk::<{ record::RECORD_BYTES_MIN }>()?;
        checksum.copy_from_slice(&at::<4>(head, 0));
        meta.copy_from_slice(&at::<4>(head, 4));
        let (slot, room) = rests.split_at_mut_checked(rest.len())?;
        slot.copy_from_slice(rest);
        (left, rests) = (behind, room);
    }
    left.is_empty().then_some(())
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
