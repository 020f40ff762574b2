//! Cairn, with its defaults.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Values, Writer};
use anyhow::Result;
use cairnlog::{Durability, Log};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "cairn",
    kind: Kind::Cairn,
    settings: "`Log::options()` as it is, with `durability(Durable | Written | Buffered)`; `append`, `append_batch`; to let go: segments of 16 MiB, `trim`",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "CRC-32C of every record",
    open: |dir, setup| open(dir, setup, false),
};

/// Its durable appends past the page cache.
pub const DIRECT: Entrant = Entrant {
    name: "cairn-direct",
    kind: Kind::Variant,
    settings: "the same with `direct_writes(true)`",
    levels: &[Level::Durable],
    scans: false,
    open: |dir, setup| open(dir, setup, true),
    ..ENTRANT
};

struct Cairn(Log);

fn open(dir: &Path, setup: &Setup, direct_writes: bool) -> Result<Box<dyn Engine>> {
    let durability = match setup.level {
        Level::Durable => Durability::Durable,
        Level::Written => Durability::Written,
        Level::Buffered => Durability::Buffered,
    };
    let mut options = Log::options()
        .durability(durability)
        .direct_writes(direct_writes);
    if setup.lets_go {
        // What is let go of is whole files: about as large as what is kept.
        options = options.segment_bytes(16 << 20);
    }
    let log = options.open(dir.join("log"))?;
    Ok(Box::new(Cairn(log)))
}

impl Engine for Cairn {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(Cairn(self.0.clone())))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(Cairn(self.0.clone()))))
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()?;
        Ok(())
    }

    fn let_go(&self) -> Result<()> {
        Ok(self.0.trim(self.0.durable_seq())?)
    }

    fn counted(&self) -> Values {
        let stats = self.0.stats();
        Values::from([
            ("records".into(), stats.appended_records as f64),
            ("syncs".into(), stats.sync_count as f64),
            ("groups".into(), stats.group_count as f64),
        ])
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

impl Writer for Cairn {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.0.append(value)?;
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.0.append_batch(values)?;
        Ok(())
    }
}

impl Reader for Cairn {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (mut seen, mut scan) = (Scanned::default(), self.0.scan(..)?);
        while let Some(record) = scan.next_ref() {
            seen.add(record?.value.map_or(0, <[u8]>::len));
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self.0.get(number)?.map(|record| record.len()))
    }
}
