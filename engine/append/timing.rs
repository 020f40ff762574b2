//! How long appends take, as their callers see it.
//!
//! A durable append waits for a disk: two looks at the clock are nothing beside that, and each is timed.
//! Others take little longer than a look, so of those one in `RECORDS_PER_SAMPLE` is.

use super::{AppendOptions, Core};
use crate::{options::Durability, sync::atomic::Ordering, types::Seq};
use std::{ops::Range, time::Duration};

/// Of appends that are not durable one is timed in so many records.
const RECORDS_PER_SAMPLE: u64 = 64;

/// An append that has begun.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(super) level: Durability,
    /// When, if it is one of those that are timed.
    start: Option<Duration>,
}

impl Core {
    /// An append begins.
    #[inline]
    pub(crate) fn start_timing(&self, how: &AppendOptions) -> Timing {
        let level = how.durability.unwrap_or(self.options.durability);
        let skipped = &self.counters.skip_next;
        let timed = level == Durability::Durable || !skipped.load(Ordering::Relaxed);
        let start = timed.then(|| self.dir.vfs().monotonic());
        Timing { level, start }
    }

    /// It was told that it succeeded.
    #[inline]
    pub(crate) fn end_timing(&self, timing: &Timing, seqs: &Range<Seq>) {
        if let Some(start) = timing.start {
            self.end_timed(timing.level, start, seqs);
        } else if seqs.start / RECORDS_PER_SAMPLE != seqs.end / RECORDS_PER_SAMPLE {
            self.counters.skip_next.store(false, Ordering::Relaxed);
        }
    }

    /// Out of the way of those that are not timed.
    #[cold]
    fn end_timed(&self, level: Durability, start: Duration, seqs: &Range<Seq>) {
        let counters = &self.counters;
        let times = match level {
            Durability::Durable => &counters.durable_append_ns,
            Durability::Written => &counters.written_append_ns,
            Durability::Buffered => &counters.buffered_append_ns,
        };
        if level != Durability::Durable {
            counters.skip_next.store(true, Ordering::Relaxed);
        }
        if !seqs.is_empty() {
            times.add_time(self.dir.vfs().monotonic().saturating_sub(start));
        }
    }
}
