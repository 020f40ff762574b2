//! How fast compaction goes, who hears how far it is, and how it is stopped.

use super::Halt;
use crate::vfs::Vfs;
use std::{ops::ControlFlow, sync::Arc, time::Duration};

/// After this many bytes, read and written together, it pauses and looks whether to go on: so long at
/// most is whoever shares its thread or the disk kept waiting.
const STEP_BYTES: u64 = 256 * 1024;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// Bytes of frames read so far, in all passes.
    pub read_bytes: u64,
    /// Bytes of frames written so far.
    pub written_bytes: u64,
    /// Passes over the segments begun so far, to tell keys apart.
    pub pass_count: u64,
    /// Commits so far: each has swapped new segments in.
    pub run_count: u64,
}

/// Called between two steps, with the time to let pass before the next; `Break` ends the compaction.
pub(crate) type Between<'a> = dyn FnMut(&CompactProgress, Duration) -> ControlFlow<()> + 'a;

/// Holds the rate.
pub(super) struct Pace<'a> {
    pub(super) progress: CompactProgress,
    vfs: Arc<dyn Vfs>,
    rate_bytes_per_s: Option<u64>,
    step_bytes: u64,
    /// Not before then comes the next step.
    next_at: Duration,
    between: &'a mut Between<'a>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        rate_bytes_per_s: Option<u64>,
        between: &'a mut Between<'a>,
    ) -> Self {
        Self {
            progress: CompactProgress::default(),
            next_at: vfs.monotonic(),
            vfs,
            rate_bytes_per_s,
            step_bytes: 0,
            between,
        }
    }

    /// Whether no rate is held.
    pub(super) fn is_unbound(&self) -> bool {
        self.rate_bytes_per_s.is_none()
    }

    pub(super) fn read(&mut self, bytes: u64) -> Result<(), Halt> {
        self.progress.read_bytes += bytes;
        self.moved(bytes)
    }

    pub(super) fn written(&mut self, bytes: u64) -> Result<(), Halt> {
        self.progress.written_bytes += bytes;
        self.moved(bytes)
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Halt> {
        self.step_bytes += bytes;
        if self.step_bytes < STEP_BYTES {
            return Ok(());
        }
        self.step()
    }

    /// Ends a step here.
    pub(super) fn step(&mut self) -> Result<(), Halt> {
        let now = self.vfs.monotonic();
        let bytes = std::mem::take(&mut self.step_bytes);
        let nanos = |rate: u64| u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let due = self.rate_bytes_per_s.map_or(0, nanos);
        // Time that was lost is not made up for: that would be a burst.
        let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
        self.next_at = self.next_at.max(now).saturating_add(due);
        match (self.between)(&self.progress, self.next_at.saturating_sub(now)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Cancelled),
        }
    }
}
