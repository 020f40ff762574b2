//! The one door for locks, condition variables, atomics and threads.
//!
//! Under `--cfg cairn_shuttle` the same code runs on shuttle's versions, so a model checker can
//! drive the real group commit, watermark and waiting reader through chosen schedules.

#[cfg(not(cairn_shuttle))]
mod imp {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use std::sync::{Arc, OnceLock, Weak, atomic};
    use std::sync::{
        PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    pub(crate) use std::thread::ThreadId;

    pub(crate) type JoinHandle = std::thread::JoinHandle<()>;

    /// Which thread this is.
    pub(crate) fn thread_id() -> ThreadId {
        std::thread::current().id()
    }

    /// A word on which threads wait for its change.
    ///
    /// Waiting is the standard library's, whose condition variable wakes all with one call to the
    /// kernel; the other one's has each who wakes wake the next.
    #[derive(Debug, Default)]
    pub(crate) struct Signal {
        word: AtomicU32,
        waiting: std::sync::Mutex<()>,
        changed: std::sync::Condvar,
    }

    impl Signal {
        pub(crate) fn load(&self) -> u32 {
            self.word.load(SeqCst)
        }

        pub(crate) fn store(&self, value: u32) {
            self.word.store(value, SeqCst);
        }

        pub(crate) fn set_bits(&self, bits: u32) {
            self.word.fetch_or(bits, SeqCst);
        }

        /// Replaces the word if it is `old`.
        pub(crate) fn replace(&self, old: u32, new: u32) -> bool {
            (self.word.compare_exchange(old, new, SeqCst, SeqCst)).is_ok()
        }

        /// Waits to be woken, unless the word is another by now. May return for no reason.
        pub(crate) fn wait_while(&self, value: u32) {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.load() == value {
                drop(self.changed.wait(waiting));
            }
        }

        pub(crate) fn wake_one(&self) {
            // Whoever has looked at the word is waiting by the time this lock is free.
            drop(self.waiting.lock());
            self.changed.notify_one();
        }

        pub(crate) fn wake_all(&self) {
            drop(self.waiting.lock());
            self.changed.notify_all();
        }
    }

    /// Lets others run until something holds, but no longer than this.
    pub(crate) fn yield_until(holds: impl Fn() -> bool, limit: std::time::Duration) {
        let deadline = Deadline::after(limit);
        while !holds() && !deadline.left().is_zero() {
            std::thread::yield_now();
        }
    }

    /// The moment until which something waits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Deadline(Option<std::time::Instant>);

    impl Deadline {
        /// A wait too long for the clock has no end.
        pub(crate) fn after(time: std::time::Duration) -> Self {
            Self(std::time::Instant::now().checked_add(time))
        }

        /// How long is left: zero once it has passed.
        pub(crate) fn left(self) -> std::time::Duration {
            let left =
                |end: std::time::Instant| end.saturating_duration_since(std::time::Instant::now());
            self.0.map_or(std::time::Duration::MAX, left)
        }
    }

    /// What a thread takes before it runs, in bytes: its stack, and about as much as the runtime wants beside it.
    const THREAD_BYTES: usize = (2 << 20) + (512 << 10);

    /// Whether there is room for one thread more: the runtime ends the process if a thread that it has
    /// begun does not find what it needs beside its stack.
    fn check_room() -> std::io::Result<()> {
        memmap2::MmapMut::map_anon(THREAD_BYTES).map(drop)
    }

    pub(crate) fn spawn(
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle> {
        check_room()?;
        let (begun, told) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            begun.send(()).ok();
            run();
        };
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)?;
        // Until it runs, this thread takes nothing of the room that was found for it.
        told.recv().ok();
        Ok(handle)
    }

    /// What `work` tells of the items 0 to `count`, as it comes, by so many threads at a time; `work` ends
    /// when it is told that nothing more is wanted, after an error. Where no thread is to be had the
    /// caller does it alone. Each thread waits when two messages of each are on their way.
    pub(crate) fn in_any_order<M: Send, E>(
        threads: usize,
        count: usize,
        work: impl Fn(usize, &mut dyn FnMut(M) -> bool) + Sync,
        mut each: impl FnMut(M) -> Result<(), E>,
    ) -> Result<(), E> {
        let (work, next) = (&work, atomic::AtomicUsize::new(0));
        let take = || Some(next.fetch_add(1, SeqCst)).filter(|number| *number < count);
        std::thread::scope(|scope| {
            let (send, told) = std::sync::mpsc::sync_channel(threads);
            let mut begun_count = 0;
            while threads > 1 && begun_count < threads.min(count) {
                let (send, take) = (send.clone(), &take);
                let run = move || {
                    let mut wanted = true;
                    while let Some(number) = take().filter(|_| wanted) {
                        work(number, &mut |message| {
                            wanted = send.send(message).is_ok();
                            wanted
                        });
                    }
                };
                let builder = std::thread::Builder::new().name("cairn-reader".to_owned());
                let begun = check_room().and_then(|()| builder.spawn_scoped(scope, run));
                if begun.is_err() {
                    break;
                }
                begun_count += 1;
            }
            drop(send);
            if begun_count == 0 {
                return super::alone(count, work, each);
            }
            told.into_iter().try_for_each(&mut each)
        })
    }
}

#[cfg(cairn_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::{Arc, Weak, atomic};
    // Filled under a lock, and read without waiting: no schedule to explore.
    pub(crate) use std::sync::OnceLock;
    use std::{
        ops::{Deref, DerefMut},
        sync::PoisonError,
        time::Duration,
    };

    pub(crate) use shuttle::thread::ThreadId;

    pub(crate) type JoinHandle = shuttle::thread::JoinHandle<()>;

    pub(crate) fn thread_id() -> ThreadId {
        shuttle::thread::current().id()
    }

    /// Shuttle knows no time: a wait lasts until it is woken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Deadline(Duration);

    impl Deadline {
        pub(crate) fn after(time: Duration) -> Self {
            Self(time)
        }

        pub(crate) fn left(self) -> Duration {
            self.0
        }
    }

    pub(crate) fn spawn(
        _name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle> {
        Ok(shuttle::thread::spawn(run))
    }

    /// Alone: nothing is shared whose schedules could differ.
    pub(crate) fn in_any_order<M, E>(
        _threads: usize,
        count: usize,
        work: impl Fn(usize, &mut dyn FnMut(M) -> bool),
        each: impl FnMut(M) -> Result<(), E>,
    ) -> Result<(), E> {
        super::alone(count, work, each)
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0
                .as_ref()
                .expect("the guard is only empty while its condvar waits")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0
                .as_mut()
                .expect("the guard is only empty while its condvar waits")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("held");
            guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, time: Duration) {
            let inner = guard.0.take().expect("held");
            let result = self.0.wait_timeout(inner, time);
            guard.0 = Some(result.unwrap_or_else(PoisonError::into_inner).0);
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Signal {
        word: Mutex<u32>,
        changed: Condvar,
    }

    impl Signal {
        pub(crate) fn load(&self) -> u32 {
            *self.word.lock()
        }

        pub(crate) fn store(&self, value: u32) {
            *self.word.lock() = value;
        }

        pub(crate) fn set_bits(&self, bits: u32) {
            *self.word.lock() |= bits;
        }

        pub(crate) fn replace(&self, old: u32, new: u32) -> bool {
            let mut word = self.word.lock();
            let same = *word == old;
            if same {
                *word = new;
            }
            same
        }

        pub(crate) fn wait_while(&self, value: u32) {
            let mut word = self.word.lock();
            if *word == value {
                self.changed.wait(&mut word);
            }
        }

        pub(crate) fn wake_one(&self) {
            drop(self.word.lock());
            self.changed.notify_one();
        }

        pub(crate) fn wake_all(&self) {
            drop(self.word.lock());
            self.changed.notify_all();
        }
    }

    pub(crate) fn yield_until(holds: impl Fn() -> bool, _limit: Duration) {
        for _ in 0..3 {
            if !holds() {
                shuttle::thread::yield_now();
            }
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

pub(crate) use imp::*;

/// What `work` makes of each item, given in their order, by so many threads at a time. After an error
/// nothing more is begun. Where no thread is to be had the caller does it alone.
pub(crate) fn in_order<T: Sync, R: Send, E>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let (mut early, mut expected) = (std::collections::BTreeMap::new(), 0);
    let make = |number: usize, tell: &mut dyn FnMut((usize, R)) -> bool| {
        if let Some(item) = items.get(number) {
            tell((number, work(item)));
        }
    };
    in_any_order(threads, items.len(), make, |(number, result)| {
        early.insert(number, result);
        while let Some(result) = early.remove(&expected) {
            expected += 1;
            each(result)?;
        }
        Ok(())
    })
}

/// As [`in_any_order`], by the caller.
fn alone<M, E>(
    count: usize,
    work: impl Fn(usize, &mut dyn FnMut(M) -> bool),
    mut each: impl FnMut(M) -> Result<(), E>,
) -> Result<(), E> {
    let mut outcome = Ok(());
    for number in 0..count {
        work(number, &mut |message| {
            if outcome.is_ok() {
                outcome = each(message);
            }
            outcome.is_ok()
        });
        if outcome.is_err() {
            break;
        }
    }
    outcome
}
