//! The cursors of a log: who has one open, and where each stands.
//!
//! A cursor that does not verify is an error for whoever asks for it; the log and the other cursors are as
//! they were.
//!
//! INVARIANT: whoever uses a cursor is known here for as long as anything of it may still be on its way to
//! the disk.
//!
//! Called by `Log` and consume; calls format, append for what is stored.

use crate::{
    append::{Core, cursor_place},
    error::{Defect, Error, Op, Place, Result},
    format::{Owner, cursor::CursorFile, names},
    sync::{Mutex, MutexGuard, Weak},
    types::Seq,
    vfs::{Dir, DirEntry},
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
};

/// The cursors that are in use, by their ids, each with what uses it, which is of a room above.
pub(crate) type Users = BTreeMap<u64, Weak<dyn Any + Send + Sync>>;

/// The cursors of an open log.
#[derive(Debug)]
pub(crate) struct Cursors {
    owner: Owner,
    /// Who has a user. Held while one is looked for, so that nobody else finds it.
    in_use: Mutex<Users>,
}

/// One cursor as it stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) id: u64,
    /// With the position where it stands; or why it cannot be told.
    pub(crate) file: std::result::Result<CursorFile, Defect>,
}

/// What all cursors together hold back.
///
/// A file that does not verify holds nothing: its consumer is stopped, and is told, until somebody gives
/// the cursor up. (An error of reading is another thing: it may be read the next time, and until then
/// nothing is known of what is held.) If it held whatever it might have, one bad file would fill the disk for all.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The lowest position of a cursor that holds back retention, if one does.
    pub(crate) seq: Option<Seq>,
    /// Of each cursor that does not verify, what is wrong.
    pub(crate) damaged: Vec<Error>,
}

impl Standing {
    /// Its file, or the error of one that does not verify.
    pub(crate) fn into_file(self) -> Result<CursorFile> {
        let id = self.id;
        let damaged = |defect| Error::defect(Op::Consume, cursor_place(id), defect);
        self.file.map_err(damaged)
    }
}

fn at(place: Place) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(Op::Consume, error).at(place)
}

/// The files of all cursors in a log's directory.
pub(crate) fn files(dir: &Dir, owner: Owner) -> Result<Vec<Standing>> {
    let dir = dir.child(names::CURSORS);
    let mut found = Vec::new();
    for entry in list(&dir)? {
        let Some(id) = names::parse_cursor(&entry.name) else {
            continue;
        };
        if !entry.is_file {
            let file = Err(Defect::NotAFile);
            found.push(Standing { id, file });
            continue;
        }
        let bytes = match dir.read(&entry.name, CursorFile::stated_bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // Deleted meanwhile.
            read => read.map_err(at(cursor_place(id)))?,
        };
        let file = decode(&bytes, owner, id);
        found.push(Standing { id, file });
    }
    found.sort_by_key(|standing| standing.id);
    Ok(found)
}

impl Standing {
    /// Where it stands by its moves, too. `known` is what its file and annexes say together, `moved` where
    /// an append has moved it last, and where that append ends.
    pub(crate) fn moved(mut self, known: Option<CursorFile>, moved: Option<(Seq, Seq)>) -> Self {
        let Ok(file) = &mut self.file else {
            return self;
        };
        if let Some(known) = known.filter(|known| known.generation > file.generation) {
            *file = known;
        }
        // A move that is in the file already tells nothing new.
        let newer = moved.filter(|(_, end_seq)| *end_seq > file.as_of_seq);
        for pending in &mut file.pending {
            pending.acked |= pending.done_by_move && newer.is_some();
            pending.done_by_move = false;
        }
        if let Some((seq, _)) = newer {
            file.seq = seq;
            file.pending.retain(|pending| pending.seq >= seq);
        }
        self
    }
}

fn decode(bytes: &[u8], owner: Owner, id: u64) -> std::result::Result<CursorFile, Defect> {
    let file = CursorFile::decode(bytes)?;
    owner.check(file.owner())?;
    if file.id != id {
        return Err(Defect::WrongIdentity {
            field: "cursor id",
            expected: id,
            found: file.id,
        });
    }
    Ok(file)
}

/// What is in the directory; nothing if there is no such directory.
fn list(dir: &Dir) -> Result<Vec<DirEntry>> {
    match dir.list() {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(Vec::new())
        }
        listed => listed.map_err(at(Place::file(names::CURSORS))),
    }
}

impl Cursors {
    /// Over the directory of a log that is ours, without what an interrupted write left there.
    pub(crate) fn open(dir: &Dir, owner: Owner) -> Result<Self> {
        let dir = dir.child(names::CURSORS);
        let listed = list(&dir)?;
        let cursors = listed.iter().filter_map(|it| names::parse_cursor(&it.name));
        let cursors: BTreeSet<u64> = cursors.collect();
        for entry in listed.iter().filter(|entry| entry.is_file) {
            // Of a cursor that was removed, a crash may have left the other file.
            let left = names::parse_cursor_new(&entry.name).or_else(|| {
                names::parse_cursor_alt(&entry.name).filter(|id| !cursors.contains(id))
            });
            if let Some(id) = left {
                let removed = dir.remove_if_there(&entry.name);
                removed.map_err(at(cursor_place(id)))?;
            }
        }
        Ok(Self {
            owner,
            in_use: Mutex::default(),
        })
    }

    /// All cursors as they stand.
    pub(crate) fn standings(&self, core: &Core) -> Result<Vec<Standing>> {
        let durable_seq = core.durable_seq();
        let stand = |standing: Standing| {
            let id = standing.id;
            let moved = core.with_ledger(|ledger| ledger.moved(id, durable_seq));
            standing.moved(core.cursors().known(id), moved)
        };
        let files = files(core.dir(), self.owner)?;
        Ok(files.into_iter().map(stand).collect())
    }

    /// What the cursors hold back.
    pub(crate) fn held(&self, core: &Core) -> Result<Held> {
        let mut held = Held::default();
        for standing in self.standings(core)? {
            match standing.into_file() {
                Ok(file) if file.holds => {
                    let lowest = held.seq.map_or(file.seq, |seq| seq.min(file.seq));
                    held.seq = Some(lowest);
                }
                Ok(_) => {}
                Err(error) => held.damaged.push(error),
            }
        }
        Ok(held)
    }

    /// Who has a user; nobody gets one or loses one meanwhile.
    pub(crate) fn in_use(&self) -> MutexGuard<'_, Users> {
        self.in_use.lock()
    }
}
