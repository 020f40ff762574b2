//! commitlog: Kafka's layout. Its `flush` does not reach the device.

use crate::engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer};
use anyhow::{Result, anyhow};
use commitlog::{
    CommitLog, LogOptions, ReadLimit,
    message::{MessageBuf, MessageSet},
};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub const ENTRANT: Entrant = Entrant {
    name: "commitlog",
    kind: Kind::NotDurable,
    settings: "`LogOptions::new`, its defaults; `append_msg`, `flush`, which was seen not to reach the device; it is for one \
               thread: many share it through a mutex",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: false,
    scans: true,
    reads: "a hash of every record when it is asked for, which it is here",
    open,
};

const READ_BYTES: usize = 256 << 10;

struct Inner {
    log: Mutex<CommitLog>,
    flush: bool,
    payload_bytes: usize,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let log = CommitLog::new(LogOptions::new(dir.join("commitlog")))?;
    Ok(Box::new(Inner {
        log: Mutex::new(log),
        flush: setup.level == Level::Durable,
        payload_bytes: setup.payload_bytes,
    }))
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, CommitLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Inner {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(self))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.lock().flush()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Writer for &Inner {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        let mut log = self.lock();
        log.append_msg(value)
            .map_err(|error| anyhow!("{error:?}"))?;
        if self.flush {
            log.flush()?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut log = self.lock();
        let mut some = MessageBuf::default();
        for value in values {
            some.push(value).map_err(|error| anyhow!("{error:?}"))?;
            // It takes a megabyte at once.
            if some.bytes().len() + self.payload_bytes + 64 > 900_000 {
                log.append(&mut some)
                    .map_err(|error| anyhow!("{error:?}"))?;
                some.clear();
            }
        }
        log.append(&mut some)
            .map_err(|error| anyhow!("{error:?}"))?;
        Ok(log.flush()?)
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (log, mut seen) = (self.lock(), Scanned::default());
        while seen.records < log.next_offset() {
            let some = log
                .read(seen.records, ReadLimit::max_bytes(READ_BYTES))
                .map_err(|error| anyhow!("{error:?}"))?;
            let before = seen.records;
            for message in some.iter() {
                assert!(message.verify_hash(), "a message's hash");
                seen.add(message.payload().len());
            }
            assert!(seen.records > before, "a read gave nothing");
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let limit = ReadLimit::max_bytes(self.payload_bytes + 64);
        let found = self
            .lock()
            .read(number, limit)
            .map_err(|error| anyhow!("{error:?}"))?;
        let first = found.iter().next();
        Ok(first.map(|message| {
            assert!(message.verify_hash(), "a message's hash");
            message.payload().len()
        }))
    }
}
