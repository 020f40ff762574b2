//! The one error type: what the caller can do (`kind`), what we were doing (`op`), and where.
//!
//! INVARIANT: there is no `From<io::Error>`, so that `?` cannot drop the place. `Display` composes
//! one sentence from the parts; nobody has to match on a string.

mod defect;

pub use defect::Defect;

use crate::types::{SegmentId, Seq};
use std::{fmt, io, path::PathBuf, sync::Arc};

/// The result of every operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused. The log is as it was; the call may be tried again.
    Io,
    /// The disk is full. Nothing of the append is in the log; the same handle appends again once
    /// there is room.
    NoSpace,
    /// Another handle or process writes to this log. [`Error::holder`] names it.
    Locked,
    /// Bytes that were durable do not verify. See [`Error::defect`]; `cairn verify` lists all.
    Damaged,
    /// Written by a newer version of this library.
    Unsupported,
    /// The record was trimmed away. [`Error::resume_seq`] is the oldest that is left.
    Trimmed,
    /// Over a limit. Nothing was queued.
    TooLarge,
    /// A conditional append met another next number. [`Error::next_seq`] is the actual one.
    SeqMismatch,
    /// An earlier sync failed, so this handle takes no more appends. Reopen the log.
    Poisoned,
    /// The sync of this very append failed, or the commit of this trim or rewind: it may or may not
    /// be there after reopening.
    Indeterminate,
    /// The log was closed.
    Closed,
    /// An argument or option that cannot be honoured. Nothing was done.
    InvalidInput,
    /// There is no log here and the options say not to create one.
    NotFound,
}

/// What was being done when an [`Error`] happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the verb it names")]
pub enum Op {
    Open,
    Lock,
    Append,
    Sync,
    Rotate,
    Read,
    Trim,
    Rewind,
    Compact,
    Commit,
    Close,
    Verify,
    Repair,
    Salvage,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Append => "append",
            Self::Sync => "sync",
            Self::Rotate => "rotate",
            Self::Read => "read",
            Self::Trim => "trim",
            Self::Rewind => "rewind",
            Self::Compact => "compact",
            Self::Commit => "commit",
            Self::Close => "close",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Salvage => "salvage",
        })
    }
}

/// Where something is: as much of the place as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file, relative to the log's directory or as the caller gave it.
    pub path: Option<PathBuf>,
    /// The segment.
    pub segment: Option<SegmentId>,
    /// The distance in bytes from the start of the file.
    pub offset: Option<u64>,
    /// The record.
    pub seq: Option<Seq>,
}

impl Place {
    /// A place inside a segment.
    #[must_use]
    pub fn in_segment(segment: SegmentId, offset: u64) -> Self {
        Self {
            segment: Some(segment),
            offset: Some(offset),
            ..Self::default()
        }
    }

    /// A whole file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// This place, at this record.
    #[must_use]
    pub fn with_seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if let Some(path) = &self.path {
            write!(f, "{}", path.display())?;
            gap = " ";
        }
        if let Some(segment) = self.segment {
            write!(f, "{gap}segment {segment}")?;
            gap = " ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{gap}offset {offset}")?;
            gap = " ";
        }
        self.seq.map_or(Ok(()), |seq| write!(f, "{gap}seq {seq}"))
    }
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Defect(Defect),
    Holder(Option<u32>),
    Resume(Seq),
    Next {
        expected: Seq,
        actual: Seq,
    },
    Limit {
        what: &'static str,
        bytes: u64,
        max_bytes: u64,
    },
    Note(&'static str),
    Earlier(Error),
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    op: Op,
    place: Place,
    cause: Cause,
}

/// The error of every operation: one word wide, cheap to clone, composed of kind, operation,
/// place and cause.
///
/// ```
/// use cairnlog::{ErrorKind, Log};
/// let error = Log::options().create(false).open("/no/such/log").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

impl Error {
    fn new(kind: ErrorKind, op: Op, cause: Cause) -> Self {
        Self(Arc::new(Inner {
            kind,
            op,
            place: Place::default(),
            cause,
        }))
    }

    /// An operating-system error; a full disk or quota becomes `NoSpace`.
    pub(crate) fn io(op: Op, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            _ => ErrorKind::Io,
        };
        Self::new(kind, op, Cause::Io(error))
    }

    /// Stored bytes that are not what they should be.
    pub(crate) fn defect(op: Op, place: Place, defect: Defect) -> Self {
        let kind = match defect {
            Defect::UnknownVersion(_) | Defect::UnknownFeature(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Damaged,
        };
        Self::new(kind, op, Cause::Defect(defect)).at(place)
    }

    pub(crate) fn locked(holder: Option<u32>) -> Self {
        Self::new(ErrorKind::Locked, Op::Lock, Cause::Holder(holder))
    }

    pub(crate) fn trimmed(op: Op, seq: Seq, resume: Seq) -> Self {
        Self::new(ErrorKind::Trimmed, op, Cause::Resume(resume)).at(Place::default().with_seq(seq))
    }

    pub(crate) fn seq_mismatch(expected: Seq, actual: Seq) -> Self {
        Self::new(
            ErrorKind::SeqMismatch,
            Op::Append,
            Cause::Next { expected, actual },
        )
    }

    pub(crate) fn too_large(what: &'static str, bytes: u64, max_bytes: u64) -> Self {
        Self::new(
            ErrorKind::TooLarge,
            Op::Append,
            Cause::Limit {
                what,
                bytes,
                max_bytes,
            },
        )
    }

    pub(crate) fn note(kind: ErrorKind, op: Op, note: &'static str) -> Self {
        Self::new(kind, op, Cause::Note(note))
    }

    /// Another error that follows from this one: `Poisoned` after a failed sync, for example.
    pub(crate) fn consequence(&self, kind: ErrorKind, op: Op) -> Self {
        Self::new(kind, op, Cause::Earlier(self.clone())).at(self.0.place.clone())
    }

    /// This error with its place. Only the first place given counts: it is the innermost.
    pub(crate) fn at(mut self, place: Place) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0)
            && inner.place.is_unknown()
        {
            inner.place = place;
        }
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// Where it happened, as far as it is known.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// What is wrong with the stored bytes, for `Damaged` and `Unsupported`.
    #[must_use]
    pub fn defect_found(&self) -> Option<Defect> {
        match &self.0.cause {
            Cause::Defect(defect) => Some(*defect),
            Cause::Earlier(error) => error.defect_found(),
            _ => None,
        }
    }

    /// The process that holds the lock, for `Locked`, if it is known.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        match self.0.cause {
            Cause::Holder(holder) => holder,
            _ => None,
        }
    }

    /// The number from which reading can go on, for `Trimmed`.
    #[must_use]
    pub fn resume_seq(&self) -> Option<Seq> {
        match self.0.cause {
            Cause::Resume(seq) => Some(seq),
            _ => None,
        }
    }

    /// The actual next number, for `SeqMismatch`.
    #[must_use]
    pub fn next_seq(&self) -> Option<Seq> {
        match self.0.cause {
            Cause::Next { actual, .. } => Some(actual),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Defect(defect) => defect.fmt(f),
            Self::Holder(Some(pid)) => write!(f, "the log is held by process {pid}"),
            Self::Holder(None) => write!(f, "the log is held by another handle"),
            Self::Resume(seq) => write!(f, "it was trimmed, the log now begins at seq {seq}"),
            Self::Next { expected, actual } => {
                write!(f, "expected next seq {expected}, it is {actual}")
            }
            Self::Limit {
                what,
                bytes,
                max_bytes,
            } => {
                write!(
                    f,
                    "{what} of {bytes} bytes is over the limit of {max_bytes} bytes"
                )
            }
            Self::Note(note) => f.write_str(note),
            Self::Earlier(error) => write!(f, "after {error}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            op,
            place,
            cause,
        } = &*self.0;
        write!(f, "{op}: ")?;
        match kind {
            ErrorKind::Poisoned => write!(f, "the log takes no more appends, ")?,
            ErrorKind::Indeterminate => write!(f, "it is unknown whether it is durable, ")?,
            _ => {}
        }
        if !place.is_unknown() && !matches!(cause, Cause::Earlier(_)) {
            write!(f, "{place}: ")?;
        }
        cause.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("op", &self.0.op)
            .field("place", &self.0.place)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Io(error) => Some(error),
            Cause::Earlier(error) => Some(error),
            _ => None,
        }
    }
}
