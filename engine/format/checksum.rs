//! CRC-32C, and the seeds that bind a checksum to its place.
//!
//! INVARIANT: no checksum starts from zero, because the CRC of nothing is then zero and a file of
//! zeros would verify (`format.md`, "Checksums"). The seed mixes the segment's salt with the offset
//! or seq, so bytes copied to another place, or left over from another file, do not verify.

/// CRC-32C (Castagnoli) of `bytes`, continued from `seed`.
#[must_use]
#[inline]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

/// Distinguishes the structures that are checksummed with a salt.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Batch = 0x4254_4348,
    Record = 0x5243_5244,
    Footer = 0x464f_4f54,
    Index = 0x494e_4458,
}

/// The seed of a structure at a `place` (an offset or a seq) in the segment with this salt.
#[inline]
pub(super) fn seed(kind: Kind, salt: u64, place: u64) -> u32 {
    let folded = salt ^ place;
    low(folded) ^ low(folded >> 32) ^ kind as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the low half is what is wanted"
)]
#[inline]
fn low(value: u64) -> u32 {
    value as u32
}
