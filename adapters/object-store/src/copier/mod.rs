//! One writer of a copy, a step at a time: what is new of the log is put, and then a commit that names it.
//!
//! INVARIANTS
//! * What a commit names was put before it, whole, after each batch of it had verified.
//! * A commit follows the one that this writer made or took over, by a number that nobody had: put if absent
//!   is the only decision. What is told was committed, read back, and the newest by then.
//! * A commit that may have been put is tried again as it is, byte for byte, until that is known.
//! * A key is used once. A part that may have been put is put again under another.
//!
//! Rooms: `claim` how it becomes the one writer, `put` what a step puts, `parted` whether what was put is still the log's, `keep`
//! what stays for a log that lets go of it, this file what is committed.

mod claim;
mod keep;
mod options;
mod parted;
mod put;

use crate::{
    collect::Collector,
    error::{Error, Result},
    history::Moment,
    layout::{COMMITS, Commit, File, Object, Set, commit_name, parse_commit},
    store::Store,
};
use bytes::Bytes;
use cairnlog::{
    SegmentId, Seq, StoredLog,
    format::{Manifest, crc32c},
};
pub use options::CopyOptions;
use std::collections::{BTreeMap, BTreeSet};

/// Copies a log into a store, one step after the other, for who drives that himself; [`Replicator`](crate::Replicator)
/// does it in a thread.
///
/// ```
/// use cairnlog::{Log, StoredLog};
/// use cairnlog_object_store::{Copier, CopyOptions, Store};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("precious")?;
/// let store = Store::open(dir.path().join("store").to_str().unwrap())?;
/// let mut copier = Copier::start(log.stored()?, &store, CopyOptions::new())?;
/// assert!(copier.step()?);
/// assert_eq!(copier.end_seq(), 1);
/// assert!(!copier.step()?); // There was nothing new.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Copier {
    log: StoredLog,
    store: Store,
    options: CopyOptions,
    current: Commit,
    checksum: u32,
    set: Set,
    /// What was put of each segment, committed or not.
    known: BTreeMap<SegmentId, File>,
    beside: Beside,
    /// The segments that the next commit is to keep, by their ids and salts.
    asked: BTreeSet<(SegmentId, u64)>,
    next_key: u64,
    /// A commit that may have been put.
    pending: Option<Pending>,
    fenced: Option<u64>,
    collector: Collector,
}

/// What is beside the segments, as it was put last.
#[derive(Debug, Default)]
struct Beside {
    producers: Option<(Bytes, Object)>,
    cursors: Option<(Bytes, Object)>,
}

#[derive(Debug)]
struct Pending {
    commit: Commit,
    bytes: Bytes,
    set: Set,
}

impl Copier {
    /// Has what is known of segments be what the current commit names.
    fn remember(&mut self) {
        let tails = self.current.state.iter().flat_map(|state| &state.tails);
        let files = self.set.files.iter().chain(tails);
        self.known = files.map(|file| (file.id, file.clone())).collect();
    }

    /// The seq after the last record in the store.
    #[must_use]
    pub fn end_seq(&self) -> Seq {
        self.current.end_seq()
    }

    /// The moment that the store shows; `None` before the first step is done.
    #[must_use]
    pub fn moment(&self) -> Option<Moment> {
        Moment::of(&self.current)
    }

    /// The log that is copied.
    #[must_use]
    pub fn log(&self) -> &StoredLog {
        &self.log
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// How far a segment was put, in bytes.
    pub(crate) fn known_bytes(&self, id: SegmentId) -> u64 {
        self.known.get(&id).map_or(0, File::bytes)
    }

    /// Puts what is durable by now and not in the store, and commits it. False if there was nothing new.
    /// After an error it may be called again, and goes on with what was put.
    ///
    /// # Errors
    /// `Fenced` if another writer took the store over, from then on; `Log`, also `Damaged` if a segment was dropped
    /// meanwhile, which the next step sees; `Store`, `TimedOut`, `Damaged`.
    pub fn step(&mut self) -> Result<bool> {
        if let Some(epoch) = self.fenced {
            return Err(Error::Fenced { epoch });
        }
        if self.pending.is_some() {
            self.resolve()?;
        }
        let moment = self.log.moment()?;
        self.check_owner(&moment.manifest)?;
        let (state, set) = self.put(&moment)?;
        if self.current.state.as_ref() == Some(&state) {
            return Ok(false);
        }
        let commit = Commit {
            number: self.current.number + 1,
            taken_ms: self.options.clock.unix_time_ms().max(self.current.taken_ms),
            first: self.collector.first(),
            previous: self.checksum,
            state: Some(state),
            ..self.current.clone()
        };
        let bytes = commit.encode();
        self.pending = Some(Pending { commit, bytes, set });
        self.resolve()?;
        Ok(true)
    }

    /// Deletes a few of the objects that no moment needs any more. True if there may be more of them.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn collect(&mut self) -> Result<bool> {
        match self.fenced {
            Some(epoch) => Err(Error::Fenced { epoch }),
            None => self.collector.step(&self.store, &self.current, &self.set),
        }
    }

    fn check_owner(&self, found: &Manifest) -> Result<()> {
        let current = &self.current;
        match (current.log_id, current.incarnation) == (found.log_id, found.incarnation) {
            true => Ok(()),
            false => Err(Error::OtherLog(
                "another log has taken its directory".into(),
            )),
        }
    }

    /// Puts the commit that is pending, or finds that it was.
    fn resolve(&mut self) -> Result<()> {
        let Some(pending) = &self.pending else {
            return Ok(());
        };
        let name = commit_name(pending.commit.number);
        let put = self.store.put_new(&name, vec![pending.bytes.clone()]);
        let Some((found, put_ms)) = self.store.get(&name)? else {
            // It is not there: then the put failed, and if it did not, somebody deleted what is newest.
            put?;
            return Err(Error::damaged(name, "it was put and is not there"));
        };
        if found != pending.bytes {
            let epoch = Commit::decode(&found).map_or(0, |it| it.epoch);
            self.fenced = Some(epoch);
            return Err(Error::Fenced { epoch });
        }
        self.check_newest_than(pending.commit.number)?;
        let Some(Pending { commit, bytes, set }) = self.pending.take() else {
            return Ok(());
        };
        self.collector
            .committed((&self.current, &self.set), (&commit, &set), put_ms);
        (self.current, self.set, self.checksum) = (commit, set, crc32c(0, &bytes));
        self.remember();
        Ok(())
    }

    fn check_newest(&mut self) -> Result<()> {
        self.check_newest_than(self.current.number)
    }

    /// A number that was collected can be put again. So what was put counts only if nothing is above it.
    fn check_newest_than(&mut self, number: u64) -> Result<()> {
        let above = self.store.list(COMMITS, Some(&commit_name(number)))?;
        let Some(newest) = above.iter().filter_map(|name| parse_commit(name)).max() else {
            return Ok(());
        };
        let epoch = self
            .store
            .commit(newest)?
            .map_or(0, |(commit, ..)| commit.epoch);
        self.fenced = Some(epoch);
        Err(Error::Fenced { epoch })
    }
}
