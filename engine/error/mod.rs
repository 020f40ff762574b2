//! The one error type: what the caller can do (`kind`), what we were doing (`op`), and where.
//!
//! INVARIANT: there is no `From<io::Error>`, so that `?` cannot drop the place. `Display` composes
//! one sentence from the parts; nobody has to match on a string.

mod defect;
mod earlier;
mod kind;
mod place;

pub use defect::Defect;
pub(crate) use earlier::EarlierSync;
pub use kind::{ErrorKind, Op};
pub use place::Place;

use crate::seal::KeyId;
use crate::types::Seq;
use std::{fmt, io, sync::Arc};

/// The result of every operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    Epoch {
        stated: u32,
        newest: u32,
    },
    Limit {
        what: &'static str,
        bytes: u64,
        max_bytes: u64,
    },
    Note(&'static str),
    #[cfg(feature = "typed")]
    Codec(Box<dyn std::error::Error + Send + Sync>),
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

    /// An operating-system error; a full disk or quota becomes `NoSpace`, a call that was refused because
    /// of an earlier failed sync becomes `Poisoned`.
    pub(crate) fn io(op: Op, error: io::Error) -> Self {
        let kind = match error.kind() {
            _ if EarlierSync::is_in(&error) => ErrorKind::Poisoned,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            _ => ErrorKind::Io,
        };
        Self::new(kind, op, Cause::Io(error))
    }

    /// Stored bytes that are not what they should be.
    pub(crate) fn defect(op: Op, place: Place, defect: Defect) -> Self {
        let kind = match defect {
            Defect::KeyMissing(_) => ErrorKind::KeyMissing,
            Defect::Far => ErrorKind::Far,
            Defect::Tampered => ErrorKind::Tampered,
            _ if defect.is_unsupported() => ErrorKind::Unsupported,
            _ => ErrorKind::Damaged,
        };
        Self::new(kind, op, Cause::Defect(defect)).at(place)
    }

    /// Something that was handed in and cannot be used; the reason is in the error.
    pub(crate) fn refused(op: Op, error: io::Error) -> Self {
        Self::new(ErrorKind::InvalidInput, op, Cause::Io(error))
    }

    /// A key that is needed and not to be had.
    pub(crate) fn key_missing(op: Op, id: KeyId) -> Self {
        Self::defect(op, Place::default(), Defect::KeyMissing(id))
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

    pub(crate) fn fenced(stated: u32, newest: u32) -> Self {
        Self::new(
            ErrorKind::Fenced,
            Op::Append,
            Cause::Epoch { stated, newest },
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

    /// What a codec says.
    #[cfg(feature = "typed")]
    pub(crate) fn codec(op: Op, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(ErrorKind::Codec, op, Cause::Codec(Box::new(error)))
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

    /// The epoch of the producer that took over, for `Fenced`.
    #[must_use]
    pub fn newest_epoch(&self) -> Option<u32> {
        match self.0.cause {
            Cause::Epoch { newest, .. } => Some(newest),
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
            Self::Epoch { stated, newest } => {
                write!(
                    f,
                    "epoch {stated} of the producer has ended, its newest is {newest}"
                )
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
            #[cfg(feature = "typed")]
            Self::Codec(error) => error.fmt(f),
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

/// For code that speaks of `io::Error`: the error itself is inside, and its kind is the nearest.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error.0.cause, error.kind()) {
            (Cause::Io(cause), _) => cause.kind(),
            (_, ErrorKind::NoSpace) => io::ErrorKind::StorageFull,
            (_, ErrorKind::Locked) => io::ErrorKind::ResourceBusy,
            (_, ErrorKind::Damaged | ErrorKind::Codec) => io::ErrorKind::InvalidData,
            (_, ErrorKind::Unsupported) => io::ErrorKind::Unsupported,
            (_, ErrorKind::InvalidInput | ErrorKind::TooLarge) => io::ErrorKind::InvalidInput,
            (_, ErrorKind::NotFound) => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
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
            #[cfg(feature = "typed")]
            Cause::Codec(error) => Some(error.as_ref()),
            Cause::Earlier(error) => Some(error),
            _ => None,
        }
    }
}
