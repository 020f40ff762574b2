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
    segment::{Frames, Sealed, Window},
    sync::{Arc, in_any_order},
    types::Seq,
};
use std::ops::Range;

/// One bit for each record of the first segments of a scope, the window.
#[derive(Debug)]
pub(super) struct Dead {
    bits: Vec<u64>,
    /// The number of the first record of each segment; one more than there are segments.
    starts: Vec<u64>,
}

impl Dead {
    pub(super) fn new(window: &[Arc<Sealed>]) -> Self {
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
        start_of(&self.starts, segment)
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

/// The number of the first record of a segment; behind those that are numbered, of any other.
fn start_of(starts: &[u64], segment: usize) -> u64 {
    let start = starts.get(segment).or(starts.last());
    start.copied().unwrap_or(0)
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
    let mapped = pace.is_unbound();
    go_through(core, segment, start, skipped, mapped, |met| match met {
        Met::Record(number, record) => each(number, &record, pace),
        Met::Bytes(read_bytes) => pace.read(read_bytes),
    })
}

/// What a walk meets.
enum Met<'a> {
    /// A record, and its number.
    Record(u64, RecordRef<'a>),
    /// So many bytes have been read since the last.
    Bytes(u64),
}

/// As [`walk`], for who has no pace to hold or holds it elsewhere.
fn go_through(
    core: &Core,
    segment: &Sealed,
    start: u64,
    skipped: Option<&Dead>,
    mapped: bool,
    mut each: impl FnMut(Met<'_>) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let entry = segment.entry;
    let fault =
        |fault: crate::segment::Fault| Halt::Failed(fault.into_error(Op::Compact, entry.id));
    let apart = Sealed::new(entry, core.home_apart());
    let loaded = apart.open().map_err(fault)?;
    // At a rate there is nothing to gain from a mapping, and a failing disk gives an error.
    let window = if mapped && core.options().mapped() {
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
            each(Met::Record(number, record))?;
        }
        number += 1;
        let read_bytes = frames.offset() - offset;
        offset += read_bytes;
        each(Met::Bytes(read_bytes))?;
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

/// So many bytes of keys are handed over at once by a thread that reads, or so many keys.
const KEYS_BYTES: usize = 64 << 10;
const KEYS_MAX: usize = 2048;

/// Takes keys, or why there are no more; false if no more are wanted.
type Tell<'a> = dyn FnMut(Result<Keys, Halt>) -> bool + 'a;

/// Keys that a thread has read.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    /// Of each the number of its record, and where it ends.
    ends: Vec<(u64, usize)>,
    /// How much was read for them.
    read_bytes: u64,
}

impl Keys {
    /// Reads those of a segment, and hands them over.
    fn of(core: &Core, segment: &Sealed, start: u64, tell: &mut Tell<'_>) {
        let mut keys = Self::default();
        let walked = go_through(core, segment, start, None, true, |met| {
            match met {
                Met::Record(number, record) => {
                    if let Some(key) = record.key {
                        keys.bytes.extend_from_slice(key);
                        keys.ends.push((number, keys.bytes.len()));
                    }
                }
                Met::Bytes(bytes) => keys.read_bytes += bytes,
            }
            let full = keys.bytes.len() >= KEYS_BYTES || keys.ends.len() >= KEYS_MAX;
            if full && !tell(Ok(std::mem::take(&mut keys))) {
                return Err(Halt::Cancelled); // Whoever wants no more knows why.
            }
            Ok(())
        });
        tell(walked.map(|()| keys));
    }

    fn each(&self, mut each: impl FnMut(&[u8], u64)) {
        let mut start = 0;
        for (number, end) in &self.ends {
            each(self.bytes.get(start..*end).unwrap_or_default(), *number);
            start = *end;
        }
    }
}

/// What decides over a record beside its key.
pub(super) struct Judge<'a> {
    pub(super) core: &'a Core,
    pub(super) how: &'a CompactOptions,
    pub(super) now_ms: i64,
    pub(super) head_seq: Seq,
    /// Tombstones from here on are kept for a consumer.
    pub(super) held_seq: Seq,
    /// Whether older segments are not compared, because they live elsewhere. What is the newest of its key has to stay
    /// then: without it an older one would be the newest.
    pub(super) behind_far: bool,
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

    /// One pass over the scope: first the window, then what lies behind, which is evidence only.
    fn pass(&self, table: &mut KeyTable, dead: &mut Dead, pace: &mut Pace<'_>) -> Result<(), Halt> {
        let starts = dead.starts.clone();
        self.each_key(0..self.window, &starts, pace, |key, number| {
            if let Ok(number) = Number::try_from(number) {
                table.put(key, number, |older| dead.set(older.into()));
            }
        })?;
        table.settle(|older| dead.set(older.into()));
        self.each_key(self.window..self.scope.len(), &starts, pace, |key, _| {
            if let Some(older) = table.get(key) {
                dead.set(older.into());
            }
        })
    }

    /// The keys of some segments, each with the number of its record. By as many threads as there may be, where
    /// no rate is held: then in any order.
    fn each_key(
        &self,
        segments: Range<usize>,
        starts: &[u64],
        pace: &mut Pace<'_>,
        mut each: impl FnMut(&[u8], u64),
    ) -> Result<(), Halt> {
        let keyed = segments.filter_map(|at| Some((self.scope.get(at)?, start_of(starts, at))));
        let keyed: Vec<_> = keyed.filter(|(it, _)| it.entry.keyed_count > 0).collect();
        let threads = match pace.is_unbound() {
            true => self.core.options().threads,
            false => 1,
        };
        if threads == 1 || keyed.len() < 2 {
            return keyed.iter().try_for_each(|(segment, start)| {
                walk(
                    self.core,
                    segment,
                    *start,
                    None,
                    pace,
                    |number, record, _| {
                        record.key.into_iter().for_each(|key| each(key, number));
                        Ok(())
                    },
                )
            });
        }
        let work = |number: usize, tell: &mut Tell<'_>| {
            if let Some((segment, start)) = keyed.get(number) {
                Keys::of(self.core, segment, *start, tell);
            }
        };
        in_any_order(threads, keyed.len(), work, |keys: Result<Keys, Halt>| {
            let keys = keys?;
            keys.each(&mut each);
            pace.read(keys.read_bytes)
        })
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
        let covers = self.behind_far && record.key.is_some();
        let keeps = |record| self.how.filter.as_ref().is_none_or(|keep| keep(record));
        !trimmed && (covers || !expired && keeps(record))
    }
}
