//! The pace of the leader: whom it waits for before it takes a group to the disk, and how long.
//!
//! INVARIANT: it is learned from groups that were synced, and decides only about time: whatever is in it,
//! every append comes to its end.
//!
//! Part of what the queue's lock guards. Changed by `lead`.

use super::group::Group;
use std::time::Duration;

/// How long a leader waits for company at most: who stays away longer is thinking, and yielding so
/// long takes a processor from somebody else.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// A leader that did not wait for company thinks it quicker by one part in this many: what made it
/// slow may have passed.
const ARRIVAL_DECAY: u32 = 64;

/// What is known of the last groups; the later ones count more.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Callers that were under way when the last sync ended: those it released, those that wait still.
    company: usize,
    /// How long groups took to be written and synced, and their size in bytes.
    trip: Duration,
    group_bytes: usize,
    /// How long it took until the next one of those whom a sync had released came back.
    arrival: Duration,
}

/// For how many callers a leader waits, and how long at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) wanted: usize,
    pub(super) limit: Duration,
}

impl Pace {
    /// Whether it pays to wait for those whom the last sync released, when so many are there.
    ///
    /// If all are there sooner than a trip to the disk takes, waiting saves one. Else a quarter of them
    /// is enough: while these use the disk the others come, and two groups take turns.
    pub(super) fn wish(&mut self, before: usize) -> Option<Wish> {
        let limit = self.trip.min(GATHER_MAX);
        let all = self.company.saturating_sub(1);
        let missing = u32::try_from(all.saturating_sub(before)).unwrap_or(u32::MAX);
        let wanted = if self.arrival.saturating_mul(missing) <= limit {
            all
        } else {
            all / 4
        };
        if before >= wanted {
            self.arrival -= self.arrival / ARRIVAL_DECAY;
            return None;
        }
        Some(Wish { wanted, limit })
    }

    /// A leader waited so long, and `before` became `after`.
    pub(super) fn waited(&mut self, wish: Wish, waited: Duration, before: usize, after: usize) {
        let arrived = after.saturating_sub(before);
        let arrival = if 2 * arrived >= wish.wanted - before {
            waited / u32::try_from(arrived.max(1)).unwrap_or(u32::MAX)
        } else {
            // Who did not come may never: so little is waited in vain, one group of twenty.
            4 * waited
        };
        self.arrival = (7 * self.arrival + arrival) / 8;
    }

    /// A group was synced.
    pub(super) fn synced(&mut self, group: &Group) {
        self.company = group.company;
        self.trip = (7 * self.trip + group.disk_time) / 8;
        self.group_bytes = (7 * self.group_bytes + group.buffer.len()) / 8;
    }

    /// The usual size of a group that is synced, in bytes.
    pub(super) fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    #[cfg(test)]
    pub(super) fn company(&self) -> usize {
        self.company
    }
}
