//! A log made of what a store has of a moment.
//!
//! All of it is done beside, in the directory `restore` inside the new one, under the mark that says "no log": the
//! files as a power cut at that moment would have left them, by the parts that are not there yet; opened, which
//! recovers; cut, if asked to; closed and verified in full. Then its files are moved up, the manifest last.
//!
//! INVARIANTS
//! * What is in the directory is no log before all of it verified.
//! * Interrupted anywhere, it goes on: a part that is there, by its checksum, is not fetched again.
//! * The new log is another incarnation, and appends to no segment that the old one may append to.

use crate::{
    error::{Error, Result},
    history::{Moment, Snapshot, To},
    layout::{File, Object},
    store::Store,
};
use cairnlog::{
    Options, ReadMode, SegmentId,
    format::{
        Manifest, ProducersFile, SegmentHeader, crc32c,
        cursor::CursorFile,
        header::{HEADER_BYTES, Origin},
        manifest::TailEntry,
        names,
    },
    vfs::{Access, RealFs, Vfs, VfsFile},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Where it is done.
const ASIDE: &str = "restore";
/// Says of which commit what is aside is.
const FROM: &str = "FROM";
/// Says that what is aside was verified, and may be moved up.
const READY: &str = "READY";
/// Files fetched at a time.
const THREADS: usize = 4;

/// How a log is restored.
#[derive(Clone)]
pub struct RestoreOptions {
    log: Options,
    vfs: Arc<dyn Vfs>,
    progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
}

impl std::fmt::Debug for RestoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestoreOptions")
            .field("vfs", &self.vfs)
            .finish_non_exhaustive()
    }
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            // A disk that fails is an error then, and no signal; and memory stays flat.
            log: Options::new().read_mode(ReadMode::Positional),
            vfs: Arc::new(RealFs::default()),
            progress: Arc::new(|_, _| {}),
        }
    }
}

impl RestoreOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the log is opened, verified and, with [`To::Seq`], cut: one with sealed records may need its keys for that.
    #[must_use]
    pub fn log(mut self, options: Options) -> Self {
        self.log = options;
        self
    }

    /// Told again and again how many bytes are there, of how many.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(tell);
        self
    }

    /// The file system that the log is restored to. Default: the real one.
    #[must_use]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// Restores a log as [`restore`] does.
    ///
    /// # Errors
    /// As [`restore`].
    pub fn restore(&self, store: &Store, dir: impl AsRef<Path>, to: To) -> Result<RestoreReport> {
        let dir = dir.as_ref();
        let aside = Aside {
            vfs: &*self.vfs,
            dir,
            path: dir.join(ASIDE),
        };
        let snapshot = store.snapshot(store.find(to)?)?;
        let from = format!(
            "{:?} {to:?} {:?}\n",
            Moment::of(&snapshot.commit),
            snapshot.commit.writer
        );
        aside.begin(&from)?;
        let fetched_bytes = match aside.has(READY)? {
            true => 0,
            false => {
                let fetched = self.fetch(&aside, store, &snapshot)?;
                self.settle(&aside, &snapshot.manifest, to)?;
                aside.write(READY, &[])?;
                fetched
            }
        };
        aside.move_up()?;
        let log = self.log.clone().vfs(self.vfs.clone()).open_reader(dir)?;
        Ok(RestoreReport {
            head_seq: log.head_seq(),
            end_seq: log.end_seq(),
            fetched_bytes,
            moment: Moment::of(&snapshot.commit).unwrap_or_else(|| unreachable!("it has a state")),
        })
    }

    /// Puts the files aside as a power cut would have left them. Gives how many bytes were fetched.
    fn fetch(&self, aside: &Aside<'_>, store: &Store, snapshot: &Snapshot) -> Result<u64> {
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
        let bad = |what: &str, defect: cairnlog::Defect| Error::damaged(what, defect.to_string());
        if let Some(bytes) = &snapshot.producers {
            let file = ProducersFile::decode(bytes).map_err(|it| bad("the producers", it))?;
            let file = rebound(file, snapshot.manifest.tail.id, &manifest);
            aside.write(names::PRODUCERS, &file.encode())?;
        }
        if !snapshot.cursors.is_empty() {
            aside.create_dir(names::CURSORS)?;
        }
        for (id, bytes) in &snapshot.cursors {
            let file = CursorFile::decode(bytes).map_err(|it| bad("a cursor", it))?;
            let incarnation = manifest.incarnation;
            let bytes = CursorFile {
                incarnation,
                ..file
            }
            .encode();
            aside.write(
                &format!("{}/{}", names::CURSORS, names::cursor(*id)),
                &bytes,
            )?;
        }
        aside.write(names::MANIFEST, &manifest.encode())?;
        aside.sync(names::CURSORS)?;
        aside.sync("")?;
        Ok(fetched.into_inner())
    }

    /// Makes a log of the files, whole and cut.
    fn settle(&self, aside: &Aside<'_>, of: &Manifest, to: To) -> Result<()> {
        let options = self.log.clone().vfs(self.vfs.clone()).create(false);
        let log = options.clone().open(&aside.path)?;
        if let To::Seq(seq) = to
            && seq < log.next_seq()
        {
            log.rewind(seq)?;
        }
        let tail = log.stored()?.moment()?.manifest.tail;
        log.close()?;
        if tail.salt == of.tail.salt {
            let full = "there was no room to give the log a segment of its own to go on in";
            return Err(Error::io(&aside.path)(io::Error::new(
                io::ErrorKind::StorageFull,
                full,
            )));
        }
        let report = options.verify(&aside.path)?;
        match report
            .findings
            .iter()
            .find(|it| it.kind > cairnlog::FindingKind::Derived)
        {
            None => Ok(()),
            Some(finding) => Err(Error::damaged(
                aside
                    .path
                    .join(finding.place.path.as_deref().unwrap_or(Path::new("")))
                    .display(),
                format!("{}: {}", finding.place, finding.defect),
            )),
        }
    }
}

/// What was restored; from [`restore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The moment that it is of.
    pub moment: Moment,
    /// The oldest record in it.
    pub head_seq: u64,
    /// The seq after the last record, or, where that was cut, the number that the next record gets.
    pub end_seq: u64,
    /// Bytes of segments that were fetched; those that an earlier try had fetched are not counted.
    pub fetched_bytes: u64,
}

/// Makes a log of a moment that a store has, in a directory that is new or empty, or in which this was begun: then it
/// goes on. When it returns the log is durable, was verified in full, and is of a new incarnation: it may go on by itself,
/// whatever becomes of the one that was copied.
///
/// # Errors
/// `NotFound` if the store has no such moment, or not any more; `InvalidInput` if something else is in the directory;
/// `Damaged` if an object is not what was put, or what it holds does not verify; `Log`, also `KeyMissing` with [`To::Seq`] if a batch of sealed
/// records would have to be cut; `Store`, `TimedOut`, `Io`. After an error the directory is no log, and opening it says so.
pub fn restore(store: &Store, dir: impl AsRef<Path>, to: To) -> Result<RestoreReport> {
    RestoreOptions::new().restore(store, dir, to)
}

/// The manifest of a new incarnation, and a new tail if there is nothing in the old one: recovery seals what has
/// records, and would go on in what has none, as the log that was copied may.
fn renewed(
    of: &Manifest,
    files: &[File],
    vfs: &dyn Vfs,
) -> (Manifest, Option<(SegmentId, Vec<u8>)>) {
    let number = |n: u64| (n >> 32) as u32 ^ n as u32;
    let other = |old: u32| loop {
        match number(vfs.random()) {
            0 => {}
            new if new == old => {}
            new => return new,
        }
    };
    let mut manifest = Manifest {
        incarnation: other(of.incarnation),
        ..of.clone()
    };
    let is_empty = |file: &File| file.id == of.tail.id && file.bytes() <= HEADER_BYTES as u64;
    if of.spare.is_some() || !files.iter().any(is_empty) {
        return (manifest, None);
    }
    let (id, base_seq) = (of.next_segment_id, of.tail.base_seq);
    let header = SegmentHeader {
        origin: Origin::Copy,
        log_id: of.log_id,
        id,
        base_seq,
        salt: vfs.random(),
        base_timestamp_ms: vfs.unix_time_ms(),
        predecessor: None,
        durable_seq: of.durable_seq,
        appends_from: Some(base_seq),
        recycled: false,
        packed: false,
        sealed: of.write_features & cairnlog::format::SEALED_FEATURE != 0,
    };
    manifest.tail = TailEntry {
        id,
        salt: header.salt,
        base_seq,
    };
    manifest.next_segment_id = SegmentId(id.0 + 1);
    (manifest, Some((id, header.encode())))
}

/// What is known of producers, for the new manifest.
fn rebound(file: ProducersFile, old_tail: SegmentId, new: &Manifest) -> ProducersFile {
    let mut file = ProducersFile {
        incarnation: new.incarnation,
        ..file
    };
    if new.tail.id != old_tail {
        // Stored for a commit that the moment does not show: what that would have rewound stands.
        if file.tail_id > old_tail {
            file.end_seq = file.as_of_seq;
        }
        file.tail_id = new.tail.id;
    }
    file
}

/// The directory in which it is done, and the one that it is in.
struct Aside<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
    path: PathBuf,
}

impl Aside<'_> {
    fn at(&self, name: &str) -> PathBuf {
        match name {
            "" => self.path.clone(),
            name => self.path.join(name),
        }
    }

    fn has(&self, name: &str) -> Result<bool> {
        match self.vfs.open(&self.at(name), Access::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(&self.at(name))(error)),
        }
    }

    /// Takes the directory, if it is free or ours; what is aside is of this commit then.
    fn begin(&self, from: &str) -> Result<()> {
        let io = Error::io;
        self.vfs.create_dir(self.dir).map_err(io(self.dir))?;
        let there = self.vfs.list(self.dir).map_err(io(self.dir))?;
        let is_there = |name: &str| there.iter().any(|entry| entry.name == name);
        let is_ours = is_there(names::BACKUP) && is_there(ASIDE);
        let only_mark = there.iter().all(|entry| entry.name == names::BACKUP);
        if !is_ours && !only_mark {
            let dir = self.dir.display();
            return Err(Error::InvalidInput(format!(
                "the directory {dir} is not empty"
            )));
        }
        if !is_there(names::BACKUP) {
            let mark = self.dir.join(names::BACKUP);
            // DURABILITY: from here on nobody takes the directory for a log, or makes one of it.
            let file = self.vfs.create_new(&mark).map_err(io(&mark))?;
            file.sync().map_err(io(&mark))?;
            self.vfs.sync_dir(self.dir).map_err(io(self.dir))?;
        }
        self.vfs.create_dir(&self.path).map_err(io(&self.path))?;
        self.vfs.sync_dir(self.dir).map_err(io(self.dir))?;
        if let Some(parent) = self.dir.parent().filter(|it| !it.as_os_str().is_empty()) {
            self.vfs.sync_dir(parent).map_err(io(parent))?;
        }
        if self.read(FROM)?.as_deref() != Some(from.as_bytes()) {
            // Another moment: parts of it may be there all the same. What was moved up may not.
            self.remove(READY)?;
            self.remove(FROM)?;
            self.sync("")?;
            for entry in self.vfs.list(self.dir).map_err(io(self.dir))? {
                if entry.is_file && entry.name != names::BACKUP {
                    let path = self.dir.join(&entry.name);
                    self.vfs.remove(&path).map_err(io(&path))?;
                }
            }
            self.write(FROM, from.as_bytes())?;
            self.sync("")?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let io = || Error::io(&self.at(name));
        let file = match self.vfs.open(&self.at(name), Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io())?,
        };
        let len = usize::try_from(file.len().map_err(io())?).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = read_at(&*file, &mut bytes, 0).map_err(io())?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Writes a file anew, durably.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.remove(name)?;
        let path = self.at(name);
        let write = || {
            let file = self.vfs.create_new(&path)?;
            write_at(&*file, bytes, 0)?;
            // DURABILITY: after this line the content survives under whatever name it durably has.
            file.sync()
        };
        write().map_err(Error::io(&path))
    }

    fn create_dir(&self, name: &str) -> Result<()> {
        let path = self.at(name);
        self.vfs
            .create_dir(&path)
            .map(drop)
            .map_err(Error::io(&path))
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.vfs.remove(&self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&self.at(name))(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the names in a directory durable, if it is there.
    fn sync(&self, name: &str) -> Result<()> {
        // DURABILITY: after this line what was written there survives under its name.
        match self.vfs.sync_dir(&self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&self.at(name))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is aside and not wanted: what an earlier try made of the files.
    fn keep_only(&self, wanted: &BTreeSet<String>) -> Result<()> {
        for name in ["", names::CURSORS] {
            let listed = match self.vfs.list(&self.at(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(Error::io(&self.at(name)))?,
            };
            let is_left = |entry: &&cairnlog::vfs::DirEntry| {
                entry.is_file && (!name.is_empty() || !wanted.contains(&entry.name))
            };
            for entry in listed.iter().filter(is_left) {
                let path = self.at(name).join(&entry.name);
                self.vfs.remove(&path).map_err(Error::io(&path))?;
            }
        }
        Ok(())
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
                write_at(&*opened, &bytes, offset).map_err(io())?;
            }
            offset += part.bytes;
            tell(part.bytes, !is_there);
        }
        opened.set_len(offset).map_err(io())?;
        // DURABILITY: after this line the segment survives; its name does with the directory's sync.
        opened.sync().map_err(io())
    }

    /// Moves what is aside to where it belongs, the manifest last. What was moved already is left there.
    fn move_up(&self) -> Result<()> {
        self.move_in("")?;
        // DURABILITY: after these two lines everything that the manifest names is where it belongs.
        self.vfs
            .sync_dir(&self.path)
            .map_err(Error::io(&self.path))?;
        self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))?;
        if self.has(names::MANIFEST)? {
            let (from, to) = (self.at(names::MANIFEST), self.dir.join(names::MANIFEST));
            self.vfs.rename(&from, &to).map_err(Error::io(&to))?;
            // DURABILITY: after this line the directory is the log.
            self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))?;
        }
        let mark = self.dir.join(names::BACKUP);
        for name in [READY, FROM, names::LOCK] {
            self.remove(name)?;
        }
        // Empty by now; where that cannot be said to the file system it stays, and means nothing.
        for name in [names::CURSORS, ""] {
            std::fs::remove_dir(self.at(name)).ok();
        }
        self.vfs.remove(&mark).map_err(Error::io(&mark))?;
        // DURABILITY: after this line nothing is left of the mark. With it the log would be the same.
        self.vfs.sync_dir(self.dir).map_err(Error::io(self.dir))
    }

    fn move_in(&self, within: &str) -> Result<()> {
        let from = self.at(within);
        let to = if within.is_empty() {
            self.dir.to_owned()
        } else {
            self.dir.join(within)
        };
        let listed = self.vfs.list(&from).map_err(Error::io(&from))?;
        let stays = |name: &str| {
            within.is_empty() && [READY, FROM, names::LOCK, names::MANIFEST].contains(&name)
        };
        for entry in listed.iter().filter(|entry| !stays(&entry.name)) {
            if entry.is_file {
                let to = to.join(&entry.name);
                self.vfs
                    .rename(&from.join(&entry.name), &to)
                    .map_err(Error::io(&to))?;
            } else if within.is_empty() {
                let to = to.join(&entry.name);
                self.vfs.create_dir(&to).map_err(Error::io(&to))?;
                self.move_in(&entry.name)?;
                self.vfs.sync_dir(&to).map_err(Error::io(&to))?;
            }
        }
        Ok(())
    }
}

/// Whether the bytes of a part are in a file.
fn holds(file: &dyn VfsFile, part: &Object, offset: u64) -> io::Result<bool> {
    if file.len()? < offset + part.bytes {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(part.bytes).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = read_at(file, &mut bytes, offset)?;
    Ok(read == bytes.len() && crc32c(0, &bytes) == part.checksum)
}

/// Fills as much of `bytes` as the file has.
fn read_at(file: &dyn VfsFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn write_at(file: &dyn VfsFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
