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
/// * *Somebody cuts the file later, or the disk cannot read a page*: SIGBUS again. Only sealed segments
///   are mapped, which this library never cuts, in a directory that its lock and mode 0700 keep to us.
///   Against other programs of the same user, and disks that fail, whoever looks has the pages
///   [fetched](fetch) before; and `ReadMode::Positional` avoids mappings altogether.
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

/// Has these bytes of a mapping read by now, so that a page which cannot be is an error here, and no signal
/// to who looks at it. Says nothing of a page that leaves the cache afterwards.
///
/// It is a hint to memory of whatever kind: of what is no mapping of a file nothing can fail. A system that
/// knows no such call fetches nothing.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "a call of the system on memory that is borrowed"
)]
pub(crate) fn fetch(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // A page is of 4 KiB or a multiple, and the call wants the start of one.
    // SAFETY: it only asks the system, and has none to fail.
    let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let before = bytes.as_ptr().addr() % page_bytes;
    let start = bytes.as_ptr().wrapping_sub(before).cast_mut().cast();
    // SAFETY: the pages are those of borrowed memory, which the call only reads, and changes nothing of.
    let outcome = unsafe { libc::madvise(start, bytes.len() + before, libc::MADV_POPULATE_READ) };
    match io::Error::last_os_error() {
        _ if outcome == 0 => Ok(()),
        error if matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EHWPOISON)) => {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
        _ => Ok(()), // Not known to this system, or not now.
    }
}

/// Here no system call fetches.
#[cfg(not(target_os = "linux"))]
pub(crate) fn fetch(_bytes: &[u8]) -> io::Result<()> {
    Ok(())
}
