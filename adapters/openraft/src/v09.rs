//! The store for openraft 0.9.

use crate::{
    entries::{SNAPSHOT, VOTE},
    kept::Kept,
};
use cairnlog::{Codec, Log, Postcard};
use openraft_09::{
    ErrorSubject, ErrorVerb, LogId, LogState, NodeId, OptionalSend, RaftLogId, RaftLogReader,
    RaftTypeConfig, SnapshotMeta, StorageError, Vote,
    storage::{LogFlushed, RaftLogStorage},
};
use std::{fmt::Debug, io, marker::PhantomData, ops::RangeBounds, path::Path};

/// What turns everything that a store keeps into bytes. [`Postcard`] does for all types with serde: if `Postcard` is said not to
/// be a codec, one of the application's types lacks `Serialize` or `Deserialize`.
pub trait Codecs<C: RaftTypeConfig>:
    Codec<C::Entry>
    + Codec<Vote<C::NodeId>>
    + Codec<LogId<C::NodeId>>
    + Codec<SnapshotMeta<C::NodeId, C::Node>>
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<C: RaftTypeConfig, K> Codecs<C> for K where
    K: Codec<C::Entry>
        + Codec<Vote<C::NodeId>>
        + Codec<LogId<C::NodeId>>
        + Codec<SnapshotMeta<C::NodeId, C::Node>>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

type Failure<C> = StorageError<<C as RaftTypeConfig>::NodeId>;

fn failure<C: RaftTypeConfig>(
    subject: ErrorSubject<C::NodeId>,
    verb: ErrorVerb,
) -> impl FnOnce(io::Error) -> Failure<C> {
    move |error| StorageError::from_io_error(subject, verb, error)
}

/// The log store of a Raft node of openraft 0.9: see the [crate]'s page.
#[derive(Debug)]
pub struct LogStore<C: RaftTypeConfig, K = Postcard> {
    reader: LogReader<C, K>,
    purged: Option<LogId<C::NodeId>>,
}

/// Reads the entries of a [`LogStore`], also while they are only on their way to the disk.
#[derive(Debug)]
pub struct LogReader<C, K = Postcard> {
    kept: Kept<K>,
    of: PhantomData<fn() -> C>,
}

impl<C, K: Clone> Clone for LogReader<C, K> {
    fn clone(&self) -> Self {
        let (kept, of) = (self.kept.clone(), PhantomData);
        Self { kept, of }
    }
}

impl<C: RaftTypeConfig> LogStore<C>
where
    Postcard: Codecs<C>,
{
    /// Opens the log in this directory as that of a node, with the default options, creating or recovering it as needed.
    ///
    /// # Errors
    /// As of [`Log::open`]; `InvalidData` if it is no log of Raft entries.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(Log::open(path)?, Postcard)
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> LogStore<C, K> {
    /// Over a log that was opened, with a codec. Nobody else may append to it, and nothing of it be dropped or compacted
    /// by other means.
    ///
    /// # Errors
    /// `InvalidData` if it is no log of Raft entries; if it cannot be read.
    pub fn new(log: Log, codec: K) -> io::Result<Self> {
        let (kept, purged) = Kept::open(log, codec, |log_id: &LogId<C::NodeId>| log_id.index)?;
        let of = PhantomData;
        Ok(Self {
            reader: LogReader { kept, of },
            purged,
        })
    }

    /// Whether [`save_committed`](RaftLogStorage::save_committed) is durable when it returns, which costs a commit of the
    /// log, two or three syncs, each time. Default: no; the entries to come say up to where others are committed.
    /// A restarted leader needs it for its first reads: see the [crate]'s page.
    #[must_use]
    pub fn sync_committed(mut self, yes: bool) -> Self {
        self.reader.kept.sync_committed(yes);
        self
    }

    /// The log itself: for a backup, for numbers, for marks of the application's own.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.reader.kept.log()
    }

    /// Reads its entries, and keeps the note of the newest snapshot: for the state machine.
    #[must_use]
    pub fn reader(&self) -> LogReader<C, K> {
        self.reader.clone()
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> LogReader<C, K> {
    /// Notes what the state machine's newest snapshot is of, durably: as a mark, so that the old note or the new one is
    /// there after a crash. Whatever the snapshot is in has to be durable before.
    ///
    /// # Errors
    /// As of [`Log::set_mark`]: `InvalidInput` if the members and their addresses take more than 4 KiB.
    pub async fn save_snapshot_meta(
        &self,
        meta: &SnapshotMeta<C::NodeId, C::Node>,
    ) -> io::Result<()> {
        self.kept.set_mark(SNAPSHOT, meta).await
    }

    /// What was noted of the newest snapshot.
    ///
    /// # Errors
    /// `InvalidData` if it is none that this codec wrote.
    pub fn snapshot_meta(&self) -> io::Result<Option<SnapshotMeta<C::NodeId, C::Node>>> {
        self.kept.mark(SNAPSHOT)
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogReader<C> for LogReader<C, K> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, Failure<C>> {
        let read = self.kept.read(&range);
        read.map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogReader<C> for LogStore<C, K> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, Failure<C>> {
        self.reader.try_get_log_entries(range).await
    }
}

fn log_id<E: RaftLogId<N>, N: NodeId>(entry: &E) -> LogId<N> {
    entry.get_log_id().clone()
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogStorage<C> for LogStore<C, K> {
    type LogReader = LogReader<C, K>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, Failure<C>> {
        let last = self.reader.kept.last_entry::<C::Entry>();
        let last = last.map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Read))?;
        Ok(LogState {
            last_purged_log_id: self.purged.clone(),
            last_log_id: last.as_ref().map(log_id).or_else(|| self.purged.clone()),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), Failure<C>> {
        let saved = self.reader.kept.set_mark(VOTE, vote).await;
        saved.map_err(failure::<C>(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, Failure<C>> {
        let vote = self.reader.kept.mark(VOTE);
        vote.map_err(failure::<C>(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<C::NodeId>>,
    ) -> Result<(), Failure<C>> {
        let committed = committed.as_ref().map(|log_id| (log_id.index, log_id));
        let saved = self.reader.kept.save_committed(committed).await;
        saved.map_err(failure::<C>(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<C::NodeId>>, Failure<C>> {
        let committed = self.reader.kept.committed(log_id::<C::Entry, C::NodeId>);
        committed.map_err(failure::<C>(ErrorSubject::Store, ErrorVerb::Read))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Result<(), Failure<C>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.get_log_id().index, entry));
        let told = move |outcome| callback.log_io_completed(outcome);
        let appended = self.reader.kept.append(entries, told).await;
        appended.map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Write))
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), Failure<C>> {
        let truncated = self.reader.kept.truncate(log_id.index).await;
        truncated.map_err(failure::<C>(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), Failure<C>> {
        if self.purged.as_ref() >= Some(&log_id) {
            return Ok(());
        }
        let purged = self.reader.kept.purge(log_id.index, &log_id).await;
        purged.map_err(failure::<C>(
            ErrorSubject::Log(log_id.clone()),
            ErrorVerb::Delete,
        ))?;
        self.purged = Some(log_id);
        Ok(())
    }
}
