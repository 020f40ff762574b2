//! What the queue's lock guards: each part has its own file, and keeps its fields to itself.
//!
//! Called by every room of appending that takes the lock.

use super::{
    Ledger, Spare,
    ahead::Ahead,
    duties::Duties,
    groups::{Groups, Plan},
    held::After,
    life::Life,
    pace::Pace,
    waiting::Waiting,
};
use crate::{format::Compression, types::Seq};

/// What the queue's lock guards.
#[derive(Debug)]
pub(super) struct State {
    /// From open to closed, and who is inside.
    pub(super) life: Life,
    /// What is said once it is unlocked.
    pub(super) after: After,
    /// What waits to be written, and where it goes.
    pub(super) queue: Groups,
    /// Whom the leader waits for.
    pub(super) pace: Pace,
    /// Whether space is filled ahead.
    pub(super) ahead: Ahead,
    /// What the worker has to do.
    pub(super) duties: Duties,
    /// Who waits for room.
    pub(super) waiting: Waiting,
}

impl State {
    /// Of a log that was just opened, and is durable below `next_seq`. `seal_due` says whether a segment
    /// waits for its seal.
    pub(super) fn new(
        plan: Plan,
        next_seq: Seq,
        codec: Option<Compression>,
        ledger: Ledger,
        spare: Option<Spare>,
        seal_due: bool,
    ) -> Self {
        Self {
            life: Life::default(),
            after: After::default(),
            pace: Pace::default(),
            ahead: Ahead::default(),
            duties: Duties::new(next_seq, seal_due || spare.is_none()),
            waiting: Waiting::default(),
            queue: Groups::new(plan, next_seq, codec, ledger, spare),
        }
    }
}
