//! The table in which compaction finds the older record of a key. Its size is fixed when it is made:
//! more keys than fit are worked off in several passes, each over a part of all hashes. A pass that
//! finds too many narrows its part on the way, and leaves the rest to later ones.
//!
//! INVARIANT: it never grows, whatever the keys are. Keys that share a hash are told apart
//! ([`KeyMatch::Exact`]) or cannot be crafted, since the hash is keyed by chance.

use crate::options::KeyMatch;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
};

/// What the allocator takes for a key of its own, beside its bytes.
const ALLOCATION_BYTES: usize = 16;

/// Records are numbered from 0 inside a window; a number has 32 bits.
pub(super) type Number = u32;

#[derive(Debug)]
enum Entries {
    Exact(HashMap<Box<[u8]>, Number, Keyed>),
    Hashed(HashMap<[u64; 2], Number, BuildHasherDefault<FirstWord>>),
}

/// Finds the older record of a key.
#[derive(Debug)]
pub(super) struct KeyTable {
    secret: [u64; 2],
    /// The hashes of this pass: from the first up to and with the last.
    part: (u64, u64),
    slot_max: usize,
    key_bytes_left: usize,
    key_bytes_max: usize,
    /// Keys put in during this pass.
    put_count: usize,
    entries: Entries,
}

impl KeyTable {
    /// A table of at most this many bytes, for a first pass over all hashes.
    pub(super) fn new(matching: KeyMatch, bytes_max: usize, secret: [u64; 2]) -> Self {
        let (slot_bytes, share) = match matching {
            // Half at most for slots, the rest for the bytes of keys.
            KeyMatch::Exact => (size_of::<(Box<[u8]>, Number)>(), 2),
            KeyMatch::Hashed => (size_of::<([u64; 2], Number)>(), 1),
        };
        let buckets = buckets(slot_bytes, bytes_max / share);
        let slot_max = buckets / 8 * 7;
        let entries = match matching {
            KeyMatch::Exact => Entries::Exact(HashMap::with_capacity_and_hasher(
                slot_max,
                Keyed { secret },
            )),
            KeyMatch::Hashed => {
                let hasher = BuildHasherDefault::default();
                Entries::Hashed(HashMap::with_capacity_and_hasher(slot_max, hasher))
            }
        };
        let key_bytes_max = bytes_max - buckets * (slot_bytes + 1);
        Self {
            secret,
            part: (0, u64::MAX),
            slot_max,
            key_bytes_left: key_bytes_max,
            key_bytes_max,
            put_count: 0,
            entries,
        }
    }

    /// Empties the table for the hashes behind those of the last pass; false if there are none.
    pub(super) fn next_part(&mut self) -> bool {
        let Some(first) = self.part.1.checked_add(1) else {
            return false;
        };
        // As many hashes as would fill nine tenths of it, if the next come as densely as the last.
        let slots = self.put_count.max(1) as u128 * 10;
        let width = u128::from(self.part.1 - self.part.0) * self.slot_max as u128 * 9 / slots;
        let width = u64::try_from(width).unwrap_or(u64::MAX);
        self.part = (first, first.saturating_add(width));
        (self.key_bytes_left, self.put_count) = (self.key_bytes_max, 0);
        match &mut self.entries {
            Entries::Exact(map) => map.clear(),
            Entries::Hashed(map) => map.clear(),
        }
        true
    }

    /// Halves the part, and a little more: whose hash is behind it is left to a later pass.
    fn narrow(&mut self) {
        let (first, last) = self.part;
        self.part.1 = first + (last - first) / 20 * 9;
        let (secret, part) = (self.secret, self.part);
        let mut freed = 0;
        let count = match &mut self.entries {
            Entries::Exact(map) => {
                map.retain(|key, _| {
                    let stays = hash(secret, key)[0] <= part.1;
                    freed += if stays {
                        0
                    } else {
                        key.len() + ALLOCATION_BYTES
                    };
                    stays
                });
                map.len()
            }
            Entries::Hashed(map) => {
                map.retain(|hash, _| hash[0] <= part.1);
                map.len()
            }
        };
        self.key_bytes_left += freed;
        self.put_count = count;
    }

    /// Whether a key can be added without the table growing: it has a free slot, or so many that were
    /// given up that the standard library's table makes room in place.
    fn has_room(&self, key: &[u8]) -> bool {
        let (len, capacity) = match &self.entries {
            Entries::Exact(map) => (map.len(), map.capacity()),
            Entries::Hashed(map) => (map.len(), map.capacity()),
        };
        let slot = len < capacity.min(self.slot_max) || len < self.slot_max / 2;
        let exact = matches!(self.entries, Entries::Exact(_));
        slot && (!exact || key.len() + ALLOCATION_BYTES <= self.key_bytes_left)
    }

    /// Notes the newest record of a key so far; gives the one before it. `None` also if its hash is
    /// not in the part of this pass.
    pub(super) fn put(&mut self, key: &[u8], number: Number) -> Option<Number> {
        let hash = hash(self.secret, key);
        if hash[0] < self.part.0 || hash[0] > self.part.1 {
            return None;
        }
        let slot = match &mut self.entries {
            Entries::Exact(map) => map.get_mut(key),
            Entries::Hashed(map) => map.get_mut(&hash),
        };
        if let Some(slot) = slot {
            return Some(std::mem::replace(slot, number));
        }
        while !self.has_room(key) && self.part.0 < self.part.1 {
            self.narrow();
        }
        if hash[0] > self.part.1 {
            return None;
        }
        self.put_count += 1;
        match &mut self.entries {
            Entries::Exact(map) => {
                let cost = key.len() + ALLOCATION_BYTES;
                self.key_bytes_left = self.key_bytes_left.saturating_sub(cost);
                map.insert(key.into(), number);
            }
            Entries::Hashed(map) => {
                map.insert(hash, number);
            }
        }
        None
    }

    /// Takes a key out: gives its newest record so far, if it has one here. After the first, no key
    /// is put in any more before the next pass.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Number> {
        let hash = hash(self.secret, key);
        match &mut self.entries {
            Entries::Exact(map) => map.remove(key),
            Entries::Hashed(map) => map.remove(&hash),
        }
    }
}

fn hash(secret: [u64; 2], key: &[u8]) -> [u64; 2] {
    let mut hasher = SipHasher13::new_with_keys(secret[0], secret[1]);
    hasher.write(key);
    let hash = hasher.finish128();
    [hash.h1, hash.h2]
}

/// How many buckets a table of this many bytes has: the standard library's has a power of two of them,
/// each with a byte beside it, and fills seven eighths.
fn buckets(slot_bytes: usize, bytes_max: usize) -> usize {
    let buckets_max = bytes_max / (slot_bytes + 1);
    buckets_max.checked_ilog2().map_or(0, |bits| 1 << bits)
}

/// Hashes keys under the run's secret.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    secret: [u64; 2],
}

impl BuildHasher for Keyed {
    type Hasher = siphasher::sip::SipHasher13;

    fn build_hasher(&self) -> Self::Hasher {
        siphasher::sip::SipHasher13::new_with_keys(self.secret[0], self.secret[1])
    }
}

/// Takes the first word of what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct FirstWord(u64);

impl Hasher for FirstWord {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An array arrives as its length and then its bytes, which win.
        self.0 = bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Puts every key in three times, pass by pass; gives how many passes there were.
    fn passes(matching: KeyMatch, bytes_max: usize, keys: &[Vec<u8>]) -> usize {
        let mut table = KeyTable::new(matching, bytes_max, [1, 2]);
        let capacity = table.slot_max;
        let mut older: HashMap<(usize, u32), u32> = HashMap::new();
        let mut count = 0;
        loop {
            count += 1;
            for round in 0..3 {
                for (at, key) in keys.iter().enumerate() {
                    let number = u32::try_from(round * keys.len() + at).expect("small");
                    if let Some(before) = table.put(key, number) {
                        older.insert((at, number), before);
                    }
                }
            }
            let now = match &table.entries {
                Entries::Exact(map) => map.capacity(),
                Entries::Hashed(map) => map.capacity(),
            };
            assert!(now <= capacity, "it grew from {capacity} to {now}");
            if !table.next_part() {
                break;
            }
        }
        // Whatever part a key was in, both of its repetitions found the record before.
        assert_eq!(older.len(), keys.len() * 2);
        let len = u32::try_from(keys.len()).expect("small");
        assert!(
            older
                .iter()
                .all(|((_, number), before)| before + len == *number)
        );
        count
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
