//! Who can be a queue of jobs, and how: each step durable when it returns, a job with a lease while it is
//! worked on, gone when it is acknowledged.
//!
//! Called by the job of that name.

use crate::engine::Entrant;
use anyhow::{Context, Result, bail};
use cairnlog::{Log, QueueOptions};
use std::{path::Path, time::Duration};

/// How long a job is a worker's own.
const LEASE: Duration = Duration::from_secs(60);

pub trait Queue {
    fn worker(&self) -> Result<Box<dyn Worker + Send + '_>>;
}

pub trait Worker {
    fn put(&mut self, value: &[u8]) -> Result<()>;

    /// Of the oldest job that nobody has.
    fn take_and_acknowledge(&mut self) -> Result<()>;
}

/// Whether an entrant is one.
pub fn is_queue(entrant: &Entrant) -> bool {
    ["cairn", "rusqlite", "redb", "fjall"].contains(&entrant.name)
}

pub fn open(engine: &str, dir: &Path) -> Result<Box<dyn Queue>> {
    match engine {
        "cairn" => {
            let log = Log::open(dir.join("log"))?;
            let options = QueueOptions::new().lease(LEASE);
            let queue = log.consumer("workers")?.into_queue(options)?;
            Ok(Box::new(Cairn { log, queue }))
        }
        #[cfg(feature = "rusqlite")]
        "rusqlite" => sqlite::open(dir),
        #[cfg(feature = "redb")]
        "redb" => redb::open(dir),
        #[cfg(feature = "fjall")]
        "fjall" => fjall::open(dir),
        other => bail!("{other} is no queue in this build"),
    }
}

struct Cairn {
    log: Log,
    queue: cairnlog::Queue,
}

impl Queue for Cairn {
    fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
        Ok(Box::new(self))
    }
}

impl Worker for &Cairn {
    fn put(&mut self, value: &[u8]) -> Result<()> {
        self.log.append(value)?;
        Ok(())
    }

    fn take_and_acknowledge(&mut self) -> Result<()> {
        let lease = self.queue.next()?.context("the log was closed")?;
        Ok(lease.ack()?)
    }
}

#[cfg(any(feature = "rusqlite", feature = "redb", feature = "fjall"))]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |it| it.as_millis() as i64)
}

#[cfg(feature = "rusqlite")]
mod sqlite {
    use super::{LEASE, Queue, Worker, now_ms};
    use anyhow::Result;
    use rusqlite::Connection;
    use std::{
        path::{Path, PathBuf},
        time::Duration,
    };

    struct Jobs(PathBuf);

    pub fn open(dir: &Path) -> Result<Box<dyn Queue>> {
        let jobs = Jobs(dir.join("queue.db"));
        jobs.connect()?.execute_batch(
            "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, \
             leased_until INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL)",
        )?;
        Ok(Box::new(jobs))
    }

    impl Jobs {
        fn connect(&self) -> Result<Connection> {
            let connection = Connection::open(&self.0)?;
            connection.busy_timeout(Duration::from_secs(60))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        }
    }

    impl Queue for Jobs {
        fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
            Ok(Box::new(self.connect()?))
        }
    }

    impl Worker for Connection {
        fn put(&mut self, value: &[u8]) -> Result<()> {
            let mut insert = self.prepare_cached("INSERT INTO jobs (value) VALUES (?1)")?;
            insert.execute([value])?;
            Ok(())
        }

        fn take_and_acknowledge(&mut self) -> Result<()> {
            let mut take = self.prepare_cached(
                "UPDATE jobs SET leased_until = ?1, tries = tries + 1 WHERE id = (SELECT id FROM jobs \
                 WHERE leased_until < ?2 ORDER BY id LIMIT 1) RETURNING id, value",
            )?;
            let now = now_ms();
            let until = now + LEASE.as_millis() as i64;
            let id: i64 = take.query_row([until, now], |row| row.get(0))?;
            self.prepare_cached("DELETE FROM jobs WHERE id = ?1")?
                .execute([id])?;
            Ok(())
        }
    }
}

#[cfg(feature = "redb")]
mod redb {
    use super::{LEASE, Queue, Worker, now_ms};
    use anyhow::{Context, Result};
    use redb::{Database, ReadableTable, TableDefinition};
    use std::path::Path;

    const READY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ready");
    /// With the time until which each is its worker's.
    const LEASED: TableDefinition<'_, u64, (i64, &[u8])> = TableDefinition::new("leased");

    struct Jobs(Database);

    pub fn open(dir: &Path) -> Result<Box<dyn Queue>> {
        Ok(Box::new(Jobs(Database::create(dir.join("queue.redb"))?)))
    }

    impl Queue for Jobs {
        fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
            Ok(Box::new(self))
        }
    }

    impl Worker for &Jobs {
        fn put(&mut self, value: &[u8]) -> Result<()> {
            let transaction = self.0.begin_write()?;
            {
                let leased = transaction.open_table(LEASED)?;
                let mut ready = transaction.open_table(READY)?;
                let last = |it: Option<u64>| it.map_or(0, |last| last + 1);
                let next = last(ready.last()?.map(|(key, _)| key.value()))
                    .max(last(leased.last()?.map(|(key, _)| key.value())));
                ready.insert(next, value)?;
            }
            Ok(transaction.commit()?)
        }

        fn take_and_acknowledge(&mut self) -> Result<()> {
            let transaction = self.0.begin_write()?;
            let number = {
                let mut ready = transaction.open_table(READY)?;
                let mut leased = transaction.open_table(LEASED)?;
                let (number, value) = ready.pop_first()?.context("no job")?;
                let until = now_ms() + LEASE.as_millis() as i64;
                leased.insert(number.value(), (until, value.value()))?;
                number.value()
            };
            transaction.commit()?;
            let transaction = self.0.begin_write()?;
            transaction.open_table(LEASED)?.remove(number)?;
            Ok(transaction.commit()?)
        }
    }
}

#[cfg(feature = "fjall")]
mod fjall {
    use super::{LEASE, Queue, Worker, now_ms};
    use anyhow::{Context, Result};
    use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
    use parking_lot::Mutex;
    use std::{
        path::Path,
        sync::atomic::{AtomicU64, Ordering},
    };

    struct Jobs {
        db: Database,
        ready: Keyspace,
        leased: Keyspace,
        next: AtomicU64,
        /// Held while a job is taken: there are no transactions that would tell two takers apart.
        taking: Mutex<()>,
    }

    pub fn open(dir: &Path) -> Result<Box<dyn Queue>> {
        let db = Database::builder(dir.join("queue.fjall")).open()?;
        Ok(Box::new(Jobs {
            ready: db.keyspace("ready", KeyspaceCreateOptions::default)?,
            leased: db.keyspace("leased", KeyspaceCreateOptions::default)?,
            next: AtomicU64::new(0),
            taking: Mutex::new(()),
            db,
        }))
    }

    impl Queue for Jobs {
        fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
            Ok(Box::new(self))
        }
    }

    impl Worker for &Jobs {
        fn put(&mut self, value: &[u8]) -> Result<()> {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.ready.insert(number.to_be_bytes(), value)?;
            Ok(self.db.persist(PersistMode::SyncData)?)
        }

        fn take_and_acknowledge(&mut self) -> Result<()> {
            let key = {
                let _taking = self.taking.lock();
                let (key, value) = self
                    .ready
                    .first_key_value()
                    .context("no job")?
                    .into_inner()?;
                let until = now_ms() + LEASE.as_millis() as i64;
                let leased = [&until.to_be_bytes()[..], &value].concat();
                let mut batch = self.db.batch();
                batch.remove(&self.ready, key.clone());
                batch.insert(&self.leased, key.clone(), leased);
                batch.commit()?;
                key
            };
            self.db.persist(PersistMode::SyncData)?;
            self.leased.remove(key)?;
            Ok(self.db.persist(PersistMode::SyncData)?)
        }
    }
}
