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
//!
//! Rooms: `aside` the directory, `fetch` its files, `renew` what makes them another incarnation.

mod aside;
mod fetch;
mod renew;

use crate::{
    error::{Error, Result},
    history::{Moment, To},
    store::Store,
};
use aside::{Aside, READY};
use cairnlog::{
    FindingKind, Options, ReadMode,
    format::Manifest,
    vfs::{RealFs, Vfs},
};
use std::{fmt, io, path::Path, sync::Arc};

/// How a log is restored.
#[derive(Clone)]
pub struct RestoreOptions {
    log: Options,
    vfs: Arc<dyn Vfs>,
    progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
}

impl fmt::Debug for RestoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let aside = Aside::new(&*self.vfs, dir);
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
            .find(|it| it.kind > FindingKind::Derived)
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
