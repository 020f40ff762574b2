//! Which bytes of a segment have to be put, and which parts that were put before they replace.
//!
//! A part has [`PART_BYTES`] at most, so that memory is bounded, and its segment's bytes from one batch's
//! border to another's. Small parts, which a slow log leaves every few seconds, are folded into one, so that
//! neither their number grows nor what is put again: each byte of a tail about as often as there are classes
//! of sizes, once in a log that is quick.

use crate::layout::Object;

/// The most bytes of a part, unless one batch alone has more.
pub(crate) const PART_BYTES: u64 = 8 << 20;
/// Parts of so many bytes are not folded while the segment grows.
const LARGE_BYTES: u64 = 1 << 20;
/// So many small ones are.
const SMALL_MAX: usize = 16;

/// How many parts of a segment that grows stay as they are; those behind are put again with what is new.
pub(crate) fn kept_of_tail(parts: &[Object]) -> usize {
    let class = |part: &Object| part.bytes.max(1).ilog2() / 4;
    let is_small = |part: &&Object| part.bytes < LARGE_BYTES;
    let small = parts.iter().rev().take_while(is_small).count();
    for limit in 0..=LARGE_BYTES.ilog2() / 4 {
        let last = parts.iter().rev().take(small);
        let run: Vec<_> = last
            .map(class)
            .take_while(|class| *class <= limit)
            .collect();
        if run.iter().filter(|class| **class == limit).count() >= SMALL_MAX {
            return parts.len() - run.len();
        }
    }
    parts.len()
}

/// The same once it grows no more: it is put anew if it has more than twice the parts that it needs.
pub(crate) fn kept_of_sealed(parts: &[Object], bytes: u64) -> usize {
    match parts.len() as u64 > 2 * (bytes / PART_BYTES + 1) {
        true => 0,
        false => parts.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Key;

    fn part(bytes: u64) -> Object {
        let key = Key {
            epoch: 1,
            number: 1,
        };
        Object {
            key,
            bytes,
            checksum: 0,
        }
    }

    /// What putting a tail in pieces of one size comes to: parts at the end, and bytes put for each byte.
    fn grown(piece: u64, total: u64) -> (usize, f64) {
        let (mut parts, mut put) = (Vec::<Object>::new(), 0);
        for _ in 0..total / piece {
            let kept = kept_of_tail(&parts);
            let bytes = piece + parts[kept..].iter().map(|it| it.bytes).sum::<u64>();
            parts.truncate(kept);
            parts.push(part(bytes));
            put += bytes;
        }
        assert_eq!(
            parts.iter().map(|it| it.bytes).sum::<u64>(),
            total / piece * piece
        );
        (parts.len(), put as f64 / total as f64)
    }

    #[test]
    fn small_parts_do_not_pile_up_and_are_not_put_for_ever() {
        for piece in [100, 1 << 10, 10 << 10, 100 << 10] {
            let (parts, times) = grown(piece, 64 << 20);
            assert!(parts <= 64 + 16 * 5, "{parts} parts of {piece} bytes");
            assert!(times < 6.0, "{times} times the bytes, by {piece}");
        }
        let (parts, times) = grown(8 << 20, 64 << 20);
        assert_eq!((parts, times), (8, 1.0));
    }

    #[test]
    fn a_finished_segment_of_large_parts_is_left_as_it_is() {
        assert_eq!(kept_of_sealed(&[part(PART_BYTES); 8], 64 << 20), 8);
        assert_eq!(kept_of_sealed(&[part(LARGE_BYTES); 64], 64 << 20), 0);
        assert_eq!(kept_of_sealed(&[part(10); 2], 20), 2);
    }
}
