//! A sealed segment: known from the manifest, opened when it is first read.
//!
//! INVARIANT: opening compares the file with the manifest (log, id, salt, base, length): a missing,
//! swapped or shortened file is an error with a place, never an empty segment. Until then a sealed
//! segment costs its manifest entry and a few words.

use super::{
    Fault, Range, Source,
    frames::View,
    index::{Index, rebuild},
};
use crate::{
    error::Defect,
    format::{
        Footer, SegmentHeader, check_log_id,
        footer::FOOTER_BYTES,
        header::{HEADER_BYTES, Origin},
        manifest::SealedEntry,
        names,
    },
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    types::{LogId, Seq},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use bytes::Bytes;
use std::{borrow::Cow, io};

/// What a segment file has to say of itself to be the one that the manifest means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) log_id: LogId,
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) base_seq: Seq,
}

impl Identity {
    /// Compares with a header that verified.
    pub(crate) fn check(&self, header: &SegmentHeader) -> Result<(), Defect> {
        check_log_id(self.log_id, header.log_id)?;
        for (field, expected, found) in [
            ("segment id", self.id, header.id.0),
            ("salt", self.salt, header.salt),
            ("base seq", self.base_seq, header.base_seq),
        ] {
            if expected != found {
                return Err(Defect::WrongIdentity {
                    field,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// A sealed segment, open for reading.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) view: View,
    pub(crate) origin: Origin,
    pub(crate) header: SegmentHeader,
    /// The footer, if it verified; else the index was rebuilt and this says what was wrong.
    pub(crate) footer: Result<Footer, Defect>,
}

/// What the sealed segments of a log have in common.
#[derive(Debug)]
pub(crate) struct Home {
    dir: Dir,
    log_id: LogId,
    /// Whether they are mapped where that is possible.
    mapped: bool,
}

impl Home {
    pub(crate) fn new(dir: Dir, log_id: LogId, mapped: bool) -> Arc<Self> {
        Arc::new(Self {
            dir,
            log_id,
            mapped,
        })
    }
}

/// A sealed segment. There may be very many, so this is kept small.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) entry: SealedEntry,
    home: Arc<Home>,
    loaded: OnceLock<Box<Loaded>>,
    /// Held while it is opened.
    opening: Mutex<()>,
    retired: AtomicBool,
}

impl Sealed {
    pub(crate) fn new(entry: SealedEntry, home: Arc<Home>) -> Self {
        Self {
            entry,
            home,
            loaded: OnceLock::new(),
            opening: Mutex::new(()),
            retired: AtomicBool::new(false),
        }
    }

    /// No manifest names it any more: the file goes when the last reader lets go.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Opens the file on first use.
    pub(crate) fn load(&self) -> Result<&Loaded, Fault> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let _opening = self.opening.lock();
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = Box::new(self.open()?);
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// Whether this program knows what it is: for who would drop it. Whatever else is wrong with it
    /// goes with it.
    ///
    /// # Errors
    /// A version or a feature of a newer program.
    pub(crate) fn check_known(&self) -> Result<(), Defect> {
        if self.loaded.get().is_some() {
            return Ok(());
        }
        let mut head = [0; HEADER_BYTES];
        let opened = (self.home.dir).open(&names::segment(self.entry.id), Access::Read);
        let Ok(read) = opened.and_then(|file| read_full_at(&*file, &mut head, 0)) else {
            return Ok(());
        };
        match SegmentHeader::decode(head.get(..read).unwrap_or_default()) {
            Err(defect) if defect.is_unsupported() => Err(defect),
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<Loaded, Fault> {
        let entry = &self.entry;
        let io = |error| Fault::Io { offset: 0, error };
        let defect = |offset, defect| Fault::Defect {
            offset,
            seq: entry.base_seq,
            defect,
        };
        let file = match self.home.dir.open(&names::segment(entry.id), Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(defect(0, Defect::MissingFile));
            }
            Err(error) => return Err(io(error)),
        };
        let file_bytes = file.len().map_err(io)?;
        if file_bytes < entry.frames_end {
            let (needed_bytes, available_bytes) = (entry.frames_end, file_bytes);
            let short = Defect::Truncated {
                needed_bytes,
                available_bytes,
            };
            return Err(defect(file_bytes, short));
        }
        let mut head = [0; HEADER_BYTES];
        read_full_at(&*file, &mut head, 0).map_err(io)?;
        let header = SegmentHeader::decode(&head).map_err(|found| defect(0, found))?;
        let identity = Identity {
            log_id: self.home.log_id,
            id: entry.id.0,
            salt: entry.salt,
            base_seq: entry.base_seq,
        };
        identity.check(&header).map_err(|found| defect(0, found))?;
        let source = self.source(&file).map_err(io)?;
        let (index, footer) = match self.footer(&*file, file_bytes, &header).map_err(io)? {
            Ok((footer, entries)) => (Index::Footer(entries), Ok(footer)),
            Err(found) => (self.rebuild(&source, &header)?, Err(found)),
        };
        let context = header.context();
        let view = View {
            segment: entry.id,
            context,
            source,
            index,
        };
        Ok(Loaded {
            view,
            origin: header.origin,
            header,
            footer,
        })
    }

    fn source(&self, file: &std::sync::Arc<dyn VfsFile>) -> io::Result<Source> {
        let frames = usize::try_from(self.entry.frames_end).unwrap_or(usize::MAX);
        let map = if self.home.mapped {
            file.map(0, frames)?
        } else {
            None
        };
        Ok(map.map_or_else(|| Source::File(file.clone()), Source::Mapped))
    }

    /// The footer and its index, or why it is not to be used.
    fn footer(
        &self,
        file: &dyn VfsFile,
        file_bytes: u64,
        header: &SegmentHeader,
    ) -> io::Result<Result<(Footer, Bytes), Defect>> {
        let frames_end = self.entry.frames_end;
        let context = header.context();
        let mut head = [0; FOOTER_BYTES];
        let read = read_full_at(file, &mut head, frames_end)?;
        let footer =
            match Footer::decode(head.get(..read).unwrap_or_default(), &context, frames_end) {
                Ok(footer) => footer,
                Err(defect) => return Ok(Err(defect)),
            };
        // The count is checksummed, and the file bounds it once more before it allocates.
        let needed = match footer.total_bytes(&head) {
            Ok(needed) => needed,
            Err(defect) => return Ok(Err(defect)),
        };
        let available_bytes = file_bytes.saturating_sub(frames_end);
        if needed > available_bytes {
            return Ok(Err(Defect::Truncated {
                needed_bytes: needed,
                available_bytes,
            }));
        }
        let mut bytes = vec![0; usize::try_from(needed).unwrap_or(0)];
        read_full_at(file, &mut bytes, frames_end)?;
        let skipped = match footer.verify_index(&bytes, &context) {
            Err(defect) => return Ok(Err(defect)),
            Ok(Cow::Owned(entries)) => Some(entries),
            Ok(Cow::Borrowed(_)) => None,
        };
        let whole = || Bytes::from(bytes).slice(FOOTER_BYTES..);
        Ok(Ok((footer, skipped.map_or_else(whole, Bytes::from))))
    }

    /// The index of a segment whose footer does not verify.
    fn rebuild(&self, source: &Source, header: &SegmentHeader) -> Result<Index, Fault> {
        let range = Range {
            offset: HEADER_BYTES as u64,
            frames_end: self.entry.frames_end,
            first_seq: self.entry.base_seq,
            next_seq: self.entry.next_seq,
            dense: header.origin == Origin::Live,
            ..Range::known()
        };
        rebuild(source, &header.context(), range)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire) {
            // If this fails the file stays as an orphan, and the next opening removes it.
            self.home
                .dir
                .remove_if_there(&names::segment(self.entry.id))
                .ok();
        }
    }
}
