//! The journey of an append: check, queue, and by group commit to the disk.
//!
//! Any number of threads queue records; one at a time leads. The leader takes everything queued for
//! the segment, writes it with one positional write, makes it durable with one sync, and hands on
//! the lead. While a sync is in flight the next group gathers.
//!
//! Rooms: `record` what comes in, `queue` order and place, `group` bytes, `lead` write and sync,
//! `maintain` sealing and preparing segments, `worker` the background thread, `ticket` waiting.
//!
//! INVARIANTS: seqs are given under the queue's lock, in the order of the bytes; only the leader
//! touches the writer; the durable watermark rises only after a sync has returned success; after a
//! failed sync nothing is written any more; a failed write is cut back durably before its error is
//! told.
//!
//! Called by `Log`; calls segment, manifest, catalog.

mod completion;
mod group;
mod lead;
mod maintain;
mod queue;
mod record;
mod ticket;
mod worker;

pub use record::{AppendOptions, NewRecord};
pub use ticket::Ticket;

pub(crate) use maintain::create_spare;

use crate::{
    catalog::{CatalogCell, Level, Watermark},
    error::{Error, ErrorKind, Op, Result},
    format::Manifest,
    manifest::ManifestStore,
    observe::{Counters, event},
    options::{Durability, Options},
    segment::{Tail, TailWriter},
    sync::{Arc, Condvar, JoinHandle, Mutex},
    types::{LogId, SegmentId, Seq},
    vfs::{Dir, VfsFile},
};
use queue::State;
use std::ops::Range;

/// A file prepared for the next rotation.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    pub(crate) file: std::sync::Arc<dyn VfsFile>,
    /// Its length: zeros throughout.
    pub(crate) allocated: u64,
}

/// What a log consists of while it is open; recovery hands it over.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) dir: Dir,
    pub(crate) log_id: LogId,
    pub(crate) manifest: ManifestStore,
    pub(crate) catalog: Arc<CatalogCell>,
    pub(crate) watermark: Arc<Watermark>,
    pub(crate) writer: TailWriter,
    pub(crate) spare: Option<Spare>,
}

/// Only the leader locks it, so it is never contended.
#[derive(Debug)]
struct Writer {
    tail: TailWriter,
    /// Segments behind the tail that are finished and wait for their seal.
    finished: Vec<TailWriter>,
    /// Segments with frames that no sync covers yet, oldest first.
    unsynced: Vec<Arc<Tail>>,
}

/// The shared heart of appending.
#[derive(Debug)]
pub(crate) struct Core {
    options: Options,
    dir: Dir,
    log_id: LogId,
    manifest: ManifestStore,
    catalog: Arc<CatalogCell>,
    watermark: Arc<Watermark>,
    counters: Counters,
    state: Mutex<State>,
    /// Signals room in the queue, a free lead.
    room: Condvar,
    /// Signals the worker.
    work: Condvar,
    writer: Mutex<Writer>,
    /// Held while segments are sealed and prepared.
    maintenance: Mutex<()>,
}

/// The one who appends.
#[derive(Debug)]
pub(crate) struct Appender {
    core: Arc<Core>,
    worker: Mutex<Option<JoinHandle>>,
}

impl Appender {
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let next_seq = parts.writer.summary.next_seq;
        let state = State::new(
            parts.writer.tail.clone(),
            parts.writer.summary.end,
            next_seq,
        );
        let background = parts.options.background;
        let core = Arc::new(Core {
            state: Mutex::new(State {
                spare: parts.spare,
                ..state
            }),
            options: parts.options,
            dir: parts.dir,
            log_id: parts.log_id,
            manifest: parts.manifest,
            catalog: parts.catalog,
            watermark: parts.watermark,
            counters: Counters::default(),
            room: Condvar::new(),
            work: Condvar::new(),
            writer: Mutex::new(Writer {
                tail: parts.writer,
                finished: Vec::new(),
                unsynced: Vec::new(),
            }),
            maintenance: Mutex::new(()),
        });
        let worker = if background {
            Some(worker::start(&core)?)
        } else {
            None
        };
        Ok(Self {
            core,
            worker: Mutex::new(worker),
        })
    }

    /// Appends records, all of them or none, and waits for the level asked for.
    pub(crate) fn append(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        let level = how.durability.unwrap_or(self.core.options.durability);
        let (seqs, done) = self.core.enqueue(records, how.expected_seq, level)?;
        if let Some(done) = done {
            self.core.wait(&done, level)?;
        }
        Ok(seqs)
    }

    /// Queues records and gives a ticket for the level asked for.
    pub(crate) fn submit(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<Ticket> {
        let level = how.durability.unwrap_or(self.core.options.durability);
        let (seqs, done) = self.core.enqueue(records, how.expected_seq, level)?;
        self.core.nudge_worker();
        Ok(Ticket::new(self.core.clone(), seqs, done, level))
    }

    /// Makes everything appended so far durable; gives the seq below which it is.
    pub(crate) fn sync(&self) -> Result<Seq> {
        self.core.sync()
    }

    /// Ends the segment: the next append begins a new one.
    pub(crate) fn rotate(&self) -> Result<()> {
        self.core.rotate()?;
        self.core.maintain(Op::Rotate)?;
        Ok(())
    }

    /// One step of the background work: true if there was something to do.
    pub(crate) fn maintain(&self) -> Result<bool> {
        let wrote = self.core.write_buffered()?;
        Ok(self.core.maintain(Op::Rotate)? || wrote)
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.core.state.lock().next_seq
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.core.state.lock().queued_bytes as u64
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.core.counters
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Closes in order: everything durable, segments sealed, the end named in the manifest. Further
    /// calls do nothing.
    pub(crate) fn close(&self) -> Result<()> {
        {
            let mut state = self.core.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return Ok(());
            }
        }
        let synced = self.core.sync();
        self.core.stop_worker();
        if let Some(worker) = self.worker.lock().take() {
            // A panic of the worker has already poisoned the log; that is what is reported.
            worker.join().ok();
        }
        // Even where buffered records were lost, and `synced` tells so, the log has an end to name.
        let ended = self.core.commit_end();
        let closed = synced.and(ended);
        self.core.watermark.end();
        event!(info, "closed", clean = closed.is_ok());
        closed
    }

    /// Runs `change` while nobody writes and nothing is queued or unsynced: for changes to the end of
    /// the log. Gives it the writer of the tail, which it may replace.
    pub(crate) fn exclusively<T>(
        &self,
        op: Op,
        change: impl FnOnce(&Core, &mut TailWriter, Seq) -> Result<T>,
    ) -> Result<T> {
        self.core.exclusively(op, change)
    }
}

impl Core {
    /// Waits until the group has come to the level, leading whenever nobody else does.
    fn wait(&self, done: &Arc<completion::Completion>, level: Durability) -> Result<()> {
        loop {
            let state = self.state.lock();
            if let Some(outcome) = done.reached(level) {
                return outcome;
            }
            if state.leading {
                done.register();
                drop(state);
                done.park(level);
            } else {
                self.lead(state);
            }
        }
    }

    fn sync(&self) -> Result<Seq> {
        let done = self.enqueue_sync()?;
        if let Some(done) = done {
            self.wait(&done, Durability::Durable)?;
        }
        let lost = self.state.lock().lost_buffered.take();
        lost.map_or_else(|| Ok(self.watermark.get(Level::Durable)), Err)
    }

    /// Names the end in the manifest, so that later damage to it is provable: if all that was written
    /// is durable, and no sync failed.
    fn commit_end(&self) -> Result<()> {
        Self::check_open(&self.state.lock(), Op::Sync)?;
        self.maintain_finished(Op::Close)?;
        let durable_seq = self.durable_seq();
        let (tail_id, end) = {
            let writer = self.writer.lock();
            if writer.tail.summary.next_seq != durable_seq {
                return Ok(());
            }
            (writer.tail.tail.id, writer.tail.summary.end)
        };
        self.manifest.commit(Op::Close, |manifest| {
            if manifest.tail.id == tail_id {
                manifest.durable_seq = durable_seq;
                manifest.durable_end = end;
                manifest.clean = true;
            }
        })
    }

    /// Commits a change of what the log holds. If it stays undecided whether the change is in force,
    /// the log is poisoned: what would be appended now might go into a segment that is not part of it.
    pub(crate) fn commit(&self, op: Op, edit: impl FnOnce(&mut Manifest)) -> Result<()> {
        let Err(error) = self.manifest.commit(op, edit) else {
            return Ok(());
        };
        if error.kind() == ErrorKind::Poisoned || !self.manifest.is_undecided() {
            return Err(error);
        }
        self.poison(&mut self.state.lock(), None, &error);
        Err(error.consequence(ErrorKind::Indeterminate, op))
    }

    fn exclusively<T>(
        &self,
        op: Op,
        change: impl FnOnce(&Self, &mut TailWriter, Seq) -> Result<T>,
    ) -> Result<T> {
        let next_seq = loop {
            self.sync()?;
            self.maintain_finished(op)?;
            let mut state = self.state.lock();
            Self::check_open(&state, op)?;
            let durable_seq = self.watermark.get(Level::Durable);
            let settled = state.queue.is_empty() && durable_seq == state.next_seq;
            if !state.leading && settled && self.writer.lock().finished.is_empty() {
                state.leading = true;
                break state.next_seq;
            }
        };
        let (result, plan) = {
            let _only_one = self.maintenance.lock();
            let mut writer = self.writer.lock();
            let result = change(self, &mut writer.tail, next_seq);
            (result, (writer.tail.tail.clone(), writer.tail.summary.end))
        };
        let mut state = self.state.lock();
        state.plan = plan;
        state.leading = false;
        self.hand_on(&state);
        result
    }

    /// The error of an append that comes after the log stopped taking any.
    fn check_open(state: &State, op: Op) -> Result<()> {
        if let Some(error) = &state.poison {
            return Err(error.consequence(ErrorKind::Poisoned, op));
        }
        if state.closed && op != Op::Sync {
            return Err(Error::note(ErrorKind::Closed, op, "the log is closed"));
        }
        Ok(())
    }

    pub(crate) fn durable_seq(&self) -> Seq {
        self.watermark.get(Level::Durable)
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log_id
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn manifest(&self) -> &ManifestStore {
        &self.manifest
    }

    pub(crate) fn catalog(&self) -> &CatalogCell {
        &self.catalog
    }
}
