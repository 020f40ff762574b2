//! The journey of retention: drops whole sealed segments from the head.
//!
//! Called by `Log` and upkeep; calls trim.

use crate::{
    append::Core,
    error::{Op, Result},
    format::manifest::SealedEntry,
    observe::event,
    options::Retention,
    trim,
    types::Seq,
};

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
}

/// Drops what passes the limits. `held_seq`: the first record that a consumer still needs.
pub(crate) fn retain(
    core: &Core,
    limits: &Retention,
    held_seq: Option<Seq>,
) -> Result<RetainReport> {
    // Also if nothing is to be dropped: after a commit that is undecided nobody knows the head.
    core.check_usable(Op::Trim)?;
    let now = core.catalog().load();
    let entries: Vec<SealedEntry> = now.sealed.iter().map(|segment| segment.entry).collect();
    let tail_bytes = now.tails.iter().map(|tail| tail.written_end()).sum();
    let now_ms = core.dir().vfs().unix_time_ms();
    let count = victims(&entries, tail_bytes, limits, held_seq, now_ms);
    let dropped = entries.get(..count).unwrap_or_default();
    if let Some(last) = dropped.last() {
        trim::trim(core, last.next_seq)?;
        event!(info, "retained", segments = count, head_seq = last.next_seq);
    }
    Ok(RetainReport {
        segment_count: count as u64,
        frame_bytes: dropped.iter().map(|entry| entry.frames_end).sum(),
        record_count: dropped
            .iter()
            .map(|entry| u64::from(entry.record_count))
            .sum(),
        head_seq: core.catalog().load().head_seq,
    })
}

/// How many segments from the head go.
fn victims(
    entries: &[SealedEntry],
    tail_bytes: u64,
    limits: &Retention,
    held_seq: Option<Seq>,
    now_ms: i64,
) -> usize {
    let sealed_bytes: u64 = entries.iter().map(|entry| entry.frames_end).sum();
    let mut left_bytes = sealed_bytes.saturating_add(tail_bytes);
    let age_ms = |limit: std::time::Duration| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let goes = |entry: &&SealedEntry| {
        let large = limits.bytes_max.is_some_and(|max| left_bytes > max);
        // Time 0 is none: it was lost with a header, and what is repaired is not dropped for it.
        let timed = entry.max_timestamp_ms != 0;
        let old = limits.age_max.is_some_and(|age| {
            timed && entry.max_timestamp_ms.saturating_add(age_ms(age)) < now_ms
        });
        let below = limits.seq_min.is_some_and(|seq| entry.next_seq <= seq);
        let needed = held_seq.is_some_and(|seq| seq < entry.next_seq);
        let held = needed && limits.held_bytes_max.is_none_or(|max| left_bytes <= max);
        left_bytes = left_bytes.saturating_sub(entry.frames_end);
        (large || old || below) && !held
    };
    entries.iter().take_while(goes).count()
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
            assert_eq!(
                victims(&entries(), 50, &limits, held, 3500),
                expected,
                "{limits:?} {held:?}"
            );
        }
    }
}
