//! Mapping a sealed file into memory: one of six places of `unsafe` in the engine.
//!
//! Called by `RealFs`. Calls memmap2.

use bytes::Bytes;
use std::{fs::File, io};

/// Maps `len` bytes of `file` from `offset`, read-only.
///
/// The hazards of a mapping, and the guard against each:
/// * *The file is shorter than the mapping*: touching a page past the end raises SIGBUS. The length
///   is compared with the file's before mapping.
/// * *Somebody cuts the file later*: SIGBUS again. Only sealed segments are mapped, which this
///   library never cuts, in a directory that its lock and mode 0700 keep to us. Against other
///   programs of the same user, and for disks whose read errors should arrive as values and not as
///   signals, `ReadMode::Positional` avoids mappings altogether.
/// * *The bytes change under a `&[u8]`*: no writer of this library writes below the length of a
///   sealed segment's frames; the mapping ends there.
#[expect(
    unsafe_code,
    reason = "memory-mapped reads of sealed segments; see the hazards above"
)]
pub(super) fn map(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    if file.metadata()?.len() < offset.saturating_add(len as u64) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the range lies inside the file (checked above), and sealed files are neither cut nor
    // rewritten below `len` while the log's lock is held (hazards 1 to 3 above).
    let map = unsafe {
        memmap2::MmapOptions::new()
            .offset(offset)
            .len(len)
            .map(file)?
    };
    Ok(Bytes::from_owner(map))
}
