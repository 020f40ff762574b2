//! The history of a disk: every operation's change, and how the disk was before any of them.
//!
//! INVARIANT: replaying is exact (see `disk`), and costs at most [`STEP`] changes from the nearest
//! checkpoint, so looking at every operation of a run costs no more than the run. In a long run they are
//! further apart, by one part in [`PARTS`] of it: each holds all that is not durable by then, which in a run
//! of small writes without a sync would grow with its square. Used by `state`.

use super::disk::{Change, Disk};

/// Operations between two checkpoints.
const STEP: usize = 32;
const PARTS: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// The number of the first operation that is still known.
    first_op: u64,
    changes: Vec<Change>,
    /// How many changes were made, and the disk then. The first is of the beginning.
    checkpoints: Vec<(usize, Disk)>,
}

impl Journal {
    pub(super) fn new(first_op: u64, disk: &Disk) -> Self {
        Self {
            first_op,
            changes: Vec::new(),
            checkpoints: vec![(0, disk.clone())],
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
        let last = self.checkpoints.last().map_or(0, |(done, _)| *done);
        self.changes.len() - last >= STEP.max(self.changes.len() / PARTS)
    }

    pub(super) fn checkpoint(&mut self, disk: &Disk) {
        self.checkpoints.push((self.changes.len(), disk.clone()));
    }

    /// The disk while this operation was in flight: all earlier ones done, and the operation
    /// itself pending. An unknown number means the nearest known one, or the present.
    pub(super) fn disk_in_flight(&self, op: u64) -> Disk {
        let mut disk = self.disk_before(op);
        let in_flight = self.changes.get(self.done_before(op));
        if let Some(change) = in_flight.and_then(Change::in_flight) {
            disk.apply(change);
        }
        disk
    }

    /// Hands over every operation that is known with the disk before it, and the present.
    pub(super) fn each_before(&self, mut each: impl FnMut(u64, &Disk)) {
        let mut disk = self.disk_before(self.first_op);
        for (op, change) in (self.first_op..).zip(&self.changes) {
            each(op, &disk);
            disk.apply(change);
        }
        each(self.next_op(), &disk);
    }

    /// The changes up to an operation, which are all that are known if it is yet to come.
    fn done_before(&self, op: u64) -> usize {
        let done = usize::try_from(op.saturating_sub(self.first_op)).unwrap_or(usize::MAX);
        done.min(self.changes.len())
    }

    /// The disk before this operation, or the nearest that is known.
    pub(super) fn disk_before(&self, op: u64) -> Disk {
        let done = self.done_before(op);
        let later = self.checkpoints.partition_point(|(at, _)| *at <= done);
        let (at, mut disk) = match self.checkpoints.get(later.saturating_sub(1)) {
            Some((at, disk)) => (*at, disk.clone()),
            None => (0, Disk::new()),
        };
        for change in self.changes.get(at..done).unwrap_or_default() {
            disk.apply(change);
        }
        disk
    }
}
