//! Pending effects in words: for reports of failing cases, and for tests that look for one.
//!
//! INVARIANT: nothing is decided here; a crash point could do without it. Called by `crash`.

use super::{
    disk::Disk,
    file_node::FileEffect,
    names::{Ino, NameEffect, Slot},
};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// What kind of thing a pending effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectKind {
    /// Bytes in a file.
    Write,
    /// The size of a file: grown or cut.
    Size,
    /// A new name.
    Link,
    /// A name taken away.
    Unlink,
    /// A name that becomes another.
    Rename,
    /// Two names that change their files.
    Exchange,
}

/// Something pending, described.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effect {
    /// What it is.
    pub kind: EffectKind,
    /// The file or name, as the process saw it at the cut.
    pub path: PathBuf,
    /// The new name, of a rename; the other one, of an exchange.
    pub to: Option<PathBuf>,
    /// Of a write, where; of a size, the old one.
    pub offset: u64,
    /// Of a write, how many bytes; of a size, the new one.
    pub len: u64,
}

impl Effect {
    pub(super) fn of_file(path: PathBuf, effect: &FileEffect) -> Self {
        let (kind, offset, len) = match effect {
            FileEffect::Data { offset, bytes } => (EffectKind::Write, *offset, bytes.len() as u64),
            FileEffect::Size { from, to } => (EffectKind::Size, *from, *to),
        };
        let to = None;
        Self {
            kind,
            path,
            to,
            offset,
            len,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, to) = (self.path.display(), self.to.as_deref());
        match self.kind {
            EffectKind::Write => write!(f, "write {path} {}+{}", self.offset, self.len),
            EffectKind::Size => write!(f, "size {path} {} to {}", self.offset, self.len),
            EffectKind::Link => write!(f, "link {path}"),
            EffectKind::Unlink => write!(f, "unlink {path}"),
            EffectKind::Rename => {
                write!(f, "rename {path} to {}", to.unwrap_or(&self.path).display())
            }
            EffectKind::Exchange => {
                write!(
                    f,
                    "exchange {path} and {}",
                    to.unwrap_or(&self.path).display()
                )
            }
        }
    }
}

/// Paths for numbers: as they were at the cut, or else as they are durably.
pub(super) struct Labels(BTreeMap<Ino, PathBuf>);

impl Labels {
    pub(super) fn of(durable: &Disk, live: &Disk) -> Self {
        let by_ino = |(path, ino)| (ino, path);
        let durable = durable.paths().into_iter().map(by_ino);
        let live = live.paths().into_iter().map(by_ino);
        Self(durable.chain(live).collect())
    }

    pub(super) fn path(&self, ino: Ino) -> PathBuf {
        let unnamed = || PathBuf::from(format!("(file {ino})"));
        self.0.get(&ino).cloned().unwrap_or_else(unnamed)
    }

    pub(super) fn effect(&self, effect: &NameEffect) -> Effect {
        let path = |slot: &Slot| self.path(slot.dir).join(&*slot.name);
        let put = effect.put.as_ref().map(|(slot, _)| path(slot));
        let also = effect.also.as_ref().map(|(slot, _)| path(slot));
        let (kind, from, to) = match (put, effect.cut.as_ref().map(path)) {
            (Some(put), _) if also.is_some() => (EffectKind::Exchange, put, also),
            (Some(put), Some(cut)) => (EffectKind::Rename, cut, Some(put)),
            (Some(put), None) => (EffectKind::Link, put, None),
            (None, cut) => (EffectKind::Unlink, cut.unwrap_or_default(), None),
        };
        Effect {
            kind,
            path: from,
            to,
            offset: 0,
            len: 0,
        }
    }
}
