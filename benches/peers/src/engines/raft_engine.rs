//! raft-engine: one Raft group for each thread, entries of consecutive indexes.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Submitter, Writer};
use anyhow::{Result, ensure};
use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine as Inner, LogBatch, MessageExt, ReadableSize};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "raft-engine",
    kind: Kind::Peer,
    settings: "`Config::default()` without compression; a group per thread; `write(batch, sync)`; the last sync is a write with \
               `sync`, because `Engine::sync` alone does nothing; to let go: files of 16 MiB, `compact_to`, `purge_expired_files`; handed over: who waits writes all that came since",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "CRC-32 of every batch",
    open: |dir, setup| open(dir, setup, ReadableSize::kb(0)),
};

/// Packs each batch that is large enough.
pub const LZ4: Entrant = Entrant {
    name: "raft-engine-lz4",
    settings: "the same with `batch_compression_threshold` of 8 KiB, its default",
    open: |dir, setup| open(dir, setup, Config::default().batch_compression_threshold),
    ..ENTRANT
};

/// The one message of the protobuf crate itself with a number and bytes.
#[derive(Clone)]
struct Numbered;

impl MessageExt for Numbered {
    type Entry = UninterpretedOption;

    fn index(entry: &UninterpretedOption) -> u64 {
        entry.get_positive_int_value()
    }
}

struct RaftEngine {
    inner: Inner,
    sync: bool,
}

const SYNCED: &[u8] = b"synced";

fn open(dir: &Path, setup: &Setup, packed_from: ReadableSize) -> Result<Box<dyn Engine>> {
    let mut config = Config {
        dir: dir.join("raft").to_string_lossy().into_owned(),
        batch_compression_threshold: packed_from,
        ..Config::default()
    };
    if setup.lets_go {
        // A file that is purged is a whole one, and more than so many bytes are kept.
        config.target_file_size = ReadableSize::mb(16);
        config.purge_threshold = ReadableSize::mb(16);
    }
    Ok(Box::new(RaftEngine {
        inner: Inner::open(config)?,
        sync: setup.level == Level::Durable,
    }))
}

impl RaftEngine {
    fn group(&self, thread: u64) -> Group<'_> {
        let group = thread + 1;
        Group {
            engine: self,
            group,
            next: self.inner.last_index(group).map_or(1, |last| last + 1),
            batch: LogBatch::default(),
        }
    }
}

impl Engine for RaftEngine {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self.group(thread)))
    }

    fn submitter(&self) -> Result<Option<Box<dyn Submitter + '_>>> {
        Ok(Some(Box::new(Queued {
            group: self.group(0),
            values: Vec::new(),
            written: 0,
        })))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(First(&self.inner))))
    }

    fn sync(&self) -> Result<()> {
        let mut batch = LogBatch::default();
        batch.put(1, SYNCED.to_vec(), vec![1])?;
        self.inner.write(&mut batch, true)?;
        Ok(())
    }

    fn let_go(&self) -> Result<()> {
        for group in self.inner.raft_groups() {
            if let Some(last) = self.inner.last_index(group) {
                self.inner.compact_to(group, last + 1);
            }
        }
        self.inner.purge_expired_files()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Group<'a> {
    engine: &'a RaftEngine,
    group: u64,
    next: u64,
    batch: LogBatch,
}

impl Writer for Group<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let entries: Vec<_> = (self.next..)
            .zip(values)
            .map(|(index, value)| {
                let mut entry = UninterpretedOption::new();
                entry.set_positive_int_value(index);
                entry.set_string_value(value.to_vec());
                entry
            })
            .collect();
        self.next += values.len() as u64;
        self.batch.add_entries::<Numbered>(self.group, &entries)?;
        self.engine.inner.write(&mut self.batch, self.engine.sync)?;
        Ok(())
    }
}

/// It has no callbacks: whoever waits writes all that was handed over by then.
struct Queued<'a> {
    group: Group<'a>,
    values: Vec<Vec<u8>>,
    /// Of those that were written, how many were not waited for.
    written: usize,
}

impl Submitter for Queued<'_> {
    fn submit(&mut self, value: &[u8]) -> Result<()> {
        self.values.push(value.to_vec());
        Ok(())
    }

    fn wait_for_oldest(&mut self) -> Result<()> {
        if self.written == 0 {
            let values: Vec<&[u8]> = self.values.iter().map(Vec::as_slice).collect();
            self.group.batch(&values)?;
            self.written = values.len();
            self.values.clear();
        }
        ensure!(self.written > 0, "nothing was handed over");
        self.written -= 1;
        Ok(())
    }
}

struct First<'a>(&'a Inner);

impl Reader for First<'_> {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        let Some(last) = self.0.last_index(1) else {
            return Ok(Some(seen));
        };
        let mut entries = Vec::new();
        for first in (1..=last).step_by(256) {
            let end = (first + 256).min(last + 1);
            self.0
                .fetch_entries_to::<Numbered>(1, first, end, None, &mut entries)?;
            for entry in entries.drain(..) {
                seen.add(entry.get_string_value().len());
            }
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let entry = self.0.get_entry::<Numbered>(1, number + 1)?;
        Ok(entry.map(|entry| entry.get_string_value().len()))
    }
}
