//! Deliveries are counted durably before the records are handed out, so that one that kills its workers is
//! found out. A count takes a write and a sync; so where records go quickly, those of the next few are
//! counted with it.
//!
//! INVARIANTS: what is handed out is counted, durably. Only first deliveries are counted ahead: after a crash
//! it is not known whether they came, and a record that was never handed out has lost one try, not more.
//! What does not come is taken back.
//!
//! Called by the queues; calls position.

use super::position::{Position, State};
use crate::{
    error::{Op, Result},
    format::cursor::ROUND_MAX,
    types::Seq,
};

impl State {
    pub(super) fn open(&self, seq: Seq) -> Option<(u32, u32)> {
        let (count, round) = self.standing.open(seq)?;
        let ahead = u32::from(self.ahead.contains_key(&seq));
        Some((count.saturating_sub(ahead), round))
    }
}

impl Position {
    /// When a record may be handed out, if it has to wait.
    pub(super) fn not_before_ms(&self, seq: Seq) -> i64 {
        self.state.lock().standing.not_before_ms(seq)
    }

    /// Has a record wait until a time, or wait no more at 0. Not stored yet.
    pub(super) fn wait_until(&self, seq: Seq, not_before_ms: i64) {
        let mut state = self.state.lock();
        let changed = state.standing.wait_until(seq, not_before_ms);
        state.version += u64::from(changed);
    }

    /// Whether the next delivery of a record has to be counted yet.
    pub(super) fn is_uncounted(&self, seq: Seq) -> bool {
        !self.state.lock().ahead.contains_key(&seq)
    }

    /// How many deliveries are counted that are yet to come.
    pub(super) fn ahead_count(&self) -> usize {
        self.state.lock().ahead.len()
    }

    /// Counts a delivery of each of these, durably; gives how often each was handed out, 0 for what is
    /// not open any more. If that takes a write, it counts the next one of others, `ahead`, as well.
    pub(super) fn count(&self, seqs: &[Seq], ahead: &[Seq]) -> Result<Vec<u32>> {
        // What was counted before a log was closed or poisoned is not handed out after.
        self.log.core().check_usable(Op::Consume)?;
        let vfs = self.log.core().dir().vfs();
        let draw = |_: &Seq| {
            let round = u32::try_from(vfs.random() & u64::from(ROUND_MAX)).unwrap_or_default();
            round.max(1)
        };
        let rounds: Vec<u32> = seqs.iter().chain(ahead).map(draw).collect();
        let mut rounds = rounds.into_iter();
        let mut state = self.state.lock();
        let (mut wanted, mut counts) = (0, Vec::with_capacity(seqs.len()));
        let next_version = state.version + 1;
        for (seq, round) in seqs.iter().zip(&mut rounds) {
            let counted_in = state.ahead.remove(seq);
            counts.push(match counted_in {
                Some(_) => state.standing.open(*seq).map_or(0, |(count, _)| count),
                None => state.standing.count(*seq, round),
            });
            wanted = wanted.max(counted_in.unwrap_or(next_version));
        }
        if wanted == next_version {
            for (seq, round) in ahead.iter().zip(rounds) {
                if !state.ahead.contains_key(seq) && state.standing.count(*seq, round) > 0 {
                    state.ahead.insert(*seq, next_version);
                }
            }
            state.version = next_version;
        }
        let stored = self.store(state, wanted);
        if stored.is_err() {
            let mut state = self.state.lock();
            seqs.iter().for_each(|seq| state.standing.uncount(*seq));
        }
        stored.map(|()| counts)
    }

    /// Takes back what was counted of deliveries that do not come.
    pub(super) fn give_up_ahead(&self) {
        let mut state = self.state.lock();
        let ahead = std::mem::take(&mut state.ahead);
        if ahead.is_empty() {
            return;
        }
        ahead.keys().for_each(|seq| state.standing.uncount(*seq));
        state.version += 1;
        // If it cannot be stored, each has been handed out once more, as after a crash.
        self.stored_as_of(state).ok();
    }
}
