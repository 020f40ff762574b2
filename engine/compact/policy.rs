//! What is compacted: pure functions from what the manifest says to a choice, tested as tables.

use crate::{catalog::times, format::manifest::SealedEntry, options::CompactOptions};
use std::ops::Range;

/// A segment with fewer live bytes than this share of a full one is small.
const SMALL_DIVISOR: u64 = 2;

/// How many segments from the head are old enough to be compared with each other.
pub(super) fn scope(entries: &[SealedEntry], how: &CompactOptions, now_ms: i64) -> usize {
    // Without an age to reach, no clock is asked: a time given by the application may lie ahead of it.
    if how.age_min.is_zero() {
        return entries.len();
    }
    let age_ms = i64::try_from(how.age_min.as_millis()).unwrap_or(i64::MAX);
    let old = |time_ms: &i64| time_ms.saturating_add(age_ms) <= now_ms;
    times(entries, now_ms)
        .iter()
        .take_while(|it| old(it))
        .count()
}

/// Where those segments begin that are all here: what lives elsewhere is not compared, and neither is what is older.
pub(super) fn behind_far(entries: &[SealedEntry]) -> usize {
    let last = entries.iter().rposition(|entry| entry.far);
    last.map_or(0, |at| at + 1)
}

/// Bytes of frames in segments with keys that were never compacted.
pub(crate) fn dirty_bytes(entries: &[SealedEntry]) -> u64 {
    let dirty = entries.iter().filter(|entry| entry.is_dirty());
    dirty.map(|entry| entry.frames_end).sum()
}

/// Whether the background worker should compact these segments.
pub(super) fn is_due(entries: &[SealedEntry], how: &CompactOptions) -> bool {
    let entries = entries.get(behind_far(entries)..).unwrap_or_default();
    let all_bytes: u64 = entries.iter().map(|entry| entry.frames_end).sum();
    // A filter may have something to say on records without keys as well.
    let is_new = |entry: &&SealedEntry| !entry.compacted && how.filter.is_some();
    let asked = entries.iter().filter(|it| it.is_dirty() || is_new(it));
    let dirty_bytes: u64 = asked.map(|entry| entry.frames_end).sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio to compare with a limit: 53 bits are enough"
    )]
    let enough = dirty_bytes as f64 >= how.dirty_ratio_min * all_bytes as f64;
    dirty_bytes > 0 && enough
}

/// How many segments from the start of `entries` have their records judged at once: as many as
/// `record_count_max` allows, at least one.
pub(super) fn window(entries: &[SealedEntry], record_count_max: u64) -> usize {
    let mut records = 0;
    let fits = |entry: &&SealedEntry| {
        records += u64::from(entry.record_count);
        records <= record_count_max
    };
    entries
        .iter()
        .take_while(fits)
        .count()
        .max(1)
        .min(entries.len())
}

/// A segment of which it is known how many of its records are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) frame_bytes: u64,
    pub(super) record_count: u64,
    pub(super) dead_count: u64,
}

impl Judged {
    /// About how many bytes a copy of it has.
    fn live_bytes(&self) -> u64 {
        let live = self.record_count.saturating_sub(self.dead_count);
        let share = u128::from(self.frame_bytes) * u128::from(live);
        u64::try_from(share / u128::from(self.record_count.max(1))).unwrap_or(u64::MAX)
    }
}

/// Which segments are written anew, in runs that are committed one by one.
///
/// A segment is, if something in it is dead, or if it is small and so is what lies beside it: many
/// small ones become few. What is full and all alive stays as it is.
pub(super) fn runs(judged: &[Judged], segment_bytes: u64, run_bytes_max: u64) -> Vec<Range<usize>> {
    let is_small = |it: &Judged| it.live_bytes() < segment_bytes / SMALL_DIVISOR;
    let mut out = Vec::new();
    let mut start = 0;
    while start < judged.len() {
        let rest = judged.get(start..).unwrap_or_default();
        let stretch = rest
            .iter()
            .take_while(|it| it.dead_count > 0 || is_small(it));
        let mut bytes = 0;
        let fits = |it: &&Judged| {
            bytes += it.frame_bytes;
            bytes == it.frame_bytes || bytes <= run_bytes_max
        };
        let run: Vec<&Judged> = stretch.take_while(fits).collect();
        let end = start + run.len();
        if run.len() > 1 || run.iter().any(|it| it.dead_count > 0) {
            out.push(start..end);
        }
        start = end.max(start + 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SegmentId;
    use std::time::Duration;

    fn entry(frames_end: u64, record_count: u32, max_timestamp_ms: i64) -> SealedEntry {
        SealedEntry {
            id: SegmentId(1),
            salt: 0,
            base_seq: 0,
            next_seq: 0,
            frames_end,
            max_timestamp_ms,
            record_count,
            tombstone_count: 0,
            keyed_count: record_count,
            compacted: false,
            packed: false,
            far: false,
        }
    }

    #[test]
    fn which_segments_are_old_enough() {
        let entries = [entry(10, 1, 100), entry(10, 1, 300), entry(10, 1, 200)];
        for (age_ms, now_ms, expected) in [
            (0, 0, 3),
            (100, 300, 1), // The third is old enough, but behind one that is not.
            (100, 400, 3),
            (1000, 400, 0),
            (u64::MAX, 1 << 50, 0),
        ] {
            let how = CompactOptions::new().age_min(Duration::from_millis(age_ms));
            assert_eq!(scope(&entries, &how, now_ms), expected, "{age_ms} {now_ms}");
        }
    }

    #[test]
    fn when_it_is_due() {
        let dirty = entry(100, 1, 0);
        let clean = SealedEntry {
            compacted: true,
            ..dirty
        };
        let keyless = SealedEntry {
            keyed_count: 0,
            ..dirty
        };
        for (entries, bytes, at_half, at_one) in [
            (vec![], 0, false, false),
            (vec![clean], 0, false, false),
            (vec![keyless], 0, false, false),
            (vec![dirty], 100, true, true),
            (vec![clean, dirty], 100, true, false),
            (vec![clean, clean, dirty, keyless], 100, false, false),
        ] {
            assert_eq!(dirty_bytes(&entries), bytes);
            for (ratio, expected) in [(0.0, bytes > 0), (0.5, at_half), (1.0, at_one)] {
                let how = CompactOptions::new().dirty_ratio_min(ratio);
                assert_eq!(is_due(&entries, &how), expected, "{entries:?} at {ratio}");
            }
        }
    }

    #[test]
    fn how_much_is_judged_at_once() {
        let entries = [entry(1, 10, 0), entry(1, 20, 0), entry(1, 30, 0)];
        for (max, expected) in [(0, 1), (10, 1), (29, 1), (30, 2), (59, 2), (60, 3), (99, 3)] {
            assert_eq!(window(&entries, max), expected, "{max}");
        }
        assert_eq!(window(&[], 5), 0);
    }

    #[test]
    fn which_segments_are_written_anew() {
        let of = |frame_bytes, record_count, dead_count| Judged {
            frame_bytes,
            record_count,
            dead_count,
        };
        let (full, small, dead) = (of(100, 10, 0), of(20, 2, 0), of(100, 10, 1));
        let gone = of(100, 10, 10);
        let pairs = |runs: Vec<Range<usize>>| -> Vec<(usize, usize)> {
            runs.into_iter().map(|run| (run.start, run.end)).collect()
        };
        for (judged, expected) in [
            (vec![], vec![]),
            (vec![full, full], vec![]),
            (vec![small], vec![]), // Alone there is nothing to join.
            (vec![small, full, small], vec![]),
            (vec![small, small], vec![(0, 2)]),
            (vec![full, dead, full], vec![(1, 2)]),
            (vec![dead, small, full, gone], vec![(0, 2), (3, 4)]),
            // At most 250 bytes a run; what is larger goes alone.
            (vec![dead, dead, dead, small, small], vec![(0, 2), (2, 5)]),
            (vec![of(900, 9, 1), dead], vec![(0, 1), (1, 2)]),
        ] {
            assert_eq!(pairs(runs(&judged, 100, 250)), expected, "{judged:?}");
        }
    }
}
