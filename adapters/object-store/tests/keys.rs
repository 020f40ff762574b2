//! What do superseded records cost that live far, and is one of them ever taken for the newest of its key?
//!
//! Compaction leaves far segments as they are, so whoever lets go of segments before they were compacted keeps what is dead in them
//! until they are trimmed. `cargo test -p cairnlog-object-store --test keys -- --nocapture` prints how much that is.

mod common;

use cairnlog::{CompactOptions, Log, Maintained, Options, vfs::sim::SimFs};
use cairnlog_object_store::{Copier, CopyOptions, Store, StoreSegments, Tier};
use common::{Dice, on, store};
use std::{collections::BTreeMap, time::Duration};

const KEYS: u64 = 1000;
const ROUNDS: u64 = 40;
const APPENDS: u64 = 500;
/// What stays on the disk, of some 100 bytes a record.
const HERE_BYTES: u64 = 48 << 10;

/// The newest value of each key; a key that was deleted has none.
type Model = BTreeMap<String, Option<String>>;

struct World {
    store: Store,
    disk: SimFs,
    log: Log,
    copier: Copier,
    model: Model,
    dice: Dice,
}

fn compact(log: &Log) -> u64 {
    let how = CompactOptions::new()
        .rate_bytes_per_s(None)
        .tombstone_age_min(Duration::ZERO);
    log.compact(&how).unwrap().dropped_count
}

impl World {
    fn options(disk: &SimFs, store: &Store) -> Options {
        let far = StoreSegments::new(store);
        on(disk).segment_bytes(16 << 10).far_segments(far)
    }

    fn new(seed: u64) -> Self {
        let (disk, (store, _)) = (SimFs::new(seed), store());
        let log = Self::options(&disk, &store).open("/log").unwrap();
        let keep = CopyOptions::new().keep(Duration::ZERO);
        let copier = Copier::start(log.stored().unwrap(), &store, keep).unwrap();
        Self {
            store,
            disk,
            log,
            copier,
            model: Model::new(),
            dice: Dice(seed),
        }
    }

    /// Updates of keys, of which one in fifty deletes.
    fn append(&mut self, count: u64) {
        for _ in 0..count {
            // Some far more often than others.
            let most = 1 + self.dice.below(KEYS);
            let key = format!("key {}", self.dice.below(most));
            let value = (self.dice.below(50) > 0)
                .then(|| format!("{key} as of {} ", self.log.next_seq()).repeat(4));
            let appended = match &value {
                Some(value) => self.log.append_keyed(&key, value),
                None => self.log.append_tombstone(&key),
            };
            appended.unwrap();
            self.model.insert(key, value);
            while self.log.maintain().unwrap() != Maintained::Nothing {}
        }
    }

    /// Appends what each key has once more.
    fn append_all(&mut self) {
        for (key, value) in self.model.iter() {
            if let Some(value) = value {
                self.log.append_keyed(key, value).unwrap();
            }
        }
        self.log.rotate().unwrap();
        while self.log.maintain().unwrap() != Maintained::Nothing {}
    }

    /// Lets go of what is old, after it was compacted or not; gives the bytes in the store alone.
    fn run(&mut self, compacts: bool) -> u64 {
        for _ in 0..ROUNDS {
            self.append(APPENDS);
            if compacts {
                compact(&self.log);
            }
            let tier = Tier::new().after_bytes(HERE_BYTES);
            self.copier.tier(&self.log, &tier).unwrap();
        }
        self.check();
        self.log.stats().far_bytes
    }

    /// Each key has its newest value, whoever asks: the writer, and a reader that was opened anew.
    fn check(&self) {
        let other = Self::options(&self.disk, &self.store);
        let other = other.open_reader("/log").unwrap();
        for reader in [&self.log.reader(), &other] {
            for (key, value) in &self.model {
                let found = reader.latest(key.as_bytes(), ..).unwrap();
                let found = found.and_then(|record| record.value().map(<[u8]>::to_vec));
                assert_eq!(
                    found.as_deref(),
                    value.as_deref().map(str::as_bytes),
                    "{key}"
                );
            }
        }
    }
}

#[test]
fn is_the_newest_of_each_key_shown_though_older_ones_are_far() {
    let mut late = World::new(1);
    let uncompacted_bytes = late.run(false);
    let mut early = World::new(1);
    let compacted_bytes = early.run(true);
    let appended = ROUNDS * APPENDS;
    let alive = late
        .model
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)));
    let alive_bytes: usize = alive.map(|(key, value)| key.len() + value.len()).sum();
    println!(
        "{appended} updates of {KEYS} keys, {alive_bytes} bytes of which are alive: {uncompacted_bytes} bytes far if they went as they were, \
         {compacted_bytes} if compacted before"
    );
    assert!(uncompacted_bytes > 1 << 20, "{uncompacted_bytes}");
    assert!(compacted_bytes < uncompacted_bytes / 2, "{compacted_bytes}");

    // Compacted once they are far: what is here loses what is dead, but no tombstone, and what is far stays.
    late.log.rotate().unwrap();
    while late.log.maintain().unwrap() != Maintained::Nothing {}
    let before = late.log.stats();
    let dropped = compact(&late.log);
    let after = late.log.stats();
    println!(
        "{dropped} records dropped of what is here: {} bytes of {}",
        after.sealed_bytes - after.far_bytes,
        before.sealed_bytes - before.far_bytes
    );
    assert!(dropped > 0);
    assert_eq!(after.far_bytes, uncompacted_bytes);
    late.check();

    // It goes with a trim, for which what is alive in it has to be appended once more.
    late.append_all();
    let segments = late.log.segments().unwrap();
    let first_here = segments.iter().find(|it| !it.is_far).unwrap();
    late.log.trim(first_here.base_seq).unwrap();
    compact(&late.log);
    late.copier.step().unwrap();
    assert_eq!(late.log.stats().far_bytes, 0);
    late.check();
}
