//! Leaving an unclean end behind, without ever appending to it.

use super::{
    Ready, Scanned, add_producers, blank_spare, check_same, in_place::in_place, io_at, remove,
    scan_unsealed,
};
use crate::{
    append::{CursorStore, Ledger, Spare, create_spare},
    error::{ErrorKind, Op, Place, Result},
    format::{
        Manifest, SegmentContext, SegmentHeader,
        header::HEADER_BYTES,
        manifest::{FRAMES_END_MAX, SealedEntry},
        names,
    },
    manifest::ManifestStore,
    options::Options,
    recover::{decide::Carry, look::Facts},
    segment::{
        Builder, Fault, Limits, Scan, Source, Stop, Summary, TailWriter, Unnamed, Verified, Window,
        copy_header, scan, write_footer,
    },
    types::{SegmentId, Seq},
    vfs::{Dir, is_full},
};
use std::io;

/// What is proven is copied, too, if it is no more than this, in bytes, or a quarter of a segment. Else
/// every unclean end would leave a segment behind, however small: a loop of restarts a thousand a day.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
const SMALL_DIVISOR: u64 = 4;

/// Leaves an unclean end behind. Where there is no room for a new segment, it is made certain in place.
pub(crate) fn carry(
    dir: &Dir,
    options: &Options,
    manifest: &Manifest,
    carry: &Carry,
    (facts, cursors): (&Facts, &CursorStore),
) -> Result<Ready> {
    let store = ManifestStore::new(dir.clone(), manifest.clone());
    // Moves of cursors are not carried: the files say as much before.
    let stored = cursors.store_moved(store.ballast(), Op::Open);
    let moved =
        stored.and_then(|()| into_new_segment(dir, options, manifest, &store, carry, facts));
    let moved = match moved {
        Ok(moved) => moved,
        // Unless the end has moved, or may have.
        Err(error)
            if error.kind() == ErrorKind::NoSpace
                && !store.is_undecided()
                && !dir.sync_failed() =>
        {
            return in_place(dir, store, (manifest, options), carry, facts);
        }
        Err(error) => return Err(error),
    };
    tidy(dir, &moved.sources, moved.old_spare, &moved.sealed)?;
    Ok(Ready {
        manifest: store,
        writer: moved.writer,
        finished: Vec::new(),
        frozen: None,
        spare: moved.spare,
        ledger: moved.ledger,
    })
}

/// An end that has moved to a new segment.
struct Moved {
    writer: TailWriter,
    spare: Option<Spare>,
    ledger: Ledger,
    /// What it came from, and what of that is sealed now.
    sources: Vec<Scanned>,
    sealed: Vec<SealedEntry>,
    /// The spare of before, if it is none any more.
    old_spare: Option<SegmentId>,
}

/// What is proven is sealed where it stands, unless it is small, the records behind it are written into a
/// new segment, and that becomes the tail.
fn into_new_segment(
    dir: &Dir,
    options: &Options,
    manifest: &Manifest,
    store: &ManifestStore,
    carry: &Carry,
    facts: &Facts,
) -> Result<Moved> {
    let (mut sealed, mut next_id) = (Vec::new(), manifest.next_segment_id);
    let mut id = || {
        let id = next_id;
        next_id = SegmentId(id.0 + 1);
        id
    };
    let mut sources = vec![manifest.tail.id];
    sources.extend(
        manifest
            .spare
            .filter(|_| carry.spare_begun)
            .map(|spare| spare.id),
    );

    // Each is scanned once, up to what is proven; copying goes on from there.
    let mut ledger = facts.ledger(manifest.tail.id);
    let mut proven = Vec::new();
    for (source, found) in sources
        .into_iter()
        .zip(facts.tail.iter().chain(&facts.spare))
    {
        let scanned = scan_unsealed(dir, source, carry.proven_seq, &mut ledger)?;
        // One that ends before what is proven has to end where the look saw it end.
        if scanned.scan.stop != Stop::Reached {
            check_same(found, &scanned.scan)?;
        }
        proven.push(scanned);
    }
    let holds = |source: &&Scanned| source.scan.summary.next_seq > source.header.base_seq;
    let sealed_count = proven.len() - small_count(&proven, options);
    let mut predecessor = None;
    for Scanned {
        id, header, scan, ..
    } in proven.iter().take(sealed_count).filter(holds)
    {
        let context = header.context();
        sealed.push(scan.summary.sealed_entry(*id, &context));
        predecessor = Some(scan.summary.predecessor(*id, &context));
    }
    let base_seq = sealed
        .last()
        .map_or(manifest.tail.base_seq, |entry: &SealedEntry| entry.next_seq);
    let header = SegmentHeader {
        predecessor,
        durable_seq: carry.proven_seq,
        appends_from: Some(carry.next_seq.max(base_seq)),
        ..copy_header(dir, manifest.log_id, id(), base_seq, &options.keys)
    };
    let header = fit_for(&proven, header).packing_appends(options.pack_appends.is_some());
    let write_features = header.required_features();
    // As of the new tail's base, or further if an earlier tail's base was there already.
    let as_of_seq = ledger.next_seq().max(base_seq);
    let stored = ledger.to_file(manifest.owner(), as_of_seq, as_of_seq, header.id);
    let place = Place::file(names::segment(header.id));
    let mut unnamed = Unnamed::new(dir);
    unnamed.add(header.id);
    let mut builder = Builder::create(dir, header, &options.keys).map_err(io_at(place.clone()))?;
    let unsealed = facts.tail.iter().chain(&facts.spare);
    for (number, (source, found)) in proven.iter().zip(unsealed).enumerate() {
        // Read anew, to where it ends: what is sealed and copied is what was decided on.
        let is_sealed = number < sealed_count;
        let again = copy_survivors(source, is_sealed, carry, &mut builder, &mut ledger)?;
        check_same(found, &again)?;
    }
    let writer = builder.into_tail().map_err(io_at(place))?;
    let spare = match manifest
        .spare
        .filter(|_| !carry.spare_begun && carry.torn.is_none())
    {
        Some(entry) => Some(blank_spare(dir, entry)?),
        None => new_spare(dir, id(), options)?,
    };
    let spare_id = spare.as_ref().map(|spare| spare.id);
    let old_spare = manifest.spare.map(|entry| entry.id);
    if let Some(id) = spare_id.filter(|id| Some(*id) != old_spare) {
        unnamed.add(id);
    }
    // DURABILITY: after this line the new files' names survive; no manifest names them yet.
    dir.sync().map_err(io_at(Place::file(dir.path())))?;

    let committed = store.commit_with(Op::Open, stored.as_deref(), |manifest| {
        manifest.sealed.extend(sealed.iter().copied());
        manifest.write_features |= write_features;
        manifest.tail = writer.tail.entry();
        manifest.spare = spare.as_ref().map(Spare::entry);
        manifest.next_segment_id = next_id;
        manifest.durable_seq = carry.next_seq;
        manifest.durable_end = writer.summary.end;
        manifest.clean = false;
    });
    if committed.is_ok() || store.is_undecided() {
        unnamed.keep();
    }
    committed?;
    Ok(Moved {
        writer,
        spare,
        ledger,
        sources: proven,
        sealed,
        old_spare: old_spare.filter(|id| Some(*id) != spare_id),
    })
}

/// This header for a copy of these: what is sealed or packed is copied as it is, and times of its batches count from
/// there.
fn fit_for(sources: &[Scanned], header: SegmentHeader) -> SegmentHeader {
    let as_stored = |source: &&Scanned| source.header.sealed || source.header.packed_appends;
    let Some(last) = sources.iter().rfind(as_stored) else {
        return header;
    };
    let header = SegmentHeader {
        sealed: header.sealed || sources.iter().any(|source| source.header.sealed),
        base_timestamp_ms: last.header.base_timestamp_ms,
        ..header
    };
    header.packing_appends(sources.iter().any(|source| source.header.packed_appends))
}

/// How many of the segments, from the last, have so little in them that is proven that it is copied.
fn small_count(proven: &[Scanned], options: &Options) -> usize {
    let bytes_max = (options.segment_bytes / SMALL_DIVISOR).min(SMALL_BYTES_MAX);
    let mut bytes = 0;
    let is_small = |source: &&Scanned| {
        bytes += source.scan.summary.end - HEADER_BYTES as u64;
        bytes <= bytes_max
    };
    proven.iter().rev().take_while(is_small).count()
}

/// A file for the next rotation. Where there is no room for it the log does without one for now.
fn new_spare(dir: &Dir, id: SegmentId, options: &Options) -> Result<Option<Spare>> {
    match create_spare(dir, id, options) {
        Err(error) if is_full(&error) => Ok(None),
        created => created
            .map(Some)
            .map_err(io_at(Place::file(names::segment(id)))),
    }
}

/// Writes the records of an unsealed segment into the new one, batch by batch: those that lie behind what
/// is proven, if that is sealed, or else all. Gives what it found, to the end of the segment.
fn copy_survivors(
    found: &Scanned,
    is_sealed: bool,
    carry: &Carry,
    builder: &mut Builder,
    ledger: &mut Ledger,
) -> Result<Scan> {
    let context = found.header.context();
    let limits = Limits {
        file_end: found.file_end.min(FRAMES_END_MAX),
        until_seq: Seq::MAX,
        recycled: found.header.recycled,
        packed_appends: found.header.packed_appends,
    };
    let from = match is_sealed {
        true => found.scan.summary.clone(),
        false => Summary::new(found.header.base_seq, &found.header.encode()),
    };
    let mut window = Window::new(&Source::File(found.file.clone()));
    let mut copied = Ok(());
    let again = scan(&mut window, &context, from, limits, |verified| {
        if copied.is_ok() && verified.batch.next_seq() <= carry.next_seq {
            add_producers(ledger, &verified, &context);
            copied = copy_batch(&verified, &context, carry, builder);
        }
    })
    .map_err(|fault: Fault| fault.into_error(Op::Open, found.id))?;
    copied.map_err(io_at(Place::in_segment(found.id, 0)))?;
    Ok(again)
}

/// Writes a batch into the new segment: its records, or if they are sealed or packed what is stored.
fn copy_batch(
    verified: &Verified<'_>,
    context: &SegmentContext,
    carry: &Carry,
    builder: &mut Builder,
) -> io::Result<()> {
    let Verified { batch, body, .. } = *verified;
    if let Some(head) = &verified.head {
        return builder.add_stored(&batch, (head, body), carry.proven_seq);
    }
    builder.add_clear(&batch, (body, context), carry.proven_seq)
}

/// After the commit: footers for what was sealed, and no file of what was left behind.
fn tidy(
    dir: &Dir,
    sources: &[Scanned],
    old_spare: Option<SegmentId>,
    sealed: &[SealedEntry],
) -> Result<()> {
    let is_sealed = |id: SegmentId| sealed.iter().any(|entry| entry.id == id);
    for source in sources.iter().filter(|source| is_sealed(source.id)) {
        let Scan { summary, index, .. } = &source.scan;
        let footer = summary.footer(index.len());
        // Derived data: without it, the index is rebuilt from the frames when it is read.
        write_footer(&*source.file, &source.header.context(), &footer, index).ok();
    }
    let left = sources.iter().map(|source| source.id).chain(old_spare);
    for id in left.filter(|id| !is_sealed(*id)) {
        remove(dir, id)?;
    }
    Ok(())
}
