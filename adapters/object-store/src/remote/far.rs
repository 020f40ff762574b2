//! The segments of a log that it has let go of, read where they are copied to.
//!
//! INVARIANT: where a segment is, the newest commit says: one that is not known, or whose objects are gone since it was looked up,
//! is looked up anew, once.
//!
//! What is let go of is read back by another of these, which has nothing of what was read before.
//!
//! Called by the engine, through a log's options; calls `segment`, `cache`, `disk`, the store.

use super::{
    cache::{BLOCK_BYTES, Cache},
    disk::Disk,
    segment::{AHEAD_MAX, Segment},
};
use crate::{
    error::{Error, Result},
    layout::File,
    store::Store,
};
use cairnlog::{FarSegment, FarSegments, LogId, SegmentId};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Reads the segments that a log has let go of from the store that it is copied to: for
/// [`Options::far_segments`](cairnlog::Options::far_segments) of the log, and of its readers in other processes.
///
/// What is fetched is kept in memory up to a bound, in blocks of 256 KiB; who reads on is fetched up to 4 MiB at a time. The store is asked
/// nothing before a far segment is read. Who reads the same again, after the program ended or in another, keeps it in a directory as
/// well ([`with_cache_dir`](Self::with_cache_dir)).
///
/// ```
/// use cairnlog::Log;
/// use cairnlog_object_store::{Copier, CopyOptions, Store, StoreSegments};
/// # let dir = tempfile::tempdir().unwrap();
/// let store = Store::open(dir.path().join("store").to_str().unwrap())?;
/// let log = Log::options()
///     .far_segments(StoreSegments::new(&store))
///     .open(dir.path().join("log"))?;
/// log.append("long ago")?;
/// log.rotate()?;
/// while log.maintain()? != cairnlog::Maintained::Nothing {} // Seals it; else the background does.
///
/// let mut copier = Copier::start(log.stored()?, &store, CopyOptions::new())?;
/// copier.step()?;
/// let first = log.segments()?[0].id;
/// assert_eq!(copier.release(&log, &[first])?.segments, [first]);
/// assert!(log.segments()?[0].is_far);
/// assert_eq!(log.get(0)?.as_deref(), Some(&b"long ago"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StoreSegments {
    store: Store,
    cache: Arc<Mutex<Cache>>,
    disk: Option<Arc<Disk>>,
    known: Mutex<Known>,
}

/// What the newest commit says, when it was looked at last.
#[derive(Debug, Default)]
struct Known {
    log_id: Option<LogId>,
    segments: BTreeMap<(SegmentId, u64), Arc<Segment>>,
}

impl StoreSegments {
    /// Reads from this store, and keeps 64 MiB of it in memory at most.
    #[must_use]
    pub fn new(store: &Store) -> Arc<Self> {
        Self::with_cache(store, 64 << 20)
    }

    /// As [`new`](Self::new), with as many bytes kept in memory; 4 MiB at least.
    #[must_use]
    pub fn with_cache(store: &Store, cache_bytes: usize) -> Arc<Self> {
        Self::with(store, cache_bytes, None)
    }

    /// As [`with_cache`](Self::with_cache), and keeps what was fetched in a directory as well, up to so many bytes: as
    /// [`RemoteOptions::cache_dir`](crate::RemoteOptions::cache_dir), which may have the same directory.
    ///
    /// # Errors
    /// `Io` if the directory cannot be made or read.
    pub fn with_cache_dir(
        store: &Store,
        cache_bytes: usize,
        dir: impl AsRef<Path>,
        dir_bytes: u64,
    ) -> Result<Arc<Self>> {
        let disk = Disk::open(dir.as_ref(), dir_bytes)?;
        Ok(Self::with(store, cache_bytes, Some(Arc::new(disk))))
    }

    fn with(store: &Store, cache_bytes: usize, disk: Option<Arc<Disk>>) -> Arc<Self> {
        let blocks_max = (cache_bytes as u64 / BLOCK_BYTES).max(AHEAD_MAX);
        Arc::new(Self {
            store: store.clone(),
            cache: Arc::new(Mutex::new(Cache::new(blocks_max))),
            disk,
            known: Mutex::default(),
        })
    }

    /// Where a segment is, as far as that is known.
    fn known(&self, segment: &FarSegment) -> Option<Arc<Segment>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.segments.get(&(segment.id, segment.salt))?;
        (known.log_id == Some(segment.log_id)).then(|| found.clone())
    }

    fn find(&self, segment: &FarSegment) -> io::Result<Arc<Segment>> {
        match self.known(segment) {
            Some(known) => Ok(known),
            None => self.look_up(segment),
        }
    }

    /// Asks the store where a segment is by now.
    fn look_up(&self, segment: &FarSegment) -> io::Result<Arc<Segment>> {
        let now = self.now().map_err(Error::into_io)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let found = self.known(segment);
        found.ok_or_else(|| {
            let id = segment.id.0;
            Error::NotFound(format!("segment {id} is not in the store")).into_io()
        })
    }

    fn now(&self) -> Result<Known> {
        let Some((newest, _)) = self.store.newest()? else {
            return Ok(Known::default());
        };
        let Some(state) = &newest.state else {
            return Ok(Known::default());
        };
        let set = self.store.set(&state.set)?;
        // What is both is the same bytes; of what is kept it is certain that it stays.
        let kept = set.kept.into_iter().map(|it| it.file);
        let files = set.files.into_iter().chain(kept);
        Ok(Known {
            log_id: Some(newest.log_id),
            segments: files
                .map(|file| ((file.id, file.salt), self.segment(newest.log_id, file)))
                .collect(),
        })
    }

    fn segment(&self, log_id: LogId, file: File) -> Arc<Segment> {
        Arc::new(Segment {
            store: self.store.clone(),
            log_id,
            file: Arc::new(file),
            cache: self.cache.clone(),
            disk: self.disk.clone(),
            ahead: Mutex::default(),
        })
    }
}

impl FarSegments for StoreSegments {
    fn len(&self, segment: &FarSegment) -> io::Result<u64> {
        Ok(self.find(segment)?.len())
    }

    fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.find(segment)?.read_at(buf, offset) {
            // Put anew since, and the old objects deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.look_up(segment)?.read_at(buf, offset)
            }
            read => read,
        }
    }

    fn anew(&self) -> Option<Arc<dyn FarSegments>> {
        Some(Self::with_cache(&self.store, 0))
    }
}
