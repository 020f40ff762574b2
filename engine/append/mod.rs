//! The journey of an append: check, queue, and by group commit to the disk.
//!
//! Any number of threads queue records; one at a time leads. The leader takes everything queued for
//! the segment, writes it with one positional write, makes it durable with one sync, and hands on
//! the lead. While a sync is in flight the next group gathers.
//!
//! Rooms: `record` what comes in, `queue` order and place, `room` waiting for that, `held` the queue's lock,
//! `state` what it guards (`groups` the queue, `pace` of the leader, `duties` of the worker, `waiting` for
//! room, `life` who is inside and closing), `group` bytes, `packing` and `sealing` of them, `lead` write and sync, `failure` of either,
//! `publish` telling other processes, `ledger` and `repeat` appends that name themselves, `cursors` and
//! `moves` where consumers stand, `maintain` sealing and preparing segments, `agenda` and `worker` the
//! background thread, `ticket` waiting, `timing` how long that took.
//!
//! INVARIANTS: seqs are given under the queue's lock, in the order of the bytes; only the leader
//! touches the writer; the durable watermark rises only after a sync has returned success; after a
//! failed sync nothing is written any more; a failed write is cut back durably before its error is
//! told.
//!
//! Called by `Log`; calls segment, manifest, catalog.

mod agenda;
mod ahead;
mod completion;
mod core;
mod cursors;
mod duties;
#[cfg(feature = "async")]
mod errand;
mod failure;
mod group;
mod groups;
mod held;
#[cfg(feature = "async")]
mod later;
mod lead;
mod ledger;
mod life;
mod maintain;
mod marks;
mod moves;
#[cfg(feature = "async")]
mod owned;
mod pace;
mod packing;
mod publish;
mod queue;
mod record;
mod repeat;
mod room;
mod sealing;
#[cfg(feature = "async")]
mod sink;
mod state;
#[cfg(test)]
mod tests;
mod ticket;
mod timing;
mod waiting;
mod worker;

#[cfg(feature = "async")]
pub use owned::{AsRecord, OwnedRecord};
pub use record::{AppendOptions, NewRecord};
#[cfg(feature = "async")]
pub use sink::AppendSink;
pub use ticket::Ticket;

pub(crate) use agenda::UPKEEP_INTERVAL;
pub(crate) use cursors::{CursorStore, cursor_place};
pub(crate) use ledger::Ledger;
pub(crate) use maintain::create_spare;
pub(crate) use moves::Moves;
pub(crate) use worker::Upkeep;

use crate::{
    catalog::{CatalogCell, Queued, Watermark},
    error::{Error, ErrorKind, Op, Result},
    format::{Owner, Producer, SEALED_FEATURE, manifest::SpareEntry},
    manifest::ManifestStore,
    observe::Counters,
    options::Options,
    segment::{Space, Tail, TailWriter},
    sync::{
        self, Arc, Condvar, JoinHandle, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize},
    },
    types::{SegmentId, Seq},
    vfs::{Dir, VfsLock},
};
use packing::Packer;
use publish::Published;
use state::State;
use std::ops::Range;

/// A file prepared for the next rotation.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// Zeros throughout, or where a header goes if it was another segment before.
    pub(crate) space: Arc<Space>,
}

impl Spare {
    /// How a manifest names it.
    pub(crate) fn entry(&self) -> SpareEntry {
        SpareEntry {
            id: self.id,
            salt: self.salt,
            recycled: self.space.is_recycled(),
        }
    }
}

/// What a log consists of while it is open; recovery hands it over.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) dir: Dir,
    pub(crate) owner: Owner,
    pub(crate) manifest: ManifestStore,
    pub(crate) catalog: Arc<CatalogCell>,
    pub(crate) watermark: Arc<Watermark>,
    pub(crate) writer: TailWriter,
    /// A segment before it that waits for its seal, and the ledger as of the tail's base.
    pub(crate) finished: Vec<TailWriter>,
    pub(crate) frozen: Option<Vec<u8>>,
    pub(crate) spare: Option<Spare>,
    pub(crate) ledger: Ledger,
    pub(crate) cursors: CursorStore,
}

/// Only the leader locks it, so it is never contended.
#[derive(Debug)]
struct Writer {
    tail: TailWriter,
    /// Segments behind the tail that are finished and wait for their seal.
    finished: Vec<TailWriter>,
    /// The ledger as of the tail's base, to be stored before the tail is named in a manifest.
    ledger: Option<Vec<u8>>,
    /// Segments with frames that no sync covers yet, oldest first.
    unsynced: Vec<Arc<Tail>>,
    /// Of a log that packs or seals what is appended.
    packer: Option<Box<Packer>>,
}

/// The shared heart of appending.
#[derive(Debug)]
pub(crate) struct Core {
    options: Options,
    dir: Dir,
    owner: Owner,
    manifest: ManifestStore,
    catalog: Arc<CatalogCell>,
    watermark: Arc<Watermark>,
    counters: Counters,
    state: Mutex<State>,
    /// Whether something was left to be said, as [`After`](held::After) has it.
    say_is_due: Arc<AtomicBool>,
    /// Callers that wait for a group to be written or synced.
    parked_count: AtomicUsize,
    /// Signals room in the queue, a free lead.
    room: Condvar,
    /// Signals the worker, where it waits.
    work: Condvar,
    /// Where it has its turns, if it shares a worker with others.
    shared: OnceLock<worker::Shared>,
    /// Signals that the log is closed.
    closed: Condvar,
    writer: Mutex<Writer>,
    /// Held while segments are sealed and prepared.
    maintenance: Mutex<()>,
    upkeep: Option<Arc<dyn Upkeep>>,
    /// What readers in other processes were told.
    published: Mutex<Published>,
    /// The directory is ours until this is let go.
    lock_of_dir: Mutex<Option<Box<dyn VfsLock>>>,
    cursors: CursorStore,
    /// Whether there is something sealed in the log: then nothing is appended in the clear.
    sealed: bool,
}

/// The one who appends.
#[derive(Debug)]
pub(crate) struct Appender {
    core: Arc<Core>,
    worker: Mutex<Option<JoinHandle>>,
}

impl Appender {
    pub(crate) fn new(
        parts: Parts,
        lock: Box<dyn VfsLock>,
        upkeep: Option<Arc<dyn Upkeep>>,
    ) -> Result<Self> {
        let state = State::new(
            (parts.writer.tail.clone(), parts.writer.summary.end),
            parts.writer.summary.next_seq,
            parts.options.pack_appends,
            parts.ledger.keyed(parts.writer.tail.context.salt),
            parts.spare,
            !parts.finished.is_empty(),
        );
        let background = parts.options.background;
        let announced = parts.manifest.snapshot().write_features & SEALED_FEATURE != 0;
        let sealed = announced || parts.writer.tail.sealed;
        let core = Arc::new(Core {
            say_is_due: state.after.is_due.clone(),
            state: Mutex::new(state),
            parked_count: AtomicUsize::new(0),
            options: parts.options,
            dir: parts.dir,
            owner: parts.owner,
            manifest: parts.manifest,
            catalog: parts.catalog,
            watermark: parts.watermark,
            counters: Counters::default(),
            room: Condvar::new(),
            work: Condvar::new(),
            shared: OnceLock::new(),
            closed: Condvar::new(),
            writer: Mutex::new(Writer {
                tail: parts.writer,
                finished: parts.finished,
                ledger: parts.frozen,
                unsynced: Vec::new(),
                packer: None,
            }),
            maintenance: Mutex::new(()),
            upkeep,
            published: Mutex::new(Published::default()),
            lock_of_dir: Mutex::new(Some(lock)),
            cursors: parts.cursors,
            sealed,
        });
        // A file that comes back keeps what was in it: of a sealed log, perhaps from before it was sealed.
        if core.options.recycle && !core.options.keys.seals() {
            core.catalog.load().returned().want();
        }
        core.publish();
        let worker = match core.options.worker.clone().filter(|_| background) {
            Some(worker) => {
                worker::share(&core, &worker);
                None
            }
            None if background => Some(worker::start(&core)?),
            None => None,
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
        how.check()?;
        self.append_unchecked(records, how)
    }

    /// As [`append`](Self::append), also under the epoch of cursors.
    pub(crate) fn append_unchecked(
        &self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        let timing = self.core.start_timing(how);
        let level = timing.level;
        let ((seqs, done), state) = self.core.enqueue_and_hold(records, how, level)?;
        match done {
            Some(done) => self.core.wait_holding(state, &done, level)?,
            None => drop(state),
        }
        self.core.end_timing(&timing, &seqs);
        Ok(seqs)
    }

    /// Queues records and gives a ticket for the level asked for.
    pub(crate) fn submit(&self, records: &[NewRecord<'_>], how: &AppendOptions) -> Result<Ticket> {
        how.check()?;
        let level = how.durability.unwrap_or(self.core.options.durability);
        let (seqs, done) = self.core.enqueue(records, how, level)?;
        self.core.nudge_worker();
        Ok(Ticket::new(self.core.clone(), seqs, done, level))
    }

    /// Makes everything appended so far durable; gives the seq below which it is.
    pub(crate) fn sync(&self) -> Result<Seq> {
        self.core.check_usable(Op::Sync)?;
        self.core.sync()
    }

    /// Ends the segment: the next append begins a new one.
    pub(crate) fn rotate(&self) -> Result<()> {
        let _inside = self.core.enter(Op::Rotate)?;
        self.core.rotate()?;
        match self.core.maintain(Op::Rotate) {
            // It has ended, and is sealed. That no file could be made for the time after the next is
            // told to the append that needs it.
            Err(error) if error.kind() == ErrorKind::NoSpace && self.core.all_sealed() => Ok(()),
            done => done.map(drop),
        }
    }

    /// One step of the background work: true if there was something to do.
    pub(crate) fn maintain(&self) -> Result<bool> {
        let _inside = self.core.enter(Op::Rotate)?;
        let wrote = self.core.write_buffered()? | self.core.write_back_due();
        Ok(self.core.maintain(Op::Rotate)? || wrote)
    }

    /// What last failed in the background, once.
    pub(crate) fn take_worker_error(&self) -> Option<Error> {
        self.core.lock().duties.take_error()
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.core.lock().queue.next_seq()
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.core.lock().queue.bytes() as u64
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.core.counters
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// For readers, which outlive it.
    pub(crate) fn queued(&self) -> Weak<dyn Queued> {
        let weak: Weak<Core> = Arc::downgrade(&self.core);
        weak
    }

    #[cfg(feature = "async")]
    pub(crate) fn shared(&self) -> &Arc<Core> {
        &self.core
    }

    /// Closes in order: everything durable, segments sealed, the end named in the manifest, the directory
    /// let go. Every call waits for that, and is told the same.
    pub(crate) fn close(&self) -> Result<()> {
        let closed = self.core.close();
        let worker = self.worker.lock().take();
        // A panic of the worker has already poisoned the log; that is what is reported.
        if let Some(worker) = worker
            && worker.thread().id() != sync::thread_id()
        {
            worker.join().ok();
        }
        closed
    }
}
