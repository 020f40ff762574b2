//! Rules for making calls fail: which call, how, once or for ever.
//!
//! INVARIANT: rules decide by counting alone, so the same calls meet the same faults. A rule that
//! could not act on a call (a short transfer of a rename) still counts it, and does nothing.
//! Written by tests through `SimFs::fail`, asked by `state` before every call.

use super::{
    Errno,
    trace::{Call, OpKind},
};
use std::{fmt, path::PathBuf};

/// What a failed sync leaves behind. File systems differ; all three exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncFailure {
    /// The cache keeps showing the new bytes but counts them as clean: later syncs succeed without
    /// writing them, and after a power loss the old bytes are back. Only writing them again helps.
    /// Linux does this. Sizes, which are metadata, stay pending. Of a directory: the names stay
    /// visible and will not become durable.
    CacheKeepsNew,
    /// The cache drops the new bytes and sizes (or names): what is durable is visible again.
    CacheShowsOld,
    /// Nothing happened: everything is still pending, and another sync would write it.
    StillDirty,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails and changes nothing; a sync fails as [`SyncFailure::CacheKeepsNew`] says, or,
    /// if it was only interrupted (`EINTR`, `EAGAIN`), as [`SyncFailure::StillDirty`] does.
    Error(Errno),
    /// A read or write transfers at most so many bytes and succeeds. Other calls are spared.
    Short(usize),
    /// A write gets as far as `bytes`, then fails. Other calls fail as with [`Fault::Error`].
    Torn {
        /// How many bytes of it reach the file.
        bytes: usize,
        /// The error that it returns all the same.
        errno: Errno,
    },
    /// A sync fails and leaves behind what the second says; of `write_back` it is about the bytes that it was
    /// asked for. Other calls fail as with [`Fault::Error`].
    Sync(Errno, SyncFailure),
    /// A read succeeds and gives bytes that the file does not have. The file stays as it is: the next
    /// read may give what is right. It counts as met if a byte differs.
    Misread(Misread),
    /// The call succeeds. Behind its back the system fails to write out what is pending on the file (of
    /// a change of names: on the directory), which is lost as [`SyncFailure::CacheKeepsNew`] says. That
    /// is told once, by the next `sync` or `sync_dir` of the same file or directory, through whichever
    /// handle; to nobody, if the process dies first.
    ///
    /// Of a sync it means that the error was told to somebody else: it returns success, though nothing
    /// was made durable. A system does that to a sync beside which another one, of the same file, is
    /// under way; it is no fair trial of a program that has one at a time.
    Late(Errno),
}

/// What a read gives instead of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misread {
    /// One bit of the byte at `offset` in the file is the other way round.
    Flip {
        /// Where the byte is in the file.
        offset: u64,
        /// Which of its bits, from 0 to 7.
        bit: u32,
    },
    /// Some bytes of the file read as zeros.
    Zeros {
        /// Where they begin in the file.
        offset: u64,
        /// How many they are.
        len: u64,
    },
    /// All that is read is as the process saw it before this operation, as if later writes had gone
    /// elsewhere; what was not there yet reads as zeros.
    AsOf {
        /// The number of the operation.
        op: u64,
    },
}

impl Fault {
    /// The error that the call returns; `None` if it is only cut short.
    pub(super) fn errno(self) -> Option<Errno> {
        match self {
            Self::Error(errno) | Self::Torn { errno, .. } | Self::Sync(errno, _) => Some(errno),
            Self::Short(_) | Self::Misread(_) | Self::Late(_) => None,
        }
    }

    pub(super) fn sync_failure(self) -> SyncFailure {
        match self {
            Self::Sync(_, how) => how,
            Self::Error(Errno::Eintr | Errno::Eagain) => SyncFailure::StillDirty,
            _ => SyncFailure::CacheKeepsNew,
        }
    }

    /// How many bytes a transfer gets done.
    pub(super) fn transfer_max(self) -> usize {
        match self {
            Self::Short(bytes) | Self::Torn { bytes, .. } => bytes,
            Self::Error(_) | Self::Sync(..) => 0,
            Self::Misread(_) | Self::Late(_) => usize::MAX,
        }
    }

    fn acts_on(self, kind: OpKind) -> bool {
        match self {
            Self::Short(_) => matches!(kind, OpKind::Read | OpKind::Write),
            Self::Misread(_) => kind == OpKind::Read,
            Self::Late(_) => kind.is_operation() && kind != OpKind::Lock,
            Self::Error(_) | Self::Torn { .. } | Self::Sync(..) => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(errno) => write!(f, "{errno}"),
            Self::Short(bytes) => write!(f, "{bytes} bytes at most"),
            Self::Torn { bytes, errno } => write!(f, "{errno}, after {bytes} bytes"),
            Self::Sync(errno, how) => write!(f, "{errno}, {how:?}"),
            Self::Misread(Misread::Flip { offset, bit }) => {
                write!(f, "bit {bit} of {offset} flipped")
            }
            Self::Misread(Misread::Zeros { offset, len }) => write!(f, "zeros at {offset}+{len}"),
            Self::Misread(Misread::AsOf { op }) => write!(f, "as of #{op}"),
            Self::Late(errno) => write!(f, "lost, to be told later: {errno}"),
        }
    }
}

/// Which call fails, how, and how often.
///
/// ```
/// use cairnlog::vfs::{Vfs, sim::{Errno, Fault, FaultRule, OpKind, SimFs}};
/// use std::{io, path::Path};
///
/// let disk = SimFs::new(1);
/// // The second write of `data` finds the disk full, and so does every one after it.
/// disk.fail(FaultRule::nth(OpKind::Write, 1, Fault::Error(Errno::Enospc)).on("data").for_ever());
/// let file = disk.create_new(Path::new("/data"))?;
/// assert_eq!(file.write_at(b"one", 0)?, 3);
/// assert_eq!(file.write_at(b"two", 3).unwrap_err().kind(), io::ErrorKind::StorageFull);
/// disk.clear_faults();
/// assert_eq!(file.write_at(b"two", 3)?, 3);
/// # Ok::<(), io::Error>(())
/// ```
///
/// The third read that covers a byte gives a wrong bit, and the fourth does not:
///
/// ```
/// use cairnlog::vfs::{Access, Vfs, sim::{Fault, FaultRule, Misread, OpKind, SimFs}};
/// use std::path::Path;
///
/// let disk = SimFs::new(1);
/// disk.write_file(Path::new("/data"), b"what is here");
/// let flip = Fault::Misread(Misread::Flip { offset: 5, bit: 0 });
/// disk.fail(FaultRule::nth(OpKind::Read, 2, flip).on("data").covering(5));
/// let file = disk.open(Path::new("/data"), Access::Read)?;
/// let read = |offset| {
///     let mut word = [0; 4];
///     file.read_at(&mut word, offset).map(|_| word)
/// };
/// assert_eq!((&read(5)?, &read(8)?, &read(4)?), (b"is h", b"here", b" is "));
/// assert_eq!((&read(5)?, &read(5)?), (b"hs h", b"is h"));
/// assert_eq!(disk.fault_count(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FaultRule {
    when: When,
    path: Option<PathBuf>,
    covering: Option<u64>,
    fault: Fault,
    /// How many calls fail, from the first on.
    times: u64,
    seen_count: u64,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Op(u64),
    Call { kind: Option<OpKind>, nth: u64 },
}

impl FaultRule {
    /// The operation with this number (see [`SimFs::op_count`](super::SimFs::op_count)) fails.
    pub fn at_op(number: u64, fault: Fault) -> Self {
        Self::new(When::Op(number), fault)
    }

    /// Of the calls of one kind after setting the rule, number `nth` (0 is the next) fails.
    pub fn nth(kind: OpKind, nth: u64, fault: Fault) -> Self {
        let kind = Some(kind);
        Self::new(When::Call { kind, nth }, fault)
    }

    /// Of all calls after setting the rule, reads included, number `nth` (0 is the next) fails.
    pub fn nth_call(nth: u64, fault: Fault) -> Self {
        Self::new(When::Call { kind: None, nth }, fault)
    }

    /// Regards only calls on a path that is, or ends in, this one. A file counts under the name
    /// that it was opened by; a rename counts under both of its names.
    pub fn on(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Regards only reads, writes and `write_back`s whose range holds this byte of the file.
    pub fn covering(mut self, offset: u64) -> Self {
        self.covering = Some(offset);
        self
    }

    /// Lets so many such calls from that one on fail, not just the one.
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Lets every such call from that one on fail, not just the one.
    pub fn for_ever(self) -> Self {
        self.times(u64::MAX)
    }

    fn new(when: When, fault: Fault) -> Self {
        Self {
            when,
            path: None,
            covering: None,
            fault,
            times: 1,
            seen_count: 0,
        }
    }

    /// Counts the call, and says whether it is the one (or one of those) to fail.
    fn hits(&mut self, call: &Call, op: Option<u64>) -> bool {
        let is_on = |wanted: &PathBuf| {
            let to = call.to.as_ref().is_some_and(|to| to.ends_with(wanted));
            to || call.path.ends_with(wanted)
        };
        if !self.path.as_ref().is_none_or(is_on) || !self.covering.is_none_or(|at| call.covers(at))
        {
            return false;
        }
        let (number, wanted) = match self.when {
            When::Op(wanted) => match op {
                Some(number) => (number, wanted),
                None => return false,
            },
            When::Call { kind: only, nth } => {
                if only.is_some_and(|only| only != call.kind) {
                    return false;
                }
                let number = self.seen_count;
                self.seen_count += 1;
                (number, nth)
            }
        };
        let after = number.checked_sub(wanted);
        after.is_some_and(|after| after < self.times) && self.fault.acts_on(call.kind)
    }
}

/// All rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<FaultRule>,
    pub(super) fired_count: u64,
}

impl Rules {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The fault that this call meets. Every rule counts the call; the first to hit decides.
    pub(super) fn check(&mut self, call: &Call, op: Option<u64>) -> Option<Fault> {
        let mut fault = None;
        for rule in &mut self.rules {
            if rule.hits(call, op) {
                fault = fault.or(Some(rule.fault));
            }
        }
        // A misread is met only if it changes what is read: who reads counts it.
        let met = fault.is_some_and(|fault| !matches!(fault, Fault::Misread(_)));
        self.fired_count += u64::from(met);
        fault
    }
}
