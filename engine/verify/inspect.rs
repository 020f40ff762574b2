//! A segment shown frame by frame, the way `format.md` draws it.

use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{
        BatchHeader, Footer, Manifest, RecordRef, SegmentContext, SegmentHeader, StoredHead,
        footer::FOOTER_BYTES, header::HEADER_BYTES, names,
    },
    options::{FarFile, Options},
    seal::KeyRing,
    segment::{Beyond, Fault, Piece, Range, Source, Window, salvage, witness},
    types::{SegmentId, Seq},
    vfs::{Access, Dir, VfsFile, read_full_at},
};
use std::{io, sync::Arc};

/// One thing in a segment file, in the order of their offsets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Inspected<'a> {
    /// The segment's header, at offset 0.
    Header(SegmentHeader),
    /// A batch header; its records follow. With no records it is a watermark.
    Batch {
        /// Where it starts.
        offset: u64,
        /// What it says.
        header: BatchHeader,
    },
    /// The head of a batch whose records are packed; they follow if this program can unpack them.
    Packed {
        /// Where the batch starts.
        offset: u64,
        /// What it says.
        head: StoredHead,
        /// Why they do not follow.
        defect: Option<Defect>,
    },
    /// A record. Of a packed batch the offsets are those that it would have if it were not packed.
    Record {
        /// Where it starts.
        offset: u64,
        /// What it holds.
        record: RecordRef<'a>,
    },
    /// Bytes that do not verify.
    Unverified {
        /// Where they start.
        offset: u64,
        /// Where they end.
        end_offset: u64,
        /// What is wrong.
        defect: Defect,
    },
    /// A footer, and the size of its index in entries.
    Footer {
        /// Where it starts.
        offset: u64,
        /// What it says.
        footer: Footer,
    },
    /// Preallocated space.
    Zeros {
        /// Where it starts.
        offset: u64,
        /// Where it ends.
        end_offset: u64,
    },
}

/// Shows a segment to `each`, from its start to its end.
pub(crate) fn inspect(
    dir: &Dir,
    id: SegmentId,
    options: &Options,
    mut each: impl FnMut(Inspected<'_>),
) -> Result<()> {
    let io_at = |error: io::Error| Error::io(Op::Read, error).at(Place::in_segment(id, 0));
    let keys = &options.keys;
    let file = open(dir, id, options)?;
    let end_offset = file.len().map_err(io_at)?;
    let mut head = [0; HEADER_BYTES];
    let read = read_full_at(&*file, &mut head, 0).map_err(io_at)?;
    match SegmentHeader::decode(head.get(..read).unwrap_or_default()) {
        Ok(header) => {
            each(Inspected::Header(header.clone()));
            let mut window = Window::new(&Source::File(file));
            let at = frames(dir, (&header, keys), &mut window, end_offset, &mut each)
                .map_err(|fault| fault.into_error(Op::Read, id))?;
            let bytes = window.get(at, 1, end_offset).map_err(io_at)?;
            behind(bytes, &header.context(), at, end_offset, each);
        }
        Err(Defect::Zeroed) => each(Inspected::Zeros {
            offset: 0,
            end_offset,
        }),
        Err(defect) => each(Inspected::Unverified {
            offset: 0,
            end_offset,
            defect,
        }),
    }
    Ok(())
}

/// The segment's file, wherever it lives.
fn open(dir: &Dir, id: SegmentId, options: &Options) -> Result<Arc<dyn VfsFile>> {
    let place = || Place::in_segment(id, 0);
    let opened = dir.open(&names::segment(id), Access::Read);
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if let (true, Some(manifest)) = (opened.as_ref().is_err_and(is_missing), manifest(dir))
        && let Some(entry) = manifest.sealed.iter().find(|it| it.id == id && it.far)
    {
        return match &options.far {
            Some(far) => Ok(FarFile::of(far.clone(), manifest.log_id, entry)),
            None => Err(Error::defect(Op::Read, place(), Defect::Far)),
        };
    }
    opened.map_err(|error| Error::io(Op::Read, error).at(place()))
}

/// Shows the frames; gives where they end.
fn frames(
    dir: &Dir,
    (header, keys): (&SegmentHeader, &KeyRing),
    window: &mut Window,
    file_end: u64,
    each: &mut impl FnMut(Inspected<'_>),
) -> std::result::Result<u64, Fault> {
    let start = HEADER_BYTES as u64;
    // A sealed segment's frames end where the manifest says; anything else goes on to the zeros.
    let frames_end = match sealed_end(dir, header.id) {
        Some(end) => end,
        None => {
            let beyond = Beyond::of(header, header.base_seq);
            witness(window, &header.context(), start, file_end, beyond)?.frames_end()
        }
    };
    let range = Range {
        offset: start,
        frames_end,
        first_seq: header.base_seq,
        next_seq: Seq::MAX,
        dense: false,
        ..Range::known()
    };
    let mut at = start;
    let how = (&header.context(), keys);
    salvage(window, how, range, |piece| match piece {
        Piece::Batch(offset, header) => {
            at = offset + header.batch_bytes();
            each(Inspected::Batch {
                offset,
                header: *header,
            });
        }
        Piece::Packed(offset, _, head, defect) => each(Inspected::Packed {
            offset,
            head: *head,
            defect,
        }),
        Piece::Record(offset, record) => each(Inspected::Record { offset, record }),
        Piece::Gap(gap) => {
            let (offset, end_offset) = (gap.offset, gap.end_offset);
            at = at.max(end_offset);
            each(Inspected::Unverified {
                offset,
                end_offset,
                defect: gap.defect,
            });
        }
    })?;
    Ok(at.max(frames_end))
}

/// Shows what lies behind the frames: a footer, space.
fn behind(
    bytes: &[u8],
    context: &SegmentContext,
    mut at: u64,
    end_offset: u64,
    mut each: impl FnMut(Inspected<'_>),
) {
    if let Ok(footer) = Footer::decode(bytes, context, at) {
        each(Inspected::Footer { offset: at, footer });
        at += footer.total_bytes(bytes).unwrap_or(FOOTER_BYTES as u64);
    }
    if at < end_offset {
        each(Inspected::Zeros {
            offset: at,
            end_offset,
        });
    }
}

fn sealed_end(dir: &Dir, id: SegmentId) -> Option<u64> {
    let manifest = manifest(dir)?;
    let entry = manifest.sealed.iter().find(|entry| entry.id == id);
    entry.map(|entry| entry.frames_end)
}

fn manifest(dir: &Dir) -> Option<Manifest> {
    let bytes = dir.read(names::MANIFEST, Manifest::stated_bytes).ok()?;
    Manifest::decode(&bytes).ok()
}
