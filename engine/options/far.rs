//! Segments that live elsewhere: what reads them there, as the caller supplies it.
//!
//! INVARIANT: what comes from there is believed no more than what comes from a disk: it is this segment by its
//! header, and each record by its checksum.

use super::Options;
use crate::{
    format::manifest::SealedEntry,
    types::{LogId, SegmentId, Seq},
    vfs::VfsFile,
};
use std::{fmt::Debug, io, sync::Arc};

/// Where the bytes of segments are that a log has [let go of](crate::Log::release): an object store, another disk. For
/// [`Options::far_segments`](crate::Options::far_segments).
///
/// What a walk wants comes in pieces of 256 KiB, one behind the other; who looks here and there asks for less. So one
/// that answers slowly had better fetch more than it is asked for, and keep it. Calls come from any thread, several at a time.
///
/// ```
/// use cairnlog::{FarSegment, FarSegments, Log};
/// use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};
///
/// /// A directory on a large, slow disk.
/// #[derive(Debug)]
/// struct Attic(PathBuf);
///
/// impl Attic {
///     fn path(&self, segment: &FarSegment) -> PathBuf {
///         self.0.join(format!("{}-{:016x}", segment.id.0, segment.salt))
///     }
/// }
///
/// impl FarSegments for Attic {
///     fn len(&self, segment: &FarSegment) -> io::Result<u64> {
///         Ok(File::open(self.path(segment))?.metadata()?.len())
///     }
///     fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize> {
///         File::open(self.path(segment))?.read_at(buf, offset)
///     }
/// }
/// # let dir = tempfile::tempdir().unwrap();
/// # let attic = dir.path().join("attic");
/// # std::fs::create_dir(&attic).unwrap();
/// # let path = dir.path().join("log");
/// let log = Log::options().far_segments(Arc::new(Attic(attic.clone()))).open(&path)?;
/// log.append("long ago")?;
/// log.rotate()?;
/// # while log.maintain()? != cairnlog::Maintained::Nothing {}
/// for segment in log.stored()?.moment()?.segments.iter().filter(|it| it.sealed_entry().is_some()) {
///     // The whole file, what stands behind the frames too.
///     let name = format!("{:020}.seg", segment.id().0);
/// #   let name = cairnlog::format::names::segment(segment.id());
///     let copy = attic.join(format!("{}-{:016x}", segment.id().0, segment.salt()));
///     std::fs::copy(path.join(name), &copy).unwrap();
///     File::open(&copy).unwrap().sync_all().unwrap();
///     log.release(&[segment.id()])?; // Compares it with the copy first.
/// }
/// assert!(log.segments()?[0].is_far);
/// assert_eq!(log.get(0)?.as_deref(), Some(&b"long ago"[..]));
/// # Ok::<(), cairnlog::Error>(())
/// ```
pub trait FarSegments: Debug + Send + Sync {
    /// How many bytes there are of a segment: its frames and the footer behind them at least.
    ///
    /// # Errors
    /// `NotFound` if there is nothing under this name, which is damage to who reads it; whatever else keeps it from
    /// being read now is told to who reads as `Io`.
    fn len(&self, segment: &FarSegment) -> io::Result<u64>;

    /// Reads from an offset on, as `pread` does: how many bytes were read, which may be fewer than fit, and 0 only at
    /// the end.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same for [`Log::release`](crate::Log::release), which compares before it lets go of the only other copy: it asks
    /// there, and knows nothing of what was read before. `None`, the default, is right if nothing is kept of what is read.
    fn anew(&self) -> Option<Arc<dyn FarSegments>> {
        None
    }
}

impl Options {
    /// Where segments are read from that the log has [let go of](crate::Log::release). Readers of other processes, backups
    /// and tools that look at all of a log take the same. Without it such a log is opened and appended to like any other;
    /// who comes to one of these segments is told `Far`. Default: none.
    #[must_use]
    pub fn far_segments(mut self, segments: Arc<dyn FarSegments>) -> Self {
        self.far = Some(segments);
        self
    }

    /// The same for who believes nothing of it that was read before.
    pub(crate) fn with_far_anew(&self) -> Self {
        let far = self.far.as_ref().and_then(|far| far.anew());
        Self {
            far: far.or_else(|| self.far.clone()),
            ..self.clone()
        }
    }

    /// The same for who looks at nothing that lives elsewhere.
    pub(crate) fn without_far(&self) -> Self {
        Self {
            far: None,
            ..self.clone()
        }
    }
}

/// Which segment is meant, to [`FarSegments`]. The log's id, its own and its salt name it for good: another never has the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FarSegment {
    /// Whose it is. A backup has the same, and the same segments.
    pub log_id: LogId,
    /// Its id.
    pub id: SegmentId,
    /// Its salt.
    pub salt: u64,
    /// The lowest seq that it may hold.
    pub base_seq: Seq,
    /// The seq after its last record.
    pub next_seq: Seq,
    /// Where its frames end, in bytes.
    pub frames_end: u64,
}

/// The source of a log's far segments, if it has one.
pub(crate) type FarSource = Option<Arc<dyn FarSegments>>;

/// A far segment, as a file that is only read.
#[derive(Debug)]
pub(crate) struct FarFile {
    segments: Arc<dyn FarSegments>,
    segment: FarSegment,
}

impl FarFile {
    /// The segment as it is there; nothing is asked for yet.
    pub(crate) fn of(
        segments: Arc<dyn FarSegments>,
        log_id: LogId,
        entry: &SealedEntry,
    ) -> Arc<dyn VfsFile> {
        let segment = FarSegment {
            log_id,
            id: entry.id,
            salt: entry.salt,
            base_seq: entry.base_seq,
            next_seq: entry.next_seq,
            frames_end: entry.frames_end,
        };
        Arc::new(Self { segments, segment })
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl VfsFile for FarFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = match self.segments.read_at(&self.segment, buf, offset) {
            // What is gone from its middle is told like the end of a file that was cut.
            Err(error) if offset > 0 && error.kind() == io::ErrorKind::NotFound => 0,
            read => read?,
        };
        // Not ours: what it says is not believed.
        if read > buf.len() {
            return Err(io::Error::other("more was read than there was room for"));
        }
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        self.segments.len(&self.segment)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        // DURABILITY: nothing was written, and nothing survives for it.
        read_only()
    }
}
