//! fjall: a keyspace by number, in byte order.

use super::key;
use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    config::CompressionPolicy,
};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "fjall",
    kind: Kind::Peer,
    settings: "its defaults; `insert` by big-endian number, `persist(SyncData)`; a batch commits once; not durable: \
               `manual_journal_persist`, written: without it",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "a checksum of each block that comes from a file; much comes from its table in memory",
    open: |dir, setup| open(dir, setup, false),
};

/// Packs its tables, once everything is in them.
pub const LZ4: Entrant = Entrant {
    name: "fjall-lz4",
    settings: "the same with `CompressionType::Lz4` at all levels; `rotate_memtable_and_wait`, `major_compact`",
    open: |dir, setup| open(dir, setup, true),
    ..ENTRANT
};

struct Inner {
    db: Database,
    keyspace: Keyspace,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup, packed: bool) -> Result<Box<dyn Engine>> {
    let manual = setup.level == Level::Buffered;
    let db = Database::builder(dir.join("fjall"))
        .manual_journal_persist(manual)
        .open()?;
    let keyspace = db.keyspace("log", || {
        let options = KeyspaceCreateOptions::default();
        if packed {
            options.data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        } else {
            options
        }
    })?;
    let durable = setup.level == Level::Durable;
    Ok(Box::new(Inner {
        db,
        keyspace,
        durable,
    }))
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let last = self
            .keyspace
            .last_key_value()
            .map(|last| last.key())
            .transpose()?;
        let next = key::next(thread, last.as_deref());
        Ok(Box::new(Inserts { to: self, next }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }

    fn let_go(&self) -> Result<()> {
        Ok(self.keyspace.clear()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Inserts<'a> {
    to: &'a Inner,
    next: u64,
}

impl Writer for Inserts<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.to.keyspace.insert(self.next.to_be_bytes(), value)?;
        self.next += 1;
        if self.to.durable {
            self.to.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut batch = self.to.db.batch().durability(Some(PersistMode::SyncData));
        for value in values {
            batch.insert(&self.to.keyspace, self.next.to_be_bytes(), *value);
            self.next += 1;
        }
        Ok(batch.commit()?)
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        for entry in self.keyspace.iter() {
            seen.add(entry.value()?.len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self
            .keyspace
            .get(number.to_be_bytes())?
            .map(|value| value.len()))
    }
}
