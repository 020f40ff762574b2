//! The suite of openraft 0.9.

use crate::{
    machine09::{Machine, Types},
    world::{Ended, World},
};
use cairnlog::{
    Log, Postcard,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use cairnlog_openraft::v09::LogStore;
use openraft_09::{
    CommittedLeaderId, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend,
    RaftLogReader, StorageError, Vote,
    storage::{LogFlushed, RaftLogStorage, RaftLogStorageExt},
    testing::{StoreBuilder, Suite},
};
use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Mutex;

type Failure = StorageError<u64>;
type Store = LogStore<Types>;

/// A store that is not opened again.
struct Plain;

impl StoreBuilder<Types, Store, Machine> for Plain {
    async fn build(&self) -> Result<((), Store, Machine), Failure> {
        let log = Log::options()
            .vfs(Arc::new(SimFs::new(1)))
            .open("/log")
            .unwrap();
        Ok((
            (),
            LogStore::new(log, Postcard).unwrap(),
            Machine::default(),
        ))
    }
}

#[test]
fn does_it_pass_the_suite() {
    Suite::test_all(Plain).unwrap();
}

/// A store that is opened again for each call. Cheap to clone; all clones are the one.
#[derive(Clone)]
struct Restarting(Arc<Mutex<World>>);

/// Does a step until it ends well.
macro_rules! well {
    ($world:expr, |$store:ident| $step:expr) => {{
        let mut world = $world.0.lock().await;
        loop {
            let step = async |log: Log| -> io::Result<_> {
                let mut $store = Store::new(log, Postcard)?.sync_committed(true);
                $step.map_err(io::Error::other)
            };
            if let Ended::Well(done) = world.step(step).await {
                break done;
            }
        }
    }};
}

impl RaftLogReader<Types> for Restarting {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, Failure> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        Ok(well!(self, |store| store.try_get_log_entries(range).await))
    }
}

impl RaftLogStorage<Types> for Restarting {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        Ok(well!(self, |store| store.get_log_state().await))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Failure> {
        well!(self, |store| store.save_vote(vote).await);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        Ok(well!(self, |store| store.read_vote().await))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), Failure> {
        well!(self, |store| store.save_committed(committed).await);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, Failure> {
        Ok(well!(self, |store| store.read_committed().await))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let Some(first) = entries.first().map(|entry| entry.log_id) else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        well!(self, |store| {
            // What an attempt before left, which nobody was told of, are the first of them.
            let there = store.try_get_log_entries(first.index..).await;
            let there = there.map_err(io::Error::other)?;
            assert!(there.len() <= entries.len());
            assert!(
                there
                    .iter()
                    .zip(&entries)
                    .all(|(a, b)| a.log_id == b.log_id)
            );
            store.truncate(first).await.map_err(io::Error::other)?;
            store.blocking_append(entries.clone()).await
        });
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        well!(self, |store| store.truncate(log_id).await);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        well!(self, |store| store.purge(log_id).await);
        Ok(())
    }
}

/// Tells what befell the stores when the suite is done.
struct Builder {
    seed: AtomicU64,
    worlds: Arc<std::sync::Mutex<Vec<Restarting>>>,
}

impl StoreBuilder<Types, Restarting, Machine> for Builder {
    async fn build(&self) -> Result<((), Restarting, Machine), Failure> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let store = Restarting(Arc::new(Mutex::new(World::new(seed))));
        self.worlds.lock().unwrap().push(store.clone());
        Ok(((), store, Machine::default()))
    }
}

#[test]
fn does_it_pass_the_suite_with_crashes_between_and_within_all_steps() {
    let rounds = crate::world::rounds();
    let worlds = Arc::<std::sync::Mutex<Vec<Restarting>>>::default();
    for round in 0..rounds {
        let seed = AtomicU64::new(round * 1000 + 1);
        let worlds = worlds.clone();
        Suite::test_all(Builder { seed, worlds }).unwrap();
    }
    let worlds = worlds.lock().unwrap();
    let counts = worlds.iter().map(|it| it.0.blocking_lock().counts);
    crate::world::check_counts(counts.collect());
}

/// What cannot be read is told as such.
#[tokio::test]
async fn is_a_log_of_something_else_refused() {
    let disk = Arc::new(SimFs::new(1));
    let log = Log::options().vfs(disk.clone()).open("/log").unwrap();
    log.append("not an entry").unwrap();
    let error = LogStore::<Types>::new(log, Postcard).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("record 0"), "{error}");
    let error: Failure = StorageError::from_io_error(ErrorSubject::Logs, ErrorVerb::Read, error);
    assert!(error.to_string().contains("record 0"), "{error}");
}

/// An append of several batches met a full queue, so that the first of them were written, and that failed. Those behind were
/// queued all the same, and after a restart the log had a hole: `last_log_id` named an entry before which others
/// were missing.
#[tokio::test]
async fn is_nothing_stored_behind_entries_that_were_not_written() {
    let disk = SimFs::new(1);
    let open = || {
        let options = Log::options().vfs(Arc::new(disk.clone())).background(false);
        let log = options.queue_bytes_max(1 << 20).open("/log").unwrap();
        Store::new(log, Postcard).unwrap()
    };
    let entry = |index| Entry::<Types> {
        log_id: LogId::new(CommittedLeaderId::new(1, 0), index),
        payload: EntryPayload::Normal("x".repeat(200 << 10)),
    };
    let mut store = open();
    store.blocking_append((0..3).map(entry)).await.unwrap();
    disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Eio)));
    store.blocking_append((3..20).map(entry)).await.unwrap_err();
    assert_eq!(disk.fault_count(), 1);
    let again = store.blocking_append((20..21).map(entry)).await;
    let told = again.unwrap_err().to_string();
    assert!(told.contains("open the store again"), "{told}");
    drop(store);
    let mut store = open();
    let last = store.get_log_state().await.unwrap().last_log_id.unwrap();
    let there = store.try_get_log_entries(..).await.unwrap();
    let indexes: Vec<u64> = there.iter().map(|entry| entry.log_id.index).collect();
    assert_eq!((last.index, indexes), (2, vec![0, 1, 2]));
    // Opened again it goes on.
    store.blocking_append((3..5).map(entry)).await.unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap().len(), 5);
}
