//! How old segments are.

use crate::format::manifest::SealedEntry;

/// The time of each segment's youngest record, in milliseconds since 1970.
///
/// One that lies ahead of the clock is no time at which anything was appended: the segment is as old as
/// the one behind it, which came later, and the last as old as the moment. Else one that was written by a
/// wrong clock would be young for good, and so would be whatever waits for it.
pub(crate) fn times(entries: &[SealedEntry], now_ms: i64) -> Vec<i64> {
    let mut later_ms = now_ms;
    let of = |entry: &SealedEntry| {
        if entry.max_timestamp_ms <= now_ms {
            later_ms = entry.max_timestamp_ms;
        }
        later_ms
    };
    let mut times: Vec<i64> = entries.iter().rev().map(of).collect();
    times.reverse();
    times
}
