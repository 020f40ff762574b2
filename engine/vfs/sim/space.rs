//! How much room there is, what takes it, and who is told that there is none.
//!
//! INVARIANT: what is used follows from the disk, the open handles and the options alone, so equal
//! runs are refused at equal places. A call that would need no more than before is never refused.
//! Asked by `plan` and `state` before a change, told by them after it.

use super::{
    Errno, SimFs,
    disk::Change,
    file_node::{FileEffect, FileNode},
    names::{Ino, NameEffect, Names, Slot},
    state::State,
};
use std::{collections::BTreeSet, io};

/// What a name takes in its directory, beside its letters.
const NAME_BYTES: u64 = 16;

/// How the disk counts its room, beside [how much it has](SimFs::set_capacity).
///
/// The default counts the bytes of files, gives back at once what is freed, and has room enough for
/// names, for writing over what is there and for removing.
///
/// ```
/// use cairnlog::vfs::{Vfs, sim::{SimFs, Space}};
/// use std::{io, path::Path};
///
/// let disk = SimFs::new(1);
/// disk.set_space(Space::new().block_bytes(4096).copy_on_write(true).quota(true));
/// let file = disk.create_new(Path::new("/a"))?;
/// file.write_at(b"one byte or a block, it is all the same", 0)?;
/// file.sync()?;
/// disk.sync_dir(Path::new("/"))?;
/// disk.set_capacity(Some(disk.used_bytes()));
/// for refused in [file.write_at(b"over it", 0).map(drop), disk.rename(Path::new("/a"), Path::new("/b"))] {
///     assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
/// }
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    block_bytes: u64,
    quota: bool,
    copy_on_write: bool,
    frees_late: bool,
    others_take_freed: bool,
    stale: bool,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            block_bytes: 1,
            quota: false,
            copy_on_write: false,
            frees_late: false,
            others_take_freed: false,
            stale: false,
        }
    }
}

impl Space {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files take whole blocks of so many bytes; each file and directory takes one for itself, and a
    /// directory those for its names: so creating, linking and renaming can find the disk full. 1, the
    /// default, counts bytes of files alone; 0 means 1.
    pub fn block_bytes(mut self, bytes: u64) -> Self {
        self.block_bytes = bytes.max(1);
        self
    }

    /// The capacity is a quota: who goes beyond it is told `EDQUOT` instead of `ENOSPC`.
    pub fn quota(mut self, yes: bool) -> Self {
        self.quota = yes;
        self
    }

    /// Nothing is written in place, as on btrfs: what durable blocks are written over with takes room of
    /// its own until the file is synced; and, if [blocks](Self::block_bytes) are counted, a change of
    /// names takes one until its directory is. Removing is never refused.
    pub fn copy_on_write(mut self, yes: bool) -> Self {
        self.copy_on_write = yes;
        self
    }

    /// What is removed counts until the removal is durable, and what is cut off until the file is
    /// synced, as on xfs, which frees in the background: until a sync or a power cut.
    pub fn frees_late(mut self, yes: bool) -> Self {
        self.frees_late = yes;
        self
    }

    /// Whatever is freed, others take at once: the capacity shrinks by it.
    pub fn others_take_freed(mut self, yes: bool) -> Self {
        self.others_take_freed = yes;
        self
    }

    /// After a power cut, space by which a file had grown, and whose bytes did not arrive, reads as what
    /// was there before: bytes of former files, from the same place in them, or noise; instead of zeros.
    pub fn stale(mut self, yes: bool) -> Self {
        self.stale = yes;
        self
    }

    pub(super) fn is_stale(self) -> bool {
        self.stale
    }

    /// So many bytes in whole blocks.
    fn round(self, bytes: u64) -> u64 {
        let blocks = bytes.div_ceil(self.block_bytes);
        blocks.saturating_mul(self.block_bytes)
    }

    /// What a file or a directory takes for itself.
    fn node(self) -> u64 {
        if self.block_bytes > 1 {
            self.block_bytes
        } else {
            0
        }
    }

    fn names(self, bytes: u64) -> u64 {
        if self.block_bytes > 1 {
            self.round(bytes)
        } else {
            0
        }
    }

    /// What a file takes once it is so long, and once these bytes of it are written.
    fn file(self, file: &FileNode, len: u64, written: Option<(u64, u64)>) -> u64 {
        let durable_len = file.durable.len();
        let held = if self.frees_late {
            len.max(durable_len)
        } else {
            len
        };
        let data = self.round(held).saturating_add(self.node());
        if !self.copy_on_write {
            return data;
        }
        let pending = file.pending.iter().filter_map(|effect| match effect {
            FileEffect::Data { offset, bytes } => Some((*offset, bytes.len() as u64)),
            FileEffect::Size { .. } => None,
        });
        let limit = self.round(durable_len);
        let over = pending.chain(written).map(|(offset, len)| {
            let end = self.round(offset.saturating_add(len)).min(limit);
            (offset - offset % self.block_bytes, end)
        });
        data.saturating_add(union(over.collect()))
    }
}

/// How many places lie in one of these ranges at least.
fn union(mut ranges: Vec<(u64, u64)>) -> u64 {
    ranges.sort_unstable();
    let (mut sum, mut reached) = (0, 0);
    for (start, end) in ranges {
        let start = start.max(reached);
        sum += end.saturating_sub(start);
        reached = reached.max(end);
    }
    sum
}

fn bytes_of(names: &Names) -> u64 {
    let each = names.keys().map(|name| name.len() as u64 + NAME_BYTES);
    each.sum()
}

impl SimFs {
    /// Sets how the disk counts its room from now on. Outlives kills and power cuts.
    pub fn set_space(&self, space: Space) {
        self.lock().machine.space = space;
    }

    /// Limits the room that all files take that have a name or are open, as [`Space`] counts it. A write
    /// beyond is cut short, and then fails as on a full disk; so does what else needs more room. Outlives
    /// kills and power cuts.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().machine.capacity = bytes;
    }

    /// What there is room for, as last set or as others have left it.
    pub fn capacity(&self) -> Option<u64> {
        self.lock().machine.capacity
    }

    /// The bytes that count against the capacity.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }
}

impl State {
    pub(super) fn used_bytes(&self) -> u64 {
        let (space, disk) = (self.machine.space, &self.disk);
        let mut counted = disk.named(|dir| &dir.live);
        if space.frees_late {
            counted.extend(disk.recoverable());
        }
        let takes_room = |ino: &Ino| counted.contains(ino) || self.is_open(*ino);
        let files = disk.files.iter().filter(|(ino, _)| takes_room(ino));
        let files = files.map(|(_, file)| space.file(file, file.live.len(), None));
        let dirs = disk.tree.dirs.values();
        let dirs = dirs.map(|dir| {
            space
                .names(bytes_of(&dir.live))
                .saturating_add(space.node())
        });
        let sum = files.chain(dirs).fold(0, u64::saturating_add);
        match space.copy_on_write {
            true => sum.saturating_add(self.changed_dirs().len() as u64 * space.node()),
            false => sum,
        }
    }

    /// Directories with changes that are not durable.
    fn changed_dirs(&self) -> BTreeSet<Ino> {
        let slots = |effect: &'_ NameEffect| {
            let puts = effect.puts().map(|(slot, _)| slot.dir);
            puts.chain(effect.cut.as_ref().map(|slot| slot.dir))
                .collect::<Vec<_>>()
        };
        self.disk.tree.pending.iter().flat_map(slots).collect()
    }

    /// The error of who needs more room than there is.
    fn full(&self) -> io::Error {
        match self.machine.space.quota {
            true => Errno::Edquot.error(),
            false => Errno::Enospc.error(),
        }
    }

    /// The room that is left; `None` if there is no limit.
    fn room_left(&self) -> Option<u64> {
        let capacity = self.machine.capacity?;
        Some(capacity.saturating_sub(self.used_bytes()))
    }

    /// How many of the bytes of a write there is room for; the error if for none.
    pub(super) fn room_to_write(&self, ino: Ino, offset: u64, len: usize) -> io::Result<usize> {
        let (Some(free), Some(file)) = (self.room_left(), self.disk.files.get(&ino)) else {
            return Ok(len);
        };
        let (space, old_len) = (self.machine.space, file.live.len());
        let before = space.file(file, old_len, None);
        let fits = |count: usize| {
            let new_len = old_len.max(offset.saturating_add(count as u64));
            let after = space.file(file, new_len, Some((offset, count as u64)));
            after.saturating_sub(before) <= free
        };
        if len == 0 || fits(len) {
            return Ok(len);
        }
        let (mut least, mut most) = (0, len);
        while most - least > 1 {
            let middle = least + (most - least) / 2;
            match fits(middle) {
                true => least = middle,
                false => most = middle,
            }
        }
        if least > 0 {
            Ok(least)
        } else {
            Err(self.full())
        }
    }

    /// Refuses a change of sizes or names that there is no room for.
    pub(super) fn check_room(&self, change: &Change) -> io::Result<()> {
        let space = self.machine.space;
        let need = match change {
            Change::SetLen { ino, len } => self.disk.files.get(ino).map_or(0, |file| {
                let before = space.file(file, file.live.len(), None);
                space.file(file, *len, None).saturating_sub(before)
            }),
            Change::CreateFile(slot) | Change::CreateDir(slot) => {
                space.node().saturating_add(self.need_of_name(slot))
            }
            Change::Names(NameEffect {
                put: Some((slot, _)),
                ..
            }) => self.need_of_name(slot),
            _ => 0,
        };
        match self.room_left() {
            Some(free) if need > free => Err(self.full()),
            _ => Ok(()),
        }
    }

    /// What a name takes: it is there before the one that a rename takes away is gone.
    fn need_of_name(&self, slot: &Slot) -> u64 {
        let space = self.machine.space;
        let Some(names) = self.disk.tree.live(slot.dir) else {
            return 0;
        };
        let (before, mut after) = (bytes_of(names), bytes_of(names));
        if !names.contains_key(&slot.name) {
            after += slot.name.len() as u64 + NAME_BYTES;
        }
        let copy = space.copy_on_write && !self.changed_dirs().contains(&slot.dir);
        let copy = if copy { space.node() } else { 0 };
        space.names(after) - space.names(before) + copy
    }

    /// Does something that may free room, and lets others have what it frees.
    pub(super) fn freeing(&mut self, what: impl FnOnce(&mut Self)) {
        if !self.machine.space.others_take_freed {
            return what(self);
        }
        let before = self.used_bytes();
        what(self);
        let freed = before.saturating_sub(self.used_bytes());
        if let Some(capacity) = &mut self.machine.capacity {
            *capacity = capacity.saturating_sub(freed);
        }
    }
}
