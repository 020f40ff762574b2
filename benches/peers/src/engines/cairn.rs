//! Cairn, with its defaults; past the page cache; and packing.

use crate::engine::{
    Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Submitter, Values, Writer,
};
use anyhow::{Context, Result};
use cairnlog::{AppendOptions, Compression, Durability, Log, NewRecord, PackOptions, Ticket};
use std::{collections::VecDeque, path::Path};

pub const ENTRANT: Entrant = Entrant {
    name: "cairn",
    kind: Kind::Cairn,
    settings: "`Log::options()` as it is, with `durability(Durable | Written | Buffered)`; `append`, `append_batch`; to let go: segments of 16 MiB, `trim`; handed over: `submit`, `Ticket::wait`",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: true,
    scans: true,
    reads: "CRC-32C of every record",
    open: |dir, setup| open(dir, setup, false, None),
};

/// Its durable appends past the page cache.
pub const DIRECT: Entrant = Entrant {
    name: "cairn-direct",
    kind: Kind::Variant,
    settings: "the same with `direct_writes(true)`",
    levels: &[Level::Durable],
    scans: false,
    open: |dir, setup| open(dir, setup, true, None),
    ..ENTRANT
};

/// Packs what is sealed.
pub const LZ4: Entrant = Entrant {
    name: "cairn-lz4",
    kind: Kind::Variant,
    settings: "as it is, then `rotate` and `pack` with `Compression::Lz4`",
    reads: "CRC-32C of every packed block, and of every record in it",
    open: |dir, setup| open(dir, setup, false, Some(Compression::Lz4)),
    ..ENTRANT
};

pub const ZSTD: Entrant = Entrant {
    name: "cairn-zstd",
    settings: "as it is, then `rotate` and `pack` with `Compression::Zstd`",
    open: |dir, setup| open(dir, setup, false, Some(Compression::Zstd)),
    ..LZ4
};

#[derive(Clone)]
struct Cairn {
    log: Log,
    pack: Option<Compression>,
}

fn open(
    dir: &Path,
    setup: &Setup,
    direct_writes: bool,
    pack: Option<Compression>,
) -> Result<Box<dyn Engine>> {
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
    Ok(Box::new(Cairn { log, pack }))
}

impl Engine for Cairn {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self.clone()))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self.clone())))
    }

    fn sync(&self) -> Result<()> {
        self.log.sync()?;
        Ok(())
    }

    fn submitter(&self) -> Result<Option<Box<dyn Submitter + '_>>> {
        Ok(Some(Box::new(Tickets {
            log: &self.log,
            how: AppendOptions::new(),
            waiting: VecDeque::new(),
        })))
    }

    fn settle(&self) -> Result<()> {
        self.log.rotate()?;
        if let Some(codec) = self.pack {
            self.log
                .pack(&PackOptions::new(codec).rate_bytes_per_s(None))?;
        }
        Ok(())
    }

    fn let_go(&self) -> Result<()> {
        Ok(self.log.trim(self.log.durable_seq())?)
    }

    fn counted(&self) -> Values {
        let stats = self.log.stats();
        Values::from([
            ("records".into(), stats.appended_records as f64),
            ("syncs".into(), stats.sync_count as f64),
            ("groups".into(), stats.group_count as f64),
        ])
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.close()?)
    }
}

impl Writer for Cairn {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.log.append(value)?;
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.log.append_batch(values)?;
        Ok(())
    }
}

/// What was handed over, the oldest first.
struct Tickets<'a> {
    log: &'a Log,
    how: AppendOptions,
    waiting: VecDeque<Ticket>,
}

impl Submitter for Tickets<'_> {
    fn submit(&mut self, value: &[u8]) -> Result<()> {
        let ticket = self.log.submit(&[NewRecord::value(value)], &self.how)?;
        self.waiting.push_back(ticket);
        Ok(())
    }

    fn wait_for_oldest(&mut self) -> Result<()> {
        let oldest = self.waiting.pop_front();
        oldest.context("nothing was handed over")?.wait()?;
        Ok(())
    }
}

impl Reader for Cairn {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (mut seen, mut scan) = (Scanned::default(), self.log.scan(..)?);
        while let Some(record) = scan.next_ref() {
            seen.add(record?.value.map_or(0, <[u8]>::len));
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        Ok(self.log.get(number)?.map(|record| record.len()))
    }
}
