//! The errors of the operating system that calls can be made to fail with.
//!
//! INVARIANT: an error is what the real call would give, number and kind alike. Used by `fault` and
//! `space`, and by tests in their rules.

use std::{fmt, io};

/// An error of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the name from errno(3)")]
pub enum Errno {
    Eio,
    Enospc,
    Edquot,
    Eintr,
    Eagain,
    Erofs,
    Eacces,
    Eperm,
    Emfile,
    Enfile,
    Enomem,
    Efbig,
    Ebusy,
    Estale,
    Enodev,
}

impl Errno {
    /// All of them, for sweeps.
    pub const ALL: [Self; 15] = [
        Self::Eio,
        Self::Enospc,
        Self::Edquot,
        Self::Eintr,
        Self::Eagain,
        Self::Erofs,
        Self::Eacces,
        Self::Eperm,
        Self::Emfile,
        Self::Enfile,
        Self::Enomem,
        Self::Efbig,
        Self::Ebusy,
        Self::Estale,
        Self::Enodev,
    ];

    /// The error as the operating system would give it, with the matching [`io::ErrorKind`].
    pub fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Eio => libc::EIO,
            Self::Enospc => libc::ENOSPC,
            Self::Edquot => libc::EDQUOT,
            Self::Eintr => libc::EINTR,
            Self::Eagain => libc::EAGAIN,
            Self::Erofs => libc::EROFS,
            Self::Eacces => libc::EACCES,
            Self::Eperm => libc::EPERM,
            Self::Emfile => libc::EMFILE,
            Self::Enfile => libc::ENFILE,
            Self::Enomem => libc::ENOMEM,
            Self::Efbig => libc::EFBIG,
            Self::Ebusy => libc::EBUSY,
            Self::Estale => libc::ESTALE,
            Self::Enodev => libc::ENODEV,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error())
    }
}
