//! raft-log: it keeps what is on its way, and its thread calls back.

use super::{Entry, Flushed, Store, parts};
use anyhow::Result;
use raft_log::{Callback, Config, RaftLog, Types, api::raft_log_writer::RaftLogWriter};
use std::{io, path::Path, sync::Arc, time::Duration};

const TERM: u64 = 1;

/// What an entry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbered;

impl Types for Numbered {
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type Callback = Called;
    type UserData = String;

    fn log_index(id: &Self::LogId) -> u64 {
        id.1
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.len() as u64
    }
}

struct Called(Flushed);

impl Callback for Called {
    fn send(self, outcome: io::Result<()>) {
        self.0.io_completed(outcome);
    }
}

struct Raft(RaftLog<Numbered>);

pub fn open(dir: &Path, on_their_way: usize) -> Result<impl Store> {
    let dir = dir.join("raft-log");
    std::fs::create_dir_all(&dir)?;
    let mut config = Config::new(dir.to_string_lossy());
    if on_their_way == 1 {
        // By default it waits a millisecond for others, and without that each has a sync of its own.
        config.wal.flush_batch_wait = Some(Duration::ZERO);
    }
    Ok(Raft(RaftLog::open(Arc::new(config))?))
}

impl Store for Raft {
    async fn append(&mut self, entry: Entry, flushed: Flushed) -> io::Result<()> {
        let (index, bytes) = parts(entry);
        self.0.append([((TERM, index), bytes)])?;
        self.0.flush(true, Some(Called(flushed)))
    }
}
