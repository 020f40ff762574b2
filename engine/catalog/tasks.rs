//! The tasks that wait for more without a thread, and who wakes them: a thread, or the worker that many logs share, in turns.
//!
//! INVARIANTS: who raises a watermark pays the same for one task as for a hundred thousand: a look at the
//! lowest seq that any of them waits for, and a word to the thread if that is passed. What is a user's (to
//! clone a waker, to wake it, to drop it) runs under no lock, and in no thread of who appends. A task has one
//! seat, and leaves nothing there when it goes. A seat is listed before its seq is made known, and that
//! before the watermark is looked at again: so one of the two, who waits or who raises, sees the other.
//!
//! The thread lives as long as there are seats, and a moment longer; turns are had when somebody is to be woken. Called by
//! `Watermark`.

use super::{Level, Wait, Watermark};
use crate::{
    pool::{self, Turns, Worker},
    sync::{
        self, Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    types::Seq,
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
    time::Duration,
};

/// So many are woken between two turns with the lock.
const TURN_SEATS: usize = 64;
/// How long the thread stays for others when the last task is gone. A model checker knows no time.
const LINGER: Duration = Duration::from_secs(if cfg!(cairn_shuttle) { 0 } else { 1 });

/// Who waits for a watermark without a thread.
#[derive(Debug)]
pub(super) struct Tasks {
    /// The lowest seq that somebody waits to be passed, by level; the largest number if nobody does.
    awaited: [AtomicU64; 2],
    seats: Mutex<Seats>,
    bell: Mutex<Bell>,
    rung: Condvar,
    /// The worker that the log shares with others, if it does; and its turns there, once somebody has waited.
    worker: OnceLock<Worker>,
    turns: OnceLock<pool::Seat>,
}

#[derive(Debug, Default)]
struct Seats {
    all: Vec<Waiting>,
    free: Vec<usize>,
    /// Those in which somebody may wait; each is listed once.
    listed: Vec<usize>,
}

#[derive(Debug)]
struct Waiting {
    waker: Option<Waker>,
    level: Level,
    seq: Seq,
    is_listed: bool,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Bell {
    is_running: bool,
    /// Somebody is to be woken; everybody, whatever he waits for.
    rings: bool,
    for_all: bool,
    /// Seats that are taken.
    seat_count: usize,
}

/// A task's place among those who wait.
#[derive(Debug)]
pub(crate) struct Seat {
    watermark: Arc<Watermark>,
    number: usize,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            awaited: [AtomicU64::new(Seq::MAX), AtomicU64::new(Seq::MAX)],
            seats: Mutex::default(),
            bell: Mutex::default(),
            rung: Condvar::new(),
            worker: OnceLock::new(),
            turns: OnceLock::new(),
        }
    }

    fn awaited(&self, level: Level) -> &AtomicU64 {
        let [written, durable] = &self.awaited;
        match level {
            Level::Written => written,
            Level::Durable => durable,
        }
    }

    /// Everything below `seq` is at this level by now.
    #[inline]
    pub(super) fn raised(&self, level: Level, seq: Seq) {
        if seq > self.awaited(level).load(Ordering::SeqCst) {
            // Whoever comes until the thread looks is listed, and it makes his seq known again.
            self.awaited(level).store(Seq::MAX, Ordering::SeqCst);
            self.ring(false);
        }
    }

    /// Has everybody look again.
    pub(super) fn call_all(&self) {
        self.ring(true);
    }

    fn ring(&self, for_all: bool) {
        let mut bell = self.bell.lock();
        bell.rings = true;
        bell.for_all |= for_all;
        drop(bell);
        match self.turns.get() {
            Some(turns) => turns.call(),
            None => drop(self.rung.notify_one()),
        }
    }

    /// What was rung for; if nothing was, the turn is over.
    fn rung_or_rests(&self, turns: &pool::Seat) -> Option<bool> {
        let mut bell = self.bell.lock();
        if std::mem::take(&mut bell.rings) {
            return Some(std::mem::take(&mut bell.for_all));
        }
        turns.rest(None);
        None
    }

    /// Wakes those whom the watermark has passed, or all.
    fn wake(&self, watermark: &Watermark, for_all: bool) {
        let listed = std::mem::take(&mut self.seats.lock().listed);
        let mut due = Vec::with_capacity(TURN_SEATS);
        for numbers in listed.chunks(TURN_SEATS) {
            let mut seats = self.seats.lock();
            for number in numbers {
                due.extend(self.take_due(&mut seats, *number, watermark, for_all));
            }
            drop(seats);
            for waker in due.drain(..) {
                // A user's code: if it panics, that is no reason not to wake the others.
                catch_unwind(AssertUnwindSafe(|| waker.wake())).ok();
            }
        }
    }

    /// The waker of a seat, if its time has come; else it stays listed.
    fn take_due(
        &self,
        seats: &mut Seats,
        number: usize,
        watermark: &Watermark,
        for_all: bool,
    ) -> Option<Waker> {
        let seat = seats.all.get_mut(number)?;
        seat.is_listed = false;
        seat.waker.as_ref()?;
        let is_due = |seat: &Waiting| watermark.get(seat.level) > seat.seq;
        if for_all || is_due(seat) {
            return seat.waker.take();
        }
        // Whoever raises it after this rings, and who did before is seen by one more look.
        self.awaited(seat.level)
            .fetch_min(seat.seq, Ordering::SeqCst);
        if is_due(seat) {
            return seat.waker.take();
        }
        seat.is_listed = true;
        seats.listed.push(number);
        None
    }

    /// Waits to be rung; `None` if nobody needs the thread any more.
    fn next_ring(&self) -> Option<bool> {
        let mut bell = self.bell.lock();
        loop {
            if std::mem::take(&mut bell.rings) {
                return Some(std::mem::take(&mut bell.for_all));
            }
            if bell.seat_count > 0 {
                self.rung.wait(&mut bell);
                continue;
            }
            if !LINGER.is_zero() {
                self.rung.wait_for(&mut bell, LINGER);
            }
            if bell.seat_count == 0 && !bell.rings {
                bell.is_running = false;
                return None;
            }
        }
    }
}

impl Watermark {
    /// Looks whether the watermark is beyond `seq`; if not, the waker is woken when it is, or the end has
    /// come. It may be woken for nothing.
    ///
    /// # Errors
    /// No thread is to be had that wakes.
    pub(crate) fn poll_beyond(
        self: &Arc<Self>,
        seat: &mut Option<Seat>,
        (level, seq): (Level, Seq),
        waker: &Waker,
    ) -> io::Result<Option<Wait>> {
        if let Some(wait) = self.look(level, seq) {
            return Ok(Some(wait));
        }
        let seat = match seat {
            Some(seat) => seat,
            None => seat.insert(self.take_seat()?),
        };
        seat.wait(level, seq, waker);
        Ok(self.look(level, seq))
    }

    fn take_seat(self: &Arc<Self>) -> io::Result<Seat> {
        let mut bell = self.tasks.bell.lock();
        if !bell.is_running {
            self.begin_waking()?;
            bell.is_running = true;
        }
        bell.seat_count += 1;
        drop(bell);
        let mut seats = self.tasks.seats.lock();
        let number = match seats.free.pop() {
            Some(number) => number,
            None => {
                seats.all.push(Waiting {
                    waker: None,
                    level: Level::Durable,
                    seq: 0,
                    is_listed: false,
                });
                seats.all.len() - 1
            }
        };
        Ok(Seat {
            watermark: self.clone(),
            number,
        })
    }

    /// From now on tasks are woken by a worker that the log shares.
    pub(crate) fn share(&self, worker: &Worker) {
        self.tasks.worker.get_or_init(|| worker.clone());
    }

    fn begin_waking(self: &Arc<Self>) -> io::Result<()> {
        let watermark = self.clone();
        match self.tasks.worker.get() {
            Some(worker) => {
                let who: Arc<dyn Turns> = watermark;
                self.tasks.turns.get_or_init(|| worker.seat(&who));
                Ok(())
            }
            None => sync::spawn("cairn-waker", move || watermark.run_waker()).map(drop),
        }
    }

    fn run_waker(&self) {
        while let Some(for_all) = self.tasks.next_ring() {
            self.tasks.wake(self, for_all);
        }
    }
}

impl Turns for Watermark {
    fn turn(&self) {
        let Some(turns) = self.tasks.turns.get() else {
            return;
        };
        while let Some(for_all) = self.tasks.rung_or_rests(turns) {
            self.tasks.wake(self, for_all);
            if turns.lets_others_go_first() {
                return;
            }
        }
    }
}

impl Seat {
    fn wait(&self, level: Level, seq: Seq, waker: &Waker) {
        let tasks = &self.watermark.tasks;
        // Cloned for the case that it is another one by now, and dropped when the lock is free again.
        let waker = waker.clone();
        let _before = {
            let mut seats = tasks.seats.lock();
            let number = self.number;
            let Some(seat) = seats.all.get_mut(number) else {
                return;
            };
            (seat.level, seat.seq) = (level, seq);
            let before = seat.waker.replace(waker);
            if !std::mem::replace(&mut seat.is_listed, true) {
                seats.listed.push(number);
            }
            before
        };
        tasks.awaited(level).fetch_min(seq, Ordering::SeqCst);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let tasks = &self.watermark.tasks;
        let _waker = {
            let mut seats = tasks.seats.lock();
            seats.free.push(self.number);
            let seat = seats.all.get_mut(self.number);
            seat.and_then(|seat| seat.waker.take())
        };
        let mut bell = tasks.bell.lock();
        bell.seat_count -= 1;
        let is_last = bell.seat_count == 0;
        drop(bell);
        if is_last {
            tasks.rung.notify_one();
        }
    }
}
