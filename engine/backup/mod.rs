//! The journey of a backup: a copy of the log, made while it is appended to, that is a log itself.
//!
//! A mark goes first and the manifest last. In between the directory is no log, and opening it says
//! so instead of creating one over it. Sealed segments never change, so the copy shares their files
//! by hard links where it can; of the others the durable records are written anew. The mark stays, and says what
//! this is a copy of: so a later backup brings it up to date, unless somebody opened it.
//!
//! Rooms: `place` where it goes, `former` what is there already, `moment` what it is a copy of, `copying` the files,
//! `far` those that live elsewhere, `parted` whether what is kept is still the log's, `commit` what makes them the log;
//! `stored` is for who copies by himself.
//!
//! INVARIANTS: the log's own directory is only read; everything in the copy is durable, and verified,
//! before it is called a backup; one that was there is what it was until the commit of the next. The snapshot of
//! the catalog keeps its files from being removed; not so
//! where another process writes: if a file is gone the copy is one of a later moment, and keeps what the
//! two have in common.
//!
//! Called by `Log`; calls append and read (for what there is), segment, manifest, recover, verify.

mod commit;
mod copying;
mod far;
mod former;
mod moment;
mod parted;
mod place;
mod stored;

use crate::{
    append::Core,
    error::{Error, Op, Place, Result},
    format::Owner,
    options::Options,
    read::Follower,
    types::Seq,
    vfs::{Access, Dir},
};
use copying::Backup;
use former::Former;
use moment::Moment;
use std::{io, path::Path};
pub use stored::{StoredFile, StoredLog, StoredMoment, StoredSegment};

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
    /// Default: no, sealed segments are hard links where the file system allows it. A backup that shares files
    /// already is refused then: make another.
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
    /// Segments whose file the log and the backup came to share.
    pub linked_count: u64,
    /// Segments that were copied, or written anew.
    pub copied_count: u64,
    /// Segments that were there already, of an earlier backup.
    pub kept_count: u64,
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

/// Copies everything that is durable by now into a directory: a new one, or one that has an earlier copy.
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
    place::check_outside(origin.dir, &to)?;
    let former = Former::find(&origin, &to, how)?;
    if former.is_none() {
        place::begin(origin.dir, &to)?;
    }
    let mut backup = Backup::new(origin, &to, how, former);
    let moment = backup.sealed_of_a_moment(look)?;
    backup.others(moment)
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
