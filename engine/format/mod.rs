//! Bytes to facts and back: pure and total, the executable half of `format.md`.
//!
//! Every decoder takes any bytes and gives a value or a [`Defect`]: no I/O, no panic,
//! no allocation that a count on disk could drive. The encoders of the same structures stand beside
//! them. The layouts are written down in `format.md` and nowhere else; a test compares the two.
//!
//! Public for tools that look at bytes (`cairn inspect`, fuzzers). An application needs none of it.
//!
//! Called by segment, manifest and the journeys; calls nothing but the checksum.

pub(crate) mod backup;
pub mod batch;
mod checksum;
mod compression;
pub mod cursor;
pub mod footer;
pub mod header;
pub mod manifest;
pub mod marks;
pub mod moves;
pub mod names;
pub mod packed;
pub mod piece;
pub mod producers;
pub mod record;
pub mod sealed;
pub mod stated;
pub mod stored;
pub mod watermark;

pub use batch::BatchHeader;
pub use checksum::crc32c;
pub use compression::Compression;
pub use footer::{Footer, IndexEntry};
pub use header::SegmentHeader;
pub use manifest::Manifest;
pub use marks::Mark;
pub use piece::Piece;
pub use producers::ProducersFile;
pub use record::{Producer, RecordRef};
pub use stored::StoredHead;
pub use watermark::WatermarkFile;

use crate::{error::Defect, types::LogId};

/// The version of the format that this library writes, and the newest that it reads.
pub const VERSION: u16 = 1;

/// What no seq, id, generation or offset exceeds: far from where a sum of them could wrap, and further
/// than any log gets. A structure that verifies and states more is damaged.
pub const NUMBER_MAX: u64 = 1 << 62;

/// What every frame of a segment is decoded against; taken from the segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentContext {
    /// The random number of this incarnation of the file.
    pub salt: u64,
    /// The seq that the frames' seq fields count from.
    pub base_seq: u64,
    /// The time that the batches' timestamps count from, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The log that they belong to: what is sealed is bound to it.
    pub log_id: LogId,
}

/// The bytes of a fixed-size structure, or how many are missing.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Defect> {
    bytes.first_chunk().ok_or(Defect::Truncated {
        needed_bytes: N as u64,
        available_bytes: bytes.len() as u64,
    })
}

/// The `N` bytes at a place inside `bytes`.
/// INVARIANT: callers have checked the length; past the end it gives zeros, which are never valid.
#[inline]
fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[inline]
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(at(bytes, offset))
}

#[inline]
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(at(bytes, offset))
}

#[inline]
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(at(bytes, offset))
}

#[inline]
fn i64_at(bytes: &[u8], offset: usize) -> i64 {
    i64::from_le_bytes(at(bytes, offset))
}

/// The checks that every self-describing structure begins with.
fn check_preamble(bytes: &[u8], magic: [u8; 8]) -> Result<(), Defect> {
    let found = at::<8>(bytes, 0);
    if found != magic {
        return Err(if bytes.iter().all(|byte| *byte == 0) {
            Defect::Zeroed
        } else {
            Defect::BadMagic {
                found: u64::from_le_bytes(found),
            }
        });
    }
    Ok(())
}

/// Checks a checksum that stands right behind the bytes it covers.
fn check_crc(bytes: &[u8], seed: u32, stored: u32) -> Result<(), Defect> {
    let computed = checksum::crc32c(seed, bytes);
    if stored == computed {
        Ok(())
    } else {
        Err(Defect::BadChecksum { stored, computed })
    }
}

/// Checks that numbers are within [`NUMBER_MAX`].
fn check_numbers(numbers: &[u64], what: &'static str) -> Result<(), Defect> {
    if numbers.iter().all(|number| *number <= NUMBER_MAX) {
        Ok(())
    } else {
        Err(Defect::Malformed(what))
    }
}

/// The feature of a log in which cursors may be moved by annexes.
pub const MOVES_FEATURE: u32 = 1 << 1;
/// The feature of a log whose files come back: behind the frames of a segment may be old bytes. Only a
/// writer has to know it.
pub const RECYCLED: u32 = 1;
/// Features, a bit each, that only a writer has to know and that this one does.
pub const WRITE_FEATURES: u32 = RECYCLED | MOVES_FEATURE | SEGMENT_FEATURES;

/// The feature of a log with packed batches, as the manifest states it. The segments that have them state
/// it too, and there a reader has to know it.
pub const PACKED_FEATURE: u32 = 1 << 2;
/// The same of a log with sealed batches.
pub const SEALED_FEATURE: u32 = 1 << 3;
/// The feature of a log with marks. It stands in the manifest that has them, for every reader, and no other.
pub const MARKS_FEATURE: u32 = 1 << 4;
/// The feature of a log with segments that live elsewhere. It stands in the manifest that names them, for every
/// reader: to who does not know it their files are missing.
pub const FAR_FEATURE: u32 = 1 << 5;
/// The feature of a log whose records are packed as they are appended: where [`PACKED_FEATURE`] stands, this stands
/// beside it if packed batches may be in the chain, and then they say themselves who appended their records.
pub const PACKED_APPENDS_FEATURE: u32 = 1 << 6;
/// Features, a bit each, of a segment that a reader has to know and that this one does.
pub const SEGMENT_FEATURES: u32 = PACKED_FEATURE | SEALED_FEATURE | PACKED_APPENDS_FEATURE;

/// Up to where zeros follow frames that end here, in a file that was a segment before: to the end of a
/// block, and room for a batch header at least.
pub(crate) fn clear_end(frames_end: u64) -> u64 {
    (frames_end + batch::BATCH_HEADER_BYTES as u64).next_multiple_of(CLEAR_BYTES)
}

/// What such a file is cleared in, in bytes.
pub(crate) const CLEAR_BYTES: u64 = 4096;

/// Whose a file beside the segments is: of which log, and of which continuation of it. A copy that goes
/// on by itself gives the same numbers to other records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) log_id: LogId,
    /// 0 if it is not stated, as in what was written before there was one.
    pub(crate) incarnation: u32,
}

impl Owner {
    /// Checks that a file with this owner belongs to this log.
    pub(crate) fn check(self, found: Self) -> Result<(), Defect> {
        check_log_id(self.log_id, found.log_id)?;
        let (expected, found) = (self.incarnation, found.incarnation);
        if expected == found || expected == 0 || found == 0 {
            return Ok(());
        }
        Err(Defect::WrongIdentity {
            field: "incarnation",
            expected: expected.into(),
            found: found.into(),
        })
    }
}

/// Whether the head of a file says that it is a newer program's. Nothing of it is verified yet.
fn is_later(head: &[u8]) -> bool {
    let version = u16_at(head, 8);
    version != 0 && check_version(version, u32_at(head, 12)).is_err()
}

/// The size of an entry as its list states it: 0 stands for that of version 1. What a later version put
/// behind the fields that are known here is skipped.
fn entry_bytes(stated: usize, bytes_of_1: usize) -> Result<usize, Defect> {
    match stated {
        0 => Ok(bytes_of_1),
        longer if longer >= bytes_of_1 => Ok(longer),
        _ => Err(Defect::Malformed("size of an entry")),
    }
}

/// Checks a file with a checksum, stored and computed, that covers all of it. What is unsupported may be
/// of any length; else a wrong length says more than the checksum.
fn check_whole(
    file: &[u8],
    needed_bytes: u64,
    (stored, computed): (u32, u32),
) -> Result<(), Defect> {
    if stored == computed {
        check_version(u16_at(file, 8), u32_at(file, 12))?;
    }
    let available_bytes = file.len() as u64;
    if available_bytes != needed_bytes {
        return Err(Defect::Truncated {
            needed_bytes,
            available_bytes,
        });
    }
    if stored != computed {
        return Err(Defect::BadChecksum { stored, computed });
    }
    Ok(())
}

/// Checks that a file belongs to this log.
pub(crate) fn check_log_id(expected: LogId, found: LogId) -> Result<(), Defect> {
    if expected == found {
        return Ok(());
    }
    Err(Defect::WrongIdentity {
        field: "log id",
        expected: u64_at(&expected.0, 0),
        found: u64_at(&found.0, 0),
    })
}

/// Checks version and required features; done after the checksum, so that damage is called damage.
fn check_version(version: u16, required_features: u32) -> Result<(), Defect> {
    if version != VERSION {
        return Err(Defect::UnknownVersion(version));
    }
    if required_features != 0 {
        return Err(Defect::UnknownFeature(required_features));
    }
    Ok(())
}
