//! redb: a table by number, a transaction for each append.

use super::key;
use crate::engine::{Engine, Entrant, Kind, Level, Payloads, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "redb",
    kind: Kind::Peer,
    settings: "its defaults; a transaction per append, `Durability::Immediate`; a batch is a transaction; not durable: \
               transactions of 1000, `Durability::None`",
    levels: &[Level::Durable, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: false,
    scans: true,
    reads: "nothing",
    open,
};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

struct Inner {
    db: Database,
    durability: Durability,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let path = dir.join("redb");
    let new = !path.exists();
    let db = Database::create(path)?;
    if new {
        let transaction = db.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
    }
    let durability = match setup.level {
        Level::Durable => Durability::Immediate,
        _ => Durability::None,
    };
    Ok(Box::new(Inner { db, durability }))
}

impl Inner {
    fn last(&self) -> Result<Option<u64>> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        Ok(table.last()?.map(|(key, _)| key.value()))
    }
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let next = key::after(thread, self.last()?);
        Ok(Box::new(Inserts { to: self, next }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.begin_write()?.commit()?)
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
        self.batch(&[value])
    }

    fn append_many(&mut self, payloads: &Payloads, first: u64, count: u64) -> Result<()> {
        self.batch(&payloads.some(first, count))
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut transaction = self.to.db.begin_write()?;
        transaction.set_durability(self.to.durability)?;
        let mut table = transaction.open_table(TABLE)?;
        for value in values {
            table.insert(self.next, *value)?;
            self.next += 1;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (table, mut seen) = (self.db.begin_read()?.open_table(TABLE)?, Scanned::default());
        for entry in table.iter()? {
            seen.add(entry?.1.value().len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        Ok(table.get(number)?.map(|value| value.value().len()))
    }
}
