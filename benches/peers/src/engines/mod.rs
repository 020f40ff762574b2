//! Cairn and the logs that people know: a file each, with its documented way of being durable.

mod cairn;
#[cfg(feature = "commitlog")]
mod commitlog;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(any(
    feature = "fjall",
    feature = "redb",
    feature = "sled",
    feature = "rocksdb",
    feature = "heed"
))]
mod key;
#[cfg(feature = "heed")]
mod lmdb;
#[cfg(feature = "logdb")]
mod logdb;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "open-wal")]
mod open_wal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "raft-log")]
mod raft_log;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "rusqlite")]
mod sqlite;
#[cfg(feature = "wal-db")]
mod wal_db;
#[cfg(feature = "walrus-rust")]
mod walrus;

use crate::engine::Entrant;

pub const CAIRN: Entrant = cairn::ENTRANT;

/// Everyone that this program was built with, Cairn first. Who only packs is not among them.
pub fn all() -> Vec<Entrant> {
    vec![
        cairn::ENTRANT,
        cairn::DIRECT,
        #[cfg(feature = "okaywal")]
        okaywal::ENTRANT,
        #[cfg(feature = "raft-engine")]
        raft_engine::ENTRANT,
        #[cfg(feature = "wal-db")]
        wal_db::ENTRANT,
        #[cfg(feature = "open-wal")]
        open_wal::ENTRANT,
        #[cfg(feature = "walrus-rust")]
        walrus::ENTRANT,
        #[cfg(feature = "commitlog")]
        commitlog::ENTRANT,
        #[cfg(feature = "fjall")]
        fjall::ENTRANT,
        #[cfg(feature = "redb")]
        redb::ENTRANT,
        #[cfg(feature = "sled")]
        sled::ENTRANT,
        #[cfg(feature = "rocksdb")]
        rocksdb::ENTRANT,
        #[cfg(feature = "rusqlite")]
        sqlite::ENTRANT,
        #[cfg(feature = "heed")]
        lmdb::ENTRANT,
        #[cfg(feature = "logdb")]
        logdb::ENTRANT,
        #[cfg(feature = "raft-log")]
        raft_log::ENTRANT,
    ]
}

/// Those that pack what they are given, each by its own way.
pub fn packers() -> Vec<Entrant> {
    vec![
        cairn::LZ4,
        cairn::ZSTD,
        #[cfg(feature = "raft-engine")]
        raft_engine::LZ4,
        #[cfg(feature = "fjall")]
        fjall::LZ4,
        #[cfg(feature = "rocksdb")]
        rocksdb::ZSTD,
        #[cfg(feature = "logdb")]
        logdb::ZSTD,
    ]
}
