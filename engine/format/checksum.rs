//! CRC-32C, and the seeds that bind a checksum to its place.
//!
//! INVARIANT: no checksum starts from zero, because the CRC of nothing is then zero and a file of
//! zeros would verify (`format.md`, "Checksums"). The seed mixes the segment's salt with the offset
//! or seq, so bytes copied to another place, or left over from another file, do not verify.
//!
//! One of the six places of `unsafe` in the engine: the processor's own instructions, over values and
//! slices and without a pointer, after the processor was asked for them.

/// From this length on three streams pay.
const LONG_BYTES: usize = 640;
/// How many words one of the three has at most, before they are put together.
const STREAM_WORDS_MAX: usize = 255;

/// The polynomial without its highest term; bit 31 is the term of degree 0, as in every value here.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// CRC-32C (Castagnoli) of `bytes`, continued from `seed`.
#[inline]
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < LONG_BYTES && is_x86_feature_detected!("sse4.2") {
        #[expect(unsafe_code, reason = "the instruction for checksums")]
        // SAFETY: the processor was asked, and has the instructions that this is compiled with.
        return unsafe { short(seed, bytes) };
    }
    of_many(seed, bytes)
}

/// Not for short ones, most of which are inlined where they are wanted.
#[inline(never)]
fn of_many(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq") {
        #[expect(
            unsafe_code,
            reason = "the instructions for checksums and for joining them"
        )]
        // SAFETY: the processor was asked, and has the instructions that this is compiled with.
        return unsafe { long(seed, bytes) };
    }
    crc32c::crc32c_append(seed, bytes)
}

/// Three streams side by side, because the instruction can begin three times before it ends once: for
/// 1 KiB and 16 KiB 1.2 times as fast as the crate, whose streams have one of two fixed lengths.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn long(seed: u32, mut bytes: &[u8]) -> u32 {
    use std::arch::x86_64::_mm_crc32_u64;
    let mut first = u64::from(!seed);
    while bytes.len() >= LONG_BYTES {
        let words = (bytes.len() / 24).min(STREAM_WORDS_MAX);
        let (one, rest) = bytes.split_at(8 * words);
        let (two, rest) = rest.split_at(8 * words);
        let (three, rest) = rest.split_at(8 * words);
        let [one, two, three] = [one, two, three].map(|stream| stream.as_chunks::<8>().0);
        let (mut second, mut third) = (0, 0);
        for ((one, two), three) in one.iter().zip(two).zip(three) {
            first = _mm_crc32_u64(first, u64::from_le_bytes(*one));
            second = _mm_crc32_u64(second, u64::from_le_bytes(*two));
            third = _mm_crc32_u64(third, u64::from_le_bytes(*three));
        }
        // Each goes past the bytes of those behind it, as in `join`.
        let power = |words: usize| WORD_POWERS.get(words).copied().unwrap_or_default();
        let first_two =
            multiply(low(first), power(2 * words)) ^ multiply(low(second), power(words));
        first = u64::from(first_two) ^ third;
        bytes = rest;
    }
    short(!low(first), bytes)
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

/// The checksum of two stretches in a row, if the first came to `before` and the second, of
/// `second_bytes`, comes to `second` from `second_seed`. Its bytes are not needed.
///
/// A checksum is linear in its seed: another seed changes it by their difference, times as many
/// powers of x as there are bits. So a stretch is summed once, however many checksums it is part of.
#[must_use]
pub(super) fn join(before: u32, second: u32, second_seed: u32, second_bytes: usize) -> u32 {
    second ^ shift(before ^ second_seed, second_bytes)
}

/// The byte that is wrong in `bytes`, and what it was turned by, if their checksum from `seed` is `computed`
/// instead of `stored` because of one. Or because of more: of 20,000 bytes with several wrong ones, one in
/// 800 looks like that.
///
/// A checksum is linear: the difference of the two is that of a register which the bytes behind the wrong one
/// went through as if they were zeros. Taken back through them, it is left in the byte that is wrong.
pub(super) fn wrong_byte(bytes: &[u8], stored: u32, computed: u32) -> Option<(usize, u8)> {
    let back = |value: u32| {
        (0..8).fold(value, |value, _| match value >> 31 {
            0 => value << 1,
            _ => (value ^ POLYNOMIAL) << 1 | 1,
        })
    };
    let mut difference = stored ^ computed;
    (0..bytes.len()).rev().find_map(|place| {
        difference = back(difference);
        let turned = u8::try_from(difference).ok().filter(|bits| *bits != 0);
        turned.map(|bits| (place, bits))
    })
}

/// `value` times x to the power of as many bits as these bytes have, modulo the polynomial.
fn shift(value: u32, bytes: usize) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq") {
        #[expect(unsafe_code, reason = "multiplying without carry, in one instruction")]
        // SAFETY: the processor was asked, and has the instructions that this is compiled with.
        return fold_powers(value, bytes, |a, b| unsafe { multiply(a, b) });
    }
    fold_powers(value, bytes, multiply_plainly)
}

/// By the powers that the bits of `bytes` stand for, each prepared for `multiply`.
#[inline]
fn fold_powers(mut value: u32, mut bytes: usize, multiply: impl Fn(u32, u32) -> u32) -> u32 {
    while let Some(power) = POWERS.get(bytes.trailing_zeros() as usize) {
        value = multiply(value, *power);
        bytes &= bytes - 1; // Without its lowest bit.
    }
    value
}

/// For each bit of a length in bytes what to multiply by: x^(8 * 2^bit), and x^-33 for what
/// multiplying adds.
static POWERS: [u32; usize::BITS as usize] = powers();

/// The same for each count of words: x^(64 * words - 33).
static WORD_POWERS: [u32; 2 * STREAM_WORDS_MAX + 1] = word_powers();

/// The term of degree 0.
const ONE: u32 = 1 << 31;

/// x^-33.
const fn excess() -> u32 {
    let mut excess = ONE;
    let mut count = 0;
    while count < 33 {
        // Divided by x: one term lower, once the polynomial has taken the lowest away.
        excess = if excess & ONE == 0 {
            excess << 1
        } else {
            (excess ^ POLYNOMIAL) << 1 | 1
        };
        count += 1;
    }
    excess
}

#[expect(clippy::indexing_slicing, reason = "past the end it would not compile")]
const fn word_powers() -> [u32; 2 * STREAM_WORDS_MAX + 1] {
    let byte = ONE >> 8;
    let two = product(byte, byte);
    let four = product(two, two);
    let word = product(four, four);
    let mut table = [0; 2 * STREAM_WORDS_MAX + 1];
    let mut power = excess();
    let mut words = 0;
    while words < table.len() {
        table[words] = power;
        power = product(power, word);
        words += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "past the end it would not compile")]
const fn powers() -> [u32; usize::BITS as usize] {
    let excess = excess();
    let mut square = ONE >> 8;
    let mut table = [0; usize::BITS as usize];
    let mut bit = 0;
    while bit < table.len() {
        table[bit] = product(square, excess);
        square = product(square, square);
        bit += 1;
    }
    table
}

/// The product modulo the polynomial.
const fn product(a: u32, b: u32) -> u32 {
    let (mut sum, mut shifted, mut term) = (0, a, 1 << 31);
    while term != 0 {
        if b & term != 0 {
            sum ^= shifted;
        }
        // Times x: one term higher, and reduced where it left the register.
        shifted = shifted >> 1 ^ if shifted & 1 == 0 { 0 } else { POLYNOMIAL };
        term >>= 1;
    }
    sum
}

/// The product times x^33.
fn multiply_plainly(a: u32, b: u32) -> u32 {
    // x^33 by four bytes of zeros, and one bit.
    let shifted = (0..33).fold(a, |value, _| {
        value >> 1 ^ if value & 1 == 0 { 0 } else { POLYNOMIAL }
    });
    product(shifted, b)
}

/// The same with the processor's help: the product of two values of 32 bits fills 63 of 64, which is
/// a factor of x, and reducing it by the checksum instruction is one of x^32.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn multiply(a: u32, b: u32) -> u32 {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi32_si128, _mm_cvtsi128_si64,
    };
    let lane = |value: u32| _mm_cvtsi32_si128(value.cast_signed());
    let product = _mm_clmulepi64_si128::<0>(lane(a), lane(b));
    low(_mm_crc32_u64(0, _mm_cvtsi128_si64(product).cast_unsigned()))
}

/// Distinguishes the structures that are checksummed with a salt.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Batch = 0x4254_4348,
    Record = 0x5243_5244,
    Footer = 0x464f_4f54,
    Index = 0x494e_4458,
    Annex = 0x414e_4558,
    Packed = 0x5041_434b,
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
    use super::{crc32c, fold_powers, join, multiply_plainly};

    #[test]
    fn is_a_checksum_the_same_as_the_librarys_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for start in 0..9 {
            // Of one stream, of three, of three twice and three times with rests of every kind.
            for len in (0..3_000)
                .chain(6_000..7_500)
                .chain([16_384, 16_420, 19_000])
            {
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

    #[test]
    fn are_joined_checksums_those_of_the_bytes_together_with_and_without_the_instruction() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for len in (0..300).chain([1_024, 16_420, 65_535, 65_536, 69_000]) {
            let (first, second) = bytes.split_at(bytes.len() - len);
            let before = crc32c(0, first);
            for seed in [0, 1, 0x5243_5244, u32::MAX] {
                let joined = join(before, crc32c(seed, second), seed, len);
                assert_eq!(joined, crc32c(before, second), "{len} bytes from {seed}");
                let plain = fold_powers(before ^ seed, len, multiply_plainly);
                assert_eq!(
                    crc32c(seed, second) ^ plain,
                    joined,
                    "{len} bytes from {seed}"
                );
            }
        }
    }
}
