//! The store for openraft 0.9.

use crate::{
    entries::{Bytes, COMMITTED, Entries, PURGED, SNAPSHOT, VOTE, indexes},
    invalid,
};
use cairnlog::{Codec, Log, Postcard};
use openraft_09::{
    ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogId, RaftLogReader,
    RaftTypeConfig, SnapshotMeta, StorageError, Vote,
    storage::{LogFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};
use std::{fmt::Debug, io, marker::PhantomData, ops::RangeBounds, path::Path};

/// What turns everything that a store keeps into bytes. [`Postcard`] does for all types with serde.
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
    /// Whether what is committed is durable before it is applied.
    syncs_committed: bool,
}

/// Reads the entries of a [`LogStore`], also while they are only on their way to the disk.
#[derive(Debug)]
pub struct LogReader<C, K = Postcard> {
    entries: Entries,
    codec: K,
    of: PhantomData<fn() -> C>,
}

impl<C, K: Clone> Clone for LogReader<C, K> {
    fn clone(&self) -> Self {
        let (entries, codec) = (self.entries.clone(), self.codec.clone());
        Self {
            entries,
            codec,
            of: PhantomData,
        }
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
        let purged: Option<LogId<C::NodeId>> = crate::mark(&log, PURGED, &codec)?;
        let entries = Entries::open(log, purged.as_ref().map(|log_id| log_id.index))?;
        let reader = LogReader {
            entries,
            codec,
            of: PhantomData,
        };
        Ok(Self {
            reader,
            purged,
            syncs_committed: false,
        })
    }

    /// Whether [`save_committed`](RaftLogStorage::save_committed) is durable when it returns, which costs a commit of the
    /// log, two or three syncs, each time. Default: no; the entries to come say up to where others are committed.
    #[must_use]
    pub fn sync_committed(mut self, yes: bool) -> Self {
        self.syncs_committed = yes;
        self
    }

    /// The log itself: for a backup, for numbers, for marks of the application's own.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.reader.entries.log()
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
        let value = self.codec.encode(meta).map_err(invalid)?;
        self.entries.set_mark(SNAPSHOT, value).await
    }

    /// What was noted of the newest snapshot.
    ///
    /// # Errors
    /// `InvalidData` if it is none that this codec wrote.
    pub fn snapshot_meta(&self) -> io::Result<Option<SnapshotMeta<C::NodeId, C::Node>>> {
        crate::mark(self.entries.log(), SNAPSHOT, &self.codec)
    }

    fn read(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<C::Entry>> {
        let found = self.entries.read(&indexes(&range))?;
        let entry =
            |bytes: Bytes| Codec::<C::Entry>::decode(&self.codec, bytes.entry()).map_err(invalid);
        found.into_iter().map(entry).collect()
    }

    fn log_id_of(&self, index: u64) -> io::Result<Option<LogId<C::NodeId>>> {
        let found = self.read(index..=index)?;
        Ok(found.first().map(|entry| entry.get_log_id().clone()))
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogReader<C> for LogReader<C, K> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, Failure<C>> {
        self.read(range)
            .map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Read))
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

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogStorage<C> for LogStore<C, K> {
    type LogReader = LogReader<C, K>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, Failure<C>> {
        let last = self
            .reader
            .entries
            .last_index()
            .map(|index| self.reader.log_id_of(index));
        let last = last
            .transpose()
            .map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Read))?;
        Ok(LogState {
            last_purged_log_id: self.purged.clone(),
            last_log_id: last.flatten().or_else(|| self.purged.clone()),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), Failure<C>> {
        let value = self.reader.codec.encode(vote).map_err(invalid);
        let saved = match value {
            Ok(value) => self.reader.entries.set_mark(VOTE, value).await,
            Err(error) => Err(error),
        };
        saved.map_err(failure::<C>(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, Failure<C>> {
        crate::mark(self.log(), VOTE, &self.reader.codec)
            .map_err(failure::<C>(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<C::NodeId>>,
    ) -> Result<(), Failure<C>> {
        self.reader
            .entries
            .set_committed(committed.as_ref().map(|log_id| log_id.index));
        let Some(log_id) = committed.filter(|_| self.syncs_committed) else {
            return Ok(());
        };
        let saved = match self.reader.codec.encode(&log_id).map_err(invalid) {
            Ok(value) => self.reader.entries.set_mark(COMMITTED, value).await,
            Err(error) => Err(error),
        };
        saved.map_err(failure::<C>(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<C::NodeId>>, Failure<C>> {
        let marked = crate::mark(self.log(), COMMITTED, &self.reader.codec);
        let marked: Option<LogId<C::NodeId>> =
            marked.map_err(failure::<C>(ErrorSubject::Store, ErrorVerb::Read))?;
        let stated = match self.reader.entries.committed() {
            Some(index) => self.reader.log_id_of(index),
            None => Ok(None),
        };
        let stated = stated.map_err(failure::<C>(ErrorSubject::Store, ErrorVerb::Read))?;
        Ok(marked.max(stated))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Result<(), Failure<C>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encode = |entry: C::Entry| {
            let bytes = self.reader.codec.encode(&entry).map_err(invalid)?;
            Ok((entry.get_log_id().index, bytes))
        };
        let encoded: io::Result<Vec<(u64, Vec<u8>)>> = entries.into_iter().map(encode).collect();
        let appended = match encoded {
            Ok(encoded) => self.reader.entries.append(&encoded).await,
            Err(error) => Err(error),
        };
        let tickets = appended.map_err(failure::<C>(ErrorSubject::Logs, ErrorVerb::Write))?;
        let entries = self.reader.entries.clone();
        let settle = async move { callback.log_io_completed(entries.settle(tickets).await) };
        drop(C::spawn(settle));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), Failure<C>> {
        let truncated = self.reader.entries.truncate(log_id.index).await;
        truncated.map_err(failure::<C>(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), Failure<C>> {
        if self.purged.as_ref() >= Some(&log_id) {
            return Ok(());
        }
        let purged = match self.reader.codec.encode(&log_id).map_err(invalid) {
            Ok(value) => self.reader.entries.purge(log_id.index, value).await,
            Err(error) => Err(error),
        };
        purged.map_err(failure::<C>(
            ErrorSubject::Log(log_id.clone()),
            ErrorVerb::Delete,
        ))?;
        self.purged = Some(log_id);
        Ok(())
    }
}
