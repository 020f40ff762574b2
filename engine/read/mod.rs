//! The journeys of reading: one record, a range, the moving end.
//!
//! A reader takes the watermark, then a snapshot of the catalog, and walks segments; it never blocks
//! the writer and never writes. In another process than the writer's it looks at the files first,
//! before each call (`follow`).
//!
//! INVARIANTS: nothing at or past the watermark is shown; every record shown was verified in this
//! walk; an iterator that gave an error ends.
//!
//! Called by `Log`; calls catalog, segment.

mod follow;
mod level;
mod marks;
mod producers;
mod record;
mod reverse;
mod scan;
mod segments;
mod split;
mod stop;
#[cfg(feature = "async")]
mod stream;
mod tail;

pub(crate) use follow::Follower;
pub use record::Record;
pub use scan::Scan;
pub use segments::SegmentInfo;
#[cfg(feature = "async")]
pub use stream::{ScanStream, TailStream};
pub use tail::TailReader;

use crate::{
    catalog::{Catalog, CatalogCell, Level, Queued, Wait, Watermark},
    error::{Error, ErrorKind, Op, Result},
    segment::{Loaded, Sealed, View, find},
    sync::{Arc, Weak},
    types::Seq,
};
use std::{
    fmt,
    ops::{Bound, Deref, RangeBounds},
    time::Duration,
};

/// Reads a log, from any number of threads. Cheap to clone.
///
/// By default it shows only what is durable, so that nothing it showed can be undone by a crash.
#[derive(Clone)]
pub struct Reader {
    pub(crate) catalog: Arc<CatalogCell>,
    pub(crate) watermark: Arc<Watermark>,
    level: Level,
    /// Set if another process writes: what keeps the two above up to date.
    follower: Option<Arc<Follower>>,
    /// Where this process queues what it appends, if it writes; and whether to have that written first.
    queue: Option<Weak<dyn Queued>>,
    writes_first: bool,
}

/// One segment of a snapshot, and how far it may be read.
struct Part {
    view: Held,
    /// The seq after its last record, if that is fixed.
    next_seq: Option<Seq>,
    /// Where its readable frames end, in bytes.
    limit: u64,
}

/// What a segment is read through. It stays open as long as this is held.
enum Held {
    Sealed(Arc<Loaded>),
    Tail(View),
}

impl Deref for Held {
    type Target = View;

    #[inline]
    fn deref(&self) -> &View {
        match self {
            Self::Sealed(loaded) => &loaded.view,
            Self::Tail(view) => view,
        }
    }
}

/// Short, whatever the log holds.
impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("level", &self.level)
            .field("end_seq", &self.watermark.get(self.level))
            .field("follows", &self.follower.is_some())
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(
        catalog: Arc<CatalogCell>,
        watermark: Arc<Watermark>,
        queue: Weak<dyn Queued>,
    ) -> Self {
        Self {
            catalog,
            watermark,
            level: Level::Durable,
            follower: None,
            queue: Some(queue),
            writes_first: false,
        }
    }

    /// A reader of a log that another process writes.
    pub(crate) fn following(follower: Follower) -> Self {
        Self {
            catalog: follower.catalog.clone(),
            watermark: follower.watermark.clone(),
            level: Level::Durable,
            follower: Some(Arc::new(follower)),
            queue: None,
            writes_first: false,
        }
    }

    /// Takes in what another process has written by now, or has written what this one has buffered.
    fn refresh(&self) -> Result<()> {
        self.write_first()?;
        self.follower.as_ref().map_or(Ok(()), |it| it.refresh())
    }

    /// The oldest record kept.
    #[must_use]
    pub fn head_seq(&self) -> Seq {
        self.refresh().ok(); // What is wrong is told by the calls that read.
        self.catalog.load().head_seq
    }

    /// The seq after the last record that this reader shows by now.
    #[must_use]
    pub fn end_seq(&self) -> Seq {
        self.refresh().ok(); // What is wrong is told by the calls that read.
        self.watermark.get(self.level)
    }

    /// The set of segments by now.
    pub(crate) fn catalog(&self) -> Result<Arc<Catalog>> {
        self.refresh()?;
        Ok(self.catalog.load())
    }

    /// A set of segments, and up to where it may be shown.
    fn snapshot(&self) -> Result<(Seq, Arc<Catalog>)> {
        self.refresh()?;
        // The watermark first: whatever lies below it is in the catalog taken after. A compaction in
        // between may have dropped records for newer ones above it; then those have to be shown.
        let end = self.watermark.get(self.level);
        let catalog = self.catalog.load();
        if catalog.beyond.is_some() {
            return Ok((end, catalog)); // What is durable behind it cannot be shown.
        }
        Ok((end.max(catalog.durable_seq), catalog))
    }

    /// A walk over a part of a set, which goes up to `limit` if a newer set has to be taken.
    fn walk(&self, catalog: Arc<Catalog>, part: (Seq, Seq), limit: Seq) -> Scan {
        Scan::new(catalog, self.follower.clone(), part, limit)
    }

    /// The record with this number; `None` if it is not yet there, or was compacted or rewound away.
    ///
    /// # Errors
    /// `Trimmed` below the head, with the seq to go on from; `Damaged` with its place if its bytes
    /// do not verify; `Unsupported` if it lies where only a newer program can read; `Io`.
    pub fn get(&self, seq: Seq) -> Result<Option<Record>> {
        let (end, mut catalog) = self.snapshot()?;
        loop {
            match get_in(&catalog, seq, end) {
                Err(error) => catalog = newer(self.follower.as_ref(), &catalog, error)?,
                found => return found,
            }
        }
    }

    /// The records of a range, forwards. Its end is fixed at the moment of the call.
    ///
    /// # Errors
    /// `Trimmed` if the range starts, by name, below the head.
    pub fn scan(&self, range: impl RangeBounds<Seq>) -> Result<Scan> {
        let (end, catalog) = self.snapshot()?;
        let (first, limit) = resolve(range, catalog.head_seq)?;
        let beyond = catalog.beyond.clone().filter(|_| limit > end);
        let walk = self.walk(catalog, (first, limit.min(end)), limit);
        Ok(walk.followed_by(beyond))
    }

    /// The records from `from` on, and those to come: the iterator waits for more.
    #[must_use]
    pub fn tail(&self, from: Seq) -> TailReader {
        TailReader::new(self.clone(), from)
    }

    /// The number of the first record whose time is at or after `timestamp_ms`; the end if none is.
    ///
    /// Segments that end earlier are skipped without being read.
    ///
    /// # Errors
    /// As [`get`](Self::get), but not `Trimmed`.
    pub fn seek_time(&self, timestamp_ms: i64) -> Result<Seq> {
        loop {
            match self.seek_in_snapshot(timestamp_ms) {
                // The head has passed the walk: then it begins there.
                Err(error) if error.kind() == ErrorKind::Trimmed => {}
                found => return found,
            }
        }
    }

    fn seek_in_snapshot(&self, timestamp_ms: i64) -> Result<Seq> {
        let (end, catalog) = self.snapshot()?;
        let late_enough = catalog
            .sealed
            .iter()
            .find(|segment| {
                segment.entry.record_count > 0 && segment.entry.max_timestamp_ms >= timestamp_ms
            })
            .map(|segment| segment.entry.base_seq);
        let first = late_enough
            .or_else(|| catalog.tails.first().map(|tail| tail.context.base_seq))
            .unwrap_or(end);
        let first = first.max(catalog.head_seq);
        let beyond = catalog.beyond.clone();
        let mut scan = self.walk(catalog, (first, end), end);
        while let Some(record) = scan.next_ref() {
            let record = record?;
            if record.timestamp_ms >= timestamp_ms {
                return Ok(record.seq);
            }
        }
        beyond.map_or(Ok(end), Err)
    }

    /// The oldest record that is shown; `None` if there is none.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn first(&self) -> Result<Option<Record>> {
        self.scan(..)?.next().transpose()
    }

    /// The newest record that is shown; `None` if there is none.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn last(&self) -> Result<Option<Record>> {
        self.scan(..)?.next_back().transpose()
    }

    /// Waits until this reader shows everything up to and including `seq`, at most so long; `None` is for
    /// ever. False: time ran out. Without a timeout it also ends when the log does.
    ///
    /// # Errors
    /// `Closed` if the log was closed before; `Poisoned` if a sync failed; in another process as
    /// [`get`](Self::get).
    pub fn wait_for(&self, seq: Seq, timeout: Option<Duration>) -> Result<bool> {
        self.write_first()?;
        let waited = match &self.follower {
            None => self.watermark.wait_beyond(self.level, seq, timeout),
            Some(follower) => {
                follower.wait_beyond(&mut follow::Alarm::default(), seq, timeout, None)?
            }
        };
        match waited {
            Wait::Reached => Ok(true),
            Wait::TimedOut | Wait::Called => Ok(false),
            Wait::Ended => Err(self.watermark.failure().unwrap_or_else(|| {
                Error::note(ErrorKind::Closed, Op::Read, "the log was closed before")
            })),
        }
    }

    /// The newest record of a key inside a range: its latest value or tombstone. It walks backwards from
    /// the end, so it takes the longer the longer ago that was.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn latest(&self, key: &[u8], range: impl RangeBounds<Seq>) -> Result<Option<Record>> {
        let open_start = range.start_bound() == Bound::Unbounded;
        for found in self.scan(range)?.rev() {
            match found {
                Ok(record) if record.key() == Some(key) => return Ok(Some(record)),
                Ok(_) => {}
                // The head has risen under the walk, which has come to it.
                Err(error) if open_start && error.kind() == ErrorKind::Trimmed => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// After an error of a walk over this snapshot: the one to go on with, if another process has changed
/// the segments meanwhile; else it is the error.
fn newer(
    follower: Option<&Arc<Follower>>,
    walked: &Arc<Catalog>,
    error: Error,
) -> Result<Arc<Catalog>> {
    match follower {
        Some(follower) => follower.newer_than(walked, error),
        None => Err(error),
    }
}

fn get_in(catalog: &Catalog, seq: Seq, end: Seq) -> Result<Option<Record>> {
    if seq < catalog.head_seq {
        return Err(Error::trimmed(Op::Read, seq, catalog.head_seq));
    }
    if seq >= end {
        return catalog.beyond.clone().map_or(Ok(None), Err);
    }
    if let Some(segment) = sealed_at(catalog, seq) {
        let entry = &segment.entry;
        let find = |loaded: &Loaded| find(&loaded.view, seq, entry.frames_end, Record::keep);
        let found = segment.with(|loaded| match seq < entry.base_seq {
            true => Ok(None), // It was rewound or compacted away with all of its segment.
            false => find(loaded),
        });
        return found
            .flatten()
            .map_err(|fault| fault.into_error(Op::Read, entry.id));
    }
    let Some(part) = part_at(catalog, seq)? else {
        return Ok(None);
    };
    if seq < part.view.context.base_seq {
        return Ok(None);
    }
    find(&part.view, seq, part.limit, Record::keep)
        .map_err(|fault| fault.into_error(Op::Read, part.view.segment))
}

/// The sealed segment in which the first record at or above `seq` would be.
fn sealed_at(catalog: &Catalog, seq: Seq) -> Option<&Arc<Sealed>> {
    let number = catalog
        .sealed
        .partition_point(|segment| segment.entry.next_seq <= seq);
    catalog.sealed.get(number)
}

/// The bounds of a range as first and one-past-last seq. An open start begins at the head.
fn resolve(range: impl RangeBounds<Seq>, head: Seq) -> Result<(Seq, Seq)> {
    let first = match range.start_bound() {
        Bound::Included(seq) => *seq,
        Bound::Excluded(seq) => seq.saturating_add(1),
        Bound::Unbounded => head,
    };
    let next = match range.end_bound() {
        Bound::Included(seq) => seq.saturating_add(1),
        Bound::Excluded(seq) => *seq,
        Bound::Unbounded => Seq::MAX,
    };
    if first < head && first < next {
        return Err(Error::trimmed(Op::Read, first, head));
    }
    Ok((first, next))
}

/// The segment in which the first record at or above `seq` would be.
fn part_at(catalog: &Catalog, seq: Seq) -> Result<Option<Part>> {
    if let Some(segment) = sealed_at(catalog, seq) {
        let loaded = segment
            .load()
            .map_err(|fault| fault.into_error(Op::Read, segment.entry.id))?;
        return Ok(Some(Part {
            view: Held::Sealed(loaded),
            next_seq: Some(segment.entry.next_seq),
            limit: segment.entry.frames_end,
        }));
    }
    // A tail holds what its successor does not: the last whose base is at or below, or the first.
    let number = catalog
        .tails
        .partition_point(|tail| tail.context.base_seq <= seq);
    let number = number.saturating_sub(1);
    let Some(tail) = catalog.tails.get(number) else {
        return Ok(None);
    };
    let next_seq = catalog
        .tails
        .get(number + 1)
        .map(|next| next.context.base_seq);
    Ok(Some(Part {
        view: Held::Tail(tail.view()),
        next_seq,
        limit: tail.written_end(),
    }))
}
