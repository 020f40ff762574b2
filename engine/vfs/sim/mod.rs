//! A simulated disk that loses power.
//!
//! [`SimFs`] is a [`Vfs`](super::Vfs) held in memory. It is deterministic (the same seed and the
//! same calls give the same everything), promises what POSIX promises and not a bit more, and
//! hands out the disk as it could be after a power cut at any operation of a run. Cairn is tested
//! with it, and any program that does its file handling through `Vfs` can be:
//!
//! ```
//! use cairnlog::vfs::{Vfs, sim::SimFs};
//! use std::{io, path::Path};
//!
//! /// The code under test: replaces a file. It forgets to sync the new one.
//! fn save(fs: &dyn Vfs, text: &[u8]) -> io::Result<()> {
//!     let file = fs.create_new(Path::new("/settings.tmp"))?;
//!     file.write_at(text, 0)?;
//!     fs.rename(Path::new("/settings.tmp"), Path::new("/settings"))?;
//!     fs.sync_dir(Path::new("/"))
//! }
//!
//! let disk = SimFs::new(1);
//! disk.write_file(Path::new("/settings"), b"old");
//! save(&disk, b"new")?;
//!
//! let mut losses = Vec::new();
//! for op in 0..=disk.op_count() {
//!     let cut = disk.crash_at(op);
//!     for (choice, after) in cut.all(4096) {
//!         match after.read_file(Path::new("/settings")).as_deref() {
//!             Some(b"old" | b"new") => {}
//!             other => losses.push(format!("{op}: {other:?}\n{}", cut.describe(&choice))),
//!         }
//!     }
//! }
//! assert!(!losses.is_empty(), "a file of zeros, an empty file, ...");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # The model
//!
//! - Written bytes, sizes and names are all *pending* until a sync of the file (bytes and size) or
//!   of the directory (names) succeeds. A synced file whose name was not synced is lost whole.
//! - At a power cut every pending effect is kept, lost or torn, whatever happens to the others:
//!   a size without its bytes (zeros), bytes without their size (cut off), a later write without
//!   an earlier one. What was synced is in every state.
//! - A rename is atomic: its target is the old file or the new one, never neither; the source may
//!   be left beside it, as a second name of the same file.
//! - Sectors are not atomic. Powersafe overwrite is assumed: a torn write harms bytes inside its
//!   own range only, never its neighbours, and none that it writes over with its own value.
//! - A failed sync may leave a cache that lies; see [`SyncFailure`]. A loss that the system meets by
//!   itself is [told once](Fault::Late), by the next sync, and perhaps to somebody else.
//! - A read may differ from the one before it; see [`Misread`].
//! - Room is counted in bytes of files, or as real file systems do: by blocks, with copies of what is
//!   written over, late, and shared with others; see [`Space`]. With it may come stale bytes, instead of
//!   zeros, in space that was never written.
//! - An older file can be put back in the place of the newer one, or a name that was removed, by hand;
//!   see [`SimFs::put_back`].
//! - A directory that is [held](super::Vfs::open_dir) stays the same one when it is renamed and another
//!   takes its path. [Symbolic links](SimFs::symlink) lead to directories; no file is opened by one.
//!   [Descriptors](SimFs::set_descriptors_max) can run out.
//! - Not modelled: disks that lie about a sync which nobody else shares, permissions, removal of
//!   directories.
//!
//! # Invariants
//!
//! One lock guards everything; there is no time, thread, file or randomness of
//! the real world in here. Determinism holds for programs that call from one thread at a time.
//! Called by tests, of this crate and of others.

mod choice;
mod content;
mod crash;
mod disk;
mod effect;
mod enumerate;
mod errno;
mod fault;
mod file;
mod file_node;
mod fs;
mod journal;
mod names;
mod older;
mod outside;
mod plan;
mod power;
mod rng;
mod space;
mod stale;
mod state;
mod trace;

pub use choice::{Choice, Fate, Tear};
pub use crash::CrashPoint;
pub use effect::{Effect, EffectKind};
pub use enumerate::States;
pub use errno::Errno;
pub use fault::{Fault, FaultRule, Misread, SyncFailure};
pub use space::Space;
pub use trace::{OpKind, Outcome, TraceEvent};

use parking_lot::{Mutex, MutexGuard};
use state::State;
use std::{fmt, sync::Arc, time::Duration};

/// A simulated disk, with a clock and a source of numbers: see the [module](self).
///
/// A clone is another handle to the same disk. For a copy of the disk, see
/// [`snapshot`](Self::snapshot).
#[derive(Clone)]
pub struct SimFs {
    shared: Arc<Mutex<State>>,
}

impl SimFs {
    /// An empty disk; the root directory exists.
    pub fn new(seed: u64) -> Self {
        Self::with(State::first_boot(seed))
    }

    fn with(state: State) -> Self {
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.lock().pass(time);
    }

    /// How many operations there were: calls that can change the disk (see [`OpKind`]), whether
    /// they succeeded or not. It is the number that the next one gets.
    pub fn op_count(&self) -> u64 {
        self.lock().journal.next_op()
    }

    /// How many calls there were, reads included. A sweep lets each of them
    /// [fail](FaultRule::nth_call) in turn.
    pub fn call_count(&self) -> u64 {
        self.lock().call_count
    }

    /// Sets a rule by which calls fail from now on. Of several that hit one call, the first wins.
    pub fn fail(&self, rule: FaultRule) {
        self.lock().rules.add(rule);
    }

    /// Drops all rules. What failed syncs have left behind stays.
    pub fn clear_faults(&self) {
        self.lock().rules.clear();
    }

    /// How many calls met a fault so far: to tell a rule that was survived from one that never hit.
    pub fn fault_count(&self) -> u64 {
        self.lock().rules.fired_count
    }

    /// Limits how many files, directories and locks (one each) the process may have open; what would
    /// open more fails with `EMFILE`. A new process has no limit.
    pub fn set_descriptors_max(&self, count: Option<u64>) {
        self.lock().descriptors_max = count;
    }

    /// How many descriptors the process has.
    pub fn descriptor_count(&self) -> u64 {
        self.lock().descriptor_count()
    }

    /// How many files are open: each handle that was not dropped yet counts.
    pub fn open_count(&self) -> u64 {
        self.lock().open_count()
    }

    /// Every call so far, in order.
    pub fn trace(&self) -> Vec<TraceEvent> {
        self.lock().trace.events()
    }

    /// A number for all calls so far, their arguments, written bytes and outcomes: equal for equal
    /// runs.
    pub fn trace_hash(&self) -> u64 {
        self.lock().trace.hash()
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody may print a disk from inside a call; that must not wait for itself.
        let op_count = self.shared.try_lock().map(|state| state.journal.next_op());
        f.debug_struct("SimFs")
            .field("op_count", &op_count)
            .finish_non_exhaustive()
    }
}
