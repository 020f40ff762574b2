//! Waiting for another process to change a file, by way of the kernel (inotify).
//!
//! What the events say is not looked at: whoever waits looks at the files themselves afterwards. So
//! an event too many costs a look, and none is ever lost: the kernel queues them from the moment when
//! the watch is armed, and says so if its queue overflows.
//!
//! One of the six places of `unsafe` in the engine: four calls into the C library without a pointer
//! that outlives them. Called by `held`.

use super::{Watch, WatchStop};
use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

/// Names that come and go, and the end of the directory itself.
const NAMES: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF;

#[derive(Debug)]
struct Inotify {
    events: Arc<File>,
    dir: OwnedFd,
    /// The file whose content is watched; it need not be there yet, and may be replaced.
    file: Option<String>,
    /// The kernel's number of the watch on the directory.
    on_dir: libc::c_int,
}

/// Ends the watch on the directory, of which the kernel tells in turn.
#[derive(Debug)]
struct Stop {
    events: Arc<File>,
    on_dir: libc::c_int,
}

impl WatchStop for Stop {
    #[expect(unsafe_code, reason = "inotify has no door in the standard library")]
    fn stop(&self) {
        // SAFETY: the call takes no pointer, and the descriptor is open as long as `self` is.
        unsafe { libc::inotify_rm_watch(self.events.as_raw_fd(), self.on_dir) };
    }
}

/// A watch on a file of a directory and the names beside it; without a name, on everything in it. `None`
/// where the kernel cannot be told of a directory that is held and not named: there is no `/proc`.
pub(super) fn watch(dir: BorrowedFd<'_>, name: Option<&str>) -> io::Result<Option<Box<dyn Watch>>> {
    match arm(dir, name) {
        Ok(armed) => Ok(Some(Box::new(armed))),
        // All watches that the system grants this user are taken, or descriptors: then without.
        Err(error) if is_refused(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_refused(error: &io::Error) -> bool {
    let refusals = [libc::EMFILE, libc::ENFILE, libc::ENOSPC, libc::ENOENT];
    error
        .raw_os_error()
        .is_some_and(|it| refusals.contains(&it))
}

fn arm(dir: BorrowedFd<'_>, name: Option<&str>) -> io::Result<Inotify> {
    let mut armed = Inotify {
        events: Arc::new(init()?),
        dir: dir.try_clone_to_owned()?,
        file: name.map(str::to_owned),
        on_dir: -1,
    };
    if armed.file.is_some() {
        armed.on_dir = armed.add(".", NAMES)?;
        armed.add_file()?;
    } else {
        armed.on_dir = armed.add(".", NAMES | libc::IN_MODIFY)?;
    }
    Ok(armed)
}

impl Inotify {
    /// Watches the file that has the name by now. To watch one a second time changes nothing.
    fn add_file(&self) -> io::Result<()> {
        match self
            .file
            .as_ref()
            .map(|file| self.add(file, libc::IN_MODIFY))
        {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    #[expect(unsafe_code, reason = "inotify has no door in the standard library")]
    fn add(&self, name: &str, mask: u32) -> io::Result<libc::c_int> {
        // The directory that is held, whatever path it has by now.
        let path = CString::new(format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd()))?;
        // SAFETY: the descriptor is open as long as `self` is, and the path ends in a zero and lives
        // until the call returns.
        let watch =
            unsafe { libc::inotify_add_watch(self.events.as_raw_fd(), path.as_ptr(), mask) };
        if watch < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(watch)
    }

    /// Takes all events there are; whether there were any.
    fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let mut found = false;
        loop {
            match (&*self.events).read(&mut buffer) {
                Ok(0) => return Ok(found),
                Ok(_) => found = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(found),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Watch for Inotify {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        // Rounded up, so that a short wait is not a loop of none; -1 is for ever.
        let millis = timeout.map_or(-1, |time| {
            libc::c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        });
        poll(&self.events, millis)?;
        let found = self.drain()?;
        if found {
            self.add_file()?;
        }
        Ok(found)
    }

    fn stopper(&self) -> Option<Arc<dyn WatchStop>> {
        let (events, on_dir) = (self.events.clone(), self.on_dir);
        Some(Arc::new(Stop { events, on_dir }))
    }
}

#[expect(unsafe_code, reason = "inotify has no door in the standard library")]
fn init() -> io::Result<File> {
    // SAFETY: the call takes no pointer.
    let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, is open, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[expect(
    unsafe_code,
    reason = "the standard library cannot wait with a timeout"
)]
fn poll(file: &File, millis: libc::c_int) -> io::Result<()> {
    let mut polled = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: it points to one `pollfd`, which lives until the call returns, and the count is one.
    let count = unsafe { libc::poll(&raw mut polled, 1, millis) };
    match count {
        // An interrupted wait is one that ended early: who waits looks at his clock.
        -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;
    use std::{fs, os::fd::AsFd, path::Path};

    const SOON: Option<Duration> = Some(Duration::from_secs(5));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    /// A watch on a directory, which may be renamed and replaced from then on.
    fn watch_in(dir: &Path, name: Option<&str>) -> Box<dyn Watch> {
        let dir = File::open(dir).unwrap();
        watch(dir.as_fd(), name).unwrap().unwrap()
    }

    #[test]
    fn is_a_change_between_arming_and_waiting_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        let mut watch = watch_in(dir.path(), Some("file"));
        assert!(!watch.wait(NOW).unwrap());
        fs::write(&file, "new").unwrap();
        assert!(watch.wait(SOON).unwrap());
        assert!(!watch.wait(NOW).unwrap());
    }

    #[test]
    fn is_a_file_watched_that_comes_later_or_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("file"), dir.path().join("other"));
        let mut watch = watch_in(dir.path(), Some("file"));
        for _ in 0..2 {
            fs::write(&other, "1").unwrap();
            fs::rename(&other, &file).unwrap();
            assert!(watch.wait(SOON).unwrap());
            fs::write(&file, "2").unwrap();
            assert!(watch.wait(SOON).unwrap());
            assert!(!watch.wait(NOW).unwrap());
        }
    }

    #[test]
    fn is_another_file_only_seen_by_a_watch_on_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("file"), dir.path().join("other"));
        fs::write(&file, "1").unwrap();
        fs::write(&other, "1").unwrap();
        let mut narrow = watch_in(dir.path(), Some("file"));
        let mut wide = watch_in(dir.path(), None);
        fs::write(&other, "2").unwrap();
        assert!(wide.wait(SOON).unwrap());
        assert!(!narrow.wait(NOW).unwrap());
    }

    #[test]
    fn does_the_end_of_the_directory_wake() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("other"), "the last one").unwrap();
        let mut watch = watch_in(&log, Some("file"));
        fs::remove_dir_all(&log).unwrap();
        assert!(watch.wait(SOON).unwrap());
    }

    #[test]
    fn is_a_directory_watched_that_was_renamed_and_replaced() {
        let top = tempfile::tempdir().unwrap();
        let (log, aside) = (top.path().join("log"), top.path().join("aside"));
        fs::create_dir(&log).unwrap();
        let dir = File::open(&log).unwrap();
        fs::rename(&log, &aside).unwrap();
        fs::create_dir(&log).unwrap();
        let mut watch = watch(dir.as_fd(), Some("file")).unwrap().unwrap();
        fs::write(log.join("file"), "of another").unwrap();
        assert!(!watch.wait(NOW).unwrap());
        fs::write(aside.join("file"), "its own").unwrap();
        assert!(watch.wait(SOON).unwrap());
    }
}
