//! One writer of a copy, a step at a time: what is new of the log is put, and then a commit that names it.
//!
//! INVARIANTS
//! * What a commit names was put before it, whole, after each batch of it had verified.
//! * A commit follows the one that this writer made or took over, by a number that nobody had: put if absent
//!   is the only decision. What is told was committed, read back, and the newest by then.
//! * A commit that may have been put is tried again as it is, byte for byte, until that is known.
//! * A key is used once. A part that may have been put is put again under another.

use crate::{
    collect::Collector,
    error::{Error, Result},
    history::Moment,
    layout::{
        COMMITS, Commit, File, Key, Object, Set, State, commit_name, encode_cursors, parse_commit,
    },
    plan::{PART_BYTES, kept_of_sealed, kept_of_tail},
    store::Store,
};
use bytes::Bytes;
use cairnlog::{
    SegmentId, Seq, StoredFile, StoredLog, StoredMoment, StoredSegment,
    format::{Manifest, crc32c},
    vfs::{RealFs, Vfs},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often a place is asked for while others take it.
const CLAIMS_MAX: usize = 100;

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    pub(crate) keep: Duration,
    pub(crate) take_over: bool,
    pub(crate) clock: Arc<dyn Vfs>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(24 * 3600),
            take_over: false,
            clock: Arc::new(RealFs::default()),
        }
    }
}

impl CopyOptions {
    /// The defaults: moments of the last day are kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a moment can be restored after a newer one was taken, by the store's clock. What no moment needs
    /// any more is deleted. The newest few are always kept. Default: a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Goes on in a store where the same log was copied that has gone on elsewhere since: by one that was restored from
    /// there, as a rule. What is in the store and not in this log stays in the history. Default: no, that is refused.
    #[must_use]
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Where time and randomness come from: for tests. Default: the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Vfs>) -> Self {
        self.clock = clock;
        self
    }
}

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
    /// Takes a store over: whoever copied into it before is fenced off. Nothing is copied yet.
    ///
    /// # Errors
    /// `OtherLog` if the store holds another log, or this one as it went on elsewhere
    /// ([`CopyOptions::take_over`]); `Store`, `TimedOut`, `Damaged`; `Log`.
    pub fn start(log: StoredLog, store: &Store, options: CopyOptions) -> Result<Self> {
        let owner = log.moment()?.manifest;
        let writer = options.clock.random();
        for _ in 0..CLAIMS_MAX {
            let newest = store.newest()?;
            let now_ms = options.clock.unix_time_ms();
            let claim = claim(newest.as_ref(), &owner, &options, (writer, now_ms))?;
            let bytes = claim.encode();
            // Whether it was put is what reading it back says.
            let name = commit_name(claim.number);
            let put = store.put_new(&name, vec![bytes.clone()]);
            match (store.get(&name)?, put) {
                (Some((found, put_ms)), _) if found == bytes => {
                    let checksum = crc32c(0, &bytes);
                    return Self::go_on(log, store, options, (claim, checksum), put_ms);
                }
                (Some(_), _) => {}
                (None, put) => {
                    put?;
                }
            }
        }
        Err(Error::NotFound(
            "others take the store over again and again".into(),
        ))
    }

    fn go_on(
        log: StoredLog,
        store: &Store,
        options: CopyOptions,
        (current, checksum): (Commit, u32),
        put_ms: i64,
    ) -> Result<Self> {
        let set = match &current.state {
            Some(state) => store.set(&state.set)?,
            None => Set {
                sealed: Vec::new(),
                files: Vec::new(),
            },
        };
        let collector = Collector::new(&current, put_ms, options.keep);
        let mut copier = Self {
            log,
            store: store.clone(),
            options,
            checksum,
            known: BTreeMap::new(),
            set,
            beside: Beside::default(),
            next_key: 0,
            pending: None,
            fenced: None,
            collector,
            current,
        };
        copier.check_newest()?;
        copier.remember();
        Ok(copier)
    }

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

    // What is put ---------------------------------------------------------------------------------------

    /// Puts what the store has not got of a moment.
    fn put(&mut self, moment: &StoredMoment) -> Result<(State, Set)> {
        let mut sealed = Vec::new();
        let (mut files, mut tails) = (Vec::new(), Vec::new());
        for segment in &moment.segments {
            match segment.sealed_entry() {
                Some(entry) => {
                    sealed.push(*entry);
                    files.push(self.put_sealed(segment)?);
                }
                None => tails.push(self.put_tail(segment)?),
            }
        }
        let set = Set { sealed, files };
        let object = match &self.current.state {
            Some(state) if self.set == set => state.set,
            _ => self.put_object(vec![set.encode(&moment.manifest)])?,
        };
        let producers = moment.producers.as_deref().map(Bytes::copy_from_slice);
        let cursors = (!moment.cursors.is_empty()).then(|| encode_cursors(&moment.cursors));
        let state = State {
            manifest: Manifest {
                sealed: Vec::new(),
                ..moment.manifest.clone()
            },
            set: object,
            producers: self.put_beside(|it| &mut it.producers, producers)?,
            cursors: self.put_beside(|it| &mut it.cursors, cursors)?,
            tails,
        };
        Ok((state, set))
    }

    fn put_beside(
        &mut self,
        which: impl Fn(&mut Beside) -> &mut Option<(Bytes, Object)>,
        wanted: Option<Bytes>,
    ) -> Result<Option<Object>> {
        let Some(wanted) = wanted else {
            // What no commit names any more is not named again.
            *which(&mut self.beside) = None;
            return Ok(None);
        };
        if let Some((bytes, object)) = which(&mut self.beside)
            && *bytes == wanted
        {
            return Ok(Some(*object));
        }
        let object = self.put_object(vec![wanted.clone()])?;
        *which(&mut self.beside) = Some((wanted, object));
        Ok(Some(object))
    }

    /// What is known of a segment; nothing, if another was known under its id.
    fn known(&self, segment: &StoredSegment) -> File {
        let known = self.known.get(&segment.id());
        let same = known.filter(|file| file.salt == segment.salt());
        same.cloned().unwrap_or_else(|| File {
            id: segment.id(),
            salt: segment.salt(),
            parts: Vec::new(),
            finished: false,
        })
    }

    fn put_sealed(&mut self, segment: &StoredSegment) -> Result<File> {
        let mut file = self.known(segment);
        if file.finished && file.bytes() >= segment.frames_end() {
            return Ok(file);
        }
        file.finished = false;
        file.parts
            .truncate(kept_of_sealed(&file.parts, segment.frames_end()));
        let opened = segment.open()?;
        let footer = opened.footer()?.unwrap_or_default();
        // A rewind may have ended it before what was put: what lies behind its end means nothing.
        if file.bytes() <= segment.frames_end() {
            self.put_parts(&mut file, segment, &opened, footer)?;
        }
        file.finished = true;
        self.known.insert(file.id, file.clone());
        Ok(file)
    }

    fn put_tail(&mut self, segment: &StoredSegment) -> Result<File> {
        let mut file = self.known(segment);
        if file.bytes() < segment.frames_end() {
            file.parts.truncate(kept_of_tail(&file.parts));
            self.put_parts(&mut file, segment, &segment.open()?, Bytes::new())?;
        }
        Ok(file)
    }

    /// Puts the bytes of a segment behind the parts that it has, and last what stands behind its frames.
    fn put_parts(
        &mut self,
        file: &mut File,
        segment: &StoredSegment,
        opened: &StoredFile,
        footer: Bytes,
    ) -> Result<()> {
        let mut footer = Some(footer).filter(|it| !it.is_empty());
        loop {
            let offset = file.bytes();
            let mut pieces = Vec::new();
            if offset < segment.frames_end() {
                pieces.push(opened.read(offset, PART_BYTES as usize)?);
            }
            let end = offset + pieces.iter().map(|it| it.len() as u64).sum::<u64>();
            if end == segment.frames_end() {
                pieces.extend(footer.take());
            }
            if pieces.is_empty() {
                return Ok(());
            }
            let part = self.put_object(pieces)?;
            file.parts.push(part);
            self.known.insert(file.id, file.clone());
            if end == segment.frames_end() {
                return Ok(());
            }
        }
    }

    fn put_object(&mut self, pieces: Vec<Bytes>) -> Result<Object> {
        let key = Key {
            epoch: self.current.epoch,
            number: self.next_key,
        };
        self.next_key += 1;
        let object = Object {
            key,
            bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
            checksum: pieces.iter().fold(0, |crc, piece| crc32c(crc, piece)),
        };
        // Until a commit names it, it is nobody's.
        self.collector.put(key);
        if !self.store.put_new(&key.name(), pieces)? {
            // The store may have tried twice by itself. Else somebody has this epoch as well.
            self.store.object(&object)?;
        }
        Ok(object)
    }
}

/// What a writer that takes over commits first: the state as it is, in an epoch of its own.
fn claim(
    newest: Option<&(Commit, u32)>,
    owner: &Manifest,
    options: &CopyOptions,
    (writer, now_ms): (u64, i64),
) -> Result<Commit> {
    let own = Commit {
        number: 1,
        epoch: 1,
        writer,
        taken_ms: now_ms,
        first: 1,
        previous: 0,
        log_id: owner.log_id,
        incarnation: owner.incarnation,
        state: None,
    };
    let Some((newest, checksum)) = newest else {
        return Ok(own);
    };
    if newest.log_id != owner.log_id {
        return Err(Error::OtherLog("the store holds another log".into()));
    }
    let is_other = newest.incarnation != owner.incarnation;
    if is_other && !options.take_over {
        return Err(Error::OtherLog(
            "the store holds this log as it went on elsewhere; it has to be said that this one takes over".into(),
        ));
    }
    Ok(Commit {
        number: newest.number + 1,
        epoch: newest.epoch + 1,
        taken_ms: now_ms.max(newest.taken_ms),
        first: newest.first,
        previous: *checksum,
        state: newest.state.clone(),
        ..own
    })
}
