//! The handle's side for tasks: appends and changes that await.

use super::Log;
use crate::{
    append::{AppendOptions, AppendSink, AsRecord, NewRecord, Ticket},
    error::{Op, Result},
    trim,
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

    /// As [`trim`](Self::trim); the worker does it.
    ///
    /// # Errors
    /// As [`trim`](Self::trim).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn trim_async(&self, head_seq: Seq) -> Result<()> {
        let core = self.inner.appender.shared().clone();
        let shared = core.clone();
        let work = move || {
            let _inside = shared.enter(Op::Trim)?;
            trim::trim(&shared, head_seq)
        };
        core.later(work).await
    }

    /// As [`rewind`](Self::rewind); the worker does it. Dropped before it is done, it is done all the same.
    ///
    /// ```
    /// use cairnlog::Log;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_batch(["kept", "dropped", "dropped"])?;
    /// log.rewind_async(1).await?;
    /// log.set_mark_async("rewound to", "1").await?;
    /// assert_eq!(log.append("new")?, 3); // No number is used again.
    /// assert_eq!(log.scan(..)?.count(), 2);
    /// # Ok::<(), cairnlog::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`rewind`](Self::rewind).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn rewind_async(&self, end_seq: Seq) -> Result<()> {
        let core = self.inner.appender.shared().clone();
        let shared = core.clone();
        core.later(move || trim::rewind(&shared, end_seq)).await
    }

    /// As [`set_mark`](Self::set_mark); the worker does it. Dropped before it is done, it is done all the same.
    ///
    /// # Errors
    /// As [`set_mark`](Self::set_mark).
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub async fn set_mark_async(&self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let core = self.inner.appender.shared().clone();
        let (shared, name, value) = (core.clone(), name.to_owned(), value.as_ref().to_vec());
        core.later(move || shared.set_mark(&name, &value)).await
    }

    /// A sink that appends every item: as a value, or as it says itself.
    #[cfg_attr(docsrs, doc(cfg(feature = "async")))]
    pub fn sink<T: AsRecord>(&self, how: AppendOptions) -> AppendSink<T> {
        AppendSink::new(self.inner.appender.shared().clone(), how)
    }
}
