//! What a log lets go of, the store keeps: first a commit says so, then the log does.
//!
//! INVARIANTS
//! * What is kept is named by every commit from then on, whoever makes it: who takes over begins with what the last one keeps.
//! * It goes when the head of the log that has no other copy has passed it, by a commit of that very continuation; another's is
//!   handed on. That a moment does not name it is no reason.
//!
//! Called by who has a log let go of segments; calls what is committed.

use super::Copier;
use crate::{
    error::{Error, Result},
    layout::{File, Kept},
    tier::Tier,
};
use cairnlog::{
    Log, ReleaseReport, SegmentId,
    format::{Manifest, manifest::SealedEntry},
};
use std::collections::{BTreeMap, BTreeSet};

impl Copier {
    /// Has the log let go of sealed segments that are in the store ([`Log::release`]): they live there alone from then on. First a
    /// commit is made that keeps them, whatever becomes of the log and of this copier; then the log reads them back and compares.
    /// What is not sealed, not in the store or no part of the log any more is passed over.
    ///
    /// The log has to be the one that is copied, opened with [`StoreSegments`](crate::StoreSegments) of this store.
    ///
    /// # Errors
    /// `InvalidInput` if it is another log, or was opened without what reads segments elsewhere; as [`step`](Self::step), and
    /// `Log` as [`Log::release`] says. After an error the log may have let go of nothing, and the store keep it all the same.
    pub fn release(&mut self, log: &Log, segments: &[SegmentId]) -> Result<ReleaseReport> {
        let manifest = log.stored()?.moment()?.manifest;
        let own = (manifest.log_id, manifest.incarnation);
        if own != (self.current.log_id, self.current.incarnation) {
            let other = "it is another log that lets go of segments than the one that is copied";
            return Err(Error::InvalidInput(other.into()));
        }
        let sealed = self.set.sealed.iter();
        let asked = sealed.filter(|entry| segments.contains(&entry.id));
        self.asked = asked.map(|entry| (entry.id, entry.salt)).collect();
        let stepped = self.step();
        self.asked.clear();
        stepped?;
        let own = self.current.incarnation;
        let kept = self.set.kept.iter().filter(|it| it.incarnation == own);
        let kept: Vec<_> = (kept.map(|it| it.file.id))
            .filter(|id| segments.contains(id))
            .collect();
        if kept.is_empty() {
            return Ok(ReleaseReport::default());
        }
        Ok(log.release(&kept)?)
    }

    /// Has the log let go of all that passes these limits, a few segments at a time; each time what is new is copied as well. As
    /// [`release`](Self::release), for who does not leave it to a [`Replicator`](crate::Replicator).
    ///
    /// # Errors
    /// As [`release`](Self::release). A segment that is damaged, here or there, keeps no other: it is told once the others are gone.
    pub fn tier(&mut self, log: &Log, tier: &Tier) -> Result<ReleaseReport> {
        let (mut all, mut stuck, mut failed) = (ReleaseReport::default(), BTreeSet::new(), None);
        loop {
            // Which of them are far is known by what was copied.
            self.step()?;
            let due = self.due(tier, &stuck);
            let released = match due.is_empty() {
                true => break,
                false => self.release(log, &due),
            };
            match released {
                // What was due is no part of the log any more.
                Ok(report) if report.segments.is_empty() => break,
                Ok(report) => {
                    all.segments.extend(report.segments);
                    all.frame_bytes += report.frame_bytes;
                }
                Err(error) => match error.damaged_segment() {
                    Some(id) if stuck.insert(id) => failed = failed.or(Some(error)),
                    _ => return Err(error),
                },
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// The segments in the store that a log lets go of by these limits, without some that it cannot.
    pub(crate) fn due(&self, tier: &Tier, but: &BTreeSet<SegmentId>) -> Vec<SegmentId> {
        tier.due(&self.set.sealed, but, self.options.clock.unix_time_ms())
    }

    /// What a commit of this moment keeps, which has these sealed segments in these files.
    pub(super) fn kept(
        &self,
        moment: &Manifest,
        sealed: &[SealedEntry],
        files: &[File],
    ) -> Vec<Kept> {
        let own = self.current.incarnation;
        let stays = |it: &&Kept| match it.incarnation == own {
            true => it.next_seq > moment.head_seq,
            false => !self.options.forget_others,
        };
        let before = self.set.kept.iter().filter(stays);
        let mut kept: BTreeMap<_, _> = before.map(|it| (it.name(), it.clone())).collect();
        for (entry, file) in sealed.iter().zip(files) {
            let name = (own, entry.id, entry.salt);
            let is_asked = entry.far || self.asked.contains(&(entry.id, entry.salt));
            let is_needed = entry.next_seq > moment.head_seq;
            if kept.contains_key(&name) || is_asked && is_needed {
                let (incarnation, next_seq) = (own, entry.next_seq);
                let file = file.clone();
                kept.insert(
                    name,
                    Kept {
                        incarnation,
                        next_seq,
                        file,
                    },
                );
            }
        }
        kept.into_values().collect()
    }
}
