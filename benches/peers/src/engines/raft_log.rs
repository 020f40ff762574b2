//! raft-log on chunked-wal: entries of one log; a thread of its own syncs, and calls back.

use crate::engine::{Engine, Entrant, Kind, Level, Setup, Submitter, Writer};
use anyhow::Result;
use parking_lot::Mutex;
use raft_log::{Config, RaftLog, Types, api::raft_log_writer::RaftLogWriter};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

pub const ENTRANT: Entrant = Entrant {
    name: "raft-log",
    kind: Kind::Peer,
    settings: "its defaults, and `flush_batch_wait` of 0 where one appends alone; `append`, `flush(true, callback)` each; many threads share it by a lock that nobody holds while it waits; \
               to let go: files of 16 MiB, `purge`",
    levels: &[Level::Durable],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: false,
    reads: "a checksum of every record",
    open,
};

/// Callbacks that may be on their way: more than are ever waited for.
const CALLBACKS_MAX: usize = 4096;
const TERM: u64 = 1;

/// What an entry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbered;

impl Types for Numbered {
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type Callback = SyncSender<io::Result<()>>;
    type UserData = String;

    fn log_index(id: &Self::LogId) -> u64 {
        id.1
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.len() as u64
    }
}

struct Inner(Mutex<RaftLog<Numbered>>);

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let dir = dir.join("raft-log");
    std::fs::create_dir_all(&dir)?;
    let mut config = Config::new(dir.to_string_lossy());
    if setup.lets_go {
        config.wal.chunk_max_size = Some(16 << 20);
    }
    if setup.threads == 1 {
        config.wal.flush_batch_wait = Some(Duration::ZERO);
    }
    let log = RaftLog::open(Arc::new(config))?;
    Ok(Box::new(Inner(Mutex::new(log))))
}

impl Inner {
    fn calls(&self) -> Calls<'_> {
        let (done, calls) = sync_channel(CALLBACKS_MAX);
        Calls {
            log: &self.0,
            done,
            calls,
        }
    }
}

impl Engine for Inner {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self.calls()))
    }

    fn submitter(&self) -> Result<Option<Box<dyn Submitter + '_>>> {
        Ok(Some(Box::new(self.calls())))
    }

    fn sync(&self) -> Result<()> {
        let calls = self.calls();
        self.0.lock().flush(true, Some(calls.done.clone()))?;
        Ok(calls.calls.recv()??)
    }

    fn let_go(&self) -> Result<()> {
        let mut log = self.0.lock();
        if let Some(last) = log.log_state().last().copied() {
            log.purge(last)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.lock().wait_worker_idle()?)
    }
}

/// One who appends, and where its callbacks come in, in order.
struct Calls<'a> {
    log: &'a Mutex<RaftLog<Numbered>>,
    done: SyncSender<io::Result<()>>,
    calls: Receiver<io::Result<()>>,
}

impl Calls<'_> {
    fn append_all(&self, values: &[&[u8]]) -> Result<()> {
        let mut log = self.log.lock();
        let next = log.log_state().last().map_or(0, |last| last.1 + 1);
        let entries = (next..).zip(values);
        log.append(entries.map(|(index, value)| ((TERM, index), value.to_vec())))?;
        Ok(log.flush(true, Some(self.done.clone()))?)
    }
}

impl Submitter for Calls<'_> {
    fn submit(&mut self, value: &[u8]) -> Result<()> {
        self.append_all(&[value])
    }

    fn wait_for_oldest(&mut self) -> Result<()> {
        Ok(self.calls.recv()??)
    }
}

impl Writer for Calls<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.append_all(values)?;
        self.wait_for_oldest()
    }
}
