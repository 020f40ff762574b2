//! open-wal: one writer by construction, durable at `commit`.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::Result;
use open_wal::{Lsn, Wal, WalConfig};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

pub const ENTRANT: Entrant = Entrant {
    name: "open-wal",
    kind: Kind::Peer,
    settings: "`WalConfig::default()`; `append`, `commit`; a batch is 100 `append` and a `commit`, and so not atomic; it is \
               for one thread: many share it through a mutex; it has no writes without a sync",
    levels: &[Level::Durable],
    batches: true,
    syncs: true,
    lets_go: false,
    scans: true,
    reads: "CRC-32C of every record",
    open,
};

struct OpenWal(Mutex<Wal>);

fn open(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    let (wal, _) = Wal::open(&dir.join("wal"), WalConfig::default())?;
    Ok(Box::new(OpenWal(Mutex::new(wal))))
}

impl OpenWal {
    fn lock(&self) -> std::sync::MutexGuard<'_, Wal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for OpenWal {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        self.lock().commit()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Writer for &OpenWal {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut wal = self.lock();
        for value in values {
            wal.append(value)?;
        }
        wal.commit()?;
        Ok(())
    }
}

impl Reader for &OpenWal {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (wal, mut seen) = (self.lock(), Scanned::default());
        let mut reader = wal.reader_from(Lsn(0))?;
        while let Some(record) = reader.next() {
            seen.add(record?.1.len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let wal = self.lock();
        let mut reader = wal.reader_from(Lsn(number + 1))?;
        Ok(reader.next().transpose()?.map(|(_, value)| value.len()))
    }
}
