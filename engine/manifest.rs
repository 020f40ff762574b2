//! Which segments exist durably. The commit here is the only commit point of the log's shape.
//!
//! A commit replaces the manifest whole: write aside, sync, rename, sync the directory. At every
//! instant, and after a crash at any instant, one complete manifest is in force.
//!
//! INVARIANTS: a commit that failed after its rename leaves it unknown which manifest is in force, so
//! every later commit is refused. On a full disk the file `RESERVE` gives its room to the commit,
//! so trim, rewind and close still work there.
//!
//! Called by append (rotation, close), recover, trim, compact.

use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, names},
    sync::Mutex,
    vfs::Dir,
};
use std::io;

/// The least room kept for a commit on a full disk, in bytes.
const RESERVE_BYTES: usize = 64 * 1024;

/// The manifest in force, and the way to replace it.
#[derive(Debug)]
pub(crate) struct ManifestStore {
    dir: Dir,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    manifest: Manifest,
    failed: Option<Error>,
    reserved: bool,
}

impl ManifestStore {
    /// Over the manifest that is in force on disk.
    pub(crate) fn new(dir: Dir, manifest: Manifest, reserved: bool) -> Self {
        Self {
            dir,
            state: Mutex::new(State {
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

    /// Commits an edited manifest. On `NoSpace` the old one is in force and all goes on; after any
    /// other error this store refuses every further commit.
    pub(crate) fn commit(&self, op: Op, edit: impl FnOnce(&mut Manifest)) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Err(error.consequence(ErrorKind::Poisoned, op));
        }
        let mut next = state.manifest.clone();
        edit(&mut next);
        if next == state.manifest {
            return Ok(());
        }
        next.generation += 1;
        let bytes = next.encode();
        // Checked right before writing, as it is right after reading.
        Manifest::decode(&bytes)
            .map_err(|defect| Error::defect(op, Place::file(names::MANIFEST), defect))?;
        let fail = |error| Error::io(op, error).at(Place::file(names::MANIFEST));
        let mut written = self.write_aside(&bytes);
        if is_full(&written) && state.reserved {
            // The reserve exists for this moment: its blocks go to the manifest.
            state.reserved = false;
            self.dir.remove_if_there(names::RESERVE).map_err(fail)?;
            written = self.write_aside(&bytes);
        }
        if let Err(error) = written {
            let full = error.kind() == io::ErrorKind::StorageFull;
            let error = fail(error);
            if !full {
                state.failed = Some(error.clone());
            }
            return Err(error);
        }
        if let Err(error) = self.replace() {
            let error = fail(error);
            state.failed = Some(error.clone());
            return Err(error);
        }
        state.manifest = next;
        if !state.reserved {
            state.reserved = self.reserve(bytes.len()).is_ok();
        }
        Ok(())
    }

    fn write_aside(&self, bytes: &[u8]) -> io::Result<()> {
        self.dir.remove_if_there(names::MANIFEST_NEW)?;
        let written = self.dir.write_new(names::MANIFEST_NEW, bytes);
        if is_full(&written) {
            self.dir.remove_if_there(names::MANIFEST_NEW)?;
        }
        written
    }

    fn replace(&self) -> io::Result<()> {
        self.dir.rename(names::MANIFEST_NEW, names::MANIFEST)?;
        // DURABILITY: after this line the new set of segments is in force, whatever happens. Before
        // it either set may be; both are complete.
        self.dir.sync()
    }

    /// Fills the reserve again. Failing to is no error: the next commit tries once more.
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

fn is_full(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    })
}
