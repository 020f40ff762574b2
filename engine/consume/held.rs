//! The records of a queue that were read and are not done, and who has which of them. Pure.
//!
//! INVARIANT: a record has one lease at a time. One whose end is not known yet never ends by itself.

use super::{deal::InFlight, handed::Dealt};
use crate::{read::Record, types::Seq};
use std::{collections::BTreeMap, time::Duration};

/// A lease whose end is not known yet.
const NO_END: Duration = Duration::MAX;

/// The records, by their seqs.
#[derive(Default)]
pub(super) struct Held {
    records: BTreeMap<Seq, HeldRecord>,
    next_token: u64,
    /// Leases with a lower token are of before the queue was sent elsewhere, and mean nothing any more.
    first_token: u64,
}

struct HeldRecord {
    record: Record,
    lease: Option<Term>,
    /// Nobody gets it before, by the clock on the wall.
    not_before_ms: i64,
}

/// Whose it is, and until when by the clock of the file system.
#[derive(Clone, Copy)]
struct Term {
    token: u64,
    end: Duration,
}

impl Held {
    pub(super) fn insert(&mut self, record: Record, not_before_ms: i64) {
        let held = HeldRecord {
            not_before_ms,
            lease: None,
            record,
        };
        self.records.insert(held.record.seq(), held);
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Record> {
        self.records.remove(&seq).map(|held| held.record)
    }

    /// Takes all of it; every lease is over.
    pub(super) fn leave(&mut self) -> Self {
        let (next_token, first_token) = (self.next_token, self.next_token);
        let records = BTreeMap::new();
        std::mem::replace(
            self,
            Self {
                records,
                next_token,
                first_token,
            },
        )
    }

    /// Whether a lease is of before the queue was sent elsewhere.
    pub(super) fn is_void(&self, token: u64) -> bool {
        token < self.first_token
    }

    /// The records that nobody has and that wait for no time to come.
    pub(super) fn free(&self, now_ms: i64) -> impl Iterator<Item = Seq> {
        let is_free = move |held: &HeldRecord| held.lease.is_none() && held.not_before_ms <= now_ms;
        let free = self.records.iter().filter(move |(_, held)| is_free(held));
        free.map(|(seq, _)| *seq)
    }

    /// How long it is until the next of those that wait for their time.
    pub(super) fn next_due(&self, now_ms: i64) -> Option<Duration> {
        let waiting = self.records.values().filter(|held| held.lease.is_none());
        let due = waiting
            .map(|held| held.not_before_ms)
            .filter(|due| *due > now_ms);
        let left = due.min()?.saturating_sub(now_ms);
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    pub(super) fn bytes_of(&self, seq: Seq) -> usize {
        let record = self.records.get(&seq).map(|held| &held.record);
        record.map_or(0, |record| record.len())
    }

    /// Leases a record, without an end.
    pub(super) fn lease(&mut self, seq: Seq) -> Option<Dealt> {
        let held = self.records.get_mut(&seq)?;
        let (token, end) = (self.next_token, NO_END);
        self.next_token += 1;
        held.lease = Some(Term { token, end });
        Some(Dealt {
            record: held.record.clone(),
            token,
            delivery_count: 0,
        })
    }

    /// Sets the end of a lease; false if it is over.
    pub(super) fn set_end(&mut self, seq: Seq, token: u64, end: Duration) -> bool {
        let held = self.leased(seq, token);
        held.map(|held| held.lease = Some(Term { token, end }))
            .is_some()
    }

    /// Ends a lease, if it is not over; whether it was not. Nobody gets the record before a time.
    pub(super) fn release(&mut self, seq: Seq, token: u64, not_before_ms: i64) -> bool {
        let held = self.leased(seq, token);
        held.map(|held| (held.lease, held.not_before_ms) = (None, not_before_ms))
            .is_some()
    }

    fn leased(&mut self, seq: Seq, token: u64) -> Option<&mut HeldRecord> {
        let held = self.records.get_mut(&seq)?;
        let own = held.lease.is_some_and(|term| term.token == token);
        own.then_some(held)
    }

    /// Ends the leases whose time is over; gives how many, and how many others there are.
    pub(super) fn expire(&mut self, now: Duration) -> (usize, usize) {
        let (mut ended, mut leased) = (0, 0);
        for held in self.records.values_mut() {
            match held.lease {
                Some(term) if term.end <= now => {
                    held.lease = None;
                    ended += 1;
                }
                Some(_) => leased += 1,
                None => {}
            }
        }
        (ended, leased)
    }

    /// How long the next lease lasts that ends.
    pub(super) fn next_end(&self, now: Duration) -> Option<Duration> {
        let ends = self.records.values().filter_map(|held| held.lease);
        let ends = ends.map(|term| term.end).filter(|end| *end != NO_END);
        ends.min().map(|end| end.saturating_sub(now))
    }

    /// What is leased; how often each was handed out is to be filled in.
    pub(super) fn in_flight(&self, now: Duration) -> Vec<InFlight> {
        let leased = self.records.iter().filter_map(|(seq, held)| {
            let end = held.lease?.end;
            Some(InFlight {
                seq: *seq,
                delivery_count: 0,
                lease_left: (end != NO_END).then(|| end.saturating_sub(now)),
            })
        });
        leased.collect()
    }
}
