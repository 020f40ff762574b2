//! The journey of a backup: a copy of the log, made while it is appended to, that is a log itself.
//!
//! A mark goes first and the manifest last. In between the directory is no log, and opening it says
//! so instead of creating one over it. Sealed segments never change, so the copy shares their files
//! by hard links where it can; of the others the durable records are written anew.
//!
//! Rooms: `place` where it goes, `moment` what it is a copy of, this file the copying.
//!
//! INVARIANTS: the log's own directory is only read; everything in the copy is durable, and verified,
//! before it is called a backup. The snapshot of the catalog keeps its files from being removed.
//!
//! Called by `Log`; calls append (for what there is), segment, manifest, verify.

mod moment;
mod place;

use crate::{
    append::{Core, Ledger},
    catalog::Catalog,
    error::{Error, Op, Place, Result},
    format::{Manifest, Owner, manifest::SealedEntry, names},
    manifest::ManifestStore,
    segment::{Builder, TailWriter, copy_below, copy_header, new_incarnation, tail_header},
    types::{SegmentId, Seq},
    verify::{self, FindingKind},
    vfs::{Access, Dir},
};
use moment::Moment;
use std::{io, path::Path};

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

struct Backup<'a> {
    core: &'a Core,
    to: &'a Dir,
    /// Whose it is: it may go on by itself.
    owner: Owner,
    next_id: SegmentId,
    /// Who appended what, as far as it is in the copy.
    ledger: Ledger,
    report: BackupReport,
}

/// Copies everything that is durable by now into a new directory.
pub(crate) fn backup(core: &Core, path: &Path, how: &BackupOptions) -> Result<BackupReport> {
    // A poisoned log has what it has; of one that was closed somebody else may be the writer by now.
    core.check_not_closed(Op::Backup)?;
    let to = Dir::new(core.dir().vfs().clone(), path);
    place::begin(core, &to)?;
    let owner = Owner {
        incarnation: new_incarnation(&to),
        ..core.owner()
    };
    let Moment {
        side_files,
        durable_seq,
        catalog,
        manifest,
        ledger,
    } = Moment::of(core)?;
    if let Some(files) = side_files {
        moment::copy_side_files(core, &to, files, owner)?;
    }
    // Below the first tail all is settled: sealed, or rewound, and then its numbers are not used again.
    let settled_seq = catalog
        .tails
        .first()
        .map_or(0, |tail| tail.context.base_seq);
    let mut backup = Backup {
        core,
        to: &to,
        owner,
        next_id: manifest.next_segment_id,
        ledger,
        report: BackupReport {
            linked_count: 0,
            copied_count: 0,
            frame_bytes: 0,
            head_seq: catalog.head_seq,
            next_seq: durable_seq.max(settled_seq),
        },
    };
    let sealed = backup.segments(&catalog, durable_seq, how)?;
    let tail = backup.tail()?;
    backup.commit(&manifest, sealed, &tail)?;
    backup.verify()?;
    place::end(&to)?;
    Ok(backup.report)
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
    /// All segments of the snapshot, each by its file or with its durable records.
    fn segments(
        &mut self,
        catalog: &Catalog,
        durable_seq: Seq,
        how: &BackupOptions,
    ) -> Result<Vec<SealedEntry>> {
        let mut entries = Vec::new();
        for segment in catalog.sealed.iter() {
            self.sealed(segment.entry.id, how)?;
            entries.push(segment.entry);
        }
        for tail in catalog
            .tails
            .iter()
            .filter(|tail| tail.context.base_seq < durable_seq)
        {
            let header = copy_header(
                self.to,
                self.core.log_id(),
                self.id(),
                tail.context.base_seq,
            );
            let (view, limit) = (tail.view(), tail.written_end());
            let source = (&view, limit);
            // The ledger in memory knows more than is in the copy, and has forgotten what is.
            let entry = copy_below(self.to, header, source, durable_seq, Op::Backup, |record| {
                self.ledger.add_record(record);
            })?;
            if let Some(entry) = entry {
                entries.push(entry);
                self.report.copied_count += 1;
            }
        }
        self.report.frame_bytes = entries.iter().map(|entry| entry.frames_end).sum();
        Ok(entries)
    }

    /// A segment that never changes: shared, or copied.
    fn sealed(&mut self, id: SegmentId, how: &BackupOptions) -> Result<()> {
        let (from, name) = (self.core.dir(), names::segment(id));
        // Whatever keeps it from being linked, another device or no such thing: it can be copied.
        if !how.copy && from.hard_link(&name, self.to).is_ok() {
            self.report.linked_count += 1;
            return Ok(());
        }
        if !copy_file(from, self.to, &name)? {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(at_path(from, &name)(missing));
        }
        self.report.copied_count += 1;
        Ok(())
    }

    fn id(&mut self) -> SegmentId {
        let id = self.next_id;
        self.next_id = SegmentId(id.0 + 1);
        id
    }

    fn tail(&mut self) -> Result<TailWriter> {
        let next_seq = self.report.next_seq;
        let header = tail_header(self.to, self.core.log_id(), self.id(), next_seq);
        let name = names::segment(header.id);
        Builder::create(self.to, header)
            .and_then(Builder::into_tail)
            .map_err(at_path(self.to, &name))
    }

    /// What is remembered of producers and cursors, as of the end of the copy; whether that is anything.
    fn ledger(&mut self, tail_id: SegmentId) -> Result<bool> {
        let (owner, next_seq) = (self.owner, self.report.next_seq);
        // It is stored before the segment that it is for is named, and so may be ahead of what is durable.
        self.ledger.drop_from(next_seq);
        let file = self.ledger.to_file(owner, next_seq, next_seq, tail_id);
        let Some(bytes) = file else { return Ok(false) };
        self.to
            .write_new(names::PRODUCERS, &bytes)
            .map_err(at_path(self.to, names::PRODUCERS))?;
        Ok(true)
    }

    /// Makes what was copied a log.
    fn commit(&mut self, of: &Manifest, sealed: Vec<SealedEntry>, tail: &TailWriter) -> Result<()> {
        let has_ledger = self.ledger(tail.tail.id)?;
        // DURABILITY: after this line every name in the copy survives; no manifest names them yet.
        self.to.sync().map_err(at_path(self.to, ""))?;
        let manifest = Manifest {
            incarnation: self.owner.incarnation,
            has_ledger,
            head_seq: self.report.head_seq,
            next_segment_id: self.next_id,
            durable_seq: self.report.next_seq,
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
        let report = verify::verify(self.to, self.core.options(), |_| {})?;
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
