//! The store for the pre-releases of openraft 0.10.

use crate::{
    entries::{SNAPSHOT, VOTE},
    kept::Kept,
};
use cairnlog::{Codec, Log, Postcard};
use openraft_010::{
    LogState, OptionalSend, RaftLogReader, RaftTypeConfig,
    alias::{EntryOf, LogIdOf, SnapshotMetaOf, VoteOf},
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use std::{fmt::Debug, io, marker::PhantomData, ops::RangeBounds, path::Path};

/// What turns everything that a store keeps into bytes. [`Postcard`] does for all types with serde: if `Postcard` is said not to
/// be a codec, one of the application's types lacks `Serialize` or `Deserialize`.
pub trait Codecs<C: RaftTypeConfig>:
    Codec<EntryOf<C>>
    + Codec<VoteOf<C>>
    + Codec<LogIdOf<C>>
    + Codec<SnapshotMetaOf<C>>
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<C: RaftTypeConfig, K> Codecs<C> for K where
    K: Codec<EntryOf<C>>
        + Codec<VoteOf<C>>
        + Codec<LogIdOf<C>>
        + Codec<SnapshotMetaOf<C>>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// The log store of a Raft node of openraft 0.10: see the [crate]'s page.
#[derive(Debug)]
pub struct LogStore<C: RaftTypeConfig, K = Postcard> {
    reader: LogReader<C, K>,
    purged: Option<LogIdOf<C>>,
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
        let (kept, purged) = Kept::open(log, codec, |log_id: &LogIdOf<C>| log_id.index)?;
        let of = PhantomData;
        Ok(Self {
            reader: LogReader { kept, of },
            purged,
        })
    }

    /// Whether [`save_committed`](RaftLogStorage::save_committed) is durable when it returns, which costs a commit of the
    /// log, two or three syncs, each time. Default: no; the entries to come say up to where others are committed.
    /// It does not make `enable_leader_restore` safe: see the [crate]'s page.
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
    pub async fn save_snapshot_meta(&self, meta: &SnapshotMetaOf<C>) -> io::Result<()> {
        self.kept.set_mark(SNAPSHOT, meta).await
    }

    /// What was noted of the newest snapshot.
    ///
    /// # Errors
    /// `InvalidData` if it is none that this codec wrote.
    pub fn snapshot_meta(&self) -> io::Result<Option<SnapshotMetaOf<C>>> {
        self.kept.mark(SNAPSHOT)
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogReader<C> for LogReader<C, K> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.kept.read(&range)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.kept.mark(VOTE)
    }
}

impl<C: RaftTypeConfig, K: Codecs<C>> RaftLogStorage<C> for LogStore<C, K> {
    type LogReader = LogReader<C, K>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        let last = self.reader.kept.last_entry::<EntryOf<C>>()?;
        let last = last.as_ref().map(RaftEntry::log_id);
        Ok(LogState {
            last_purged_log_id: self.purged.clone(),
            last_log_id: last.or_else(|| self.purged.clone()),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        self.reader.kept.set_mark(VOTE, vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let committed = committed.as_ref().map(|log_id| (log_id.index, log_id));
        self.reader.kept.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        self.reader.kept.committed(<EntryOf<C>>::log_id)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.index(), entry));
        let told = move |outcome| callback.io_completed(outcome);
        self.reader.kept.append(entries, told).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let index = last_log_id.map_or(0, |log_id| log_id.index + 1);
        self.reader.kept.truncate(index).await
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        if self.purged.as_ref() >= Some(&log_id) {
            return Ok(());
        }
        self.reader.kept.purge(log_id.index, &log_id).await?;
        self.purged = Some(log_id);
        Ok(())
    }
}
