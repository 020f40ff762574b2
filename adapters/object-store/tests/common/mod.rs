//! What the tests here have in common.

#![allow(dead_code, reason = "each test uses some of it")]

pub mod faulty;

use cairnlog::{Log, Options, Seq, vfs::sim::SimFs};
use cairnlog_object_store::Store;
use faulty::{Fault, Faulty, Shared};
use object_store::path::Path;
use std::{sync::Arc, time::Duration};

/// A record as it can be compared.
pub type Shown = (Seq, Option<Vec<u8>>, Option<Vec<u8>>, i64);

pub fn shown(reader: &cairnlog::Reader) -> Vec<Shown> {
    let scan = reader.scan(..).unwrap();
    let show = |record: cairnlog::Result<cairnlog::Record>| {
        let record = record.unwrap();
        let value = record.value().map(<[u8]>::to_vec);
        (
            record.seq(),
            record.key().map(<[u8]>::to_vec),
            value,
            record.timestamp_ms(),
        )
    };
    scan.map(show).collect()
}

/// A store in memory, and what plans its faults: none at first.
pub fn store() -> (Store, Arc<Faulty>) {
    let faulty = Faulty::new(|_| Fault::None);
    (over(&faulty), faulty)
}

/// The place of a log in such a store.
pub fn over(faulty: &Arc<Faulty>) -> Store {
    let store = Store::new(Arc::new(Shared(faulty.clone())), Path::from("logs/orders"));
    store.timeout(Duration::from_millis(200))
}

/// How a log on a simulated disk is opened: small segments, nothing in the background.
pub fn on(disk: &SimFs) -> Options {
    let vfs = Arc::new(disk.clone());
    Log::options()
        .vfs(vfs)
        .background(false)
        .segment_bytes(4096)
}

/// A cheap source of numbers, different for each seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
