//! The disk seen and changed from outside, as by somebody with a screwdriver.
//!
//! INVARIANT: what is done here is durable at once, is no operation, meets no fault and works
//! without power. As no operation made the change, crash points from before it are forgotten.
//! Called by tests: to plant damage, and to look at what is left.

use super::{
    SimFs,
    content::Content,
    disk::Disk,
    file_node::FileNode,
    names::{Ino, NameEffect},
    state::State,
};
use std::{
    io,
    path::{Path, PathBuf},
};

impl SimFs {
    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.lock();
        let is_file = |(path, ino)| state.disk.files.contains_key(&ino).then_some(path);
        state.disk.paths().into_iter().filter_map(is_file).collect()
    }

    /// The bytes of a file as a process would see them; `None` if there is no such file.
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        let ino = state.disk.tree.lookup(path).ok()?;
        state.disk.files.get(&ino)?.live.to_vec()
    }

    /// Puts a file there, durably, with the directories on the way. One that is there already gets
    /// new content and forgets what was pending. False if a directory or file is in the way.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        let file = FileNode::settled(Content::from_bytes(bytes));
        let done = put_file(&mut state.disk, path, file).is_ok();
        state.restart_history();
        done
    }

    /// Puts a symbolic link there, durably, that leads to a path: from the root, or from the directory
    /// that the link is in. One that is there already leads to the new path from now on. False if anything
    /// else is in the way, or the directory is not there.
    pub fn symlink(&self, path: &Path, target: &Path) -> bool {
        let mut state = self.lock();
        let Ok(slot) = state.disk.tree.slot(path) else {
            return false;
        };
        let there = state.disk.tree.at(&slot);
        if there.is_some_and(|ino| !state.disk.tree.links.contains_key(&ino)) {
            return false;
        }
        let effect = state.disk.add_link(&slot, target.into());
        state.disk.tree.change_durably(&effect);
        state.restart_history();
        true
    }

    /// Turns one bit of a file over, in the cache and on the disk. False if it has no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u32) -> bool {
        let mut state = self.lock();
        let Some(ino) = find(&state, path) else {
            return false;
        };
        let mut flipped = false;
        state.disk.edit(ino, |file| {
            flipped = file.live.flip_bit(offset, bit);
            file.durable.flip_bit(offset, bit);
        });
        state.restart_history();
        flipped
    }

    /// Removes a file, durably. False if there was none.
    pub fn remove_file(&self, path: &Path) -> bool {
        let mut state = self.lock();
        let slot = state.disk.tree.slot(path).ok();
        let Some(cut) = slot.filter(|_| find(&state, path).is_some()) else {
            return false;
        };
        let effect = NameEffect {
            cut: Some(cut),
            ..NameEffect::default()
        };
        state.disk.tree.change_durably(&effect);
        state.restart_history();
        true
    }

    /// A copy of the disk as the process sees it, all of it durable, that shares no fate with this
    /// one: no locks, no faults, no history. Cheap enough to take one for every bit to be flipped.
    pub fn snapshot(&self) -> Self {
        let state = self.lock();
        let mut copy = State::boot(state.disk.all_synced(), state.successor(3));
        copy.now = state.now;
        Self::with(copy)
    }
}

fn find(state: &State, path: &Path) -> Option<Ino> {
    let ino = state.disk.tree.lookup(path).ok()?;
    state.disk.files.contains_key(&ino).then_some(ino)
}

pub(super) fn put_file(disk: &mut Disk, path: &Path, file: FileNode) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
        put_dir(disk, parent)?;
    }
    let slot = disk.tree.slot(path)?;
    match disk.tree.at(&slot) {
        Some(ino) if disk.files.contains_key(&ino) => {
            disk.edit(ino, |old| *old = file);
            // The name may still have been pending, and this file is to be there durably.
            let put = Some((slot, ino));
            disk.tree.change_durably(&NameEffect {
                put,
                ..NameEffect::default()
            });
        }
        Some(_) => return Err(io::ErrorKind::IsADirectory.into()),
        None => {
            let effect = disk.add_file(&slot, file);
            disk.tree.change_durably(&effect);
        }
    }
    Ok(())
}

/// Makes a directory and all above it durable, creating what is missing.
pub(super) fn put_dir(disk: &mut Disk, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    put_dir(disk, parent)?;
    let Ok(slot) = disk.tree.slot(path) else {
        return Ok(());
    };
    let effect = match disk.tree.at(&slot) {
        Some(ino) if disk.tree.live(ino).is_none() => {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Some(ino) => NameEffect {
            put: Some((slot, ino)),
            ..NameEffect::default()
        },
        None => disk.add_dir(&slot),
    };
    disk.tree.change_durably(&effect);
    Ok(())
}
