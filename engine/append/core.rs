//! What the rooms of appending share: waiting for a group, syncing, stopping, a quiet moment.

use super::{Core, completion::Completion, held::Held};
use crate::{
    catalog::{CatalogCell, Level, Queued},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, Owner},
    manifest::ManifestStore,
    options::{Durability, Options},
    segment::{Home, TailWriter},
    sync::{Arc, atomic::Ordering},
    types::{LogId, Seq},
    vfs::Dir,
};

impl Queued for Core {
    fn write(&self) -> Result<()> {
        let done = self.enqueue_write();
        done.map_or(Ok(()), |done| self.wait(&done, Durability::Written))
    }
}

impl Core {
    /// Waits until the group has come to the level, leading whenever nobody else does.
    pub(super) fn wait(&self, done: &Arc<Completion>, level: Durability) -> Result<()> {
        match done.reached(level) {
            Some(outcome) => outcome,
            None => self.wait_holding(self.lock(), done, level),
        }
    }

    /// The same with the queue in hand, as it is right after queueing.
    pub(super) fn wait_holding<'a>(
        &'a self,
        mut state: Held<'a>,
        done: &Arc<Completion>,
        level: Durability,
    ) -> Result<()> {
        loop {
            if let Some(outcome) = done.reached(level) {
                return outcome;
            }
            if state.queue.is_led() {
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
            state = self.lock();
        }
    }

    /// Makes everything appended so far durable, for the application: tells what was lost of its
    /// buffered records since it last asked. Gives the seq below which all is durable.
    pub(crate) fn sync(&self) -> Result<Seq> {
        let durable_seq = self.sync_all()?;
        let lost = self.lock().queue.take_lost();
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
        self.check_going(Op::Close)?;
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
            self.poison_by(error);
        }
        outcome
    }

    /// Does what may need room; if there is none, once more with that of the ballast.
    pub(crate) fn with_ballast<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let outcome = work();
        let full = |error: &Error| error.kind() == ErrorKind::NoSpace;
        if !outcome.as_ref().is_err_and(full) {
            return outcome;
        }
        let released = self.catalog.load().returned().release(&self.dir);
        if !released && !matches!(self.manifest.ballast().give(), Ok(true)) {
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
        self.poison_by(&error);
        Err(error.consequence(ErrorKind::Indeterminate, op))
    }

    /// Runs `change` while nobody writes and nothing is queued or unsynced, for changes to the end of the log. Gives
    /// it the writer of the tail, which it may replace. Whoever appends waits from the beginning, so that what is queued
    /// comes to an end.
    pub(crate) fn exclusively<T>(
        &self,
        op: Op,
        change: impl FnOnce(&Self, &mut TailWriter, Seq) -> Result<T>,
    ) -> Result<T> {
        let _inside = self.enter(op)?;
        let mut state = self.wait_for_end(self.lock());
        state.life.check_going(op)?;
        state.queue.hold_end();
        drop(state);
        let settled = self.settle_end(op);
        let mut plan = None;
        let result = settled.and_then(|next_seq| {
            let _only_one = self.hold_segments();
            let mut writer = self.writer.lock();
            let result = change(self, &mut writer.tail, next_seq);
            plan = Some((writer.tail.tail.clone(), writer.tail.summary.end));
            result
        });
        let mut state = self.lock();
        state.queue.let_end_go(plan);
        self.hand_on(&mut state);
        drop(state);
        self.stop_after(result)
    }

    /// Makes all that is queued durable, seals what is finished, and takes the lead. Nothing is queued
    /// meanwhile.
    fn settle_end(&self, op: Op) -> Result<Seq> {
        loop {
            let mut state = self.lock();
            state.life.check_going(op)?;
            if state.queue.is_led() {
                drop(self.wait_here(state));
                continue;
            }
            if !state.queue.is_empty() || self.durable_seq() < state.queue.next_seq() {
                let done = state.queue.back_wanting(Durability::Durable);
                done.map_or(Ok(()), |done| {
                    self.wait_holding(state, &done, Durability::Durable)
                })?;
                continue;
            }
            if !self.writer.lock().finished.is_empty() {
                drop(state);
                self.maintain_finished(op)?;
                continue;
            }
            state.queue.take_lead();
            return Ok(state.queue.next_seq());
        }
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

    /// Sealed segments of this log that are opened for one walk, and read by position.
    pub(crate) fn home_apart(&self) -> std::sync::Arc<Home> {
        Home::apart(self.dir.clone(), self.owner.log_id, &self.options)
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
