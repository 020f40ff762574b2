//! Whether space is filled with zeros ahead of the appends: decided by what this disk does under this load.
//!
//! Over zeros a sync has no metadata to write. But the disk takes each byte twice then, and appends stand behind
//! the zeros. So filling pays for groups that cost less to fill than their syncs save, and all of it can be
//! measured: how long groups take over zeros, how long when they extend the file, and how long a piece of zeros
//! takes. Each segment shows all three, whatever is decided: its first bytes are always filled ahead, one piece
//! with them, and its last ones never.
//!
//! INVARIANT: it decides only where zeros are, never what is durable.
//!
//! Part of what the queue's lock guards. Changed by `lead` and the worker, asked by `agenda`.

use super::group::Group;
use std::time::Duration;

/// The largest group that pays, in bytes, while the disk is not known: what takes in 64 KiB in the time by
/// which a longer file delays a sync has 2 GB/s, as many flash disks do.
const GROUP_BYTES_UNKNOWN: u64 = 64 * 1024;
/// So much of a segment's end is not filled, in parts of it, and never more than this, in bytes.
const END_PARTS: u64 = 64;
const END_BYTES_MAX: u64 = 256 * 1024;
/// How many times are looked at for a typical one. Odd, so that one is in the middle.
const TIMES: usize = 9;

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Nanoseconds to write and sync a group, over zeros and where the file has to grow.
    over_zeros: Typical,
    extending: Typical,
    /// Picoseconds to fill a byte.
    filling: Typical,
}

impl Ahead {
    /// A group was synced.
    #[inline]
    pub(super) fn synced(&mut self, group: &Group) {
        // What begins a segment syncs the one before as well.
        if group.begins.is_none() {
            self.took(group.extends, group.disk_time);
        }
    }

    #[inline]
    fn took(&mut self, extends: bool, time: Duration) {
        let kind = if extends {
            &mut self.extending
        } else {
            &mut self.over_zeros
        };
        kind.add(time.as_nanos());
    }

    /// So many bytes were filled and synced.
    pub(super) fn filled(&mut self, bytes: u64, took: Duration) {
        self.filling
            .add(took.as_nanos() * 1000 / u128::from(bytes.max(1)));
    }

    /// Whether to fill for groups of this size, in bytes.
    pub(super) fn pays(&self, group_bytes: usize) -> bool {
        group_bytes as u64 <= self.group_bytes_max()
    }

    /// The largest group for which filling costs no more than it saves.
    fn group_bytes_max(&self) -> u64 {
        let (Some(over_zeros), Some(extending), Some(filling)) = (
            self.over_zeros.value,
            self.extending.value,
            self.filling.value,
        ) else {
            return GROUP_BYTES_UNKNOWN;
        };
        u64::from(extending.saturating_sub(over_zeros)) * 1000 / u64::from(filling.max(1))
    }

    /// Whether the tail should grow without zeros for a while, to see what that costs.
    pub(super) fn is_curious(&self) -> bool {
        self.over_zeros.value.is_some() && self.extending.value.is_none()
    }

    /// Up to where a segment is filled, of those bytes.
    pub(super) fn end(segment_bytes: u64) -> u64 {
        segment_bytes - (segment_bytes / END_PARTS).min(END_BYTES_MAX)
    }
}

/// The middle one of the last times: one that something else made long does not count.
#[derive(Debug, Default)]
struct Typical {
    times: [u32; TIMES],
    count: usize,
    value: Option<u32>,
}

impl Typical {
    #[inline]
    fn add(&mut self, time: u128) {
        if let Some(slot) = self.times.get_mut(self.count) {
            *slot = u32::try_from(time).unwrap_or(u32::MAX);
        }
        self.count += 1;
        if self.count == TIMES {
            self.count = 0;
            self.times.sort_unstable();
            self.value = self.times.get(TIMES / 2).copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, TIMES};
    use crate::segment::FILL_BYTES;
    use std::time::Duration;

    impl Ahead {
        /// Of a disk that was seen to take so many microseconds for a group over zeros, for one that extends
        /// the file, and for a piece of zeros.
        pub(in crate::append) fn of_disk(over_zeros: u64, extending: u64, piece: u64) -> Self {
            let mut ahead = Self::default();
            ahead.see(over_zeros, extending, piece);
            ahead
        }

        fn see(&mut self, over_zeros: u64, extending: u64, piece: u64) {
            for _ in 0..TIMES {
                self.took(false, Duration::from_micros(over_zeros));
                self.took(true, Duration::from_micros(extending));
                self.filled(FILL_BYTES, Duration::from_micros(piece));
            }
        }
    }

    /// A flash disk takes 256 KiB in 250 us; one of 30 MB/s in 8.7 ms, where a longer file costs it a few more
    /// blocks in the journal.
    #[test]
    fn which_groups_pay_on_a_fast_disk_and_on_a_slow_one() {
        let fast = Ahead::of_disk(45, 80, 250);
        assert!(fast.pays(100) && fast.pays(32 << 10) && !fast.pays(64 << 10));
        let slow = Ahead::of_disk(1100, 1400, 8700);
        assert!(slow.pays(100) && slow.pays(8 << 10) && !slow.pays(16 << 10));
        let same = Ahead::of_disk(100, 100, 250);
        assert!(!same.pays(100), "there is nothing to be saved");
    }

    /// A neighbour who holds the disk for a while makes a few times long; a disk that has changed makes most.
    #[test]
    fn what_does_not_last_is_not_believed() {
        let mut ahead = Ahead::of_disk(45, 80, 250);
        for _ in 0..TIMES / 2 {
            ahead.filled(FILL_BYTES, Duration::from_secs(1));
            ahead.took(false, Duration::from_secs(1));
        }
        ahead.see(45, 80, 250);
        assert!(ahead.pays(32 << 10));
        ahead.see(1100, 1400, 8700);
        ahead.see(1100, 1400, 8700);
        assert!(ahead.pays(8 << 10) && !ahead.pays(32 << 10));
    }

    /// Nothing is known of a new log, and times too long for a number are no trap.
    #[test]
    fn what_is_assumed_before_anything_is_known() {
        let mut ahead = Ahead::default();
        assert!(ahead.pays(64 << 10) && !ahead.pays((64 << 10) + 1));
        assert!(!ahead.is_curious());
        (0..TIMES).for_each(|_| ahead.took(false, Duration::MAX));
        assert!(ahead.is_curious(), "over zeros is known, and nothing else");
        (0..TIMES).for_each(|_| ahead.took(true, Duration::MAX));
        (0..TIMES).for_each(|_| ahead.filled(0, Duration::ZERO));
        assert!(!ahead.is_curious() && !ahead.pays(1));
    }
}
