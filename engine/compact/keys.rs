//! The table in which compaction finds the older record of a key. Its size is fixed when it is made:
//! more keys than fit are worked off in several passes, each over a part of all hashes. A pass that
//! finds too many narrows its part on the way, and leaves the rest to later ones.
//!
//! Open addressing with linear probing: a slot of eight bytes says where the entry of a key lies in one
//! run of memory, which is filled from its start. So a new key costs one cache miss and a known one two,
//! whatever the length of keys, and nothing is allocated for a key of its own.
//!
//! INVARIANTS: it never grows, whatever the keys are, and a slot is always free. Keys are told apart by
//! their bytes ([`KeyMatch::Exact`]) or by all 128 bits of a hash, which is keyed by chance so that
//! nobody can craft keys that share it; the mark in a slot only saves looking at entries in vain.

use crate::options::KeyMatch;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{hash::Hasher, hint::black_box};

/// Records are numbered from 0 inside a window; a number has 32 bits.
pub(super) type Number = u32;

type Hash = [u64; 2];
/// The mark of an entry, and where it starts, counted from one: zeros are a free slot.
type Slot = [u32; 2];
const FREE: Slot = [0; 2];

/// An entry: the number of the key's newest record, the length of its bytes, the bytes.
const ENTRY_HEAD_BYTES: usize = 4 + 2;
/// So many keys are put in at once, or this many bytes of them: the memory that they need is fetched
/// for all together.
const WAITING_MAX: usize = 32;
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Keys that wait to be put in.
#[derive(Debug, Default)]
struct Waiting {
    /// With each its number and where its bytes end.
    keys: Vec<(Hash, Number, usize)>,
    bytes: Vec<u8>,
}

/// Finds the older record of a key.
#[derive(Debug)]
pub(super) struct KeyTable {
    matching: KeyMatch,
    secret: [u64; 2],
    /// The hashes of this pass: from the first up to and with the last.
    part: (u64, u64),
    slots: Vec<Slot>,
    key_count: usize,
    key_count_max: usize,
    entries: Vec<u8>,
    entry_bytes_max: usize,
    waiting: Waiting,
}

impl KeyTable {
    /// A table of at most this many bytes for so many records with keys, which have so many bytes
    /// together at most, for a first pass over all hashes.
    pub(super) fn new(
        matching: KeyMatch,
        bytes_max: usize,
        (keyed_count, key_bytes): (u64, u64),
        secret: [u64; 2],
    ) -> Self {
        // A third for slots, three quarters of which are taken, at most: right for keys of 16 bytes.
        let slots_max = (bytes_max / size_of::<Slot>() / 3) as u64;
        let slot_count = (keyed_count / 3 * 4 + 8).min(slots_max).min(1 << 32);
        let slot_count = usize::try_from(slot_count).unwrap_or(usize::MAX);
        let rest = bytes_max.saturating_sub(slot_count * size_of::<Slot>());
        // No more than can come: what may be used is not what is taken. A hash may be longer than its key.
        let beside = (ENTRY_HEAD_BYTES + size_of::<Hash>()) as u64;
        let needed = key_bytes.saturating_add(keyed_count.saturating_mul(beside));
        let needed = usize::try_from(needed).unwrap_or(usize::MAX);
        let entry_bytes_max = rest.min(u32::MAX as usize).min(needed);
        Self {
            matching,
            secret,
            part: (0, u64::MAX),
            slots: vec![FREE; slot_count],
            key_count: 0,
            key_count_max: slot_count / 4 * 3,
            entries: Vec::with_capacity(entry_bytes_max),
            entry_bytes_max,
            waiting: Waiting::default(),
        }
    }

    /// Empties the table for the hashes behind those of the last pass; false if there are none.
    pub(super) fn next_part(&mut self) -> bool {
        let Some(first) = self.part.1.checked_add(1) else {
            return false;
        };
        // As many hashes as would fill nine tenths of it, if the next come as densely as the last.
        let share = |used: usize, max: usize| (used as u128) * 1000 / (max.max(1) as u128);
        let used = share(self.key_count, self.key_count_max)
            .max(share(self.entries.len(), self.entry_bytes_max));
        let width = u128::from(self.part.1 - self.part.0) * 900 / used.max(1);
        let width = u64::try_from(width).unwrap_or(u64::MAX);
        self.part = (first, first.saturating_add(width));
        self.slots.fill(FREE);
        self.key_count = 0;
        self.entries.clear();
        true
    }

    /// Halves the part, and a little more: whose hash is behind it is left to a later pass. The entries
    /// that stay move together, in their order, and get their slots anew.
    fn narrow(&mut self) {
        let (first, last) = self.part;
        self.part.1 = first + (last - first) / 20 * 9;
        self.slots.fill(FREE);
        self.key_count = 0;
        let (mut from, mut to) = (0, 0);
        while let Some((_, bytes)) = entry(&self.entries, from) {
            let (hash, end) = (self.hash_of(bytes), from + ENTRY_HEAD_BYTES + bytes.len());
            if hash[0] <= self.part.1 {
                self.entries.copy_within(from..end, to);
                self.take_slot(hash, to);
                to += end - from;
            }
            from = end;
        }
        self.entries.truncate(to);
    }

    /// Whether a key can be added without the table growing.
    fn has_room(&self, bytes: &[u8]) -> bool {
        let left = self.entry_bytes_max - self.entries.len();
        self.key_count < self.key_count_max && ENTRY_HEAD_BYTES + bytes.len() <= left
    }

    /// Notes the newest record of a key so far, now or when others are; tells each other of it, unless the
    /// key's hash is not in the part of this pass. Records may come in any order.
    pub(super) fn put(&mut self, key: &[u8], number: Number, older: impl FnMut(Number)) {
        let hash = hash(self.secret, key);
        if hash[0] < self.part.0 || hash[0] > self.part.1 {
            return;
        }
        let waiting = &mut self.waiting;
        match self.matching {
            KeyMatch::Exact => waiting.bytes.extend_from_slice(key),
            KeyMatch::Hashed => waiting.bytes.extend_from_slice(&bytes_of(hash)),
        }
        waiting.keys.push((hash, number, waiting.bytes.len()));
        if waiting.keys.len() == WAITING_MAX || waiting.bytes.len() >= WAITING_BYTES_MAX {
            self.settle(older);
        }
    }

    /// Puts in the keys that wait.
    pub(super) fn settle(&mut self, mut older: impl FnMut(Number)) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.touch(&waiting.keys);
        let mut start = 0;
        for (hash, number, end) in waiting.keys.drain(..) {
            let bytes = waiting.bytes.get(start..end).unwrap_or_default();
            start = end;
            if let Some(number) = self.replace(hash, bytes, number) {
                older(number);
            }
        }
        waiting.bytes.clear();
        self.waiting = waiting;
    }

    /// Has the memory fetched that some keys will need: first all slots, then the entries that those
    /// name. No load waits for that of another key.
    fn touch(&self, keys: &[(Hash, Number, usize)]) {
        let slots = keys.iter().map(|(hash, ..)| self.slot(self.home(*hash)));
        black_box(slots.clone().fold(0, |all, [mark, _]| all ^ mark));
        let entries = slots.map(|[_, place]| self.entries.get(place as usize));
        black_box(entries.fold(0, |all, byte| all ^ byte.copied().unwrap_or(0)));
    }

    /// Notes the newest record of a key; gives the older one of this and the one that was noted.
    fn replace(&mut self, hash: Hash, bytes: &[u8], number: Number) -> Option<Number> {
        if let Some((start, noted)) = self.find(hash, bytes) {
            if number > noted
                && let Some(slot) = self.entries.get_mut(start..start + 4)
            {
                slot.copy_from_slice(&number.to_le_bytes());
            }
            return Some(number.min(noted));
        }
        while !self.has_room(bytes) && self.part.0 < self.part.1 {
            self.narrow();
        }
        // What finds no room at all is not remembered, and so nothing is dropped for its sake.
        if hash[0] <= self.part.1 && self.has_room(bytes) {
            let start = self.entries.len();
            let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            self.entries.extend_from_slice(&number.to_le_bytes());
            self.entries.extend_from_slice(&len.to_le_bytes());
            self.entries.extend_from_slice(bytes);
            self.take_slot(hash, start);
        }
        None
    }

    /// The newest record of a key so far, if it has one here.
    pub(super) fn get(&self, key: &[u8]) -> Option<Number> {
        let hash = hash(self.secret, key);
        let found = match self.matching {
            KeyMatch::Exact => self.find(hash, key),
            KeyMatch::Hashed => self.find(hash, &bytes_of(hash)),
        };
        found.map(|(_, number)| number)
    }

    /// Where the entry of a key starts, and its number.
    fn find(&self, hash: Hash, bytes: &[u8]) -> Option<(usize, Number)> {
        let mut at = self.home(hash);
        loop {
            let [mark, place] = self.slot(at);
            let start = place.checked_sub(1)? as usize;
            if mark == mark_of(hash)
                && let Some((number, same)) = entry(&self.entries, start)
                && same == bytes
            {
                return Some((start, number));
            }
            at = self.behind(at);
        }
    }

    /// Has the next free slot of a hash say where its entry starts.
    fn take_slot(&mut self, hash: Hash, start: usize) {
        let mut at = self.home(hash);
        while self.slot(at) != FREE {
            at = self.behind(at);
        }
        if let (Some(slot), Ok(start)) = (self.slots.get_mut(at), u32::try_from(start)) {
            *slot = [mark_of(hash), start + 1];
            self.key_count += 1;
        }
    }

    /// Where the search for a hash begins, by bits that are in no mark and decide over no part.
    fn home(&self, hash: Hash) -> usize {
        let home = u128::from(hash[1]) * self.slots.len() as u128;
        usize::try_from(home >> 64).unwrap_or(0)
    }

    fn behind(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    fn slot(&self, at: usize) -> Slot {
        self.slots.get(at).copied().unwrap_or(FREE)
    }

    fn hash_of(&self, bytes: &[u8]) -> Hash {
        match (self.matching, bytes.as_chunks::<8>().0) {
            (KeyMatch::Hashed, [a, b]) => [u64::from_le_bytes(*a), u64::from_le_bytes(*b)],
            _ => hash(self.secret, bytes),
        }
    }
}

fn hash(secret: [u64; 2], key: &[u8]) -> Hash {
    let mut hasher = SipHasher13::new_with_keys(secret[0], secret[1]);
    hasher.write(key);
    let hash = hasher.finish128();
    [hash.h1, hash.h2]
}

fn bytes_of(hash: Hash) -> [u8; 16] {
    (u128::from(hash[0]) | u128::from(hash[1]) << 64).to_le_bytes()
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the low half is what is wanted"
)]
fn mark_of(hash: Hash) -> u32 {
    hash[1] as u32
}

/// The entry that starts here: its number and its bytes. `None` behind the last.
fn entry(entries: &[u8], start: usize) -> Option<(Number, &[u8])> {
    let (number, rest) = entries.get(start..)?.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let bytes = rest.get(..u16::from_le_bytes(*len).into())?;
    Some((Number::from_le_bytes(*number), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts every key in three times, pass by pass; gives how many passes there were.
    fn passes(matching: KeyMatch, bytes_max: usize, keys: &[Vec<u8>]) -> usize {
        let key_bytes = keys.iter().map(|key| key.len() as u64).sum();
        let expected = (keys.len() as u64, key_bytes);
        let mut table = KeyTable::new(matching, bytes_max, expected, [1, 2]);
        let allotted = |table: &KeyTable| (table.slots.capacity(), table.entries.capacity());
        let at_first = allotted(&table);
        let mut older = Vec::new();
        let (mut count, mut found) = (0, 0);
        loop {
            count += 1;
            for round in 0..3 {
                for (at, key) in keys.iter().enumerate() {
                    let number = u32::try_from(round * keys.len() + at).expect("small");
                    table.put(key, number, |number| older.push(number));
                }
            }
            table.settle(|number| older.push(number));
            assert_eq!(allotted(&table), at_first, "it grew");
            for (at, key) in keys.iter().enumerate() {
                if let Some(number) = table.get(key) {
                    assert_eq!(number as usize, 2 * keys.len() + at);
                    found += 1;
                }
            }
            if !table.next_part() {
                break;
            }
        }
        // Whatever part a key was in, both of its repetitions found the record before, and once.
        older.sort_unstable();
        let all_older: Vec<Number> = (0..).take(keys.len() * 2).collect();
        assert!(older == all_older && found == keys.len());
        count
    }

    /// Threads that read bring the records of several segments in no order.
    #[test]
    fn is_the_newest_of_a_key_found_in_whatever_order_they_come() {
        let numbers = [3, 7, 1, 9, 5, 0, 8, 2, 6, 4];
        for from in 0..numbers.len() {
            let mut table = KeyTable::new(KeyMatch::Exact, 1 << 16, (100, 1000), [1, 2]);
            let mut older = Vec::new();
            for number in numbers.iter().cycle().skip(from).take(numbers.len()) {
                table.put(b"key", *number, |number| older.push(number));
                if number % 3 == 0 {
                    table.settle(|number| older.push(number));
                }
            }
            table.settle(|number| older.push(number));
            older.sort_unstable();
            assert_eq!(older, (0..9).collect::<Vec<_>>(), "each once, from {from}");
            assert_eq!(table.get(b"key"), Some(9));
        }
    }

    #[test]
    fn is_every_older_record_found_in_any_number_of_passes() {
        let keys = |count: u32, len: usize| -> Vec<Vec<u8>> {
            let key = |number: u32| [&number.to_le_bytes()[..], &vec![7; len]].concat();
            (0..count).map(key).collect()
        };
        for matching in [KeyMatch::Exact, KeyMatch::Hashed] {
            assert_eq!(passes(matching, 1 << 20, &keys(1000, 10)), 1);
            let many = passes(matching, 64 << 10, &keys(20_000, 10));
            assert!((10..60).contains(&many), "{many} passes");
        }
        // Few keys, but long ones: their bytes are what there is little of, if they are kept.
        assert_eq!(passes(KeyMatch::Hashed, 64 << 10, &keys(200, 4000)), 1);
        let many = passes(KeyMatch::Exact, 64 << 10, &keys(200, 4000));
        assert!((20..100).contains(&many), "{many} passes");
    }
}
