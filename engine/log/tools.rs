//! What can be asked of a log's directory without opening it for writing, and past damage.

use crate::{
    error::Result,
    options::Options,
    read::Reader,
    recover,
    repair::{self, RepairOptions, RepairReport, SalvageReport, Salvaged},
    sync::Arc,
    types::SegmentId,
    verify::{self, Inspected, Progress, RecoveryPlan, VerifyReport},
    vfs::Dir,
};
use std::path::Path;

impl Options {
    fn dir(&self, path: impl AsRef<Path>) -> Dir {
        Dir::new(self.vfs.clone(), path.as_ref())
    }

    /// A reader of the log as it is now, without the lock and without writing anything. It shows what
    /// the disk attests to be durable; with [`Reader::including_written`] all that recovery would keep.
    ///
    /// # Errors
    /// `NotFound`; `Damaged`, where [`read_salvage`](Self::read_salvage) goes on; `Io`.
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Reader> {
        let (catalog, watermark) = recover::snapshot(&self.dir(path), self)?;
        Ok(Reader::new(Arc::new(catalog), Arc::new(watermark)))
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
        verify::inspect(&self.dir(path), segment, each)
    }

    /// Makes a damaged log whole again without the records that do not verify; a dry run by default.
    /// Every byte that leaves the log is kept in `quarantine/`, and every lost seq is named.
    ///
    /// # Errors
    /// `Damaged` if records, or the ledger of producers, would be lost and that was not accepted; `Locked`; `NoSpace`; `Io`.
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
        repair::read_salvage(&self.dir(path), each)
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
