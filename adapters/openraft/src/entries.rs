//! The entries of a Raft log, as bytes, on a Cairn log: what both versions of openraft share.
//!
//! A record is one entry (`record`). The table of where each stands is in memory. What is appended is read from memory
//! until it is durable, and then from the log.
//!
//! INVARIANTS: an entry is in the table from the moment that its seq is known, and what the table names is either among
//! the `recent` or durable. Behind an append that failed nothing is appended: there would be a hole.

use crate::{
    record::{Bytes, NewEntry, head},
    settle::{Settling, Told},
    table::Table,
};
use cairnlog::{AppendOptions, Durability, Error, ErrorKind, Log, NewRecord, Reader, Seq};
use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The mark of a node's vote.
pub(crate) const VOTE: &str = "raft.vote";
/// The mark of the last entry that was purged.
pub(crate) const PURGED: &str = "raft.purged";
/// The mark of the last entry known to be committed, where that is to be durable.
pub(crate) const COMMITTED: &str = "raft.committed";
/// The mark of what the state machine's last snapshot is of.
pub(crate) const SNAPSHOT: &str = "raft.snapshot";

/// The entries of one log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Log,
    reader: Reader,
    state: Mutex<State>,
    /// One more than the highest index that is known to be committed.
    committed_end: AtomicU64,
    settling: Arc<Settling>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// Entries that were not durable when it was last looked, in order, each as its record's value.
    recent: VecDeque<Recent>,
    /// The seq that the next entry gets, if none is missing.
    next_seq: Seq,
}

#[derive(Debug)]
struct Recent {
    index: u64,
    seq: Seq,
    value: Arc<Vec<u8>>,
}

impl Entries {
    /// Finds the entries of a log again. `purged_index` is the last that was purged.
    pub(crate) fn open(log: Log, purged_index: Option<u64>) -> io::Result<Self> {
        let reader = log.reader();
        let table = Table::find(&reader, log.head_seq()..log.next_seq())?;
        let mut table = table.ok_or_else(|| {
            let note =
                "the indexes of its records do not rise: it is no Raft log, or not only that";
            io::Error::new(io::ErrorKind::InvalidData, note)
        })?;
        let committed_end = match log.last()? {
            Some(record) => head(&record)?.1,
            None => 0,
        };
        if let (Some(purged), Some(first)) = (purged_index, table.first_index())
            && first <= purged
        {
            // A crash came between the mark and the trim.
            let head_seq = table.seq_from(purged + 1);
            log.trim(head_seq.unwrap_or_else(|| log.next_seq()))?;
            table.drop_below(purged + 1);
        }
        let state = Mutex::new(State {
            table,
            recent: VecDeque::new(),
            next_seq: log.next_seq(),
        });
        let shared = Arc::new(Shared {
            log,
            reader,
            state,
            committed_end: committed_end.into(),
            settling: Arc::default(),
        });
        Ok(Self { shared })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.shared.log
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves it half changed.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.state().table.last_index()
    }

    /// Appends entries, whose indexes rise. They can be read as soon as this returns; `told` is called once they are
    /// durable and everything before them is, or it is known that something is missing. It may be called in here, and by
    /// the thread that syncs.
    pub(crate) async fn append(&self, entries: &[NewEntry], told: Told) -> io::Result<()> {
        let mut next_seq = self.check(entries)?;
        let how = AppendOptions::new().durability(Durability::Durable);
        // Each batch is in the log whole or not at all; those of one call need not be.
        let (mut rest, mut told) = (entries, Some(told));
        while !rest.is_empty() {
            let mut records = records(rest);
            let fitting = self.shared.log.batch_len(&records, &how);
            records.truncate(fitting.max(1)); // The append tells of one that is too large by itself.
            let (batch, behind) = rest.split_at(records.len());
            rest = behind;
            // Where an append before has failed the log goes on with another number: this one finds no place then.
            let how = how.expected_seq(next_seq);
            let submitted = self.shared.log.submit_async(&records, &how).await;
            let ticket = submitted.map_err(said)?;
            let seqs = ticket.seqs();
            next_seq = seqs.end;
            let mut state = self.state();
            state.next_seq = next_seq;
            for (entry, seq) in batch.iter().zip(seqs) {
                state.table.push(entry.index, seq);
                let (index, value) = (entry.index, entry.value.clone());
                state.recent.push_back(Recent { index, seq, value });
            }
            self.forget_durable(&mut state);
            drop(state);
            let last = rest.is_empty();
            let told = last.then(|| told.take()).flatten();
            self.shared.settling.push(Some(ticket), told);
        }
        if told.is_some() {
            self.shared.settling.push(None, told); // There was none.
        }
        Ok(())
    }

    /// Whether these may follow; the seq of the first of them.
    fn check(&self, entries: &[NewEntry]) -> io::Result<Seq> {
        let state = self.state();
        let mut last = state.table.last_index();
        for NewEntry { index, .. } in entries {
            if last.is_some_and(|last| last >= *index) {
                let note = format!("entry {index} is there already: truncate first");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, note));
            }
            last = Some(*index);
        }
        Ok(state.next_seq)
    }

    fn forget_durable(&self, state: &mut State) {
        let durable_seq = self.shared.log.durable_seq();
        while state
            .recent
            .front()
            .is_some_and(|entry| entry.seq < durable_seq)
        {
            state.recent.pop_front();
        }
    }

    /// The entries of these indexes that there are, as of one moment.
    pub(crate) fn read(&self, indexes: &Range<u64>) -> io::Result<Vec<Bytes>> {
        loop {
            let (stored, recent, wanted) = {
                let mut state = self.state();
                self.forget_durable(&mut state);
                let recent = state
                    .recent
                    .iter()
                    .filter(|entry| indexes.contains(&entry.index));
                let recent: Vec<Bytes> = recent
                    .map(|entry| Bytes::Recent(entry.value.clone()))
                    .collect();
                let first_recent = state.recent.front().map_or(u64::MAX, |entry| entry.index);
                let end = indexes.end.min(first_recent).max(indexes.start);
                let stored: Vec<_> = state.table.pieces(indexes.start..end).collect();
                let pieces = state.table.pieces(indexes.clone());
                let wanted: u64 = pieces.map(|piece| piece.count).sum();
                (stored, recent, wanted)
            };
            let mut found = Vec::new();
            for piece in stored {
                for record in self
                    .shared
                    .reader
                    .scan(piece.seq..piece.seq + piece.count)?
                {
                    found.push(Bytes::Stored(record?));
                }
            }
            found.extend(recent);
            if found.len() as u64 == wanted {
                return Ok(found);
            }
            // Purged or truncated meanwhile; if not, entries are missing that were durable.
            let pieces: u64 = self
                .state()
                .table
                .pieces(indexes.clone())
                .map(|it| it.count)
                .sum();
            if pieces == wanted {
                let note = format!(
                    "{wanted} entries of {indexes:?} should be there, and {} are",
                    found.len()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, note));
            }
        }
    }

    /// Drops every entry from this index on, durably.
    pub(crate) async fn truncate(&self, index: u64) -> io::Result<()> {
        let Some(seq) = self.state().table.seq_from(index) else {
            return Ok(());
        };
        self.shared.log.rewind_async(seq).await?;
        let mut state = self.state();
        state.table.drop_from(index);
        state.recent.retain(|entry| entry.index < index);
        Ok(())
    }

    /// Drops every entry up to this index. That they are gone is marked first, by this: if a crash comes before the
    /// rest, opening leaves them out.
    pub(crate) async fn purge(&self, index: u64, mark: Vec<u8>) -> io::Result<()> {
        self.set_mark(PURGED, mark).await?;
        let log = &self.shared.log;
        let head_seq = self.state().table.seq_from(index + 1);
        log.trim_async(head_seq.unwrap_or_else(|| log.next_seq()))
            .await?;
        let mut state = self.state();
        state.table.drop_below(index + 1);
        state.recent.retain(|entry| entry.index > index);
        Ok(())
    }

    /// Sets a mark, after everything that was appended before.
    pub(crate) async fn set_mark(&self, name: &str, value: Vec<u8>) -> io::Result<()> {
        // DURABILITY: after this line all that was appended before survives: what is told of the mark is told of it too.
        self.shared.log.sync_async().await?;
        Ok(self.shared.log.set_mark_async(name, value).await?)
    }

    /// Has the next entries say up to where entries are committed.
    pub(crate) fn set_committed(&self, index: Option<u64>) {
        let end = index.map_or(0, |index| index + 1);
        self.shared.committed_end.store(end, Ordering::Relaxed);
    }

    /// One more than the last index that is known to be committed.
    pub(crate) fn committed_end(&self) -> u64 {
        self.shared.committed_end.load(Ordering::Relaxed)
    }
}

/// What goes into the log in one batch at most, also where a segment would take more: so many entries, and another only
/// below so many bytes.
const BATCH_RECORDS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// The first of these as records, as many as may go into one batch, at least one.
fn records(entries: &[NewEntry]) -> Vec<NewRecord<'_>> {
    let mut bytes = 0;
    let entries = entries.iter().take(BATCH_RECORDS);
    let fitting = entries.take_while(|entry| {
        let is_first = bytes == 0;
        bytes += entry.value.len();
        is_first || bytes <= BATCH_BYTES
    });
    fitting.map(|it| NewRecord::value(&*it.value)).collect()
}

/// Why nothing is appended.
fn said(error: Error) -> io::Error {
    if error.kind() == ErrorKind::SeqMismatch {
        let note = format!("an earlier append failed, open the store again: {error}");
        return io::Error::new(io::ErrorKind::BrokenPipe, note);
    }
    error.into()
}
