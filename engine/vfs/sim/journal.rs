//! The history of a disk: every operation's change, and how the disk was before any of them.
//!
//! INVARIANT: replaying is exact (see `disk`), and costs at most [`STEP`] changes from the nearest
//! checkpoint, so looking at every operation of a run costs no more than the run. Used by `state`.

use super::disk::{Change, Disk};

/// Operations between two checkpoints.
const STEP: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// The number of the first operation that is still known.
    first_op: u64,
    changes: Vec<Change>,
    /// The disk before operations `first_op`, `first_op + STEP`, and so on.
    checkpoints: Vec<Disk>,
}

impl Journal {
    pub(super) fn new(first_op: u64, disk: &Disk) -> Self {
        Self {
            first_op,
            changes: Vec::new(),
            checkpoints: vec![disk.clone()],
        }
    }

    /// The number of the next operation.
    pub(super) fn next_op(&self) -> u64 {
        self.first_op + self.changes.len() as u64
    }

    pub(super) fn first_op(&self) -> u64 {
        self.first_op
    }

    /// Notes the next operation. True if a checkpoint is due, of the disk after it.
    pub(super) fn push(&mut self, change: Change) -> bool {
        self.changes.push(change);
        self.changes.len().is_multiple_of(STEP)
    }

    pub(super) fn checkpoint(&mut self, disk: &Disk) {
        self.checkpoints.push(disk.clone());
    }

    /// The disk while this operation was in flight: all earlier ones done, and the operation
    /// itself pending. An unknown number means the nearest known one, or the present.
    pub(super) fn disk_in_flight(&self, op: u64) -> Disk {
        let done = usize::try_from(op.saturating_sub(self.first_op)).unwrap_or(usize::MAX);
        let done = done.min(self.changes.len());
        let (step, mut disk) = match self.checkpoints.get(done / STEP) {
            Some(disk) => (done / STEP, disk.clone()),
            None => (0, Disk::new()),
        };
        for change in self.changes.get(step * STEP..done).unwrap_or_default() {
            disk.apply(change);
        }
        if let Some(change) = self.changes.get(done)
            && !change.is_sync()
        {
            disk.apply(change);
        }
        disk
    }
}
