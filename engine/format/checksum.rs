//! CRC-32C, and the seeds that bind a checksum to its place.
//!
//! INVARIANT: no checksum starts from zero, because the CRC of nothing is then zero and a file of
//! zeros would verify (`format.md`, "Checksums"). The seed mixes the segment's salt with the offset
//! or seq, so bytes copied to another place, or left over from another file, do not verify.
//!
//! One of the three places of `unsafe` in the engine: the processor's own instruction, over a slice and
//! without a pointer, after the processor was asked for it.

/// From this length on three streams pay, which the crate has: shorter ones wait for no others.
const LONG_BYTES: usize = 768;

/// CRC-32C (Castagnoli) of `bytes`, continued from `seed`.
#[inline]
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < LONG_BYTES && is_x86_feature_detected!("sse4.2") {
        #[expect(
            unsafe_code,
            reason = "the instruction for short checksums, which most are"
        )]
        // SAFETY: the processor was asked, and has the instructions that this is compiled with.
        return unsafe { short(seed, bytes) };
    }
    crc32c::crc32c_append(seed, bytes)
}

/// One stream, a word at a time wherever it lies: for a record of 100 bytes twice as fast as the crate.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(seed: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(u64::from(!seed), |crc, word| {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word))
    });
    let (words, rest) = rest.as_chunks::<4>();
    let crc = words.iter().fold(low(crc), |crc, word| {
        _mm_crc32_u32(crc, u32::from_le_bytes(*word))
    });
    !rest.iter().fold(crc, |crc, byte| _mm_crc32_u8(crc, *byte))
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
