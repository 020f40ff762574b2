//! The whole simulated disk at one moment, and the only ways in which it changes.
//!
//! INVARIANT: every change is a [`Change`] applied here, by the running program and by a replay
//! alike, so a replay arrives at exactly the disk that the program had. Cloning is cheap: files
//! and directories are shared until they change. Used by `state`, `journal` and `crash`.

use super::{
    content::Content,
    fault::SyncFailure,
    file_node::FileNode,
    names::{DirNode, Ino, NameEffect, ROOT, Slot, Tree},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many former files are remembered.
const FORMER_MAX: usize = 4;

/// What one operation did to the disk.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Nothing,
    Write {
        ino: Ino,
        offset: u64,
        bytes: Bytes,
    },
    SetLen {
        ino: Ino,
        len: u64,
    },
    Sync(Ino),
    SyncFailed(Ino, SyncFailure),
    CreateFile(Slot),
    CreateDir(Slot),
    Names(NameEffect),
    SyncDir(Ino),
    SyncDirFailed(Ino, SyncFailure),
    /// Begins to write a file out, which promises nothing.
    WriteBack(Ino),
    /// The same of a part of it, which was refused.
    WriteBackFailed(Ino, Range<u64>, SyncFailure),
    /// The change, and then the loss of what is pending on its file or directory.
    Late(Box<Change>),
}

impl Change {
    /// What it has done for certain while it is in flight. A sync that is cut off may have made
    /// anything durable, or nothing; what is pending tells that already. Any other operation adds to
    /// what is pending.
    pub(super) fn in_flight(&self) -> Option<&Self> {
        match self {
            Self::Sync(_) | Self::SyncFailed(..) | Self::WriteBackFailed(..) => None,
            Self::SyncDir(_) | Self::SyncDirFailed(..) => None,
            Self::Late(change) => change.in_flight(),
            _ => Some(self),
        }
    }

    /// The file or directory whose sync would make it durable.
    pub(super) fn synced_by(&self) -> Option<Ino> {
        match self {
            Self::Nothing => None,
            Self::Write { ino, .. } | Self::SetLen { ino, .. } => Some(*ino),
            Self::Sync(ino) | Self::SyncFailed(ino, _) => Some(*ino),
            Self::WriteBack(ino) | Self::WriteBackFailed(ino, ..) => Some(*ino),
            Self::SyncDir(dir) | Self::SyncDirFailed(dir, _) => Some(*dir),
            Self::CreateFile(slot) | Self::CreateDir(slot) => Some(slot.dir),
            Self::Names(NameEffect { put, cut, .. }) => {
                let put = put.as_ref().map(|(slot, _)| slot);
                put.or(cut.as_ref()).map(|slot| slot.dir)
            }
            Self::Late(change) => change.synced_by(),
        }
    }

    /// The file or directory of which the call says what was lost before it.
    pub(super) fn tells_of(&self) -> Option<Ino> {
        match self {
            Self::WriteBack(_) => None,
            other => other.synced_by(),
        }
    }

    /// The same, if the system fails behind its back to write out what is pending.
    pub(super) fn late(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Sync(ino) => Self::SyncFailed(ino, SyncFailure::CacheKeepsNew),
            Self::SyncDir(dir) => Self::SyncDirFailed(dir, SyncFailure::CacheKeepsNew),
            other => Self::Late(Box::new(other)),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) tree: Tree,
    pub(super) files: BTreeMap<Ino, Arc<FileNode>>,
    /// What files held that are gone for good: the latest, whose room others may have by now.
    pub(super) former: Vec<Content>,
    next_ino: Ino,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            tree: Tree::new(),
            files: BTreeMap::new(),
            former: Vec::new(),
            next_ino: ROOT + 1,
        }
    }

    /// The number that the next file or directory will get.
    pub(super) fn next_ino(&self) -> Ino {
        self.next_ino
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Nothing | Change::WriteBack(_) => {}
            Change::Write { ino, offset, bytes } => {
                self.edit(*ino, |file| file.write(*offset, bytes));
            }
            Change::SetLen { ino, len } => self.edit(*ino, |file| file.set_len(*len)),
            Change::Sync(ino) => self.edit(*ino, FileNode::sync),
            Change::SyncFailed(ino, how) => self.edit(*ino, |file| file.sync_failed(*how)),
            Change::WriteBackFailed(ino, range, how) => {
                self.edit(*ino, |file| file.write_back_failed(range, *how));
            }
            Change::CreateFile(slot) => {
                let effect = self.add_file(slot, FileNode::default());
                self.tree.change(effect);
            }
            Change::CreateDir(slot) => {
                let effect = self.add_dir(slot);
                self.tree.change(effect);
            }
            Change::Names(effect) => self.tree.change(effect.clone()),
            Change::SyncDir(dir) => self.tree.sync(*dir),
            Change::SyncDirFailed(dir, how) => match how {
                SyncFailure::CacheKeepsNew => self.tree.sync_failed(*dir, false),
                SyncFailure::CacheShowsOld => self.tree.sync_failed(*dir, true),
                SyncFailure::StillDirty => {}
            },
            Change::Late(change) => {
                self.apply(change);
                let lost = change.synced_by().unwrap_or_default();
                self.edit(lost, |file| file.sync_failed(SyncFailure::CacheKeepsNew));
                if self.tree.live(lost).is_some() {
                    self.tree.sync_failed(lost, false);
                }
            }
        }
    }

    pub(super) fn edit(&mut self, ino: Ino, edit: impl FnOnce(&mut FileNode)) {
        if let Some(file) = self.files.get_mut(&ino) {
            edit(Arc::make_mut(file));
        }
    }

    /// A new file without a name, and the effect that would give it one.
    pub(super) fn add_file(&mut self, slot: &Slot, file: FileNode) -> NameEffect {
        let ino = self.take_ino();
        self.files.insert(ino, Arc::new(file));
        link(slot, ino)
    }

    /// A new directory without a name, and the effect that would give it one.
    pub(super) fn add_dir(&mut self, slot: &Slot) -> NameEffect {
        let ino = self.take_ino();
        self.tree.dirs.insert(ino, Arc::new(DirNode::default()));
        link(slot, ino)
    }

    /// A new symbolic link without a name, and the effect that would give it one.
    pub(super) fn add_link(&mut self, slot: &Slot, target: Arc<Path>) -> NameEffect {
        let ino = self.take_ino();
        self.tree.links.insert(ino, target);
        link(slot, ino)
    }

    fn take_ino(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        ino
    }

    /// What has a name, live or durably.
    pub(super) fn named<'a>(
        &'a self,
        side: impl Fn(&'a DirNode) -> &'a Arc<super::names::Names>,
    ) -> BTreeSet<Ino> {
        let dirs = self.tree.dirs.values();
        dirs.flat_map(|dir| side(dir).values().copied()).collect()
    }

    /// Everything that has a durable name, or would have one if some pending effect survived.
    pub(super) fn recoverable(&self) -> BTreeSet<Ino> {
        let mut found = self.named(|dir| &dir.durable);
        let puts = self.tree.pending.iter().flat_map(NameEffect::puts);
        found.extend(puts.map(|(_, ino)| *ino));
        found.insert(ROOT);
        found
    }

    /// Forgets what neither the process nor any crash can reach again.
    pub(super) fn collect_garbage(&mut self, is_open: impl Fn(Ino) -> bool) {
        let mut wanted = self.recoverable();
        wanted.extend(self.named(|dir| &dir.live));
        self.keep(|ino| wanted.contains(&ino) || is_open(ino));
    }

    /// Forgets all other files and directories.
    fn keep(&mut self, keep: impl Fn(Ino) -> bool) {
        let gone = self.files.iter().filter(|(ino, _)| !keep(**ino));
        let written = gone.map(|(_, file)| match file.durable.len() {
            0 => file.live.clone(),
            _ => file.durable.clone(),
        });
        let written = written.filter(|content| content.len() > 0);
        self.former.extend(written.collect::<Vec<_>>());
        let too_many = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..too_many);
        self.files.retain(|ino, _| keep(*ino));
        self.tree.dirs.retain(|ino, _| keep(*ino));
        self.tree.links.retain(|ino, _| keep(*ino));
    }

    /// The disk as it would be if nothing that is pending had survived.
    pub(super) fn without_pending(&self) -> Self {
        let reachable = self.recoverable();
        let mut disk = self.clone();
        disk.tree.pending.clear();
        disk.keep(|ino| reachable.contains(&ino));
        for file in disk.files.values_mut() {
            *file = Arc::new(FileNode::settled(file.durable.clone()));
        }
        for dir in disk.tree.dirs.values_mut() {
            Arc::make_mut(dir).live = dir.durable.clone();
        }
        disk
    }

    /// The disk as it would be if all that the process sees had been synced.
    pub(super) fn all_synced(&self) -> Self {
        let named = self.named(|dir| &dir.live);
        let mut disk = self.clone();
        disk.tree.pending.clear();
        disk.keep(|ino| named.contains(&ino) || ino == ROOT);
        for file in disk.files.values_mut() {
            *file = Arc::new(FileNode::settled(file.live.clone()));
        }
        disk.tree.make_durable();
        disk
    }

    /// Every file and directory that the process can reach, by path.
    pub(super) fn paths(&self) -> Vec<(PathBuf, Ino)> {
        let mut found = vec![(PathBuf::from("/"), ROOT)];
        let mut seen = BTreeSet::from([ROOT]);
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = todo.pop() {
            for (name, ino) in self.tree.live(dir).into_iter().flatten() {
                let path = path.join(&**name);
                // A directory may be found twice after a crash, even inside itself.
                if !self.files.contains_key(ino) && seen.insert(*ino) {
                    todo.push((path.clone(), *ino));
                }
                found.push((path, *ino));
            }
        }
        found.sort();
        found
    }
}

fn link(slot: &Slot, ino: Ino) -> NameEffect {
    NameEffect {
        put: Some((slot.clone(), ino)),
        ..NameEffect::default()
    }
}
