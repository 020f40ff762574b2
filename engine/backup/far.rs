//! Segments that live elsewhere, brought along: a backup has all of its log.
//!
//! Called by the copying of a backup.

use super::{Origin, at_path};
use crate::{
    error::{Error, Op, Place, Result},
    format::{manifest::SealedEntry, names},
    options::FarFile,
    segment::{Fault, Home, Sealed},
    vfs::{Dir, read_full_at, write_all_at},
};

/// So much is fetched at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Writes a segment that lives elsewhere into a directory, whole, as it is there.
pub(super) fn fetch(origin: &Origin<'_>, entry: &SealedEntry, to: &Dir) -> Result<()> {
    let (log_id, name) = (origin.owner.log_id, names::segment(entry.id));
    let home = Home::apart(origin.dir.clone(), log_id, origin.options);
    // Whether it is there, and this segment, is seen first; what else is wrong the verification finds.
    let fault = |fault: Fault| fault.into_error(Op::Backup, entry.id);
    Sealed::new(*entry, home).open().map_err(fault)?;
    let Some(far) = &origin.options.far else {
        return Ok(()); // Then it was not there.
    };
    let there = FarFile::of(far.clone(), log_id, entry);
    let copy = to.create_new(&name).map_err(at_path(to, &name))?;
    let (mut buffer, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = read_full_at(&*there, &mut buffer, offset);
        let place = || Place::in_segment(entry.id, offset);
        let read = read.map_err(|error| Error::io(Op::Backup, error).at(place()))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        write_all_at(&*copy, piece, offset).map_err(at_path(to, &name))?;
        offset += read as u64;
    }
    // DURABILITY: after this line its content survives under whatever name it durably has.
    copy.sync().map_err(at_path(to, &name))
}
