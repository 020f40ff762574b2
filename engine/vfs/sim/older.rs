//! Files and names as they were: for tests that put an older one back.
//!
//! INVARIANT: looks into the history and changes nothing on this disk; what is put back is put into a
//! copy. An operation that is no longer known means the earliest that is. Called by tests.

use super::{
    SimFs,
    content::Content,
    disk::Disk,
    file_node::FileNode,
    names::{NameEffect, ROOT, Slot},
    outside,
};
use std::path::{Path, PathBuf};

impl SimFs {
    /// The bytes of a file as the process saw it before operation `op`; `None` if there was none.
    /// [`op_count()`](Self::op_count) means now.
    pub fn file_at(&self, op: u64, path: &Path) -> Option<Vec<u8>> {
        let disk = self.lock().journal.disk_before(op);
        let ino = disk.tree.lookup(path).ok()?;
        disk.files.get(&ino)?.live.to_vec()
    }

    /// The paths of all files before operation `op`, sorted.
    pub fn files_at(&self, op: u64) -> Vec<PathBuf> {
        let disk = self.lock().journal.disk_before(op);
        let all = files_below(&disk, Path::new("/"));
        all.into_iter().map(|(path, _)| path).collect()
    }

    /// The operations before which the process saw the file, or what is below the directory, for the
    /// first time as it was then: one number for each state between two changes, in order. The first is
    /// the [earliest that is known](Self::first_op), the last stands for now.
    pub fn versions(&self, path: &Path) -> Vec<u64> {
        let mut found = Vec::new();
        let mut last = None;
        self.lock().journal.each_before(|op, disk| {
            let seen = Some(files_below(disk, path));
            if seen != last {
                found.push(op);
                last = seen;
            }
        });
        found
    }

    /// A copy of the disk as it is now, all of it durable, in which each of these files, or directories
    /// with all that is below them, is as the process saw it before an operation: with its bytes of then
    /// if it was there, and gone if it was not. What is below a directory that has become a file since
    /// stays away. So a name that was removed or replaced comes back, too.
    /// Like a [`snapshot`](Self::snapshot), the copy shares no fate with this disk.
    ///
    /// ```
    /// use cairnlog::vfs::{Vfs, sim::SimFs};
    /// use std::path::Path;
    ///
    /// let (disk, a, b) = (SimFs::new(1), Path::new("/a"), Path::new("/b"));
    /// let file = disk.create_new(a)?;
    /// file.write_at(b"one", 0)?;
    /// file.write_at(b"two", 0)?;
    /// disk.rename(a, b)?;
    /// // Not there, empty, with one, with two, renamed.
    /// assert_eq!(disk.versions(a), [0, 1, 2, 3, 4]);
    /// let older = disk.put_back(&[(a, 2)]);
    /// assert_eq!(older.read_file(a).as_deref(), Some(&b"one"[..]));
    /// assert_eq!(older.read_file(b).as_deref(), Some(&b"two"[..]), "it is as it is now");
    /// let older = disk.put_back(&[(Path::new("/"), 3)]);
    /// assert_eq!(older.files(), [a]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn put_back(&self, older: &[(&Path, u64)]) -> Self {
        let copy = self.snapshot();
        let (state, mut new) = (self.lock(), copy.lock());
        for (path, op) in older {
            let then = state.journal.disk_before(*op);
            let path = Path::new("/").join(path);
            remove_below(&mut new.disk, &path);
            for (at, ino) in then.paths() {
                if !at.starts_with(&path) {
                    continue;
                }
                let disk = &mut new.disk;
                // Nothing is in the way, unless a directory on the way to it is a file by now.
                match (then.files.get(&ino), then.tree.links.get(&ino)) {
                    (Some(file), _) => {
                        let file = FileNode::settled(file.live.clone());
                        outside::put_file(disk, &at, file).ok();
                    }
                    (None, Some(target)) => {
                        if let Ok(slot) = disk.tree.slot(&at) {
                            let effect = disk.add_link(&slot, target.clone());
                            disk.tree.change_durably(&effect);
                        }
                    }
                    (None, None) => {
                        outside::put_dir(disk, &at).ok();
                    }
                }
            }
        }
        new.restart_history();
        drop(new);
        copy
    }
}

/// Takes away, durably, whatever is at a path; of the root, all that is in it.
fn remove_below(disk: &mut Disk, path: &Path) {
    let names = disk.tree.live(ROOT).into_iter().flatten();
    let in_root = names.map(|(name, _)| Slot {
        dir: ROOT,
        name: name.clone(),
    });
    let slots: Vec<Slot> = match path == Path::new("/") {
        true => in_root.collect(),
        false => disk.tree.slot(path).into_iter().collect(),
    };
    for slot in slots {
        let effect = NameEffect {
            cut: Some(slot),
            ..NameEffect::default()
        };
        disk.tree.change_durably(&effect);
    }
}

/// The files at or below a path, with what the process sees in them.
fn files_below(disk: &Disk, path: &Path) -> Vec<(PathBuf, Content)> {
    let path = Path::new("/").join(path);
    let below = disk
        .paths()
        .into_iter()
        .filter(|(file, _)| file.starts_with(&path));
    let file = |(path, ino)| Some((path, disk.files.get(&ino)?.live.clone()));
    below.filter_map(file).collect()
}
