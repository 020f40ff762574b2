//! wal-db: a single file, group commit in `append_and_sync`.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use std::path::Path;
use wal_db::{Lsn, Wal};

pub const ENTRANT: Entrant = Entrant {
    name: "wal-db",
    kind: Kind::Peer,
    settings: "`Wal::open`, its defaults; `append_and_sync`; a batch is 100 `append` and a `sync`, and so not atomic",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    scans: true,
    reads: "CRC-32C of every record",
    open,
};

struct WalDb {
    wal: Wal,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    Ok(Box::new(WalDb {
        wal: Wal::open(dir.join("wal"))?,
        durable: setup.level == Level::Durable,
    }))
}

impl Engine for WalDb {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        let lsns = Vec::new();
        Ok(Some(Box::new(ByLsn {
            wal: &self.wal,
            lsns,
        })))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Writer for &WalDb {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        if self.durable {
            let _lsn = self.wal.append_and_sync(value)?;
        } else {
            let _lsn = self.wal.append(value)?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        for value in values {
            let _lsn = self.wal.append(value)?;
        }
        Ok(self.wal.sync()?)
    }
}

/// Its numbers are offsets: the first pass notes them.
struct ByLsn<'a> {
    wal: &'a Wal,
    lsns: Vec<Lsn>,
}

impl Reader for ByLsn<'_> {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        let first_pass = self.lsns.is_empty();
        for record in self.wal.iter()? {
            let record = record?;
            seen.add(record.len());
            if first_pass {
                self.lsns.push(record.lsn());
            }
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let Some(lsn) = self.lsns.get(number as usize) else {
            return Ok(None);
        };
        let found = self.wal.iter_from(*lsn)?.next().transpose()?;
        Ok(found.map(|record| record.len()))
    }
}
