//! A thread that copies: when there is enough that is new, or often enough; again and again while the store is
//! away, ever more rarely; until it is stopped, or fenced off.
//!
//! INVARIANT: nothing waits for the store but who asked to. The log does not know of it.

use crate::{
    copier::{Copier, CopyOptions},
    error::{Error, Result},
    plan::PART_BYTES,
    store::Store,
    tier::Tier,
};
use cairnlog::{Consumer, ConsumerOptions, Log, SegmentId, Seq, StoredLog};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long after the first error it is tried again; then twice as long each time.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Deletes are made at most this often, unless there are many.
const COLLECT: Duration = Duration::from_secs(10);

/// How a [`Replicator`] copies.
#[derive(Clone, Debug)]
pub struct ReplicatorOptions {
    copy: CopyOptions,
    interval: Duration,
    holds: Option<String>,
    tier: Option<Tier>,
}

impl Default for ReplicatorOptions {
    fn default() -> Self {
        Self {
            copy: CopyOptions::new(),
            interval: Duration::from_secs(10),
            holds: None,
            tier: None,
        }
    }
}

impl ReplicatorOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long what is durable may wait before it is put, if it is little: what a lost disk costs. 8 MiB are put
    /// at once. Default: 10 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How the copy is made.
    #[must_use]
    pub fn copy(mut self, copy: CopyOptions) -> Self {
        self.copy = copy;
        self
    }

    /// Holds retention back until what it would drop is in the store, by a cursor of this name; at most as far as
    /// [`Retention::held_bytes_max`](cairnlog::Retention::held_bytes_max) says. Only beside the [`Log`]. Default: nothing is held.
    #[must_use]
    pub fn hold(mut self, cursor: impl Into<String>) -> Self {
        self.holds = Some(cursor.into());
        self
    }

    /// Has the log let go of old segments once they are in the store: they live there alone, and are read from there. The log has to
    /// be opened with [`StoreSegments`](crate::StoreSegments) of this store. Only beside the [`Log`], which stays open as long as the
    /// replicator. Each is read back first, and compared. Default: nothing is let go of.
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }
}

/// How far a copy is; from [`Replicator::status`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// The seq below which all is in the store.
    pub end_seq: Seq,
    /// The seq below which all is durable in the log, when it was last looked at.
    pub durable_seq: Seq,
    /// Records between the two.
    pub lag_records: u64,
    /// Bytes of them, as stored.
    pub lag_bytes: u64,
    /// For how long something was durable and not in the store.
    pub lag: Duration,
    /// What last went wrong, if nothing went well since.
    pub last_error: Option<Error>,
    /// How often in a row it went wrong.
    pub failure_count: u64,
    /// Commits made.
    pub commit_count: u64,
    /// Requests made.
    pub request_count: u64,
    /// Bytes put, or tried to.
    pub put_bytes: u64,
    /// Segments that the log has let go of.
    pub released_count: u64,
    /// What kept it from letting go of more, when that was tried last. Copying goes on.
    pub tier_error: Option<Error>,
    /// Whether it ended: it was stopped, or fenced off, as `last_error` says.
    pub has_ended: bool,
}

/// Copies a log into a store, continuously, in a thread of its own.
///
/// It ends when it is dropped, at once: what is not in the store by then is put by the next.
///
/// ```
/// use cairnlog::Log;
/// use cairnlog_object_store::{Replicator, ReplicatorOptions, Store, To, restore};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let store = Store::open(dir.path().join("store").to_str().unwrap())?;
/// let replicator = Replicator::start(&log, &store, ReplicatorOptions::new())?;
/// let seq = log.append("precious")?;
/// assert!(replicator.wait_for(seq, None)?);
///
/// restore(&store, dir.path().join("restored"), To::Latest)?;
/// assert_eq!(Log::open(dir.path().join("restored"))?.get(seq)?.as_deref(), Some(&b"precious"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replicator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: Arc<AtomicBool>,
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    status: Status,
    /// Somebody waits: there is no sense in gathering more.
    hurry: bool,
    /// When the store last had all.
    whole_at: Option<Instant>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Replicator {
    /// Copies a log that this process writes. Takes the store over: see [`Copier::start`].
    ///
    /// # Errors
    /// As [`Copier::start`].
    pub fn start(log: &Log, store: &Store, options: ReplicatorOptions) -> Result<Self> {
        let consumer = match &options.holds {
            None => None,
            Some(name) => Some(log.consumer_with(name, &ConsumerOptions::new().holds(true))?),
        };
        let beside = Beside {
            consumer,
            tier: options.tier.clone().map(|tier| (log.clone(), tier)),
        };
        Self::run(log.stored()?, beside, store, &options)
    }

    /// Copies a log that another process writes, or none does. Else as [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start); `InvalidInput` if it is to hold retention back or to tier, which only the writer can.
    pub fn follow(log: StoredLog, store: &Store, options: ReplicatorOptions) -> Result<Self> {
        if options.holds.is_some() || options.tier.is_some() {
            let only = "retention is held back, and segments let go of, only from within the process that writes";
            return Err(Error::InvalidInput(only.into()));
        }
        Self::run(log, Beside::default(), store, &options)
    }

    fn run(
        log: StoredLog,
        beside: Beside,
        store: &Store,
        options: &ReplicatorOptions,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let store = store.stoppable(shared.stop.clone());
        let copier = Copier::start(log, &store, options.copy.clone())?;
        shared.told().status.end_seq = copier.end_seq();
        let mut worker = Worker {
            copier,
            beside,
            tier_after: Instant::now(),
            stuck: BTreeSet::new(),
            interval: options.interval,
            shared: shared.clone(),
            collected_at: Instant::now(),
            jitter: options.copy.clock.random(),
        };
        let thread = std::thread::Builder::new()
            .name("cairn-replicate".into())
            .spawn(move || worker.run())
            .map_err(Error::io(Path::new("a thread for the replicator")))?;
        let thread = Some(thread);
        Ok(Self { shared, thread })
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.told().status.clone()
    }

    /// Waits until the store has everything up to and including `seq`, at most so long; `None` is for ever. False: time
    /// ran out. It is put at once, without waiting for more.
    ///
    /// # Errors
    /// What ended the replicator, if it has ended. While the store is away it waits.
    pub fn wait_for(&self, seq: Seq, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut told = self.shared.told();
        loop {
            if told.status.end_seq > seq {
                return Ok(true);
            }
            if told.status.has_ended {
                return Err(told.status.last_error.clone().unwrap_or(Error::Stopped));
            }
            told.hurry = true;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let left = left.unwrap_or(Duration::from_secs(3600));
            let waited = self.shared.changed.wait_timeout(told, left);
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends it, and tells how far it came. A request that is under way is given up.
    #[must_use]
    pub fn stop(mut self) -> Status {
        self.end();
        self.status()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it was told by the standard library.
            thread.join().ok();
        }
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        self.end();
    }
}

/// What it does for the log that it is beside.
#[derive(Debug, Default)]
struct Beside {
    consumer: Option<Consumer>,
    tier: Option<(Log, Tier)>,
}

struct Worker {
    copier: Copier,
    beside: Beside,
    /// When it may be tried to let go of segments, and which could not be.
    tier_after: Instant,
    stuck: BTreeSet<SegmentId>,
    interval: Duration,
    shared: Arc<Shared>,
    collected_at: Instant,
    jitter: u64,
}

impl Worker {
    fn run(&mut self) {
        let mut retry = RETRY;
        while !self.shared.is_stopped() {
            let step = self.copier.step().and_then(|is_new| {
                self.collect()?;
                self.hold()?;
                Ok(is_new)
            });
            self.tell(&step);
            if step.is_ok() {
                self.tier();
            }
            match step {
                Ok(_) => {
                    retry = RETRY;
                    self.gather();
                }
                Err(error) if error.is_final() => break,
                Err(_) => {
                    let pause = self.jittered(retry);
                    retry = (retry * 2).min(RETRY_MAX);
                    self.pause(pause);
                }
            }
        }
        let mut told = self.shared.told();
        told.status.has_ended = true;
        drop(told);
        self.shared.changed.notify_all();
    }

    fn collect(&mut self) -> Result<()> {
        if self.collected_at.elapsed() < COLLECT.min(self.interval) {
            return Ok(());
        }
        if !self.copier.collect()? {
            self.collected_at = Instant::now();
        }
        Ok(())
    }

    /// Lets retention go as far as the copy.
    fn hold(&mut self) -> Result<()> {
        let end_seq = self.copier.end_seq();
        let consumer = self.beside.consumer.as_mut();
        let Some(consumer) = consumer.filter(|it| it.seq() < end_seq) else {
            return Ok(());
        };
        consumer.seek(end_seq)?;
        Ok(())
    }

    /// Has the log let go of what is old. If that fails it is tried again later: what is new is copied all the same.
    fn tier(&mut self) {
        let Some((log, tier)) = &self.beside.tier else {
            return;
        };
        let due = self.copier.due(tier, &self.stuck);
        if due.is_empty() || Instant::now() < self.tier_after {
            return;
        }
        let released = self.copier.release(log, &due);
        let mut told = self.shared.told();
        let status = &mut told.status;
        match released {
            Ok(report) => {
                status.released_count += report.segments.len() as u64;
                // Of what does not go it is told on.
                if self.stuck.is_empty() {
                    status.tier_error = None;
                }
            }
            Err(error) => {
                // One that is damaged, here or there, keeps no other.
                match error.damaged_segment() {
                    Some(id) => {
                        self.stuck.insert(id);
                    }
                    None => self.tier_after = Instant::now() + RETRY_MAX,
                }
                status.tier_error = Some(error);
            }
        }
    }

    /// From half of it to all of it: many that wait for one store do not come back at once.
    fn jittered(&mut self, pause: Duration) -> Duration {
        self.jitter = self
            .jitter
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let share = (self.jitter >> 48) as u32;
        pause / 2 + pause / 2 * share / (1 << 16)
    }

    fn pause(&self, time: Duration) {
        let told = self.shared.told();
        if !self.shared.is_stopped() {
            drop(self.shared.changed.wait_timeout(told, time));
        }
    }

    /// Waits until there is enough to put.
    fn gather(&self) {
        let begun = Instant::now();
        let look = (self.interval / 20).clamp(Duration::from_millis(5), Duration::from_millis(200));
        while !self.shared.is_stopped() && begun.elapsed() < self.interval {
            let end_seq = self.copier.end_seq();
            // Woken by the first record; then the others are given time.
            let reader = self.copier.log().reader();
            let is_new = reader.wait_for(end_seq, Some(look)).unwrap_or(false);
            if !is_new {
                continue;
            }
            let hurry = self.shared.told().hurry;
            if hurry || self.look(end_seq) >= PART_BYTES {
                return;
            }
            std::thread::sleep(look.min(Duration::from_millis(20)));
        }
    }

    fn lag_bytes(&self) -> u64 {
        let segments = self.copier.log().reader().segments().unwrap_or_default();
        let left = segments.iter().map(|segment| {
            let known = self.copier.known_bytes(segment.id);
            segment.frame_bytes.saturating_sub(known)
        });
        left.sum()
    }

    /// Tells how far the log is; gives the bytes that are not in the store.
    fn look(&self, end_seq: Seq) -> u64 {
        let durable_seq = self.copier.log().reader().end_seq();
        let lag_bytes = self.lag_bytes();
        let mut told = self.shared.told();
        let is_whole = durable_seq <= end_seq;
        let now = Instant::now();
        if is_whole || told.whole_at.is_none() {
            told.whole_at = Some(now);
        }
        let lag = told.whole_at.map_or(Duration::ZERO, |at| now - at);
        let status = &mut told.status;
        status.durable_seq = durable_seq.max(end_seq);
        status.lag_records = durable_seq.saturating_sub(end_seq);
        status.lag_bytes = lag_bytes;
        status.lag = lag;
        lag_bytes
    }

    fn tell(&self, step: &Result<bool>) {
        self.look(self.copier.end_seq());
        let store = self.copier.store();
        let mut told = self.shared.told();
        let status = &mut told.status;
        status.end_seq = self.copier.end_seq();
        status.request_count = store.request_count();
        status.put_bytes = store.put_bytes();
        match step {
            Ok(is_new) => {
                status.commit_count += u64::from(*is_new);
                (status.last_error, status.failure_count) = (None, 0);
                told.hurry = false;
            }
            Err(error) => {
                status.last_error = Some(error.clone());
                status.failure_count += 1;
            }
        }
        drop(told);
        self.shared.changed.notify_all();
    }
}
