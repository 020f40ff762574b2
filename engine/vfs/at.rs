//! Calls that name a file relative to a directory that is held open, and randomness: what the standard
//! library has no door for (its `std::fs::Dir` is not stable yet).
//!
//! One of the six places of `unsafe` in the engine: calls into the C library with descriptors that are
//! borrowed for the call, and strings that end in a zero and live until it returns. Called by `held`
//! and `real`.

use std::{
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
};

/// What a look at a name finds.
pub(super) struct Stat {
    pub(super) is_file: bool,
    pub(super) size_bytes: u64,
}

/// Success is zero, or what `value` makes of the result; -1 is an error.
fn check(outcome: libc::c_int) -> io::Result<libc::c_int> {
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn c_name(name: &str) -> io::Result<CString> {
    Ok(CString::new(name)?)
}

/// Opens a name. `O_CLOEXEC` is added; new files get mode 0600.
#[expect(unsafe_code, reason = "see the card")]
pub(super) fn open(dir: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let (name, mode): (_, libc::c_uint) = (c_name(name)?, 0o600);
    loop {
        // SAFETY: see the card; the mode is passed as the C library reads it.
        let fd = unsafe {
            libc::openat(
                dir.as_raw_fd(),
                name.as_ptr(),
                flags | libc::O_CLOEXEC,
                mode,
            )
        };
        match check(fd) {
            // SAFETY: the descriptor was just made, is open, and nobody else has it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates a directory, mode 0700.
#[expect(unsafe_code, reason = "see the card")]
pub(super) fn mkdir(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: see the card.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), 0o700) }).map(drop)
}

#[expect(unsafe_code, reason = "see the card")]
pub(super) fn rename(dir: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
    let (from, to, fd) = (c_name(from)?, c_name(to)?, dir.as_raw_fd());
    // SAFETY: see the card.
    check(unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) }).map(drop)
}

/// Lets two names change their files at one stroke; false if the file system cannot.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "see the card")]
pub(super) fn exchange(dir: BorrowedFd<'_>, one: &str, other: &str) -> io::Result<bool> {
    let (one, other, fd) = (c_name(one)?, c_name(other)?, dir.as_raw_fd());
    let flags = libc::RENAME_EXCHANGE;
    // By number, because not every C library has a function for it.
    // SAFETY: see the card; the arguments are those of renameat2(2).
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            fd,
            one.as_ptr(),
            fd,
            other.as_ptr(),
            flags,
        )
    };
    match (outcome, io::Error::last_os_error()) {
        (0, _) => Ok(true),
        (_, error) => match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP | libc::EPERM) => Ok(false),
            _ => Err(error),
        },
    }
}

#[expect(unsafe_code, reason = "see the card")]
pub(super) fn unlink(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: see the card.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// Gives a file the same name in another directory as well.
#[expect(unsafe_code, reason = "see the card")]
pub(super) fn link(dir: BorrowedFd<'_>, name: &str, to: BorrowedFd<'_>) -> io::Result<()> {
    let name = c_name(name)?;
    let (from, to) = (dir.as_raw_fd(), to.as_raw_fd());
    // SAFETY: see the card.
    check(unsafe { libc::linkat(from, name.as_ptr(), to, name.as_ptr(), 0) }).map(drop)
}

/// What a name is, itself and not what it may link to.
#[expect(unsafe_code, reason = "see the card")]
fn stat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: see the card; the pointer is to memory of a `stat`, which the call fills if it succeeds.
    check(unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), flags) })?;
    // SAFETY: the call has succeeded, so all of it is written.
    let stat = unsafe { stat.assume_init() };
    Ok(Stat {
        is_file: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
    })
}

/// An open listing; closed when dropped.
struct Listing(*mut libc::DIR);

impl Drop for Listing {
    #[expect(unsafe_code, reason = "see the card")]
    fn drop(&mut self) {
        // SAFETY: `fdopendir` gave the pointer, and it is closed here alone.
        unsafe { libc::closedir(self.0) };
    }
}

impl Listing {
    #[expect(unsafe_code, reason = "see the card")]
    fn new(dir: OwnedFd) -> io::Result<Self> {
        let fd = dir.into_raw_fd();
        // SAFETY: the descriptor is open and ours alone; if this succeeds it belongs to the listing.
        let listing = unsafe { libc::fdopendir(fd) };
        if listing.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: the call failed, so the descriptor is still ours alone.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return Err(error);
        }
        Ok(Self(listing))
    }

    /// The next name.
    #[expect(unsafe_code, reason = "see the card")]
    fn next(&mut self) -> io::Result<Option<CString>> {
        // The end and an error look alike but for the error number.
        // SAFETY: the C library's error number of this thread.
        unsafe { *errno() = 0 };
        // SAFETY: the listing is open, and used by this thread alone for the time of the call.
        let entry = unsafe { libc::readdir(self.0) };
        if entry.is_null() {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(0) | None => Ok(None),
                Some(_) => Err(error),
            };
        }
        // SAFETY: the entry is valid until the next call on the listing, and its name ends in a zero.
        let name = unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) };
        Ok(Some(name.to_owned()))
    }
}

#[expect(unsafe_code, reason = "see the card")]
fn errno() -> *mut libc::c_int {
    #[cfg(any(target_os = "linux", target_os = "emscripten"))]
    // SAFETY: the call takes nothing and gives the address of the thread's own number.
    unsafe {
        libc::__errno_location()
    }
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: as above.
    unsafe {
        libc::__error()
    }
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: as above.
    unsafe {
        libc::__errno()
    }
}

/// The names in a directory with what they are, without `.` and `..`. Consumes a descriptor of its own:
/// where a listing stands belongs to the descriptor.
pub(super) fn list(dir: BorrowedFd<'_>, mut each: impl FnMut(String, Stat)) -> io::Result<()> {
    let mut listing = Listing::new(open(dir, ".", libc::O_RDONLY | libc::O_DIRECTORY)?)?;
    while let Some(name) = listing.next()? {
        if [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        match stat(dir, &name) {
            Ok(stat) => each(name.to_string_lossy().into_owned(), stat),
            // A name may vanish between the listing and the look; then it is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills a buffer from the operating system's source of randomness: what a forked sibling draws is
/// another number.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "see the card")]
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of one buffer, which lives until the call returns.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn random(_bytes: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
