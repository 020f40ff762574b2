//! Act: carries out a plan. Every step before the manifest commit only adds files that nothing names;
//! every step after it only tidies up. So a crash anywhere leaves the log as it was or as it will be,
//! and doing it all again changes nothing.

use super::{
    decide::{Carry, FIRST_SPARE, FIRST_TAIL},
    report::CutBytes,
};
use crate::{
    append::{Spare, create_spare},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        Manifest, SegmentHeader,
        batch::Records,
        header::{HEADER_BYTES, Origin, Predecessor},
        manifest::{SealedEntry, SpareEntry, TailEntry},
        names,
    },
    manifest::ManifestStore,
    options::Options,
    segment::{
        Builder, Fault, Limits, Scan, Source, Summary, Tail, TailWriter, Window, scan, write_footer,
    },
    sync::Arc,
    types::{LogId, SegmentId, Seq},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::io;

/// A log that is ready to be appended to.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) manifest: ManifestStore,
    pub(super) writer: TailWriter,
    pub(super) spare: Option<Spare>,
}

fn io_at(place: Place) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(Op::Open, error).at(place)
}

/// Creates a log where there is none.
pub(super) fn create(dir: &Dir, options: &Options) -> Result<Ready> {
    let vfs = dir.vfs();
    // DURABILITY: after this line the directory itself survives. Not only when this call created it:
    // an earlier one may have been killed in between.
    dir.sync_name().map_err(io_at(Place::file(dir.path())))?;
    let mut log_id = [0; 16];
    let halves = [vfs.random().to_le_bytes(), vfs.random().to_le_bytes()];
    for (slot, half) in log_id.chunks_exact_mut(8).zip(halves) {
        slot.copy_from_slice(&half);
    }
    let log_id = LogId(log_id);
    let (id, spare_id) = (FIRST_TAIL, FIRST_SPARE);
    let header = SegmentHeader {
        origin: Origin::Copy,
        log_id,
        id,
        base_seq: 0,
        salt: vfs.random(),
        base_timestamp_ms: vfs.unix_time_ms(),
        predecessor: None,
        durable_seq: 0,
    };
    let writer = Builder::create(dir, header)
        .and_then(Builder::into_tail)
        .map_err(io_at(Place::file(names::segment(id))))?;
    let spare = create_spare(dir, spare_id, options.segment_bytes)
        .map_err(io_at(Place::file(names::segment(spare_id))))?;
    let context = writer.tail.context;
    let first = Manifest {
        log_id,
        generation: 0,
        created_ms: vfs.unix_time_ms(),
        head_seq: 0,
        next_segment_id: SegmentId(3),
        durable_seq: 0,
        durable_end: 0,
        clean: false,
        sealed: Vec::new(),
        tail: TailEntry {
            id,
            salt: context.salt,
            base_seq: 0,
        },
        spare: None,
    };
    let manifest = ManifestStore::new(dir.clone(), first, false);
    // DURABILITY: after this commit the log exists.
    manifest.commit(Op::Open, |manifest| {
        manifest.spare = Some(SpareEntry {
            id: spare.id,
            salt: spare.salt,
        });
    })?;
    Ok(Ready {
        manifest,
        writer,
        spare: Some(spare),
    })
}

/// The tail or spare of a manifest, scanned up to a seq.
struct Scanned {
    id: SegmentId,
    header: SegmentHeader,
    file: std::sync::Arc<dyn VfsFile>,
    file_end: u64,
    scan: Scan,
}

fn scan_unsealed(dir: &Dir, id: SegmentId, until_seq: Seq, access: Access) -> Result<Scanned> {
    let place = || Place::in_segment(id, 0);
    let file = dir
        .open(&names::segment(id), access)
        .map_err(io_at(place()))?;
    let file_end = file.len().map_err(io_at(place()))?;
    let mut head = [0; HEADER_BYTES];
    read_full_at(&*file, &mut head, 0).map_err(io_at(place()))?;
    let header =
        SegmentHeader::decode(&head).map_err(|defect| Error::defect(Op::Open, place(), defect))?;
    let summary = Summary::new(header.base_seq, &head);
    let limits = Limits {
        dense: true,
        file_end,
        until_seq,
    };
    let mut window = Window::new(Source::File(file.clone()));
    let scan = scan(&mut window, &header.context(), summary, limits, |_, _| {})
        .map_err(|fault| fault.into_error(Op::Open, id))?;
    Ok(Scanned {
        id,
        header,
        file,
        file_end,
        scan,
    })
}

fn blank_spare(dir: &Dir, entry: SpareEntry) -> Result<Spare> {
    let place = || Place::file(names::segment(entry.id));
    let file = dir
        .open(&names::segment(entry.id), Access::ReadWrite)
        .map_err(io_at(place()))?;
    let allocated = file.len().map_err(io_at(place()))?;
    Ok(Spare {
        id: entry.id,
        salt: entry.salt,
        file,
        allocated,
    })
}

/// Goes on behind an end that is in order. Unless the log was closed here (`certain`), the manifest
/// may be one that an interrupted commit left visible and not durable: then it is committed again
/// before anything is built on it or removed by it.
pub(super) fn resume(dir: &Dir, manifest: Manifest, reserve: bool, certain: bool) -> Result<Ready> {
    let found = scan_unsealed(dir, manifest.tail.id, Seq::MAX, Access::ReadWrite)?;
    let context = found.header.context();
    let tail = Arc::new(Tail::new(found.id, context, found.file, found.file_end));
    let writer = TailWriter::new(tail, found.scan.summary, found.scan.index);
    let spare = manifest
        .spare
        .map(|entry| blank_spare(dir, entry))
        .transpose()?;
    let store = ManifestStore::new(dir.clone(), manifest, reserve);
    if !certain {
        // DURABILITY: after this commit the manifest that was found is in force.
        store.commit_again(Op::Open)?;
    }
    Ok(Ready {
        manifest: store,
        writer,
        spare,
    })
}

/// Copies the bytes that will be cut into `quarantine/`, durably.
pub(crate) fn keep(dir: &Dir, cut: &[(SegmentId, u64, u64)]) -> Result<Vec<CutBytes>> {
    let mut kept = Vec::new();
    let quarantine = dir.child(names::QUARANTINE);
    let at = |name: &str| Place::file(format!("{}/{name}", names::QUARANTINE));
    for (id, offset, end) in cut {
        quarantine.create().map_err(io_at(at("")))?;
        let file = dir
            .open(&names::segment(*id), Access::Read)
            .map_err(io_at(Place::in_segment(*id, *offset)))?;
        let name = free_name(&quarantine, *id, *offset).map_err(io_at(at("")))?;
        copy_range(&*file, *offset, *end, &quarantine, &name).map_err(io_at(at(&name)))?;
        kept.push(CutBytes {
            segment: *id,
            offset: *offset,
            bytes: end - offset,
            kept_in: Some([names::QUARANTINE, &name].iter().collect()),
        });
    }
    if !kept.is_empty() {
        // DURABILITY: after this line the cut bytes survive under their names in quarantine.
        quarantine.sync().map_err(io_at(at("")))?;
    }
    Ok(kept)
}

/// An earlier attempt, interrupted, may have kept the same bytes; nothing there is overwritten.
fn free_name(quarantine: &Dir, id: SegmentId, offset: u64) -> io::Result<String> {
    let taken: Vec<String> = quarantine
        .list()?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let name = |attempt: u32| format!("{:020}-{offset:010}-{attempt}.cut", id.0);
    let mut attempt = 0;
    while taken.contains(&name(attempt)) {
        attempt += 1;
    }
    Ok(name(attempt))
}

fn copy_range(file: &dyn VfsFile, offset: u64, end: u64, to: &Dir, name: &str) -> io::Result<()> {
    let copy = to.create_new(name)?;
    let (mut at, mut buffer) = (offset, vec![0; 64 * 1024]);
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = read_full_at(file, buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        crate::vfs::write_all_at(&*copy, bytes, at - offset)?;
        at += read as u64;
    }
    // DURABILITY: the copied bytes survive; their name does after the directory is synced.
    copy.sync()
}

/// Leaves an unclean end behind: what is proven is sealed where it stands, the records behind it are
/// written into a new segment, and that becomes the tail.
pub(super) fn carry(
    dir: &Dir,
    options: &Options,
    manifest: Manifest,
    carry: &Carry,
    reserve: bool,
) -> Result<Ready> {
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

    let mut predecessor = None;
    let mut footers = Vec::new();
    for source in &sources {
        let proven = scan_unsealed(dir, *source, carry.proven_seq, Access::ReadWrite)?;
        if proven.scan.summary.next_seq > proven.header.base_seq {
            let context = proven.header.context();
            sealed.push(proven.scan.summary.sealed_entry(*source, &context));
            predecessor = Some(predecessor_of(&proven));
            footers.push(proven);
        }
    }
    let base_seq = sealed
        .last()
        .map_or(manifest.tail.base_seq, |entry: &SealedEntry| entry.next_seq);
    let header = SegmentHeader {
        origin: Origin::Copy,
        log_id: manifest.log_id,
        id: id(),
        base_seq,
        salt: dir.vfs().random(),
        base_timestamp_ms: dir.vfs().unix_time_ms(),
        predecessor,
        durable_seq: carry.proven_seq,
    };
    let place = Place::file(names::segment(header.id));
    let mut builder = Builder::create(dir, header).map_err(io_at(place.clone()))?;
    for source in &sources {
        copy_survivors(
            dir,
            *source,
            base_seq,
            carry.next_seq,
            carry.proven_seq,
            &mut builder,
        )?;
    }
    let writer = builder.into_tail().map_err(io_at(place))?;
    let spare = match manifest
        .spare
        .filter(|_| !carry.spare_begun && carry.torn.is_none())
    {
        Some(entry) => blank_spare(dir, entry)?,
        None => {
            let id = id();
            let place = Place::file(names::segment(id));
            create_spare(dir, id, options.segment_bytes).map_err(io_at(place))?
        }
    };
    // DURABILITY: after this line the new files' names survive; no manifest names them yet.
    dir.sync().map_err(io_at(Place::file(dir.path())))?;

    let old_spare = manifest.spare.map(|entry| entry.id);
    let store = ManifestStore::new(dir.clone(), manifest, reserve);
    let context = writer.tail.context;
    store.commit(Op::Open, |manifest| {
        manifest.sealed.extend(sealed.iter().copied());
        manifest.tail = TailEntry {
            id: writer.tail.id,
            salt: context.salt,
            base_seq,
        };
        manifest.spare = Some(SpareEntry {
            id: spare.id,
            salt: spare.salt,
        });
        manifest.next_segment_id = next_id;
        manifest.durable_seq = carry.next_seq;
        manifest.durable_end = writer.summary.end;
        manifest.clean = false;
    })?;
    tidy(
        dir,
        &sources,
        old_spare.filter(|id| *id != spare.id),
        &sealed,
        footers,
    )?;
    Ok(Ready {
        manifest: store,
        writer,
        spare: Some(spare),
    })
}

fn predecessor_of(proven: &Scanned) -> Predecessor {
    let summary = &proven.scan.summary;
    Predecessor {
        id: proven.id,
        salt: proven.header.salt,
        frames_end: summary.end,
        next_seq: summary.next_seq,
        checksum: summary.checksum,
    }
}

/// Writes the records of an unsealed segment from `from_seq` on into the new one, batch by batch.
fn copy_survivors(
    dir: &Dir,
    id: SegmentId,
    from_seq: Seq,
    until_seq: Seq,
    durable_seq: Seq,
    builder: &mut Builder,
) -> Result<()> {
    let found = scan_unsealed(dir, id, from_seq, Access::Read)?;
    if found.scan.summary.next_seq >= until_seq {
        return Ok(());
    }
    let context = found.header.context();
    let limits = Limits {
        dense: true,
        file_end: found.file_end,
        until_seq,
    };
    let mut window = Window::new(Source::File(found.file));
    let mut copied = Ok(());
    scan(
        &mut window,
        &context,
        found.scan.summary,
        limits,
        |batch, body| {
            let records = Records::new(body, context, *batch).flatten();
            let add = || {
                records
                    .into_iter()
                    .try_for_each(|record| builder.add(&record, durable_seq))?;
                builder.end_batch()
            };
            if copied.is_ok() {
                copied = add();
            }
        },
    )
    .map_err(|fault: Fault| fault.into_error(Op::Open, id))?;
    copied.map_err(io_at(Place::in_segment(id, 0)))
}

/// After the commit: footers for what was sealed, and no file of what was left behind.
fn tidy(
    dir: &Dir,
    sources: &[SegmentId],
    old_spare: Option<SegmentId>,
    sealed: &[SealedEntry],
    footers: Vec<Scanned>,
) -> Result<()> {
    for proven in footers {
        let Scan { summary, index, .. } = &proven.scan;
        let footer = summary.footer(index.len());
        // Derived data: without it, the index is rebuilt from the frames when it is read.
        write_footer(&*proven.file, &proven.header.context(), &footer, index).ok();
    }
    let left = sources.iter().copied().chain(old_spare);
    for id in left.filter(|id| !sealed.iter().any(|entry| entry.id == *id)) {
        remove(dir, id)?;
    }
    Ok(())
}

/// Removes a segment file that no manifest names.
pub(super) fn remove(dir: &Dir, id: SegmentId) -> Result<()> {
    dir.remove_if_there(&names::segment(id))
        .map_err(io_at(Place::file(names::segment(id))))
}

/// The error of a log that may not be opened for writing.
pub(super) fn refusal(damage: &super::decide::Damage) -> Error {
    Error::defect(Op::Open, damage.place.clone(), damage.defect)
}

/// The error of a directory in which there is no log.
pub(super) fn not_found(dir: &Dir) -> Error {
    let note = "there is no log here";
    Error::note(ErrorKind::NotFound, Op::Open, note).at(Place::file(dir.path()))
}
