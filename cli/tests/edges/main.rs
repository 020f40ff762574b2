//! Every verb of the tool at every edge of the world: streams that are closed or full, nothing left of
//! descriptors, threads and memory, places that cannot be written or read, logs in every state, signals.
//!
//! In each cell: no panic, no signal but the one that was sent, an exit code that `--help` lists, an error
//! that names the place, nothing lost, and nothing acknowledged that is not there or that nobody got.

#[path = "../common/mod.rs"]
mod common;
mod logs;
mod means;
mod signals;
mod streams;
mod verbs;
mod world;
