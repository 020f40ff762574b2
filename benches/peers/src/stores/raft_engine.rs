//! raft-engine: it has no callbacks. A thread writes what has come since its last sync, as one batch, and calls back;
//! what it has not written is kept to be read.

use super::{Entry, Flushed, Store, parts};
use anyhow::Result;
use parking_lot::{Condvar, Mutex};
use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::{
    io, mem,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

const GROUP: u64 = 1;

/// The one message of the protobuf crate itself with a number and bytes.
#[derive(Clone)]
struct Numbered;

impl MessageExt for Numbered {
    type Entry = UninterpretedOption;

    fn index(entry: &UninterpretedOption) -> u64 {
        entry.get_positive_int_value()
    }
}

#[derive(Default)]
struct Queue {
    handed_over: Vec<UninterpretedOption>,
    /// What is being written: kept to be read meanwhile.
    written: Arc<Vec<UninterpretedOption>>,
    waiting: Vec<Flushed>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    called: Condvar,
}

struct Raft {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub fn open(dir: &Path) -> Result<impl Store> {
    let engine = Engine::open(Config {
        dir: dir.join("raft").to_string_lossy().into_owned(),
        batch_compression_threshold: ReadableSize::kb(0),
        ..Config::default()
    })?;
    let shared = Arc::new(Shared::default());
    let its = shared.clone();
    let thread = thread::Builder::new().spawn(move || its.write_all(&engine))?;
    let thread = Some(thread);
    Ok(Raft { shared, thread })
}

impl Shared {
    fn write_all(&self, engine: &Engine) {
        let mut batch = LogBatch::default();
        let mut queue = self.queue.lock();
        while !queue.ended {
            if queue.handed_over.is_empty() {
                self.called.wait(&mut queue);
                continue;
            }
            let entries = Arc::new(mem::take(&mut queue.handed_over));
            let waiting = mem::take(&mut queue.waiting);
            queue.written = entries.clone();
            drop(queue);
            let added = batch.add_entries::<Numbered>(GROUP, &entries);
            let written = added.and_then(|()| engine.write(&mut batch, true));
            for flushed in waiting {
                let outcome = written.as_ref().map(drop);
                flushed.io_completed(outcome.map_err(|error| io::Error::other(error.to_string())));
            }
            queue = self.queue.lock();
        }
    }
}

impl Store for Raft {
    async fn append(&mut self, entry: Entry, flushed: Flushed) -> io::Result<()> {
        let (index, bytes) = parts(entry);
        let mut entry = UninterpretedOption::new();
        entry.set_positive_int_value(index);
        entry.set_string_value(bytes);
        let mut queue = self.shared.queue.lock();
        queue.handed_over.push(entry);
        queue.waiting.push(flushed);
        drop(queue);
        self.shared.called.notify_one();
        Ok(())
    }
}

impl Drop for Raft {
    fn drop(&mut self) {
        self.shared.queue.lock().ended = true;
        self.shared.called.notify_one();
        self.thread.take().map(JoinHandle::join);
    }
}
