//! What can go wrong between a log and a store: what, where, and what of it a retry may mend.

use cairnlog::{ErrorKind, SegmentId};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The result of every operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a copy, a restore or a read from afar could not go on. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The log itself said no.
    Log(cairnlog::Error),
    /// The store said no, or could not be reached.
    Store {
        /// What was being done.
        what: &'static str,
        /// With which object.
        path: String,
        /// What the store said.
        error: Arc<object_store::Error>,
    },
    /// The store did not answer in time. What was asked of it may have been done all the same.
    TimedOut {
        /// What was being done.
        what: &'static str,
        /// With which object.
        path: String,
        /// How long was waited.
        after: Duration,
    },
    /// An object is there and is not what was put.
    Damaged {
        /// Which object.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Another writer has taken the store over: this one has ended.
    Fenced {
        /// The epoch of the one that goes on.
        epoch: u64,
    },
    /// The store holds another log, or the same one as it went on elsewhere.
    OtherLog(String),
    /// The store puts an object over one of the same name, though asked not to: two writers in it would not see each other.
    Overwrites {
        /// Which object was put twice to see that.
        path: String,
    },
    /// What was asked for is not there, in words.
    NotFound(String),
    /// What was asked for makes no sense, in words.
    InvalidInput(String),
    /// The operating system said no.
    Io(PathBuf, Arc<io::Error>),
    /// It was stopped meanwhile.
    Stopped,
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Io(path, Arc::new(error))
    }

    pub(crate) fn damaged(path: impl fmt::Display, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_string(),
            what: what.into(),
        }
    }

    /// The segment of the log that does not verify, if that is what is wrong.
    pub(crate) fn damaged_segment(&self) -> Option<SegmentId> {
        match self {
            Self::Log(error) if error.kind() == ErrorKind::Damaged => error.place().segment,
            _ => None,
        }
    }

    /// For who reads a file: that an object is gone is said as of one.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::NotFound(_) => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// Whether trying again is of no use: somebody has to do something first.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Fenced { .. }
                | Self::OtherLog(_)
                | Self::Overwrites { .. }
                | Self::InvalidInput(_)
                | Self::Stopped
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(f, "{error}"),
            Self::Store { what, path, error } => write!(f, "{what} {path}: {error}"),
            Self::TimedOut { what, path, after } => {
                write!(
                    f,
                    "{what} {path}: no answer within {} s",
                    after.as_secs_f32()
                )
            }
            Self::Damaged { path, what } => write!(f, "{path} is damaged: {what}"),
            Self::Fenced { epoch } => write!(
                f,
                "another writer has taken the store over, in epoch {epoch}: this one has ended"
            ),
            Self::Overwrites { path } => write!(
                f,
                "the store does not know conditional puts: it put {path} over an object of that name, and two writers \
                 in it would not see each other"
            ),
            Self::OtherLog(what) | Self::NotFound(what) | Self::InvalidInput(what) => {
                f.write_str(what)
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Stopped => f.write_str("it was stopped"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::Store { error, .. } => Some(&**error),
            Self::Io(_, error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<cairnlog::Error> for Error {
    fn from(error: cairnlog::Error) -> Self {
        Self::Log(error)
    }
}
