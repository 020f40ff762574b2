//! What the system says of the disk under a directory.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A disk, as far as anything is known of it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub file_system: Option<String>,
    /// What the kernel calls it.
    pub device: Option<String>,
    pub is_rotational: Option<bool>,
    /// `write back`: the device has a cache that a sync has to empty. `write through`: it says that it
    /// has none, or one that outlives the power.
    pub write_cache: Option<String>,
}

impl Disk {
    pub fn of(dir: &Path) -> Self {
        let queue = queue(dir);
        let read = |name: &str| {
            let text = fs::read_to_string(queue.as_ref()?.join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        let device = queue.as_ref().and_then(|queue| {
            let name = queue.parent()?.file_name()?;
            Some(name.to_string_lossy().into_owned())
        });
        Self {
            file_system: file_system(dir),
            is_rotational: read("rotational").map(|text| text == "1"),
            write_cache: read("write_cache"),
            device,
        }
    }

    /// Whether it is memory.
    pub fn is_memory(&self) -> bool {
        let kind = self.file_system.as_deref();
        matches!(kind, Some("tmpfs" | "ramfs" | "devtmpfs"))
    }
}

/// The directory in which the kernel keeps what it knows of the device, a partition's being its disk's.
fn queue(dir: &Path) -> Option<PathBuf> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let own = path.join("queue");
    match own.exists() {
        true => Some(own),
        false => Some(path.parent()?.join("queue")).filter(|queue| queue.exists()),
    }
}

/// The kind of the file system under a directory, if the system tells.
pub fn file_system(dir: &Path) -> Option<String> {
    let dir = fs::canonicalize(dir).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        let length = Path::new(point).components().count();
        if dir.starts_with(point) && best.is_none_or(|(longest, _)| length >= longest) {
            best = Some((length, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        let kind = self.file_system.clone().unwrap_or_else(unknown);
        write!(f, "file system {kind}")?;
        if let Some(device) = &self.device {
            write!(f, " on {device}")?;
        }
        match self.is_rotational {
            Some(true) => write!(f, ", which turns")?,
            Some(false) => write!(f, ", which does not turn")?,
            None => {}
        }
        match &self.write_cache {
            Some(cache) => write!(f, ", cache: {cache}"),
            None => Ok(()),
        }
    }
}
