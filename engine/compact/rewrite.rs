//! Writing the live records of a run of segments into new ones, aside.
//!
//! INVARIANT: until a manifest names them they are files that nobody knows; they go again if it never
//! does.

use super::{
    Halt,
    live::{Dead, frame_bytes, walk},
    pace::Pace,
};
use crate::{
    append::Core,
    error::{Error, Op, Place},
    format::{
        Compression, RecordRef, SegmentHeader, batch::BATCH_HEADER_BYTES, manifest::SealedEntry,
        names,
    },
    segment::{Behind, Builder, Sealed, copy_header},
    sync::Arc,
    types::{SegmentId, Seq},
};
use std::io;

/// How much is read for it before it is synced where a rate is held. The device is given each piece as it is
/// written, so that this sync waits for little but the file's metadata; an append's may wait behind it, so
/// it is rare.
const SYNC_BYTES: u64 = 8 << 20;
/// What a record may take beside its frame's least: key length, time, producer, seq, a batch's header.
const OVERHEAD_BYTES: u64 = 2 + 8 + 20 + 4 + BATCH_HEADER_BYTES as u64;

/// How they are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    /// What their records are packed with.
    pub(super) pack: Option<Compression>,
    /// Whether there is nothing left to pack in them.
    pub(super) packed: bool,
    /// Whether nothing dead is left in them.
    pub(super) compacted: bool,
}

/// Segments that are written and named by no manifest yet.
pub(super) struct Outputs<'a> {
    core: &'a Core,
    /// Writes and syncs, if no rate is to be held and the log may have threads.
    behind: Option<Behind>,
    open: Option<(SegmentId, Builder)>,
    /// Bytes of the open one that are not synced.
    unsynced_bytes: u64,
    pub(super) sealed: Vec<SealedEntry>,
    pub(super) record_count: u64,
    how: Rewrite,
    /// Whether they stay: a manifest names them, or may.
    pub(super) kept: bool,
}

impl<'a> Outputs<'a> {
    /// Writes what is alive of a run; `first` is the run's place in the window that `dead` is of.
    pub(super) fn write(
        core: &'a Core,
        run: &[Arc<Sealed>],
        dead: &Dead,
        first: usize,
        how: Rewrite,
        pace: &mut Pace<'_>,
    ) -> Result<Self, Halt> {
        // Not at a rate, which is there to be gentle. If there is no thread to be had, it goes without.
        let fast = pace.is_unbound() && core.options().background;
        let behind = fast.then(Behind::start).and_then(Result::ok);
        let mut outputs = Self {
            core,
            behind,
            open: None,
            unsynced_bytes: 0,
            sealed: Vec::new(),
            record_count: 0,
            how,
            kept: false,
        };
        for (at, segment) in run.iter().enumerate() {
            let start = dead.start(first + at);
            if (start..dead.start(first + at + 1)).all(|number| dead.is_dead(number)) {
                continue; // Not even read.
            }
            walk(core, segment, start, Some(dead), pace, |_, record, pace| {
                outputs.add(record)?;
                pace.written(frame_bytes(record))
            })?;
        }
        outputs.seal()?;
        if let Some(behind) = outputs.behind.take() {
            // DURABILITY: after this line all that the thread was given survives.
            behind.finish().map_err(|(id, error)| failed(id, error))?;
        }
        if !outputs.sealed.is_empty() {
            // DURABILITY: after this line the new files' names survive; no manifest names them yet.
            core.dir().sync().map_err(|error| {
                Error::io(Op::Compact, error).at(Place::file(core.dir().path()))
            })?;
        }
        Ok(outputs)
    }

    /// Writes all of a segment.
    pub(super) fn of_all(
        core: &'a Core,
        segment: &Arc<Sealed>,
        how: Rewrite,
        pace: &mut Pace<'_>,
    ) -> Result<Self, Halt> {
        let run = std::slice::from_ref(segment);
        let outputs = Self::write(core, run, &Dead::new(run), 0, how, pace)?;
        assert_eq!(
            outputs.record_count,
            u64::from(segment.entry.record_count),
            "every record of the segment is in its copy"
        );
        Ok(outputs)
    }

    /// Takes back what lies below the head as a whole.
    pub(super) fn remove_below(&mut self, head_seq: Seq) {
        let core = self.core;
        self.sealed.retain(|entry| {
            let kept = entry.next_seq > head_seq;
            if !kept {
                remove(core, entry.id);
            }
            kept
        });
    }

    fn add(&mut self, record: &RecordRef<'_>) -> Result<(), Halt> {
        let bytes = frame_bytes(record) + OVERHEAD_BYTES;
        let has_room = |(_, builder): &(SegmentId, Builder)| {
            builder.reaches(record.seq)
                && builder.frame_bytes() + bytes <= self.core.options().segment_bytes
        };
        if !self.open.as_ref().is_some_and(has_room) {
            self.seal()?;
            self.open = Some(self.begin(record)?);
        }
        if let Some((id, builder)) = &mut self.open {
            let id = *id;
            builder
                .add(record, record.seq)
                .map_err(|error| failed(id, error))?;
            self.unsynced_bytes += bytes;
            if self.behind.is_none() && self.unsynced_bytes >= SYNC_BYTES {
                self.unsynced_bytes = 0;
                // DURABILITY: nothing is safer for it yet; it keeps the device's queue short.
                builder.sync_written().map_err(|error| failed(id, error))?;
            }
        }
        self.record_count += 1;
        Ok(())
    }

    fn begin(&self, first: &RecordRef<'_>) -> Result<(SegmentId, Builder), Halt> {
        if let Some(behind) = &self.behind {
            behind.check().map_err(|(id, error)| failed(id, error))?;
        }
        let (dir, log_id) = (self.core.dir(), self.core.log_id());
        let id = self.core.manifest().allocate_id();
        let header = SegmentHeader {
            // Times are stated as distances from it.
            base_timestamp_ms: first.timestamp_ms,
            packed: self.how.pack.is_some(),
            ..copy_header(dir, log_id, id, first.seq, &self.core.options().keys)
        };
        let keys = &self.core.options().keys;
        let builder = Builder::create(dir, header, keys).map_err(|error| failed(id, error))?;
        let builder = builder.filled().packing(self.how.pack);
        Ok(match &self.behind {
            Some(behind) => (id, builder.behind(behind)),
            None => (id, builder),
        })
    }

    fn seal(&mut self) -> Result<(), Halt> {
        if let Some((id, builder)) = self.open.take() {
            let sealed = builder.seal();
            if sealed.is_err() {
                remove(self.core, id);
            }
            let entry = sealed.map_err(|error| failed(id, error))?;
            self.sealed.push(SealedEntry {
                compacted: self.how.compacted,
                packed: self.how.packed,
                ..entry
            });
        }
        Ok(())
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        // Its thread ends first: it may be writing what is removed here.
        self.behind = None;
        if !self.kept {
            let open = self.open.as_ref().map(|(id, _)| *id);
            for id in self.sealed.iter().map(|entry| entry.id).chain(open) {
                remove(self.core, id);
            }
        }
    }
}

/// If this fails the file stays as an orphan, and the next opening removes it.
fn remove(core: &Core, id: SegmentId) {
    core.dir().remove_if_there(&names::segment(id)).ok();
}

fn failed(id: SegmentId, error: io::Error) -> Halt {
    Halt::Failed(Error::io(Op::Compact, error).at(Place::file(names::segment(id))))
}
