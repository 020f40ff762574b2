//! What happened, call by call: for reading a failing case, asserting an order, comparing two runs.
//!
//! INVARIANT: the hash covers every call with its arguments, written bytes and outcome, and nothing
//! that differs between two runs of the same history. Filled by `state`.

use super::{fault::Fault, rng::mix};
use bytes::Bytes;
use std::{
    fmt, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The kind of a call. All but `List`, `OpenDir`, `Open`, `Read` and `Len` are operations: they can change
/// the disk and have a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the method that it stands for")]
pub enum OpKind {
    CreateDir,
    OpenDir,
    List,
    CreateNew,
    Open,
    Link,
    Rename,
    Exchange,
    Remove,
    SyncDir,
    Lock,
    Read,
    Write,
    Len,
    SetLen,
    WriteBack,
    Sync,
}

impl OpKind {
    /// Whether such a call can change the disk, and so has a number.
    pub fn is_operation(self) -> bool {
        !matches!(
            self,
            Self::List | Self::OpenDir | Self::Open | Self::Read | Self::Len
        )
    }

    fn word(self) -> &'static str {
        match self {
            Self::CreateDir => "create_dir",
            Self::OpenDir => "open_dir",
            Self::List => "list",
            Self::CreateNew => "create_new",
            Self::Open => "open",
            Self::Link => "hard_link",
            Self::Rename => "rename",
            Self::Exchange => "exchange",
            Self::Remove => "remove",
            Self::SyncDir => "sync_dir",
            Self::Lock => "try_lock",
            Self::Read => "read_at",
            Self::Write => "write_at",
            Self::Len => "len",
            Self::SetLen => "set_len",
            Self::WriteBack => "write_back",
            Self::Sync => "sync",
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// A read or write succeeded with so many bytes.
    Moved(u64),
    /// It failed.
    Failed(io::ErrorKind),
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceEvent {
    /// The number of the operation; `None` for a call that only looks.
    pub op: Option<u64>,
    /// Which method was called.
    pub kind: OpKind,
    /// On what. A file appears under the name that it was opened by.
    pub path: PathBuf,
    /// The new name, of a rename.
    pub to: Option<PathBuf>,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes were asked for; of a `set_len`, the size.
    pub len: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault that it met.
    pub fault: Option<Fault>,
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            Some(op) => write!(f, "#{op:<5}")?,
            None => write!(f, "      ")?,
        }
        write!(f, " {:<10} {}", self.kind, self.path.display())?;
        if let Some(to) = &self.to {
            write!(f, " to {}", to.display())?;
        }
        match self.kind {
            OpKind::Read | OpKind::Write | OpKind::WriteBack => {
                write!(f, " {}+{}", self.offset, self.len)?
            }
            OpKind::SetLen => write!(f, " to {} bytes", self.len)?,
            _ => {}
        }
        match self.outcome {
            Outcome::Done => {}
            Outcome::Moved(bytes) if bytes == self.len => {}
            Outcome::Moved(bytes) => write!(f, ": {bytes} bytes only")?,
            Outcome::Failed(kind) => write!(f, ": failed, {kind}")?,
        }
        match self.fault {
            // What else there is to say of these, the outcome says.
            None | Some(Fault::Error(_) | Fault::Short(_)) => Ok(()),
            Some(fault) => write!(f, " ({fault})"),
        }
    }
}

/// A call with its arguments, before and while it runs.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: OpKind,
    pub(super) path: Arc<Path>,
    pub(super) to: Option<Arc<Path>>,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// What was to be written; shared with the journal, hashed only when somebody asks.
    pub(super) bytes: Bytes,
    pub(super) fault: Option<Fault>,
}

impl Call {
    pub(super) fn on(kind: OpKind, path: impl Into<Arc<Path>>) -> Self {
        Self {
            kind,
            path: path.into(),
            to: None,
            offset: 0,
            len: 0,
            bytes: Bytes::new(),
            fault: None,
        }
    }

    /// Whether it is about a range of a file that holds this byte.
    pub(super) fn covers(&self, at: u64) -> bool {
        let has_range = matches!(self.kind, OpKind::Read | OpKind::Write | OpKind::WriteBack);
        let end = self.offset.saturating_add(self.len);
        has_range && (self.offset..end).contains(&at)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    calls: Vec<(Option<u64>, Call, Outcome)>,
    /// The hash of what was forgotten.
    before: u64,
}

impl Trace {
    pub(super) fn push(&mut self, op: Option<u64>, call: Call, outcome: Outcome) {
        self.calls.push((op, call, outcome));
    }

    pub(super) fn events(&self) -> Vec<TraceEvent> {
        let event = |(op, call, outcome): &(Option<u64>, Call, Outcome)| TraceEvent {
            op: *op,
            kind: call.kind,
            path: call.path.to_path_buf(),
            to: call.to.as_ref().map(|to| to.to_path_buf()),
            offset: call.offset,
            len: call.len,
            outcome: *outcome,
            fault: call.fault,
        };
        self.calls.iter().map(event).collect()
    }

    pub(super) fn hash(&self) -> u64 {
        let each = |hash, (op, call, outcome): &(Option<u64>, Call, Outcome)| {
            let hash = mix(hash, op.map_or(0, |op| op + 1));
            let hash = text(mix(hash, call.kind as u64), call.kind.word().as_bytes());
            let hash = text(hash, call.path.as_os_str().as_bytes());
            let to = call.to.as_ref().map(|to| to.as_os_str().as_bytes());
            let hash = text(hash, to.unwrap_or_default());
            let hash = text(mix(mix(hash, call.offset), call.len), &call.bytes);
            let hash = match call.fault {
                None => hash,
                Some(fault) => text(hash, format!("{fault:?}").as_bytes()),
            };
            match outcome {
                Outcome::Done => mix(hash, 1),
                Outcome::Moved(bytes) => mix(mix(hash, 2), *bytes),
                Outcome::Failed(kind) => text(mix(hash, 3), kind.to_string().as_bytes()),
            }
        };
        self.calls.iter().fold(self.before, each)
    }

    /// Drops the calls so far; the hash goes on as if they were still there.
    pub(super) fn forget(&mut self) {
        self.before = self.hash();
        self.calls.clear();
    }
}

fn text(hash: u64, bytes: &[u8]) -> u64 {
    let hash = mix(hash, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter()
        .fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}
