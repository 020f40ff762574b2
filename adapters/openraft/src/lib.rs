//! The log of a Raft node on a [Cairn](cairnlog) log: entries, vote, what is committed, purged and truncated.
//!
//! For [openraft](https://docs.rs/openraft) 0.9 (`v09::LogStore`, feature `openraft-09`, by default) and for
//! the pre-releases of 0.10 (`v010::LogStore`, feature `openraft-010`). The state machine and the network are yours.
//!
//! ```
//! # #[cfg(feature = "openraft-09")]
//! # fn main() -> std::io::Result<()> {
//! # use openraft_09 as openraft;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("raft.log");
//! use cairnlog_openraft::v09::LogStore;
//! use std::io::Cursor; // The macro of 0.9 wants it.
//!
//! // What is replicated is stored by serde, as are ids and addresses: they need `Serialize` and `Deserialize`.
//! openraft::declare_raft_types!(pub Types: D = String, R = ());
//!
//! let store = LogStore::<Types>::open(&path)?;
//! let notes = store.reader(); // The state machine notes its snapshots with it: `save_snapshot_meta`.
//! let log = store.log().clone();
//! // let node = openraft::Raft::new(id, config, network, store, state_machine).await?;
//! // node.initialize(members).await?; the first time
//! // node.shutdown().await?;
//! log.close()?; // Once the node is shut down.
//! # drop((store, notes));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "openraft-09"))]
//! # fn main() {}
//! ```
//!
//! Depend on openraft of the same version; the features `serde` and, of 0.9, `storage-v2` are turned on by this crate. A whole
//! node, with a state machine, snapshots and a network, is the example `kv`.
//!
//! * **Entries** are records. The callback of an append comes when a sync has returned that covers it, from the thread that
//!   synced; appends that are on their way share one. Until then they are read from memory.
//! * **The vote** is a [mark](cairnlog::Log::set_mark), and so is what was purged: durable when the call returns, and
//!   after everything that was appended before.
//! * **Committed**: each entry says up to where others were known to be committed when it was appended. After a restart
//!   the node knows that much; `sync_committed` has it know all, for a commit of the log each time.
//! * **Truncating** ends a segment where it stands: it costs what it drops. **Purging** hides entries at once, and gives
//!   a segment's space back with its last.
//! * **After a failed append** the store takes nothing more, and tells of none behind it that it is durable: there would be a
//!   hole. Open it again.
//! * **An entry is a record**: of 16 MiB at most, and less with small segments
//!   ([`record_bytes_max`](cairnlog::Options::record_bytes_max)). openraft ends a node whose store refuses one: propose less.
//! * **The state machine is yours**: openraft applies again what is behind that which it says of itself, up to what is
//!   known to be committed; what was purged it has to have in a snapshot.
//!
//! * **Of 0.10, set `enable_leader_restore` to `Some(false)`** in its `Config`. By default a leader that was restarted leads on
//!   without an election. openraft sends entries to others before they are written here: such a leader may lack some that it
//!   acknowledged, gives their log ids to others, and they are lost. No store can keep that from happening.
//! * **Of 0.9, set `sync_committed(true)`** if you read by `ensure_linearizable`. A restarted leader leads on, always, with all
//!   its entries; but of what it had committed it knows only what is durable, and a read may be told of a state before that.
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
mod kept;
mod record;
mod settle;
mod table;
#[cfg(feature = "openraft-010")]
pub mod v010;
#[cfg(feature = "openraft-09")]
pub mod v09;
