//! The producers in the order of their latest appends: whoever appended least lately is forgotten first.
//!
//! INVARIANTS: the order is a chain of places, from `oldest` to `newest`, in which everybody's is once. The
//! settled ones come first: `settled_count` of them, whose latest appends are those below `fresh_seq`.
//! `fresh` is the place behind them.
//!
//! Called by the ledger.

use super::{Known, PRODUCERS_MAX, Producer, key::Key};
use crate::types::Seq;
use std::{collections::HashMap, ops::Range};

/// In a chain: here it ends.
const NONE: usize = usize::MAX;

/// Those that are known.
#[derive(Clone, Debug)]
pub(super) struct Producers {
    /// The place of each id.
    at: HashMap<u64, usize, Key>,
    places: Vec<Place>,
    /// Places that are nobody's.
    free: Vec<usize>,
    oldest: usize,
    newest: usize,
    /// The oldest whose latest append a failed write may still take back.
    fresh: usize,
    fresh_seq: Seq,
    settled_count: usize,
}

/// On a cache line of its own: where many take turns each has to be fetched.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Place {
    id: u64,
    known: Known,
    older: usize,
    newer: usize,
}

const _: () = assert!(size_of::<Place>() == 64, "more than a cache line");

impl Default for Producers {
    fn default() -> Self {
        Self {
            at: HashMap::default(),
            places: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            fresh: NONE,
            fresh_seq: 0,
            settled_count: 0,
        }
    }
}

impl Producers {
    /// As they are stored: as if nothing were settled, which is found out with the next append.
    pub(super) fn of(known: impl Iterator<Item = (u64, Known)>) -> Self {
        let mut producers = Self::default();
        for (id, known) in known {
            producers.place(id, known);
        }
        producers.order();
        producers
    }

    /// Has them found by a secret, so that nobody chooses ids that are in each other's way.
    pub(super) fn find_by(&mut self, key: Key) {
        let mut at = HashMap::with_hasher(key);
        at.extend(self.at.drain());
        self.at = at;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.at.len(), self.settled_count)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Known)> {
        let known = |(id, at): (&u64, &usize)| Some((*id, &self.places.get(*at)?.known));
        self.at.iter().filter_map(known)
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<&Known> {
        let place = self.places.get(*self.at.get(&id)?)?;
        Some(&place.known)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Known> {
        let place = self.places.get_mut(*self.at.get(&id)?)?;
        Some(&mut place.known)
    }

    /// One of them appends. What lies below `settled_seq` is taken back no more: too many that are settled
    /// are too many, and the oldest go.
    pub(super) fn add(&mut self, producer: Producer, seqs: Range<Seq>, settled_seq: Seq) {
        let at = match self.at.get(&producer.id) {
            Some(at) => {
                let at = *at;
                self.unlink(at);
                at
            }
            None => self.place(producer.id, Known::default()),
        };
        if let Some(place) = self.places.get_mut(at) {
            place.known.add(producer, seqs);
            place.known.forget(settled_seq, false);
        }
        self.link(at);
        self.settle(settled_seq);
    }

    fn settle(&mut self, settled_seq: Seq) {
        while let Some(place) = self.places.get(self.fresh)
            && place.known.latest_seq() < settled_seq
        {
            self.fresh = place.newer;
            self.fresh_seq = place.known.latest_seq() + 1;
            self.settled_count += 1;
        }
        while self.settled_count > PRODUCERS_MAX {
            let oldest = self.oldest;
            self.unlink(oldest);
            if let Some(place) = self.places.get_mut(oldest) {
                place.known = Known::default();
                self.at.remove(&place.id);
                self.free.push(oldest);
            }
        }
    }

    /// Drops what was appended at or above a seq.
    pub(super) fn drop_from(&mut self, seq: Seq) {
        for place in &mut self.places {
            place.known.drop_from(seq);
        }
        self.order();
    }

    /// Gives a new one a place, which is in no chain yet.
    fn place(&mut self, id: u64, known: Known) -> usize {
        let (older, newer) = (NONE, NONE);
        #[rustfmt::skip]
        let place = Place { id, known, older, newer };
        let at = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(free) => *free = place,
            None => self.places.push(place),
        }
        self.at.insert(id, at);
        at
    }

    /// Puts everybody into the chain anew, nobody settled.
    fn order(&mut self) {
        let place = |(id, at): (&u64, &usize)| {
            let known = &self.places.get(*at)?.known;
            Some((known.latest_seq(), *id, *at))
        };
        let mut order: Vec<(Seq, u64, usize)> = self.at.iter().filter_map(place).collect();
        order.sort_unstable();
        (self.oldest, self.newest, self.fresh) = (NONE, NONE, NONE);
        (self.fresh_seq, self.settled_count) = (0, 0);
        for (_, _, at) in order {
            self.link(at);
        }
    }

    /// Takes a place out of the chain.
    #[inline]
    fn unlink(&mut self, at: usize) {
        let Some(place) = self.places.get(at) else {
            return;
        };
        let (older, newer) = (place.older, place.newer);
        self.settled_count -= usize::from(place.known.latest_seq() < self.fresh_seq);
        if self.fresh == at {
            self.fresh = newer;
        }
        match self.places.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
    }

    /// Puts a place that is in no chain behind all others.
    #[inline]
    fn link(&mut self, at: usize) {
        let older = std::mem::replace(&mut self.newest, at);
        match self.places.get_mut(older) {
            Some(older) => older.newer = at,
            None => self.oldest = at,
        }
        if let Some(place) = self.places.get_mut(at) {
            (place.older, place.newer) = (older, NONE);
        }
        if self.fresh == NONE {
            self.fresh = at;
        }
    }
}

impl PartialEq for Producers {
    /// What is known of them: their order follows from it.
    fn eq(&self, other: &Self) -> bool {
        let known = |(id, known)| other.get(id) == Some(known);
        self.at.len() == other.at.len() && self.iter().all(known)
    }
}
