//! LMDB through heed: a database by number, a transaction for each append.

use super::key;
use crate::{
    engine::{Engine, Entrant, Kind, Level, Payloads, Reader, Scanned, Setup, Writer},
    system,
};
use anyhow::Result;
use heed::{
    Database, Env, EnvFlags, PutFlags,
    byteorder::BigEndian,
    types::{Bytes, U64},
};
use std::path::Path;

pub const ENTRANT: Entrant = Entrant {
    name: "heed",
    kind: Kind::Peer,
    settings: "LMDB with a map of 64 GiB; a transaction per append; a batch is a transaction; not durable: `NOSYNC`, transactions \
               of 1000 with `APPEND`; written: `NOSYNC`, a transaction each; at the end `force_sync`",
    levels: &[Level::Durable, Level::Written, Level::Buffered],
    batches: true,
    syncs: true,
    lets_go: false,
    scans: true,
    reads: "nothing",
    open,
};

type Numbers = Database<U64<BigEndian>, Bytes>;

struct Inner {
    env: Env,
    numbers: Numbers,
    level: Level,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Engine>> {
    let path = dir.join("lmdb");
    std::fs::create_dir_all(&path)?;
    let flags = if setup.level == Level::Durable {
        EnvFlags::empty()
    } else {
        EnvFlags::NO_SYNC
    };
    let env = system::open_lmdb(&path, flags)?;
    let transaction = env.read_txn()?;
    let found = env.open_database(&transaction, None)?;
    transaction.commit()?;
    let numbers = match found {
        Some(numbers) => numbers,
        None => {
            let mut transaction = env.write_txn()?;
            let numbers = env.create_database(&mut transaction, None)?;
            transaction.commit()?;
            numbers
        }
    };
    Ok(Box::new(Inner {
        env,
        numbers,
        level: setup.level,
    }))
}

impl Engine for Inner {
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let transaction = self.env.read_txn()?;
        let last = self.numbers.last(&transaction)?.map(|(key, _)| key);
        let next = key::after(thread, last);
        Ok(Box::new(Puts { to: self, next }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(Some(Box::new(self)))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Puts<'a> {
    to: &'a Inner,
    next: u64,
}

impl Puts<'_> {
    fn put(&mut self, values: &[&[u8]], flags: PutFlags) -> Result<()> {
        let mut transaction = self.to.env.write_txn()?;
        for value in values {
            self.to
                .numbers
                .put_with_flags(&mut transaction, flags, &self.next, value)?;
            self.next += 1;
        }
        Ok(transaction.commit()?)
    }
}

impl Writer for Puts<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn append_many(&mut self, payloads: &Payloads, first: u64, count: u64) -> Result<()> {
        if self.to.level != Level::Buffered {
            return (first..first + count).try_for_each(|number| self.append(payloads.at(number)));
        }
        self.put(&payloads.some(first, count), PutFlags::APPEND)
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        self.put(values, PutFlags::empty())
    }
}

impl Reader for &Inner {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (transaction, mut seen) = (self.env.read_txn()?, Scanned::default());
        for entry in self.numbers.iter(&transaction)? {
            seen.add(entry?.1.len());
        }
        Ok(Some(seen))
    }

    fn get(&mut self, number: u64) -> Result<Option<usize>> {
        let transaction = self.env.read_txn()?;
        Ok(self.numbers.get(&transaction, &number)?.map(<[u8]>::len))
    }
}
