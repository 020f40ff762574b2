//! Opening a segment file whose header does not verify, for those who look at damage on purpose.

use super::Identity;
use crate::{
    error::Defect,
    format::{
        SegmentContext, SegmentHeader,
        header::{HEADER_BYTES, Origin},
        manifest::SealedEntry,
        names,
    },
    options::{FarFile, FarSource},
    types::{LogId, SegmentId},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::{io, sync::Arc};

/// A segment file whose frames can be verified.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) context: SegmentContext,
    pub(crate) dense: bool,
    /// Whether its batches may be packed, for all that is known.
    pub(crate) packed: bool,
    /// Whether the time is lost that times of its batches are counted from.
    pub(crate) times_lost: bool,
    /// What is wrong with its header.
    pub(crate) defect: Option<Defect>,
}

/// Opens a segment file and finds out what its frames are verified against; `None` if the file is
/// missing. A header that cannot be mended is replaced by what the manifest knows of it, which is all but
/// the time that its batches count from.
pub(crate) fn open_damaged(dir: &Dir, identity: Identity) -> io::Result<Option<Found>> {
    let file = match dir.open(&names::segment(SegmentId(identity.id)), Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    found(file, identity).map(Some)
}

/// The same of a sealed segment, wherever it lives; `None` also if nothing reads it there.
pub(crate) fn open_damaged_sealed(
    dir: &Dir,
    log_id: LogId,
    entry: &SealedEntry,
    far: &FarSource,
) -> io::Result<Option<Found>> {
    let identity = Identity {
        log_id,
        id: entry.id.0,
        salt: entry.salt,
        base_seq: entry.base_seq,
    };
    match (entry.far, far) {
        (false, _) => open_damaged(dir, identity),
        (true, None) => Ok(None),
        (true, Some(far)) => match found(FarFile::of(far.clone(), log_id, entry), identity) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        },
    }
}

fn found(file: Arc<dyn VfsFile>, identity: Identity) -> io::Result<Found> {
    let mut head = [0; HEADER_BYTES];
    read_full_at(&*file, &mut head, 0)?;
    let checked = SegmentHeader::decode(&head).and_then(|header| identity.check(&header));
    let header = mend_header(&head, |header| identity.check(header).is_ok());
    let unknown = SegmentContext {
        salt: identity.salt,
        base_seq: identity.base_seq,
        base_timestamp_ms: 0,
        log_id: identity.log_id,
    };
    let context = header.as_ref().map_or(unknown, SegmentHeader::context);
    let times_lost = header.is_none();
    let packed = header.as_ref().is_none_or(|header| header.packed);
    let dense = header.is_some_and(|header| header.origin == Origin::Live);
    Ok(Found {
        file,
        context,
        dense,
        packed,
        times_lost,
        defect: checked.err(),
    })
}

/// A header that is as it should be, with one bit turned if need be.
pub(crate) fn mend_header(
    head: &[u8; HEADER_BYTES],
    is_right: impl Fn(&SegmentHeader) -> bool,
) -> Option<SegmentHeader> {
    let decode = |head: &[u8; HEADER_BYTES]| SegmentHeader::decode(head).ok().filter(&is_right);
    decode(head).or_else(|| with_one_bit_turned(head, decode))
}

/// What the bytes are with one bit turned, if that makes them acceptable. A checksum that is wrong by
/// one flipped bit says by this which one it was.
pub(super) fn with_one_bit_turned<const N: usize, T>(
    bytes: &[u8; N],
    accept: impl Fn(&[u8; N]) -> Option<T>,
) -> Option<T> {
    (0..N * 8).find_map(|bit| {
        let mut turned = *bytes;
        *turned.get_mut(bit / 8)? ^= 1 << (bit % 8);
        accept(&turned)
    })
}
