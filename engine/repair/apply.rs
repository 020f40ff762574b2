//! Carrying a repair out: keep every original, write anew what verifies, commit once.

use super::{
    dedup,
    writer::{Copies, forget_ledger},
};
use crate::{
    error::{Error, Op, Place, Result},
    format::{Manifest, header::HEADER_BYTES, manifest::SealedEntry, names},
    manifest::ManifestStore,
    options::Options,
    recover::{self, CutBytes, Facts, HeaderFact, UnsealedFact},
    segment::{Found, Identity, Range, Source, Window, nonzero_end, open_damaged},
    types::{SegmentId, Seq},
    vfs::{Access, Dir},
};

/// A repair that was decided on.
pub(super) struct Repair<'a> {
    pub(super) dir: &'a Dir,
    pub(super) options: &'a Options,
    pub(super) facts: &'a Facts,
    pub(super) manifest: &'a Manifest,
    /// Segments that the manifest names and that do not verify.
    pub(super) damaged: Vec<SegmentId>,
}

impl<'a> Repair<'a> {
    pub(super) fn of(
        dir: &'a Dir,
        options: &'a Options,
        facts: &'a Facts,
        manifest: &'a Manifest,
        damaged: Vec<SegmentId>,
    ) -> Self {
        Self {
            dir,
            options,
            facts,
            manifest,
            damaged,
        }
    }

    /// The segments that lost their header, and with it the time that records without one of their own had.
    pub(super) fn untimed(&self) -> Result<Vec<SegmentId>> {
        let sealed = self.manifest.sealed.iter();
        let sealed = sealed.map(|entry| (entry.id, entry.salt, entry.base_seq));
        let tail = self.manifest.tail;
        let all = sealed.chain([(tail.id, tail.salt, tail.base_seq)]);
        let mut untimed = Vec::new();
        for (id, salt, base_seq) in all.filter(|(id, ..)| self.damaged.contains(id)) {
            let identity = Identity {
                log_id: self.manifest.log_id,
                id: id.0,
                salt,
                base_seq,
            };
            if self.open(identity)?.is_some_and(|found| found.times_lost) {
                untimed.push(id);
            }
        }
        Ok(untimed)
    }

    pub(super) fn run(self) -> Result<Vec<CutBytes>> {
        let unsealed: Vec<&UnsealedFact> =
            self.facts.tail.iter().chain(&self.facts.spare).collect();
        let kept = self.keep_originals(&unsealed)?;
        let mut copies = Copies::new(
            self.dir,
            self.options,
            self.manifest.owner(),
            self.facts.first_free_id(self.manifest),
            self.facts.ledger(self.manifest.tail.id),
        );
        let mut sealed: Vec<SealedEntry> = Vec::new();
        for entry in &self.manifest.sealed {
            if self.damaged.contains(&entry.id) {
                self.copy_sealed(entry, &mut copies)?;
                sealed.append(&mut copies.finish_segment()?);
            } else {
                copies.raise_floor(entry.next_seq);
                sealed.push(*entry);
            }
        }
        // The unsealed end is written anew as a whole: nothing is appended behind old bytes.
        let attested_seq = recover::attested(self.facts, self.manifest);
        let mut end_seq = attested_seq.max(self.manifest.tail.base_seq);
        for fact in &unsealed {
            end_seq = end_seq.max(self.copy_unsealed(fact, attested_seq, &mut copies)?);
        }
        // Numbers that may have been given are not given again.
        end_seq = end_seq.max(self.facts.unnamed_seq(self.manifest));
        sealed.append(&mut copies.finish_segment()?);
        end_seq = sealed
            .last()
            .map_or(end_seq, |last| end_seq.max(last.next_seq));
        self.commit(copies, sealed, end_seq)?;
        for id in self
            .damaged
            .iter()
            .copied()
            .chain(unsealed.iter().map(|fact| fact.id))
        {
            // Kept in quarantine, named by no manifest: what cannot be removed is an orphan.
            self.dir.remove_if_there(&names::segment(id)).ok();
        }
        Ok(kept)
    }

    /// Every byte of every file that will go, durably, before anything changes.
    fn keep_originals(&self, unsealed: &[&UnsealedFact]) -> Result<Vec<CutBytes>> {
        let ids = self
            .damaged
            .iter()
            .copied()
            .chain(unsealed.iter().map(|fact| fact.id));
        let newer = self.facts.unnamed.iter().map(|fact| fact.id);
        let newer = newer.filter(|id| *id >= self.manifest.next_segment_id);
        let mut ranges = Vec::new();
        for id in dedup(ids.chain(newer).collect()) {
            // A missing file has nothing to keep, nor has one of zeros.
            if let Ok(file) = self.dir.open(&names::segment(id), Access::Read) {
                let at = |error| Error::io(Op::Repair, error).at(Place::in_segment(id, 0));
                let file_end = file.len().map_err(at)?;
                let end = nonzero_end(&mut Window::new(&Source::File(file)), 0, file_end)
                    .map_err(|fault| fault.into_error(Op::Repair, id))?;
                if end > 0 {
                    ranges.push((id, 0, file_end));
                }
            }
        }
        recover::keep(self.dir, &ranges)
    }

    fn copy_sealed(&self, entry: &SealedEntry, copies: &mut Copies<'_>) -> Result<()> {
        let identity = Identity {
            log_id: self.manifest.log_id,
            id: entry.id.0,
            salt: entry.salt,
            base_seq: entry.base_seq,
        };
        let Some(found) = self.open(identity)? else {
            return Ok(());
        };
        let range = Range {
            offset: HEADER_BYTES as u64,
            frames_end: entry.frames_end,
            first_seq: entry.base_seq,
            next_seq: entry.next_seq,
            dense: found.dense,
            times_lost: found.times_lost,
            ..Range::known()
        };
        let mut window = Window::new(&Source::File(found.file));
        copies.take(
            &mut window,
            &found.context,
            range,
            entry.id,
            entry.next_seq,
            |_| {},
        )
    }

    /// Copies what verifies of an unsealed segment; gives the seq after all that it held.
    fn copy_unsealed(
        &self,
        fact: &UnsealedFact,
        attested_seq: Seq,
        copies: &mut Copies<'_>,
    ) -> Result<Seq> {
        let base_seq = match &fact.header {
            HeaderFact::Valid(header) => header.base_seq,
            _ if fact.id == self.manifest.tail.id => self.manifest.tail.base_seq,
            _ => copies.floor_seq(),
        };
        let identity = Identity {
            log_id: self.manifest.log_id,
            id: fact.id.0,
            salt: fact.salt,
            base_seq,
        };
        let scanned_seq = fact.scan.as_ref().map_or(0, |scan| scan.summary.next_seq);
        let used_seq = fact.witness.next_seq.max(scanned_seq);
        // What was begun behind records that are not there, and that nothing says were durable, is no
        // part of the log.
        if base_seq > attested_seq.max(copies.floor_seq()) && fact.id != self.manifest.tail.id {
            return Ok(used_seq);
        }
        let Some(found) = self.open(identity)? else {
            return Ok(used_seq);
        };
        let scanned = fact.scan.as_ref().map_or(0, |scan| scan.summary.end);
        let range = Range {
            offset: HEADER_BYTES as u64,
            frames_end: fact.witness.frames_end().max(scanned),
            first_seq: base_seq,
            next_seq: base_seq,
            dense: true,
            durable_seq: attested_seq,
            times_lost: found.times_lost,
        };
        let mut window = Window::new(&Source::File(found.file));
        let mut end_seq = 0;
        let see = |seq| end_seq = seq + 1;
        copies.take(&mut window, &found.context, range, fact.id, Seq::MAX, see)?;
        Ok(end_seq.max(used_seq))
    }

    fn open(&self, identity: Identity) -> Result<Option<Found>> {
        let id = SegmentId(identity.id);
        open_damaged(self.dir, identity)
            .map_err(|error| Error::io(Op::Repair, error).at(Place::in_segment(id, 0)))
    }

    fn commit(&self, mut copies: Copies<'_>, sealed: Vec<SealedEntry>, end_seq: Seq) -> Result<()> {
        let (tail, spare, next_id) = copies.end(end_seq)?;
        let ledger = copies.ledger(end_seq, tail.tail.id);
        let mut manifest = self.manifest.clone();
        // Readers know of a newer one, if this is not the newest.
        manifest.generation = manifest.generation.max(self.facts.watermark.generation());
        let store = ManifestStore::new(self.dir.clone(), manifest);
        // Moves of cursors are not copied: the files say as much before.
        let cursors = recover::cursors(self.dir, self.facts, Op::Repair)?;
        cursors.store_moved(store.ballast(), Op::Repair)?;
        // DURABILITY: after this commit the repaired log is in force.
        store.commit_with(Op::Repair, ledger.as_deref(), |manifest| {
            manifest.sealed = sealed;
            manifest.tail = tail.tail.entry();
            manifest.spare = Some(spare.entry());
            manifest.next_segment_id = next_id;
            manifest.durable_seq = end_seq;
            manifest.durable_end = tail.summary.end;
            manifest.clean = true;
            manifest.has_ledger = false; // Unless it is stored with this commit.
        })?;
        match ledger {
            Some(_) => Ok(()),
            None => forget_ledger(self.dir, Op::Repair),
        }
    }
}
