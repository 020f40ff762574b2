//! The journey of a backup: a copy of the log, made while it is appended to, that is a log itself.
//!
//! A mark goes first and the manifest last. In between the directory is no log, and opening it says
//! so instead of creating one over it. Sealed segments never change, so the copy shares their files
//! by hard links where it can; of the others the durable records are written anew.
//!
//! Rooms: `place` where it goes, `moment` what it is a copy of, `far` what lives elsewhere, this file the copying; `stored` is for who copies
//! by himself.
//!
//! INVARIANTS: the log's own directory is only read; everything in the copy is durable, and verified,
//! before it is called a backup. The snapshot of the catalog keeps its files from being removed; not so
//! where another process writes: if a file is gone the copy is one of a later moment, and keeps what the
//! two have in common.
//!
//! Called by `Log`; calls append and read (for what there is), segment, manifest, verify.

mod far;
mod moment;
mod place;
mod stored;

use crate::{
    append::{Core, Ledger},
    error::{Error, Op, Place, Result},
    format::{Manifest, Owner, SegmentHeader, header::HEADER_BYTES, manifest::SealedEntry, names},
    manifest::ManifestStore,
    options::Options,
    read::Follower,
    segment::{Builder, TailWriter, copy_below, copy_header, new_incarnation, tail_header},
    types::{LogId, SegmentId, Seq},
    verify::{self, FindingKind},
    vfs::{Access, Dir},
};
use moment::Moment;
use std::{collections::BTreeMap, io, path::Path};
pub use stored::{StoredFile, StoredLog, StoredMoment, StoredSegment};

/// How often a later moment is copied because files of the one before were taken away.
const MOMENTS_MAX: usize = 100;

/// How a backup is made.
///
/// ```
/// use cairnlog::{BackupOptions, Log};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("precious")?;
/// let report = log.backup_with(dir.path().join("backup"), &BackupOptions::new().copy(true))?;
/// assert_eq!(report.next_seq, 1);
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    copy: bool,
}

impl BackupOptions {
    /// The defaults: sealed segments are shared where that is possible.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether every byte is copied, so that damage to a file of the one is none of the other.
    /// Default: no, sealed segments are hard links where the file system allows it.
    #[must_use]
    pub fn copy(mut self, copy: bool) -> Self {
        self.copy = copy;
        self
    }
}

/// What a backup holds; from [`Log::backup`](crate::Log::backup).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Segments whose file the log and the backup share.
    pub linked_count: u64,
    /// Segments that were copied, or written anew.
    pub copied_count: u64,
    /// Bytes of frames in all of them.
    pub frame_bytes: u64,
    /// The oldest record in it.
    pub head_seq: Seq,
    /// The seq after its last record, and the number that it would give to the next.
    pub next_seq: Seq,
}

/// What a backup is taken of.
#[derive(Clone, Copy)]
struct Origin<'a> {
    dir: &'a Dir,
    options: &'a Options,
    owner: Owner,
}

struct Backup<'a> {
    origin: Origin<'a>,
    to: &'a Dir,
    how: &'a BackupOptions,
    /// Whose it is: it may go on by itself.
    owner: Owner,
    next_id: SegmentId,
    /// The sealed segments that it has, and whether their file is shared.
    sealed: BTreeMap<SegmentId, (SealedEntry, bool)>,
    next_seq: Seq,
}

/// Copies everything that is durable by now into a new directory.
pub(crate) fn backup(core: &Core, path: &Path, how: &BackupOptions) -> Result<BackupReport> {
    // A poisoned log has what it has; of one that was closed somebody else may be the writer by now.
    core.check_not_closed(Op::Backup)?;
    let origin = Origin {
        dir: core.dir(),
        options: core.options(),
        owner: core.owner(),
    };
    copy(origin, path, how, || Moment::of(core))
}

/// The same of a log that another process may be writing.
pub(crate) fn backup_beside(
    dir: &Dir,
    options: &Options,
    follower: &Follower,
    path: &Path,
    how: &BackupOptions,
) -> Result<BackupReport> {
    let owner = follower.moment()?.2.owner();
    let origin = Origin {
        dir,
        options,
        owner,
    };
    copy(origin, path, how, || Moment::beside(&origin, follower))
}

fn copy(
    origin: Origin<'_>,
    path: &Path,
    how: &BackupOptions,
    look: impl Fn() -> Result<Moment>,
) -> Result<BackupReport> {
    let to = Dir::new(origin.dir.vfs().clone(), path);
    place::begin(origin.dir, &to)?;
    let owner = Owner {
        incarnation: new_incarnation(&to),
        ..origin.owner
    };
    let mut backup = Backup {
        origin,
        to: &to,
        how,
        owner,
        next_id: SegmentId(0),
        sealed: BTreeMap::new(),
        next_seq: 0,
    };
    let moment = backup.sealed_of_a_moment(look)?;
    let report = backup.others(moment)?;
    backup.verify()?;
    place::end(&to)?;
    Ok(report)
}

fn at_path(to: &Dir, name: &str) -> impl FnOnce(io::Error) -> Error {
    let path = match name {
        "" => to.path().to_owned(),
        name => to.path().join(name),
    };
    let place = Place::file(path);
    move |error| Error::io(Op::Backup, error).at(place)
}

/// Copies a file if it is there. Its name is not yet durable.
fn copy_file(from: &Dir, to: &Dir, name: &str) -> Result<bool> {
    match from.copy(name, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        copied => copied.map_err(at_path(to, name))?,
    };
    let copy = to
        .open(name, Access::ReadWrite)
        .map_err(at_path(to, name))?;
    // DURABILITY: after this line the content survives under whatever name it durably has.
    copy.sync().map_err(at_path(to, name))?;
    Ok(true)
}

impl Backup<'_> {
    /// All sealed segments of a moment, which it gives.
    fn sealed_of_a_moment(&mut self, look: impl Fn() -> Result<Moment>) -> Result<Moment> {
        let (mut moment, mut moment_count) = (look()?, 1);
        while let Some(missing) = self.sealed_of(&moment)? {
            let later = look()?;
            moment_count += 1;
            if later.manifest == moment.manifest || moment_count > MOMENTS_MAX {
                let gone = io::Error::from(io::ErrorKind::NotFound);
                return Err(at_path(self.origin.dir, &names::segment(missing))(gone));
            }
            moment = later;
        }
        Ok(moment)
    }

    /// Takes the sealed segments of a moment, and leaves no others that an earlier one had. Gives the one
    /// whose file is gone, if one is.
    fn sealed_of(&mut self, moment: &Moment) -> Result<Option<SegmentId>> {
        let sealed = &moment.manifest.sealed;
        let named: BTreeMap<_, _> = sealed.iter().map(|entry| (entry.id, entry)).collect();
        let is_named =
            |id: &SegmentId| self.sealed.get(id).map(|has| &has.0) == named.get(id).copied();
        let others: Vec<_> = self
            .sealed
            .keys()
            .filter(|id| !is_named(id))
            .copied()
            .collect();
        for id in others {
            let name = names::segment(id);
            self.to.remove(&name).map_err(at_path(self.to, &name))?;
            self.sealed.remove(&id);
        }
        for entry in sealed {
            if !self.sealed.contains_key(&entry.id) {
                let Some(is_shared) = self.take(entry)? else {
                    return Ok(Some(entry.id));
                };
                self.sealed.insert(entry.id, (*entry, is_shared));
            }
        }
        Ok(None)
    }

    /// Takes a segment that never changes, and tells whether its file is shared; `None` if it is gone.
    fn take(&self, entry: &SealedEntry) -> Result<Option<bool>> {
        let (from, name) = (self.origin.dir, names::segment(entry.id));
        if entry.far {
            far::fetch(&self.origin, entry, self.to)?;
            return Ok(Some(false));
        }
        // Whatever keeps it from being linked, another device or no such thing: it can be copied.
        if !self.how.copy && from.hard_link(&name, self.to).is_ok() {
            return Ok(Some(true));
        }
        Ok(copy_file(from, self.to, &name)?.then_some(false))
    }

    /// All but the sealed segments, and the commit.
    fn others(&mut self, moment: Moment) -> Result<BackupReport> {
        let Moment {
            side_files,
            durable_seq,
            catalog,
            manifest,
            mut ledger,
        } = moment;
        if let Some(files) = side_files {
            moment::copy_side_files(self.origin.dir, self.to, files, self.owner)?;
        }
        // Below the first tail all is settled: sealed, or rewound, and then its numbers are not used again.
        let first = catalog.tails.first();
        let settled_seq = first.map_or(0, |tail| tail.context.base_seq);
        self.next_id = manifest.next_segment_id;
        self.next_seq = durable_seq.max(settled_seq);
        // All of it is here: what lived elsewhere was fetched.
        let here = |entry: &SealedEntry| SealedEntry {
            far: false,
            ..*entry
        };
        let mut entries: Vec<_> = manifest.sealed.iter().map(here).collect();
        let linked_count = self.sealed.values().filter(|(_, shared)| *shared).count();
        let tails = catalog.tails.iter();
        for tail in tails.filter(|tail| tail.context.base_seq < durable_seq) {
            let (log_id, base_seq) = (self.log_id(), tail.context.base_seq);
            let (id, keys) = (self.id(), &self.origin.options.keys);
            let header = SegmentHeader {
                sealed: tail.sealed,
                base_timestamp_ms: tail.context.base_timestamp_ms,
                ..copy_header(self.to, log_id, id, base_seq, keys)
            };
            let (view, limit) = (tail.view(), tail.written_end());
            let source = (&view, HEADER_BYTES as u64..limit);
            // The ledger in memory knows more than is in the copy, and has forgotten what is.
            let add = |seq, producer| ledger.add_next(seq, producer);
            let entry = copy_below(self.to, header, source, durable_seq, Op::Backup, add)?;
            entries.extend(entry);
        }
        let report = BackupReport {
            linked_count: linked_count as u64,
            copied_count: (entries.len() - linked_count) as u64,
            frame_bytes: entries.iter().map(|entry| entry.frames_end).sum(),
            head_seq: catalog.head_seq,
            next_seq: self.next_seq,
        };
        let tail = self.tail()?;
        let has_ledger = self.ledger(ledger, tail.tail.id)?;
        self.commit(&manifest, entries, &tail, has_ledger)?;
        Ok(report)
    }

    fn log_id(&self) -> LogId {
        self.owner.log_id
    }

    fn id(&mut self) -> SegmentId {
        let id = self.next_id;
        self.next_id = SegmentId(id.0 + 1);
        id
    }

    fn tail(&mut self) -> Result<TailWriter> {
        let (log_id, id) = (self.log_id(), self.id());
        let keys = &self.origin.options.keys;
        let header = tail_header(self.to, log_id, id, self.next_seq, keys);
        let name = names::segment(header.id);
        Builder::create(self.to, header, keys)
            .and_then(Builder::into_tail)
            .map_err(at_path(self.to, &name))
    }

    /// What is remembered of producers and cursors, as of the end of the copy; whether that is anything.
    fn ledger(&self, mut ledger: Ledger, tail_id: SegmentId) -> Result<bool> {
        let (owner, next_seq) = (self.owner, self.next_seq);
        // It is stored before the segment that it is for is named, and so may be ahead of what is durable.
        ledger.drop_from(next_seq);
        let file = ledger.to_file(owner, next_seq, next_seq, tail_id);
        let Some(bytes) = file else { return Ok(false) };
        self.to
            .write_new(names::PRODUCERS, &bytes)
            .map_err(at_path(self.to, names::PRODUCERS))?;
        Ok(true)
    }

    /// Makes what was copied a log.
    fn commit(
        &self,
        of: &Manifest,
        sealed: Vec<SealedEntry>,
        tail: &TailWriter,
        has_ledger: bool,
    ) -> Result<()> {
        // DURABILITY: after this line every name in the copy survives; no manifest names them yet.
        self.to.sync().map_err(at_path(self.to, ""))?;
        let manifest = Manifest {
            incarnation: self.owner.incarnation,
            has_ledger,
            next_segment_id: self.next_id,
            durable_seq: self.next_seq,
            durable_end: tail.summary.end,
            clean: false,
            sealed,
            tail: tail.tail.entry(),
            spare: None,
            ..of.clone()
        };
        // DURABILITY: after this commit the copy is a log.
        ManifestStore::new(self.to.clone(), manifest).commit_again(Op::Backup, |_| ())
    }

    /// Reads it all. What does not verify is no log again.
    fn verify(&self) -> Result<()> {
        let report = verify::verify(self.to, self.origin.options, |_| {})?;
        let harm = |finding: &&verify::Finding| finding.kind > FindingKind::Derived;
        let Some(finding) = report.findings.iter().find(harm) else {
            return Ok(());
        };
        self.to
            .remove(names::MANIFEST)
            .map_err(at_path(self.to, names::MANIFEST))?;
        // DURABILITY: after this line the manifest is gone, and the mark still there.
        self.to.sync().map_err(at_path(self.to, ""))?;
        Err(Error::defect(
            Op::Backup,
            finding.place.clone(),
            finding.defect,
        ))
    }
}
