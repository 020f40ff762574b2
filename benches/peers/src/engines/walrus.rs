//! walrus-rust: topics; reading consumes, so that there is no second pass and no read by number.
//! Its directory is where the variable `WALRUS_DATA_DIR` of the child says.

use crate::engine::{Engine, Entrant, Kind, Level, Setup, Writer};
use anyhow::Result;
use std::path::Path;
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

pub const ENTRANT: Entrant = Entrant {
    name: "walrus-rust",
    kind: Kind::Peer,
    settings: "`FsyncSchedule::SyncEach`, file descriptors, a topic per thread; `append_for_topic`, `batch_append_for_topic`; \
               not durable: `NoFsync`, after which there is no call to sync",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: false,
    lets_go: false,
    scans: false,
    reads: "",
    open,
};

struct Inner(Walrus);

fn open(_: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let schedule = match setup.level {
        Level::Durable => FsyncSchedule::SyncEach,
        _ => FsyncSchedule::NoFsync,
    };
    let reads = ReadConsistency::AtLeastOnce {
        persist_every: 1000,
    };
    let inner = Walrus::with_consistency_and_schedule(reads, schedule)?;
    Ok(Box::new(Inner(inner)))
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let topic = format!("topic-{thread}");
        Ok(Box::new(Topic {
            walrus: &self.0,
            topic,
        }))
    }

    fn sync(&self) -> Result<()> {
        Ok(()) // There is no call for it.
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Topic<'a> {
    walrus: &'a Walrus,
    topic: String,
}

impl Writer for Topic<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        Ok(self.walrus.append_for_topic(&self.topic, value)?)
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        Ok(self.walrus.batch_append_for_topic(&self.topic, values)?)
    }
}
