//! The order in which the states of a crash point are gone through.
//!
//! INVARIANT: the state at an index depends on the crash point and the index alone. All subsets if
//! they fit into the limit, else what has found the most bugs first: nothing, everything, one
//! missing, one present, the first few, pairs; then tears; then chance. Used by `crash`.

use super::{
    Choice, CrashPoint, Fate, SimFs, Tear,
    rng::{Rng, mix},
};
use std::iter::FusedIterator;

/// The states of one crash point; see [`CrashPoint::all`].
#[derive(Debug)]
pub struct States<'a> {
    point: &'a CrashPoint,
    limit: u64,
    next: u64,
    tears: Vec<(usize, Tear)>,
}

impl<'a> States<'a> {
    pub(super) fn new(point: &'a CrashPoint, limit: u64) -> Self {
        Self {
            point,
            limit,
            next: 0,
            tears: point.tears(),
        }
    }

    /// The choice at an index, or `None` behind the last.
    fn choice(&self, index: u64) -> Option<Choice> {
        let count = self.point.effect_count();
        match subset_count(count).filter(|subsets| *subsets <= self.limit) {
            Some(subsets) if index < subsets => Some(subset(count, index)),
            // With nothing left out there is nothing for chance to find but tears.
            Some(subsets) => self.tear(index - subsets),
            None => Some(self.sample(index)),
        }
    }

    /// One effect torn, with all the others kept, and then again with all the others lost.
    fn tear(&self, index: u64) -> Option<Choice> {
        let (effect, tear) = self.tears.get(usize::try_from(index / 2).ok()?)?;
        let others = match index % 2 {
            0 => Choice::kept(self.point.effect_count()),
            _ => Choice::lost(),
        };
        Some(others.with(*effect, Fate::Torn(*tear)))
    }

    fn sample(&self, index: u64) -> Choice {
        let count = self.point.effect_count();
        let all = || Choice::kept(count);
        let index_in = |i: u64| usize::try_from(i).unwrap_or(usize::MAX);
        let (n, pairs) = (count as u64, pair_count(count as u64));
        let mut i = index;
        // Each section takes the indexes below its size and hands on the rest.
        let mut section = |size: u64| {
            let here = (i < size).then_some(i);
            i = i.saturating_sub(size);
            here
        };
        if let Some(i) = section(2) {
            return if i == 0 { Choice::lost() } else { all() };
        }
        if let Some(i) = section(n) {
            return all().with(index_in(i), Fate::Lost);
        }
        if let Some(i) = section(n) {
            return Choice::lost().with(index_in(i), Fate::Kept);
        }
        if let Some(i) = section(n) {
            return Choice::kept(index_in(i));
        }
        // Pairs grow with the square; they must not push everything below out of the limit.
        if pairs <= self.limit / 4
            && let Some(i) = section(pairs)
        {
            let (a, b) = pair(i);
            let one_lost = all().with(index_in(a), Fate::Lost);
            return one_lost.with(index_in(b), Fate::Lost);
        }
        let tears = (self.tears.len() as u64 * 2).min(self.limit / 4);
        if let Some(choice) = section(tears).and_then(|i| self.tear(i)) {
            return choice;
        }
        self.point.choose(mix(index, 0))
    }
}

impl Iterator for States<'_> {
    type Item = (Choice, SimFs);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.limit {
            return None;
        }
        let choice = self.choice(self.next)?;
        self.next += 1;
        let state = self.point.state(&choice);
        Some((choice, state))
    }
}

impl FusedIterator for States<'_> {}

fn subset_count(effects: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(effects).ok()?)
}

fn subset(count: usize, mask: u64) -> Choice {
    let fate = |i| match mask >> i & 1 {
        0 => Fate::Lost,
        _ => Fate::Kept,
    };
    (0..count).map(fate).collect()
}

fn pair_count(n: u64) -> u64 {
    n.saturating_mul(n.saturating_sub(1)) / 2
}

/// The pair with this index among all pairs `a < b`, ordered by `b`.
fn pair(index: u64) -> (u64, u64) {
    let mut b = 1;
    while pair_count(b + 1) <= index {
        b += 1;
    }
    (index - pair_count(b), b)
}

/// The ways in which a write of this length is torn one by one.
pub(super) fn write_tears(len: u64, seed: u64) -> [Tear; 6] {
    [
        Tear::Prefix(len / 2),
        Tear::Prefix(len.saturating_sub(1)),
        Tear::Sectors(seed),
        Tear::Zeroed,
        Tear::Garbage(seed),
        Tear::Mixed(seed),
    ]
}

/// One fate by chance, for an effect of this length.
pub(super) fn random_fate(rng: &mut Rng, len: u64, kept_percent: u64, torn_percent: u64) -> Fate {
    if rng.chance(torn_percent) {
        let bytes = rng.below(len.saturating_add(1));
        return Fate::Torn(match rng.below(6) {
            0 => Tear::Prefix(bytes),
            1 => Tear::Prefix(bytes - bytes % 512),
            2 => Tear::Sectors(rng.next()),
            3 => Tear::Zeroed,
            4 => Tear::Garbage(rng.next()),
            _ => Tear::Mixed(rng.next()),
        });
    }
    match rng.chance(kept_percent) {
        true => Fate::Kept,
        false => Fate::Lost,
    }
}
