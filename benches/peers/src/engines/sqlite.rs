//! SQLite through rusqlite: a table by row number, a connection for each thread.

use crate::engine::{Engine, Entrant, Kind, Level, Payloads, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub const ENTRANT: Entrant = Entrant {
    name: "rusqlite",
    kind: Kind::Peer,
    settings: "`journal_mode=WAL`, `synchronous=FULL`, the rest by default; an `INSERT` each; a batch is a transaction; written: \
               `synchronous=OFF`; not durable: transactions of 1000 besides; at the end a full checkpoint, synced",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "nothing",
    open,
};

struct Inner {
    path: PathBuf,
    level: Level,
}

const INSERT: &str = "INSERT INTO log (value) VALUES (?1)";

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let inner = Inner {
        path: dir.join("sqlite.db"),
        level: setup.level,
    };
    inner.connect()?.execute_batch(
        "CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    )?;
    Ok(Box::new(inner))
}

impl Inner {
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = if self.level == Level::Durable {
            "FULL"
        } else {
            "OFF"
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        Ok(connection)
    }
}

impl Engine for Inner {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(Inserts {
            connection: self.connect()?,
            level: self.level,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(Selects(self.connect()?))))
    }

    fn sync(&self) -> Result<()> {
        let connection = self.connect()?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        // What was checkpointed before, without a sync, is not synced by this one.
        Ok(std::fs::File::open(&self.path)?.sync_all()?)
    }

    fn let_go(&self) -> Result<()> {
        self.connect()?.execute("DELETE FROM log", [])?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Inserts {
    connection: Connection,
    level: Level,
}

impl Writer for Inserts {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.connection.prepare_cached(INSERT)?.execute([value])?;
        Ok(())
    }

    fn append_many(&mut self, payloads: &Payloads, first: u64, count: u64) -> Result<()> {
        if self.level == Level::Buffered {
            return self.batch(&payloads.some(first, count));
        }
        (first..first + count).try_for_each(|number| self.append(payloads.at(number)))
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for value in values {
            transaction.prepare_cached(INSERT)?.execute([value])?;
        }
        Ok(transaction.commit()?)
    }
}

struct Selects(Connection);

impl Reader for Selects {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        let mut select = self
            .0
            .prepare_cached("SELECT value FROM log ORDER BY number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            seen.add(row.get_ref(0)?.as_blob()?.len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let mut select = self
            .0
            .prepare_cached("SELECT value FROM log WHERE number = ?1")?;
        let found = select.query_row([number as i64 + 1], |row| {
            Ok(row.get_ref(0)?.as_blob()?.len())
        });
        Ok(found.optional()?)
    }
}
