//! Whether what was put of a segment is what the log has in it. A log that was put back from an earlier day goes on in the very
//! files in which it had gone on before: the same id, the same salt, other records.
//!
//! INVARIANT: it can be so of the tail and the spare of that day alone: what was sealed by then is the same in both, and all that
//! was begun later has a salt of its own. So of what the store knows the newest two are asked, when a copier starts: a log is not put
//! back under one that runs.
//!
//! Called by `claim`; calls the log.

use super::Copier;
use crate::{
    error::Result,
    layout::{File, Object},
};
use cairnlog::{ErrorKind, StoredFile, StoredMoment, StoredSegment, format::crc32c};

impl Copier {
    /// Forgets the parts that the log does not have, or not so: they are put anew.
    pub(super) fn forget_parted(&mut self) -> Result<()> {
        let moment = self.log.moment()?;
        let is_far = |it: &StoredSegment| it.sealed_entry().is_some_and(|entry| entry.far);
        let common = moment.segments.iter().rev().filter(|it| {
            let known = self.known.get(&it.id());
            known.is_some_and(|file| file.salt == it.salt() && !file.parts.is_empty())
        });
        // What was let go of was compared with what is in the store.
        let common = common
            .take(StoredMoment::COMMON_MAX)
            .filter(|it| !is_far(it));
        for segment in common.collect::<Vec<_>>() {
            let Some(file) = self.known.get_mut(&segment.id()) else {
                continue;
            };
            let same = match same_parts(file, segment) {
                // It was dropped meanwhile; or it does not verify, and what is in the store is all the better.
                Err(error) if error.kind() == ErrorKind::Damaged => continue,
                same => same?,
            };
            if same < file.parts.len() {
                file.parts.truncate(same);
                file.finished = false;
            }
        }
        Ok(())
    }
}

/// How many parts, from the first, have the bytes that the log has there.
fn same_parts(file: &File, segment: &StoredSegment) -> cairnlog::Result<usize> {
    let (opened, frames_end, mut offset) = (segment.open()?, segment.frames_end(), 0);
    for (number, part) in file.parts.iter().enumerate() {
        if !is_same(part, &opened, (offset, frames_end))? {
            return Ok(number);
        }
        offset += part.bytes;
    }
    Ok(file.parts.len())
}

/// Whether the log has a part at an offset: frames, and behind the last of them their footer.
fn is_same(
    part: &Object,
    opened: &StoredFile,
    (start, frames_end): (u64, u64),
) -> cairnlog::Result<bool> {
    let (mut checksum, mut offset) = (0, start);
    let end = start + part.bytes;
    while offset < end.min(frames_end) {
        let bytes = opened.read(offset, (end - offset) as usize)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        checksum = crc32c(checksum, &bytes);
        offset += bytes.len() as u64;
    }
    if offset < end {
        let footer = opened.footer()?.unwrap_or_default();
        checksum = crc32c(checksum, &footer);
        offset += footer.len() as u64;
    }
    Ok(offset == end && checksum == part.checksum)
}
