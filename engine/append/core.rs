//! What the rooms of appending share: waiting for a group, syncing, stopping, a quiet moment.

use super::{Core, completion::Completion, queue::State};
use crate::{
    catalog::{CatalogCell, Level},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, Owner},
    manifest::ManifestStore,
    options::{Durability, Options},
    segment::TailWriter,
    sync::{Arc, MutexGuard, atomic::Ordering},
    types::{LogId, Seq},
    vfs::Dir,
};

impl Core {
    /// Waits until the group has come to the level, leading whenever nobody else does.
    pub(super) fn wait(&self, done: &Arc<Completion>, level: Durability) -> Result<()> {
        match done.reached(level) {
            Some(outcome) => outcome,
            None => self.wait_holding(self.state.lock(), done, level),
        }
    }

    /// The same with the queue in hand, as it is right after queueing.
    pub(super) fn wait_holding<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        done: &Arc<Completion>,
        level: Durability,
    ) -> Result<()> {
        loop {
            if let Some(outcome) = done.reached(level) {
                return outcome;
            }
            if state.leading {
                done.register(level);
                self.parked_count.fetch_add(1, Ordering::Relaxed);
                drop(state);
                done.park(level);
                self.parked_count.fetch_sub(1, Ordering::Relaxed);
            } else {
                self.lead(state);
            }
            if let Some(outcome) = done.reached(level) {
                return outcome;
            }
            state = self.state.lock();
        }
    }

    /// Makes everything appended so far durable, for the application: tells what was lost of its
    /// buffered records since it last asked. Gives the seq below which all is durable.
    pub(crate) fn sync(&self) -> Result<Seq> {
        let durable_seq = self.sync_all()?;
        let lost = self.state.lock().lost_buffered.take();
        lost.map_or(Ok(durable_seq), Err)
    }

    /// Makes everything appended so far durable; gives the seq below which it is.
    pub(crate) fn sync_all(&self) -> Result<Seq> {
        if let Some(done) = self.enqueue_sync()? {
            self.wait(&done, Durability::Durable)?;
        }
        Ok(self.durable_seq())
    }

    /// Names the end in the manifest, so that later damage to it is provable: if all that was written
    /// is durable, and no sync failed.
    pub(super) fn commit_end(&self) -> Result<()> {
        Self::check_open(&self.state.lock(), Op::Sync)?;
        let durable_seq = self.durable_seq();
        match self.maintain_finished(Op::Close) {
            // There is no room for the ledger. Then what is finished stays unsealed, and the manifest
            // attests how far it and what follows were durable: the next opening goes on there.
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                return self.manifest.commit(Op::Close, |manifest| {
                    manifest.durable_seq = manifest.durable_seq.max(durable_seq);
                });
            }
            sealed => sealed?,
        }
        let (tail_id, end) = {
            let writer = self.writer.lock();
            if writer.tail.summary.next_seq != durable_seq {
                return Ok(());
            }
            (writer.tail.tail.id, writer.tail.summary.end)
        };
        self.manifest.commit(Op::Close, |manifest| {
            if manifest.tail.id == tail_id {
                manifest.durable_seq = durable_seq;
                manifest.durable_end = end;
                manifest.clean = true;
            }
        })?;
        self.publish();
        Ok(())
    }

    /// Commits a change of what the log holds. If it stays undecided whether the change is in force,
    /// the log is poisoned: what would be appended now might go into a segment that is not part of it.
    pub(crate) fn commit(
        &self,
        op: Op,
        ledger: Option<&[u8]>,
        edit: impl FnOnce(&mut Manifest),
    ) -> Result<()> {
        // If it was undecided before, this one is refused, and not under way.
        let refused = self.manifest.is_undecided();
        let outcome = self.manifest.commit_with(op, ledger, edit);
        self.poison_if_undecided(op, refused, outcome)
    }

    /// Makes names durable that others put into the log's directory.
    pub(crate) fn sync_dir(&self, op: Op) -> Result<()> {
        // DURABILITY: after this line every name in the log's directory survives.
        let synced = self.dir.sync();
        let place = || Place::file(self.dir.path());
        self.stop_after(synced.map_err(|error| Error::io(op, error).at(place())))
    }

    /// What came of anything that may have synced. If a sync has failed, whosever it was, the log takes
    /// no more appends: nothing is written after it.
    pub(crate) fn stop_after<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && self.dir.sync_failed()
        {
            let mut state = self.state.lock();
            if state.poison.is_none() {
                self.poison(&mut state, None, error);
            }
        }
        outcome
    }

    /// Does what may need room; if there is none, once more with that of the ballast.
    pub(crate) fn with_ballast<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let outcome = work();
        let full = |error: &Error| error.kind() == ErrorKind::NoSpace;
        if !outcome.as_ref().is_err_and(full) || !matches!(self.manifest.ballast().give(), Ok(true))
        {
            return outcome;
        }
        let outcome = work();
        self.manifest.renew_ballast();
        outcome
    }

    fn poison_if_undecided(&self, op: Op, refused: bool, outcome: Result<()>) -> Result<()> {
        let Err(error) = self.stop_after(outcome) else {
            self.publish();
            // What came after the commit, the reserve, may have failed: it is done all the same.
            let place = || Place::file(self.dir.path());
            let going_on = self.dir.check_changeable();
            self.stop_after(going_on.map_err(|error| Error::io(op, error).at(place())))
                .ok();
            return Ok(());
        };
        if refused || !self.manifest.is_undecided() {
            return Err(error);
        }
        let mut state = self.state.lock();
        if state.poison.is_none() {
            self.poison(&mut state, None, &error);
        }
        Err(error.consequence(ErrorKind::Indeterminate, op))
    }

    pub(super) fn exclusively<T>(
        &self,
        op: Op,
        change: impl FnOnce(&Self, &mut TailWriter, Seq) -> Result<T>,
    ) -> Result<T> {
        let next_seq = loop {
            self.sync_all()?;
            self.maintain_finished(op)?;
            let mut state = self.state.lock();
            Self::check_open(&state, op)?;
            let durable_seq = self.durable_seq();
            let settled = state.queue.is_empty() && durable_seq == state.next_seq;
            if !state.leading && settled && self.writer.lock().finished.is_empty() {
                state.leading = true;
                state.end_changes = true;
                break state.next_seq;
            }
        };
        let (result, plan) = {
            let _only_one = self.maintenance.lock();
            let mut writer = self.writer.lock();
            let result = change(self, &mut writer.tail, next_seq);
            (result, (writer.tail.tail.clone(), writer.tail.summary.end))
        };
        let mut state = self.state.lock();
        state.plan = plan;
        state.leading = false;
        state.end_changes = false;
        self.hand_on(&mut state);
        drop(state);
        self.stop_after(result)
    }

    /// The error of an append that comes after the log stopped taking any.
    pub(super) fn check_open(state: &State, op: Op) -> Result<()> {
        if let Some(error) = &state.poison {
            return Err(error.consequence(ErrorKind::Poisoned, op));
        }
        if state.closed && op != Op::Sync {
            return Err(Error::note(ErrorKind::Closed, op, "the log is closed"));
        }
        Ok(())
    }

    /// While it is held, segments are neither sealed nor trimmed, rewound or swapped.
    pub(crate) fn hold_segments(&self) -> MutexGuard<'_, ()> {
        self.maintenance.lock()
    }

    /// Whether the log takes changes: not after it was closed or poisoned; the error says why.
    pub(crate) fn check_usable(&self, op: Op) -> Result<()> {
        Self::check_open(&self.state.lock(), op)
    }

    pub(crate) fn durable_seq(&self) -> Seq {
        self.watermark.get(Level::Durable)
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.owner.log_id
    }

    /// Whose the files beside the segments are.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn manifest(&self) -> &ManifestStore {
        &self.manifest
    }

    pub(crate) fn catalog(&self) -> &CatalogCell {
        &self.catalog
    }
}
