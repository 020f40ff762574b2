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
    options::Options,
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
    (manifest, options): (&Manifest, &Options),
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
            let before = std::mem::replace(&mut last, next).into_writer(dir, &options.keys);
            // Once it is sealed it may go, and readers of the set from before read on in it.
            let kept_open = before.tail.space.keep_open();
            kept_open.map_err(io_at(Place::in_segment(manifest.tail.id, 0)))?;
            finished.push(before);
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
    let writer = last.into_writer(dir, &options.keys);
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test may panic"
    )]

    use super::*;
    use crate::vfs::{
        Vfs,
        sim::{Choice, Errno, Fault, FaultRule, Misread, OpKind, SimFs, SyncFailure},
    };
    use std::{path::Path, sync::Arc};

    const PATH: &str = "/log/file";

    /// A file of which nothing but zeros is on the disk, and which shows other bytes: a sync of them has
    /// failed, and the next one has nothing to do.
    fn shown_and_lost(bytes: &[u8]) -> (SimFs, Arc<dyn VfsFile>) {
        let disk = SimFs::new(1);
        let path = Path::new(PATH);
        disk.create_dir(Path::new("/log")).unwrap();
        let file = disk.create_new(path).unwrap();
        // DURABILITY: after these lines the zeros survive.
        write_all_at(&*file, &vec![0; bytes.len()], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/log")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        write_all_at(&*file, bytes, 0).unwrap();
        let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
        disk.fail(FaultRule::nth(OpKind::Sync, 0, lies));
        // DURABILITY: of nothing more: what was to be is lost by the first of these.
        file.sync().unwrap_err();
        file.sync().unwrap();
        (disk, file)
    }

    fn after_the_power_cut(disk: &SimFs) -> Vec<u8> {
        let after = disk.crash_at(u64::MAX).state(&Choice::lost());
        after.read_file(Path::new(PATH)).unwrap()
    }

    /// Appends go on behind it: what comes back without it would be a hole in the log.
    #[test]
    fn is_everything_on_the_disk_that_was_read_and_nothing_behind_it() {
        for len in [
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES + 5,
        ] {
            let (from, behind) = (3000, 70_000);
            let all = from + len + behind;
            let bytes: Vec<u8> = (0..all).map(|at| (at * 31 % 251 + 1) as u8).collect();
            let (disk, file) = shown_and_lost(&bytes);
            assert_eq!(after_the_power_cut(&disk), vec![0; all], "lost");
            let end = (from + len) as u64;
            write_over(&*file, from as u64, end).unwrap();
            cut(&*file, end).unwrap();
            let found = after_the_power_cut(&disk);
            assert_eq!(found.len(), from + len);
            assert!(found[..from].iter().all(|byte| *byte == 0), "not touched");
            assert!(found[from..] == bytes[from..from + len], "{len}");
        }
    }

    /// Which of the two would be written is chance.
    #[test]
    fn is_nothing_written_of_which_two_reads_are_not_the_same() {
        let (disk, file) = shown_and_lost(&[7; 500]);
        for nth in [0, 1] {
            let misread = Fault::Misread(Misread::Flip { offset: 77, bit: 3 });
            disk.fail(FaultRule::nth(OpKind::Read, nth, misread));
            write_over(&*file, 0, 500).unwrap_err();
        }
        // What ends before it should cannot be written either.
        write_over(&*file, 0, 501).unwrap_err();
        // DURABILITY: of nothing, which is what is looked at.
        file.sync().unwrap();
        assert_eq!(after_the_power_cut(&disk), [0; 500]);
    }
}
