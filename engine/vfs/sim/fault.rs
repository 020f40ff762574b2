//! Rules for making calls fail: which call, how, once or for ever.
//!
//! INVARIANT: rules decide by counting alone, so the same calls meet the same faults. A rule that
//! could not act on a call (a short transfer of a rename) still counts it, and does nothing.
//! Written by tests through `SimFs::fail`, asked by `state` before every call.

use super::trace::OpKind;
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// An error of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the name from errno(3)")]
pub enum Errno {
    Eio,
    Enospc,
    Edquot,
    Eintr,
    Eagain,
    Erofs,
    Eacces,
    Eperm,
    Emfile,
    Enfile,
    Enomem,
    Efbig,
}

impl Errno {
    /// All of them, for sweeps.
    pub const ALL: [Self; 12] = [
        Self::Eio,
        Self::Enospc,
        Self::Edquot,
        Self::Eintr,
        Self::Eagain,
        Self::Erofs,
        Self::Eacces,
        Self::Eperm,
        Self::Emfile,
        Self::Enfile,
        Self::Enomem,
        Self::Efbig,
    ];

    /// The error as the operating system would give it, with the matching [`io::ErrorKind`].
    pub fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Eio => libc::EIO,
            Self::Enospc => libc::ENOSPC,
            Self::Edquot => libc::EDQUOT,
            Self::Eintr => libc::EINTR,
            Self::Eagain => libc::EAGAIN,
            Self::Erofs => libc::EROFS,
            Self::Eacces => libc::EACCES,
            Self::Eperm => libc::EPERM,
            Self::Emfile => libc::EMFILE,
            Self::Enfile => libc::ENFILE,
            Self::Enomem => libc::ENOMEM,
            Self::Efbig => libc::EFBIG,
        })
    }
}

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
    /// A sync fails and leaves behind what the second says. Other calls fail as with
    /// [`Fault::Error`].
    Sync(Errno, SyncFailure),
}

impl Fault {
    /// The error that the call returns; `None` if it is only cut short.
    pub(super) fn errno(self) -> Option<Errno> {
        match self {
            Self::Error(errno) | Self::Torn { errno, .. } | Self::Sync(errno, _) => Some(errno),
            Self::Short(_) => None,
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
        }
    }

    fn acts_on(self, kind: OpKind) -> bool {
        !matches!(self, Self::Short(_)) || matches!(kind, OpKind::Read | OpKind::Write)
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
#[derive(Clone, Debug)]
pub struct FaultRule {
    when: When,
    path: Option<PathBuf>,
    fault: Fault,
    for_ever: bool,
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

    /// Lets every such call from that one on fail, not just the one.
    pub fn for_ever(mut self) -> Self {
        self.for_ever = true;
        self
    }

    fn new(when: When, fault: Fault) -> Self {
        Self {
            when,
            path: None,
            fault,
            for_ever: false,
            seen_count: 0,
        }
    }

    /// Counts the call, and says whether it is the one (or one of those) to fail.
    fn hits(&mut self, kind: OpKind, op: Option<u64>, paths: &[&Path]) -> bool {
        if let Some(wanted) = &self.path
            && !paths.iter().any(|path| path.ends_with(wanted))
        {
            return false;
        }
        let (number, wanted) = match self.when {
            When::Op(wanted) => match op {
                Some(number) => (number, wanted),
                None => return false,
            },
            When::Call { kind: only, nth } => {
                if only.is_some_and(|only| only != kind) {
                    return false;
                }
                let number = self.seen_count;
                self.seen_count += 1;
                (number, nth)
            }
        };
        (number == wanted || (self.for_ever && number > wanted)) && self.fault.acts_on(kind)
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
    pub(super) fn check(
        &mut self,
        kind: OpKind,
        op: Option<u64>,
        paths: &[&Path],
    ) -> Option<Fault> {
        let mut fault = None;
        for rule in &mut self.rules {
            if rule.hits(kind, op, paths) {
                fault = fault.or(Some(rule.fault));
            }
        }
        self.fired_count += u64::from(fault.is_some());
        fault
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error())
    }
}
