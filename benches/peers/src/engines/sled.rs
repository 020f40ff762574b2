//! sled: a tree by number. Its `flush` does not reach the device.

use super::key;
use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "sled",
    kind: Kind::NotDurable,
    settings: "its defaults; `insert` by big-endian number, `flush`, which was seen not to reach the device; a batch is \
               `apply_batch` and `flush`; not durable: no `flush`",
    levels: &[Level::Durable, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: false,
    scans: true,
    reads: "a CRC-32 of what comes from the file; much comes from its cache",
    open,
};

struct Inner {
    db: sled::Db,
    flush: bool,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let db = sled::open(dir.join("sled"))?;
    let flush = setup.level == Level::Durable;
    Ok(Box::new(Inner { db, flush }))
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let last = self.db.last()?;
        let next = key::next(thread, last.as_ref().map(|(key, _)| &**key));
        Ok(Box::new(Inserts { to: self, next }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
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
        self.to.db.insert(self.next.to_be_bytes(), value)?;
        self.next += 1;
        if self.to.flush {
            self.to.db.flush()?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut batch = sled::Batch::default();
        for value in values {
            batch.insert(&self.next.to_be_bytes(), *value);
            self.next += 1;
        }
        self.to.db.apply_batch(batch)?;
        self.to.db.flush()?;
        Ok(())
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        for entry in self.db.iter() {
            seen.add(entry?.1.len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self.db.get(number.to_be_bytes())?.map(|value| value.len()))
    }
}
