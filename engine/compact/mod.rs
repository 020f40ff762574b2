//! The journey of compaction: judge records, write the live ones aside, swap the segments.
//!
//! Sealed segments from the head are compared with each other (`policy` chooses, `live` judges with
//! the help of `keys`), those with dead records are written anew (`rewrite`), and one manifest commit
//! a run swaps the new ones in. `pace` holds the rate and lets others go first; where none is to be held, a
//! thread writes behind the one that reads.
//!
//! INVARIANTS: nothing changes but that dead records are absent. Before the commit the old segments
//! are the log, after it the new ones; a crash leaves orphans at most. Readers that hold the old ones
//! keep them: their files go with the last of them. Nothing is dropped for the sake of a record that
//! was rewound meanwhile: then the run is given up. What was trimmed meanwhile does not come back.
//!
//! Segments that live elsewhere stay as they are, and so does what is older than the newest of them.
//!
//! Called by `Log` and upkeep; calls append (for the manifest and a moment without sealing), catalog,
//! segment.

mod keys;
mod live;
mod pace;
mod pack;
mod policy;
mod reseal;
mod rewrite;

pub use pace::CompactProgress;

pub(crate) use pace::Between;
pub(crate) use pack::{pack, pack_if_due};
pub(crate) use policy::dirty_bytes;
pub(crate) use reseal::reseal;

use crate::{
    append::Core,
    error::{Error, Op, Result},
    format::{Manifest, PACKED_FEATURE, manifest::SealedEntry},
    observe::event,
    options::CompactOptions,
    segment::Sealed,
    sync::{Arc, Condvar, Mutex},
    types::{SegmentId, Seq},
};
use live::{Dead, Judge};
use pace::Pace;
use rewrite::{Outputs, Rewrite};
use std::collections::HashSet;

/// What a compaction did, or [packing](crate::Log::pack), which drops nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Segments that were replaced.
    pub segments_before: u64,
    /// Segments that they were replaced by.
    pub segments_after: u64,
    /// Bytes of frames in the segments that were replaced.
    pub bytes_before: u64,
    /// Bytes of frames in the segments that they were replaced by.
    pub bytes_after: u64,
    /// Records that were dropped.
    pub dropped_count: u64,
    /// Records in the segments that they were replaced by.
    pub kept_count: u64,
    /// How far it went.
    pub progress: CompactProgress,
    /// Whether it ended before all was done: it was told to, or the log was closed, rewound or trimmed
    /// under it. What was swapped in by then stays, and the rest waits for the next time.
    pub stopped: bool,
}

/// Why a compaction ends early.
#[derive(Debug)]
pub(crate) enum Halt {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One compaction at a time.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

impl Turn {
    /// Takes the turn, waiting for it, or `None` if it is taken and `wait` is false.
    fn take(&self, wait: bool) -> Option<Taken<'_>> {
        let mut taken = self.taken.lock();
        while *taken {
            if !wait {
                return None;
            }
            self.free.wait(&mut taken);
        }
        *taken = true;
        Some(Taken(self))
    }
}

struct Taken<'a>(&'a Turn);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.free.notify_one();
    }
}

/// Compacts now. `held_seq`: tombstones from there on are kept.
pub(crate) fn compact(
    core: &Core,
    turn: &Turn,
    how: &CompactOptions,
    held_seq: Option<Seq>,
    between: &mut Between<'_>,
) -> Result<CompactReport> {
    how.check()?;
    let Some(_mine) = turn.take(true) else {
        return Ok(CompactReport::default());
    };
    run(core, how, held_seq, between)
}

fn run(
    core: &Core,
    how: &CompactOptions,
    held_seq: Option<Seq>,
    between: &mut Between<'_>,
) -> Result<CompactReport> {
    let held_seq = held_seq.unwrap_or(Seq::MAX);
    at_rate(core, how.rate_bytes_per_s, between, |rewriting, pace| {
        rewriting.all_windows(how, held_seq, pace)
    })
}

/// Compacts if that is due and nobody else is at it.
pub(crate) fn compact_if_due(
    core: &Core,
    turn: &Turn,
    how: &CompactOptions,
    held_seq: impl FnOnce() -> Result<Option<Seq>>,
    between: &mut Between<'_>,
) -> Result<Option<CompactReport>> {
    let entries = core.manifest().snapshot().sealed;
    let now_ms = core.dir().vfs().unix_time_ms();
    let old = entries.get(..policy::scope(&entries, how, now_ms));
    if !policy::is_due(old.unwrap_or_default(), how) {
        return Ok(None);
    }
    let Some(_mine) = turn.take(false) else {
        return Ok(None);
    };
    run(core, how, held_seq()?, between).map(Some)
}

/// Segments that are written anew, and swapped: by compaction, and by packing.
struct Rewriting<'a> {
    core: &'a Core,
    report: CompactReport,
}

/// Does `work` at a rate. On a full disk once more, with the ballast's room: what was swapped in by then
/// stays, and counts in the report.
fn at_rate(
    core: &Core,
    rate_bytes_per_s: Option<u64>,
    between: &mut Between<'_>,
    mut work: impl FnMut(&mut Rewriting<'_>, &mut Pace<'_>) -> Result<(), Halt>,
) -> Result<CompactReport> {
    let mut rewriting = Rewriting {
        core,
        report: CompactReport::default(),
    };
    core.with_ballast(|| {
        let mut pace = Pace::new(core.dir().vfs().clone(), rate_bytes_per_s, between);
        rewriting.go(&mut pace, &mut work)
    })?;
    Ok(rewriting.report)
}

impl Rewriting<'_> {
    /// Does `work`, and notes how it ended.
    fn go(
        &mut self,
        pace: &mut Pace<'_>,
        work: &mut impl FnMut(&mut Self, &mut Pace<'_>) -> Result<(), Halt>,
    ) -> Result<()> {
        self.core.check_going(Op::Compact)?;
        let outcome = work(self, pace);
        self.report.progress = pace.progress;
        match outcome {
            Ok(()) => {}
            Err(Halt::Cancelled) => self.report.stopped = true,
            Err(Halt::Failed(error)) => return self.core.stop_after(Err(error)),
        }
        event!(info, "compacted", dropped = self.report.dropped_count);
        Ok(())
    }

    fn all_windows(
        &mut self,
        how: &CompactOptions,
        held_seq: Seq,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let now_ms = self.core.dir().vfs().unix_time_ms();
        let catalog = self.core.catalog().load();
        // Only what readers may see is evidence. A sealed segment is durable, but before a sync has
        // told so, a reader stops below it.
        let end = catalog.sealed.last().map_or(0, |last| last.entry.next_seq);
        if end > self.core.durable_seq() {
            self.core.sync_all()?;
        }
        let entries: Vec<SealedEntry> = catalog.sealed.iter().map(|it| it.entry).collect();
        let count = policy::scope(&entries, how, now_ms);
        // At most a quarter of the memory tells the dead, a bit for each record.
        let bitmap_bytes = how.memory_bytes_max / 4;
        let record_count_max = (bitmap_bytes as u64)
            .saturating_mul(8)
            .min(u64::from(keys::Number::MAX));
        let near = entries.get(..count).unwrap_or_default();
        let mut start = policy::behind_far(near);
        let behind_far = start > 0;
        while start < count {
            let scope = catalog.sealed.get(start..count).unwrap_or_default();
            let rest = entries.get(start..count).unwrap_or_default();
            let window = policy::window(rest, record_count_max);
            let judge = Judge {
                core: self.core,
                how,
                now_ms,
                head_seq: catalog.head_seq,
                held_seq,
                behind_far,
                scope,
                window,
            };
            let dead = judge.judge(pace)?;
            self.all_runs(scope, window, &dead, how, pace)?;
            start += window;
        }
        Ok(())
    }

    fn all_runs(
        &mut self,
        scope: &[Arc<Sealed>],
        window: usize,
        dead: &Dead,
        how: &CompactOptions,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let judged = dead.judged(scope.get(..window).unwrap_or_default());
        let segment_bytes = self.core.options().segment_bytes;
        for run in policy::runs(&judged, segment_bytes, how.run_bytes_max) {
            // What was trimmed meanwhile, retention goes on beside it, is not written anew.
            let head_seq = self.core.catalog().load().head_seq;
            let of_run = scope.get(run.clone()).unwrap_or_default();
            let trimmed = (of_run.iter()).take_while(|it| it.entry.next_seq <= head_seq);
            let run = run.start + trimmed.count()..run.end;
            if run.is_empty() {
                continue;
            }
            let evidence = scope.get(run.start..).unwrap_or_default();
            let inputs = scope.get(run.clone()).unwrap_or_default();
            let pack = self.core.options().pack.as_ref().map(|how| how.codec);
            let form = Rewrite {
                pack,
                packed: pack.is_some(),
                compacted: true,
            };
            if form.pack.is_some() {
                self.announce()?;
            }
            let outputs = Outputs::write(self.core, inputs, dead, run.start, form, pace)?;
            let of_run = judged.get(run.clone()).unwrap_or_default();
            let dropped: u64 = of_run.iter().map(|it| it.dead_count).sum();
            let records: u64 = of_run.iter().map(|it| it.record_count).sum();
            assert_eq!(
                outputs.record_count,
                records - dropped,
                "every live record of the run is in its copy"
            );
            self.swap(inputs, evidence, outputs)?;
            self.report.dropped_count += dropped;
            pace.progress.run_count += 1;
            pace.step()?;
        }
        let clean: HashSet<SegmentId> = (scope.iter().zip(&judged))
            .filter(|(_, judged)| judged.dead_count == 0)
            .map(|(segment, _)| segment.entry.id)
            .collect();
        self.mark(|entry| entry.compacted |= clean.contains(&entry.id))
    }

    /// Has the manifest say that segments may be packed, before one is: so a program that does not know
    /// what that is refuses the log by name, whatever else it finds.
    fn announce(&self) -> Result<(), Halt> {
        let manifest = self.core.manifest();
        if manifest.snapshot().write_features & PACKED_FEATURE == 0 {
            let _no_other_change = self.core.hold_segments();
            self.core.check_going(Op::Pack)?;
            // DURABILITY: after this commit no program from before writes to the log.
            self.core.commit(Op::Pack, None, |manifest| {
                manifest.write_features |= PACKED_FEATURE;
            })?;
        }
        Ok(())
    }

    /// Makes the new segments the log instead of the old ones: one commit.
    ///
    /// `evidence` is all for the sake of which records were called dead: the run and what lies behind.
    fn swap(
        &mut self,
        inputs: &[Arc<Sealed>],
        evidence: &[Arc<Sealed>],
        mut outputs: Outputs<'_>,
    ) -> Result<(), Halt> {
        let core = self.core;
        let ids: HashSet<SegmentId> = inputs.iter().map(|input| input.entry.id).collect();
        {
            let _no_other_change = core.hold_segments();
            core.check_going(Op::Compact)?;
            let now = core.manifest().snapshot();
            if !is_there(&now, evidence) {
                return Err(Halt::Cancelled);
            }
            if inputs.iter().all(|it| it.entry.next_seq <= now.head_seq) {
                return Ok(()); // All of it was trimmed meanwhile.
            }
            outputs.remove_below(now.head_seq);
            let durable_seq = core.durable_seq();
            // DURABILITY: after this commit the new segments are the log, before it the old ones.
            let committed = core.commit(Op::Compact, None, |manifest| {
                let old = |entry: &SealedEntry| ids.contains(&entry.id);
                let at = manifest.sealed.iter().position(old).unwrap_or(0);
                manifest.sealed.retain(|entry| !old(entry));
                manifest
                    .sealed
                    .splice(at..at, outputs.sealed.iter().copied());
                manifest.durable_seq = manifest.durable_seq.max(durable_seq);
                manifest.durable_end = 0;
            });
            // While it is undecided which manifest is in force, the files of both stay.
            outputs.kept = committed.is_ok() || core.manifest().is_undecided();
            committed?;
            core.catalog().swap(|catalog| {
                let new: Vec<_> = (outputs.sealed.iter())
                    .map(|entry| catalog.segment(*entry))
                    .collect();
                let sealed = Arc::make_mut(&mut catalog.sealed);
                let old = |segment: &Arc<Sealed>| ids.contains(&segment.entry.id);
                let at = sealed.iter().position(old).unwrap_or(0);
                for segment in sealed.iter().filter(|segment| old(segment)) {
                    segment.retire();
                }
                sealed.retain(|segment| !old(segment));
                sealed.splice(at..at, new);
                catalog.durable_seq = catalog.durable_seq.max(durable_seq);
            });
        }
        let bytes = |entries: &mut dyn Iterator<Item = u64>| entries.sum::<u64>();
        self.report.segments_before += inputs.len() as u64;
        self.report.segments_after += outputs.sealed.len() as u64;
        self.report.bytes_before += bytes(&mut inputs.iter().map(|it| it.entry.frames_end));
        self.report.bytes_after += bytes(&mut outputs.sealed.iter().map(|it| it.frames_end));
        self.report.kept_count += outputs.record_count;
        Ok(())
    }

    /// Notes of segments that stay that there is nothing to do.
    fn mark(&self, note: impl FnMut(&mut SealedEntry)) -> Result<(), Halt> {
        let _no_other_change = self.core.hold_segments();
        self.core.check_going(Op::Compact)?;
        self.core.commit(Op::Compact, None, |manifest| {
            manifest.sealed.iter_mut().for_each(note);
        })?;
        Ok(())
    }
}

/// Whether the run, and all for the sake of which its records are dead, is still part of the log; or was
/// trimmed, and then what it made dead was as well.
fn is_there(manifest: &Manifest, evidence: &[Arc<Sealed>]) -> bool {
    let named: HashSet<SegmentId> = manifest.sealed.iter().map(|entry| entry.id).collect();
    evidence
        .iter()
        .all(|it| named.contains(&it.entry.id) || it.entry.next_seq <= manifest.head_seq)
}
