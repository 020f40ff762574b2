//! The journeys of dropping records: from the head (trim) and from the end (rewind).
//!
//! Both become true with one manifest commit: a crash leaves the log as it was or as it will be.
//! Files go when the last reader lets go of them. A rewind ends the tail where it stands, so that it costs what it
//! drops: behind a sealed segment's frames anything may follow, and readers that hold the old set read on in it.
//!
//! Called by `Log`; calls append (for a quiet moment), catalog, segment, manifest.

use crate::{
    append::Core,
    catalog::Catalog,
    error::{Error, ErrorKind, Op, Place, Result},
    format::{SegmentHeader, header::HEADER_BYTES, manifest::SealedEntry, names},
    segment::{
        Builder, Sealed, Tail, TailWriter, Unnamed, View, copy_below, copy_header, summary_below,
        tail_header,
    },
    sync::Arc,
    types::Seq,
};
use std::ops::Range;

/// Of the tail so little is written anew instead of becoming a segment of its own: at most this many bytes, and this
/// part of a segment.
const SMALL_BYTES_MAX: u64 = 1 << 20;
const SMALL_DIVISOR: u64 = 64;

/// Drops every record below `head_seq`. Whole segments below it go; a segment that it cuts through
/// keeps its bytes, hidden, until all of it is below the head.
pub(crate) fn trim(core: &Core, head_seq: Seq) -> Result<()> {
    // On a full disk a sync may be impossible, and this is the way to make room: so only if needed.
    if head_seq > core.durable_seq() && head_seq > core.sync_all()? {
        let note = "cannot trim records that were not appended yet";
        return Err(Error::note(ErrorKind::InvalidInput, Op::Trim, note)
            .at(Place::default().with_seq(head_seq)));
    }
    let _no_other_change = core.hold_segments();
    let dropped = |entry: &SealedEntry| entry.next_seq <= head_seq;
    check_known(&core.catalog().load(), Op::Trim, dropped)?;
    // DURABILITY: after this commit the records are gone for good.
    core.commit(Op::Trim, None, |manifest| {
        // Also if the head is there already: a rewind may have left a segment that ends below it. The
        // catalog drops the same segments, and with them their files.
        manifest.head_seq = manifest.head_seq.max(head_seq);
        manifest.sealed.retain(|entry| !dropped(entry));
    })?;
    core.catalog().swap(|catalog| {
        catalog.head_seq = catalog.head_seq.max(head_seq);
        retain(catalog, |segment| !dropped(&segment.entry));
    });
    // On a full disk the commit may have taken the ballast; this is the first room there is.
    core.manifest().renew_ballast();
    Ok(())
}

/// What a newer program wrote is not dropped by one that does not know it.
fn check_known(catalog: &Catalog, op: Op, dropped: impl Fn(&SealedEntry) -> bool) -> Result<()> {
    let mut going = (catalog.sealed.iter()).filter(|segment| dropped(&segment.entry));
    going.try_for_each(|segment| {
        let place = || Place::in_segment(segment.entry.id, 0);
        let known = segment.check_known();
        known.map_err(|defect| Error::defect(op, place(), defect))
    })
}

fn retain(catalog: &mut Catalog, keep: impl Fn(&Sealed) -> bool) {
    let sealed = Arc::make_mut(&mut catalog.sealed);
    sealed.retain(|segment| {
        let kept = keep(segment);
        if !kept {
            segment.retire();
        }
        kept
    });
}

/// Drops every record at or above `end_seq`. Their numbers are not used again.
pub(crate) fn rewind(core: &Core, end_seq: Seq) -> Result<()> {
    core.exclusively(Op::Rewind, |core, writer, next_seq| {
        let catalog = core.catalog().load();
        if end_seq < catalog.head_seq {
            return Err(Error::trimmed(Op::Rewind, end_seq, catalog.head_seq));
        }
        if end_seq >= next_seq {
            return Ok(());
        }
        core.with_ballast(|| Rewind::new(core).run(writer, end_seq, next_seq))
    })
}

/// What the log ends in then, before the new tail.
#[derive(Debug, Default)]
struct Ends {
    /// The tail of before, shorter.
    in_place: Option<SealedEntry>,
    /// What was written anew.
    written: Vec<SealedEntry>,
}

impl Ends {
    fn entries(&self) -> impl Iterator<Item = SealedEntry> {
        self.in_place
            .into_iter()
            .chain(self.written.iter().copied())
    }
}

struct Rewind<'a> {
    core: &'a Core,
    unnamed: Unnamed,
}

impl<'a> Rewind<'a> {
    fn new(core: &'a Core) -> Self {
        let unnamed = Unnamed::new(core.dir());
        Self { core, unnamed }
    }

    fn run(mut self, writer: &mut TailWriter, end_seq: Seq, next_seq: Seq) -> Result<()> {
        let catalog = self.core.catalog().load();
        check_known(&catalog, Op::Rewind, |entry| entry.next_seq > end_seq)?;
        let mut kept: Vec<Arc<Sealed>> = Vec::new();
        let mut ends = Ends::default();
        for segment in catalog.sealed.iter() {
            if segment.entry.next_seq <= end_seq {
                kept.push(segment.clone());
            } else if segment.entry.base_seq < end_seq && ends.written.is_empty() {
                let loaded = segment
                    .load()
                    .map_err(|fault| fault.into_error(Op::Rewind, segment.entry.id))?;
                let frames = HEADER_BYTES as u64..segment.entry.frames_end;
                let copied = self.copy(&loaded.view, frames, segment.entry.base_seq, end_seq)?;
                ends.written.extend(copied);
            }
        }
        // It loses its name, and who holds the set from before reads on in it.
        let place = || Place::in_segment(writer.tail.id, 0);
        let kept_open = writer.tail.space.keep_open();
        kept_open.map_err(|error| Error::io(Op::Rewind, error).at(place()))?;
        if writer.tail.context.base_seq < end_seq {
            ends = self.end_tail(&writer.tail, end_seq)?;
        }
        let next = self.new_tail(next_seq)?;
        // DURABILITY: after this line the new files' names survive; no manifest names them yet.
        self.core.sync_dir(Op::Rewind)?;
        let committed = self.commit(&kept, &ends, &next, end_seq, next_seq);
        if committed.is_ok() || self.core.manifest().is_undecided() {
            self.unnamed.keep();
        }
        committed?;
        self.core.with_ledger(|ledger| ledger.drop_from(end_seq));
        self.swap(kept, &ends, &next);
        let old = std::mem::replace(writer, next);
        let spare_id = self.core.give_up_spare();
        let dropped = ends.in_place.is_none().then_some(old.tail.id);
        if ends.in_place.is_some() {
            // Nobody reads what was allocated ahead. If this fails it only takes room.
            let space = &old.tail.space;
            space.finish();
            space.file().set_len(old.tail.written_end()).ok();
        }
        for id in dropped.into_iter().chain(spare_id) {
            // No manifest names it any more; if this fails the next opening removes it.
            self.core.dir().remove_if_there(&names::segment(id)).ok();
        }
        Ok(())
    }

    /// Ends the tail: sealed where it stands, in front of the first batch that loses a record, and what stays of that
    /// one copied. Where that is little, it is copied with the batch.
    fn end_tail(&mut self, tail: &Arc<Tail>, end_seq: Seq) -> Result<Ends> {
        let (view, written_end) = (tail.view(), tail.written_end());
        let summary = summary_below(&view, written_end, end_seq)
            .map_err(|fault| fault.into_error(Op::Rewind, tail.id))?;
        let mut ends = Ends::default();
        let (mut from, mut base_seq) = (HEADER_BYTES as u64, tail.context.base_seq);
        let segment_bytes = self.core.options().segment_bytes;
        if summary.end - from > (segment_bytes / SMALL_DIVISOR).min(SMALL_BYTES_MAX) {
            ends.in_place = Some(summary.sealed_entry(tail.id, &tail.context));
            (from, base_seq) = (summary.end, summary.next_seq);
        }
        if base_seq < end_seq {
            let copied = self.copy(&view, from..written_end, base_seq, end_seq)?;
            ends.written.extend(copied);
        }
        Ok(ends)
    }

    /// Copies what a segment has below `end_seq`, from the batch at the start of this range on, which begins with
    /// `base_seq`; `None` if that is nothing.
    fn copy(
        &mut self,
        view: &View,
        frames: Range<u64>,
        base_seq: Seq,
        end_seq: Seq,
    ) -> Result<Option<SealedEntry>> {
        let (dir, log_id) = (self.core.dir(), self.core.log_id());
        let id = self.core.manifest().allocate_id();
        self.unnamed.add(id);
        let keys = &self.core.options().keys;
        // What is not sealed may be so from now on; what is stays so, with a key or without.
        let header = SegmentHeader {
            sealed: view.sealed || keys.seals(),
            base_timestamp_ms: view.context.base_timestamp_ms,
            ..copy_header(dir, log_id, id, base_seq, keys)
        };
        let header = header.packing_appends(view.packed_appends);
        copy_below(dir, header, (view, frames), end_seq, Op::Rewind, |_, _| ())
    }

    fn new_tail(&mut self, next_seq: Seq) -> Result<TailWriter> {
        let (dir, log_id) = (self.core.dir(), self.core.log_id());
        let id = self.core.manifest().allocate_id();
        self.unnamed.add(id);
        let options = self.core.options();
        let header = tail_header(dir, log_id, id, next_seq, &options.keys);
        let header = header.packing_appends(options.pack_appends.is_some());
        let place = Place::file(names::segment(header.id));
        Builder::create(dir, header, &options.keys)
            .and_then(Builder::into_tail)
            .map_err(|error| Error::io(Op::Rewind, error).at(place))
    }

    fn commit(
        &self,
        kept: &[Arc<Sealed>],
        ends: &Ends,
        next: &TailWriter,
        end_seq: Seq,
        next_seq: Seq,
    ) -> Result<()> {
        // The moves in the tail go with it.
        self.core.store_moved_cursors(Op::Rewind)?;
        let ledger = (self.core).freeze_for_rewind(end_seq, next_seq, next.tail.id);
        // DURABILITY: after this commit the records are gone for good.
        self.core.commit(Op::Rewind, ledger.as_deref(), |manifest| {
            manifest.sealed = kept
                .iter()
                .map(|segment| segment.entry)
                .chain(ends.entries())
                .collect();
            manifest.tail = next.tail.entry();
            // Its id is lower than the tail's, and the ledger tells by them which tail came later.
            manifest.spare = None;
            manifest.durable_seq = next_seq;
            manifest.durable_end = next.summary.end;
            manifest.clean = false;
        })
    }

    fn swap(&self, mut kept: Vec<Arc<Sealed>>, ends: &Ends, next: &TailWriter) {
        self.core.catalog().swap(|catalog| {
            kept.extend(ends.entries().map(|entry| catalog.segment(entry)));
            for segment in catalog.sealed.iter() {
                if !kept.iter().any(|other| other.entry.id == segment.entry.id) {
                    segment.retire();
                }
            }
            catalog.sealed = Arc::new(kept);
            catalog.tails = vec![next.tail.clone()];
        });
    }
}
