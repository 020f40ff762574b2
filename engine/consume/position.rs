//! A cursor in use: where it stands in memory, and how that becomes durable.
//!
//! INVARIANTS: one writes at a time, the file or records that move the cursor; whoever comes meanwhile
//! waits for a version of the file that has its change in it. So the file never counts a move that
//! is in flight, and many acknowledgements share one write.

use crate::{
    append::{AppendOptions, NewRecord},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        Producer,
        cursor::{CursorFile, PENDING_MAX, Pending},
        producers::EPOCH_CURSOR,
    },
    log::Log,
    options::Durability,
    sync::{Condvar, Mutex, MutexGuard},
    types::Seq,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

/// A cursor that somebody uses.
pub(super) struct Position {
    pub(super) log: Log,
    id: u64,
    state: Mutex<State>,
    /// Signals that nobody writes.
    idle: Condvar,
}

/// Where it stands.
#[derive(Debug)]
pub(super) struct State {
    /// The file as it was stored last; its position and pending records are those below.
    file: CursorFile,
    seq: Seq,
    /// Records at or above the position that were handed out or are done.
    pending: BTreeMap<Seq, Delivery>,
    /// Counts changes, and those that are durable.
    version: u64,
    durable_version: u64,
    /// Whether somebody writes.
    writing: bool,
}

/// What became of the wish to keep track of a record.
pub(super) enum Tracked {
    Open,
    Done,
    NoRoom,
}

/// What is known of a pending record.
#[derive(Clone, Copy, Debug, Default)]
struct Delivery {
    count: u32,
    acked: bool,
}

impl Position {
    pub(super) fn new(log: Log, mut file: CursorFile) -> Self {
        let pending = std::mem::take(&mut file.pending).into_iter().map(|it| {
            let (count, acked) = (it.delivery_count, it.acked);
            (it.seq, Delivery { count, acked })
        });
        Self {
            log,
            id: file.id,
            state: Mutex::new(State {
                seq: file.seq,
                pending: pending.collect(),
                file,
                version: 0,
                durable_version: 0,
                writing: false,
            }),
            idle: Condvar::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn seq(&self) -> Seq {
        self.state.lock().seq
    }

    pub(super) fn name(&self) -> String {
        self.state.lock().file.name.clone()
    }

    /// Goes to a seq, back or forth, and forgets what was handed out; durable when it returns.
    pub(super) fn seek(&self, seq: Seq) -> Result<()> {
        self.change(|state| {
            state.pending.clear();
            state.seq = seq;
        })
    }

    /// Looks at where it stands, or changes what is stored with the next change.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// Changes where it stands; durable when it returns. After an error the change is in force here,
    /// and stored with the next.
    pub(super) fn change(&self, edit: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock();
        edit(&mut state);
        state.version += 1;
        self.store(state)
    }

    /// Everything up to and including `seq` is done.
    pub(super) fn ack(&self, seq: Seq) -> Result<()> {
        let end_seq = self.log.durable_seq();
        if seq >= end_seq {
            let note = "what is not durable yet cannot be acknowledged";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Consume, note)
                .at(Place::default().with_seq(seq)));
        }
        let mut state = self.state.lock();
        if state.seq <= seq {
            state.move_to(seq + 1);
            state.version += 1;
        }
        self.store(state)
    }

    /// Appends records and moves past `seq`, both or neither.
    pub(super) fn append(
        &self,
        records: &[NewRecord<'_>],
        seq: Seq,
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        let refuse = |kind, note| {
            Err(Error::note(kind, Op::Consume, note).at(Place::default().with_seq(seq)))
        };
        if how.producer.is_some() {
            let note = "what a consumer appends names the cursor as its producer";
            return refuse(ErrorKind::InvalidInput, note);
        }
        if records.is_empty() {
            self.ack(seq)?;
            let end = self.log.next_seq();
            return Ok(end..end);
        }
        if seq >= self.log.durable_seq() {
            let note = "what is not durable yet cannot be acknowledged";
            return refuse(ErrorKind::InvalidInput, note);
        }
        let mut state = self.wait_until_idle(self.state.lock());
        if seq < state.seq {
            let note = "the cursor is past it already, so what came of it was appended before";
            return refuse(ErrorKind::Duplicate, note);
        }
        state.writing = true;
        drop(state);
        let producer = Producer {
            id: self.id,
            epoch: EPOCH_CURSOR,
            number: seq + 1,
        };
        let how = how.durability(Durability::Durable).producer(producer);
        let appended = self.log.appender().append_unchecked(records, &how);
        let mut state = self.state.lock();
        state.writing = false;
        self.idle.notify_all();
        let seqs = appended?;
        let seq = state.seq.max(seq + 1);
        state.move_to(seq);
        Ok(seqs)
    }

    fn wait_until_idle<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.writing {
            self.idle.wait(&mut state);
        }
        state
    }

    /// Waits until the file has what is in the state now; writes it if nobody else does.
    fn store<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<()> {
        let wanted = state.version;
        loop {
            state = self.wait_until_idle(state);
            if state.durable_version >= wanted {
                return Ok(());
            }
            state.writing = true;
            // Nothing that moves the cursor is in flight: all moves there are lie below.
            let now_ms = self.log.core().dir().vfs().unix_time_ms();
            let (file, version) = (
                state.next_file(self.log.durable_seq(), now_ms),
                state.version,
            );
            drop(state);
            let saved = self.log.cursor_files().save(self.log.core(), &file);
            state = self.state.lock();
            state.writing = false;
            self.idle.notify_all();
            saved?;
            state.durable_version = version;
        }
    }
}

impl State {
    /// Goes forth or back; nothing below the position is pending.
    fn move_to(&mut self, seq: Seq) {
        self.seq = seq;
        self.pending = self.pending.split_off(&seq);
    }

    /// How often a pending record was handed out.
    pub(super) fn delivery_count(&self, seq: Seq) -> u32 {
        self.pending.get(&seq).map_or(0, |delivery| delivery.count)
    }

    pub(super) fn set_delivery_count(&mut self, seq: Seq, count: u32) {
        if let Some(delivery) = self.pending.get_mut(&seq) {
            delivery.count = count;
        }
    }

    /// The pending records that are not done.
    pub(super) fn open_seqs(&self) -> BTreeSet<Seq> {
        let open = self.pending.iter().filter(|(_, delivery)| !delivery.acked);
        open.map(|(seq, _)| *seq).collect()
    }

    /// Makes a record pending, if it is not done and there is room.
    pub(super) fn track(&mut self, seq: Seq) -> Tracked {
        match self.pending.get(&seq) {
            Some(delivery) if delivery.acked => Tracked::Done,
            None if seq < self.seq => Tracked::Done,
            None if self.pending.len() >= PENDING_MAX => Tracked::NoRoom,
            _ => {
                self.pending.entry(seq).or_default();
                Tracked::Open
            }
        }
    }

    /// A pending record is done.
    pub(super) fn done(&mut self, seq: Seq) {
        if let Some(delivery) = self.pending.get_mut(&seq) {
            delivery.acked = true;
        }
    }

    /// Goes on past what is done, up to the first pending record that is not, or else to `end_seq`.
    pub(super) fn settle(&mut self, end_seq: Seq) {
        let open = self.pending.iter().find(|(_, delivery)| !delivery.acked);
        let seq = open.map_or(end_seq, |(seq, _)| *seq);
        self.move_to(seq.max(self.seq));
    }

    fn next_file(&mut self, as_of_seq: Seq, updated_ms: i64) -> CursorFile {
        self.file.seq = self.seq;
        self.file.as_of_seq = as_of_seq;
        self.file.generation += 1;
        self.file.updated_ms = updated_ms;
        let pending = self.pending.iter().map(|(seq, delivery)| Pending {
            seq: *seq,
            delivery_count: delivery.count,
            acked: delivery.acked,
        });
        CursorFile {
            pending: pending.collect(),
            ..self.file.clone()
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Position")
            .field("name", &state.file.name)
            .field("seq", &state.seq)
            .finish_non_exhaustive()
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        self.log.cursor_files().in_use().remove(&self.id);
    }
}
