//! A lease: a record that one worker has for itself, for a time.
//!
//! INVARIANT: it ends exactly once, by an acknowledgement or by giving the record back; dropping it
//! gives back.

use super::queue::Shared;
use crate::{error::Result, read::Record, sync::Arc};

/// A record to work on; from [`Queue::next`](crate::Queue::next). Dropping it gives the record again.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its record again"]
pub struct Lease {
    shared: Arc<Shared>,
    record: Record,
    token: u64,
    delivery_count: u32,
    acked: bool,
}

impl Lease {
    pub(super) fn new(
        shared: Arc<Shared>,
        record: Record,
        token: u64,
        delivery_count: u32,
    ) -> Self {
        Self {
            shared,
            record,
            token,
            delivery_count,
            acked: false,
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// How often it was handed out, this time included: at least so often, if one was cut short.
    #[must_use]
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    /// The work is done; durable when it returns. Also if it took too long and another worker has the
    /// record by now: it will not be given a third time.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: then it counts here, and is stored with the next; `Poisoned`, `Closed`.
    pub fn ack(mut self) -> Result<()> {
        self.acked = true;
        self.shared.ack(self.record.seq())
    }

    /// Gives the record again, now. It changes nothing if the lease is over.
    pub fn release(self) {
        drop(self);
    }

    /// Begins the time of the lease anew. False if it is over: another worker may have the record.
    pub fn extend(&mut self) -> bool {
        self.shared.extend(self.record.seq(), self.token)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.acked {
            self.shared.release(self.record.seq(), self.token);
        }
    }
}
