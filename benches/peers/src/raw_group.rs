//! The plainest group commit: as many threads, of which the last to come writes and syncs for all.
//!
//! Nothing is numbered, framed or checked; what is left is one memory copy a caller, one write and one
//! sync a group, and waiting in the kernel and being woken, once each.
//!
//! Called like an engine.

use crate::{
    engine::{Engine, Setup, Writer},
    raw, system,
};
use anyhow::Result;
use parking_lot::Mutex;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

/// When threads end, who waits for them goes on without them after so long.
const PATIENCE: Duration = Duration::from_millis(2);

struct Group {
    file: File,
    writers: AtomicUsize,
    /// How many groups are durable: those who wait look at it, in the kernel.
    durable_count: AtomicU32,
    gathering: Mutex<Gathering>,
}

#[derive(Default)]
struct Gathering {
    buffer: Vec<u8>,
    callers: usize,
    offset: u64,
}

pub fn open(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Group {
        file: raw::zero_filled(&dir.join("raw"))?,
        writers: AtomicUsize::new(0),
        durable_count: AtomicU32::new(0),
        gathering: Mutex::default(),
    }))
}

impl Engine for Group {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        self.writers.fetch_add(1, SeqCst);
        Ok(Box::new(self))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Group {
    /// Under the lock: who comes next finds an empty group, and waits for it while this one is synced.
    fn carry_out(&self, gathering: &mut Gathering) -> Result<()> {
        if gathering.offset + gathering.buffer.len() as u64 > raw::FILE_BYTES {
            gathering.offset = 0;
        }
        self.file
            .write_all_at(&gathering.buffer, gathering.offset)?;
        self.file.sync_data()?;
        gathering.offset += gathering.buffer.len() as u64;
        gathering.buffer.clear();
        gathering.callers = 0;
        self.durable_count.fetch_add(1, SeqCst);
        system::wake_all(&self.durable_count);
        Ok(())
    }
}

impl Writer for &Group {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut gathering = self.gathering.lock();
        let before = self.durable_count.load(SeqCst);
        for value in values {
            gathering.buffer.extend_from_slice(value);
            gathering
                .buffer
                .extend_from_slice(&[0; raw::OVERHEAD_BYTES]);
        }
        gathering.callers += 1;
        if gathering.callers == self.writers.load(SeqCst) {
            return self.carry_out(&mut gathering);
        }
        drop(gathering);
        while self.durable_count.load(SeqCst) == before {
            if !system::wait_while(&self.durable_count, before, PATIENCE) {
                let mut gathering = self.gathering.lock();
                if self.durable_count.load(SeqCst) == before {
                    self.carry_out(&mut gathering)?;
                }
            }
        }
        Ok(())
    }
}
