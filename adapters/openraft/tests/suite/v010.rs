//! The suite of openraft 0.10.

use crate::{
    machine010::{Machine, Types},
    world::{Ended, World},
};
use cairnlog::{
    Log, Postcard,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
};
use cairnlog_openraft::v010::LogStore;
use openraft_010::{
    EntryPayload, LogState, OptionalSend, RaftLogReader, StorageError,
    alias::{EntryOf, LogIdOf, VoteOf},
    storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt},
    testing::{
        log::{StoreBuilder, Suite},
        log_id,
    },
    type_config::TypeConfigExt,
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

type Failure = io::Error;
type Store = LogStore<Types>;

/// A store that is not opened again.
struct Plain;

impl StoreBuilder<Types, Store, Machine> for Plain {
    async fn build(&self) -> Result<((), Store, Machine), StorageError<Types>> {
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

// The suite lets eight seconds pass, in which nothing happens.
#[tokio::test(start_paused = true)]
async fn does_it_pass_the_suite() {
    Suite::test_all(Plain).await.unwrap();
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
                $step
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
    ) -> Result<Vec<EntryOf<Types>>, Failure> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        Ok(well!(self, |store| store
            .get_log_reader()
            .await
            .try_get_log_entries(range)
            .await))
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, Failure> {
        Ok(well!(self, |store| store
            .get_log_reader()
            .await
            .read_vote()
            .await))
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

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), Failure> {
        well!(self, |store| store.save_vote(vote).await);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types>>) -> Result<(), Failure> {
        well!(self, |store| store.save_committed(committed).await);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Types>>, Failure> {
        Ok(well!(self, |store| store.read_committed().await))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let Some(first) = entries.first().map(|entry| entry.log_id) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        well!(self, |store| {
            // What an attempt before left, which nobody was told of, are the first of them.
            let there = store
                .get_log_reader()
                .await
                .try_get_log_entries(first.index..)
                .await;
            let there = there?;
            assert!(there.len() <= entries.len());
            assert!(
                there
                    .iter()
                    .zip(&entries)
                    .all(|(a, b)| a.log_id == b.log_id)
            );
            let before = first.index.checked_sub(1);
            let before = before.map(|index| LogIdOf::<Types>::new(first.leader_id, index));
            store.truncate_after(before).await?;
            let appended = store.blocking_append(entries.clone()).await;
            appended.map_err(io::Error::other)
        });
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, log_id: Option<LogIdOf<Types>>) -> Result<(), Failure> {
        well!(self, |store| store.truncate_after(log_id).await);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogIdOf<Types>) -> Result<(), Failure> {
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
    async fn build(&self) -> Result<((), Restarting, Machine), StorageError<Types>> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let store = Restarting(Arc::new(Mutex::new(World::new(seed))));
        self.worlds.lock().unwrap().push(store.clone());
        Ok(((), store, Machine::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn does_it_pass_the_suite_with_crashes_between_and_within_all_steps() {
    let rounds = crate::world::rounds();
    let worlds = Arc::<std::sync::Mutex<Vec<Restarting>>>::default();
    for round in 0..rounds {
        let seed = AtomicU64::new(round * 1000 + 1);
        let worlds = worlds.clone();
        Suite::test_all(Builder { seed, worlds }).await.unwrap();
    }
    let worlds = std::mem::take(&mut *worlds.lock().unwrap());
    let mut counts = Vec::new();
    for world in worlds {
        counts.push(world.0.lock().await.counts);
    }
    crate::world::check_counts(counts);
}

/// Many are on their way at a time, and then a sync fails.
#[tokio::test]
async fn is_each_append_told_once_it_is_durable_and_none_behind_one_that_failed() {
    let disk = SimFs::new(1);
    let log = Log::options().vfs(Arc::new(disk.clone()));
    let mut store = Store::new(log.open("/log").unwrap(), Postcard).unwrap();
    let log = store.log().clone();
    let mut waiting = Vec::new();
    for index in 0..3000u64 {
        if index == 2000 {
            log.sync_async().await.unwrap();
            let lost = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
            disk.fail(FaultRule::nth(OpKind::Sync, 0, lost));
        }
        let entry = EntryOf::<Types> {
            log_id: log_id::<Types>(1, 0, index),
            payload: EntryPayload::Normal(index.to_string()),
        };
        let (done, outcome) = Types::oneshot();
        if store
            .append([entry], IOFlushed::signal(done))
            .await
            .is_err()
        {
            assert!(index >= 2000);
            break;
        }
        let log = log.clone();
        waiting.push(tokio::spawn(async move {
            let outcome: io::Result<()> = outcome.await.unwrap();
            let durable_seq = log.durable_seq();
            assert!(outcome.is_err() || durable_seq > index);
            outcome.is_ok()
        }));
        if index % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut well = Vec::new();
    for it in waiting {
        well.push(it.await.unwrap());
    }
    let first_failed = well.iter().position(|it| !it).unwrap();
    assert!(first_failed >= 2000 && well[first_failed..].iter().all(|it| !it));
}
