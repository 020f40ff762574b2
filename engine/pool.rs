//! Threads that many logs share for their background work.
//!
//! A log with nothing to do takes no thread. It rests, and with it lies the moment at which something
//! falls due. Whoever gives it something to do calls it, and the next thread that is free lets it have
//! a turn.
//!
//! INVARIANTS: whoever is called after it last looked for work has a turn. Turns are had in the order of
//! the calls, and nobody stands in line twice. What takes long leaves a thread to the others.
//!
//! Called by the worker of a log; knows nothing of logs.

use crate::{
    error::{Error, ErrorKind, Op, Result},
    sync::{
        self, Arc, Condvar, Deadline, JoinHandle, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    vfs::OpenFiles,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Debug},
    time::Duration,
};

/// Nobody rests longer than this without a look.
const REST_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Threads for the background work of any number of logs: see [`Options::worker`](crate::Options::worker).
///
/// Cheap to clone. The threads end with the last clone, and the last log that was opened with one and its readers.
///
/// ```
/// use cairnlog::{Log, Worker};
/// # let dir = tempfile::tempdir().unwrap();
/// let worker = Worker::new(2)?;
/// let logs = ["eu", "us", "asia"].map(|name| {
///     let options = Log::options().worker(worker.clone());
///     options.open(dir.path().join(name))
/// });
/// for log in logs {
///     log?.append("hello")?;
/// }
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone)]
pub struct Worker {
    pool: Arc<Pool>,
}

impl Worker {
    /// The fewest threads: one may be busy with a compaction for hours.
    pub const THREADS_MIN: usize = 2;
    /// The most threads.
    pub const THREADS_MAX: usize = 1024;

    /// Begins so many threads: 2 to 1,024. Two do for thousands of logs that rest; the more compact,
    /// pack or write without a sync at the same time, the more pay off. At most half of them compact.
    ///
    /// # Errors
    /// `InvalidInput` for another number of threads; `Io` if a thread cannot be had.
    pub fn new(threads: usize) -> Result<Self> {
        if !(Self::THREADS_MIN..=Self::THREADS_MAX).contains(&threads) {
            let note = "a worker has 2 to 1,024 threads";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Open, note));
        }
        let line = Arc::new(Line {
            schedule: Mutex::new(Schedule::default()),
            called: Condvar::new(),
            long_max: threads / 2,
        });
        let pool = Pool {
            line,
            threads: Mutex::new(Vec::new()),
            open_files: std::sync::Arc::default(),
        };
        for _ in 0..threads {
            let line = pool.line.clone();
            let thread = sync::spawn("cairn-worker", move || line.serve());
            // Those that were begun end with the pool.
            let thread = thread.map_err(|error| Error::io(Op::Open, error))?;
            pool.threads.lock().push(thread);
        }
        Ok(Self {
            pool: Arc::new(pool),
        })
    }

    /// How many files of its logs stay open between two uses, all together: those used most lately. Default: 256.
    /// More pay off where more logs than half of that are written to in turns. Files with writes that no
    /// sync has covered, and those in use, stay open however many they are; and each log holds two
    /// descriptors more for as long as it is open.
    #[must_use]
    pub fn open_files_max(self, count: usize) -> Self {
        self.pool.open_files.set_max(count);
        self
    }

    /// Where the files that are open of all its logs are counted.
    pub(crate) fn open_files(&self) -> std::sync::Arc<OpenFiles> {
        self.pool.open_files.clone()
    }

    /// A seat for somebody, who rests until the first call.
    pub(crate) fn seat(&self, who: &Arc<dyn Turns>) -> Seat {
        let mut schedule = self.pool.line.schedule.lock();
        schedule.seat_count += 1;
        let place = Arc::new(Place {
            number: schedule.seat_count,
            who: Arc::downgrade(who),
            called: AtomicBool::new(false),
            due: Mutex::new(None),
        });
        drop(schedule);
        Seat {
            pool: self.pool.clone(),
            place,
        }
    }
}

impl Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("threads", &self.pool.threads.lock().len())
            .finish_non_exhaustive()
    }
}

/// Who has turns.
pub(crate) trait Turns: Send + Sync {
    /// Does what is due, then rests, stands in line again, or is gone. Does not panic.
    fn turn(&self);
}

/// The threads; they end with it.
struct Pool {
    line: Arc<Line>,
    threads: Mutex<Vec<JoinHandle>>,
    open_files: std::sync::Arc<OpenFiles>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.line.schedule.lock().ended = true;
        self.line.called.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The last log may be let go by one of them.
        if threads
            .iter()
            .all(|it| it.thread().id() != sync::thread_id())
        {
            for thread in threads {
                thread.join().ok();
            }
        }
    }
}

struct Line {
    schedule: Mutex<Schedule>,
    /// Signals somebody in line, or a moment sooner than those before.
    called: Condvar,
    /// How many may do at once what takes long.
    long_max: usize,
}

#[derive(Default)]
struct Schedule {
    in_line: VecDeque<Arc<Place>>,
    /// Who rests until a moment.
    resting: BTreeMap<(Deadline, u64), Arc<Place>>,
    seat_count: u64,
    long_count: usize,
    ended: bool,
}

/// One that has turns.
struct Place {
    number: u64,
    who: Weak<dyn Turns>,
    /// Whether it is in line, or has its turn.
    called: AtomicBool,
    /// As `resting` has it; changed under the lock of the schedule.
    due: Mutex<Option<Deadline>>,
}

impl Line {
    fn serve(&self) {
        let mut schedule = self.schedule.lock();
        while !schedule.ended {
            schedule.call_who_is_due();
            if let Some(next) = schedule.in_line.pop_front() {
                drop(schedule);
                if let Some(who) = next.who.upgrade() {
                    who.turn();
                }
                schedule = self.schedule.lock();
                continue;
            }
            match schedule.resting.keys().next().map(|(due, _)| due.left()) {
                Some(left) => drop(self.called.wait_for(&mut schedule, left)),
                None => self.called.wait(&mut schedule),
            }
        }
    }
}

impl Schedule {
    fn call_who_is_due(&mut self) {
        while let Some(first) = self.resting.first_entry()
            && first.key().0.left().is_zero()
        {
            let place = first.remove();
            *place.due.lock() = None;
            if !place.called.swap(true, Ordering::SeqCst) {
                self.in_line.push_back(place);
            }
        }
    }
}

/// A place in the schedule of a worker.
pub(crate) struct Seat {
    pool: Arc<Pool>,
    place: Arc<Place>,
}

impl Seat {
    /// Lets it have a turn, unless it is in line or has one.
    pub(crate) fn call(&self) {
        let called = &self.place.called;
        if called.load(Ordering::SeqCst) || called.swap(true, Ordering::SeqCst) {
            return;
        }
        self.stand_in_line(&mut self.pool.line.schedule.lock());
    }

    /// Within its turn: lets the others go first, if there are any; its turn is over then.
    pub(crate) fn lets_others_go_first(&self) -> bool {
        let mut schedule = self.pool.line.schedule.lock();
        let others = !schedule.in_line.is_empty();
        if others {
            self.stand_in_line(&mut schedule);
        }
        others
    }

    fn stand_in_line(&self, schedule: &mut Schedule) {
        schedule.in_line.push_back(self.place.clone());
        self.pool.line.called.notify_one();
    }

    /// Ends its turn: the next is when it is called, or after so long. Whatever it is called for later it
    /// must not have looked at yet: both under one lock of its own.
    pub(crate) fn rest(&self, time: Option<Duration>) {
        let mut schedule = self.pool.line.schedule.lock();
        let mut due = self.place.due.lock();
        if let Some(before) = due.take() {
            schedule.resting.remove(&(before, self.place.number));
        }
        if let Some(time) = time {
            let at = Deadline::after(time.min(REST_MAX));
            *due = Some(at);
            let key = (at, self.place.number);
            let is_first = schedule.resting.keys().next().is_none_or(|it| key < *it);
            schedule.resting.insert(key, self.place.clone());
            if is_first {
                self.pool.line.called.notify_one();
            }
        }
        self.place.called.store(false, Ordering::SeqCst);
    }

    /// Begins what takes long, if not too many are doing that.
    pub(crate) fn begin_long(&self) -> Option<Long<'_>> {
        let mut schedule = self.pool.line.schedule.lock();
        if schedule.long_count >= self.pool.line.long_max {
            return None;
        }
        schedule.long_count += 1;
        Some(Long(&self.pool.line))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut schedule = self.pool.line.schedule.lock();
        let due = self.place.due.lock().take();
        let place = due.and_then(|due| schedule.resting.remove(&(due, self.place.number)));
        drop(schedule);
        drop(place);
    }
}

impl Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("number", &self.place.number)
            .finish_non_exhaustive()
    }
}

/// The right to do what takes long.
pub(crate) struct Long<'a>(&'a Line);

impl Drop for Long<'_> {
    fn drop(&mut self) {
        self.0.schedule.lock().long_count -= 1;
    }
}
