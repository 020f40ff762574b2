//! okaywal: an entry of one or many chunks, durable when it is committed.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::{Context, Result};
use okaywal::{
    Configuration, Entry, EntryId, EntryWriter, LogManager, LogPosition, ReadChunkResult,
    SegmentReader, WriteAheadLog,
};
use std::{
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub const ENTRANT: Entrant = Entrant {
    name: "okaywal",
    kind: Kind::Peer,
    settings: "`preallocate_bytes` 16 MiB, `checkpoint_after_bytes` 12 MiB, checkpoints that do nothing, so that files are \
               recycled; an entry per append, `commit`; a batch is an entry of 100 chunks; not durable: one entry of all chunks; \
               to be read: no checkpoints",
    levels: &[Level::Durable, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: false,
    reads: "CRC-32 when it is asked for, which it is here; there is no reader but recovery",
    open,
};

struct Okaywal {
    log: WriteAheadLog,
    level: Level,
    state: Arc<State>,
}

/// What recovery found, and whether a checkpoint has to wait because that will be read.
#[derive(Debug, Default)]
struct State {
    positions: Mutex<Vec<LogPosition>>,
    hold: AtomicBool,
}

#[derive(Debug)]
struct Manager(Arc<State>);

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            let position = chunk.log_position();
            chunk.read_all()?;
            assert!(chunk.check_crc()?, "a chunk's CRC");
            self.0
                .positions
                .lock()
                .expect("not poisoned")
                .push(position);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> std::io::Result<()> {
        while self.0.hold.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let state = Arc::new(State::default());
    state.hold.store(setup.keep, Ordering::Relaxed);
    let after = if setup.keep { u64::MAX } else { 12 << 20 };
    let log = Configuration::default_for(dir.join("okaywal"))
        .preallocate_bytes(16 << 20)
        .checkpoint_after_bytes(after)
        .open(Manager(state.clone()))?;
    let level = setup.level;
    Ok(Box::new(Okaywal { log, level, state }))
}

impl Engine for Okaywal {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(match self.level {
            Level::Durable => Box::new(Committing(&self.log)),
            _ => Box::new(OneEntry(Some(self.log.begin_entry()?))),
        })
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        let positions = self.state.positions.lock().expect("not poisoned").clone();
        Ok(Some(Box::new(ByPosition {
            log: &self.log,
            positions,
        })))
    }

    fn sync(&self) -> Result<()> {
        Ok(()) // Committing the entry was it.
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.state.hold.store(false, Ordering::Relaxed);
        Ok(()) // Not `shutdown`, which checkpoints, that is, forgets.
    }
}

struct Committing<'a>(&'a WriteAheadLog);

impl Writer for Committing<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        for value in values {
            entry.write_chunk(value)?;
        }
        entry.commit()?;
        Ok(())
    }
}

struct OneEntry<'a>(Option<EntryWriter<'a>>);

impl Writer for OneEntry<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.0.as_mut().context("finished")?.write_chunk(value)?;
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        values.iter().try_for_each(|value| self.append(value))
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(entry) = self.0.take() {
            entry.commit()?;
        }
        Ok(())
    }
}

struct ByPosition<'a> {
    log: &'a WriteAheadLog,
    positions: Vec<LogPosition>,
}

impl Reader for ByPosition<'_> {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        Ok(None)
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let Some(position) = self.positions.get(number as usize) else {
            return Ok(None);
        };
        let mut reader = self.log.read_at(*position)?;
        let mut value = Vec::with_capacity(reader.chunk_length() as usize);
        reader.read_to_end(&mut value)?;
        assert!(reader.crc_is_valid()?, "a chunk's CRC");
        Ok(Some(value.len()))
    }
}
