//! Which segments a log lets go of: the oldest, once they pass a limit.

use cairnlog::{SegmentId, format::manifest::SealedEntry};
use std::{collections::BTreeSet, time::Duration};

/// So many are let go of at most before what is new is copied again: each is read back.
const AT_ONCE_MAX: usize = 4;

/// Which sealed segments live in the store alone; for [`ReplicatorOptions::tier`](crate::ReplicatorOptions::tier). One that passes any
/// of the limits goes, from the oldest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl Tier {
    /// No limit: nothing goes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the sealed segments the newest stay here that have so many bytes together.
    #[must_use]
    pub fn after_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// A segment goes once its newest record is older. By the times of the records, as with
    /// [`Retention`](cairnlog::Retention).
    #[must_use]
    pub fn after_age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Those that go now, the oldest first, without some that cannot; not all at once, if there are many.
    pub(crate) fn due(
        &self,
        sealed: &[SealedEntry],
        but: &BTreeSet<SegmentId>,
        now_ms: i64,
    ) -> Vec<SegmentId> {
        let here = || sealed.iter().filter(|entry| !entry.far);
        let mut left_bytes: u64 = here().map(|entry| entry.frames_end).sum();
        let age_ms = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let goes = |entry: &&SealedEntry| {
            let many = self.bytes.is_some_and(|max| left_bytes > max);
            let time_ms = entry.max_timestamp_ms;
            let is_old =
                |age: Duration| time_ms != 0 && time_ms.saturating_add(age_ms(age)) < now_ms;
            left_bytes -= entry.frames_end;
            many || self.age.is_some_and(is_old)
        };
        let due = here().take_while(goes);
        let due = due
            .filter(|entry| !but.contains(&entry.id))
            .take(AT_ONCE_MAX);
        due.map(|entry| entry.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four segments of 100 bytes, a second apart.
    fn sealed(far: u64) -> Vec<SealedEntry> {
        let entry = |number| SealedEntry {
            id: SegmentId(number + 1),
            salt: 0,
            base_seq: number * 10,
            next_seq: number * 10 + 10,
            frames_end: 100,
            max_timestamp_ms: number as i64 * 1000 + 1,
            record_count: 10,
            tombstone_count: 0,
            keyed_count: 0,
            compacted: false,
            packed: false,
            far: number < far,
        };
        (0..6).map(entry).collect()
    }

    #[test]
    fn the_oldest_go_that_pass_a_limit() {
        let second = Duration::from_secs(1);
        for (tier, far, expected) in [
            (Tier::new(), 0, 1..1),
            (Tier::new().after_bytes(600), 0, 1..1),
            (Tier::new().after_bytes(599), 0, 1..2),
            (Tier::new().after_bytes(250), 0, 1..5),
            (Tier::new().after_bytes(250), 2, 3..5),
            (Tier::new().after_bytes(0), 4, 5..7),
            (Tier::new().after_bytes(0), 0, 1..5), // The rest the next time.
            (Tier::new().after_age(second * 4), 0, 1..3),
            (Tier::new().after_age(second * 4).after_bytes(300), 1, 2..4),
            (Tier::new().after_age(Duration::MAX), 0, 1..1),
        ] {
            let due = tier.due(&sealed(far), &BTreeSet::new(), 5500);
            let due: Vec<_> = due.iter().map(|id| id.0).collect();
            assert_eq!(due, expected.collect::<Vec<_>>(), "{tier:?}, {far} far");
        }
        let stuck = BTreeSet::from([SegmentId(2)]);
        let due = Tier::new().after_bytes(250).due(&sealed(0), &stuck, 0);
        assert_eq!(due, [1, 3, 4].map(SegmentId));
    }
}
