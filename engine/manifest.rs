//! Which segments exist durably. The commit here is the only commit point of the log's shape.
//!
//! A commit replaces the manifest whole: write aside, sync, rename, sync the directory. At every
//! instant, and after a crash at any instant, one complete manifest is in force.
//!
//! INVARIANTS: a commit that failed at its rename or after leaves it undecided which manifest is in
//! force, so every later commit is refused, and who asked for it stops the writer. On a full disk the
//! file `RESERVE` gives its room to the commit, so trim, rewind and close still work there. The
//! ledger of producers is durable before the commit that makes it the only source of what it says.
//!
//! Called by append (rotation, close), recover, trim, compact.

use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, ProducersFile, manifest::SEALED_MAX, names},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    types::SegmentId,
    vfs::Dir,
};
use std::io;

/// The least room kept for a commit on a full disk, in bytes.
const RESERVE_BYTES: usize = 64 * 1024;

/// The manifest in force, and the way to replace it.
#[derive(Debug)]
pub(crate) struct ManifestStore {
    dir: Dir,
    /// Of the manifest in force, to be had while a commit is under way.
    generation: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    manifest: Manifest,
    /// The next id for a segment: ids that were given out count, whether a commit names them or not.
    next_id: u64,
    failed: Option<Error>,
    reserved: bool,
}

impl State {
    fn check(&self, op: Op) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.consequence(ErrorKind::Poisoned, op)),
            None => Ok(()),
        }
    }
}

/// A file that is replaced whole, and the name under which its successor is written.
struct Replaced {
    name: &'static str,
    new_name: &'static str,
}

const MANIFEST: Replaced = Replaced {
    name: names::MANIFEST,
    new_name: names::MANIFEST_NEW,
};
const PRODUCERS: Replaced = Replaced {
    name: names::PRODUCERS,
    new_name: names::PRODUCERS_NEW,
};

impl ManifestStore {
    /// Over the manifest that is in force on disk.
    pub(crate) fn new(dir: Dir, manifest: Manifest, reserved: bool) -> Self {
        Self {
            dir,
            generation: AtomicU64::new(manifest.generation),
            state: Mutex::new(State {
                next_id: manifest.next_segment_id.0,
                manifest,
                failed: None,
                reserved,
            }),
        }
    }

    /// A copy of the manifest in force.
    pub(crate) fn snapshot(&self) -> Manifest {
        self.state.lock().manifest.clone()
    }

    /// An id for a new segment, given to nobody else: several may be written aside at once.
    pub(crate) fn allocate_id(&self) -> SegmentId {
        let mut state = self.state.lock();
        let id = SegmentId(state.next_id);
        state.next_id += 1;
        id
    }

    /// Counts the commits.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Commits an edited manifest. After an error the old one is in force and all goes on, unless the
    /// store [is undecided](Self::is_undecided): then it refuses every further commit.
    pub(crate) fn commit(&self, op: Op, edit: impl FnOnce(&mut Manifest)) -> Result<()> {
        let mut state = self.state.lock();
        state.check(op)?;
        let mut next = state.manifest.clone();
        edit(&mut next);
        if next == state.manifest {
            return Ok(());
        }
        self.put(&mut state, next, op)
    }

    /// As [`commit`](Self::commit), and before it stores the ledger as of the base of the tail that the
    /// edited manifest names: opening finds there what the segments then sealed said of producers.
    pub(crate) fn commit_with(
        &self,
        op: Op,
        ledger: Option<&[u8]>,
        edit: impl FnOnce(&mut Manifest),
    ) -> Result<()> {
        let mut state = self.state.lock();
        state.check(op)?;
        let mut next = state.manifest.clone();
        edit(&mut next);
        if next == state.manifest && ledger.is_none() {
            return Ok(());
        }
        // One that is there is as new as the tail, also if there is nobody left to know.
        let nobody = || next.has_ledger && next.tail != state.manifest.tail;
        let empty = (ledger.is_none() && nobody()).then(|| empty_ledger(&next));
        if let Some(ledger) = ledger.or(empty.as_deref()) {
            // DURABILITY: after this line the ledger is in force, and true for the manifest before
            // and for the one to come.
            self.replace(&mut state, op, &PRODUCERS, ledger)?;
            next.has_ledger = true;
        }
        self.put(&mut state, next, op)
    }

    /// Commits the manifest in force once more, because it is not certain that it is durable.
    pub(crate) fn commit_again(&self, op: Op) -> Result<()> {
        let mut state = self.state.lock();
        let same = state.manifest.clone();
        self.put(&mut state, same, op)
    }

    /// Whether a commit failed so that the new manifest may be in force, or the old one.
    pub(crate) fn is_undecided(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    fn put(&self, state: &mut State, mut next: Manifest, op: Op) -> Result<()> {
        next.generation += 1;
        state.next_id = state.next_id.max(next.next_segment_id.0);
        next.next_segment_id = SegmentId(state.next_id);
        // Clean is what opening builds on without a commit of its own. So only the close says it, which
        // changes nothing else: if it is lost, the manifest before it tells the same.
        next.clean &= op == Op::Close;
        if next.sealed.len() > SEALED_MAX {
            let note = "a log has at most 1,048,576 sealed segments: trim it, or compact it";
            return Err(Error::note(ErrorKind::TooLarge, op, note));
        }
        let bytes = next.encode();
        // Checked right before writing, as it is right after reading.
        Manifest::decode(&bytes)
            .map_err(|defect| Error::defect(op, Place::file(names::MANIFEST), defect))?;
        self.replace(state, op, &MANIFEST, &bytes)?;
        self.generation.store(next.generation, Ordering::Release);
        state.manifest = next;
        self.fill_reserve(state);
        Ok(())
    }

    /// Fills the reserve again if a commit used it up: for who has just made room.
    pub(crate) fn renew_reserve(&self) {
        self.fill_reserve(&mut self.state.lock());
    }

    /// Failing to is no error: the next commit tries once more.
    fn fill_reserve(&self, state: &mut State) {
        if !state.reserved && state.failed.is_none() {
            let manifest_bytes = state.manifest.encode().len();
            state.reserved = self.reserve(manifest_bytes).is_ok();
        }
    }

    /// Replaces a file whole: the old content is in force or the new one, at every instant.
    fn replace(&self, state: &mut State, op: Op, file: &Replaced, bytes: &[u8]) -> Result<()> {
        let fail = |error| Error::io(op, error).at(Place::file(file.name));
        let mut written = self.write_aside(file, bytes);
        if is_full(&written) && state.reserved {
            // The reserve exists for this moment: its blocks go to what has to be written.
            state.reserved = false;
            self.dir.remove_if_there(names::RESERVE).map_err(fail)?;
            written = self.write_aside(file, bytes);
        }
        // Whatever went wrong there, no name leads to it, and the next attempt writes another file.
        written.map_err(fail)?;
        let renamed = self.dir.rename(file.new_name, file.name);
        // DURABILITY: after this line the new content is in force, whatever happens. Before it
        // either may be; both are complete.
        if let Err(error) = renamed.and_then(|()| self.dir.sync()) {
            let error = fail(error);
            state.failed = Some(error.clone());
            return Err(error);
        }
        Ok(())
    }

    fn write_aside(&self, file: &Replaced, bytes: &[u8]) -> io::Result<()> {
        self.dir.remove_if_there(file.new_name)?;
        let written = self.dir.write_new(file.new_name, bytes);
        if is_full(&written) {
            self.dir.remove_if_there(file.new_name)?;
        }
        written
    }

    fn reserve(&self, manifest_bytes: usize) -> io::Result<()> {
        let content = vec![0; RESERVE_BYTES.max(manifest_bytes * 2)];
        self.dir.remove_if_there(names::RESERVE)?;
        let written = self.dir.write_new(names::RESERVE, &content);
        if written.is_err() {
            self.dir.remove_if_there(names::RESERVE)?;
        }
        written
    }
}

/// A ledger that knows nobody, as of the tail's base.
fn empty_ledger(manifest: &Manifest) -> Vec<u8> {
    let base_seq = manifest.tail.base_seq;
    let file = ProducersFile {
        log_id: manifest.log_id,
        incarnation: manifest.incarnation,
        as_of_seq: base_seq,
        end_seq: base_seq,
        tail_id: manifest.tail.id,
        producers: Vec::new(),
    };
    file.encode()
}

fn is_full(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    })
}
