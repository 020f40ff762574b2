//! Act: carries out a plan. Every step before the manifest commit only adds files that nothing names;
//! every step after it only tidies up. So a crash anywhere leaves the log as it was or as it will be,
//! and doing it all again changes nothing.

mod carry;
mod in_place;
mod keep;

pub(super) use carry::carry;
pub(crate) use keep::{keep, keep_file};

use super::{
    decide::{FIRST_SPARE, FIRST_TAIL},
    look::{Facts, HeaderFact, UnsealedFact},
};
use crate::{
    append::{Ledger, Spare, create_spare},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{
        Manifest, SegmentContext, SegmentHeader,
        batch::Records,
        header::HEADER_BYTES,
        manifest::{FRAMES_END_MAX, SpareEntry},
        names,
    },
    manifest::ManifestStore,
    options::Options,
    seal::KeyRing,
    segment::{
        Builder, Limits, Scan, Source, Space, Summary, Tail, TailWriter, Unnamed, Verified, Window,
        new_incarnation, new_log_id, scan, tail_header,
    },
    sync::Arc,
    types::{SegmentId, Seq},
    vfs::{Access, Dir, Syncs, VfsFile, read_full_at},
};
use std::io;

/// A log that is ready to be appended to.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) manifest: ManifestStore,
    pub(super) writer: TailWriter,
    /// A segment before it that is finished and not sealed, and the ledger that is to be stored then.
    pub(super) finished: Vec<TailWriter>,
    pub(super) frozen: Option<Vec<u8>>,
    pub(super) spare: Option<Spare>,
    pub(super) ledger: Ledger,
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
    let log_id = new_log_id(dir);
    let (id, spare_id) = (FIRST_TAIL, FIRST_SPARE);
    let header = tail_header(dir, log_id, id, 0, &options.keys);
    let header = header.packing_appends(options.pack_appends.is_some());
    let write_features = header.required_features();
    let mut unnamed = Unnamed::new(dir);
    unnamed.add(id);
    let writer = Builder::create(dir, header, &options.keys)
        .and_then(Builder::into_tail)
        .map_err(io_at(Place::file(names::segment(id))))?;
    let spare = create_spare(dir, spare_id, options)
        .map_err(io_at(Place::file(names::segment(spare_id))))?;
    unnamed.add(spare_id);
    let first = Manifest {
        log_id,
        incarnation: new_incarnation(dir),
        write_features,
        generation: 0,
        created_ms: vfs.unix_time_ms(),
        head_seq: 0,
        next_segment_id: SegmentId(3),
        durable_seq: 0,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed: Vec::new(),
        tail: writer.tail.entry(),
        spare: None,
        marks: Vec::new(),
    };
    let manifest = ManifestStore::new(dir.clone(), first);
    // DURABILITY: after this commit the log exists.
    let committed = manifest.commit(Op::Open, |manifest| {
        manifest.spare = Some(spare.entry());
    });
    if committed.is_ok() || manifest.is_undecided() {
        unnamed.keep();
    }
    committed?;
    Ok(Ready {
        manifest,
        writer,
        finished: Vec::new(),
        frozen: None,
        spare: Some(spare),
        ledger: Ledger::default(),
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

/// Two reads of the same bytes gave two answers. Whichever was wrong, nothing can be built on it.
pub(super) fn unsteady(place: Place) -> Error {
    let note = "two reads of it did not give the same; nothing was changed";
    Error::note(ErrorKind::Io, Op::Open, note).at(place)
}

/// Whether a scan found what the look had found, which was decided on.
fn check_same(found: &UnsealedFact, again: &Scan) -> Result<()> {
    let Some(first) = &found.scan else {
        return Ok(());
    };
    if first.summary == again.summary && first.stop == again.stop {
        return Ok(());
    }
    let end = first.summary.end.min(again.summary.end);
    let seq = first.summary.next_seq.min(again.summary.next_seq);
    Err(unsteady(Place::in_segment(found.id, end).with_seq(seq)))
}

impl Scanned {
    /// To append behind what was scanned.
    fn into_writer(self, dir: &Dir, keys: &KeyRing) -> TailWriter {
        let file = dir.resting(&names::segment(self.id), self.file, Syncs::Follow);
        let space = match self.header.recycled {
            true => Space::recycled(file, self.file_end, self.scan.summary.end),
            false => Space::new(file, self.file_end),
        };
        let space = Arc::new(space);
        let tail = Tail::new(&self.header, space, keys);
        TailWriter::new(Arc::new(tail), self.scan.summary, self.scan.index)
    }
}

/// Scans it and enters what it holds into the ledger.
fn scan_unsealed(dir: &Dir, id: SegmentId, until_seq: Seq, ledger: &mut Ledger) -> Result<Scanned> {
    let place = || Place::in_segment(id, 0);
    let file = dir
        .open(&names::segment(id), Access::ReadWrite)
        .map_err(io_at(place()))?;
    let file_end = file.len().map_err(io_at(place()))?;
    let mut head = [0; HEADER_BYTES];
    read_full_at(&*file, &mut head, 0).map_err(io_at(place()))?;
    let header =
        SegmentHeader::decode(&head).map_err(|defect| Error::defect(Op::Open, place(), defect))?;
    let summary = Summary::new(header.base_seq, &head);
    let limits = Limits {
        file_end: file_end.min(FRAMES_END_MAX),
        until_seq,
        recycled: header.recycled,
        packed_appends: header.packed_appends,
    };
    let mut window = Window::new(&Source::File(file.clone()));
    let context = header.context();
    let scan = scan(&mut window, &context, summary, limits, |verified| {
        if verified.names_producers {
            add_producers(ledger, &verified, &context);
        } else if verified.batch.count > 0 {
            ledger.skip_to(verified.batch.next_seq());
        }
    });
    let scan = scan.map_err(|fault| fault.into_error(Op::Open, id))?;
    Ok(Scanned {
        id,
        header,
        file,
        file_end,
        scan,
    })
}

/// Enters who appended the records of a batch.
fn add_producers(ledger: &mut Ledger, verified: &Verified<'_>, context: &SegmentContext) {
    let Verified { batch, body, .. } = verified;
    match &verified.head {
        Some(head) => {
            (head.producers(body, batch)).for_each(|(seq, producer)| ledger.add_next(seq, producer))
        }
        None => (Records::new(body, *context, *batch).flatten())
            .for_each(|record| ledger.add_record(&record)),
    }
}

fn blank_spare(dir: &Dir, entry: SpareEntry) -> Result<Spare> {
    let place = || Place::file(names::segment(entry.id));
    let file = dir
        .open(&names::segment(entry.id), Access::ReadWrite)
        .map_err(io_at(place()))?;
    let allocated = file.len().map_err(io_at(place()))?;
    let file = dir.resting(&names::segment(entry.id), file, Syncs::Follow);
    let space = match entry.recycled {
        true => Space::recycled(file, allocated, 0),
        false => Space::new(file, allocated),
    };
    Ok(Spare {
        id: entry.id,
        salt: entry.salt,
        space: Arc::new(space),
    })
}

/// The tail as it was looked at. Only if it says who appended is it read once more.
fn tail_as_found(dir: &Dir, found: &UnsealedFact, ledger: &mut Ledger) -> Result<Scanned> {
    let (HeaderFact::Valid(header), Some(scan), Some(file_end)) =
        (&found.header, &found.scan, found.file_bytes)
    else {
        return scan_unsealed(dir, found.id, Seq::MAX, ledger);
    };
    if scan.names_producers {
        let again = scan_unsealed(dir, found.id, Seq::MAX, ledger)?;
        check_same(found, &again.scan)?;
        return Ok(again);
    }
    if scan.summary.tally.record_count > 0 {
        ledger.skip_to(scan.summary.next_seq);
    }
    let file = dir
        .open(&names::segment(found.id), Access::ReadWrite)
        .map_err(io_at(Place::in_segment(found.id, 0)))?;
    Ok(Scanned {
        id: found.id,
        header: header.as_ref().clone(),
        file,
        file_end,
        scan: scan.clone(),
    })
}

/// Goes on behind an end that is in order. Unless the log was closed here (`certain`), the manifest
/// may be one that an interrupted commit left visible and not durable: then it is committed again
/// before anything is built on it or removed by it.
pub(super) fn resume(
    dir: &Dir,
    options: &Options,
    manifest: Manifest,
    facts: &Facts,
    certain: bool,
) -> Result<Ready> {
    let mut ledger = facts.ledger(manifest.tail.id);
    let found = match &facts.tail {
        Some(tail) => tail_as_found(dir, tail, &mut ledger)?,
        None => scan_unsealed(dir, manifest.tail.id, Seq::MAX, &mut ledger)?,
    };
    let writer = found.into_writer(dir, &options.keys);
    let spare = manifest
        .spare
        .map(|entry| blank_spare(dir, entry))
        .transpose()?;
    let store = ManifestStore::new(dir.clone(), manifest);
    if !certain {
        // DURABILITY: after this commit the manifest that was found is in force.
        store.commit_again(Op::Open, |_| ())?;
    }
    Ok(Ready {
        manifest: store,
        writer,
        finished: Vec::new(),
        frozen: None,
        spare,
        ledger,
    })
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
