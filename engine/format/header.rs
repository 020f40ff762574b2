//! The 128 bytes at the start of a segment file. Layout: `format.md`, "Segment header".

use super::{
    PACKED_APPENDS_FEATURE, PACKED_FEATURE, SEALED_FEATURE, SEGMENT_FEATURES, SegmentContext, at,
    check_crc, check_numbers, check_preamble, check_version, checksum,
};
use super::{VERSION, fixed, i64_at, u16_at, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, SegmentId, Seq},
};

/// The size of a segment header in bytes; frames start here.
pub const HEADER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"CAIRNSEG";
const SEED: u32 = 0x4845_4144;
const RECYCLED: u16 = 1;

/// How a segment came to be. It decides what an unnamed file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written only after a manifest named the file: a segment that appends went into.
    Live,
    /// Written aside and true only once a manifest names it: by recovery, repair, compaction.
    Copy,
}

/// What a segment's predecessor looked like when this segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its id.
    pub id: SegmentId,
    /// Its salt.
    pub salt: u64,
    /// Where its frames end, in bytes.
    pub frames_end: u64,
    /// The seq after its last record.
    pub next_seq: Seq,
    /// CRC-32C, unseeded, of its bytes up to `frames_end`.
    pub checksum: u32,
}

/// The header of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// How it came to be.
    pub origin: Origin,
    /// The log it belongs to.
    pub log_id: LogId,
    /// Its id, the one in the file's name.
    pub id: SegmentId,
    /// The lowest seq it may hold.
    pub base_seq: Seq,
    /// The random number of this incarnation of the file.
    pub salt: u64,
    /// When it was begun, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The segment before it, if there was one.
    pub predecessor: Option<Predecessor>,
    /// The seq below which everything was durable when it was begun.
    pub durable_seq: Seq,
    /// In a copy that becomes the tail: the seq after the last record that was put into it aside, at
    /// least `base_seq`. A record from there on was appended after a manifest had named the file.
    pub appends_from: Option<Seq>,
    /// Whether the file was another segment before: then bytes of that lie behind what was written since.
    pub recycled: bool,
    /// Whether batches of it may be packed.
    pub packed: bool,
    /// Whether batches of it may be sealed.
    pub sealed: bool,
    /// Whether they may have been packed as they were appended: then `packed` is set as well.
    pub packed_appends: bool,
}

impl SegmentHeader {
    /// What its frames are decoded against.
    #[must_use]
    pub fn context(&self) -> SegmentContext {
        SegmentContext {
            salt: self.salt,
            base_seq: self.base_seq,
            base_timestamp_ms: self.base_timestamp_ms,
            log_id: self.log_id,
        }
    }

    /// The same of a segment into which packed batches may be appended, if it is to be.
    #[must_use]
    pub fn packing_appends(self, packed_appends: bool) -> Self {
        Self {
            packed: self.packed || packed_appends,
            packed_appends: self.packed_appends || packed_appends,
            ..self
        }
    }

    /// What who reads it has to know, as the manifest says it, too.
    #[must_use]
    pub fn required_features(&self) -> u32 {
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        bit(self.packed, PACKED_FEATURE)
            | bit(self.sealed, SEALED_FEATURE)
            | bit(self.packed_appends, PACKED_APPENDS_FEATURE)
    }

    /// The header as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let origin: u32 = match self.origin {
            Origin::Live => 1,
            Origin::Copy => 2,
        };
        let none = Predecessor {
            id: SegmentId(0),
            salt: 0,
            frames_end: 0,
            next_seq: 0,
            checksum: 0,
        };
        let predecessor = self.predecessor.unwrap_or(none);
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.recycled { RECYCLED } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.required_features().to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes()); // optional features
        out.extend_from_slice(&origin.to_le_bytes());
        out.extend_from_slice(&self.log_id.0);
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.base_seq.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.base_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&predecessor.id.0.to_le_bytes());
        out.extend_from_slice(&predecessor.salt.to_le_bytes());
        out.extend_from_slice(&predecessor.frames_end.to_le_bytes());
        out.extend_from_slice(&predecessor.next_seq.to_le_bytes());
        out.extend_from_slice(&self.durable_seq.to_le_bytes());
        out.extend_from_slice(&predecessor.checksum.to_le_bytes());
        out.extend_from_slice(&self.copied().to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&checksum::crc32c(SEED, &out).to_le_bytes());
        out
    }

    /// One more than the seqs that were put into it aside; 0 if appends do not go on in it.
    fn copied(&self) -> u32 {
        let copied = |seq: Seq| u32::try_from(seq.saturating_sub(self.base_seq)).ok();
        let more = |count: u32| count.checked_add(1);
        self.appends_from
            .and_then(copied)
            .and_then(more)
            .unwrap_or(0)
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// The first [`Defect`] found, in the order magic, checksum, version, features, values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        let bytes: &[u8; HEADER_BYTES] = fixed(bytes)?;
        check_preamble(bytes, MAGIC)?;
        check_crc(
            at::<{ HEADER_BYTES - 4 }>(bytes, 0).as_slice(),
            SEED,
            u32_at(bytes, 124),
        )?;
        let features = u32_at(bytes, 12);
        check_version(u16_at(bytes, 8), features & !SEGMENT_FEATURES)?;
        let origin = match u32_at(bytes, 20) {
            1 => Origin::Live,
            2 => Origin::Copy,
            _ => return Err(Defect::Malformed("segment origin")),
        };
        let id = SegmentId(u64_at(bytes, 40));
        if id.0 == 0 {
            return Err(Defect::Malformed("segment id"));
        }
        let predecessor = Predecessor {
            id: SegmentId(u64_at(bytes, 72)),
            salt: u64_at(bytes, 80),
            frames_end: u64_at(bytes, 88),
            next_seq: u64_at(bytes, 96),
            checksum: u32_at(bytes, 112),
        };
        let base_seq = u64_at(bytes, 48);
        let copied = u32_at(bytes, 116).checked_sub(1);
        let header = Self {
            origin,
            log_id: LogId(at(bytes, 24)),
            id,
            base_seq,
            salt: u64_at(bytes, 56),
            base_timestamp_ms: i64_at(bytes, 64),
            predecessor: (predecessor.id.0 != 0).then_some(predecessor),
            durable_seq: u64_at(bytes, 104),
            appends_from: copied.map(|count| base_seq.saturating_add(count.into())),
            recycled: u16_at(bytes, 10) & RECYCLED != 0,
            packed: features & PACKED_FEATURE != 0,
            sealed: features & SEALED_FEATURE != 0,
            packed_appends: features & PACKED_APPENDS_FEATURE != 0,
        };
        let numbers = [header.id.0, header.base_seq, header.durable_seq];
        check_numbers(&numbers, "segment header: a number is too large")?;
        Ok(header)
    }
}
