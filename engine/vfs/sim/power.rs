//! Losing power, losing the process, and starting again.
//!
//! INVARIANT: a disk that comes out of here shares nothing that changes with the one it came from,
//! and handles of a dead machine or process never work again. Called by tests.

use super::{CrashPoint, SimFs, rng::mix, state::State};

/// What a reboot takes on the wall clock.
const REBOOT_MS: i64 = 1000;

impl SimFs {
    /// The power cut during operation `op`: everything before it was done, as far as the process
    /// could see, and the operation itself was in flight. `op_count()` means now.
    ///
    /// The run itself goes on undisturbed and can be cut at every operation in turn. A number
    /// beyond the present means now; one that is [no longer known](Self::first_op), the earliest
    /// that is.
    pub fn crash_at(&self, op: u64) -> CrashPoint {
        let state = self.lock();
        let op = op.clamp(state.journal.first_op(), state.journal.next_op());
        let mut machine = state.successor(mix(op, 1));
        // The clock in the machine keeps time, so it stands after all that the run has seen.
        machine.boot_ms = state.wall_ms().saturating_add(REBOOT_MS);
        CrashPoint::new(op, state.journal.disk_in_flight(op), machine)
    }

    /// Turns the power off: from now on every call fails. What is on the disk is for
    /// [`reboot`](Self::reboot) or [`crash_at`](Self::crash_at) to find out.
    pub fn power_cut(&self) {
        self.lock().off = Some("power is off");
    }

    /// Cuts the power, if it is not off yet, and boots with one of the disks that this can leave
    /// behind, chosen by the seed.
    pub fn reboot(&self, seed: u64) -> Self {
        self.power_cut();
        self.crash_at(u64::MAX).random(seed)
    }

    /// The process dies, the machine lives: all that was written is there for the next process,
    /// and what was not synced can still be lost to a power cut. Locks are released, faults
    /// forgotten, and every call on this handle and its files fails.
    ///
    /// The new handle starts with operation 0 and an empty trace.
    ///
    /// ```
    /// use cairnlog::vfs::{Vfs, sim::SimFs};
    /// use std::path::Path;
    ///
    /// let disk = SimFs::new(1);
    /// let file = disk.create_new(Path::new("/a"))?;
    /// file.write_at(b"written", 0)?;
    /// let next = disk.kill();
    /// assert_eq!(next.read_file(Path::new("/a")).as_deref(), Some(&b"written"[..]));
    /// assert!(file.sync().is_err());
    /// let (choice, after) = next.crash_at(0).all(1).next().expect("at least one state");
    /// assert_eq!(after.read_file(Path::new("/a")), None, "{choice}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) -> Self {
        let mut old = self.lock();
        old.off = Some("the process was killed");
        let mut disk = old.disk.clone();
        disk.collect_garbage(|_| false);
        let salt = mix(old.journal.next_op(), 2);
        let mut state = State::boot(disk, old.successor(salt));
        state.now = old.now;
        Self::with(state)
    }

    /// Forgets the operations so far, to save memory in long runs. Their numbers stay taken, and
    /// [`trace_hash`](Self::trace_hash) goes on as before, but nothing earlier than now can be
    /// [crashed at](Self::crash_at) or seen in the [trace](Self::trace).
    pub fn forget_history(&self) {
        let mut state = self.lock();
        state.restart_history();
        state.trace.forget();
    }

    /// The earliest operation that [`crash_at`](Self::crash_at) still knows.
    pub fn first_op(&self) -> u64 {
        self.lock().journal.first_op()
    }
}
