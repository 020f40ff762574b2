//! What is done for a log now and then: compaction and retention, when they are due.
//!
//! Called by the background worker between its other duties, or by [`Log::maintain`](crate::Log::maintain).

use crate::{
    append::{Core, UPKEEP_INTERVAL, Upkeep},
    compact::{self, CompactReport, Turn},
    cursor::{Cursors, Held},
    error::{Error, ErrorKind, Op, Result},
    retain::{self, RetainReport},
    sync::{Arc, Mutex},
};
use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// What one step of [`Log::maintain`](crate::Log::maintain) did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintained {
    /// There was nothing to do.
    Nothing,
    /// Wrote what was buffered, sealed finished segments or prepared the next.
    Segments,
    /// Dropped segments from the head.
    Retained(RetainReport),
    /// Compacted.
    Compacted(CompactReport),
    /// Packed.
    Packed(CompactReport),
}

/// What failed is not tried again before so long: what it does for nothing costs reading the log.
const BACK_OFF: Duration = Duration::from_secs(30);

/// Does the upkeep of one log.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) turn: Turn,
    cursors: Arc<Cursors>,
    retention: Attempts,
    compaction: Attempts,
    packing: Attempts,
}

/// When something may be tried that the worker does. What fails, or panics, keeps nothing else from being
/// done.
#[derive(Debug, Default)]
struct Attempts {
    next: Mutex<Next>,
}

#[derive(Debug, Default)]
enum Next {
    #[default]
    AnyTime,
    NotBefore(Duration),
    /// It panicked, and would again.
    Never,
}

impl Attempts {
    fn may(&self, now: Duration) -> bool {
        match *self.next.lock() {
            Next::AnyTime => true,
            Next::NotBefore(then) => now >= then,
            Next::Never => false,
        }
    }

    /// Tries it, if it may be; notes what fails.
    fn attempt<T>(
        &self,
        core: &Core,
        work: impl FnOnce() -> Result<Option<T>>,
        panicked: &'static str,
    ) -> Option<T> {
        let now = || core.dir().vfs().monotonic();
        if !self.may(now()) {
            return None;
        }
        let (outcome, next) = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => (Ok(done), Next::AnyTime),
            Ok(Err(error)) => (Err(error), Next::NotBefore(now() + BACK_OFF)),
            Err(_) => {
                let error = Error::note(ErrorKind::Panicked, Op::Compact, panicked);
                (Err(error), Next::Never)
            }
        };
        *self.next.lock() = next;
        outcome.unwrap_or_else(|error| {
            core.note(&error);
            None
        })
    }
}

/// Lets time pass, or others go first; `Break` ends what is being done.
type Between<'a> = dyn FnMut(Duration) -> ControlFlow<()> + 'a;

impl Keeper {
    pub(crate) fn new(cursors: Arc<Cursors>) -> Self {
        Self {
            turn: Turn::default(),
            cursors,
            retention: Attempts::default(),
            compaction: Attempts::default(),
            packing: Attempts::default(),
        }
    }

    /// Does one thing that is due: drops segments first, then they need not be compacted.
    pub(crate) fn step(&self, core: &Core, between: &mut Between<'_>) -> Result<Maintained> {
        if let Some(report) = self.retain(core)? {
            return Ok(Maintained::Retained(report));
        }
        if let Some(report) = self.compact(core, between)? {
            return Ok(Maintained::Compacted(report));
        }
        let report = self.pack(core, between)?;
        Ok(report.map_or(Maintained::Nothing, Maintained::Packed))
    }

    fn retain(&self, core: &Core) -> Result<Option<RetainReport>> {
        let Some(limits) = &core.options().retention else {
            return Ok(None);
        };
        // What cursors hold is read from their files: only where something passes a limit.
        let now_ms = core.dir().vfs().unix_time_ms();
        let passing = retain::plan(&core.catalog().load(), limits, None, now_ms);
        if passing.segment_count == 0 {
            return Ok(None);
        }
        let held = self.held(core)?;
        let report = retain::retain(core, limits, held)?;
        Ok((report.segment_count > 0).then_some(report))
    }

    fn compact(&self, core: &Core, between: &mut Between<'_>) -> Result<Option<CompactReport>> {
        let Some(how) = &core.options().compaction else {
            return Ok(None);
        };
        let mut between = |_: &_, pause| between(pause);
        let held_seq = || Ok(self.held(core)?.seq);
        compact::compact_if_due(core, &self.turn, how, held_seq, &mut between)
    }

    fn pack(&self, core: &Core, between: &mut Between<'_>) -> Result<Option<CompactReport>> {
        let Some(how) = &core.options().pack else {
            return Ok(None);
        };
        let mut between = |_: &_, pause| between(pause);
        compact::pack_if_due(core, &self.turn, how, &mut between)
    }

    /// What the cursors hold back. One that does not verify is told, and ends nothing.
    fn held(&self, core: &Core) -> Result<Held> {
        let held = self.cursors.held(core)?;
        held.damaged.iter().for_each(|error| core.note(error));
        Ok(held)
    }
}

impl Upkeep for Keeper {
    fn step(&self, core: &Core, between: &mut Between<'_>) -> bool {
        let retain = || {
            let retained = || self.retain(core);
            let report = self.retention.attempt(core, retained, "retention panicked");
            report.is_some()
        };
        if retain() {
            return true;
        }
        // A compaction may take hours, and what passes a limit meanwhile goes meanwhile.
        let now = || core.dir().vfs().monotonic();
        let mut retain_at = now().saturating_add(UPKEEP_INTERVAL);
        let mut between = |pause| {
            if now() >= retain_at {
                retain();
                retain_at = now().saturating_add(UPKEEP_INTERVAL);
            }
            between(pause)
        };
        let compacted = || self.compact(core, &mut between);
        let report = self
            .compaction
            .attempt(core, compacted, "compaction panicked");
        if report.is_some() {
            return true;
        }
        let packed = || self.pack(core, &mut between);
        let report = self.packing.attempt(core, packed, "packing panicked");
        report.is_some()
    }
}
