//! Which producers appended last, and which have to be forgotten for others.
//!
//! INVARIANT: each producer's pair is in one of the two lists, in `settled` if its seq is below `fresh_seq`.
//!
//! Called by the ledger.

use super::{PRODUCERS_MAX, Producers};
use crate::types::Seq;
use std::collections::VecDeque;

/// The producers by their latest append; pairs of its seq and their id, in the order of the seqs. A pair is
/// void once its producer has appended again.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    /// Those that no failed write takes back, and how many are not void.
    settled: VecDeque<(Seq, u64)>,
    pub(super) settled_count: usize,
    fresh: VecDeque<(Seq, u64)>,
    fresh_seq: Seq,
}

impl Ages {
    /// As if nothing were settled: that is found out with the next append.
    pub(super) fn of(producers: &Producers) -> Self {
        let pairs = producers.iter().map(|(id, known)| (known.latest_seq, *id));
        let mut fresh: Vec<(Seq, u64)> = pairs.collect();
        fresh.sort_unstable();
        Self {
            fresh: fresh.into(),
            ..Self::default()
        }
    }

    /// A producer appends, which did so `before`, if it is known.
    pub(super) fn add(&mut self, seq: Seq, id: u64, before: Option<Seq>) {
        if before == Some(seq) {
            return; // Its append there was taken back.
        }
        if before.is_some_and(|before| before < self.fresh_seq) {
            self.settled_count -= 1;
        }
        self.fresh.push_back((seq, id));
    }

    /// What lies below is settled: too many of these are too many, and the oldest go.
    pub(super) fn settle(&mut self, settled_seq: Seq, producers: &mut Producers) {
        let is_void = |producers: &Producers, (seq, id): (Seq, u64)| {
            producers
                .get(&id)
                .is_none_or(|known| known.latest_seq != seq)
        };
        while let Some(pair) = self.fresh.front().copied()
            && pair.0 < settled_seq
        {
            self.fresh.pop_front();
            self.fresh_seq = pair.0.saturating_add(1);
            if !is_void(producers, pair) {
                self.settled.push_back(pair);
                self.settled_count += 1;
            }
        }
        while self.settled_count > PRODUCERS_MAX
            && let Some(pair) = self.settled.pop_front()
        {
            if !is_void(producers, pair) {
                producers.remove(&pair.1);
                self.settled_count -= 1;
            }
        }
        // Void ones among those that stay: as many at most.
        if self.settled.len() > 2 * PRODUCERS_MAX {
            self.settled.retain(|pair| !is_void(producers, *pair));
        }
    }
}
