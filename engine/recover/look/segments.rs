//! Looking at segment files: the chain, and what no manifest names.
//!
//! INVARIANT: no length is believed before its checksum held, and none beyond what the format allows.
//!
//! Called by look; calls segment.

use super::{HeaderFact, UnnamedFact, UnsealedFact};
use crate::{
    error::{Error, Op, Place, Result},
    format::{
        Manifest, PACKED_APPENDS_FEATURE, SegmentContext, SegmentHeader,
        header::{HEADER_BYTES, Origin},
        manifest::FRAMES_END_MAX,
        names,
    },
    segment::{
        Beyond, Fault, Limits, Old, Source, Stop, Summary, Window, Witness, nonzero_end, scan,
        witness,
    },
    types::{SegmentId, Seq},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::{collections::BTreeMap, io, sync::Arc};

/// The segments that are not sealed: the tail, and the spare if there is one.
pub(super) fn chain(
    dir: &Dir,
    op: Op,
    manifest: &Manifest,
    segments: &BTreeMap<SegmentId, u64>,
) -> Result<(UnsealedFact, Option<UnsealedFact>)> {
    let size = |id| segments.get(&id).copied();
    let named = manifest.tail;
    let (id, base_seq) = (named.id, named.base_seq);
    let as_named = |salt, base_seq| SegmentContext {
        salt,
        base_seq,
        base_timestamp_ms: 0,
        log_id: manifest.log_id,
    };
    let named_tail = as_named(named.salt, base_seq);
    let tail = unsealed(dir, op, id, named_tail, Beyond::Zeros, size(id))?;
    let spare = manifest
        .spare
        .map(|named| {
            let (end, next_seq) = (tail.scan.as_ref()).map_or((0, base_seq), |scan| {
                (scan.summary.end, scan.summary.next_seq)
            });
            let bytes_before = size(id).unwrap_or(0).saturating_sub(end);
            let beyond = match named.recycled {
                true => Beyond::Old(Old {
                    next_seq,
                    bytes_before,
                    // Without a header of its own it is the manifest that says so.
                    packed_appends: manifest.write_features & PACKED_APPENDS_FEATURE != 0,
                }),
                false => Beyond::Zeros,
            };
            let named_spare = as_named(named.salt, next_seq);
            unsealed(dir, op, named.id, named_spare, beyond, size(named.id))
        })
        .transpose()?;
    Ok((tail, spare))
}

/// Reads the header region of a segment file; gives its bytes as well, which may hold more than is known.
fn header_fact(file: &dyn VfsFile) -> io::Result<(HeaderFact, [u8; HEADER_BYTES])> {
    let mut bytes = [0; HEADER_BYTES];
    let read = read_full_at(file, &mut bytes, 0)?;
    let head = bytes.get(..read).unwrap_or_default();
    let fact = match SegmentHeader::decode(head) {
        Ok(header) => HeaderFact::Valid(Box::new(header)),
        Err(_) if head.iter().all(|byte| *byte == 0) => HeaderFact::Blank,
        Err(defect) => HeaderFact::Invalid(defect),
    };
    Ok((fact, bytes))
}

fn unsealed(
    dir: &Dir,
    op: Op,
    id: SegmentId,
    as_named: SegmentContext,
    mut beyond: Beyond,
    file_bytes: Option<u64>,
) -> Result<UnsealedFact> {
    let mut fact = UnsealedFact {
        id,
        salt: as_named.salt,
        file_bytes,
        header: HeaderFact::Blank,
        scan: None,
        witness: Witness::default(),
    };
    let Some(file_end) = file_bytes else {
        return Ok(fact);
    };
    let io = |error| Error::io(op, error).at(Place::in_segment(id, 0));
    let fault = |fault: Fault| fault.into_error(op, id);
    let Some(file) = open(dir, op, id)? else {
        fact.file_bytes = None;
        return Ok(fact);
    };
    let (header, head) = header_fact(&*file).map_err(io)?;
    fact.header = header;
    let mut window = Window::new(&Source::File(file));
    let (context, from) = match &fact.header {
        HeaderFact::Valid(header) => {
            let context = header.context();
            let summary = Summary::new(header.base_seq, &head);
            let limits = Limits {
                file_end: file_end.min(FRAMES_END_MAX),
                until_seq: Seq::MAX,
                recycled: header.recycled,
                packed_appends: header.packed_appends,
            };
            let found = scan(&mut window, &context, summary, limits, |_| {}).map_err(fault)?;
            let (end, stop) = (found.summary.end, found.stop);
            beyond = Beyond::of(header, found.summary.next_seq);
            fact.scan = Some(found);
            if matches!(stop, Stop::EndOfFile | Stop::Zeros) {
                // It was looked at to its end, and there is nothing that could say something.
                fact.witness.nonzero_end = end;
                return Ok(fact);
            }
            (context, end)
        }
        // The salt is known from the manifest: frames can still be told from anything else.
        _ => (as_named, 0),
    };
    fact.witness = witness(&mut window, &context, from, file_end, beyond).map_err(fault)?;
    Ok(fact)
}

/// Opens a segment file that was listed; a writer that is alive may have removed it since.
fn open(dir: &Dir, op: Op, id: SegmentId) -> Result<Option<Arc<dyn VfsFile>>> {
    match dir.open(&names::segment(id), Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(op, error).at(Place::in_segment(id, 0))),
    }
}

/// Whether records may have been appended to it, and not only put into it aside.
fn is_appended_to(header: &SegmentHeader) -> bool {
    header.origin == Origin::Live || header.appends_from.is_some()
}

/// Looks at a segment file that no manifest names; nothing if it is gone.
pub(super) fn unnamed(dir: &Dir, op: Op, id: SegmentId) -> Result<Option<UnnamedFact>> {
    let io = |error| Error::io(op, error).at(Place::in_segment(id, 0));
    let Some(file) = open(dir, op, id)? else {
        return Ok(None);
    };
    let file_end = file.len().map_err(io)?;
    let (header, _) = header_fact(&*file).map_err(io)?;
    let from = HEADER_BYTES as u64;
    let mut window = Window::new(&Source::File(file));
    let fault = |fault: Fault| fault.into_error(op, id);
    let (end, names_seqs_below) = match &header {
        HeaderFact::Valid(header) if is_appended_to(header) => {
            let context = header.context();
            let beyond = Beyond::of(header, header.base_seq);
            let file_end = file_end.max(from);
            let found = witness(&mut window, &context, from, file_end, beyond).map_err(fault)?;
            (found.nonzero_end, found.next_seq)
        }
        _ => {
            let end = nonzero_end(&mut window, from, file_end.max(from)).map_err(fault)?;
            (end, 0)
        }
    };
    Ok(Some(UnnamedFact {
        id,
        header,
        holds_frames: end > from,
        names_seqs_below,
    }))
}
