//! Whether a segment that a backup has is what the log has in it. A log that was put back from an earlier day goes on in the very
//! files in which it had gone on before: the same id, the same salt, other records.
//!
//! INVARIANT: it can be so of the tail and the spare of that day alone. What was sealed by then is the same in both, and all that
//! was begun later has a salt of its own. So of what two continuations have in common the newest two are asked.
//!
//! Called by `copying`.

use super::{Origin, at_path, former::damaged};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{manifest::SealedEntry, names},
    verify,
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::io;

/// How many segments two continuations may both have begun, and filled otherwise.
pub(super) const COMMON_MAX: usize = 2;
/// So much of both is compared at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

const OTHER: &str = "the log has other records in this segment than what is there, as one that was put back from an \
    earlier day: make a new backup";

/// Compares the frames of a segment in both directories, of which the backup's manifest says what it is there; false if the
/// log's file is gone.
///
/// # Errors
/// `InvalidInput` if they differ; `Damaged` if that is because one of them does not verify.
pub(super) fn compare(
    origin: &Origin<'_>,
    (to, former): (&Dir, &SealedEntry),
    entry: &SealedEntry,
) -> Result<bool> {
    let log = origin.dir;
    let name = names::segment(entry.id);
    let here = match log.open(&name, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(at_path(log, &name))?,
    };
    let there = to.open(&name, Access::Read).map_err(at_path(to, &name))?;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut offset = 0;
    while offset < entry.frames_end {
        let left_bytes = entry.frames_end - offset;
        read_piece(&*here, &mut one, (offset, left_bytes)).map_err(at_path(log, &name))?;
        read_piece(&*there, &mut other, (offset, left_bytes)).map_err(at_path(to, &name))?;
        // What ends too early is damage of one of them.
        if one != other || one.is_empty() {
            return Err(difference(origin, (to, former), entry, offset)?);
        }
        offset += one.len() as u64;
    }
    Ok(true)
}

/// Why the two differ: one of them does not verify, or both do.
fn difference(
    origin: &Origin<'_>,
    (to, former): (&Dir, &SealedEntry),
    entry: &SealedEntry,
    offset: u64,
) -> Result<Error> {
    for (dir, entry) in [(to, former), (origin.dir, entry)] {
        let harm = verify::first_harm(dir, origin.owner.log_id, &[*entry], origin.options)?;
        if let Some(finding) = harm {
            return Ok(damaged(dir, finding.place, finding.defect));
        }
    }
    let place = Place {
        path: Some(to.path().join(names::segment(entry.id))),
        ..Place::in_segment(entry.id, offset)
    };
    Ok(Error::note(ErrorKind::InvalidInput, Op::Backup, OTHER).at(place))
}

/// Reads what is left, or a piece of it, into a buffer that is then as long as what was there.
fn read_piece(
    file: &dyn VfsFile,
    buffer: &mut Vec<u8>,
    (offset, left_bytes): (u64, u64),
) -> io::Result<()> {
    let wanted = usize::try_from(left_bytes).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
    buffer.resize(wanted, 0);
    let read = read_full_at(file, buffer, offset)?;
    buffer.truncate(read);
    Ok(())
}
