//! The journeys of consuming: a cursor with a consumer reads on where it left off, and a queue deals
//! the records out to many workers.
//!
//! Rooms: `options` what can be asked for, `standing` where a cursor is, `position` one in use, `count` and `ahead`
//! deliveries, `output` records that move it, `bell` waiting, `consumer` and `stream` one reader; `deal`, `handed` and `held` who has
//! which record, `letters` those that nobody gets done, `backoff` how long they wait, `lease`, `queue` and `later` many workers, as
//! threads and as tasks.
//!
//! INVARIANTS: a record is given again until it was acknowledged; what is acknowledged is durable
//! when the call returns; records appended together with a move are in the log if and only if the
//! cursor has moved.
//!
//! Called by applications; calls `Log`, whose client it is, and cursor.

mod ahead;
mod backoff;
mod bell;
mod consumer;
mod count;
mod deal;
mod handed;
mod held;
#[cfg(feature = "async")]
mod later;
mod lease;
mod letters;
mod options;
mod output;
mod position;
mod queue;
mod standing;
#[cfg(feature = "async")]
mod stream;

pub use backoff::Backoff;
pub use consumer::Consumer;
pub use deal::InFlight;
pub use lease::Lease;
pub use options::{ConsumerOptions, CursorInfo, QueueOptions, Start};
pub use queue::Queue;
#[cfg(feature = "async")]
pub use stream::ConsumerStream;

use crate::{
    cursor::{self, Standing},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        cursor::{CursorFile, is_name},
        names,
    },
    log::Log,
    options::{Options, Retention},
    recover,
    retain::{self, RetainReport},
    types::Seq,
    vfs::Dir,
};
use position::{Position, check_seq};
use std::path::Path;

impl Log {
    /// The consumer of this name: it reads on where it was acknowledged last, or from the head if the
    /// name is new. A name is 1 to 255 bytes without control characters.
    ///
    /// ```
    /// use cairnlog::Log;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// log.append_batch(["first", "second"])?;
    /// let mut mailer = log.consumer("mailer")?;
    /// let record = mailer.try_next()?.expect("there is one");
    /// mailer.ack(record.seq())?; // Durable: it is never given again.
    /// drop(mailer);
    /// let mut mailer = log.consumer("mailer")?;
    /// assert_eq!(&*mailer.try_next()?.expect("there is one"), b"second");
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Locked` if the name has a consumer already; `InvalidInput` for what is no name; `Damaged` with
    /// the place if its cursor does not verify; `Poisoned`, `Closed`, `NoSpace`, `Io`.
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        self.consumer_with(name, &ConsumerOptions::new())
    }

    /// As [`consumer`](Self::consumer), saying where a new cursor starts and whether it holds.
    ///
    /// # Errors
    /// As [`consumer`](Self::consumer); `InvalidInput` for a start beyond the end.
    pub fn consumer_with(&self, name: &str, options: &ConsumerOptions) -> Result<Consumer> {
        self.core().check_usable(Op::Consume)?;
        let living; // Dropped once the lock is free.
        let mut in_use = self.cursor_files().in_use();
        living = position::living(&in_use);
        if let Some(known) = living.iter().find(|it| it.name() == name) {
            return Ok(Consumer::new(known.take_over(options.holds)?));
        }
        let standings = self.cursor_files().standings(self.core())?;
        let last_id = standings.last().map_or(0, |standing| standing.id);
        let mut file = match find(standings, name)? {
            Some(file) => file,
            None => self.new_cursor(name, last_id, options)?,
        };
        file.holds = options.holds.unwrap_or(file.holds);
        // Also if it was found as it is to be: that may be in the page cache only, after a sync that
        // failed, and then a move that rides on records would be of a cursor that is not there.
        self.store(&mut file)?;
        let hand = Position::begin(self.clone(), file, &mut in_use);
        drop(in_use);
        Ok(Consumer::new(hand))
    }

    fn new_cursor(
        &self,
        name: &str,
        last_id: u64,
        options: &ConsumerOptions,
    ) -> Result<CursorFile> {
        let refuse = |note| Error::note(ErrorKind::InvalidInput, Op::Consume, note);
        if !is_name(name) {
            let note = "a cursor's name is 1 to 255 bytes without control characters";
            return Err(refuse(note));
        }
        let seq = match options.start {
            Start::Head => self.head_seq(),
            Start::End => self.durable_seq(),
            Start::Seq(seq) => seq,
        };
        check_seq(self, seq)?;
        Ok(CursorFile {
            log_id: self.id(),
            incarnation: self.core().owner().incarnation,
            id: last_id
                .checked_add(1)
                .ok_or_else(|| refuse("no cursor id is left"))?,
            seq,
            as_of_seq: 0,
            // Of a former cursor of this id there may be moves in the log yet.
            generation: self.core().cursors().top_generation(),
            updated_ms: 0,
            holds: false,
            name: name.to_owned(),
            pending: Vec::new(),
        })
    }

    /// Stores where a cursor is, as of now.
    fn store(&self, file: &mut CursorFile) -> Result<()> {
        file.as_of_seq = self.durable_seq();
        file.generation += 1;
        file.updated_ms = self.core().dir().vfs().unix_time_ms();
        self.core().store_cursor(file)
    }

    /// The cursors in the order in which they were created. One that does not verify is listed under
    /// the name of its file, with what is wrong.
    ///
    /// # Errors
    /// `Io`.
    pub fn cursors(&self) -> Result<Vec<CursorInfo>> {
        let end_seq = self.durable_seq();
        let standings = self.cursor_files().standings(self.core())?;
        Ok(standings.into_iter().map(|it| info(it, end_seq)).collect())
    }

    /// Moves a cursor that nobody uses, back or forth; durable when it returns.
    ///
    /// # Errors
    /// `NotFound`; `Locked` while it has a consumer; `InvalidInput` beyond the end; as
    /// [`consumer`](Self::consumer).
    pub fn set_cursor(&self, name: &str, seq: Seq) -> Result<()> {
        check_seq(self, seq)?;
        let living; // Dropped once the lock is free.
        let in_use = self.cursor_files().in_use();
        living = position::living(&in_use);
        if let Some(known) = living.iter().find(|it| it.name() == name) {
            known.check_free()?;
            known.set(seq)?;
            return known.stored();
        }
        let known = find(self.cursor_files().standings(self.core())?, name)?;
        let mut file = known.ok_or_else(|| unknown(name))?;
        file.seq = seq;
        file.pending.clear();
        self.store(&mut file)
    }

    /// Removes a cursor that nobody uses, by its name; one that does not verify, by its file's.
    ///
    /// # Errors
    /// `NotFound`; `Locked` while it has a consumer; `Poisoned`, `Closed`, `Io`.
    pub fn delete_cursor(&self, name: &str) -> Result<()> {
        let living; // Dropped once the lock is free.
        let mut in_use = self.cursor_files().in_use();
        living = position::living(&in_use);
        let standings = self.cursor_files().standings(self.core())?;
        let is_it = |standing: &&Standing| match &standing.file {
            Ok(file) => file.name == name,
            Err(_) => names::cursor(standing.id) == name,
        };
        let found = standings.iter().find(is_it);
        let id = found.ok_or_else(|| unknown(name))?.id;
        if let Some(known) = living.iter().find(|it| it.id() == id) {
            known.check_free()?;
            known.retire();
            in_use.remove(&id);
        }
        self.core().remove_cursor(id)
    }
}

impl Options {
    /// What [`Log::retain`](crate::Log::retain) would do, without the lock and without doing it. The
    /// cursors that hold count as they are stored.
    ///
    /// ```
    /// use cairnlog::{Log, Options, Retention};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("log");
    /// let log = Log::open(&path)?;
    /// log.append("kept: what is in the tail is never dropped")?;
    /// let plan = Options::new().plan_retain(&path, &Retention::new().bytes_max(0))?;
    /// assert_eq!((plan.segment_count, plan.head_seq), (0, 0));
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_reader`](Self::open_reader).
    pub fn plan_retain(&self, path: impl AsRef<Path>, limits: &Retention) -> Result<RetainReport> {
        let reader = self.open_reader(&path)?;
        let cursors = self.cursors(path)?;
        let (whole, damaged): (Vec<_>, Vec<_>) =
            (cursors.iter()).partition(|cursor| cursor.defect.is_none());
        let held = whole.iter().filter(|cursor| cursor.holds);
        let held_seq = held.map(|cursor| cursor.seq).min();
        let now_ms = self.vfs.unix_time_ms();
        let catalog = reader.catalog()?;
        let mut report = retain::plan(&catalog, limits, held_seq, now_ms);
        let file = |cursor: &&CursorInfo| Path::new(names::CURSORS).join(&cursor.name);
        report.damaged_cursors = damaged.iter().map(file).collect();
        Ok(report)
    }

    /// The cursors of a log, without the lock and without writing anything: as
    /// [`Log::cursors`], of what the disk attests to be durable.
    ///
    /// # Errors
    /// As [`open_reader`](Self::open_reader).
    pub fn cursors(&self, path: impl AsRef<Path>) -> Result<Vec<CursorInfo>> {
        let dir = Dir::new(self.vfs.clone(), path.as_ref());
        // First what is remembered, then the records that say more: never a gap between the two.
        let (owner, mut ledger) = recover::ledger(&dir)?;
        let moves = recover::moved_cursors(&dir)?;
        let reader = self.open_reader(path)?;
        let first = ledger.next_seq().max(reader.head_seq());
        let walked = reader.producers(first, |seq, producer| ledger.add_next(seq, producer));
        if walked.is_err() {
            // A segment may be gone by now, and only a walk looks for what is there instead.
            let mut scan = reader.scan(ledger.next_seq().max(reader.head_seq())..)?;
            while let Some(record) = scan.next_ref() {
                ledger.add_record(&record?);
            }
        }
        let end_seq = reader.end_seq();
        let stand = |standing: Standing| {
            let (known, moved) = (moves.known(standing.id), ledger.moved(standing.id, end_seq));
            info(standing.moved(known, moved), end_seq)
        };
        Ok(cursor::files(&dir, owner)?.into_iter().map(stand).collect())
    }
}

/// The cursor of a name. If there is none, and one does not verify, that may be it.
fn find(standings: Vec<Standing>, name: &str) -> Result<Option<CursorFile>> {
    let mut damaged = None;
    for standing in standings {
        match standing.into_file() {
            Ok(file) if file.name == name => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) => damaged = Some(error),
        }
    }
    damaged.map_or(Ok(None), Err)
}

fn info(standing: Standing, end_seq: Seq) -> CursorInfo {
    match standing.file {
        Ok(file) => CursorInfo {
            lag: end_seq.saturating_sub(file.seq),
            seq: file.seq,
            holds: file.holds,
            updated_ms: file.updated_ms,
            pending_count: file.pending.len(),
            name: file.name,
            defect: None,
        },
        Err(defect) => CursorInfo {
            name: names::cursor(standing.id),
            seq: 0,
            lag: 0,
            holds: false,
            updated_ms: 0,
            pending_count: 0,
            defect: Some(defect),
        },
    }
}

fn unknown(name: &str) -> Error {
    let note = "there is no cursor of this name";
    Error::note(ErrorKind::NotFound, Op::Consume, note).at(Place::file(name))
}
