//! Whether a file is nobody else's: what has to be known before its bytes may change.
//!
//! The kernel grants a write lease on a file only if no other description of it is open anywhere, and a
//! mapping keeps its description: so the answer knows of every process, also of those that know nothing
//! of logs (fcntl(2), "Leases"). The lease is given back at once. If somebody opened the file in that
//! moment the kernel would send a signal: one that does nothing unless a process asks for it.
//!
//! One of the six places of `unsafe` in the engine: calls into the C library with a descriptor that is
//! borrowed for the call. Called by `real`.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

/// Which signal tells of a lease that somebody else's call would break; `libc` does not name it.
const F_SETSIG: libc::c_int = 10;

/// Whether no other handle, mapping or name of the file is there. A file system that grants no leases, and
/// a file of another user, are answered with no.
pub(super) fn is_sole(file: &File) -> io::Result<bool> {
    if file.metadata()?.nlink() != 1 {
        return Ok(false);
    }
    let asked = fcntl(file, F_SETSIG, libc::SIGURG);
    let leased = asked && fcntl(file, libc::F_SETLEASE, libc::F_WRLCK);
    Ok(leased && fcntl(file, libc::F_SETLEASE, libc::F_UNLCK))
}

#[expect(unsafe_code, reason = "see the card")]
fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> bool {
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the argument is a number.
    unsafe { libc::fcntl(file.as_raw_fd(), command, argument) == 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::is_sole;
    use std::fs::{self, File};

    #[test]
    fn who_else_has_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; 9000]).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let file = open();
        if !is_sole(&file).unwrap() {
            return; // A file system without leases: nothing is ever recycled there.
        }
        let reader = File::open(&path).unwrap();
        assert!(!is_sole(&file).unwrap(), "a reader");
        drop(reader);
        assert!(is_sole(&file).unwrap());
        let writer = open();
        assert!(!is_sole(&file).unwrap(), "a writer");
        drop(writer);
        // As a lent record keeps it: nothing but the mapping is left.
        let mapped = super::super::map::map(&File::open(&path).unwrap(), 0, 9000).unwrap();
        assert!(!is_sole(&file).unwrap(), "a mapping");
        drop(mapped);
        fs::hard_link(&path, dir.path().join("other")).unwrap();
        assert!(!is_sole(&file).unwrap(), "a second name");
        fs::remove_file(&path).unwrap();
        assert!(is_sole(&file).unwrap());
    }
}
