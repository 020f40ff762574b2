//! A cursor in use: where it stands in memory, and how that becomes durable.
//!
//! INVARIANTS: a cursor has one position at a time. Who uses it next, while something of the last user is
//! still on its way to the disk, takes over the position and with it all that was acknowledged. One writes
//! at a time, the file or records that move the cursor; whoever comes meanwhile waits for a version of the
//! file that has its change in it. So the file never counts a move that is in flight, and many
//! acknowledgements share one write.
//!
//! Rooms: this file the position and how it is stored, `count` deliveries, `output` records that move it,
//! `standing` what it consists of.

use super::standing::{Standing, Tracked};
use crate::{
    append::cursor_place,
    cursor::Users,
    error::{Error, ErrorKind, Op, Place, Result},
    format::cursor::CursorFile,
    log::Log,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    types::Seq,
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
};

/// A cursor that somebody uses, or of which something is still on its way to the disk.
pub(super) struct Position {
    pub(super) log: Log,
    id: u64,
    name: String,
    /// Whether it has a user.
    in_hand: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Signals that nobody writes.
    pub(super) idle: Condvar,
}

/// Where it stands, and how much of that is durable.
#[derive(Debug)]
pub(super) struct State {
    pub(super) standing: Standing,
    /// Counts changes, and those that are durable.
    pub(super) version: u64,
    pub(super) durable_version: u64,
    /// Records whose next delivery is counted already, and the version that has it.
    pub(super) ahead: BTreeMap<Seq, u64>,
    /// Whether somebody writes.
    pub(super) writing: bool,
    /// Whether the cursor was deleted: then nothing is written any more.
    gone: bool,
}

/// The right to use a position. It is free for the next one once this is dropped.
#[derive(Debug)]
pub(super) struct Hand(Arc<Position>);

impl Hand {
    /// What may outlast the user: what is on its way to the disk.
    #[cfg(feature = "async")]
    pub(super) fn position(&self) -> &Arc<Position> {
        &self.0
    }
}

impl Deref for Hand {
    type Target = Position;

    fn deref(&self) -> &Position {
        &self.0
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.in_hand.store(false, Ordering::SeqCst);
    }
}

/// The positions that are in use, or of which something is on its way to the disk. It is asked before
/// the files are read: what is not among them has reached its file by then.
pub(super) fn living(users: &Users) -> Vec<Arc<Position>> {
    let living = users.values().filter_map(|user| user.upgrade());
    living.filter_map(|user| user.downcast().ok()).collect()
}

impl Position {
    /// Takes a cursor into use that nobody uses; `users` are those that are known.
    pub(super) fn begin(log: Log, file: CursorFile, users: &mut Users) -> Hand {
        let position = Arc::new(Self {
            log,
            id: file.id,
            name: file.name.clone(),
            in_hand: AtomicBool::new(true),
            state: Mutex::new(State {
                standing: Standing::new(file),
                version: 0,
                durable_version: 0,
                ahead: BTreeMap::new(),
                writing: false,
                gone: false,
            }),
            idle: Condvar::new(),
        });
        let user: Arc<dyn Any + Send + Sync> = position.clone();
        users.insert(position.id, Arc::downgrade(&user));
        Hand(position)
    }

    /// Takes over what the last user left; durable when it returns, with what is asked for now.
    pub(super) fn take_over(self: &Arc<Self>, holds: Option<bool>) -> Result<Hand> {
        if self.in_hand.swap(true, Ordering::SeqCst) {
            return Err(self.busy());
        }
        let hand = Hand(self.clone());
        hand.change(|standing| standing.set_holds(holds))?;
        Ok(hand)
    }

    /// That the cursor has a user already.
    pub(super) fn check_free(&self) -> Result<()> {
        if self.in_hand.load(Ordering::SeqCst) {
            return Err(self.busy());
        }
        Ok(())
    }

    fn busy(&self) -> Error {
        let note = "the cursor has a consumer already";
        Error::note(ErrorKind::Locked, Op::Consume, note).at(cursor_place(self.id))
    }

    /// Lets nothing be written any more: the cursor is about to be deleted.
    pub(super) fn retire(&self) {
        self.wait_until_idle(self.state.lock()).gone = true;
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn seq(&self) -> Seq {
        self.state.lock().standing.seq()
    }

    /// Numbers between it and the durable end.
    pub(super) fn lag(&self) -> u64 {
        self.log.durable_seq().saturating_sub(self.seq())
    }

    /// The pending records that are not done.
    pub(super) fn open_seqs(&self) -> BTreeSet<Seq> {
        self.state.lock().standing.open_seqs()
    }

    /// How often a pending record was handed out, and its round; `None` if it is not open any more.
    pub(super) fn open(&self, seq: Seq) -> Option<(u32, u32)> {
        self.state.lock().open(seq)
    }

    /// Makes a record pending, if it is not done and there is room.
    pub(super) fn track(&self, seq: Seq) -> Tracked {
        self.state.lock().standing.track(seq)
    }

    /// Everything below `seq` was taken from the log or is not there, `gone` among it.
    pub(super) fn taken(&self, seq: Seq, gone: &BTreeSet<Seq>) {
        let mut state = self.state.lock();
        let moved = state.standing.taken(seq, gone);
        state.version += u64::from(moved);
    }

    /// Goes to a seq, back or forth, and forgets what was handed out. Not stored yet.
    pub(super) fn set(&self, seq: Seq) -> Result<()> {
        self.check_seq(seq)?;
        let mut state = self.state.lock();
        state.ahead.clear();
        state.standing.set(seq);
        state.version += 1;
        Ok(())
    }

    /// Everything up to and including `seq` is done. Not stored yet.
    pub(super) fn pass(&self, seq: Seq) -> Result<()> {
        self.check_durable(seq)?;
        let mut state = self.state.lock();
        if state.standing.seq() <= seq {
            state.standing.move_to(seq + 1);
            state.version += 1;
        }
        Ok(())
    }

    /// A pending record is done. Not stored yet.
    pub(super) fn done(&self, seq: Seq) {
        let mut state = self.state.lock();
        state.ahead.remove(&seq);
        let changed = state.standing.done(seq);
        state.version += u64::from(changed);
    }

    /// Makes everything durable that was changed by now. After an error it is in force here, and stored
    /// with the next.
    pub(super) fn stored(&self) -> Result<()> {
        self.stored_as_of(self.state.lock())
    }

    pub(super) fn stored_as_of(&self, state: MutexGuard<'_, State>) -> Result<()> {
        let version = state.version;
        self.store(state, version)
    }

    /// Has the log's worker store what was changed, if it was, for who does not wait.
    #[cfg(feature = "async")]
    pub(super) fn store_later(
        self: &Arc<Self>,
        changed: Result<()>,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let position = self.clone();
        let store = move || changed.and_then(|()| position.stored());
        self.log.core().later(store)
    }

    /// Whether there is something that is not durable.
    pub(super) fn is_behind(&self) -> bool {
        let state = self.state.lock();
        state.version > state.durable_version
    }

    fn change(&self, edit: impl FnOnce(&mut Standing)) -> Result<()> {
        let mut state = self.state.lock();
        edit(&mut state.standing);
        state.version += 1;
        self.stored_as_of(state)
    }

    /// Only what is durable may be passed.
    pub(super) fn check_durable(&self, seq: Seq) -> Result<()> {
        if seq < self.log.durable_seq() {
            return Ok(());
        }
        let note = "what is not durable yet cannot be acknowledged";
        Err(Error::note(ErrorKind::InvalidInput, Op::Consume, note)
            .at(Place::default().with_seq(seq)))
    }

    /// A cursor goes as far as what is durable.
    pub(super) fn check_seq(&self, seq: Seq) -> Result<()> {
        check_seq(&self.log, seq)
    }

    pub(super) fn wait_until_idle<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        while state.writing {
            self.idle.wait(&mut state);
        }
        state
    }

    /// Begins to write, for which nobody else may.
    pub(super) fn begin_writing<'a>(
        &self,
        state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>> {
        let mut state = self.wait_until_idle(state);
        if state.gone {
            let note = "the cursor was deleted";
            return Err(Error::note(ErrorKind::NotFound, Op::Consume, note).at(self.place()));
        }
        state.writing = true;
        Ok(state)
    }

    pub(super) fn end_writing(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.writing = false;
        self.idle.notify_all();
        state
    }

    fn place(&self) -> Place {
        cursor_place(self.id)
    }

    /// Waits until what a version has is durable; writes it if nobody else does.
    pub(super) fn store<'a>(&'a self, mut state: MutexGuard<'a, State>, wanted: u64) -> Result<()> {
        loop {
            state = self.wait_until_idle(state);
            if state.durable_version >= wanted {
                return Ok(());
            }
            state = self.begin_writing(state)?;
            let version = state.version;
            let saved = self.save(state, None);
            state = self.end_writing();
            saved?;
            state.durable_version = version;
        }
    }

    /// Stores where it stands as of now, while nobody else writes. `by_move` is the record that is done
    /// if a move with records follows.
    pub(super) fn save(
        &self,
        mut state: MutexGuard<'_, State>,
        by_move: Option<Seq>,
    ) -> Result<()> {
        let core = self.log.core();
        let entry = state.standing.next_move(by_move);
        drop(state);
        let fits = core.takes_move(&entry);
        let moved = fits.then(|| core.move_cursor(entry));
        let stored = match moved {
            // The file goes over its alternate, which is there.
            Some(Err(error)) if error.kind() == ErrorKind::NoSpace => self.save_file(by_move),
            Some(moved) => moved,
            None => self.save_file(by_move),
        };
        self.state.lock().standing.stored(stored.is_ok());
        stored
    }

    fn save_file(&self, by_move: Option<Seq>) -> Result<()> {
        // Nothing that moves the cursor is in flight: all moves there are lie below.
        let as_of_seq = self.log.durable_seq();
        let mut file = self.state.lock().standing.next_file(as_of_seq, by_move);
        file.updated_ms = self.log.core().dir().vfs().unix_time_ms();
        self.log.core().store_cursor(&file)
    }
}

/// A cursor goes as far as what is durable.
pub(super) fn check_seq(log: &Log, seq: Seq) -> Result<()> {
    if seq <= log.durable_seq() {
        return Ok(());
    }
    let note = "a cursor does not go beyond the durable end";
    Err(Error::note(ErrorKind::InvalidInput, Op::Consume, note).at(Place::default().with_seq(seq)))
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Position")
            .field("name", &self.name)
            .field("seq", &self.seq())
            .finish_non_exhaustive()
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        let mut users = self.log.cursor_files().in_use();
        // The cursor may have been deleted, and another have its number by now.
        if (users.get(&self.id)).is_some_and(|user| user.strong_count() == 0) {
            users.remove(&self.id);
        }
    }
}
