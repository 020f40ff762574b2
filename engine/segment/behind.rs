//! Writing and syncing in a thread of its own, behind the one that builds segments: while the disk has
//! its time, the next bytes are read and verified.
//!
//! INVARIANTS: what is handed over is done in its order, and after the first error nothing is. Nothing
//! counts as written or durable before [`Behind::finish`] returned success. At most
//! [`QUEUED_BYTES_MAX`] wait, or one piece that is larger.
//!
//! Used by compaction, by way of `Builder`.

use crate::{
    sync::{self, Arc, Condvar, JoinHandle, Mutex},
    types::SegmentId,
    vfs::{VfsFile, write_all_at, write_back_blocks},
};
use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How many bytes wait at most: enough for the disk to have work while the other thread waits for a
/// page, and for the other to go on during a sync.
const QUEUED_BYTES_MAX: usize = 4 << 20;

type File = std::sync::Arc<dyn VfsFile>;

#[derive(Debug)]
enum Step {
    Write(Vec<u8>, u64),
    Sync,
}

impl Step {
    fn take(&self, file: &dyn VfsFile) -> io::Result<()> {
        match self {
            Self::Write(bytes, offset) => {
                write_all_at(file, bytes, *offset)?;
                // The device begins at once.
                write_back_blocks(file, *offset, offset + bytes.len() as u64)
            }
            // DURABILITY: after this line all that was handed over before survives; who relies on it
            // asks `finish`.
            Self::Sync => file.sync(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Write(bytes, _) => bytes.len(),
            Self::Sync => 0,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    steps: VecDeque<(SegmentId, File, Step)>,
    /// Bytes of the steps that wait.
    queued_bytes: usize,
    /// Whether a step is being taken.
    busy: bool,
    /// Nothing is done any more: the first error was met, which is here until it is told.
    failed: bool,
    error: Option<(SegmentId, io::Error)>,
    /// The owner is gone.
    ended: bool,
    /// Memory of what is written, to be filled again.
    used: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let Some((id, file, step)) = state.steps.pop_front() else {
                self.changed.wait(&mut state);
                continue;
            };
            state.queued_bytes -= step.bytes();
            state.busy = true;
            let skipped = state.failed;
            drop(state);
            self.changed.notify_all();
            let take = || if skipped { Ok(()) } else { step.take(&*file) };
            let panicked = |_| Err(io::Error::other("the file system panicked"));
            let outcome = catch_unwind(AssertUnwindSafe(take)).unwrap_or_else(panicked);
            state = self.state.lock();
            state.busy = false;
            if let Err(error) = outcome {
                state.failed = true;
                state.error = Some((id, error));
            }
            if let Step::Write(bytes, _) = step {
                state.used = Some(bytes);
            }
            self.changed.notify_all();
        }
    }
}

/// One segment's way to the thread.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    id: SegmentId,
    file: File,
}

impl Lane {
    /// Hands over what `bytes` has; it is empty afterwards. Waits if too much waits already.
    pub(super) fn write(&self, bytes: &mut Vec<u8>, offset: u64) {
        let mut state = self.shared.state.lock();
        while state.queued_bytes > 0 && state.queued_bytes + bytes.len() > QUEUED_BYTES_MAX {
            self.shared.changed.wait(&mut state);
        }
        let mut empty = state.used.take().unwrap_or_default();
        empty.clear();
        state.queued_bytes += bytes.len();
        let step = Step::Write(std::mem::replace(bytes, empty), offset);
        self.put(state, step);
    }

    /// Has it synced when all before is written; does not wait.
    pub(super) fn sync(&self) {
        self.put(self.shared.state.lock(), Step::Sync);
    }

    fn put(&self, mut state: sync::MutexGuard<'_, State>, step: Step) {
        state.steps.push_back((self.id, self.file.clone(), step));
        self.shared.changed.notify_all();
    }
}

/// The thread; it ends with this.
#[derive(Debug)]
pub(crate) struct Behind {
    shared: Arc<Shared>,
    thread: Option<JoinHandle>,
}

impl Behind {
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let thread = Some(sync::spawn("cairn-compact", move || its.work())?);
        Ok(Self { shared, thread })
    }

    pub(super) fn lane(&self, id: SegmentId, file: File) -> Lane {
        let shared = self.shared.clone();
        Lane { shared, id, file }
    }

    /// Whether all went well so far: else the first error, told once, with the segment that met it.
    pub(crate) fn check(&self) -> Result<(), (SegmentId, io::Error)> {
        self.shared.state.lock().error.take().map_or(Ok(()), Err)
    }

    /// Waits until all is done that was handed over, and tells how it went.
    pub(crate) fn finish(self) -> Result<(), (SegmentId, io::Error)> {
        let mut state = self.shared.state.lock();
        while state.busy || !state.steps.is_empty() {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        self.check()
    }
}

impl Drop for Behind {
    /// What was not done by now is not done any more.
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
