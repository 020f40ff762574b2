//! Which sealed segments of a log are open: those that were read lately, and a bounded number.
//!
//! A log has any number of segments; the system grants a process some hundreds of descriptors and
//! some thousands of mappings. So whoever walks past a segment leaves it open for the next, and
//! opening one too many closes the one that was not read for longest.
//!
//! INVARIANTS: closing takes nothing from whoever reads: a walk and a record that was lent hold what
//! they read from. What is closed is opened again by name, which is sound because a file keeps its name
//! as long as any set of segments in this process holds it (`Sealed::retire`).
//!
//! Called by `Sealed`.

use super::{Sealed, Source};
use crate::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicUsize, Ordering},
};
use bytes::Bytes;
use std::collections::VecDeque;

/// Sealed segments whose file is held open, beside those that are being read: a descriptor each.
pub(crate) const OPEN_FILES_MAX: usize = 32;
/// Sealed segments that are held mapped, beside those that are being read. A mapping takes no descriptor.
pub(crate) const OPEN_MAPS_MAX: usize = 1024;
/// Mappings at most, with those that walks and kept records hold. The rest is read by position. Linux
/// grants a process 65,530.
pub(crate) const LENT_MAPS_MAX: usize = 4096;

/// The open sealed segments of one log.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    files: Mutex<Row>,
    maps: Mutex<Row>,
    lent_maps: Arc<AtomicUsize>,
}

/// Open segments of one kind, in the order in which they were opened or looked over last.
type Row = VecDeque<Weak<Sealed>>;

impl Shelf {
    /// Takes in a segment that was just opened, and closes others if it is one too many.
    pub(super) fn put(&self, segment: &Arc<Sealed>, source: &Source) {
        let (row, count_max) = match source {
            Source::File(_) => (&self.files, OPEN_FILES_MAX),
            Source::Mapped(_) => (&self.maps, OPEN_MAPS_MAX),
        };
        let mut row = row.lock();
        row.push_back(Arc::downgrade(segment));
        let surplus = surplus(&mut row, count_max);
        drop(row);
        surplus.iter().for_each(|segment| segment.close());
    }

    /// Closes all that nobody reads: the process has no descriptor left.
    pub(super) fn clear(&self) {
        let row = std::mem::take(&mut *self.files.lock());
        let all = row.iter().filter_map(Weak::upgrade);
        all.for_each(|segment| segment.close());
    }

    /// Whether another segment may be mapped.
    pub(super) fn may_map(&self) -> bool {
        self.lent_maps.load(Ordering::Relaxed) < LENT_MAPS_MAX
    }

    /// Counts a mapping for as long as anything holds it.
    pub(super) fn lend(&self, map: Bytes) -> Bytes {
        self.lent_maps.fetch_add(1, Ordering::Relaxed);
        let count = self.lent_maps.clone();
        Bytes::from_owner(Lent { map, count })
    }
}

/// Takes out what is too many: whatever was not read since it was last looked at comes first.
fn surplus(row: &mut Row, count_max: usize) -> Vec<Arc<Sealed>> {
    let mut surplus = Vec::new();
    while row.len() > count_max
        && let Some(next) = row.pop_front()
    {
        match next.upgrade() {
            None => {} // It left the log, and nobody knows it any more.
            Some(segment) if segment.was_read() => row.push_back(next),
            Some(segment) => surplus.push(segment),
        }
    }
    surplus
}

/// A mapping that is counted.
struct Lent {
    map: Bytes,
    count: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_kept_records_counted_that_keep_a_mapping() {
        let shelf = Shelf::default();
        let mut kept = Vec::new();
        while shelf.may_map() {
            kept.push(shelf.lend(Bytes::from_static(b"frames")).slice(2..));
        }
        assert_eq!(kept.len(), LENT_MAPS_MAX);
        kept.pop();
        assert!(shelf.may_map());
    }
}
