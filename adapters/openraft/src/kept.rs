//! What a store keeps, as values: its entries by their indexes, and its marks. What both versions of openraft share.
//!
//! The versions differ in their types and in how they tell of an error. `C` is the codec, `E` an entry, `L` a log id.

use crate::{
    entries::{COMMITTED, Entries, PURGED},
    record::{Bytes, NewEntry},
};
use cairnlog::{Codec, Log};
use std::{
    error::Error,
    io,
    ops::{Bound, Range, RangeBounds},
};

/// The entries and the marks of one log, and the codec of both. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Kept<C> {
    entries: Entries,
    codec: C,
    /// Whether what is committed is durable before it is applied.
    syncs_committed: bool,
}

impl<C> Kept<C> {
    /// Over a log; what was purged last as well, of which `index` gives the index.
    pub(crate) fn open<L>(
        log: Log,
        codec: C,
        index: impl Fn(&L) -> u64,
    ) -> io::Result<(Self, Option<L>)>
    where
        C: Codec<L>,
    {
        let purged = mark(&log, PURGED, &codec)?;
        let kept = Self {
            entries: Entries::open(log, purged.as_ref().map(index))?,
            codec,
            syncs_committed: false,
        };
        Ok((kept, purged))
    }

    pub(crate) fn sync_committed(&mut self, yes: bool) {
        self.syncs_committed = yes;
    }

    pub(crate) fn log(&self) -> &Log {
        self.entries.log()
    }

    /// What a mark is set to, if it is there.
    pub(crate) fn mark<T>(&self, name: &str) -> io::Result<Option<T>>
    where
        C: Codec<T>,
    {
        mark(self.log(), name, &self.codec)
    }

    /// Sets a mark, after everything that was appended before.
    pub(crate) async fn set_mark<T>(&self, name: &str, value: &T) -> io::Result<()>
    where
        C: Codec<T>,
    {
        let value = self.codec.encode(value).map_err(invalid)?;
        self.entries.set_mark(name, value).await
    }

    /// The entries of these indexes that there are, as of one moment.
    pub(crate) fn read<E>(&self, range: &impl RangeBounds<u64>) -> io::Result<Vec<E>>
    where
        C: Codec<E>,
    {
        let found = self.entries.read(&indexes(range))?;
        let entry = |bytes: Bytes| self.codec.decode(bytes.entry()).map_err(invalid);
        found.into_iter().map(entry).collect()
    }

    /// The entry of an index, if it is there.
    pub(crate) fn entry<E>(&self, index: u64) -> io::Result<Option<E>>
    where
        C: Codec<E>,
    {
        Ok(self.read(&(index..=index))?.pop())
    }

    /// The last entry, if there is one.
    pub(crate) fn last_entry<E>(&self) -> io::Result<Option<E>>
    where
        C: Codec<E>,
    {
        let last = self.entries.last_index();
        last.map_or(Ok(None), |index| self.entry(index))
    }

    /// Appends entries, given with their indexes: see [`Entries::append`].
    pub(crate) async fn append<E>(
        &self,
        entries: impl IntoIterator<Item = (u64, E)>,
        told: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()>
    where
        C: Codec<E>,
    {
        let committed_end = self.entries.committed_end();
        let encode = |(index, entry)| {
            let bytes = self.codec.encode(&entry).map_err(invalid)?;
            Ok(NewEntry::new(index, committed_end, &bytes))
        };
        let encoded: io::Result<Vec<NewEntry>> = entries.into_iter().map(encode).collect();
        self.entries.append(&encoded?, Box::new(told)).await
    }

    /// Drops every entry from this index on.
    pub(crate) async fn truncate(&self, index: u64) -> io::Result<()> {
        self.entries.truncate(index).await
    }

    /// Drops every entry up to that of this log id, whose index is given.
    pub(crate) async fn purge<L>(&self, index: u64, log_id: &L) -> io::Result<()>
    where
        C: Codec<L>,
    {
        let value = self.codec.encode(log_id).map_err(invalid)?;
        self.entries.purge(index, value).await
    }

    /// Notes up to where entries are committed, given by log id and index.
    pub(crate) async fn save_committed<L>(&self, committed: Option<(u64, &L)>) -> io::Result<()>
    where
        C: Codec<L>,
    {
        self.entries.set_committed(committed.map(|it| it.0));
        match committed.filter(|_| self.syncs_committed) {
            Some((_, log_id)) => self.set_mark(COMMITTED, log_id).await,
            None => Ok(()),
        }
    }

    /// The last entry that is known to be committed: as a mark says, or an entry; `log_id` gives an entry's log id.
    pub(crate) fn committed<E, L: Ord>(&self, log_id: impl Fn(&E) -> L) -> io::Result<Option<L>>
    where
        C: Codec<E> + Codec<L>,
    {
        let marked = self.mark::<L>(COMMITTED)?;
        let stated = match self.entries.committed_end().checked_sub(1) {
            Some(index) => self.entry(index)?,
            None => None,
        };
        Ok(marked.max(stated.as_ref().map(log_id)))
    }
}

/// What a mark of a log is set to, if it is there.
fn mark<T, C: Codec<T>>(log: &Log, name: &str, codec: &C) -> io::Result<Option<T>> {
    let value = log.mark(name);
    value
        .map(|value| codec.decode(&value).map_err(invalid))
        .transpose()
}

fn invalid(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A range of indexes as one from its first to behind its last.
fn indexes(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}
