//! Where segments live that the log has let go of, in these tests; and the log that has.

use cairnlog::{
    FarSegment, FarSegments, Log, Maintained, NewRecord, Options, Reader, Record, SegmentId, Seq,
    format::names, vfs::sim::SimFs,
};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

pub const SEGMENT_BYTES: u64 = 4096;
pub const RECORDS: u64 = 300;

/// Copies of segments in memory, which may be away for a while.
#[derive(Debug, Default)]
pub struct Attic {
    copies: Mutex<BTreeMap<(SegmentId, u64), Vec<u8>>>,
    away: Mutex<bool>,
}

impl Attic {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn set_away(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    /// Changes what is there of a segment; `None` takes it away.
    pub fn change(&self, id: SegmentId, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let mut copies = self.copies.lock().unwrap();
        let key = *copies.keys().find(|(of, _)| *of == id).unwrap();
        let bytes = copies.remove(&key).unwrap();
        if let Some(bytes) = change(bytes) {
            copies.insert(key, bytes);
        }
    }

    /// Takes a copy of every sealed segment that is here; which they are, from the oldest.
    pub fn take(&self, disk: &SimFs, log: &Log) -> Vec<SegmentId> {
        let moment = log.stored().unwrap().moment().unwrap();
        let sealed = moment.segments.iter().filter_map(|it| it.sealed_entry());
        let mut taken = Vec::new();
        for entry in sealed.filter(|entry| !entry.far) {
            let path = Path::new("/log").join(names::segment(entry.id));
            let bytes = disk.read_file(&path).unwrap();
            let mut copies = self.copies.lock().unwrap();
            copies.insert((entry.id, entry.salt), bytes);
            taken.push(entry.id);
        }
        taken
    }

    /// Has the log let go of its oldest sealed segments, so many of them.
    pub fn release(&self, disk: &SimFs, log: &Log, count: usize) -> Vec<SegmentId> {
        let taken = self.take(disk, log);
        let released = log.release(&taken[..count]).unwrap().segments;
        assert_eq!(released, taken[..count]);
        released
    }

    fn of<T>(&self, segment: &FarSegment, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        if *self.away.lock().unwrap() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let copies = self.copies.lock().unwrap();
        let copy = copies.get(&(segment.id, segment.salt));
        copy.map(|bytes| read(bytes))
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl FarSegments for Attic {
    fn len(&self, segment: &FarSegment) -> io::Result<u64> {
        self.of(segment, |bytes| bytes.len() as u64)
    }

    fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.of(segment, |bytes| {
            let there = bytes.get(offset as usize..).unwrap_or_default();
            // Short, as it may be.
            let count = there.len().min(buf.len()).min(1000);
            buf[..count].copy_from_slice(&there[..count]);
            count
        })
    }
}

/// Keeps in memory what was read of the attic, whatever becomes of it there.
#[derive(Debug)]
pub struct Remembering {
    pub attic: Arc<Attic>,
    read: Mutex<BTreeMap<(SegmentId, u64), Vec<u8>>>,
}

impl Remembering {
    pub fn of(attic: &Arc<Attic>) -> Arc<Self> {
        let (attic, read) = (attic.clone(), Mutex::default());
        Arc::new(Self { attic, read })
    }
}

impl FarSegments for Remembering {
    fn len(&self, segment: &FarSegment) -> io::Result<u64> {
        let name = (segment.id, segment.salt);
        let mut read = self.read.lock().unwrap();
        if let std::collections::btree_map::Entry::Vacant(place) = read.entry(name) {
            place.insert(self.attic.of(segment, <[u8]>::to_vec)?);
        }
        Ok(read[&name].len() as u64)
    }

    fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.len(segment)?;
        let read = self.read.lock().unwrap();
        let there = &read[&(segment.id, segment.salt)];
        let there = there.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn anew(&self) -> Option<Arc<dyn FarSegments>> {
        Some(Self::of(&self.attic))
    }
}

/// Without what reads far segments.
pub fn near(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .background(false)
}

pub fn options(disk: &SimFs, attic: &Arc<Attic>) -> Options {
    near(disk).far_segments(attic.clone())
}

/// A key of nine; every ninth record has none.
pub fn key(seq: Seq) -> Option<String> {
    (!seq.is_multiple_of(9)).then(|| format!("key {}", seq % 9))
}

/// Appends so many records, of which some have keys, each a second after the one before.
pub fn append(log: &Log, count: u64) {
    for _ in 0..count {
        let seq = log.next_seq();
        let value = format!("record number {seq} ").repeat(3);
        let key = key(seq);
        let record = match &key {
            Some(key) => NewRecord::keyed(key, &value),
            None => NewRecord::value(&value),
        };
        let record = record.timestamp_ms(1_000_000 + 1000 * seq as i64);
        log.append_records(&[record], &cairnlog::AppendOptions::new())
            .unwrap();
        while log.maintain().unwrap() != Maintained::Nothing {}
    }
}

/// What a record shows of itself.
pub type Shown = (Seq, i64, Option<Vec<u8>>, Option<Vec<u8>>);

pub fn shown(record: &Record) -> Shown {
    let bytes = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
    let (key, value) = (bytes(record.key()), bytes(record.value()));
    (record.seq(), record.timestamp_ms(), key, value)
}

/// Everything that a reader can be asked for, of the records from its head on.
pub fn everything(reader: &Reader) -> Vec<(&'static str, Vec<Shown>)> {
    let of = |record: Option<Record>| record.iter().map(shown).collect();
    let (head, end) = (reader.head_seq(), reader.end_seq());
    let walk: Vec<_> = reader
        .scan(..)
        .unwrap()
        .map(|it| shown(&it.unwrap()))
        .collect();
    let back = reader.scan(..).unwrap().rev();
    let back: Vec<_> = back.map(|it| shown(&it.unwrap())).collect();
    let parts = reader.split(.., 4).unwrap();
    let parts = parts.into_iter().flatten().map(|it| shown(&it.unwrap()));
    let parts: Vec<_> = parts.collect();
    let got = (head..end).flat_map(|seq| reader.get(seq).unwrap());
    let got = got.map(|it| shown(&it)).collect();
    let latest = (1..9).flat_map(|number| {
        let key = format!("key {number}");
        let all = reader.latest(key.as_bytes(), ..).unwrap();
        all.into_iter()
            .chain(reader.latest(key.as_bytes(), ..head + 20).unwrap())
    });
    let latest = latest.map(|it| shown(&it)).collect();
    let times = (0..RECORDS).step_by(7).map(|seq| {
        let found = reader.seek_time(1_000_000 + 1000 * seq as i64 - 1).unwrap();
        (found, 0, None, None)
    });
    let times = times.collect();
    vec![
        ("a scan", walk),
        ("a scan from the end", back),
        ("parts", parts),
        ("gets", got),
        ("keys", latest),
        ("times", times),
        ("the first", of(reader.first().unwrap())),
        ("the last", of(reader.last().unwrap())),
    ]
}

pub fn is_here(disk: &SimFs, id: SegmentId) -> bool {
    let path = Path::new("/log").join(names::segment(id));
    disk.read_file(&path).is_some()
}
