//! The entries of a Raft log, as bytes, on a Cairn log: what both versions of openraft share.
//!
//! A record is one entry: 17 bytes that say which, and then its bytes. The table of where each stands is in memory.
//! What is appended is read from memory until it is durable, and then from the log.
//!
//! INVARIANTS: an entry is in the table from the moment that its seq is known, and what the table names is either among
//! the `recent` or durable. After an append that failed nothing more is appended: there would be a hole.

use crate::table::{Look, Table};
use cairnlog::{AppendOptions, Durability, Error, Log, NewRecord, Reader, Record, Seq, Ticket};
use std::{
    collections::VecDeque,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The first byte of a record, for other kinds and later versions.
const KIND: u8 = 1;
/// Kind, index, and one more than the index that was known to be committed (0: none).
const HEAD_BYTES: usize = 17;

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
}

#[derive(Debug)]
struct State {
    table: Table,
    /// Entries that were not durable when it was last looked, in order, each as its record's value.
    recent: VecDeque<Recent>,
    /// One more than the highest index that is known to be committed.
    committed_end: u64,
    /// Why nothing more is appended.
    failed: Option<Arc<Error>>,
}

#[derive(Debug)]
struct Recent {
    index: u64,
    seq: Seq,
    value: Arc<[u8]>,
}

/// The bytes of an entry: in memory, or as they lie in the log.
pub(crate) enum Bytes {
    Recent(Arc<[u8]>),
    Stored(Record),
}

impl Bytes {
    pub(crate) fn entry(&self) -> &[u8] {
        let value = match self {
            Self::Recent(value) => value,
            Self::Stored(record) => record.value().unwrap_or_default(),
        };
        value.get(HEAD_BYTES..).unwrap_or_default()
    }
}

/// What a record says of the entry in it: its index, and up to where entries were known to be committed.
fn head(record: &Record) -> io::Result<(u64, u64)> {
    let head = record
        .value()
        .and_then(|value| value.first_chunk::<HEAD_BYTES>());
    let Some(head) = head.filter(|head| head[0] == KIND) else {
        let note = format!("record {} is no entry of a Raft log", record.seq());
        return Err(io::Error::new(io::ErrorKind::InvalidData, note));
    };
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    Ok((word(1), word(9)))
}

impl Look for Reader {
    type Error = io::Error;

    fn first(&self, seqs: Range<Seq>) -> io::Result<Option<(Seq, u64)>> {
        let record = self.scan(seqs)?.next().transpose()?;
        record
            .map(|record| Ok((record.seq(), head(&record)?.0)))
            .transpose()
    }

    fn last(&self, seqs: Range<Seq>) -> io::Result<Option<(Seq, u64)>> {
        let record = self.scan(seqs)?.next_back().transpose()?;
        record
            .map(|record| Ok((record.seq(), head(&record)?.0)))
            .transpose()
    }
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
            committed_end,
            failed: None,
        });
        let shared = Arc::new(Shared { log, reader, state });
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

    /// Appends entries, given with their indexes, which rise. They can be read as soon as this returns;
    /// [`settle`](Self::settle) waits until they are durable.
    pub(crate) async fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<Vec<Ticket>> {
        let committed_end = self.check(entries)?;
        let values: Vec<Arc<[u8]>> = entries
            .iter()
            .map(|(index, bytes)| value(*index, committed_end, bytes))
            .collect();
        let how = AppendOptions::new().durability(Durability::Durable);
        let mut tickets = Vec::new();
        // Each batch is in the log whole or not at all; those of one call need not be.
        let mut rest = values.as_slice();
        let mut indexes = entries.iter().map(|(index, _)| *index);
        while !rest.is_empty() {
            let (values, behind) = rest.split_at(batch_len(rest));
            rest = behind;
            let records: Vec<NewRecord<'_>> = values.iter().map(NewRecord::value).collect();
            let ticket = match self.shared.log.submit_async(&records, &how).await {
                Ok(ticket) => ticket,
                Err(error) => return Err(self.fail(error)),
            };
            let mut state = self.state();
            for ((value, seq), index) in values.iter().zip(ticket.seqs()).zip(&mut indexes) {
                let value = value.clone();
                state.table.push(index, seq);
                state.recent.push_back(Recent { index, seq, value });
            }
            tickets.push(ticket);
        }
        self.forget_durable(&mut self.state());
        Ok(tickets)
    }

    /// Whether these may follow; up to where entries are known to be committed.
    fn check(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<u64> {
        let state = self.state();
        if let Some(error) = &state.failed {
            let note = format!("an earlier append failed, open the store again: {error}");
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, note));
        }
        let mut last = state.table.last_index();
        for (index, _) in entries {
            if last.is_some_and(|last| last >= *index) {
                let note = format!("entry {index} is there already: truncate first");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, note));
            }
            last = Some(*index);
        }
        Ok(state.committed_end)
    }

    /// Waits until what was appended is durable, or is known to be missing.
    pub(crate) async fn settle(&self, tickets: Vec<Ticket>) -> io::Result<()> {
        for ticket in tickets {
            ticket.await.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Nothing is appended behind what may be missing.
    fn fail(&self, error: Error) -> io::Error {
        let mut state = self.state();
        state.failed.get_or_insert_with(|| Arc::new(error.clone()));
        error.into()
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
        self.state().committed_end = index.map_or(0, |index| index + 1);
    }

    /// The last index that is known to be committed.
    pub(crate) fn committed(&self) -> Option<u64> {
        self.state().committed_end.checked_sub(1)
    }
}

/// What goes into the log in one batch at most: so many entries, and another only below so many bytes.
const BATCH_RECORDS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How many of these values go into one batch, at least one.
fn batch_len(values: &[Arc<[u8]>]) -> usize {
    let mut bytes = 0;
    let fits = values.iter().take(BATCH_RECORDS).take_while(|value| {
        bytes += value.len();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

fn value(index: u64, committed_end: u64, entry: &[u8]) -> Arc<[u8]> {
    let mut value = Vec::with_capacity(HEAD_BYTES + entry.len());
    value.push(KIND);
    value.extend_from_slice(&index.to_le_bytes());
    value.extend_from_slice(&committed_end.to_le_bytes());
    value.extend_from_slice(entry);
    value.into()
}

/// A range of indexes as one from its first to behind its last.
pub(crate) fn indexes(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}
