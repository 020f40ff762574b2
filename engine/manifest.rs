//! Which segments exist durably. The commit here is the only commit point of the log's shape.
//!
//! A commit replaces the manifest whole: see `vfs/replace.rs`. At every
//! instant, and after a crash at any instant, one complete manifest is in force.
//!
//! INVARIANTS: a commit that failed at its rename or after leaves it undecided which manifest is in
//! force, so every later commit is refused, and who asked for it stops the writer. On a full disk a
//! commit needs no room (`vfs/replace.rs`), so trim, rewind and close still work there. The ledger
//! of producers is durable before the commit that makes it the only source of what it says.
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
    vfs::{Ballast, Dir, NotReplaced, Replaced},
};

/// The manifest in force, and the way to replace it.
#[derive(Debug)]
pub(crate) struct ManifestStore {
    dir: Dir,
    ballast: Ballast,
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
    manifest_file: Replaced,
    producers_file: Replaced,
}

impl State {
    fn check(&self, op: Op) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.consequence(ErrorKind::Poisoned, op)),
            None => Ok(()),
        }
    }
}

impl ManifestStore {
    /// Over the manifest that is in force on disk.
    pub(crate) fn new(dir: Dir, manifest: Manifest) -> Self {
        Self {
            ballast: Ballast::new(dir.clone(), names::RESERVE),
            dir,
            generation: AtomicU64::new(manifest.generation),
            state: Mutex::new(State {
                next_id: manifest.next_segment_id.0,
                manifest,
                failed: None,
                manifest_file: Replaced::new(
                    names::MANIFEST,
                    names::MANIFEST_NEW,
                    names::MANIFEST_ALT,
                ),
                producers_file: Replaced::new(
                    names::PRODUCERS,
                    names::PRODUCERS_NEW,
                    names::PRODUCERS_ALT,
                ),
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
        self.commit_with(op, None, edit)
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
            let State {
                producers_file,
                failed,
                ..
            } = &mut *state;
            self.replace(producers_file, failed, op, ledger)?;
            next.has_ledger = true;
        }
        self.put(&mut state, next, op)
    }

    /// Commits the manifest in force once more, edited or not, because it is not certain that it is
    /// durable.
    pub(crate) fn commit_again(&self, op: Op, edit: impl FnOnce(&mut Manifest)) -> Result<()> {
        let mut state = self.state.lock();
        state.check(op)?;
        let mut next = state.manifest.clone();
        edit(&mut next);
        self.put(&mut state, next, op)
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
        self.replace(&mut state.manifest_file, &mut state.failed, op, &bytes)?;
        self.generation.store(next.generation, Ordering::Release);
        state.manifest = next;
        if !state.manifest.sealed.is_empty() {
            self.ballast.want_all();
        }
        self.renew_ballast();
        Ok(())
    }

    /// What is held back for a full disk.
    pub(crate) fn ballast(&self) -> &Ballast {
        &self.ballast
    }

    /// Takes the ballast's room again if it was given back: for who has just made room. Failing to is no
    /// error: the next commit tries once more.
    pub(crate) fn renew_ballast(&self) {
        self.ballast.renew().ok();
    }

    fn replace(
        &self,
        file: &mut Replaced,
        failed: &mut Option<Error>,
        op: Op,
        content: &[u8],
    ) -> Result<()> {
        let outcome = file.replace(&self.dir, &self.ballast, content);
        let fail = |error| Error::io(op, error).at(Place::file(&*file.name));
        match outcome {
            Ok(()) => Ok(()),
            // Whatever went wrong there, no name leads to it, and the next attempt writes another file.
            Err(NotReplaced::Before(error)) => Err(fail(error)),
            Err(NotReplaced::Undecided(error)) => {
                let error = fail(error);
                *failed = Some(error.clone());
                Err(error)
            }
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;
    use crate::{
        format::manifest::{SealedEntry, TailEntry},
        types::LogId,
        vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    };
    use std::{path::Path, sync::Arc};

    /// Which manifest is in force nobody knows then: another one might undo what somebody was told.
    fn store(disk: &SimFs, sealed: Vec<SealedEntry>) -> ManifestStore {
        let dir = Dir::new(Arc::new(disk.clone()), Path::new("/log"));
        dir.create().unwrap();
        let tail_id = sealed.len() as u64 + 1;
        let first = Manifest {
            log_id: LogId([7; 16]),
            incarnation: 1,
            write_features: 0,
            generation: 0,
            created_ms: 0,
            head_seq: 0,
            next_segment_id: SegmentId(tail_id + 1),
            durable_seq: 10,
            durable_end: 0,
            clean: false,
            has_ledger: false,
            sealed,
            tail: TailEntry {
                id: SegmentId(tail_id),
                salt: 1,
                base_seq: 0,
            },
            spare: None,
            marks: Vec::new(),
        };
        ManifestStore::new(dir, first)
    }

    fn sealed(id: u64) -> SealedEntry {
        SealedEntry {
            id: SegmentId(id),
            salt: 1,
            base_seq: 0,
            next_seq: 0,
            frames_end: 4096,
            max_timestamp_ms: 0,
            record_count: 0,
            tombstone_count: 0,
            keyed_count: 0,
            compacted: false,
            packed: false,
            far: false,
        }
    }

    /// As many as the format takes, and then none: what would not be read again is not written.
    #[test]
    fn how_many_sealed_segments_does_a_log_take() {
        let disk = SimFs::new(1);
        let store = store(&disk, (1..SEALED_MAX as u64).map(sealed).collect());
        let add = || {
            let id = store.allocate_id().0;
            store.commit(Op::Rotate, |manifest| manifest.sealed.push(sealed(id)))
        };
        add().unwrap();
        assert_eq!(add().unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(!store.is_undecided());
        let stored = disk.read_file(Path::new("/log/MANIFEST")).unwrap();
        assert_eq!(Manifest::decode(&stored).unwrap(), store.snapshot());
        assert_eq!(store.snapshot().sealed.len(), SEALED_MAX);
    }

    #[test]
    fn is_every_commit_refused_after_one_of_which_nobody_knows_whether_it_holds() {
        let disk = SimFs::new(1);
        let store = store(&disk, Vec::new());
        let trim = |seq| store.commit(Op::Trim, |manifest| manifest.head_seq = seq);
        trim(1).unwrap();
        // No sync has failed, after which the directory refuses by itself.
        let fault = Fault::Error(Errno::Eio);
        disk.fail(FaultRule::nth(OpKind::Rename, 0, fault));
        trim(2).unwrap_err();
        assert!(store.is_undecided());
        let calls = disk.call_count();
        for _ in 0..2 {
            assert_eq!(trim(3).unwrap_err().kind(), ErrorKind::Poisoned);
        }
        let again = store.commit_again(Op::Trim, |_| {});
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(disk.call_count(), calls, "nothing was tried");
        assert_eq!(store.snapshot().head_seq, 1);
    }
}
