//! The one thing behind the lock: a disk, its history, its clock, and the way a call takes.
//!
//! Every call goes `begin` (is there power, does a rule want it to fail), then planning against
//! the disk as it is, then `end` (apply, journal, trace). INVARIANT: planning changes nothing; all
//! effects on the disk go through `end`, and only operations have any. Used by `fs`, `file`,
//! `power` and `outside`.

use super::{
    Errno,
    disk::{Change, Disk},
    fault::{Fault, Misread, Rules},
    journal::Journal,
    names::Ino,
    rng::{Rng, mix},
    space::Space,
    trace::{Call, Outcome, Trace},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

/// 2026-01-01 00:00 UTC: late enough to be plausible, and always the same.
const START_MS: i64 = 1_767_225_600_000;
/// How long a call takes, so that waiting for time to pass ends.
const CALL: Duration = Duration::from_micros(10);
/// How long looking at the clock takes.
const TICK: Duration = Duration::from_micros(1);

/// What outlives a power cut besides the bytes.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) seed: u64,
    pub(super) capacity: Option<u64>,
    pub(super) space: Space,
    pub(super) process_id: u32,
    /// Wall-clock time at which `monotonic` was zero.
    pub(super) boot_ms: i64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) disk: Disk,
    pub(super) journal: Journal,
    pub(super) rules: Rules,
    pub(super) trace: Trace,
    pub(super) machine: Machine,
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) call_count: u64,
    /// Directories whose lock is held.
    pub(super) locks: BTreeSet<Ino>,
    open: BTreeMap<Ino, u64>,
    /// How many descriptors the process may have.
    pub(super) descriptors_max: Option<u64>,
    /// Files and directories of which something was lost, and nobody was told yet.
    untold: BTreeMap<Ino, Errno>,
    /// Why no call succeeds any more.
    pub(super) off: Option<&'static str>,
}

impl State {
    pub(super) fn first_boot(seed: u64) -> Self {
        let machine = Machine {
            seed,
            capacity: None,
            space: Space::default(),
            process_id: 1000,
            boot_ms: START_MS,
        };
        Self::boot(Disk::new(), machine)
    }

    pub(super) fn boot(disk: Disk, machine: Machine) -> Self {
        Self {
            journal: Journal::new(0, &disk),
            disk,
            rules: Rules::default(),
            trace: Trace::default(),
            rng: Rng::new(machine.seed),
            machine,
            now: Duration::ZERO,
            call_count: 0,
            locks: BTreeSet::new(),
            open: BTreeMap::new(),
            descriptors_max: None,
            untold: BTreeMap::new(),
            off: None,
        }
    }

    /// The machine as the next process or boot finds it.
    pub(super) fn successor(&self, salt: u64) -> Machine {
        Machine {
            seed: mix(self.machine.seed, salt),
            process_id: self.machine.process_id.wrapping_add(1),
            ..self.machine.clone()
        }
    }

    pub(super) fn wall_ms(&self) -> i64 {
        let passed = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        self.machine.boot_ms.saturating_add(passed)
    }

    /// Looks at the clock, which takes a little time too.
    pub(super) fn tick(&mut self) -> Duration {
        self.pass(TICK);
        self.now
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    /// Counts the call and finds the fault that it meets. An error means there is no power.
    pub(super) fn begin(&mut self, call: &mut Call) -> io::Result<Option<Fault>> {
        if let Some(why) = self.off {
            return Err(io::Error::other(why));
        }
        self.pass(CALL);
        self.call_count += 1;
        let op = call.kind.is_operation().then(|| self.journal.next_op());
        call.fault = self.rules.check(call, op);
        Ok(call.fault)
    }

    /// Lets the change happen and writes the call down.
    pub(super) fn end(&mut self, call: Call, mut change: Change, outcome: Outcome) {
        let mut op = None;
        if let (Some(Fault::Late(errno)), Some(ino)) = (call.fault, change.synced_by()) {
            self.untold.insert(ino, errno);
            change = change.late();
        }
        if call.kind.is_operation() {
            op = Some(self.journal.next_op());
            self.freeing(|state| state.disk.apply(&change));
            if self.journal.push(change) {
                let open = &self.open;
                self.disk.collect_garbage(|ino| open.contains_key(&ino));
                self.journal.checkpoint(&self.disk);
            }
        }
        self.trace.push(op, call, outcome);
    }

    /// A whole call of a kind that either fails and changes nothing, or succeeds.
    pub(super) fn call<T>(
        &mut self,
        mut call: Call,
        plan: impl FnOnce(&Self) -> io::Result<(T, Change)>,
    ) -> io::Result<T> {
        let planned = match self.begin(&mut call)?.and_then(Fault::errno) {
            Some(errno) => Err(errno.error()),
            None => plan(self),
        };
        let planned = planned.and_then(|(value, change)| {
            self.check_room(&change)?;
            Ok((value, change))
        });
        match planned {
            Ok((value, change)) => {
                self.end(call, change, Outcome::Done);
                Ok(value)
            }
            Err(error) => {
                self.end(call, Change::Nothing, Outcome::Failed(error.kind()));
                Err(error)
            }
        }
    }

    /// A whole call that syncs. A failing one has a change to make too, so the plan hears of it.
    pub(super) fn sync_call(
        &mut self,
        mut call: Call,
        plan: impl FnOnce(&Self, Option<Fault>) -> io::Result<Change>,
    ) -> io::Result<()> {
        let fault = self.begin(&mut call)?;
        let planned = plan(self, fault);
        let result = match (&planned, fault.and_then(Fault::errno)) {
            (Ok(_), Some(errno)) => Err(errno.error()),
            // What was lost before is told with the first sync after it, which does its own work.
            (Ok(change), None) => {
                match change.tells_of().and_then(|ino| self.untold.remove(&ino)) {
                    Some(errno) => Err(errno.error()),
                    None => Ok(()),
                }
            }
            (Err(error), _) => Err(match error.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => error.kind().into(),
            }),
        };
        let outcome = match &result {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.kind()),
        };
        self.end(call, planned.unwrap_or(Change::Nothing), outcome);
        result
    }

    /// A whole write: as much as rules and room allow, and an error if that is nothing.
    pub(super) fn write_call(&mut self, mut call: Call, ino: Ino) -> io::Result<usize> {
        let fault = self.begin(&mut call)?;
        let asked = call.bytes.clone();
        let allowed = fault.map_or(asked.len(), |fault| fault.transfer_max().min(asked.len()));
        let room = self.room(ino, call.offset, allowed);
        let bytes = asked.slice(..*room.as_ref().unwrap_or(&0));
        let result = match (fault.and_then(Fault::errno), room) {
            (Some(errno), _) => Err(errno.error()),
            (None, room) => room,
        };
        let outcome = match &result {
            Ok(count) => Outcome::Moved(*count as u64),
            Err(error) => Outcome::Failed(error.kind()),
        };
        let offset = call.offset;
        let change = if bytes.is_empty() {
            Change::Nothing
        } else {
            Change::Write { ino, offset, bytes }
        };
        self.end(call, change, outcome);
        result
    }

    /// A whole read.
    pub(super) fn read_call(
        &mut self,
        mut call: Call,
        ino: Ino,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        let fault = self.begin(&mut call)?;
        let result = match fault.and_then(Fault::errno) {
            Some(errno) => Err(errno.error()),
            None => {
                let allowed = fault.map_or(buf.len(), |fault| fault.transfer_max().min(buf.len()));
                let file = self.disk.files.get(&ino);
                let into = buf.get_mut(..allowed).unwrap_or_default();
                Ok(file.map_or(0, |file| file.live.read(call.offset, into)))
            }
        };
        if let (Some(Fault::Misread(how)), Ok(count)) = (fault, &result) {
            let read = buf.get_mut(..*count).unwrap_or_default();
            match self.misread(how, ino, call.offset, read) {
                true => self.rules.fired_count += 1,
                false => call.fault = None,
            }
        }
        let outcome = match &result {
            Ok(count) => Outcome::Moved(*count as u64),
            Err(error) => Outcome::Failed(error.kind()),
        };
        self.end(call, Change::Nothing, outcome);
        result
    }

    /// The descriptors that the process has: files and directories that are open, and one for each lock.
    pub(super) fn descriptor_count(&self) -> u64 {
        self.open.values().sum::<u64>() + self.locks.len() as u64
    }

    /// Whether so many more descriptors are to be had.
    pub(super) fn check_descriptors(&self, more: u64) -> io::Result<()> {
        match self.descriptors_max {
            Some(max) if self.descriptor_count() + more > max => Err(Errno::Emfile.error()),
            _ => Ok(()),
        }
    }

    /// Changes what was read from `offset` on. False if it stays what it was.
    fn misread(&self, how: Misread, ino: Ino, offset: u64, read: &mut [u8]) -> bool {
        let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
        let before = read.to_vec();
        match how {
            Misread::Flip { offset: at, bit } if at >= offset => {
                if let Some(byte) = read.get_mut(place(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Misread::Flip { .. } => {}
            Misread::Zeros { offset: at, len } => {
                let end = place(at.saturating_add(len)).min(read.len());
                read.get_mut(place(at)..end).unwrap_or_default().fill(0);
            }
            Misread::AsOf { op } => {
                read.fill(0);
                let then = self.journal.disk_before(op);
                then.files
                    .get(&ino)
                    .map(|file| file.live.read(offset, read));
            }
        }
        read != before
    }

    pub(super) fn opened(&mut self, ino: Ino) {
        *self.open.entry(ino).or_default() += 1;
    }

    pub(super) fn open_count(&self) -> u64 {
        self.open.values().sum()
    }

    pub(super) fn closed(&mut self, ino: Ino) {
        self.freeing(|state| {
            if let Some(count) = state.open.get_mut(&ino) {
                *count -= 1;
                if *count == 0 {
                    state.open.remove(&ino);
                }
            }
        });
    }

    /// How many handles of it there are.
    pub(super) fn opened_times(&self, ino: Ino) -> u64 {
        self.open.get(&ino).copied().unwrap_or(0)
    }

    pub(super) fn is_open(&self, ino: Ino) -> bool {
        self.open.contains_key(&ino)
    }

    /// Starts the history afresh, because of a change that no operation made.
    pub(super) fn restart_history(&mut self) {
        self.journal = Journal::new(self.journal.next_op(), &self.disk);
    }
}

/// Takes a copy of what a program wants to write, to be shared by disk, journal and trace.
pub(super) fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
