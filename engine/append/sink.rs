//! Appending as a sink, with back-pressure.

use super::{AppendOptions, Core, Ticket, owned::AsRecord};
use crate::{
    error::{Error, Result},
    sync::Arc,
};
use futures_sink::Sink;
use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Appends that may be on their way at once.
const IN_FLIGHT_MAX: usize = 1024;

/// Appends every item, as a value or as it says itself ([`OwnedRecord`](crate::OwnedRecord)); from
/// [`Log::sink`](crate::Log::sink).
///
/// It takes an item when the queue has room for one, so a producer that runs ahead is slowed and
/// memory stays bounded. Flushing waits until all items are at the level that was asked for. One that
/// failed is told by the call after, each by one call, and is not in the log; the sink goes on with the next, as
/// long as the log takes appends. Dropping it takes nothing back: what it accepted is
/// appended, for which the drop of an unflushed sink may wait for room for one item.
///
/// ```
/// use cairnlog::{AppendOptions, Log};
/// use futures_util::SinkExt;
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let log = Log::open(dir.path().join("log"))?;
/// let mut sink = log.sink(AppendOptions::new());
/// sink.feed("one").await?;
/// sink.send("two").await?; // And flushed: both are durable.
/// assert_eq!(log.durable_seq(), 2);
/// # Ok::<(), cairnlog::Error>(()) }).unwrap();
/// ```
#[must_use = "a sink does nothing unless items are sent to it"]
pub struct AppendSink<T: AsRecord> {
    core: Arc<Core>,
    how: AppendOptions,
    /// Accepted and not queued yet.
    slot: Option<T>,
    /// Whether a full disk was tried again for it.
    tried: bool,
    /// Queued, oldest first.
    tickets: VecDeque<Ticket>,
}

// Nothing in it is pinned.
impl<T: AsRecord> Unpin for AppendSink<T> {}

impl<T: AsRecord> AppendSink<T> {
    pub(crate) fn new(core: Arc<Core>, how: AppendOptions) -> Self {
        Self {
            core,
            how,
            slot: None,
            tried: false,
            tickets: VecDeque::new(),
        }
    }

    fn poll_slot(&mut self, context: &Context<'_>) -> Poll<Result<()>> {
        let Some(item) = &self.slot else {
            return Poll::Ready(Ok(()));
        };
        let how = item.options().unwrap_or(&self.how);
        let tried = &mut self.tried;
        let ticket = ready!((self.core).poll_submit(context, &[item.record()], how, tried));
        // Refused or queued, it is accounted for.
        (self.slot, self.tried) = (None, false);
        self.tickets.push_back(ticket?);
        Poll::Ready(Ok(()))
    }

    /// Waits for the oldest until no more than `left` are on their way.
    fn poll_tickets(&mut self, context: &mut Context<'_>, left: usize) -> Poll<Result<()>> {
        while self.tickets.len() > left {
            let Some(oldest) = self.tickets.front_mut() else {
                break;
            };
            let outcome = ready!(Pin::new(oldest).poll(context));
            self.tickets.pop_front();
            outcome?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsRecord> Sink<T> for AppendSink<T> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_slot(context))?;
        self.poll_tickets(context, IN_FLIGHT_MAX - 1)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<()> {
        debug_assert!(self.slot.is_none(), "it was not asked whether it is ready");
        self.slot = Some(item);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_slot(context))?;
        self.poll_tickets(context, 0)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(context)
    }
}

impl<T: AsRecord> Drop for AppendSink<T> {
    fn drop(&mut self) {
        if let Some(item) = self.slot.take() {
            let how = item.options().unwrap_or(&self.how);
            let level = how.durability.unwrap_or(self.core.options.durability);
            // It was never flushed, so nobody asks what becomes of it.
            self.core.enqueue(&[item.record()], how, level).ok();
            self.core.nudge_worker();
        }
    }
}

impl<T: AsRecord> fmt::Debug for AppendSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendSink")
            .field("in_flight", &self.tickets.len())
            .finish_non_exhaustive()
    }
}
