//! The table in which compaction finds the older record of a key. Its size is fixed when it is made:
//! more keys than fit are worked off in several passes, each over a part of all hashes.
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

/// What became of a key that was put into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Its hash is not in the part of this pass.
    Elsewhere,
    First,
    /// There was an older record of it.
    Newer(Number),
    /// The table is full.
    Full,
}

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
    entries: Entries,
}

impl KeyTable {
    /// A table of at most this many bytes.
    pub(super) fn new(matching: KeyMatch, bytes_max: usize, secret: [u64; 2]) -> Self {
        let (slot_bytes, table_bytes_max) = match matching {
            // A third for slots, the rest for the bytes of keys.
            KeyMatch::Exact => (size_of::<(Box<[u8]>, Number)>(), bytes_max / 3),
            KeyMatch::Hashed => (size_of::<([u64; 2], Number)>(), bytes_max),
        };
        let slot_max = slots(slot_bytes, table_bytes_max);
        let keyed = Keyed { secret };
        let entries = match matching {
            KeyMatch::Exact => Entries::Exact(HashMap::with_capacity_and_hasher(slot_max, keyed)),
            KeyMatch::Hashed => {
                let hasher = BuildHasherDefault::default();
                Entries::Hashed(HashMap::with_capacity_and_hasher(slot_max, hasher))
            }
        };
        let key_bytes_max = bytes_max - table_bytes_max;
        Self {
            secret,
            part: (0, u64::MAX),
            slot_max,
            key_bytes_left: key_bytes_max,
            key_bytes_max,
            entries,
        }
    }

    /// Begins a pass over a part of all hashes, with an empty table.
    pub(super) fn begin(&mut self, part: (u64, u64)) {
        self.part = part;
        self.key_bytes_left = self.key_bytes_max;
        match &mut self.entries {
            Entries::Exact(map) => map.clear(),
            Entries::Hashed(map) => map.clear(),
        }
    }

    fn hash(&self, key: &[u8]) -> Option<[u64; 2]> {
        let mut hasher = SipHasher13::new_with_keys(self.secret[0], self.secret[1]);
        hasher.write(key);
        let hash = hasher.finish128();
        (self.part.0 <= hash.h1 && hash.h1 <= self.part.1).then_some([hash.h1, hash.h2])
    }

    /// Notes the newest record of a key so far.
    pub(super) fn put(&mut self, key: &[u8], number: Number) -> Put {
        let Some(hash) = self.hash(key) else {
            return Put::Elsewhere;
        };
        let slot = match &mut self.entries {
            Entries::Exact(map) => map.get_mut(key),
            Entries::Hashed(map) => map.get_mut(&hash),
        };
        if let Some(slot) = slot {
            return Put::Newer(std::mem::replace(slot, number));
        }
        let cost = key.len() + ALLOCATION_BYTES;
        match &mut self.entries {
            Entries::Exact(map) if map.len() < self.slot_max && cost <= self.key_bytes_left => {
                self.key_bytes_left -= cost;
                map.insert(key.into(), number);
                Put::First
            }
            Entries::Hashed(map) if map.len() < self.slot_max => {
                map.insert(hash, number);
                Put::First
            }
            _ => Put::Full,
        }
    }

    /// Takes a key out: gives its newest record so far, if it has one here.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Number> {
        let hash = self.hash(key)?;
        match &mut self.entries {
            Entries::Exact(map) => map.remove(key),
            Entries::Hashed(map) => map.remove(&hash),
        }
    }
}

/// How many slots a table of this many bytes has: the standard library's has a power of two of
/// buckets, a byte more for each, and fills seven eighths of them.
fn slots(slot_bytes: usize, table_bytes_max: usize) -> usize {
    let buckets_max = table_bytes_max / (slot_bytes + 1);
    let buckets = buckets_max.checked_ilog2().map_or(0, |bits| 1 << bits);
    buckets / 8 * 7
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
