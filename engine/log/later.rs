//! The handle's side for tasks: appends that await.

use super::Log;
use crate::{
    append::{AppendOptions, AppendSink, AsRecord, NewRecord, Ticket},
    error::Result,
    types::Seq,
};
use std::{future::poll_fn, ops::Range};

impl Log {
    /// Queues records; waits, without a thread, for room and for a segment to put them into. The ticket
    /// can be awaited in turn. Dropped before it gave a ticket, it has appended nothing.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn submit_async(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
    ) -> Result<Ticket> {
        let core = self.inner.appender.shared();
        let mut tried = false;
        poll_fn(|context| core.poll_submit(context, records, how, &mut tried)).await
    }

    /// Appends records and waits, without a thread, for the level asked for.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, NewRecord};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let log = Log::open(dir.path().join("log"))?;
    /// let how = AppendOptions::new();
    /// let first = log.append_async(&[NewRecord::value("one")], &how).await?; // Durable.
    /// assert_eq!(first, 0..1);
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`append_records`](Self::append_records).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn append_async(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        let core = self.inner.appender.shared();
        let timing = core.start_timing(how);
        let seqs = self.submit_async(records, how).await?.await?;
        core.end_timing(&timing, &seqs);
        Ok(seqs)
    }

    /// Makes everything appended so far durable; the worker does it. Gives the seq below which
    /// everything is.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn sync_async(&self) -> Result<Seq> {
        let core = self.inner.appender.shared().clone();
        let shared = core.clone();
        // DURABILITY: after this line everything appended before the call survives.
        core.later(move || shared.sync()).await
    }

    /// A sink that appends every item: as a value, or as it says itself.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn sink<T: AsRecord>(&self, how: AppendOptions) -> AppendSink<T> {
        AppendSink::new(self.inner.appender.shared().clone(), how)
    }
}
