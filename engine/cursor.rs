//! The cursors of a log: their files, who has one open, and where each stands.
//!
//! A file is replaced whole, by `vfs/replace.rs`. A cursor that does not
//! verify is an error for whoever asks for it; the log and the other cursors are as they were.
//!
//! INVARIANTS: files are replaced one at a time. Whoever uses a cursor is
//! known here for as long as anything of it may still be on its way to the file.
//!
//! Called by `Log`, consume and backup; calls format, append for the ledger.

use crate::{
    append::{Core, Inside},
    error::{Defect, Error, Op, Place, Result},
    format::{Owner, cursor::CursorFile, names},
    sync::{Mutex, MutexGuard, Weak},
    types::Seq,
    vfs::{Dir, DirEntry, Replaced},
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
};

/// The cursors that are in use, by their ids, each with what uses it, which is of a room above.
pub(crate) type Users = BTreeMap<u64, Weak<dyn Any + Send + Sync>>;

/// The cursors of an open log.
#[derive(Debug)]
pub(crate) struct Cursors {
    dir: Dir,
    owner: Owner,
    /// Who has a user. Held while one is looked for, so that nobody else finds it.
    in_use: Mutex<Users>,
    disk: Mutex<Disk>,
}

/// What the lock over all replacing guards.
#[derive(Debug, Default)]
struct Disk {
    /// Whether the directory is there, durably.
    ready: bool,
    /// Of each cursor that was stored.
    files: BTreeMap<u64, Replaced>,
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
        let damaged = |defect| Error::defect(Op::Consume, place(id), defect);
        self.file.map_err(damaged)
    }
}

/// Where a cursor is kept.
pub(crate) fn place(id: u64) -> Place {
    let path: PathBuf = [names::CURSORS, &names::cursor(id)].iter().collect();
    Place::file(path)
}

fn at(place: Place) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(Op::Consume, error).at(place)
}

/// All cursors in a log's directory. `moved` tells where an append has moved one last, and where that
/// append ends.
pub(crate) fn standings(
    dir: &Dir,
    owner: Owner,
    moved: impl Fn(u64) -> Option<(Seq, Seq)>,
) -> Result<Vec<Standing>> {
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
            read => read.map_err(at(place(id)))?,
        };
        let file = decode(&bytes, owner, id).map(|mut file| {
            // A move that is in the file already tells nothing new.
            let newer = moved(id).filter(|(_, end_seq)| *end_seq > file.as_of_seq);
            for pending in &mut file.pending {
                pending.acked |= pending.done_by_move && newer.is_some();
                pending.done_by_move = false;
            }
            if let Some((seq, _)) = newer {
                file.seq = seq;
                file.pending.retain(|pending| pending.seq >= seq);
            }
            file
        });
        found.push(Standing { id, file });
    }
    found.sort_by_key(|standing| standing.id);
    Ok(found)
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
                removed.map_err(at(place(id)))?;
            }
        }
        Ok(Self {
            dir,
            owner,
            in_use: Mutex::default(),
            disk: Mutex::default(),
        })
    }

    /// All cursors as they stand.
    pub(crate) fn standings(&self, core: &Core) -> Result<Vec<Standing>> {
        let durable_seq = core.durable_seq();
        standings(core.dir(), self.owner, |id| {
            core.with_ledger(|ledger| ledger.moved(id, durable_seq))
        })
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

    /// Looks at the files while none of them is replaced.
    pub(crate) fn at_rest<T>(&self, look: impl FnOnce() -> T) -> T {
        let _at_rest = self.disk.lock();
        look()
    }

    /// Replaces a cursor's file; durable when it returns.
    pub(crate) fn save(&self, core: &Core, file: &CursorFile) -> Result<()> {
        let id = file.id;
        let (_inside, mut disk) = self.lock_disk(core)?;
        self.prepare(core, &mut disk)?;
        let replaced = disk.files.entry(id).or_insert_with(|| {
            let (name, new_name) = (names::cursor(id), names::cursor_new(id));
            Replaced::new(&name, &new_name, &names::cursor_alt(id))
        });
        // DURABILITY: after this line the cursor stands where the file says. Whatever goes wrong before
        // that, the next attempt writes another file.
        let stored = replaced.replace(&self.dir, core.manifest().ballast(), &file.encode());
        core.stop_after(stored.map_err(|error| at(place(id))(error.into_io())))
    }

    /// Removes a cursor's file, durably.
    pub(crate) fn remove(&self, core: &Core, id: u64) -> Result<()> {
        let (_inside, mut disk) = self.lock_disk(core)?;
        disk.files.remove(&id);
        for name in [names::cursor(id), names::cursor_alt(id)] {
            let removed = self.dir.remove_if_there(&name);
            removed.map_err(at(place(id)))?;
        }
        // DURABILITY: after this line the cursor is gone for good.
        let synced = self.dir.sync();
        core.stop_after(synced.map_err(at(place(id))))?;
        core.with_ledger(|ledger| ledger.forget_cursor(id));
        Ok(())
    }

    /// The right to change files, as long as the log takes appends.
    fn lock_disk<'a>(&'a self, core: &'a Core) -> Result<(Inside<'a>, MutexGuard<'a, Disk>)> {
        let inside = core.enter(Op::Consume)?;
        Ok((inside, self.disk.lock()))
    }

    /// Sees to it that the directory is there, and stays.
    fn prepare(&self, core: &Core, disk: &mut Disk) -> Result<()> {
        if !disk.ready {
            let created = self.dir.create();
            created.map_err(at(Place::file(names::CURSORS)))?;
            // DURABILITY: after this line the directory of the cursors survives.
            core.sync_dir(Op::Consume)?;
            disk.ready = true;
        }
        Ok(())
    }
}
