//! A simulated disk on which a call can be held: what do others see, and do, while it is under way?
//!
//! It goes by paths, and is the disk itself but for the calls that are held. Nobody waits for ever: a call
//! that does not come, or is not let go, is a panic with a reason.

use crate::unchanged::unchanged;
use cairnlog::vfs::{
    Access, Vfs, VfsFile,
    sim::{OpKind, SimFs},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A write of zeros behind the start of a file, a fill ahead, can be held by a path that ends so, too.
const ZEROS: &str = " zeros";

#[derive(Debug, Default)]
struct State {
    /// What is held next: a kind of call on a path that ends so.
    wanted: Option<(OpKind, &'static str)>,
    /// Whether a call is held by now.
    inside: bool,
}

/// Where calls are held.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self, kind: OpKind, path: &Path) {
        let mut state = self.state.lock().unwrap();
        let is_it =
            |(wanted, end): (OpKind, &str)| wanted == kind && path.to_string_lossy().ends_with(end);
        if !state.wanted.is_some_and(is_it) {
            return;
        }
        state.wanted = None;
        state.inside = true;
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.inside);
        assert!(!waited.unwrap().1.timed_out(), "{path:?} was never let go");
    }
}

/// The disk, and its gate.
#[derive(Clone, Debug)]
pub struct Gated {
    pub disk: SimFs,
    gate: Arc<Gate>,
}

impl Gated {
    pub fn new(disk: &SimFs) -> Self {
        let (disk, gate) = (disk.clone(), Arc::default());
        Self { disk, gate }
    }

    /// Holds the next call of a kind on a path that ends so, before it is done.
    pub fn hold(&self, kind: OpKind, path_end: &'static str) {
        self.gate.state.lock().unwrap().wanted = Some((kind, path_end));
    }

    /// Waits until it is held.
    pub fn wait_until_held(&self) {
        let state = self.gate.state.lock().unwrap();
        let waited = self
            .gate
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !state.inside);
        assert!(!waited.unwrap().1.timed_out(), "the call never came");
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.gate.state.lock().unwrap().inside = false;
        self.gate.changed.notify_all();
    }

    fn file(&self, path: &Path, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        let (path, gate) = (path.to_owned(), self.gate.clone());
        Arc::new(GatedFile { file, path, gate })
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    gate: Arc<Gate>,
}

impl VfsFile for GatedFile {
    unchanged!(file: len, set_len);
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass(OpKind::Read, &self.path);
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if offset > 0 && buf.iter().all(|byte| *byte == 0) {
            let path = format!("{}{ZEROS}", self.path.display());
            self.gate.pass(OpKind::Write, Path::new(&path));
        }
        self.gate.pass(OpKind::Write, &self.path);
        self.file.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.pass(OpKind::Sync, &self.path);
        self.file.sync()
    }
}

impl Vfs for Gated {
    unchanged!(disk: create_dir, list, try_lock, unix_time_ms, monotonic, sleep, random);
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.file(path, self.disk.create_new(path)?))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.gate.pass(OpKind::Open, path);
        Ok(self.file(path, self.disk.open(path, access)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass(OpKind::Rename, from);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.pass(OpKind::Remove, path);
        self.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.gate.pass(OpKind::SyncDir, path);
        self.disk.sync_dir(path)
    }
}
