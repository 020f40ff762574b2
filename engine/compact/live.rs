//! Which records are dead: superseded, trimmed, let go by the filter, or tombstones past their time.
//!
//! INVARIANTS: a record is called dead by its key only if a newer one of the same key lies in the
//! segments that were read, all of them durable. A pass that was broken off has said nothing wrong.

use super::{
    Halt,
    keys::{KeyTable, Number},
    pace::Pace,
    policy::Judged,
};
use crate::{
    append::Core,
    error::{Defect, Error, Op, Place},
    format::{RecordRef, header::HEADER_BYTES, record::RECORD_BYTES_MIN},
    options::CompactOptions,
    segment::{Frames, Home, Sealed, Window},
    sync::Arc,
    types::Seq,
};

/// One bit for each record of the first segments of a scope, the window.
#[derive(Debug)]
pub(super) struct Dead {
    bits: Vec<u64>,
    /// The number of the first record of each segment; one more than there are segments.
    starts: Vec<u64>,
}

impl Dead {
    fn new(window: &[Arc<Sealed>]) -> Self {
        let mut count = 0;
        let mut starts = vec![0];
        starts.extend(window.iter().map(|segment| {
            count += u64::from(segment.entry.record_count);
            count
        }));
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            bits: vec![0; words],
            starts,
        }
    }

    /// The number of the first record of a segment of the window; behind it, of any other.
    pub(super) fn start(&self, segment: usize) -> u64 {
        let start = self.starts.get(segment).or(self.starts.last());
        start.copied().unwrap_or(0)
    }

    fn set(&mut self, number: u64) {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= 1 << (number % 64);
        }
    }

    pub(super) fn is_dead(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        self.bits
            .get(word)
            .is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// What is to be said of each segment of the window.
    pub(super) fn judged(&self, window: &[Arc<Sealed>]) -> Vec<Judged> {
        let of = |(number, segment): (usize, &Arc<Sealed>)| {
            let records = self.start(number)..self.start(number + 1);
            Judged {
                frame_bytes: segment.entry.frames_end,
                record_count: u64::from(segment.entry.record_count),
                dead_count: records.filter(|number| self.is_dead(*number)).count() as u64,
            }
        };
        window.iter().enumerate().map(of).collect()
    }
}

/// Walks the records of a segment, each verified, with their numbers from `start` on; steps over those
/// that are dead by `skipped`, as they were verified when they were judged. Its own way to the file
/// keeps the memory that the walk takes out of the readers' maps.
pub(super) fn walk(
    core: &Core,
    segment: &Sealed,
    start: u64,
    skipped: Option<&Dead>,
    pace: &mut Pace<'_>,
    mut each: impl FnMut(u64, &RecordRef<'_>, &mut Pace<'_>) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let entry = segment.entry;
    let fault =
        |fault: crate::segment::Fault| Halt::Failed(fault.into_error(Op::Compact, entry.id));
    let apart = Sealed::new(entry, Home::new(core.dir().clone(), core.log_id(), false));
    let loaded = apart.open().map_err(fault)?;
    // At a rate there is nothing to gain from a mapping, and a failing disk gives an error.
    let window = if pace.is_unbound() && core.options().mapped() {
        Window::mapped(&loaded.view.source)
    } else {
        Window::new(&loaded.view.source)
    };
    let mut frames = Frames::through(window, &loaded.view, HEADER_BYTES as u64);
    let mut number = start;
    let mut offset = frames.offset();
    while frames.go_on(entry.frames_end).map_err(fault)? {
        let skip = skipped.is_some_and(|dead| dead.is_dead(number));
        // A length that does not fit is met again by the verified walk, which names the place.
        if !skip || !frames.skip(entry.frames_end).map_err(fault)? {
            let Some((record, _)) = frames.next(Seq::MAX).map_err(fault)? else {
                break;
            };
            each(number, &record, pace)?;
        }
        number += 1;
        let read_bytes = frames.offset() - offset;
        offset += read_bytes;
        pace.read(read_bytes)?;
    }
    if number - start != u64::from(entry.record_count) {
        // Records are told apart by their number, so a wrong count would drop others than it should.
        let defect = Defect::Malformed("count of records");
        let place = Place::in_segment(entry.id, 0).with_seq(entry.base_seq);
        return Err(Error::defect(Op::Compact, place, defect).into());
    }
    Ok(())
}

/// About what a record takes on disk.
pub(super) fn frame_bytes(record: &RecordRef<'_>) -> u64 {
    let part = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
    part(record.key) + part(record.value) + RECORD_BYTES_MIN as u64
}

/// What decides over a record beside its key.
pub(super) struct Judge<'a> {
    pub(super) core: &'a Core,
    pub(super) how: &'a CompactOptions,
    pub(super) now_ms: i64,
    pub(super) head_seq: Seq,
    /// Tombstones from here on are kept for a consumer.
    pub(super) held_seq: Seq,
    /// All segments that are compared, from the head.
    pub(super) scope: &'a [Arc<Sealed>],
    /// How many of them, from the first, are judged.
    pub(super) window: usize,
}

impl Judge<'_> {
    /// Judges every record of the window.
    pub(super) fn judge(&self, pace: &mut Pace<'_>) -> Result<Dead, Halt> {
        let window = self.scope.get(..self.window).unwrap_or_default();
        let mut dead = Dead::new(window);
        if window.iter().any(|segment| segment.entry.keyed_count > 0) {
            let bitmap_bytes = dead.bits.len() * 8;
            let memory_bytes = self.how.memory_bytes_max.saturating_sub(bitmap_bytes);
            self.by_key(window, memory_bytes, &mut dead, pace)?;
        }
        self.by_itself(window, &mut dead, pace)?;
        Ok(dead)
    }

    fn by_key(
        &self,
        window: &[Arc<Sealed>],
        memory_bytes: usize,
        dead: &mut Dead,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let random = || self.core.dir().vfs().random();
        let secret = [random(), random()];
        let keyed = window.iter().filter(|it| it.entry.keyed_count > 0);
        let keyed_count = keyed
            .clone()
            .map(|it| u64::from(it.entry.keyed_count))
            .sum();
        // Of what they have at most: values and all.
        let key_bytes = keyed.map(|it| it.entry.frames_end).sum();
        let expected = (keyed_count, key_bytes);
        let mut table = KeyTable::new(self.how.keys, memory_bytes, expected, secret);
        loop {
            pace.progress.pass_count += 1;
            self.pass(&mut table, dead, pace)?;
            if !table.next_part() {
                return Ok(());
            }
        }
    }

    /// One pass over the scope.
    fn pass(&self, table: &mut KeyTable, dead: &mut Dead, pace: &mut Pace<'_>) -> Result<(), Halt> {
        for (at, segment) in self.scope.iter().enumerate() {
            if segment.entry.keyed_count == 0 {
                continue;
            }
            // What lies behind the window is evidence only.
            let inside = at < self.window;
            let start = dead.start(at);
            let each = |number, record: &RecordRef<'_>, _: &mut Pace<'_>| {
                match (record.key, Number::try_from(number)) {
                    (Some(key), Ok(number)) if inside => {
                        table.put(key, number, |older| dead.set(older.into()));
                    }
                    (Some(key), _) => {
                        if let Some(older) = table.get(key) {
                            dead.set(older.into());
                        }
                    }
                    (None, _) => {}
                }
                Ok(())
            };
            walk(self.core, segment, start, None, pace, each)?;
            table.settle(|older| dead.set(older.into()));
        }
        Ok(())
    }

    /// A second look at what is the newest of its key, or has none.
    fn by_itself(
        &self,
        window: &[Arc<Sealed>],
        dead: &mut Dead,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        for (at, segment) in window.iter().enumerate() {
            let entry = segment.entry;
            let asked = self.how.filter.is_some()
                || entry.tombstone_count > 0
                || entry.base_seq < self.head_seq;
            if !asked {
                continue;
            }
            let start = dead.start(at);
            let each = |number, record: &RecordRef<'_>, _: &mut Pace<'_>| {
                if !dead.is_dead(number) && !self.keeps(record) {
                    dead.set(number);
                }
                Ok(())
            };
            walk(self.core, segment, start, None, pace, each)?;
        }
        Ok(())
    }

    fn keeps(&self, record: &RecordRef<'_>) -> bool {
        let age_ms = i64::try_from(self.how.tombstone_age_min.as_millis()).unwrap_or(i64::MAX);
        // All that is older of its key is dead by now, and leaves the log no later than it does.
        let expired = record.value.is_none()
            && record.timestamp_ms.saturating_add(age_ms) <= self.now_ms
            && record.seq < self.held_seq;
        let trimmed = record.seq < self.head_seq;
        !expired && !trimmed && self.how.filter.as_ref().is_none_or(|keep| keep(record))
    }
}
