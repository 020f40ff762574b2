//! logdb: a ring that one thread writes to files; `flush` waits until what was appended is on the disk.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::{Result, ensure};
use logdb::{Config, DurabilityMode, LogDb};
use std::{path::Path, time::Duration};

pub const ENTRANT: Entrant = Entrant {
    name: "logdb",
    kind: Kind::Peer,
    settings: "its defaults with `DurabilityMode::Sync`; `append` and `flush`; a batch is `append_batch` and `flush`; not durable: \
               `DurabilityMode::Async`; to let go: files of 16 MiB, `checkpoint`",
    levels: &[Level::Durable, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "CRC-32C of every record",
    open: |dir, setup| open(dir, setup, false),
};

/// Packs each group that it writes.
pub const ZSTD: Entrant = Entrant {
    name: "logdb-zstd",
    settings: "the same with `compression_enabled`: each group that is written is packed",
    open: |dir, setup| open(dir, setup, true),
    ..ENTRANT
};

/// How long it may take to write out what it has.
const CLOSE_TIME: Duration = Duration::from_secs(60);

struct Inner {
    db: LogDb,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup, packed: bool) -> Result<Box<dyn Engine>> {
    let durable = setup.level == Level::Durable;
    let mut config = Config {
        data_dir: dir.join("logdb"),
        compression_enabled: packed,
        durability_mode: if durable {
            DurabilityMode::Sync
        } else {
            DurabilityMode::Async
        },
        ..Config::default()
    };
    if setup.lets_go {
        config.segment_size = 16 << 20;
    }
    let db = LogDb::open(config)?;
    Ok(Box::new(Inner { db, durable }))
}

impl Engine for Inner {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn let_go(&self) -> Result<()> {
        self.db.checkpoint(self.db.durable_cursor());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.shutdown(CLOSE_TIME)?;
        Ok(())
    }
}

impl Writer for &Inner {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.db.append(value)?;
        if self.durable {
            self.db.flush()?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.db.append_batch(values)?;
        if self.durable {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let mut seen = Scanned::default();
        for record in self.db.scan(0, u64::MAX)? {
            seen.add(record?.content.len());
        }
        ensure!(
            seen.records == self.db.durable_cursor(),
            "a scan saw {} of {}",
            seen.records,
            self.db.durable_cursor()
        );
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self.db.read(number)?.map(|record| record.content.len()))
    }
}
