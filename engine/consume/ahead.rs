//! Whose deliveries are counted ahead: those of the records that will be wanted next, where they go quickly.
//!
//! Called by `deal`; `count` does it.

use super::{
    deal::{Dealer, State},
    handed::Dealt,
};
use crate::{read::Record, types::Seq};
use std::time::Duration;

/// At most so many deliveries are counted ahead, of records that have so many bytes in all.
const AHEAD_MAX: usize = 32;
const AHEAD_BYTES_MAX: usize = 1 << 20;
/// Where it takes longer than this until the next delivery has to be counted, none is counted ahead.
const AHEAD_WITHIN: Duration = Duration::from_millis(100);

impl Dealer {
    /// The records of which a delivery is to be counted with those that are dealt, if that takes a write:
    /// twice as many as the last time if these are used up soon, none if not.
    pub(super) fn ahead(
        &self,
        state: &mut State,
        dropped: &mut Vec<Record>,
        dealt: &[Dealt],
        (now, now_ms): (Duration, i64),
    ) -> Vec<Seq> {
        let mut ahead = Vec::new();
        let is_counted = |it: &Dealt| !self.hand.is_uncounted(it.record.seq());
        if !self.options.counts_ahead() || dealt.iter().all(is_counted) {
            return ahead;
        }
        let soon = now.saturating_sub(state.counted_at) < AHEAD_WITHIN;
        state.counted_at = now;
        state.ahead_max = match soon {
            true if self.hand.ahead_count() > 0 => return ahead,
            true => (2 * state.ahead_max).clamp(1, AHEAD_MAX),
            false => 0,
        };
        let is_new = |seq: &Seq| self.hand.open(*seq).is_some_and(|(count, _)| count == 0);
        ahead.extend(state.held.free(now_ms).filter(is_new).take(state.ahead_max));
        let mut bytes = 0;
        while ahead.len() < state.ahead_max && bytes < AHEAD_BYTES_MAX {
            // An error is told to who asks for the record.
            let Ok(Some(seq)) = self.read(state, dropped, now_ms) else {
                break;
            };
            bytes += state.held.bytes_of(seq);
            ahead.push(seq);
        }
        ahead
    }
}

impl Drop for Dealer {
    fn drop(&mut self) {
        self.hand.give_up_ahead();
    }
}
