//! How values are distributed, in memory of a fixed size: counted by any thread, without a lock.
//!
//! Buckets are log-linear: each power of two is cut into eight of the same width, so a bucket is at most
//! an eighth as wide as what it holds is large, from 0 to the largest `u64`.

use crate::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};
use std::{fmt, time::Duration};

/// Each power of two is cut into two to this power.
const PIECE_BITS: u32 = 3;
const PIECES: u64 = 1 << PIECE_BITS;
/// A row has so many powers of two: what is counted is mostly within one or two.
const ROW_POWERS: usize = 8;
const ROW_LEN: usize = ROW_POWERS << PIECE_BITS;
const ROWS: usize = ((u64::BITS - PIECE_BITS + 1) as usize).div_ceil(ROW_POWERS);

/// The number of the bucket of a value. Below `PIECES` each value has its own.
fn bucket_of(value: u64) -> u64 {
    let shift = (u64::BITS - PIECE_BITS - 1).saturating_sub(value.leading_zeros());
    // A power of two above the first begins with its own leading bit, which counts as one more row.
    u64::from(shift) * PIECES + (value >> shift)
}

/// The smallest and the largest value of a bucket.
fn bounds_of(bucket: u64) -> (u64, u64) {
    let shift = (bucket / PIECES).saturating_sub(1);
    let low = (bucket - shift * PIECES) << shift;
    (low, low + ((1 << shift) - 1))
}

/// The buckets of some powers of two.
type Row = [AtomicU64; ROW_LEN];

fn new_row() -> Box<Row> {
    Box::new(std::array::from_fn(|_| AtomicU64::new(0)))
}

/// Counts values. Memory is taken for what occurs: where there are thousands of logs, most never append as
/// written, or at all.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    counts: OnceLock<Box<Counts>>,
}

#[derive(Debug)]
struct Counts {
    rows: [OnceLock<Box<Row>>; ROWS],
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            rows: [const { OnceLock::new() }; ROWS],
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Recording {
    /// Counts a value.
    pub(crate) fn add(&self, value: u64) {
        let bucket = usize::try_from(bucket_of(value)).unwrap_or(usize::MAX);
        let (row, column) = (bucket / ROW_LEN, bucket % ROW_LEN);
        let counts = self.counts.get_or_init(Box::default);
        let row = counts.rows.get(row).map(|row| row.get_or_init(new_row));
        if let Some(count) = row.and_then(|row| row.get(column)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        counts.sum.fetch_add(value, Ordering::Relaxed);
        // Looked at first: almost always they stay, and then nobody else loses the line.
        if value < counts.min.load(Ordering::Relaxed) {
            counts.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > counts.max.load(Ordering::Relaxed) {
            counts.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Counts a time, in nanoseconds.
    pub(crate) fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    pub(crate) fn snapshot(&self) -> Histogram {
        let Some(counts) = self.counts.get() else {
            return Histogram::default();
        };
        let rows = (0..).step_by(ROW_LEN).zip(&counts.rows);
        let rows = rows.filter_map(|(first, row)| Some((first, row.get()?)));
        let buckets = rows.flat_map(|(first, row)| (first..).zip(row.iter()));
        let buckets = buckets.map(|(bucket, count)| (bucket, count.load(Ordering::Relaxed)));
        Histogram::new(
            buckets.filter(|(_, count)| *count > 0).collect(),
            counts.sum.load(Ordering::Relaxed),
            counts.min.load(Ordering::Relaxed),
            counts.max.load(Ordering::Relaxed),
        )
    }
}

/// How values are distributed: a copy that does not change any more. What the values are, and in which
/// unit, says the field of [`Stats`](crate::Stats) that holds it.
///
/// Values are kept by bucket, none wider than an eighth of what it holds: count, sum, smallest and largest
/// are exact, and what lies between them is at most an eighth too large. It takes 16 bytes for each bucket
/// that is not empty, 8 KiB at most.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("one")?;
/// let before = log.stats().durable_append_ns;
/// log.append_batch(["two", "three"])?;
/// let both = log.stats().durable_append_ns;
/// assert_eq!((both.count(), both.since(&before).count()), (2, 1)); // Appends, not records.
/// assert!(both.quantile(0.99) <= both.max());
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Each bucket that is not empty: its number, and how many values it holds.
    counts: Vec<(u64, u64)>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// The smallest and the largest value are made to fit what is in the buckets, which may be of another
    /// moment.
    fn new(counts: Vec<(u64, u64)>, sum: u64, min: u64, max: u64) -> Self {
        let (lowest, highest) = match (counts.first(), counts.last()) {
            (Some(first), Some(last)) => (bounds_of(first.0), bounds_of(last.0)),
            _ => return Self::default(),
        };
        Self {
            count: counts.iter().map(|(_, count)| count).sum(),
            counts,
            sum,
            min: min.clamp(lowest.0, lowest.1),
            max: max.clamp(highest.0, highest.1),
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values together, in their unit.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest value, in its unit; `None` if there is none.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest value, in its unit; `None` if there is none.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The value that this part of all values does not pass, in its unit: 0.5 for the median, 0.99 for all
    /// but one in a hundred. At most an eighth too large. What is no part, below 0 or above 1, is taken as
    /// the nearest that is. `None` if there is no value.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let wanted = part * self.count as f64;
        let mut passed = 0;
        let found = self.buckets().find(|(_, count)| {
            passed += count;
            passed as f64 >= wanted
        });
        found.map_or(self.max(), |(value, _)| Some(value))
    }

    /// The buckets that are not empty, smallest values first: a value, and how many are not larger than
    /// it and larger than the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter();
        counts.map(|(bucket, count)| (bounds_of(*bucket).1.min(self.max), *count))
    }

    /// What came since an earlier look at the same log. The smallest and the largest of that are known by
    /// their buckets alone.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.counts.iter().copied().peekable();
        let mut counts = Vec::new();
        for (bucket, count) in &self.counts {
            let same = before.next_if(|(its, _)| its == bucket);
            let added = count.saturating_sub(same.map_or(0, |(_, count)| count));
            if added > 0 {
                counts.push((*bucket, added));
            }
        }
        let sum = self.sum.saturating_sub(earlier.sum);
        Self::new(counts, sum, self.min, self.max)
    }
}

/// Short, whatever it holds: how many values, and between which two.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}..={}", self.count, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let recording = Recording::default();
        values.into_iter().for_each(|value| recording.add(value));
        recording.snapshot()
    }

    /// Of each power of two as many.
    const BUCKETS: u64 = (u64::BITS - PIECE_BITS + 1) as u64 * PIECES;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wide() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert_eq!(low, next, "without a gap");
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert!(high - low <= low / PIECES, "{low}..={high}");
            next = high.wrapping_add(1);
        }
        assert_eq!(next, 0, "up to the largest");
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_large() {
        let histogram = of(1..=10_000);
        for part in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let (exact, told) = (
                10_000.0 * part,
                histogram.quantile(part).expect("a value") as f64,
            );
            assert!(told >= exact && told <= exact * 1.125, "{part}: {told}");
        }
        assert_eq!(histogram.quantile(0.0), Some(1));
        assert_eq!(histogram.quantile(-1.0), Some(1));
        assert_eq!(histogram.quantile(1.0), Some(10_000));
        assert_eq!(histogram.quantile(7.0), Some(10_000));
        assert_eq!((histogram.count(), histogram.sum()), (10_000, 50_005_000));
        assert_eq!((histogram.min(), histogram.max()), (Some(1), Some(10_000)));
    }

    #[test]
    fn nothing_has_neither_least_nor_largest() {
        let nothing = of([]);
        assert_eq!(nothing, Histogram::default());
        assert_eq!((nothing.min(), nothing.max()), (None, None));
        assert_eq!((nothing.quantile(0.5), nothing.count()), (None, 0));
        assert_eq!(nothing.buckets().count(), 0);
    }

    #[test]
    fn any_values_take_a_fixed_room() {
        let all = of((0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            (0..1000).map(move |piece| power.saturating_add(power / 1000 * piece))
        }));
        assert_eq!(all.count(), 64_000);
        assert!(all.buckets().count() as u64 <= BUCKETS);
        assert!(size_of::<(u64, u64)>() as u64 * BUCKETS <= 8 << 10);
        assert_eq!(of([0, u64::MAX]).max(), Some(u64::MAX));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let recording = Recording::default();
        [5, 700].into_iter().for_each(|value| recording.add(value));
        let before = recording.snapshot();
        [700, 90_000]
            .into_iter()
            .for_each(|value| recording.add(value));
        let since = recording.snapshot().since(&before);
        assert_eq!((since.count(), since.sum()), (2, 90_700));
        assert_eq!(since.max(), Some(90_000));
        assert!(since.min().is_some_and(|min| (640..=700).contains(&min)));
        assert_eq!(before.since(&before), Histogram::default());
    }
}
