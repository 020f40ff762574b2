//! Having the kernel begin to write out a part of a file, without waiting for it.
//!
//! The kernel would begin by itself, seconds later or with a sync; a disk that is given the bytes as they
//! come works while more are made. See `sync_file_range(2)`: of what it can do this is the one part that
//! is safe to use, because nobody takes it for a sync. Without its flags to wait it also clears no error that was
//! recorded for one (Linux, `fs/sync.c`).
//!
//! One of the six places of `unsafe` in the engine: one call into the C library, without a pointer.
//! Called by `RealFs`.

use std::{fs::File, io, os::fd::AsRawFd};

/// What systems answer that do not have the call, do not allow it, or do not know it for this file.
const MISSING: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EINVAL, libc::ESPIPE];

#[expect(unsafe_code, reason = "the call has no door in the standard library")]
pub(super) fn write_back(file: &File, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(()); // To the kernel that means all of the rest.
    }
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return Ok(());
    };
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: the descriptor is open as long as `file` is; the call touches no memory of ours.
    let outcome = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, flags) };
    if outcome == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let missing = error
        .raw_os_error()
        .is_some_and(|errno| MISSING.contains(&errno));
    if missing { Ok(()) } else { Err(error) }
}
