//! A sealed segment: known from the manifest, opened when it is first read.
//!
//! INVARIANT: opening compares the file with the manifest (log, id, salt, base, length): a missing,
//! swapped or shortened file is an error with a place, never an empty segment. Until then a sealed
//! segment costs its manifest entry and a few words, and so it does again once the `shelf` closed it.

use super::{
    Fault, Range, Source, View,
    footer::read_footer,
    index::{Index, rebuild},
    recycle::Returned,
    shelf::Shelf,
    source::Mapped,
};
use crate::{
    error::Defect,
    format::{
        Footer, SegmentHeader, check_log_id,
        header::{HEADER_BYTES, Origin},
        manifest::SealedEntry,
        names,
    },
    options::{FarFile, FarSource, Options},
    seal::KeyRing,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    types::{LogId, Seq},
    vfs::{Access, Dir, VfsFile, is_out_of_files, read_full_at},
};
use std::io;

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
    keys: KeyRing,
    /// Where those are read that are not here.
    far: FarSource,
    /// Once one of them was read.
    shelf: OnceLock<Box<Shelf>>,
    /// The files of those that are retired.
    returned: Returned,
}

impl Home {
    pub(crate) fn new(dir: Dir, log_id: LogId, options: &Options) -> Arc<Self> {
        Self::with(dir, log_id, options, options.mapped())
    }

    /// For who reads a segment once: by position.
    pub(crate) fn apart(dir: Dir, log_id: LogId, options: &Options) -> Arc<Self> {
        Self::with(dir, log_id, options, false)
    }

    fn with(dir: Dir, log_id: LogId, options: &Options, mapped: bool) -> Arc<Self> {
        Arc::new(Self {
            dir,
            log_id,
            mapped,
            keys: options.keys.clone(),
            far: options.far.clone(),
            shelf: OnceLock::new(),
            returned: Returned::default(),
        })
    }

    pub(crate) fn returned(&self) -> &Returned {
        &self.returned
    }

    fn shelf(&self) -> &Shelf {
        self.shelf.get_or_init(Box::default)
    }
}

/// A sealed segment. There may be very many, so this is kept small.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) entry: SealedEntry,
    home: Arc<Home>,
    /// Nothing while it is closed.
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// Held while it is opened.
    opening: Mutex<()>,
    /// Whether it was read since the shelf looked.
    read: AtomicBool,
    retired: AtomicBool,
}

impl Sealed {
    pub(crate) fn new(entry: SealedEntry, home: Arc<Home>) -> Self {
        Self {
            entry,
            home,
            loaded: RwLock::new(None),
            opening: Mutex::new(()),
            read: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// No manifest names it any more, or not as one that is here: the file goes when the last reader lets go.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// The open segment; opens the file if it is not.
    pub(crate) fn load(self: &Arc<Self>) -> Result<Arc<Loaded>, Fault> {
        if let Some(loaded) = self.loaded() {
            return Ok(loaded);
        }
        let _opening = self.opening.lock();
        if let Some(loaded) = self.loaded() {
            return Ok(loaded);
        }
        let loaded = Arc::new(self.open()?);
        *self.loaded.write() = Some(loaded.clone());
        self.home.shelf().put(self, &loaded.view.source);
        Ok(loaded)
    }

    /// Whether this program knows what it is: for who would drop it. Whatever else is wrong with it
    /// goes with it.
    ///
    /// # Errors
    /// A version or a feature of a newer program.
    pub(crate) fn check_known(&self) -> Result<(), Defect> {
        // What is far was known to who let go of it, and the manifest knows all its features.
        if self.entry.far || self.loaded.read().is_some() {
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

    /// What `read` makes of the open segment; opens the file if it is not. Quicker than
    /// [`load`](Self::load) for who is done at once. `read` opens no segment: this one is held meanwhile.
    pub(crate) fn with<T>(self: &Arc<Self>, read: impl Fn(&Loaded) -> T) -> Result<T, Fault> {
        self.mark_read();
        if let Some(loaded) = self.loaded.read().as_deref() {
            return Ok(read(loaded));
        }
        Ok(read(&*self.load()?))
    }

    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.mark_read();
        self.loaded.read().clone()
    }

    fn mark_read(&self) {
        // Looked at first: who only reads takes no cache line away from the others.
        if !self.read.load(Ordering::Relaxed) {
            self.read.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was read since this was last asked.
    pub(super) fn was_read(&self) -> bool {
        self.read.swap(false, Ordering::Relaxed)
    }

    /// Lets go of the file. Who reads it just now goes on.
    pub(super) fn close(&self) {
        let loaded = self.loaded.write().take();
        drop(loaded);
    }

    /// Opens the file for one walk, after which it is closed again.
    pub(crate) fn open(&self) -> Result<Loaded, Fault> {
        let entry = &self.entry;
        let io = |error| Fault::Io { offset: 0, error };
        let defect = |offset, defect| Fault::Defect {
            offset,
            seq: entry.base_seq,
            defect,
        };
        let (missing, opened) = match entry.far {
            true => (Defect::MissingFar, Ok(self.far_file()?)),
            false => (Defect::MissingFile, self.open_file()),
        };
        let mut head = [0; HEADER_BYTES];
        let opened = opened.and_then(|file| {
            let file_bytes = file.len()?;
            // Elsewhere that may be known of what is not there.
            read_full_at(&*file, &mut head, 0)?;
            Ok((file_bytes, file))
        });
        let (file_bytes, file) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(defect(0, missing));
            }
            opened => opened.map_err(io)?,
        };
        if file_bytes < entry.frames_end {
            let (needed_bytes, available_bytes) = (entry.frames_end, file_bytes);
            let short = Defect::Truncated {
                needed_bytes,
                available_bytes,
            };
            return Err(defect(file_bytes, short));
        }
        let header = SegmentHeader::decode(&head).map_err(|found| defect(0, found))?;
        let identity = Identity {
            log_id: self.home.log_id,
            id: entry.id.0,
            salt: entry.salt,
            base_seq: entry.base_seq,
        };
        identity.check(&header).map_err(|found| defect(0, found))?;
        let source = self.source(&file);
        let ending = read_footer(&*file, &header.context(), entry.frames_end).map_err(io)?;
        let (index, footer) = match ending {
            Ok(ending) => (Index::Footer(ending.entries), Ok(ending.footer)),
            Err(found) => (self.rebuild(&source, &header)?, Err(found)),
        };
        let context = header.context();
        let view = View {
            segment: entry.id,
            context,
            source,
            index,
            sealed: header.sealed,
            packed_appends: header.packed_appends,
            keys: self.home.keys.clone(),
        };
        Ok(Loaded {
            view,
            origin: header.origin,
            header,
            footer,
        })
    }

    /// The file that is not here.
    fn far_file(&self) -> Result<std::sync::Arc<dyn VfsFile>, Fault> {
        let far = self.home.far.clone().ok_or(Fault::Defect {
            offset: 0,
            seq: self.entry.base_seq,
            defect: Defect::Far,
        })?;
        Ok(FarFile::of(far, self.home.log_id, &self.entry))
    }

    fn open_file(&self) -> io::Result<std::sync::Arc<dyn VfsFile>> {
        let name = names::segment(self.entry.id);
        let opened = self.home.dir.open(&name, Access::Read);
        if !opened.as_ref().is_err_and(is_out_of_files) {
            return opened;
        }
        self.home.shelf().clear();
        self.home.dir.open(&name, Access::Read)
    }

    fn source(&self, file: &std::sync::Arc<dyn VfsFile>) -> Source {
        let frames = usize::try_from(self.entry.frames_end).unwrap_or(usize::MAX);
        let shelf = self.home.shelf();
        // If the system grants no more mappings, or has none, reading by position needs none.
        let map =
            (self.home.mapped && !self.entry.far && shelf.may_map()).then(|| file.map(0, frames));
        match map {
            Some(Ok(Some(map))) => Source::Mapped(Mapped::new(shelf.lend(map))),
            _ => Source::File(file.clone()),
        }
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
        // The file of one that is far went with the one that was here.
        if self.retired.load(Ordering::Acquire) && !self.entry.far {
            self.home.returned.take(&self.home.dir, self.entry.id);
        }
    }
}
