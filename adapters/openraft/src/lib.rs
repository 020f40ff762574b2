//! The log of a Raft node on a [Cairn](cairnlog) log: entries, vote, what is committed, purged and truncated.
//!
//! For [openraft](https://docs.rs/openraft) 0.9 (`v09::LogStore`, feature `openraft-09`, by default) and for
//! the pre-releases of 0.10 (`v010::LogStore`, feature `openraft-010`). The state machine and the network are yours.
//!
//! * **Entries** are records. The callback of an append comes when a sync has returned that covers it; appends that are
//!   on their way share one. Until then they are read from memory.
//! * **The vote** is a [mark](cairnlog::Log::set_mark), and so is what was purged: durable when the call returns, and
//!   after everything that was appended before.
//! * **Committed**: each entry says up to where others were known to be committed when it was appended. After a restart
//!   the node knows that much; `sync_committed` has it know all, for a commit of the log each time.
//! * **Truncating** ends a segment where it stands: it costs what it drops. **Purging** hides entries at once, and gives
//!   a segment's space back with its last.
//! * **After a failed append** the store takes nothing more: what came behind would leave a hole. Open it again.
//!
//! What of a torn or a damaged log is kept, and when opening refuses, is Cairn's to say: what was durable is there, or
//! opening says that it is not. A node whose log was repaired must not vote as if nothing had happened: give it
//! another id.
//!
//! Many groups in one process: a log each, opened with [`Options::worker`](cairnlog::Options::worker), so that they share
//! threads, and `LogStore::new`.
//!
//! To end a node and open its log again in the same process, keep a clone of `store.log()`, and call
//! [`close`](cairnlog::Log::close) on it once the node is shut down.
//!
//! A log of the newest 0.10 and one of 0.9 are stored alike as far as openraft's types are; try an upgrade on a copy.

mod entries;
mod table;
#[cfg(feature = "openraft-010")]
pub mod v010;
#[cfg(feature = "openraft-09")]
pub mod v09;

use cairnlog::{Codec, Log};
use std::{error::Error, io};

/// What a mark of the store is set to, if it is there.
fn mark<T, K: Codec<T>>(log: &Log, name: &str, codec: &K) -> io::Result<Option<T>> {
    let value = log.mark(name);
    value
        .map(|value| codec.decode(&value).map_err(invalid))
        .transpose()
}

fn invalid(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
