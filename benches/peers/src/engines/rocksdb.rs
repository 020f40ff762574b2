//! RocksDB: its write-ahead log, with the tables behind it as they are by default.

use super::key;
use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use rocksdb::{DB, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "rocksdb",
    kind: Kind::Peer,
    settings: "its defaults without compression; `put` by big-endian number with `sync`; a batch is a `WriteBatch`; written: \
               without `sync`; not durable: `manual_wal_flush`; at the end `flush_wal(true)`; to let go: `delete_range`, `delete_file_in_range`",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "a checksum of each block that comes from a file; what is in its table in memory needs none",
    open: |dir, setup| open(dir, setup, DBCompressionType::None),
};

/// Packs its tables, once everything is in them.
pub const ZSTD: Entrant = Entrant {
    name: "rocksdb-zstd",
    settings: "the same with `DBCompressionType::Zstd`; `flush`, `compact_range`",
    open: |dir, setup| open(dir, setup, DBCompressionType::Zstd),
    ..ENTRANT
};

struct Inner {
    db: DB,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup, packing: DBCompressionType) -> Result<Box<dyn Engine>> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(packing);
    options.set_manual_wal_flush(setup.level == Level::Buffered);
    let db = DB::open(&options, dir.join("rocksdb"))?;
    let durable = setup.level == Level::Durable;
    Ok(Box::new(Inner { db, durable }))
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let last = self.db.iterator(IteratorMode::End).next().transpose()?;
        let next = key::next(thread, last.as_ref().map(|(key, _)| &**key));
        let mut options = WriteOptions::default();
        options.set_sync(self.durable);
        Ok(Box::new(Puts {
            db: &self.db,
            next,
            options,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        Ok(())
    }

    fn let_go(&self) -> Result<()> {
        let (first, end) = (u64::MIN.to_be_bytes(), u64::MAX.to_be_bytes());
        let mut all = WriteBatch::default();
        all.delete_range(first, end);
        self.db.write(all)?;
        Ok(self.db.delete_file_in_range(first, end)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Puts<'a> {
    db: &'a DB,
    next: u64,
    options: WriteOptions,
}

impl Writer for Puts<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.db
            .put_opt(self.next.to_be_bytes(), value, &self.options)?;
        self.next += 1;
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for value in values {
            batch.put(self.next.to_be_bytes(), value);
            self.next += 1;
        }
        Ok(self.db.write_opt(batch, &self.options)?)
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        let mut cursor = self.db.raw_iterator();
        cursor.seek_to_first();
        while let Some(value) = cursor.value() {
            seen.add(value.len());
            cursor.next();
        }
        cursor.status()?;
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self
            .db
            .get_pinned(number.to_be_bytes())?
            .map(|value| value.len()))
    }
}
