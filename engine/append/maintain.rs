//! Sealing finished segments and preparing the next one, out of the appends' way.
//!
//! A rotation itself needs no manifest commit: the next file was named as the spare beforehand. This
//! work makes the one after possible: it seals what is finished, creates a spare, and commits both.

use super::{Core, Spare};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{RECYCLED, manifest::SealedEntry, names},
    observe::event,
    options::Options,
    segment::{Returned, Space, Tail, TailWriter, write_footer},
    sync::Arc,
    types::SegmentId,
    vfs::{Dir, Syncs, write_all_at},
};
use std::io;

/// Creates the file of the next segment: zeros, durable, and its name too.
pub(crate) fn create_spare(dir: &Dir, id: SegmentId, options: &Options) -> io::Result<Spare> {
    let name = names::segment(id);
    // An interrupted attempt may have left the name; no manifest ever named it.
    dir.remove_if_there(&name)?;
    let file = dir.create_new(&name)?;
    let allocated = options.ahead_bytes().min(options.segment_bytes);
    let zeros = vec![0; usize::try_from(allocated).unwrap_or(0)];
    let prepared = write_all_at(&*file, &zeros, 0).and_then(|()| {
        // DURABILITY: after these two lines the spare survives, and its name does.
        file.sync()?;
        dir.sync()
    });
    if let Err(error) = prepared {
        // No manifest names it: what cannot be removed is an orphan.
        dir.remove_if_there(&name).ok();
        return Err(error);
    }
    let file = dir.resting(&name, file, Syncs::Follow);
    Ok(Spare {
        id,
        salt: dir.vfs().random(),
        space: Arc::new(Space::new(file, allocated)),
    })
}

/// Makes a spare of a file that came back, if there is one; durable, and its name too.
fn recycled_spare(
    dir: &Dir,
    returned: &Returned,
    id: SegmentId,
    segment_bytes: u64,
) -> io::Result<Option<Spare>> {
    let Some((file, file_bytes)) = returned.make_over(dir, id, segment_bytes)? else {
        return Ok(None);
    };
    // DURABILITY: after this line its name survives, and the old ones are gone.
    if let Err(error) = dir.sync() {
        dir.remove_if_there(&names::segment(id)).ok();
        return Err(error);
    }
    let file = dir.resting(&names::segment(id), file, Syncs::Follow);
    Ok(Some(Spare {
        id,
        salt: dir.vfs().random(),
        space: Arc::new(Space::recycled(file, file_bytes, 0)),
    }))
}

impl Core {
    /// Whether there is a segment to seal or one to prepare.
    fn maintenance_is_due(&self) -> bool {
        let spare_missing = self.lock().queue.spare().is_none();
        spare_missing || !self.writer.lock().finished.is_empty()
    }

    /// Seals what is finished and prepares the next segment. True if there was something to do.
    pub(super) fn maintain(&self, op: Op) -> Result<bool> {
        let _only_one = self.hold_segments();
        self.lock().duties.set_seal_due(false);
        let done = self.maintain_now(op);
        if done.is_err() {
            self.lock().duties.set_seal_due(true);
        }
        self.stop_after(done)
    }

    fn maintain_now(&self, op: Op) -> Result<bool> {
        if !self.maintenance_is_due() {
            return Ok(false);
        }
        self.check_going(op)?;
        let (spare, full) = match self.new_spare(op) {
            Ok(spare) => (spare, None),
            // What is finished is sealed all the same, and the manifest names no spare for now.
            Err(error) if error.kind() == ErrorKind::NoSpace => (None, Some(error)),
            Err(error) => return Err(error),
        };
        if full.is_some() && self.writer.lock().finished.is_empty() {
            return full.map_or(Ok(false), Err);
        }
        if let Err(error) = self.seal_finished(op, spare.as_ref()) {
            if let Some(spare) = spare.filter(|_| !self.manifest.is_undecided()) {
                // No manifest names it, and the next attempt makes another.
                self.dir.remove_if_there(&names::segment(spare.id)).ok();
            }
            return Err(error);
        }
        if let Some(error) = full {
            return Err(error);
        }
        if let Some(spare) = spare {
            let mut state = self.lock();
            state.queue.give_spare(spare);
            state.waiting.go_on();
            self.make_room(&mut state);
        }
        Ok(true)
    }

    /// Creates the file for the next rotation, if the manifest names none.
    fn new_spare(&self, op: Op) -> Result<Option<Spare>> {
        if !self.spare_is_used_up() {
            return Ok(None);
        }
        let id = self.manifest.allocate_id();
        let place = Place::file(names::segment(id));
        let bytes = self.options.segment_bytes;
        let returned = self.catalog.load();
        let created = recycled_spare(&self.dir, returned.returned(), id, bytes)
            .and_then(|spare| spare.map_or_else(|| create_spare(&self.dir, id, &self.options), Ok));
        let spare = created.map_err(|error| Error::io(op, error).at(place))?;
        Ok(Some(spare))
    }

    /// Whether the manifest names no file for the next rotation. The one that it names may be
    /// spoken for by a queued group, or by one that a leader is about to write: then a manifest that
    /// names another instead would leave that one's records in a file that is not part of the log.
    fn spare_is_used_up(&self) -> bool {
        // Only maintenance changes the spare there, so this look at it is not too early; and nobody
        // waits for a commit of somebody else with the writer locked.
        let spare = self.manifest.snapshot().spare;
        let writer = self.writer.lock();
        spare.is_none_or(|spare| spare.id == writer.tail.tail.id)
    }

    /// Gives up the file for the next rotation, which no manifest names any more; another is to be made.
    pub(crate) fn give_up_spare(&self) -> Option<SegmentId> {
        let mut state = self.lock();
        state.duties.set_seal_due(true);
        state.queue.take_spare().map(|spare| spare.id)
    }

    /// Whether nothing that is finished waits for its seal.
    pub(super) fn all_sealed(&self) -> bool {
        self.writer.lock().finished.is_empty()
    }

    /// Seals what is finished, without preparing more.
    pub(super) fn maintain_finished(&self, op: Op) -> Result<()> {
        let _only_one = self.hold_segments();
        if self.writer.lock().finished.is_empty() {
            return Ok(());
        }
        self.stop_after(self.seal_finished(op, None))
    }

    /// Makes finished segments and the tail's header durable, before a manifest may name them so.
    /// Not under the writer's lock: appends go on meanwhile.
    fn sync_segments(&self, unsynced: &[Arc<Tail>], tail_id: SegmentId) -> Result<()> {
        for segment in unsynced {
            // DURABILITY: after this line all frames of a finished segment survive, and those of the
            // tail that were written by now; only a leader's own sync tells callers so.
            segment.space.sync().map_err(|error| {
                Error::io(Op::Sync, error).at(Place::in_segment(segment.id, segment.written_end()))
            })?;
        }
        let mut writer = self.writer.lock();
        writer.unsynced.retain(|left| {
            left.id == tail_id || !unsynced.iter().any(|synced| synced.id == left.id)
        });
        Ok(())
    }

    fn seal_finished(&self, op: Op, spare: Option<&Spare>) -> Result<()> {
        let (finished, tail, unsynced, ledger) = {
            let mut writer = self.writer.lock();
            let finished = std::mem::take(&mut writer.finished);
            let (tail, unsynced) = (writer.tail.tail.clone(), writer.unsynced.clone());
            (finished, tail, unsynced, writer.ledger.take())
        };
        if !finished.is_empty()
            && let Err(error) = self.sync_segments(&unsynced, tail.id)
        {
            self.poison_by(&error);
            return Err(error);
        }
        // What only acknowledgements filled is no part of the log any more: the cursors' files say it all.
        let (with_records, without): (Vec<_>, Vec<_>) =
            (finished.iter()).partition(|segment| segment.summary.tally.record_count > 0);
        let entries: Vec<SealedEntry> = with_records.into_iter().map(seal).collect();
        let dropped: Vec<SegmentId> = without.iter().map(|segment| segment.tail.id).collect();
        let moved = match finished.is_empty() {
            true => Ok(()),
            false => self.store_moved_cursors(op),
        };
        let committed =
            moved.and_then(|()| self.commit_sealed(op, &entries, &tail, spare, ledger.as_deref()));
        if let Err(error) = committed {
            let mut writer = self.writer.lock();
            writer.finished.splice(0..0, finished);
            // If another segment was begun meanwhile, its own holds more.
            writer.ledger = writer.ledger.take().or(ledger);
            drop(writer);
            if self.manifest.is_undecided() {
                self.poison_by(&error);
            }
            return Err(error);
        }
        self.catalog.swap(|catalog| {
            catalog.tails.retain(|tail| !dropped.contains(&tail.id));
            for entry in entries {
                catalog.tails.retain(|tail| tail.id != entry.id);
                let segment = catalog.segment(entry);
                Arc::make_mut(&mut catalog.sealed).push(segment);
            }
        });
        self.publish();
        for id in dropped {
            // No manifest names it any more; if this fails the next opening removes it.
            self.dir.remove_if_there(&names::segment(id)).ok();
        }
        Ok(())
    }

    fn commit_sealed(
        &self,
        op: Op,
        entries: &[SealedEntry],
        tail: &Tail,
        spare: Option<&Spare>,
        ledger: Option<&[u8]>,
    ) -> Result<()> {
        let durable_seq = self.durable_seq();
        self.manifest.commit_with(op, ledger, |manifest| {
            manifest.sealed.extend(entries.iter().copied());
            manifest.tail = tail.entry();
            if manifest.spare.is_some_and(|spare| spare.id == tail.id) {
                manifest.spare = None;
            }
            if let Some(spare) = spare {
                manifest.spare = Some(spare.entry());
                if spare.space.is_recycled() {
                    manifest.write_features |= RECYCLED;
                }
            }
            manifest.durable_seq = manifest.durable_seq.max(durable_seq);
            manifest.durable_end = 0;
            manifest.clean = false;
        })
    }
}

/// Writes the footer of a finished segment; gives its entry for the manifest.
fn seal(finished: &TailWriter) -> SealedEntry {
    let (footer, index) = finished.footer();
    let tail = &finished.tail;
    tail.space.finish();
    if write_footer(&**tail.space.file(), &tail.context, &footer, &index).is_err() {
        // Derived data: without it, the index is rebuilt from the frames when it is read.
        event!(warn, "footer not written", segment = tail.id.0);
    }
    finished.summary.sealed_entry(tail.id, &tail.context)
}
