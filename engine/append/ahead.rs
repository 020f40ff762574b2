//! Whether space is filled with zeros ahead of the appends: decided by what this disk does under this load.
//!
//! Over zeros a sync has no metadata to write. But the disk takes each byte twice then, and whoever appends
//! meanwhile stands behind the zeros, at once or, where a disk has a budget, some time later. So neither is
//! measured by itself: of four segments in turn the third is prepared the other way than usual, which costs or saves
//! something in the second, while which that is done, and in the third. If those two took less time for each byte than
//! two as the quicker one of the first and the last, the other way is the usual one from then on: where those differ,
//! something else had the disk.
//!
//! INVARIANT: it decides only where zeros are, never what is durable.
//!
//! Part of what the queue's lock guards. Changed by `lead`, asked by `agenda`.

use super::group::Group;
use std::{mem, time::Duration};

/// The largest group that is filled for, in bytes, while nothing was tried: at 2 GB/s, which many flash disks have,
/// zeros cost about as much as they save from here on.
const GROUP_BYTES_UNTRIED: usize = 256 * 1024;
/// So many segments are written before the first contest. The very first was prepared by nobody.
const REST_FIRST: u32 = 4;
/// Contests become rarer, up to one in so many segments: one that the usual way wins costs as much as the third of its
/// segments takes longer.
const REST_MAX: u32 = 60;
/// After a contest that changed something the next one comes sooner: a neighbour may have decided it.
const REST_AFTER_CHANGE: u32 = 4;
/// So much of the third segment is enough to give up what costs a tenth more, in parts of the first.
const PART_TO_SEE: u64 = 8;

/// What the segments of a contest are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before it and after it: all as usual.
    Before,
    /// As usual, but the next one is not prepared so.
    Preparing,
    /// Prepared the other way.
    Prepared,
    After,
}

const STAGES: [Stage; 4] = [
    Stage::Before,
    Stage::Preparing,
    Stage::Prepared,
    Stage::After,
];

/// What is known of the disk under this load.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What is usual, once that was settled.
    fills: Option<bool>,
    /// How many segments began since the last contest, and after how many the next one begins.
    turn: u32,
    rest: u32,
    /// The segment that is being written, and the first ones of a contest under way.
    now: Cost,
    before: Cost,
    preparing: Cost,
    prepared: Cost,
}

/// The appends of a segment that were synced.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    bytes: u64,
    time: Duration,
}

impl Cost {
    fn add(&mut self, bytes: usize, time: Duration) {
        self.bytes += bytes as u64;
        self.time += time;
    }

    /// In picoseconds; of none that is nothing.
    fn of_a_byte(&self) -> u128 {
        self.time.as_nanos() * 1000 / u128::from(self.bytes.max(1))
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            fills: None,
            turn: 0,
            rest: REST_FIRST,
            now: Cost::default(),
            before: Cost::default(),
            preparing: Cost::default(),
            prepared: Cost::default(),
        }
    }
}

impl Ahead {
    /// Whether the space behind the tail's end is filled, where groups have this size in bytes.
    pub(super) fn fills_tail(&self, group_bytes: usize) -> bool {
        self.is_usual_to_fill(group_bytes) && self.stage() != Some(Stage::Prepared)
    }

    /// Whether the next segment's is.
    pub(super) fn fills_next(&self, group_bytes: usize) -> bool {
        self.is_usual_to_fill(group_bytes) != (self.stage() == Some(Stage::Preparing))
    }

    fn is_usual_to_fill(&self, group_bytes: usize) -> bool {
        self.fills.unwrap_or(group_bytes <= GROUP_BYTES_UNTRIED)
    }

    fn stage(&self) -> Option<Stage> {
        let number = self.turn.checked_sub(self.rest)?;
        STAGES.get(number as usize).copied()
    }

    /// A group was synced; so large are groups, usually.
    #[inline]
    pub(super) fn synced(&mut self, group: &Group, group_bytes: usize) {
        // What begins a segment syncs the one before as well.
        match group.begins {
            Some(_) => self.begin(group_bytes),
            None => self.took(group.buffer.len(), group.disk_time),
        }
    }

    #[inline]
    fn took(&mut self, bytes: usize, time: Duration) {
        self.now.add(bytes, time);
        let seen = self.now.bytes >= self.before.bytes / PART_TO_SEE;
        if seen && self.stage() == Some(Stage::Prepared) {
            let usual = 2 * self.before.of_a_byte();
            if self.preparing.of_a_byte() + self.now.of_a_byte() > usual + usual / 10 {
                self.rest_after(false);
            }
        }
    }

    /// The next segment began.
    fn begin(&mut self, group_bytes: usize) {
        let ended = mem::take(&mut self.now);
        match self.stage() {
            Some(_) if ended.bytes == 0 => self.rest_after(false), // Not one group that shows anything.
            Some(Stage::Before) => self.before = ended,
            Some(Stage::Preparing) => self.preparing = ended,
            Some(Stage::Prepared) => self.prepared = ended,
            Some(Stage::After) => self.judge(ended),
            None => {}
        }
        self.turn = self.turn.saturating_add(1);
        if self.stage() == Some(Stage::Before) {
            self.fills = Some(self.is_usual_to_fill(group_bytes));
        }
    }

    fn judge(&mut self, after: Cost) {
        let usual = 2 * self.before.of_a_byte().min(after.of_a_byte());
        let other = self.preparing.of_a_byte() + self.prepared.of_a_byte();
        // A fiftieth is no difference.
        let changes = other + usual / 50 < usual;
        if changes {
            self.fills = self.fills.map(|fills| !fills);
        }
        self.rest_after(changes);
    }

    fn rest_after(&mut self, changed: bool) {
        self.turn = 0;
        self.rest = match changed {
            true => REST_AFTER_CHANGE,
            false => (4 * self.rest).min(REST_MAX),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, GROUP_BYTES_UNTRIED};
    use std::time::Duration;

    impl Ahead {
        /// Of a disk for which this was found.
        pub(in crate::append) fn that_fills(fills: bool) -> Self {
            Self {
                fills: Some(fills),
                ..Self::default()
            }
        }
    }

    /// A disk and a load, by the microseconds that a group takes.
    #[derive(Clone, Copy)]
    struct Disk {
        over_zeros: u64,
        extending: u64,
        /// Longer by this if the next segment is filled meanwhile.
        filling: u64,
        group_bytes: usize,
    }

    const FLASH: Disk = Disk {
        over_zeros: 50,
        extending: 90,
        filling: 5,
        group_bytes: 1000,
    };
    const SLOW: Disk = Disk {
        over_zeros: 600,
        extending: 700,
        filling: 600,
        group_bytes: 16_000,
    };

    /// Of so many segments of a hundred groups, how many groups extended the file.
    fn extended(ahead: &mut Ahead, disk: &Disk, segments: usize) -> usize {
        extended_by_turns(ahead, std::iter::repeat_n(*disk, segments))
    }

    /// The same, of a disk that is another for each segment.
    fn extended_by_turns(ahead: &mut Ahead, disks: impl Iterator<Item = Disk>) -> usize {
        let (mut filled, mut extended) = (false, 0);
        for disk in disks {
            let fills_next = ahead.fills_next(disk.group_bytes);
            for _ in 0..100 {
                let extends = !filled && !ahead.fills_tail(disk.group_bytes);
                extended += usize::from(extends);
                let time = if extends {
                    disk.extending
                } else {
                    disk.over_zeros
                };
                let filling = if fills_next { disk.filling } else { 0 };
                ahead.took(disk.group_bytes, Duration::from_micros(time + filling));
            }
            ahead.begin(disk.group_bytes);
            filled = fills_next;
        }
        extended
    }

    #[test]
    fn what_is_usual_on_a_fast_disk_and_on_a_slow_one() {
        // Whatever is assumed at first; what is tried in vain costs an eighth of one segment in sixty.
        for group_bytes in [1000, 2 * GROUP_BYTES_UNTRIED] {
            let mut ahead = Ahead::default();
            let flash = Disk {
                group_bytes,
                ..FLASH
            };
            extended(&mut ahead, &flash, 100);
            assert_eq!(ahead.fills, Some(true));
            assert!(extended(&mut ahead, &flash, 640) <= 10 * 13);
            let mut ahead = Ahead::default();
            let slow = Disk {
                group_bytes,
                ..SLOW
            };
            extended(&mut ahead, &slow, 100);
            assert_eq!(ahead.fills, Some(false));
            assert!(extended(&mut ahead, &slow, 640) >= (640 - 11) * 100);
        }
    }

    #[test]
    fn what_if_the_disk_becomes_another() {
        let mut ahead = Ahead::default();
        for _ in 0..3 {
            extended(&mut ahead, &FLASH, 200);
            assert_eq!(ahead.fills, Some(true));
            extended(&mut ahead, &SLOW, 200);
            assert_eq!(ahead.fills, Some(false));
        }
    }

    /// Once a neighbour had the disk, in each of the turns of a contest: what that led to does not last.
    #[test]
    fn what_if_one_segment_is_slow_by_chance() {
        for turn in 0..8 {
            for (disk, fills) in [(&FLASH, true), (&SLOW, false)] {
                let mut ahead = Ahead::that_fills(fills);
                extended(&mut ahead, disk, turn);
                let busy = Disk {
                    over_zeros: 9000,
                    extending: 9000,
                    ..*disk
                };
                extended(&mut ahead, &busy, 1);
                extended(&mut ahead, disk, 20);
                assert_eq!(ahead.fills, Some(fills), "{turn}");
            }
        }
    }

    /// A disk with a budget stands still now and then: what is right is usual all the same, nearly always.
    #[test]
    fn what_if_three_of_ten_segments_are_slow_by_chance() {
        let slowed = |disk: &Disk, by: u64| Disk {
            over_zeros: by * disk.over_zeros,
            extending: by * disk.extending,
            filling: by * disk.filling,
            ..*disk
        };
        let mut extended = 0;
        for seed in 1..=100 {
            let mut chance: u64 = seed;
            let disks = std::iter::repeat_with(|| {
                chance = chance
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(seed);
                slowed(&FLASH, if (chance >> 33) % 10 < 3 { 3 } else { 1 })
            });
            extended += extended_by_turns(&mut Ahead::default(), disks.take(600));
        }
        assert!(extended < 100 * 600 * 100 / 15, "{extended}");
    }

    /// A log whose batches are larger than a segment has no group that shows anything.
    #[test]
    fn what_if_no_group_shows_what_a_disk_does() {
        let mut ahead = Ahead::default();
        for _ in 0..1000 {
            assert!(ahead.fills_tail(1000));
            ahead.begin(1000);
        }
    }
}
