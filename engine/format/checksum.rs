//! CRC-32C, and the seeds that bind a checksum to its place.
//!
//! INVARIANT: no checksum starts from zero, because the CRC of nothing is then zero and a file of
//! zeros would verify (`format.md`, "Checksums"). The seed mixes the segment's salt with the offset
//! or seq, so bytes copied to another place, or left over from another file, do not verify.

/// Up to this many bytes the library works through one chain of instructions, and byte by byte where
/// they are not aligned; a record's frame seldom is.
#[cfg(target_arch = "x86_64")]
const SHORT_BYTES: usize = 768;

/// CRC-32C (Castagnoli) of `bytes`, continued from `seed`.
#[must_use]
#[inline]
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "an instruction that not every processor has")
)]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= SHORT_BYTES && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instruction.
        return unsafe { short(seed, bytes) };
    }
    crc32c::crc32c_append(seed, bytes)
}

/// The same by eight bytes at a time from the first one on, aligned or not.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(seed: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |crc, word: &[u8; 8]| _mm_crc32_u64(crc, u64::from_le_bytes(*word));
    let crc = low(words.iter().fold(u64::from(!seed), step));
    let (half, rest) = rest.as_chunks::<4>();
    let step = |crc, half: &[u8; 4]| _mm_crc32_u32(crc, u32::from_le_bytes(*half));
    let crc = half.iter().fold(crc, step);
    let step = |crc, byte: &u8| _mm_crc32_u8(crc, *byte);
    !rest.iter().fold(crc, step)
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
pub(super) fn seed(kind: Kind, salt: u64, place: u64) -> u32 {
    let folded = salt ^ place;
    low(folded) ^ low(folded >> 32) ^ kind as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the low half is what is wanted"
)]
fn low(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn is_a_short_checksum_the_same_as_the_librarys_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for start in 0..9 {
            for len in 0..900 {
                let part = bytes.get(start..start + len).expect("long enough");
                assert_eq!(
                    crc32c(7, part),
                    crc32c::crc32c_append(7, part),
                    "{start} {len}"
                );
            }
        }
        // The check value that the catalogue of CRC algorithms gives for CRC-32C (iSCSI).
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
    }
}
