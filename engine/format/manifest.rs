//! The manifest: which segments are the log. Layout: `format.md`, "Manifest".

use super::marks::{MARKS_BYTES_MAX, Mark, decode_marks, encode_marks};
use super::{FAR_FEATURE, MARKS_FEATURE};
use super::{Owner, VERSION, at, check_crc, check_numbers, check_preamble, check_version};
use super::{checksum, entry_bytes, fixed, header::HEADER_BYTES, i64_at, u16_at, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, SegmentId, Seq},
};

/// The size of a manifest without its list of sealed segments, in bytes.
pub const MANIFEST_BYTES: usize = 144;
/// The size of the entry of one sealed segment in bytes.
pub const SEALED_BYTES: usize = 64;
/// The most sealed segments: a commit writes the entries of all of them.
pub const SEALED_MAX: usize = 1 << 20;
/// The most bytes that a reader takes for a manifest, whatever the size of its entries.
const FILE_BYTES_MAX: u64 = 1 << 28;
/// The furthest that a segment's frames can end, in bytes: a batch starts at most at 2³² − 1, and is
/// no longer than that and its header.
pub const FRAMES_END_MAX: u64 = 1 << 33;
const MAGIC: [u8; 8] = *b"CAIRNMAN";
const SEED: u32 = 0x4d41_4e49;
const SEED_ENTRIES: u32 = 0x4d45_4e54;
const CLEAN: u32 = 1;
const HAS_LEDGER: u32 = 2;
const SPARE_RECYCLED: u32 = 4;
const COMPACTED: u32 = 1;
const PACKED: u32 = 1 << 1;
const FAR: u32 = 1 << 2;

/// A sealed segment as the manifest knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// Its id.
    pub id: SegmentId,
    /// Its salt: a file with another salt is not this segment.
    pub salt: u64,
    /// The lowest seq it may hold.
    pub base_seq: Seq,
    /// The seq after its last record.
    pub next_seq: Seq,
    /// Where its frames end, in bytes.
    pub frames_end: u64,
    /// The latest time of a record in it, in milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// Records in it.
    pub record_count: u32,
    /// Records in it that are tombstones.
    pub tombstone_count: u32,
    /// Records in it that have a key.
    pub keyed_count: u32,
    /// Whether compaction wrote it, or looked at it and found nothing to drop.
    pub compacted: bool,
    /// Whether packing wrote it, or looked at it and found nothing to gain.
    pub packed: bool,
    /// Whether its bytes live elsewhere: then its file is not needed, and not looked at.
    pub far: bool,
}

/// The writable segment as the manifest knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailEntry {
    /// Its id.
    pub id: SegmentId,
    /// Its salt.
    pub salt: u64,
    /// The lowest seq it may hold.
    pub base_seq: Seq,
}

/// The file prepared for the next rotation; it has no header yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpareEntry {
    /// Its id.
    pub id: SegmentId,
    /// The salt that it will have.
    pub salt: u64,
    /// Whether the file was a segment before: zeros where the header will be, old bytes behind.
    pub recycled: bool,
}

/// Which segments are the log, and what is known to be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The log's identity.
    pub log_id: LogId,
    /// Which continuation of the log it is: drawn when the log is created, and anew for a copy that may
    /// go on by itself. 0 in a log that was created before there was one.
    pub incarnation: u32,
    /// Every feature that is used anywhere in the log, and those that only a writer has to know.
    pub write_features: u32,
    /// Counts the commits.
    pub generation: u64,
    /// When the log was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// The oldest record that is kept; lower ones are trimmed even where a segment still has them.
    pub head_seq: Seq,
    /// The id that the next new segment gets.
    pub next_segment_id: SegmentId,
    /// The seq below which everything was durable at this commit.
    pub durable_seq: Seq,
    /// Where that was in the tail, in bytes.
    pub durable_end: u64,
    /// Whether the log was closed in order, so that the tail ends exactly at `durable_end`.
    pub clean: bool,
    /// Whether a ledger was stored, so that a log without it is damaged.
    pub has_ledger: bool,
    /// The sealed segments in the order of their seqs.
    pub sealed: Vec<SealedEntry>,
    /// The writable segment.
    pub tail: TailEntry,
    /// The file prepared for the next rotation.
    pub spare: Option<SpareEntry>,
    /// Small named values, in the order of their names.
    pub marks: Vec<Mark>,
}

impl Manifest {
    /// Whose the files beside the segments have to be.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            log_id: self.log_id,
            incarnation: self.incarnation,
        }
    }

    /// Whether it names this segment: as sealed, as the tail or as the spare.
    #[must_use]
    pub fn names(&self, id: SegmentId) -> bool {
        self.tail.id == id
            || self.spare.is_some_and(|spare| spare.id == id)
            || self.sealed.iter().any(|entry| entry.id == id)
    }

    /// Whether it names this segment as one that lives elsewhere.
    pub(crate) fn is_far(&self, id: SegmentId) -> bool {
        self.sealed.iter().any(|entry| entry.id == id && entry.far)
    }

    /// The manifest as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<u8> = self.sealed.iter().flat_map(SealedEntry::encode).collect();
        let spare = self.spare.unwrap_or(SpareEntry {
            id: SegmentId(0),
            salt: 0,
            recycled: false,
        });
        let count = u32::try_from(self.sealed.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(MANIFEST_BYTES + entries.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes()); // entries of the size of version 1
        let required = self.required_features();
        out.extend_from_slice(&required.to_le_bytes());
        out.extend_from_slice(&self.write_features.to_le_bytes());
        out.extend_from_slice(&self.flags().to_le_bytes());
        out.extend_from_slice(&self.log_id.0);
        for field in [
            self.generation,
            self.head_seq,
            self.next_segment_id.0,
            self.durable_seq,
            self.durable_end,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&checksum::crc32c(SEED_ENTRIES, &entries).to_le_bytes());
        for field in [
            spare.id.0,
            spare.salt,
            self.tail.id.0,
            self.tail.salt,
            self.tail.base_seq,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&checksum::crc32c(SEED, &out).to_le_bytes());
        out.extend_from_slice(&entries);
        if !self.marks.is_empty() {
            out.extend_from_slice(&encode_marks(&self.marks));
        }
        out
    }

    /// How long the file is at most that begins with these bytes, as far as they can be believed.
    pub(crate) fn stated_bytes(head: &[u8]) -> u64 {
        let list = match fixed(head).and_then(checked) {
            Ok(head) if u64::from(u32_at(head, 80)) <= SEALED_MAX as u64 => {
                let sealed_bytes = entry_bytes(u16_at(head, 10).into(), SEALED_BYTES);
                let marks = if u32_at(head, 12) & MARKS_FEATURE != 0 {
                    MARKS_BYTES_MAX
                } else {
                    0
                };
                u64::from(u32_at(head, 80)) * sealed_bytes.unwrap_or(SEALED_BYTES) as u64
                    + marks as u64
            }
            _ => 0,
        };
        (MANIFEST_BYTES as u64 + list).min(FILE_BYTES_MAX)
    }

    fn required_features(&self) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let far = self.sealed.iter().any(|entry| entry.far);
        bit(!self.marks.is_empty(), MARKS_FEATURE) | bit(far, FAR_FEATURE)
    }

    fn flags(&self) -> u32 {
        let recycled = self.spare.is_some_and(|spare| spare.recycled);
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        bit(self.clean, CLEAN) | bit(self.has_ledger, HAS_LEDGER) | bit(recycled, SPARE_RECYCLED)
    }

    /// Reads a whole manifest file.
    ///
    /// # Errors
    /// The first [`Defect`] found. A list that is shorter or longer than stated is one.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let head = checked(fixed(file)?)?;
        let required = u32_at(head, 12);
        check_version(u16_at(head, 8), required & !(MARKS_FEATURE | FAR_FEATURE))?;
        let rest = file.get(MANIFEST_BYTES..).unwrap_or_default();
        let sealed_bytes = entry_bytes(u16_at(head, 10).into(), SEALED_BYTES)?;
        let needed_bytes = u64::from(u32_at(head, 80)) * sealed_bytes as u64;
        let available_bytes = rest.len() as u64;
        let split = usize::try_from(needed_bytes).ok();
        let split = split.and_then(|bytes| rest.split_at_checked(bytes));
        let has_marks = required & MARKS_FEATURE != 0;
        let (entries, marks) = split
            .filter(|(_, behind)| has_marks || behind.is_empty())
            .ok_or(Defect::Truncated {
                needed_bytes,
                available_bytes,
            })?;
        check_crc(entries, SEED_ENTRIES, u32_at(head, 84))?;
        let spare = SpareEntry {
            id: SegmentId(u64_at(head, 88)),
            salt: u64_at(head, 96),
            recycled: u32_at(head, 20) & SPARE_RECYCLED != 0,
        };
        let manifest = Self {
            log_id: LogId(at(head, 24)),
            generation: u64_at(head, 40),
            head_seq: u64_at(head, 48),
            next_segment_id: SegmentId(u64_at(head, 56)),
            durable_seq: u64_at(head, 64),
            durable_end: u64_at(head, 72),
            clean: u32_at(head, 20) & CLEAN != 0,
            has_ledger: u32_at(head, 20) & HAS_LEDGER != 0,
            incarnation: u32_at(head, 136),
            write_features: u32_at(head, 16),
            sealed: entries
                .chunks_exact(sealed_bytes)
                .map(SealedEntry::read)
                .collect(),
            tail: TailEntry {
                id: SegmentId(u64_at(head, 104)),
                salt: u64_at(head, 112),
                base_seq: u64_at(head, 120),
            },
            spare: (spare.id.0 != 0).then_some(spare),
            created_ms: i64_at(head, 128),
            marks: if has_marks {
                decode_marks(marks)?
            } else {
                Vec::new()
            },
        };
        if manifest.required_features() & FAR_FEATURE != required & FAR_FEATURE {
            return Err(Defect::Malformed("manifest: segments that live elsewhere"));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// The rules between fields, which a checksum cannot hold.
    fn check(&self) -> Result<(), Defect> {
        let numbers = [
            self.generation,
            self.head_seq,
            self.next_segment_id.0,
            self.durable_seq,
            self.durable_end,
            self.tail.base_seq,
        ];
        check_numbers(&numbers, "manifest: a number is too large")?;
        if self.sealed.len() > SEALED_MAX {
            return Err(Defect::Malformed("manifest: count of segments"));
        }
        let ids = self
            .sealed
            .iter()
            .map(|entry| entry.id)
            .chain([self.tail.id]);
        let ids = ids.chain(self.spare.map(|spare| spare.id));
        if ids
            .clone()
            .any(|id| id.0 == 0 || id >= self.next_segment_id)
        {
            return Err(Defect::Malformed("manifest: segment id"));
        }
        let mut sorted: Vec<SegmentId> = ids.collect();
        sorted.sort_unstable();
        if sorted
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
        {
            return Err(Defect::Malformed("manifest: a segment named twice"));
        }
        let mut floor = 0;
        for entry in &self.sealed {
            if !(HEADER_BYTES as u64..=FRAMES_END_MAX).contains(&entry.frames_end) {
                return Err(Defect::Malformed("manifest: end of frames"));
            }
            if entry.base_seq < floor || entry.next_seq < entry.base_seq {
                return Err(Defect::Malformed("manifest: order of segments"));
            }
            floor = entry.next_seq;
        }
        if self.tail.base_seq < floor {
            return Err(Defect::Malformed("manifest: order of segments"));
        }
        Ok(())
    }
}

/// The head, if it is that of a manifest and its checksum holds.
fn checked(head: &[u8; MANIFEST_BYTES]) -> Result<&[u8; MANIFEST_BYTES], Defect> {
    check_preamble(head, MAGIC)?;
    let covered = at::<{ MANIFEST_BYTES - 4 }>(head, 0);
    check_crc(&covered, SEED, u32_at(head, 140))?;
    Ok(head)
}

impl SealedEntry {
    /// Whether compaction may find something to drop: it is here, has keys and was never compacted.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.far && !self.compacted && self.keyed_count > 0
    }

    fn flags(&self) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        bit(self.compacted, COMPACTED) | bit(self.packed, PACKED) | bit(self.far, FAR)
    }

    fn encode(&self) -> [u8; SEALED_BYTES] {
        let mut out = [0; SEALED_BYTES];
        let fields = [
            self.id.0.to_le_bytes(),
            self.salt.to_le_bytes(),
            self.base_seq.to_le_bytes(),
            self.next_seq.to_le_bytes(),
            self.frames_end.to_le_bytes(),
            self.max_timestamp_ms.to_le_bytes(),
            pair(self.record_count, self.tombstone_count),
            pair(self.keyed_count, self.flags()),
        ];
        for (slot, field) in out.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field);
        }
        out
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            id: SegmentId(u64_at(bytes, 0)),
            salt: u64_at(bytes, 8),
            base_seq: u64_at(bytes, 16),
            next_seq: u64_at(bytes, 24),
            frames_end: u64_at(bytes, 32),
            max_timestamp_ms: i64_at(bytes, 40),
            record_count: u32_at(bytes, 48),
            tombstone_count: u32_at(bytes, 52),
            keyed_count: u32_at(bytes, 56),
            compacted: u32_at(bytes, 60) & COMPACTED != 0,
            packed: u32_at(bytes, 60) & PACKED != 0,
            far: u32_at(bytes, 60) & FAR != 0,
        }
    }
}

/// Two words side by side.
fn pair(low: u32, high: u32) -> [u8; 8] {
    (u64::from(low) | u64::from(high) << 32).to_le_bytes()
}
