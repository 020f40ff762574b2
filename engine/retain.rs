//! The journey of retention: drops whole sealed segments from the head.
//!
//! Called by `Log` and upkeep; calls trim.

use crate::{
    append::Core,
    catalog::{Catalog, times},
    cursor::Held,
    error::{Error, Op, Result},
    format::manifest::SealedEntry,
    observe::event,
    options::Retention,
    trim,
    types::Seq,
};
use std::path::PathBuf;

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetainReport {
    /// Segments that were dropped.
    pub segment_count: u64,
    /// Bytes of frames in them.
    pub frame_bytes: u64,
    /// Records in them.
    pub record_count: u64,
    /// The oldest record that is left, or the next to come.
    pub head_seq: Seq,
    /// Why no more were dropped.
    pub stopped_by: StoppedBy,
    /// The files of the cursors that do not verify, in the log's directory. They hold nothing back.
    pub damaged_cursors: Vec<PathBuf>,
}

/// What kept retention from dropping another segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoppedBy {
    /// The oldest segment that is left passes no limit.
    #[default]
    Limits,
    /// A cursor holds it back.
    Cursor,
    /// No sealed segment is left: what is in the tail, and not full, is never dropped.
    Tail,
}

/// Drops what passes the limits, of what no consumer holds.
pub(crate) fn retain(core: &Core, limits: &Retention, held: Held) -> Result<RetainReport> {
    // Also if nothing is to be dropped: after a commit that is undecided nobody knows the head.
    core.check_going(Op::Trim)?;
    let now_ms = core.dir().vfs().unix_time_ms();
    let mut report = plan(&core.catalog().load(), limits, held.seq, now_ms);
    if report.segment_count > 0 {
        trim::trim(core, report.head_seq)?;
        let (segments, head_seq) = (report.segment_count, report.head_seq);
        event!(info, "retained", segments = segments, head_seq = head_seq);
    }
    report.head_seq = core.catalog().load().head_seq;
    let path = |error: &Error| error.place().path.clone();
    report.damaged_cursors = held.damaged.iter().filter_map(path).collect();
    Ok(report)
}

/// What retention would do with a set of segments, of which a cursor holds what is at and above a seq.
pub(crate) fn plan(
    now: &Catalog,
    limits: &Retention,
    held_seq: Option<Seq>,
    now_ms: i64,
) -> RetainReport {
    let entries: Vec<SealedEntry> = now.sealed.iter().map(|segment| segment.entry).collect();
    let tail_bytes = now.tails.iter().map(|tail| tail.written_end()).sum();
    let (count, stopped_by) = victims(&entries, tail_bytes, limits, held_seq, now_ms);
    let dropped = entries.get(..count).unwrap_or_default();
    RetainReport {
        segment_count: count as u64,
        frame_bytes: dropped.iter().map(|entry| entry.frames_end).sum(),
        record_count: dropped
            .iter()
            .map(|entry| u64::from(entry.record_count))
            .sum(),
        head_seq: dropped.last().map_or(now.head_seq, |last| last.next_seq),
        stopped_by,
        damaged_cursors: Vec::new(),
    }
}

/// How many segments from the head go, and why not the next.
fn victims(
    entries: &[SealedEntry],
    tail_bytes: u64,
    limits: &Retention,
    held_seq: Option<Seq>,
    now_ms: i64,
) -> (usize, StoppedBy) {
    let sealed_bytes: u64 = entries.iter().map(|entry| entry.frames_end).sum();
    let mut left_bytes = sealed_bytes.saturating_add(tail_bytes);
    let age_max_ms = limits
        .age_max
        .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    for (count, (entry, time_ms)) in entries.iter().zip(times(entries, now_ms)).enumerate() {
        let large = limits.bytes_max.is_some_and(|max| left_bytes > max);
        // Time 0 is none: it was lost with a header, and what is repaired is not dropped for it.
        let timed = entry.max_timestamp_ms != 0;
        let old = timed && age_max_ms.is_some_and(|age_ms| time_ms.saturating_add(age_ms) < now_ms);
        let below = limits.seq_min.is_some_and(|seq| entry.next_seq <= seq);
        let needed = held_seq.is_some_and(|seq| seq < entry.next_seq);
        let held = needed && limits.held_bytes_max.is_none_or(|max| left_bytes <= max);
        if !(large || old || below) {
            return (count, StoppedBy::Limits);
        }
        if held {
            return (count, StoppedBy::Cursor);
        }
        left_bytes = left_bytes.saturating_sub(entry.frames_end);
    }
    (entries.len(), StoppedBy::Tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SegmentId;
    use std::time::Duration;

    /// Four segments of 100 bytes and 10 records each, the youngest record of each 1,000 ms apart.
    fn entries() -> Vec<SealedEntry> {
        let entry = |number: u32| SealedEntry {
            id: SegmentId(u64::from(number) + 1),
            salt: 0,
            base_seq: u64::from(number) * 10,
            next_seq: u64::from(number) * 10 + 10,
            frames_end: 100,
            max_timestamp_ms: i64::from(number) * 1000 + 1,
            record_count: 10,
            tombstone_count: 0,
            keyed_count: 0,
            compacted: false,
            packed: false,
            far: false,
        };
        (0..4).map(entry).collect()
    }

    #[test]
    fn which_segments_go() {
        let limits = Retention::new;
        let second = Duration::from_secs(1);
        for (limits, held, expected) in [
            (limits(), None, 0),
            // 450 bytes with the tail's 50.
            (limits().bytes_max(450), None, 0),
            (limits().bytes_max(449), None, 1),
            (limits().bytes_max(0), None, 4),
            // At 3,500 ms.
            (limits().age_max(second * 4), None, 0),
            (limits().age_max(second * 3), None, 1),
            (limits().age_max(Duration::ZERO), None, 4),
            (limits().age_max(Duration::MAX), None, 0),
            (limits().seq_min(19), None, 1),
            (limits().seq_min(20), None, 2),
            // Whichever limit is passed.
            (limits().seq_min(10).bytes_max(200), None, 3),
            // A consumer that needs record 10, or the last of the first segment, or nothing.
            (limits().bytes_max(0), Some(10), 1),
            (limits().bytes_max(0), Some(9), 0),
            (limits().bytes_max(0), Some(40), 4),
            // It may hold 350 bytes: the first segment goes all the same.
            (limits().bytes_max(0).held_bytes_max(350), Some(0), 1),
            (limits().bytes_max(0).held_bytes_max(0), Some(0), 4),
            // What no limit passes stays, however little may be held.
            (limits().held_bytes_max(0), Some(0), 0),
        ] {
            let (count, _) = victims(&entries(), 50, &limits, held, 3500);
            assert_eq!(count, expected, "{limits:?} {held:?}");
        }
    }

    /// What lives elsewhere is of the log like what is here, and takes room there.
    #[test]
    fn do_segments_count_that_live_elsewhere() {
        let far = |count: usize| {
            let mut entries = entries();
            entries.iter_mut().take(count).for_each(|it| it.far = true);
            entries
        };
        let limits = Retention::new;
        for (limits, expected) in [
            (limits().bytes_max(449), 1),
            (limits().bytes_max(250), 2),
            (limits().age_max(Duration::from_secs(3)), 1),
            (limits().seq_min(30), 3),
        ] {
            for count in 0..=4 {
                let (dropped, _) = victims(&far(count), 50, &limits, None, 3500);
                assert_eq!(dropped, expected, "{limits:?}, {count} far");
            }
        }
    }

    /// A segment that was written while the clock was ahead kept itself, and all behind it, for good.
    #[test]
    fn how_old_is_a_segment_from_the_future() {
        let ahead = |numbers: &[usize]| {
            let mut entries = entries();
            numbers.iter().for_each(|number| {
                if let Some(entry) = entries.get_mut(*number) {
                    entry.max_timestamp_ms = i64::MAX;
                }
            });
            entries
        };
        for (numbers, times_ms) in [
            (&[][..], [1, 1001, 2001, 3001]),
            (&[0], [1001, 1001, 2001, 3001]),
            (&[1, 2], [1, 3001, 3001, 3001]),
            (&[3], [1, 1001, 2001, 3500]),
            (&[0, 1, 2, 3], [3500; 4]),
        ] {
            assert_eq!(times(&ahead(numbers), 3500), times_ms, "{numbers:?}");
        }
        let limits = Retention::new().age_max(Duration::from_secs(2));
        let gone = |entries: Vec<SealedEntry>| victims(&entries, 50, &limits, None, 3500);
        assert_eq!(gone(ahead(&[0])), (2, StoppedBy::Limits));
        // Until the one behind it is old enough, which is the latest that it can be.
        assert_eq!(gone(ahead(&[1])), (1, StoppedBy::Limits));
    }

    #[test]
    fn why_is_no_more_dropped() {
        let all = Retention::new().bytes_max(0);
        let why = |limits: &Retention, held| victims(&entries(), 50, limits, held, 3500).1;
        assert_eq!(why(&Retention::new(), None), StoppedBy::Limits);
        assert_eq!(why(&all, Some(10)), StoppedBy::Cursor);
        assert_eq!(why(&all, None), StoppedBy::Tail);
    }
}
