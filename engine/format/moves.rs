//! Moves of cursors: the content of the annex in which acknowledgements lie. Layout: `format.md`, "Moves".
//!
//! An entry says where one cursor stands, and of its pending records what changed since the entry before.

use super::{NUMBER_MAX, at, check_numbers, u16_at, u32_at, u64_at};
use super::{batch::ANNEX_BYTES_MIN, cursor::PENDING_BYTES, cursor::Pending};
use crate::{error::Defect, types::Seq};

/// The kind of the annex that holds them.
pub const MOVES_KIND: u32 = 1;
/// The size of an entry without its pending records, in bytes.
pub const MOVE_BYTES: usize = 32;
const WORD_BYTES: usize = 8;
const HOLDS: u16 = 1;
const ANEW: u16 = 2;

/// One move of one cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// The number in the name of the cursor's file.
    pub cursor: u64,
    /// Counts the moves: one that is not above the file's says nothing new.
    pub generation: u64,
    /// The next seq that its consumer has not acknowledged.
    pub seq: Seq,
    /// Whether retention keeps what it has not passed.
    pub holds: bool,
    /// Whether what was pending before is forgotten.
    pub anew: bool,
    /// The pending records that have changed, in the order of the seqs.
    pub pending: Vec<Pending>,
}

impl Move {
    /// Its size as stored, in bytes.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        MOVE_BYTES + self.pending.len() * Pending::entry_bytes(&self.pending)
    }

    /// Puts it behind others.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let entry_bytes = u32::try_from(self.entry_bytes()).unwrap_or(u32::MAX);
        let holds = if self.holds { HOLDS } else { 0 };
        let anew = if self.anew { ANEW } else { 0 };
        out.extend_from_slice(&entry_bytes.to_le_bytes());
        let pending_bytes = Pending::entry_bytes(&self.pending);
        // 0 stands for the sizes of version 1.
        let words = match pending_bytes == PENDING_BYTES {
            true => 0,
            false => u8::try_from(pending_bytes / WORD_BYTES).unwrap_or(0),
        };
        out.extend_from_slice(&[0, words]);
        out.extend_from_slice(&(holds | anew).to_le_bytes());
        out.extend_from_slice(&self.cursor.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        for pending in &self.pending {
            pending.write(out, pending_bytes);
        }
    }

    /// The entry that `bytes` begin with, and how long it is.
    fn read(bytes: &[u8]) -> Result<(Self, usize), Defect> {
        let malformed = Defect::Malformed("move of a cursor");
        let words = |stated: u8, own: usize| match usize::from(stated) * WORD_BYTES {
            0 => Ok(own),
            stated if stated >= own => Ok(stated),
            _ => Err(malformed),
        };
        let [head_words, pending_words] = at::<2>(bytes, 4);
        let head_bytes = words(head_words, MOVE_BYTES)?;
        let pending_bytes = words(pending_words, PENDING_BYTES)?;
        let entry_bytes = usize::try_from(u32_at(bytes, 0)).unwrap_or(usize::MAX);
        let entry = bytes.get(..entry_bytes).ok_or(malformed)?;
        let pending = entry.get(head_bytes..).ok_or(malformed)?;
        if pending.len() % pending_bytes != 0 {
            return Err(malformed);
        }
        let flags = u16_at(entry, 6);
        let entry = Self {
            cursor: u64_at(entry, 8),
            generation: u64_at(entry, 16),
            seq: u64_at(entry, 24),
            holds: flags & HOLDS != 0,
            anew: flags & ANEW != 0,
            pending: pending
                .chunks_exact(pending_bytes)
                .map(Pending::read)
                .collect(),
        };
        let numbers = [entry.cursor, entry.generation, entry.seq];
        check_numbers(&numbers, "move of a cursor: a number is too large")?;
        let mut floor = entry.seq;
        for pending in &entry.pending {
            if pending.seq < floor || pending.seq >= NUMBER_MAX {
                return Err(malformed);
            }
            floor = pending.seq + 1;
        }
        Ok((entry, entry_bytes))
    }
}

/// The moves in the body of an annex of their kind, whose checksum held. Ends after the first that breaks
/// a bound: no writer writes such a one, and what follows it cannot be found.
pub fn moves(body: &[u8]) -> impl Iterator<Item = Result<Move, Defect>> {
    let mut rest = body.get(ANNEX_BYTES_MIN..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = Move::read(rest);
        let bytes = read.as_ref().map_or(rest.len(), |(_, bytes)| *bytes);
        rest = rest.get(bytes..).unwrap_or_default();
        Some(read.map(|(entry, _)| entry))
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may panic"
    )]

    use super::*;

    /// A newer program may have more to say, and states how long its parts are. Shorter ones than ours leave out what
    /// has to be there.
    #[test]
    fn may_the_parts_of_an_entry_be_longer_than_ours_and_not_shorter() {
        let pending = |seq| Pending {
            seq,
            delivery_count: 2,
            ..Pending::default()
        };
        let entry = Move {
            cursor: 40,
            generation: 50,
            seq: 5,
            pending: vec![pending(60), pending(70)],
            ..Move::default()
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(Move::read(&bytes), Ok((entry.clone(), bytes.len())));
        let stating = |head_words: usize, pending_words: usize| {
            let mut bytes = bytes.clone();
            bytes[4] = u8::try_from(head_words).unwrap();
            bytes[5] = u8::try_from(pending_words).unwrap();
            bytes
        };
        let (head, one) = (MOVE_BYTES / WORD_BYTES, PENDING_BYTES / WORD_BYTES);
        assert_eq!(Move::read(&stating(head, one)).unwrap().0, entry);
        for words in 1..head {
            assert!(Move::read(&stating(words, one)).is_err(), "head {words}");
        }
        for words in 1..one {
            assert!(Move::read(&stating(head, words)).is_err(), "one {words}");
        }
        let longer = |at: usize, mut bytes: Vec<u8>| {
            bytes.splice(at..at, [9; WORD_BYTES]);
            let len = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            bytes
        };
        let longer_head = longer(MOVE_BYTES, stating(head + 1, one));
        assert_eq!(Move::read(&longer_head).unwrap().0, entry);
    }
}
