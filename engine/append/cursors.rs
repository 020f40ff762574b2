//! The cursors as they are stored: a file for each, and the moves in annexes since.
//!
//! A move costs what an append costs: it goes into the next group, with whatever else is on its way. The
//! file stays as it was, until the segments that hold the moves are about to be none of the chain any more.
//!
//! INVARIANTS: files are replaced one at a time; before a commit after which no unsealed segment has a
//! move of a cursor, its file says as much. One move of a cursor is on its way at a time. The lock over
//! the moves is held for no write: the leader takes it.
//!
//! Called by cursor and consume; by the leader, by maintenance, rewind, recovery and repair.

use super::{Core, completion::Completion, group::Group, held::Held, moves::Moves, queue::For};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{MOVES_FEATURE, cursor::CursorFile, moves::Move, names},
    options::Durability,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    vfs::{Ballast, Dir, Replaced},
};
use std::{collections::BTreeMap, io, path::PathBuf};

/// The cursors of one log.
#[derive(Debug)]
pub(crate) struct CursorStore {
    log_dir: Dir,
    /// That of the files, once one is stored: many logs have no consumer.
    dir: OnceLock<Dir>,
    disk: Mutex<Disk>,
    moves: Mutex<Moves>,
    /// Whether the manifest says that there may be moves.
    announced: AtomicBool,
}

/// What the lock over all replacing guards.
#[derive(Debug, Default)]
struct Disk {
    /// Whether the directory is there, durably.
    ready: bool,
    /// Of each cursor that was stored.
    files: BTreeMap<u64, Replaced>,
}

/// Where a cursor is kept.
pub(crate) fn cursor_place(id: u64) -> Place {
    let path: PathBuf = [names::CURSORS, &names::cursor(id)].iter().collect();
    Place::file(path)
}

fn at(op: Op, place: Place) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(op, error).at(place)
}

impl CursorStore {
    /// Those of a log in this directory, with what is known of their moves.
    pub(crate) fn new(log_dir: &Dir, moves: Moves) -> Self {
        Self {
            dir: OnceLock::new(),
            log_dir: log_dir.clone(),
            disk: Mutex::default(),
            moves: Mutex::new(moves),
            announced: AtomicBool::new(false),
        }
    }

    fn dir(&self) -> &Dir {
        self.dir.get_or_init(|| self.log_dir.child(names::CURSORS))
    }

    /// Where a cursor stands by its file and its moves, if any of that is known.
    pub(crate) fn known(&self, id: u64) -> Option<CursorFile> {
        self.moves.lock().known(id)
    }

    /// A generation that no move of a former cursor exceeds.
    pub(crate) fn top_generation(&self) -> u64 {
        self.moves.lock().top_generation()
    }

    /// Looks at the files while none of them is replaced.
    pub(crate) fn at_rest<T>(&self, look: impl FnOnce() -> T) -> T {
        let _at_rest = self.disk.lock();
        look()
    }

    /// Replaces the files of all cursors that have moved since; durable when it returns.
    pub(crate) fn store_moved(&self, ballast: &Ballast, op: Op) -> Result<()> {
        let mut disk = self.disk.lock();
        let behind = self.moves.lock().behind();
        for id in behind {
            let Some(file) = self.known(id) else { continue };
            self.replace(&mut disk, ballast, &file, op)?;
            self.moves.lock().stored_as(id, file.generation);
        }
        Ok(())
    }

    fn store(&self, ballast: &Ballast, file: &CursorFile) -> Result<()> {
        let mut disk = self.disk.lock();
        self.replace(&mut disk, ballast, file, Op::Consume)?;
        self.moves.lock().stored(file.clone());
        Ok(())
    }

    fn replace(&self, disk: &mut Disk, ballast: &Ballast, file: &CursorFile, op: Op) -> Result<()> {
        if !disk.ready {
            let created = self.dir().create();
            created.map_err(at(op, Place::file(names::CURSORS)))?;
            // DURABILITY: after this line the directory of the cursors survives.
            let synced = self.log_dir.sync();
            synced.map_err(at(op, Place::file(self.log_dir.path())))?;
            disk.ready = true;
        }
        let id = file.id;
        let replaced = disk.files.entry(id).or_insert_with(|| {
            let new_name = names::cursor_new(id);
            Replaced::new(names::cursor(id), new_name, names::cursor_alt(id))
        });
        // DURABILITY: after this line the cursor stands where the file says. Whatever goes wrong before
        // that, the next attempt writes another file.
        let stored = replaced.replace(self.dir(), ballast, &file.encode());
        stored.map_err(|error| at(op, cursor_place(id))(error.into_io()))
    }

    fn remove(&self, id: u64) -> Result<()> {
        let mut disk = self.disk.lock();
        disk.files.remove(&id);
        for name in [names::cursor(id), names::cursor_alt(id)] {
            let removed = self.dir().remove_if_there(&name);
            removed.map_err(at(Op::Consume, cursor_place(id)))?;
        }
        // DURABILITY: after this line the cursor is gone for good.
        let synced = self.dir().sync();
        synced.map_err(at(Op::Consume, cursor_place(id)))?;
        self.moves.lock().remove(id);
        Ok(())
    }

    /// Takes in the moves of a group that is durable.
    pub(super) fn moved_by(&self, group: &Group) {
        if group.has_moves() {
            let mut moves = self.moves.lock();
            group
                .moves()
                .for_each(|(entry, batch)| moves.add(entry, batch));
        }
    }
}

impl Core {
    pub(crate) fn cursors(&self) -> &CursorStore {
        &self.cursors
    }

    /// Replaces a cursor's file; durable when it returns.
    pub(crate) fn store_cursor(&self, file: &CursorFile) -> Result<()> {
        let _inside = self.enter(Op::Consume)?;
        self.stop_after(self.cursors.store(self.manifest.ballast(), file))
    }

    /// Removes a cursor's file, durably.
    pub(crate) fn remove_cursor(&self, id: u64) -> Result<()> {
        let _inside = self.enter(Op::Consume)?;
        self.stop_after(self.cursors.remove(id))?;
        self.with_ledger(|ledger| ledger.forget_cursor(id));
        Ok(())
    }

    /// Before a commit that leaves segments with moves behind: has the files say as much.
    pub(crate) fn store_moved_cursors(&self, op: Op) -> Result<()> {
        self.cursors.store_moved(self.manifest.ballast(), op)
    }

    /// Whether a move is small enough to go into a group.
    pub(crate) fn takes_move(&self, entry: &Move) -> bool {
        let bytes = Group::MOVE_FRAMING_BYTES + entry.entry_bytes();
        bytes as u64 <= self.options.batch_bytes_max()
    }

    /// Moves a cursor, with the next group; durable when it returns.
    pub(crate) fn move_cursor(&self, entry: Move) -> Result<()> {
        self.announce_moves()?;
        let (done, state) = self.enqueue_move(entry)?;
        self.wait_holding(state, &done, Durability::Durable)
    }

    /// Has the manifest say that there may be moves, before there is one: who does not know them is not
    /// to write such a log.
    fn announce_moves(&self) -> Result<()> {
        if self.cursors.announced.load(Ordering::Acquire) {
            return Ok(());
        }
        let _inside = self.enter(Op::Consume)?;
        // DURABILITY: after this commit no program changes the log that would leave moves behind.
        self.commit(Op::Consume, None, |manifest| {
            manifest.write_features |= MOVES_FEATURE;
        })?;
        self.cursors.announced.store(true, Ordering::Release);
        Ok(())
    }

    fn enqueue_move(&self, entry: Move) -> Result<(Arc<Completion>, Held<'_>)> {
        let needed = Group::MOVE_FRAMING_BYTES + entry.entry_bytes();
        let mut state = self.lock();
        loop {
            let why = if state.queue.end_changes() {
                For::End
            } else {
                state.life.check_open(Op::Consume)?;
                let queued = state.queue.bytes();
                let queued_max = self.options.queued_bytes_max(Durability::Durable);
                if queued > 0 && queued + needed > queued_max {
                    For::Room
                } else if state.queue.has_room(needed, self.options.segment_bytes)
                    || self.plan_rotation(&mut state)
                {
                    break;
                } else {
                    For::Segment
                }
            };
            state = self.wait_for(state, why)?;
        }
        let now_ms = self.dir.vfs().unix_time_ms();
        let done = state.queue.push_move(entry, now_ms).ok_or_else(|| {
            let note = "the queue is empty";
            Error::note(ErrorKind::InvalidInput, Op::Consume, note)
        })?;
        Ok((done, state))
    }
}
