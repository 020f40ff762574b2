//! Cairn and the logs that people know: a file each, with its documented way of being durable.

mod cairn;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "wal-db")]
mod wal_db;

use crate::engine::Entrant;

/// Everyone that this program was built with, Cairn first.
pub fn all() -> Vec<Entrant> {
    vec![
        cairn::ENTRANT,
        #[cfg(feature = "okaywal")]
        okaywal::ENTRANT,
        #[cfg(feature = "raft-engine")]
        raft_engine::ENTRANT,
        #[cfg(feature = "wal-db")]
        wal_db::ENTRANT,
    ]
}
