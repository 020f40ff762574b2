//! What stands behind the frames of a sealed segment, read and verified as a whole.
//!
//! INVARIANT: no count is believed, and nothing allocated for it, before its checksum held and it is one that so
//! many frames can have.
//!
//! Called by `sealed` for its index, and by who copies segments as they are; calls format and vfs.

use crate::{
    error::Defect,
    format::{
        Footer, SegmentContext,
        footer::{FOOTER_BYTES, INDEX_STEP_BYTES},
    },
    vfs::{VfsFile, read_full_at},
};
use bytes::Bytes;
use std::{borrow::Cow, io};

/// A footer and its index, both of which verified.
pub(crate) struct Ending {
    pub(crate) footer: Footer,
    /// The two as they are stored.
    pub(crate) bytes: Bytes,
    /// The entries of the index, as far as this program knows what is in them.
    pub(crate) entries: Bytes,
}

/// Reads the footer that starts at `frames_end`, or tells why it is not to be used.
pub(crate) fn read_footer(
    file: &dyn VfsFile,
    context: &SegmentContext,
    frames_end: u64,
) -> io::Result<Result<Ending, Defect>> {
    let mut head = [0; FOOTER_BYTES];
    let read = read_full_at(file, &mut head, frames_end)?;
    let head = head.get(..read).unwrap_or_default();
    let decoded = Footer::decode(head, context, frames_end);
    let available_bytes = file.len()?.saturating_sub(frames_end);
    let sized = decoded.and_then(|footer| match footer.total_bytes(head)? {
        _ if u64::from(footer.entry_count) > frames_end / INDEX_STEP_BYTES + 1 => {
            Err(Defect::Malformed("count of index entries"))
        }
        needed_bytes if needed_bytes > available_bytes => Err(Defect::Truncated {
            needed_bytes,
            available_bytes,
        }),
        needed_bytes => Ok((footer, needed_bytes)),
    });
    let (footer, needed) = match sized {
        Ok(sized) => sized,
        Err(defect) => return Ok(Err(defect)),
    };
    let mut bytes = vec![0; usize::try_from(needed).unwrap_or(0)];
    read_full_at(file, &mut bytes, frames_end)?;
    let skipped = match footer.verify_index(&bytes, context) {
        Err(defect) => return Ok(Err(defect)),
        Ok(Cow::Owned(entries)) => Some(Bytes::from(entries)),
        Ok(Cow::Borrowed(_)) => None,
    };
    let bytes = Bytes::from(bytes);
    Ok(Ok(Ending {
        entries: skipped.unwrap_or_else(|| bytes.slice(FOOTER_BYTES..)),
        footer,
        bytes,
    }))
}
