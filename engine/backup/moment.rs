//! What a backup is a copy of: the log as it is at one moment, and the files beside its segments.
//!
//! INVARIANT: cursors, watermark, segments and ledger are of one moment, so that none tells of what the
//! others do not have.

use super::{at_path, copy_file};
use crate::{
    append::{Core, Ledger},
    catalog::Catalog,
    error::{Error, Op, Place, Result},
    format::{Manifest, Owner, ProducersFile, cursor::CursorFile, names},
    sync::Arc,
    types::{SegmentId, Seq},
    vfs::Dir,
};
use std::io;

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
        let side_files = core.cursors().at_rest(|| side_files(core))?;
        // The watermark, and after it the catalog: whatever lies below the one is in the other. The stored
        // ledger is of the same moment, as long as no segment is sealed or rewound.
        let durable_seq = core.durable_seq();
        let catalog = core.catalog().load();
        let manifest = core.manifest().snapshot();
        let ledger = stored_ledger(core, manifest.tail.id)?;
        drop(no_other_change);
        Ok(Self {
            side_files,
            durable_seq,
            catalog,
            manifest,
            ledger,
        })
    }
}

/// A file in the directory of the cursors.
pub(super) struct SideFile {
    name: String,
    /// A cursor of this log; else it is copied as it is.
    cursor: Option<Vec<u8>>,
}

/// The files in the directory of the cursors; `None` if there is no such directory.
fn side_files(core: &Core) -> Result<Option<Vec<SideFile>>> {
    let dir = core.dir().child(names::CURSORS);
    let listed = match dir.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed.map_err(at_path(&dir, ""))?,
    };
    let files = listed.into_iter().filter(|entry| entry.is_file);
    let read = files.map(|entry| {
        let cursor = match names::parse_cursor(&entry.name) {
            Some(id) => own_cursor(core, &dir, &entry.name, id)?,
            None => None,
        };
        let name = entry.name;
        Ok(SideFile { name, cursor })
    });
    read.collect::<Result<_>>().map(Some)
}

/// The bytes of a cursor, where it stands by now, if it is one of this log.
fn own_cursor(core: &Core, dir: &Dir, name: &str, id: u64) -> Result<Option<Vec<u8>>> {
    let bytes = dir.read(name, CursorFile::stated_bytes);
    let bytes = bytes.map_err(at_path(dir, name))?;
    let found = CursorFile::decode(&bytes).ok();
    let Some(file) = found.filter(|file| core.owner().check(file.owner()).is_ok()) else {
        return Ok(None);
    };
    let known = core.cursors().known(id);
    let newer = known.filter(|known| known.generation > file.generation);
    Ok(Some(newer.map_or(bytes, |known| known.encode())))
}

/// Copies the cursors of the log as ones of the copy, and what is beside them as it is.
pub(super) fn copy_side_files(
    core: &Core,
    to: &Dir,
    files: Vec<SideFile>,
    owner: Owner,
) -> Result<()> {
    let (from, to) = (core.dir().child(names::CURSORS), to.child(names::CURSORS));
    to.create().map_err(at_path(&to, ""))?;
    for SideFile { name, cursor } in files {
        match cursor {
            Some(mut bytes) => {
                CursorFile::rebind(&mut bytes, owner.incarnation);
                to.write_new(&name, &bytes).map_err(at_path(&to, &name))?;
            }
            None => drop(copy_file(&from, &to, &name)?),
        }
    }
    // DURABILITY: after this line the names in it survive; its own does with the manifest's.
    to.sync().map_err(at_path(&to, ""))
}

/// The ledger as it is stored: the records that say more are in the unsealed segments.
fn stored_ledger(core: &Core, tail_id: SegmentId) -> Result<Ledger> {
    let bytes = match core
        .dir()
        .read(names::PRODUCERS, ProducersFile::stated_bytes)
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        read => read.map_err(at_path(core.dir(), names::PRODUCERS))?,
    };
    let file = ProducersFile::decode(&bytes)
        .and_then(|file| core.owner().check(file.owner()).map(|()| file));
    let place = Place::file(names::PRODUCERS);
    let file = file.map_err(|defect| Error::defect(Op::Backup, place, defect))?;
    Ok(Ledger::of(&file, tail_id))
}
