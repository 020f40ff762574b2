//! Segment files that were written aside and that no manifest names yet: they are removed unless one does.
//!
//! Used by whoever writes segments aside: a try that failed leaves nothing behind.

use crate::{format::names, types::SegmentId, vfs::Dir};

/// Removes its files when it is dropped.
#[derive(Debug)]
pub(crate) struct Unnamed {
    dir: Dir,
    ids: Vec<SegmentId>,
}

impl Unnamed {
    pub(crate) fn new(dir: &Dir) -> Self {
        Self {
            dir: dir.clone(),
            ids: Vec::new(),
        }
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn add(&mut self, id: SegmentId) {
        self.ids.push(id);
    }

    /// They stay: a manifest names them, or may, or somebody else sees to them.
    pub(crate) fn keep(&mut self) {
        self.ids.clear();
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        for id in &self.ids {
            // If this fails it is an orphan, which the next opening removes.
            self.dir.remove_if_there(&names::segment(*id)).ok();
        }
    }
}
