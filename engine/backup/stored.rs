//! The log as it is stored, for who copies it elsewhere without knowing what is in it.
//!
//! INVARIANT: what a moment holds is what a power cut at it could have left behind, so whoever puts its files
//! into a directory and opens that has the log, by recovery. It is looked at as by another process, so it
//! keeps nobody from anything.
//!
//! Called by programs that copy; calls read, segment.

use super::{at_path, moment::LOOKS_MAX, moment::side_files, parted};
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        Manifest, ProducersFile,
        manifest::{SealedEntry, SpareEntry},
        names,
    },
    options::Options,
    read::{Follower, Reader},
    segment::{Fault, Sealed, Source, Tail, View, read_footer, run},
    sync::Arc,
    types::SegmentId,
    vfs::Dir,
};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt, io, path::Path};

/// A log that may be written by this process or another, as it is stored: for copying it to where there are
/// no files. No key and no codec is needed; nothing is held up, locked or written.
///
/// ```
/// use cairnlog::{Log, StoredLog};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("precious")?;
/// let stored = StoredLog::open(dir.path().join("log"))?;
/// let moment = stored.moment()?;
/// assert_eq!(moment.manifest.durable_seq, 1);
/// for segment in &moment.segments {
///     let bytes = segment.open()?.read(0, 1 << 20)?; // Verified, batch by batch.
///     assert!(bytes.len() as u64 <= segment.frames_end());
/// }
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Debug)]
pub struct StoredLog {
    dir: Dir,
    reader: Reader,
}

/// What the files of a log say at one moment. All of it was durable by then.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredMoment {
    /// Which segments there are, and what was durable. It names as spare only what has records.
    pub manifest: Manifest,
    /// The file `PRODUCERS`, if there is one.
    pub producers: Option<Vec<u8>>,
    /// The files of the cursors by their ids.
    pub cursors: BTreeMap<u64, Vec<u8>>,
    /// The segments in the order of their seqs: first those that change no more, then one that grows, or two.
    pub segments: Vec<StoredSegment>,
}

impl StoredMoment {
    /// Of the segments that a log has in common, by id and salt, with what was copied of it, so many of the newest may have other records: if
    /// it was put back from an earlier day, and went on otherwise in its tail and its spare of then.
    pub const COMMON_MAX: usize = parted::COMMON_MAX;
}

/// The files beside the segments: of the producers, and of each cursor.
type Beside = (Option<Vec<u8>>, BTreeMap<u64, Vec<u8>>);

/// A segment of a [`StoredMoment`].
#[derive(Clone)]
pub struct StoredSegment {
    id: SegmentId,
    salt: u64,
    frames_end: u64,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Sealed(Arc<Sealed>),
    Tail(Arc<Tail>),
}

impl fmt::Debug for StoredSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSegment")
            .field("id", &self.id)
            .field("frames_end", &self.frames_end)
            .finish_non_exhaustive()
    }
}

/// A segment whose file is open: it can be read to its end also if the log drops it meanwhile.
#[derive(Debug)]
pub struct StoredFile {
    view: View,
    frames_end: u64,
}

impl StoredLog {
    /// Opens a log, as [`Reader::open`] does.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_stored(path)
    }

    pub(crate) fn new(dir: Dir, follower: Follower) -> Self {
        let reader = Reader::following(follower);
        Self { dir, reader }
    }

    /// A reader of the same log, which tells what is durable and waits for more.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What is durable by now, as it is stored.
    ///
    /// # Errors
    /// `Damaged` with its place if what names the segments, or the end of the log, does not verify;
    /// `Unsupported` if a newer program wrote a part of it; `Locked` if the files change so often that no moment could be seen; `Io`.
    pub fn moment(&self) -> Result<StoredMoment> {
        let Some(follower) = self.reader.follower() else {
            return Err(Error::note(
                ErrorKind::InvalidInput,
                Op::Backup,
                "it follows nothing",
            ));
        };
        for _ in 0..LOOKS_MAX {
            if let Some(moment) = self.look(follower)? {
                return Ok(moment);
            }
        }
        let note = "its cursors or segments never stood still for long enough; try again";
        Err(Error::note(ErrorKind::Locked, Op::Backup, note).at(Place::file(self.dir.path())))
    }

    /// A moment, if nothing changed while it was looked at. What is beside the segments is read first: what
    /// it says to be durable is so in the segments that are looked at then.
    fn look(&self, follower: &Follower) -> Result<Option<StoredMoment>> {
        let before = follower.moment()?.2;
        let beside = self.beside(&before)?;
        let (durable_seq, catalog, manifest) = follower.moment()?;
        if manifest != before || self.beside(&before)? != beside {
            return Ok(None);
        }
        let (producers, cursors) = beside;
        let sealed = catalog.sealed.iter().map(StoredSegment::sealed);
        let tails = catalog.tails.iter().take(1).chain(
            // A spare in which nothing is durable is none yet.
            (catalog.tails.iter().skip(1)).filter(|tail| tail.context.base_seq < durable_seq),
        );
        let segments: Vec<_> = sealed.chain(tails.map(StoredSegment::tail)).collect();
        let is_there = |spare: &SpareEntry| segments.iter().any(|it| it.id == spare.id);
        let settled_seq = manifest.tail.base_seq;
        let manifest = Manifest {
            durable_seq: durable_seq.max(settled_seq).max(manifest.durable_seq),
            clean: false,
            spare: manifest.spare.filter(is_there),
            ..manifest
        };
        Ok(Some(StoredMoment {
            manifest,
            producers,
            cursors,
            segments,
        }))
    }

    /// The files beside the segments.
    fn beside(&self, manifest: &Manifest) -> Result<Beside> {
        let producers = match self.dir.read(names::PRODUCERS, ProducersFile::stated_bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(at_path(&self.dir, names::PRODUCERS))?),
        };
        if let Some(bytes) = &producers {
            let file =
                ProducersFile::decode(bytes).and_then(|file| manifest.owner().check(file.owner()));
            let place = Place::file(names::PRODUCERS);
            file.map_err(|defect| Error::defect(Op::Backup, place, defect))?;
        }
        let files = side_files(&self.dir, manifest.owner())?;
        let cursors = files.into_iter().flatten().filter_map(|file| {
            let id = names::parse_cursor(&file.name)?;
            Some((id, file.cursor?))
        });
        Ok((producers, cursors.collect()))
    }
}

impl StoredSegment {
    fn sealed(segment: &Arc<Sealed>) -> Self {
        let entry = &segment.entry;
        Self {
            id: entry.id,
            salt: entry.salt,
            frames_end: entry.frames_end,
            form: Form::Sealed(segment.clone()),
        }
    }

    fn tail(tail: &Arc<Tail>) -> Self {
        Self {
            id: tail.id,
            salt: tail.context.salt,
            frames_end: tail.written_end(),
            form: Form::Tail(tail.clone()),
        }
    }

    /// Its id, which names its file.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Its salt: a file of the same id with another is another segment.
    #[must_use]
    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// Where its frames end at this moment, in bytes from the start of the file. What lies before never changes.
    #[must_use]
    pub fn frames_end(&self) -> u64 {
        self.frames_end
    }

    /// What the manifest says of it if it changes no more.
    #[must_use]
    pub fn sealed_entry(&self) -> Option<&SealedEntry> {
        match &self.form {
            Form::Sealed(segment) => Some(&segment.entry),
            Form::Tail(_) => None,
        }
    }

    /// Opens its file.
    ///
    /// # Errors
    /// `Damaged` if the file is not there or not this segment: the log may have dropped it since, which a later
    /// moment shows. `Unsupported`; `Io`.
    pub fn open(&self) -> Result<StoredFile> {
        let view = match &self.form {
            Form::Sealed(segment) => {
                let loaded = segment.open();
                loaded.map_err(|fault| self.error(fault))?.view
            }
            Form::Tail(tail) => tail.view(),
        };
        Ok(StoredFile {
            view,
            frames_end: self.frames_end,
        })
    }

    fn error(&self, fault: Fault) -> Error {
        fault.into_error(Op::Backup, self.id)
    }
}

impl StoredFile {
    /// Its bytes from an offset on, which is 0 or where an earlier read ended: about `bytes_max` of them, but one
    /// batch at least, and none at the end of the frames. Each batch in them was verified, as far as that takes neither key nor codec.
    ///
    /// # Errors
    /// `Damaged` with the place; `Unsupported`; `Io`.
    pub fn read(&self, offset: u64, bytes_max: usize) -> Result<Bytes> {
        run(&self.view, offset, self.frames_end, bytes_max as u64)
            .map_err(|fault| fault.into_error(Op::Backup, self.view.segment))
    }

    /// The footer that stands behind its frames, and its index: what finds a record without reading all before it.
    /// `None` if none verifies there.
    ///
    /// # Errors
    /// `Io`.
    pub fn footer(&self) -> Result<Option<Bytes>> {
        let (context, end) = (&self.view.context, self.frames_end);
        let io = |error| Fault::Io { offset: end, error }.into_error(Op::Backup, self.view.segment);
        // By position, as all that is stored is read: a mapping would end with the frames.
        let Source::File(file) = &self.view.source else {
            return Ok(None);
        };
        let ending = read_footer(&**file, context, end).map_err(io)?;
        Ok(ending.ok().map(|ending| ending.bytes))
    }
}
