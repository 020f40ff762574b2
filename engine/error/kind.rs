//! What the caller can do about an error, and what was being done.

use std::fmt;

/// What the caller can do about an [`Error`](super::Error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused. The log is as it was; the call may be tried again.
    Io,
    /// The disk is full. Nothing of the append is in the log; the same handle appends again once
    /// there is room.
    NoSpace,
    /// Another handle or process writes to this log, [`Error::holder`](super::Error::holder) names it; or
    /// the cursor has another consumer.
    Locked,
    /// Bytes that were durable do not verify. See [`Error::defect_found`](super::Error::defect_found); `cairn verify` lists all.
    Damaged,
    /// Written by a newer version of this library.
    Unsupported,
    /// The records are sealed under a key that is not to be had. The others are read, and nothing is lost.
    KeyMissing,
    /// The segment lives elsewhere, and the log was opened without what reads it there,
    /// [`Options::far_segments`](crate::Options::far_segments). The others are read, and nothing is lost.
    Far,
    /// Sealed records were changed by somebody who could make their checksum right. They are not shown.
    Tampered,
    /// The record was trimmed away. [`Error::resume_seq`](super::Error::resume_seq) is the oldest that is left.
    Trimmed,
    /// Over a limit. Nothing was queued.
    TooLarge,
    /// A conditional append met another next number. [`Error::next_seq`](super::Error::next_seq) is the actual one.
    SeqMismatch,
    /// A producer's append was made before, so long ago that its seq is no longer known. Nothing was
    /// appended.
    Duplicate,
    /// A producer with a newer epoch took over. [`Error::newest_epoch`](super::Error::newest_epoch)
    /// is its epoch. Nothing was appended.
    Fenced,
    /// An earlier sync failed, so this handle takes no more appends. Reopen the log.
    Poisoned,
    /// The sync of this very append failed, or the commit of this trim or rewind: it may or may not
    /// be there after reopening.
    Indeterminate,
    /// The log was closed.
    Closed,
    /// An argument or option that cannot be honoured. Nothing was done.
    InvalidInput,
    /// Background work panicked: code of the application, a filter for example, or a bug of this
    /// library. It is not tried again before the log is opened anew; everything else goes on.
    Panicked,
    /// The codec could not turn a value into bytes, or verified bytes into a value. The log is as it
    /// was, and other records read.
    Codec,
    /// There is no log here and the options say not to create one; or no cursor of this name.
    NotFound,
}

/// What was being done when an [`Error`](super::Error) happened.
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
    Pack,
    Reseal,
    Release,
    Commit,
    Close,
    Verify,
    Repair,
    Salvage,
    Encode,
    Decode,
    Backup,
    Consume,
    Mark,
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
            Self::Pack => "pack",
            Self::Reseal => "reseal",
            Self::Release => "release",
            Self::Commit => "commit",
            Self::Close => "close",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Salvage => "salvage",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Backup => "backup",
            Self::Consume => "consume",
            Self::Mark => "mark",
        })
    }
}
