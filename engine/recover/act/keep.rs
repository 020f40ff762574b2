//! Keeping what is cut: every byte goes to `quarantine/`, durably, before anything changes. Once: what an
//! attempt that failed later has kept is not kept again.

use super::io_at;
use crate::{
    error::{Place, Result},
    format::{names, producers::FILE_BYTES_MAX},
    recover::report::CutBytes,
    types::SegmentId,
    vfs::{Access, Ballast, Dir, VfsFile, read_full_at, write_all_at},
};
use std::{io, path::PathBuf};

/// What is copied or compared at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Copies the bytes that will be cut into `quarantine/`, durably.
pub(crate) fn keep(dir: &Dir, cut: &[(SegmentId, u64, u64)]) -> Result<Vec<CutBytes>> {
    let mut kept = Vec::new();
    let quarantine = dir.child(names::QUARANTINE);
    let ballast = Ballast::new(dir.clone(), names::RESERVE);
    let at = |name: &str| Place::file(format!("{}/{name}", names::QUARANTINE));
    for (id, offset, end) in cut {
        ballast
            .lend(|| quarantine.create())
            .map_err(io_at(at("")))?;
        let file = dir
            .open(&names::segment(*id), Access::Read)
            .map_err(io_at(Place::in_segment(*id, *offset)))?;
        let name = |attempt: u32| format!("{:020}-{offset:010}-{attempt}.cut", id.0);
        let is_copy = |name: &str| is_copy(&*file, *offset, *end, &quarantine, name);
        let (name, is_kept) = kept_or_free(&quarantine, name, is_copy).map_err(io_at(at("")))?;
        if !is_kept {
            // Without it nothing is cut: it has the room that is held back, if there is no other.
            let copy = || copy_range(&*file, *offset, *end, &quarantine, &name);
            ballast.lend(copy).map_err(io_at(at(&name)))?;
        }
        kept.push(CutBytes {
            segment: *id,
            offset: *offset,
            bytes: end - offset,
            kept_in: Some([names::QUARANTINE, &name].iter().collect()),
        });
    }
    if !kept.is_empty() {
        // DURABILITY: after these lines the cut bytes survive under their names in quarantine, and it does.
        quarantine.sync().map_err(io_at(at("")))?;
        dir.sync().map_err(io_at(Place::file(dir.path())))?;
    }
    Ok(kept)
}

/// Copies a whole file that will be replaced into `quarantine/`, durably; gives where.
pub(crate) fn keep_file(dir: &Dir, name: &str) -> Result<PathBuf> {
    let quarantine = dir.child(names::QUARANTINE);
    let kept_in = |name: &str| -> PathBuf { [names::QUARANTINE, name].iter().collect() };
    let fail = |name: &str| io_at(Place::file(kept_in(name)));
    let content = dir
        .read(name, |_| FILE_BYTES_MAX)
        .map_err(io_at(Place::file(name)))?;
    quarantine.create().map_err(fail(""))?;
    let free = |attempt: u32| format!("{name}-{attempt}.cut");
    let is_copy = |name: &str| Ok(quarantine.read(name, |_| FILE_BYTES_MAX)? == content);
    let (free, is_kept) = kept_or_free(&quarantine, free, is_copy).map_err(fail(""))?;
    if !is_kept {
        let written = quarantine.write_new(&free, &content);
        clear(&quarantine, &free, written).map_err(fail(&free))?;
    }
    // DURABILITY: after these lines the copy survives under its name in quarantine, and that does.
    quarantine.sync().map_err(fail(""))?;
    dir.sync().map_err(io_at(Place::file(dir.path())))?;
    Ok(kept_in(&free))
}

/// The name of a copy that an earlier attempt, which failed later, has made; or else a free one. Nothing
/// there is overwritten.
fn kept_or_free(
    quarantine: &Dir,
    name: impl Fn(u32) -> String,
    is_copy: impl Fn(&str) -> io::Result<bool>,
) -> io::Result<(String, bool)> {
    let listed = quarantine.list()?;
    for attempt in 0.. {
        let name = name(attempt);
        if !listed.iter().any(|entry| entry.name == name) {
            return Ok((name, false));
        }
        if is_copy(&name)? {
            let copy = quarantine.open(&name, Access::ReadWrite)?;
            // DURABILITY: the copy survives, whether the attempt that made it came so far or not.
            copy.sync()?;
            return Ok((name, true));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a file in quarantine has just these bytes.
fn is_copy(
    file: &dyn VfsFile,
    offset: u64,
    end: u64,
    quarantine: &Dir,
    name: &str,
) -> io::Result<bool> {
    let copy = quarantine.open(name, Access::Read)?;
    if copy.len()? != end - offset {
        return Ok(false);
    }
    let (mut at, mut there, mut kept) = (offset, vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    while at < end {
        let want = PIECE_BYTES.min(usize::try_from(end - at).unwrap_or(PIECE_BYTES));
        let (Some(there), Some(kept)) = (there.get_mut(..want), kept.get_mut(..want)) else {
            return Ok(false);
        };
        let read = read_full_at(file, there, at)?;
        if read < want || read_full_at(&*copy, kept, at - offset)? < want || there != kept {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// Leaves nothing of a file that was not written whole.
fn clear(dir: &Dir, name: &str, written: io::Result<()>) -> io::Result<()> {
    if written.is_err() {
        dir.remove_if_there(name).ok();
    }
    written
}

fn copy_range(file: &dyn VfsFile, offset: u64, end: u64, to: &Dir, name: &str) -> io::Result<()> {
    let copy = to.create_new(name)?;
    let written = write_range(file, offset, end, &*copy);
    clear(to, name, written)
}

fn write_range(file: &dyn VfsFile, offset: u64, end: u64, copy: &dyn VfsFile) -> io::Result<()> {
    let (mut at, mut buffer) = (offset, vec![0; PIECE_BYTES]);
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = read_full_at(file, buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        write_all_at(copy, bytes, at - offset)?;
        at += read as u64;
    }
    // DURABILITY: the copied bytes survive; their name does after the directory is synced.
    copy.sync()
}

#[cfg(test)]
mod tests {
    //! Is everything kept that is cut, whatever lies in the quarantine already?
    //!
    //! What an attempt has kept that failed later is not kept again. A file that has its name and is
    //! another one, or only a part of it, was told from a copy by no test: then bytes would be cut that
    //! are nowhere else.

    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test may panic"
    )]

    use super::*;
    use crate::vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs};
    use std::{collections::BTreeMap, path::Path, sync::Arc};

    const PIECE: usize = PIECE_BYTES;
    /// Where what is cut begins: a spare that does not follow goes from its first byte on.
    const FROM: [usize; 2] = [0, 1000];

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn log() -> (SimFs, Dir) {
        let disk = SimFs::new(1);
        let dir = Dir::new(Arc::new(disk.clone()), Path::new("/log"));
        dir.create().unwrap();
        // DURABILITY: the log's own directory survives.
        dir.sync_name().unwrap();
        (disk, dir)
    }

    /// What is in the quarantine, by name.
    fn kept(disk: &SimFs) -> BTreeMap<String, Vec<u8>> {
        let inside = disk.files().into_iter();
        let inside = inside.filter(|path| path.starts_with("/log/quarantine"));
        let file = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, disk.read_file(&path).unwrap())
        };
        inside.map(file).collect()
    }

    /// Each way in which a file of the same name may be no copy.
    fn others(right: &[u8]) -> Vec<Vec<u8>> {
        let last = right.len() - 1;
        let edges = [0, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, last];
        let mut others = vec![Vec::new(), right[..last].to_vec(), [right, b"x"].concat()];
        for at in edges.into_iter().filter(|at| *at <= last) {
            let mut other = right.to_vec();
            other[at] ^= 1;
            others.push(other);
        }
        others
    }

    #[test]
    fn is_what_is_cut_kept_once_whatever_has_its_name() {
        let lens = [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5];
        for (len, from) in lens
            .into_iter()
            .flat_map(|len| FROM.map(|from| (len, from)))
        {
            let content = bytes(from + len + 9);
            let right = &content[from..from + len];
            let cut = [(SegmentId(7), from as u64, (from + len) as u64)];
            let keep = |dir: &Dir| {
                let kept = keep(dir, &cut).unwrap();
                assert_eq!(kept.first().map(|it| it.bytes), Some(len as u64));
                let name = kept.first().unwrap().kept_in.clone().unwrap();
                name.file_name().unwrap().to_string_lossy().into_owned()
            };
            let (disk, dir) = log();
            dir.write_new(&names::segment(SegmentId(7)), &content)
                .unwrap();
            let name = keep(&dir);
            assert_eq!(kept(&disk)[&name], right);
            let after = disk.crash_at(u64::MAX).state(&Choice::lost());
            assert_eq!(kept(&after)[&name], right, "durably");
            assert_eq!((keep(&dir), kept(&disk).len()), (name.clone(), 1));
            for other in others(right) {
                let path = Path::new("/log/quarantine").join(&name);
                assert!(disk.write_file(&path, &other));
                let second = keep(&dir);
                assert_ne!(second, name, "{} bytes", other.len());
                assert_eq!(kept(&disk)[&second], right);
                assert!(kept(&disk)[&name] == other, "nothing is overwritten");
                assert_eq!((keep(&dir), kept(&disk).len()), (second.clone(), 2));
                dir.child(names::QUARANTINE).remove(&second).unwrap();
            }
        }
    }

    #[test]
    fn is_a_file_that_is_replaced_kept_once_whatever_has_its_name() {
        let (disk, dir) = log();
        let right = bytes(300);
        dir.write_new(names::PRODUCERS, &right).unwrap();
        let first = keep_file(&dir, names::PRODUCERS).unwrap();
        let after = disk.crash_at(u64::MAX).state(&Choice::lost());
        assert!(kept(&after).into_values().eq([right.clone()]), "durably");
        assert_eq!(keep_file(&dir, names::PRODUCERS).unwrap(), first);
        assert_eq!(kept(&disk).len(), 1);
        assert!(disk.write_file(&Path::new("/log").join(&first), b"another"));
        let second = keep_file(&dir, names::PRODUCERS).unwrap();
        assert_ne!(second, first);
        let after = disk.crash_at(u64::MAX).state(&Choice::lost());
        let found: Vec<Vec<u8>> = kept(&after).into_values().collect();
        assert!(found.contains(&right), "{found:?}");
    }

    /// A file that ends before what is to be cut from it is not what was looked at.
    #[test]
    fn is_nothing_a_copy_of_what_cannot_be_read() {
        let (_, dir) = log();
        let quarantine = dir.child(names::QUARANTINE);
        quarantine.create().unwrap();
        quarantine.write_new("copy", &[0; 300]).unwrap();
        dir.write_new("source", &[0; 299]).unwrap();
        let source = dir.open("source", Access::Read).unwrap();
        assert!(!is_copy(&*source, 0, 300, &quarantine, "copy").unwrap());
    }

    /// Else every attempt on a full disk would leave one more.
    #[test]
    fn is_nothing_left_of_a_copy_that_failed() {
        let (disk, dir) = log();
        dir.write_new(&names::segment(SegmentId(7)), &bytes(3 * PIECE))
            .unwrap();
        dir.write_new(names::PRODUCERS, &bytes(300)).unwrap();
        let cut = [(SegmentId(7), 0, 3 * PIECE as u64)];
        let full = |nth| FaultRule::nth(OpKind::Write, nth, Fault::Error(Errno::Enospc));
        for nth in 0..3 {
            disk.fail(full(nth));
            keep(&dir, &cut).unwrap_err();
            assert_eq!(kept(&disk).len(), 0, "{nth}");
        }
        disk.fail(full(0));
        keep_file(&dir, names::PRODUCERS).unwrap_err();
        assert_eq!(kept(&disk).len(), 0);
    }
}
