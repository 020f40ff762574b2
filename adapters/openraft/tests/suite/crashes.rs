//! What does a node find that comes back after a crash at any moment of a call, and right behind one that returned?
//!
//! The suite, gone through with crashes, does a call again that a crash came into, and so never sees what it left behind.

use crate::gated::Gated;
use cairnlog::{
    Log, Postcard,
    vfs::sim::{Choice, OpKind, SimFs},
};
use std::sync::Arc;

/// Few enough for every moment, and enough for several segments.
const ENTRIES: u64 = 200;

fn open(disk: &SimFs) -> Log {
    let options = Log::options().vfs(Arc::new(disk.clone()));
    let options = options.segment_bytes(8192).background(false);
    options.open("/log").expect("what was durable opens")
}

/// The disk as it is if the power fails now and takes all with it that it may.
fn lost(disk: &SimFs) -> SimFs {
    disk.crash_at(disk.op_count()).state(&Choice::lost())
}

/// The disk after each moment since one, as it may be by chance.
fn crashed(disk: &SimFs, since: u64) -> impl Iterator<Item = SimFs> {
    (since..=disk.op_count())
        .flat_map(move |op| (0..4).map(move |seed| disk.crash_at(op).random(seed)))
}

/// The tests, for a version: its feature, names, and what it does in a way of its own.
macro_rules! tests {
    ($version:ident, $openraft:ident, $machine:ident, $feature:literal, $($own:item)*) => {
        #[cfg(feature = $feature)]
        mod $version {
            use super::{Arc, Choice, ENTRIES, Gated, Log, OpKind, Postcard, SimFs, crashed, lost, open};
            use crate::$machine::Types;
            use cairnlog_openraft::$version::LogStore;
            use futures_util::FutureExt;
            use $openraft::{
                EntryPayload, RaftLogReader, RaftTypeConfig, Vote,
                storage::{RaftLogStorage, RaftLogStorageExt},
            };
            use std::io;

            type Entry = <Types as RaftTypeConfig>::Entry;

            $($own)*

            fn store(disk: &SimFs) -> LogStore<Types> {
                LogStore::new(open(disk), Postcard).unwrap()
            }

            fn entry(term: u64, index: u64) -> Entry {
                let payload = EntryPayload::Normal(format!("{index} of {term}, {:60}", ""));
                let log_id = log_id(term, index);
                Entry { log_id, payload }
            }

            /// A disk with entries, all of term 1, and the store on it.
            async fn filled() -> (SimFs, LogStore<Types>) {
                let disk = SimFs::new(1);
                let mut store = store(&disk);
                for first in (0..ENTRIES).step_by(20) {
                    let entries: Vec<_> = (first..first + 20).map(|it| entry(1, it)).collect();
                    store.blocking_append(entries).await.unwrap();
                }
                (disk, store)
            }

            /// What is there after a restart: the index behind what was purged, and the terms and indexes of all entries.
            async fn found(disk: &SimFs) -> (u64, Vec<(u64, u64)>) {
                let mut store = store(disk);
                let state = store.get_log_state().await.unwrap();
                let purged_end = state.last_purged_log_id.map_or(0, |it| it.index + 1);
                let entries = store.get_log_reader().await.try_get_log_entries(..).await;
                let entries = entries.unwrap().into_iter();
                let entries: Vec<_> = entries
                    .map(|it| {
                        let term = it.log_id.leader_id.term;
                        assert_eq!(it, entry(term, it.log_id.index));
                        (term, it.log_id.index)
                    })
                    .collect();
                let last = state.last_log_id.map(|it| it.index);
                assert_eq!(last, entries.last().map(|it| it.1), "purged below {purged_end}");
                (purged_end, entries)
            }

            #[tokio::test]
            async fn is_nothing_missing_whenever_a_crash_comes_into_a_purge() {
                let (disk, mut store) = filled().await;
                let before = disk.op_count();
                let end = ENTRIES * 3 / 4;
                store.purge(log_id(1, end - 1)).await.unwrap();
                let mut ends = Vec::new();
                for disk in crashed(&disk, before) {
                    let (purged_end, entries) = found(&disk).await;
                    let expected: Vec<_> = (purged_end..ENTRIES).map(|it| (1, it)).collect();
                    assert_eq!(entries, expected);
                    ends.push(purged_end);
                }
                assert!(ends.contains(&0) && ends.contains(&end), "{ends:?}");
                assert_eq!(found(&lost(&disk)).await.0, end);
            }

            #[tokio::test]
            async fn is_what_was_truncated_gone_and_what_was_written_over_it_there() {
                let (disk, mut store) = filled().await;
                let before = disk.op_count();
                let kept = ENTRIES / 2;
                truncate(&mut store, kept).await.unwrap();
                let both: Vec<_> = (0..ENTRIES).map(|it| (1, it)).collect();
                for disk in crashed(&disk, before) {
                    let (_, entries) = found(&disk).await;
                    assert!([&both[..], &both[..kept as usize]].contains(&&entries[..]));
                }
                assert_eq!(found(&lost(&disk)).await.1, both[..kept as usize]);
                let over: Vec<_> = (kept..kept + 9).map(|index| entry(2, index)).collect();
                store.blocking_append(over).await.unwrap();
                let read = store.get_log_reader().await;
                let read = { read }.try_get_log_entries(kept - 1..kept + 1).await;
                assert_eq!(read.unwrap(), [entry(1, kept - 1), entry(2, kept)]);
                let over = (kept..kept + 9).map(|it| (2, it));
                let expected: Vec<_> = both[..kept as usize].iter().copied().chain(over).collect();
                assert_eq!(found(&lost(&disk)).await.1, expected);
            }

            /// A batch was cut at 256 KiB whatever the log's segments take: a follower that caught up with entries of
            /// more than one of them was told that they are too large, and openraft ends a node whose log fails.
            #[tokio::test]
            async fn are_more_entries_taken_at_once_than_a_segment_holds() {
                let disk = SimFs::new(1);
                let mut store = store(&disk);
                let entries = |range: std::ops::Range<u64>| range.map(|it| entry(1, it)).collect();
                let all: Vec<_> = entries(0..ENTRIES);
                store.blocking_append(all.clone()).await.unwrap();
                let read = store.get_log_reader().await.try_get_log_entries(..).await;
                assert_eq!(read.unwrap(), all);
                let (_, there) = found(&lost(&disk)).await;
                assert_eq!(there.len() as u64, ENTRIES);
                // One that no segment holds is refused, by name, and nothing behind it is lost for that.
                let mut large = entry(1, ENTRIES);
                large.payload = EntryPayload::Normal("x".repeat(8192));
                let error = store.blocking_append([large]).await.unwrap_err();
                assert!(error.to_string().contains("a record"), "{error}");
                store.blocking_append::<Vec<_>>(entries(ENTRIES..ENTRIES + 1)).await.unwrap();
                assert_eq!(found(&lost(&disk)).await.1.len() as u64, ENTRIES + 1);
            }

            #[tokio::test]
            async fn is_a_vote_there_once_it_was_told() {
                let (disk, mut store) = filled().await;
                for term in 1..5 {
                    let vote = Vote::new(term, 3);
                    store.save_vote(&vote).await.unwrap();
                    let found = read_vote(&mut self::store(&lost(&disk))).await;
                    assert_eq!(found.unwrap(), Some(vote));
                }
            }

            /// openraft takes what was appended before a vote for durable once the vote is: one that came first would have a
            /// node say that it has entries which the power takes.
            #[tokio::test]
            async fn is_all_there_that_was_appended_before_a_vote_that_is() {
                let gated = Gated::new(&SimFs::new(1));
                let log = Log::options().vfs(Arc::new(gated.clone())).open("/log").unwrap();
                let mut store = LogStore::<Types>::new(log, Postcard).unwrap();
                let before = gated.disk.op_count();
                gated.hold(OpKind::Sync, ".seg");
                assert!(store.blocking_append([entry(1, 0)]).now_or_never().is_none());
                gated.wait_until_held();
                // From now on both wait for the worker.
                assert!(store.blocking_append([entry(1, 1)]).now_or_never().is_none());
                let vote = Vote::new(2, 3);
                let mut saving = std::pin::pin!(store.save_vote(&vote));
                assert!(saving.as_mut().now_or_never().is_none());
                gated.release();
                saving.await.unwrap();
                let mut there = Vec::new();
                for op in before..=gated.disk.op_count() {
                    let disk = gated.disk.crash_at(op).state(&Choice::lost());
                    let voted = read_vote(&mut self::store(&disk)).await.unwrap() == Some(vote);
                    let entries = found(&disk).await.1;
                    assert!(!voted || entries == [(1, 0), (1, 1)], "{op}: {entries:?}");
                    there.push(voted);
                }
                assert!(!there[0] && there[there.len() - 1], "{there:?}");
            }
        }
    };
}

tests! {
    v09, openraft_09, machine09, "openraft-09",
    fn log_id(term: u64, index: u64) -> openraft_09::LogId<u64> {
        openraft_09::LogId::new(openraft_09::CommittedLeaderId::new(term, 1), index)
    }
    async fn truncate(store: &mut LogStore<Types>, index: u64) -> io::Result<()> {
        store.truncate(log_id(1, index)).await.map_err(io::Error::other)
    }
    async fn read_vote(store: &mut LogStore<Types>) -> io::Result<Option<Vote<u64>>> {
        store.read_vote().await.map_err(io::Error::other)
    }
}

tests! {
    v010, openraft_010, machine010, "openraft-010",
    fn log_id(term: u64, index: u64) -> openraft_010::alias::LogIdOf<Types> {
        openraft_010::testing::log_id::<Types>(term, 1, index)
    }
    async fn truncate(store: &mut LogStore<Types>, index: u64) -> io::Result<()> {
        store.truncate_after(index.checked_sub(1).map(|it| log_id(1, it))).await
    }
    async fn read_vote(
        store: &mut LogStore<Types>,
    ) -> io::Result<Option<openraft_010::alias::VoteOf<Types>>> {
        store.get_log_reader().await.read_vote().await
    }
}
