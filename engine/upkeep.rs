//! What is done for a log now and then: compaction and retention, when they are due.
//!
//! Called by the background worker between its other duties, or by [`Log::maintain`](crate::Log::maintain).

use crate::{
    append::{Core, Upkeep},
    compact::{self, CompactReport, Turn},
    cursor::{Cursors, Held},
    error::Result,
    retain::{self, RetainReport},
    sync::Arc,
};
use std::{ops::ControlFlow, time::Duration};

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
}

/// Does the upkeep of one log.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) turn: Turn,
    pub(crate) cursors: Arc<Cursors>,
}

impl Keeper {
    /// Does one thing that is due: drops segments first, then they need not be compacted.
    pub(crate) fn step(
        &self,
        core: &Core,
        between: &mut dyn FnMut(Duration) -> ControlFlow<()>,
    ) -> Result<Maintained> {
        let options = core.options();
        if let Some(limits) = &options.retention {
            let held = self.held(core)?;
            let report = retain::retain(core, limits, held)?;
            if report.segment_count > 0 {
                return Ok(Maintained::Retained(report));
            }
        }
        let Some(how) = &options.compaction else {
            return Ok(Maintained::Nothing);
        };
        let mut between = |_: &_, pause| between(pause);
        let report = compact::compact_if_due(
            core,
            &self.turn,
            how,
            || Ok(self.held(core)?.seq),
            &mut between,
        )?;
        Ok(report.map_or(Maintained::Nothing, Maintained::Compacted))
    }

    /// What the cursors hold back. One that does not verify is told, and ends nothing.
    fn held(&self, core: &Core) -> Result<Held> {
        let held = self.cursors.held(core)?;
        held.damaged.iter().for_each(|error| core.note(error));
        Ok(held)
    }
}

impl Upkeep for Keeper {
    fn step(
        &self,
        core: &Core,
        between: &mut dyn FnMut(Duration) -> ControlFlow<()>,
    ) -> Result<bool> {
        self.step(core, between)
            .map(|did| did != Maintained::Nothing)
    }
}
