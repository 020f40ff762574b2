//! The files of a moment, put aside as a power cut would have left them.
//!
//! INVARIANT: a part of a segment that is there, by its checksum, is not fetched again; whatever else is there goes.
//!
//! Called by `restore`; calls the store, `aside`, `renew`.

use super::{
    RestoreOptions,
    aside::{Aside, FROM},
    renew::{rebound, renewed},
};
use crate::{
    error::{Error, Result},
    history::Snapshot,
    layout::{File, Object},
    store::Store,
};
use cairnlog::{
    Defect,
    format::{Manifest, ProducersFile, crc32c, cursor::CursorFile, names},
    vfs::{Access, VfsFile, read_full_at, write_all_at},
};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Files fetched at a time.
const THREADS: usize = 4;

impl RestoreOptions {
    /// Puts the files aside as a power cut would have left them. Gives how many bytes were fetched.
    pub(super) fn fetch(
        &self,
        aside: &Aside<'_>,
        store: &Store,
        snapshot: &Snapshot,
    ) -> Result<u64> {
        let (manifest, fresh) = renewed(&snapshot.manifest, &snapshot.files, &*self.vfs);
        let mut wanted: BTreeSet<_> = snapshot
            .files
            .iter()
            .map(|it| names::segment(it.id))
            .collect();
        wanted.insert(FROM.into());
        aside.keep_only(&wanted)?;
        let total = snapshot.files.iter().map(File::bytes).sum();
        let (done, fetched, next) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        let failed = Mutex::new(None);
        let tell = |bytes, was_fetched| {
            if was_fetched {
                fetched.fetch_add(bytes, Ordering::Relaxed);
            }
            (self.progress)(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        };
        let work = || {
            while let Some(file) = snapshot.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = aside.fetch(store, file, &tell) {
                    failed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..THREADS.min(snapshot.files.len())).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if let Some((id, header)) = fresh {
            aside.remove(&names::segment(snapshot.manifest.tail.id))?;
            aside.write(&names::segment(id), &header)?;
        }
        aside.put_beside(snapshot, &manifest)?;
        aside.sync(names::CURSORS)?;
        aside.sync("")?;
        Ok(fetched.into_inner())
    }
}

impl Aside<'_> {
    /// Writes what is beside the segments, as the new manifest has it, and that.
    fn put_beside(&self, snapshot: &Snapshot, manifest: &Manifest) -> Result<()> {
        let bad = |what: &str, defect: Defect| Error::damaged(what, defect.to_string());
        if let Some(bytes) = &snapshot.producers {
            let file = ProducersFile::decode(bytes).map_err(|it| bad("the producers", it))?;
            let file = rebound(file, snapshot.manifest.tail.id, manifest);
            self.write(names::PRODUCERS, &file.encode())?;
        }
        if !snapshot.cursors.is_empty() {
            self.create_dir(names::CURSORS)?;
        }
        for (id, bytes) in &snapshot.cursors {
            let file = CursorFile::decode(bytes).map_err(|it| bad("a cursor", it))?;
            let incarnation = manifest.incarnation;
            let file = CursorFile {
                incarnation,
                ..file
            };
            let name = format!("{}/{}", names::CURSORS, names::cursor(*id));
            self.write(&name, &file.encode())?;
        }
        self.write(names::MANIFEST, &manifest.encode())
    }

    /// Fetches the parts of a segment that are not there.
    fn fetch(&self, store: &Store, file: &File, tell: &impl Fn(u64, bool)) -> Result<()> {
        let path = self.at(&names::segment(file.id));
        let io = || Error::io(&path);
        let opened = match self.vfs.open(&path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.vfs.create_new(&path),
            opened => opened,
        };
        let opened = opened.map_err(io())?;
        let mut offset = 0;
        for part in &file.parts {
            let is_there = holds(&*opened, part, offset).map_err(io())?;
            if !is_there {
                let bytes = store.object(part)?;
                write_all_at(&*opened, &bytes, offset).map_err(io())?;
            }
            offset += part.bytes;
            tell(part.bytes, !is_there);
        }
        opened.set_len(offset).map_err(io())?;
        // DURABILITY: after this line the segment survives; its name does with the directory's sync.
        opened.sync().map_err(io())
    }
}

/// Whether the bytes of a part are in a file.
fn holds(file: &dyn VfsFile, part: &Object, offset: u64) -> io::Result<bool> {
    if file.len()? < offset + part.bytes {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(part.bytes).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = read_full_at(file, &mut bytes, offset)?;
    Ok(read == bytes.len() && crc32c(0, &bytes) == part.checksum)
}
