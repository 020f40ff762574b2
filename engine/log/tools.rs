//! What can be asked of a log's directory without opening it for writing, and past damage.

use crate::{
    backup::{self, BackupOptions, BackupReport, StoredLog},
    error::{Op, Result},
    options::{Options, ReadMode},
    read::{Follower, Reader},
    recover,
    repair::{self, RepairOptions, RepairReport, SalvageReport, Salvaged},
    types::SegmentId,
    verify::{self, Inspected, Progress, RecoveryPlan, VerifyReport},
    vfs::Dir,
};
use std::path::Path;

impl Reader {
    /// Opens a log for reading while another process writes it, or none does. Takes no lock, writes
    /// nothing, and never holds the writer up.
    ///
    /// Every call looks at a small file first, and sees what is durable by then, through rotation,
    /// trim, rewind and compaction. [`tail`](Self::tail) waits for more, woken by the system and not
    /// by polling (where that has no way to: every 10 ms, or 100 if nothing came for long). The writer tells how far the log is durable
    /// in the file `WATERMARK`, after each sync. Without it ([`Options::publish`]), or after a power
    /// cut, a reader shows what the batches and the manifest attest. With
    /// [`including_written`](Self::including_written) it shows all that verifies.
    ///
    /// If the writer dies, a reader has what was durable, and waits; the next writer's recovery keeps
    /// all of that, and the reader goes on with it. Removing the directory is an error for its
    /// readers. So is putting another log in its place; do not put an older copy of the same log there.
    ///
    /// ```
    /// use cairnlog::{Log, Reader};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("log");
    /// let log = Log::open(&path)?;
    /// let reader = Reader::open(&path)?; // As well in another process.
    /// log.append("news")?;
    /// assert_eq!(reader.get(0)?.as_deref(), Some(&b"news"[..]));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`, also while the log is being created; `Damaged` if the manifest does not verify; `Io`.
    /// Other damage is told by what reads, behind all that verifies: a walk to the end gives each record
    /// before it, and then `Damaged`. [`Options::read_salvage`] goes on past it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_reader(path)
    }
}

impl Options {
    fn dir(&self, path: impl AsRef<Path>) -> Dir {
        Dir::new(self.vfs.clone(), path.as_ref())
    }

    /// A reader of a log that another process may be writing: see [`Reader::open`].
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_reader(&self, path: impl AsRef<Path>) -> Result<Reader> {
        self.follow(self.dir(path)).map(Reader::following)
    }

    fn follow(&self, dir: Dir) -> Result<Follower> {
        let readable = recover::check_readable(&dir, self)?;
        let known = (readable.attested_seq, readable.damage);
        Follower::new(dir, self, known)
    }

    /// A log as it is stored: see [`StoredLog`]. Of the options only those of reading count.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_stored(&self, path: impl AsRef<Path>) -> Result<StoredLog> {
        self.stored(self.dir(path))
    }

    pub(super) fn stored(&self, dir: Dir) -> Result<StoredLog> {
        // By position: a mapping ends with the frames, and a disk that fails must not take the process along.
        let options = self.clone().read_mode(ReadMode::Positional);
        let follower = options.follow(dir.clone())?;
        Ok(StoredLog::new(dir, follower))
    }

    /// Copies a log that another process may be writing into a directory, which is a log itself: as
    /// [`Log::backup_with`](crate::Log::backup_with), without the lock. It is of one moment, and holds what a [`Reader`] would have shown
    /// at it. What the last writer wrote but nobody had called durable when it died is not in it; opening the
    /// log for writing settles that.
    ///
    /// ```
    /// use cairnlog::{BackupOptions, Log};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?; // As well in another process.
    /// log.append("precious")?;
    /// let how = BackupOptions::new();
    /// let report = Log::options().backup(dir.path().join("log"), dir.path().join("backup"), &how)?;
    /// assert_eq!(report.next_seq, 1);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::backup`](crate::Log::backup); `NotFound`; `Unsupported` if a newer program wrote a part of it; `Locked` if the
    /// cursors change so often that no moment could be seen.
    pub fn backup(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        how: &BackupOptions,
    ) -> Result<BackupReport> {
        let dir = self.dir(from);
        let (facts, _) = recover::plan(&dir, self)?;
        recover::refuse_newer(&facts, Op::Backup)?;
        let follower = self.follow(dir.clone())?;
        backup::backup_beside(&dir, self, &follower, to.as_ref(), how)
    }

    /// What opening would do, without doing it.
    ///
    /// # Errors
    /// `NotFound`, `Io`. Damage is part of the answer.
    pub fn plan(&self, path: impl AsRef<Path>) -> Result<RecoveryPlan> {
        verify::plan(&self.dir(path), self)
    }

    /// Reads everything, writes nothing, and lists what does not verify.
    ///
    /// # Errors
    /// `NotFound`, `Io`. Damage is part of the answer.
    pub fn verify(&self, path: impl AsRef<Path>) -> Result<VerifyReport> {
        self.verify_with(path, |_| {})
    }

    /// As [`verify`](Self::verify), telling how far it has come.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_with(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(Progress),
    ) -> Result<VerifyReport> {
        verify::verify(&self.dir(path), self, progress)
    }

    /// Shows a segment file frame by frame.
    ///
    /// # Errors
    /// `Io`. What does not verify is shown as such.
    pub fn inspect(
        &self,
        path: impl AsRef<Path>,
        segment: SegmentId,
        each: impl FnMut(Inspected<'_>),
    ) -> Result<()> {
        verify::inspect(&self.dir(path), segment, self, each)
    }

    /// Makes a damaged log whole again without the records that do not verify; a dry run by default.
    /// Every byte that leaves the log is kept in `quarantine/`, and every lost seq is named.
    ///
    /// # Errors
    /// `Damaged` if records, or the ledger of producers, would be lost and that was not accepted; `KeyMissing` if nothing opens
    /// that is sealed under a key, which is another one then; `Locked`; `NoSpace`; `Io`.
    pub fn repair(&self, path: impl AsRef<Path>, how: RepairOptions) -> Result<RepairReport> {
        repair::repair(&self.dir(path), self, how)
    }

    /// Reads every record that verifies, in order, past whatever does not, which is told as gaps.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_salvage(
        &self,
        path: impl AsRef<Path>,
        each: impl FnMut(Salvaged<'_>),
    ) -> Result<()> {
        repair::read_salvage(&self.dir(path), self, each).map(|_| ())
    }

    /// Writes every record that verifies into a new log, with its number and time. The old one is
    /// left as it is; it may even have lost its manifest.
    ///
    /// # Errors
    /// `InvalidInput` if the new directory is not empty; `NoSpace`; `Io`.
    pub fn salvage(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<SalvageReport> {
        repair::salvage_into(&self.dir(from), &self.dir(to), self)
    }
}
