//! Records on their way to a worker.
//!
//! INVARIANT: what does not arrive is given back.
//!
//! Called by the queues; calls `deal`.

use super::deal::Dealer;
use crate::{read::Record, sync::Arc, types::Seq};
use std::{mem, time::Duration};

/// One record for one worker.
pub(super) struct Dealt {
    pub(super) record: Record,
    pub(super) token: u64,
    pub(super) delivery_count: u32,
}

/// Records that are on their way to a worker: what does not arrive is given back.
pub(super) struct Handed {
    pub(super) dealer: Arc<Dealer>,
    pub(super) dealt: Vec<Dealt>,
    /// Records that will be wanted next: their deliveries are counted with these.
    pub(super) ahead: Vec<Seq>,
}

impl Handed {
    pub(super) fn seqs(&self) -> Vec<Seq> {
        self.dealt.iter().map(|it| it.record.seq()).collect()
    }

    /// Begins the terms of the leases, whose deliveries are counted.
    pub(super) fn begin(mut self, counts: &[u32]) -> Vec<Dealt> {
        self.dealer.begin(&mut self.dealt, counts);
        let mut dealt = mem::take(&mut self.dealt);
        dealt.retain(|it| it.delivery_count > 0);
        dealt
    }

    /// Its only record is done: it is among the dead letters, and that is stored.
    pub(super) fn buried(mut self) {
        for dealt in mem::take(&mut self.dealt) {
            self.dealer.done(dealt.record.seq(), dealt.token);
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        for dealt in &self.dealt {
            let (seq, token) = (dealt.record.seq(), dealt.token);
            self.dealer.release(seq, token, Duration::ZERO);
        }
    }
}
