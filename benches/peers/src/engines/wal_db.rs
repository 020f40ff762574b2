//! wal-db: a single file, group commit in `append_and_sync`.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use std::path::Path;
use wal_db::{Lsn, Wal, WalStore};

pub const ENTRANT: Entrant = Entrant {
    name: "wal-db",
    kind: Kind::Peer,
    settings: "`Wal::open`, its defaults; `append_and_sync`; a batch is 100 `append` and a `sync`, and so not atomic; to let go: \
               `open_segmented` by 16 MiB, `truncate_before`",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "CRC-32C of every record",
    open,
};

/// The size of its files where it lets go of them.
const SEGMENT_BYTES: u64 = 16 << 20;

struct WalDb<S: WalStore> {
    wal: Wal<S>,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let durable = setup.level == Level::Durable;
    if setup.lets_go {
        let wal = Wal::open_segmented(dir.join("wal"), SEGMENT_BYTES)?;
        return Ok(Box::new(WalDb { wal, durable }));
    }
    let wal = Wal::open(dir.join("wal"))?;
    Ok(Box::new(WalDb { wal, durable }))
}

impl<S: WalStore> Engine for WalDb<S> {
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

    fn let_go(&self) -> Result<()> {
        let _head = self.wal.truncate_before(Lsn::new(self.wal.len()))?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl<S: WalStore> Writer for &WalDb<S> {
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
struct ByLsn<'a, S: WalStore> {
    wal: &'a Wal<S>,
    lsns: Vec<Lsn>,
}

impl<S: WalStore> Reader for ByLsn<'_, S> {
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
