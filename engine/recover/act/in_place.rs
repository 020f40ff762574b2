//! Making an unclean end certain where it stands: for a disk that has no room for a new segment.
//!
//! What was read behind the proven point may stand in the page cache only, after a sync that failed. So
//! it is written over with its own value and synced; what is cut goes with the length of the file, and a
//! spare that does not follow with all of its own. From then on the disk holds what was read, and appends
//! go on behind it. Nothing here needs room where files are written in place; elsewhere as much as is
//! written over, for which the ballast is given.
//!
//! Every step leaves what was kept before it as it was: a crash anywhere leaves an end that is decided in
//! the same way again. Nothing is sealed, so the ledger need not be stored.

use super::{Ready, Scanned, blank_spare, check_same, io_at, not_found, scan_unsealed};
use crate::{
    append::Ledger,
    error::{Op, Place, Result},
    format::Manifest,
    manifest::ManifestStore,
    recover::{
        decide::Carry,
        look::{Facts, UnsealedFact},
    },
    types::Seq,
    vfs::{Ballast, Dir, VfsFile, read_full_at, write_all_at},
};
use std::io;

/// What is written over at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn in_place(
    dir: &Dir,
    store: ManifestStore,
    manifest: &Manifest,
    carry: &Carry,
    facts: &Facts,
) -> Result<Ready> {
    let ballast = store.ballast();
    let mut ledger = facts.ledger(manifest.tail.id);
    let mut last = certain(dir, ballast, facts.tail.as_ref(), carry, &mut ledger)?;
    let (mut finished, mut frozen, mut spare) = (Vec::new(), None, None);
    match manifest.spare {
        Some(entry) if carry.spare_begun => {
            let next_seq = last.scan.summary.next_seq;
            let as_of_seq = ledger.next_seq().max(next_seq);
            frozen = ledger.to_file(manifest.owner(), as_of_seq, as_of_seq, entry.id);
            let next = certain(dir, ballast, facts.spare.as_ref(), carry, &mut ledger)?;
            finished.push(std::mem::replace(&mut last, next).into_writer());
        }
        Some(entry) => {
            spare = Some(blank_spare(dir, entry)?);
            if let (Some(spare), true) = (&mut spare, carry.torn.is_some()) {
                cut(&**spare.space.file(), 0).map_err(io_at(Place::in_segment(entry.id, 0)))?;
                *spare = blank_spare(dir, entry)?;
            }
        }
        None => {}
    }
    let writer = last.into_writer();
    // DURABILITY: after this commit the end is attested, and the manifest that was found is in force.
    store.commit_again(Op::Open, |manifest| {
        manifest.durable_seq = carry.next_seq;
        manifest.clean = false;
    })?;
    Ok(Ready {
        manifest: store,
        writer,
        finished,
        frozen,
        spare,
        ledger,
    })
}

/// Makes all of an unsealed segment that is kept certain, and cuts what is not.
fn certain(
    dir: &Dir,
    ballast: &Ballast,
    found: Option<&UnsealedFact>,
    carry: &Carry,
    ledger: &mut Ledger,
) -> Result<Scanned> {
    let Some(found) = found else {
        return Err(not_found(dir));
    };
    let id = found.id;
    let proven = scan_unsealed(dir, id, carry.proven_seq, &mut Ledger::default())?;
    let summary = proven.scan.summary;
    let from = if summary.next_seq > proven.header.base_seq {
        summary.end
    } else {
        0
    };
    let mut kept = scan_unsealed(dir, id, Seq::MAX, ledger)?;
    check_same(found, &kept.scan)?;
    let end = kept.scan.summary.end;
    let written = ballast.lend(|| {
        write_over(&*kept.file, from, end)?;
        cut(&*kept.file, end)
    });
    written.map_err(io_at(Place::in_segment(id, from)))?;
    kept.file_end = end;
    Ok(kept)
}

/// Writes bytes over with their own value: one that two reads agree on.
fn write_over(file: &dyn VfsFile, from: u64, end: u64) -> io::Result<()> {
    let (mut at, mut once, mut again) = (from, vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    while at < end {
        let want = PIECE_BYTES.min(usize::try_from(end - at).unwrap_or(PIECE_BYTES));
        once.resize(want, 0);
        again.resize(want, 0);
        let read = read_full_at(file, &mut once, at)?.min(read_full_at(file, &mut again, at)?);
        if read < want || once != again {
            return Err(io::Error::other("two reads of it did not give the same"));
        }
        write_all_at(file, &once, at)?;
        at += want as u64;
    }
    Ok(())
}

fn cut(file: &dyn VfsFile, end: u64) -> io::Result<()> {
    file.set_len(end)?;
    // DURABILITY: after this line what is kept is on the disk as it was read, and nothing behind it.
    file.sync()
}
