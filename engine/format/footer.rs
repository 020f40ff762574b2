//! The end of a sealed segment: a sparse index and a summary. Layout: `format.md`, "Footer".
//!
//! Derived data: a footer that does not verify is rebuilt from the frames, and nothing is lost.

use super::{NUMBER_MAX, SegmentContext, i64_at, u32_at, u64_at};
use super::{at, check_crc, check_preamble, checksum, checksum::Kind, entry_bytes, fixed};
use crate::{error::Defect, types::Seq};
use std::borrow::Cow;

/// The size of a footer without its index, in bytes.
pub const FOOTER_BYTES: usize = 80;
/// The size of one index entry in bytes.
pub const INDEX_ENTRY_BYTES: usize = 8;
/// Frames between two index entries, in bytes: a batch gets an entry when it starts at least this
/// far behind the one before.
pub const INDEX_STEP_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"CAIRNFTR";

/// Where a batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its first seq, counted from the segment's base.
    pub seq_delta: u32,
    /// Its offset in the file.
    pub offset: u32,
}

/// What is known of a sealed segment as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Entries in the index that follows.
    pub entry_count: u32,
    /// Records.
    pub record_count: u32,
    /// Records that are tombstones.
    pub tombstone_count: u32,
    /// Records that have a key.
    pub keyed_count: u32,
    /// The seq of the first record.
    pub first_seq: Seq,
    /// The seq after the last record.
    pub next_seq: Seq,
    /// The earliest time of a record, in milliseconds since 1970.
    pub min_timestamp_ms: i64,
    /// The latest time of a record, in milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// Where the frames end and the footer starts, in bytes.
    pub frames_end: u64,
    /// CRC-32C, unseeded, of all bytes before the footer.
    pub segment_checksum: u32,
}

impl Footer {
    /// Footer and index as stored at `frames_end`.
    #[must_use]
    pub fn encode(&self, context: &SegmentContext, index: &[IndexEntry]) -> Vec<u8> {
        let mut entries = Vec::with_capacity(index.len() * INDEX_ENTRY_BYTES);
        for entry in index {
            entries.extend_from_slice(&entry.seq_delta.to_le_bytes());
            entries.extend_from_slice(&entry.offset.to_le_bytes());
        }
        let index_seed = checksum::seed(Kind::Index, context.salt, self.frames_end);
        let mut out = Vec::with_capacity(FOOTER_BYTES + entries.len());
        out.extend_from_slice(&MAGIC);
        for field in [
            self.entry_count,
            self.record_count,
            self.tombstone_count,
            self.keyed_count,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.next_seq.to_le_bytes());
        out.extend_from_slice(&self.min_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.frames_end.to_le_bytes());
        out.extend_from_slice(&self.segment_checksum.to_le_bytes());
        out.extend_from_slice(&checksum::crc32c(index_seed, &entries).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let seed = checksum::seed(Kind::Footer, context.salt, self.frames_end);
        out.extend_from_slice(&checksum::crc32c(seed, &out).to_le_bytes());
        out.extend_from_slice(&entries);
        out
    }

    /// Reads the footer that starts at `frames_end`; `bytes` reach to the end of the file.
    /// The index itself is not verified here: see [`verify_index`](Self::verify_index).
    ///
    /// # Errors
    /// A checksum that does not match, or a value that no writer produces.
    pub fn decode(bytes: &[u8], context: &SegmentContext, frames_end: u64) -> Result<Self, Defect> {
        let bytes: &[u8; FOOTER_BYTES] = fixed(bytes)?;
        check_preamble(bytes, MAGIC)?;
        let seed = checksum::seed(Kind::Footer, context.salt, frames_end);
        check_crc(
            at::<{ FOOTER_BYTES - 4 }>(bytes, 0).as_slice(),
            seed,
            u32_at(bytes, 76),
        )?;
        let footer = Self {
            entry_count: u32_at(bytes, 8),
            record_count: u32_at(bytes, 12),
            tombstone_count: u32_at(bytes, 16),
            keyed_count: u32_at(bytes, 20),
            first_seq: u64_at(bytes, 24),
            next_seq: u64_at(bytes, 32),
            min_timestamp_ms: i64_at(bytes, 40),
            max_timestamp_ms: i64_at(bytes, 48),
            frames_end: u64_at(bytes, 56),
            segment_checksum: u32_at(bytes, 64),
        };
        if footer.frames_end != frames_end
            || footer.first_seq > footer.next_seq
            || footer.next_seq > NUMBER_MAX
        {
            return Err(Defect::Malformed("footer"));
        }
        Ok(footer)
    }

    /// The size of footer and index together in bytes; the footer is at the start of `bytes`.
    ///
    /// # Errors
    /// Entries that are too small to be any.
    pub fn total_bytes(&self, bytes: &[u8]) -> Result<u64, Defect> {
        let size = Self::stated_size(bytes)? as u64;
        Ok(FOOTER_BYTES as u64 + u64::from(self.entry_count) * size)
    }

    fn stated_size(bytes: &[u8]) -> Result<usize, Defect> {
        entry_bytes(
            usize::try_from(u32_at(bytes, 72)).unwrap_or(usize::MAX),
            INDEX_ENTRY_BYTES,
        )
    }

    /// The index of a footer that starts at `bytes`, checked as a whole.
    ///
    /// # Errors
    /// Too few bytes, or a checksum that does not match.
    pub fn verify_index<'a>(
        &self,
        bytes: &'a [u8],
        context: &SegmentContext,
    ) -> Result<Cow<'a, [u8]>, Defect> {
        let size = Self::stated_size(bytes)?;
        let needed_bytes = self.total_bytes(bytes)?;
        let entries = usize::try_from(needed_bytes)
            .ok()
            .and_then(|needed| bytes.get(FOOTER_BYTES..needed))
            .ok_or(Defect::Truncated {
                needed_bytes,
                available_bytes: bytes.len() as u64,
            })?;
        let seed = checksum::seed(Kind::Index, context.salt, self.frames_end);
        check_crc(entries, seed, u32_at(bytes, 68))?;
        if size == INDEX_ENTRY_BYTES {
            return Ok(Cow::Borrowed(entries));
        }
        let entries = entries.chunks_exact(size);
        let known = entries.flat_map(|entry| at::<INDEX_ENTRY_BYTES>(entry, 0));
        Ok(Cow::Owned(known.collect()))
    }
}

impl IndexEntry {
    /// Reads entry `number` of an index.
    #[inline]
    #[must_use]
    pub fn read(entries: &[u8], number: usize) -> Self {
        let start = number * INDEX_ENTRY_BYTES;
        Self {
            seq_delta: u32_at(entries, start),
            offset: u32_at(entries, start + 4),
        }
    }
}
