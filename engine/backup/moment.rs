//! What a backup is a copy of: the log as it is at one moment, and the files beside its segments.
//!
//! INVARIANT: cursors, watermark, segments and ledger are of one moment, so that none tells of what the
//! others do not have.

use super::{Origin, at_path, copy_file};
use crate::{
    append::{Core, Ledger, Moves},
    catalog::Catalog,
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, Owner, ProducersFile, cursor::CursorFile, header::HEADER_BYTES, names},
    read::Follower,
    segment::{Fault, Limits, Summary, Window, walk},
    sync::Arc,
    types::{SegmentId, Seq},
    vfs::Dir,
};
use std::io;

/// How often the files are looked at for a moment at which none of them changes.
pub(super) const LOOKS_MAX: usize = 1000;

/// What the log has at one moment.
pub(super) struct Moment {
    pub(super) side_files: Option<Vec<SideFile>>,
    pub(super) durable_seq: Seq,
    pub(super) catalog: Arc<Catalog>,
    pub(super) manifest: Manifest,
    pub(super) ledger: Ledger,
}

impl Moment {
    /// Now, while no cursor's file is replaced: what a cursor promises to a move that follows is promised
    /// in the copy too. It is read before the records: what it says of the log is true of any later state
    /// of that.
    pub(super) fn of(core: &Core) -> Result<Self> {
        // First this lock: whoever seals replaces cursors' files.
        let no_other_change = core.hold_segments();
        let side_files = core.cursors().at_rest(|| {
            let mut files = side_files(core.dir(), core.owner())?;
            stand(&mut files, |id| core.cursors().known(id));
            Ok(files)
        })?;
        // The watermark, and after it the catalog: whatever lies below the one is in the other. The stored
        // ledger is of the same moment, as long as no segment is sealed or rewound.
        let durable_seq = core.durable_seq();
        let catalog = core.catalog().load();
        let manifest = core.manifest().snapshot();
        let ledger = stored_ledger(core.dir(), core.owner(), manifest.tail.id)?;
        drop(no_other_change);
        Ok(Self {
            side_files,
            durable_seq,
            catalog,
            manifest,
            ledger,
        })
    }

    /// The same where another process may write. Nobody can be kept from changing anything: so it is a
    /// moment between two looks that saw the same.
    pub(super) fn beside(origin: &Origin<'_>, follower: &Follower) -> Result<Self> {
        let (dir, owner) = (origin.dir, origin.owner);
        for _ in 0..LOOKS_MAX {
            let mut before = side_files(dir, owner)?;
            let (durable_seq, catalog, manifest) = follower.moment()?;
            let ledger = stored_ledger(dir, owner, manifest.tail.id);
            if follower.is_in_force(&manifest)? && side_files(dir, owner)? == before {
                let moves = moves(&catalog, durable_seq, &before)?;
                stand(&mut before, |id| moves.known(id));
                return Ok(Self {
                    side_files: before,
                    durable_seq,
                    catalog,
                    manifest,
                    ledger: ledger?,
                });
            }
        }
        let note = "its cursors or segments never stood still for long enough; try again";
        Err(Error::note(ErrorKind::Locked, Op::Backup, note).at(Place::file(dir.path())))
    }
}

/// A file in the directory of the cursors.
#[derive(PartialEq, Eq)]
pub(super) struct SideFile {
    pub(super) name: String,
    /// A cursor of this log; else it is copied as it is.
    pub(super) cursor: Option<Vec<u8>>,
}

impl SideFile {
    /// The cursor that it is, if it is one of this log.
    fn decode(&self) -> Option<CursorFile> {
        CursorFile::decode(self.cursor.as_deref()?).ok()
    }
}

/// The files in the directory of the cursors; `None` if there is no such directory.
pub(super) fn side_files(dir: &Dir, owner: Owner) -> Result<Option<Vec<SideFile>>> {
    let dir = dir.child(names::CURSORS);
    let listed = match dir.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed.map_err(at_path(&dir, ""))?,
    };
    // What is on its way to be a cursor's file is none.
    let is_wanted = |name: &str| {
        names::parse_cursor_new(name).is_none() && names::parse_cursor_next(name).is_none()
    };
    let files = listed
        .into_iter()
        .filter(|it| it.is_file && is_wanted(&it.name));
    let read = files.map(|entry| {
        let cursor = match names::parse_cursor(&entry.name) {
            Some(_) => own_cursor(owner, &dir, &entry.name)?,
            None => None,
        };
        let name = entry.name;
        Ok(SideFile { name, cursor })
    });
    read.collect::<Result<_>>().map(Some)
}

/// Brings cursors to where they stand by now, if `known` says more than their files.
fn stand(files: &mut Option<Vec<SideFile>>, known: impl Fn(u64) -> Option<CursorFile>) {
    for file in files.iter_mut().flatten() {
        let Some(stored) = file.decode() else {
            continue;
        };
        let newer = known(stored.id).filter(|known| known.generation > stored.generation);
        if let Some(newer) = newer {
            file.cursor = Some(newer.encode());
        }
    }
}

/// What the unsealed segments say of the cursors, as far as they are in the copy. Moves behind the last record
/// are left out: then a consumer of the copy is given a little more than once.
fn moves(catalog: &Catalog, durable_seq: Seq, files: &Option<Vec<SideFile>>) -> Result<Moves> {
    let stored = files.iter().flatten().filter_map(SideFile::decode);
    let mut moves = Moves::of(stored);
    for tail in &catalog.tails {
        let fault = |fault: Fault| fault.into_error(Op::Backup, tail.id);
        let source = tail.view().source;
        let mut window = Window::new(&source);
        let head = window.get(0, HEADER_BYTES as u64, HEADER_BYTES as u64);
        let head = head.map_err(|error| fault(Fault::Io { offset: 0, error }))?;
        let summary = Summary::new(tail.context.base_seq, head);
        let limits = Limits {
            file_end: tail.written_end(),
            until_seq: durable_seq,
            recycled: false, // What follows is not asked for.
            packed_appends: tail.packed_appends,
        };
        walk(&mut window, &tail.context, summary, limits, |verified| {
            if verified.has_moves {
                moves.add_annex(&verified.batch, verified.body);
            }
        })
        .map_err(fault)?;
    }
    Ok(moves)
}

/// The bytes of a cursor if it is there by now, and one of this log.
fn own_cursor(owner: Owner, dir: &Dir, name: &str) -> Result<Option<Vec<u8>>> {
    let bytes = match dir.read(name, CursorFile::stated_bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(at_path(dir, name))?,
    };
    let found = CursorFile::decode(&bytes);
    let is_own = found.is_ok_and(|cursor| owner.check(cursor.owner()).is_ok());
    Ok(is_own.then_some(bytes))
}

/// What the files beside the segments are called: where a manifest is in force they wait for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    InForce,
    ToCome,
}

impl Names {
    pub(super) fn of(is_there: bool) -> Self {
        match is_there {
            true => Self::ToCome,
            false => Self::InForce,
        }
    }

    pub(super) fn producers(self) -> &'static str {
        match self {
            Self::InForce => names::PRODUCERS,
            Self::ToCome => names::PRODUCERS_NEXT,
        }
    }

    fn cursor(self, name: &str) -> String {
        let id = names::parse_cursor(name).filter(|_| self == Self::ToCome);
        id.map_or_else(|| name.to_owned(), names::cursor_next)
    }
}

/// Copies the cursors of the log as ones of the copy, and what is beside them as it is, unless it is there.
pub(super) fn copy_side_files(
    from: &Dir,
    to: &Dir,
    files: Vec<SideFile>,
    (owner, names): (Owner, Names),
) -> Result<()> {
    let (from, to) = (from.child(names::CURSORS), to.child(names::CURSORS));
    to.create().map_err(at_path(&to, ""))?;
    for SideFile { name, cursor } in files {
        match cursor {
            Some(mut bytes) => {
                let name = names.cursor(&name);
                CursorFile::rebind(&mut bytes, owner.incarnation);
                to.write_new(&name, &bytes).map_err(at_path(&to, &name))?;
            }
            None if to.len(&name).map_err(at_path(&to, &name))?.is_some() => {}
            None => drop(copy_file(&from, &to, &name)?),
        }
    }
    // DURABILITY: after this line the names in it survive; its own does with the manifest's.
    to.sync().map_err(at_path(&to, ""))
}

/// The ledger as it is stored: the records that say more are in the unsealed segments.
fn stored_ledger(dir: &Dir, owner: Owner, tail_id: SegmentId) -> Result<Ledger> {
    let bytes = match dir.read(names::PRODUCERS, ProducersFile::stated_bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        read => read.map_err(at_path(dir, names::PRODUCERS))?,
    };
    let file =
        ProducersFile::decode(&bytes).and_then(|file| owner.check(file.owner()).map(|()| file));
    let place = Place::file(names::PRODUCERS);
    let file = file.map_err(|defect| Error::defect(Op::Backup, place, defect))?;
    Ok(Ledger::of(&file, tail_id))
}
