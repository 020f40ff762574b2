//! The real file system, by way of `std` where that has a door.
//!
//! Files are created new, mode 0600, and opened without following links (`O_NOFOLLOW`) or hanging
//! on a pipe (`O_NONBLOCK`); what is not a regular file is refused.

use super::{
    Access, DirEntry, FileIdentity, LockAttempt, Vfs, VfsDir, VfsFile, at, held::HeldDir, map,
};
use bytes::Bytes;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// The operating system's file system.
#[derive(Clone, Debug)]
pub struct RealFs {
    start: Instant,
}

impl Default for RealFs {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Vfs for RealFs {
    fn open_dir(&self, path: &Path) -> io::Result<Option<Arc<dyn VfsDir>>> {
        Ok(Some(Arc::new(HeldDir::open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A name may vanish between the listing and the look; then it is not there.
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                size_bytes: if meta.is_file() { meta.len() } else { 0 },
                is_file: meta.is_file(),
            });
        }
        Ok(entries)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = create_new(path)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let file = open(path, access)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<u64> {
        // Between two files this is `copy_file_range`: the kernel shares the blocks where it can.
        io::copy(&mut open(from, Access::Read)?, &mut create_new(to)?)
    }

    fn watch(&self, path: &Path) -> io::Result<Option<Box<dyn super::Watch>>> {
        if path.is_dir() {
            return HeldDir::open(path)?.watch(None);
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let name = path.file_name().and_then(|name| name.to_str());
        HeldDir::open(dir.unwrap_or(Path::new(".")))?.watch(name)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn try_lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        HeldDir::open(dir)?.try_lock()
    }

    fn unix_time_ms(&self) -> i64 {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        let drawn = at::random(&mut bytes).or_else(|_| {
            // A system without the call.
            File::open("/dev/urandom")?.read_exact(&mut bytes)
        });
        match drawn {
            Ok(()) => u64::from_le_bytes(bytes),
            // No source at all. The standard library's keys are all there is, and forked siblings have the
            // same: what differs between them goes in as well.
            Err(_) => {
                let mut hasher = RandomState::new().build_hasher();
                hasher.write_u32(std::process::id());
                hasher.write_u128(self.start.elapsed().as_nanos());
                hasher.finish()
            }
        }
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(kind, "not a regular file"));
    }
    Ok(file)
}

#[derive(Debug)]
pub(super) struct RealFile {
    pub(super) file: File,
}

impl VfsFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        super::write_back::write_back(&self.file, offset, len)
    }

    #[cfg(target_os = "linux")]
    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        use std::os::fd::AsRawFd;
        // The file that is open, whatever name it has by now.
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        // Some file systems refuse, and some systems do without `/proc`.
        Ok(opened.ok().map(|file| Arc::new(Self { file }) as _))
    }

    #[cfg(target_os = "linux")]
    fn is_sole(&self) -> io::Result<bool> {
        super::sole::is_sole(&self.file)
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        let facts = self.file.metadata()?;
        Ok(Some(FileIdentity {
            device: facts.dev(),
            number: facts.ino(),
            bytes: facts.len(),
        }))
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        map::map(&self.file, offset, len).map(Some)
    }
}
