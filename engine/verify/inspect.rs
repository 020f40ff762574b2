//! A segment shown frame by frame, the way `format.md` draws it.

use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{
        BatchHeader, Footer, Manifest, RecordRef, SegmentHeader, header::HEADER_BYTES, names,
    },
    segment::{Fault, Piece, Range, Source, Window, nonzero_end, salvage},
    types::{SegmentId, Seq},
    vfs::{Access, Dir, read_full_at},
};
use std::io;

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
    /// A record.
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
pub(crate) fn inspect(dir: &Dir, id: SegmentId, mut each: impl FnMut(Inspected<'_>)) -> Result<()> {
    let io_at = |error: io::Error| Error::io(Op::Read, error).at(Place::in_segment(id, 0));
    let file = dir.open(&names::segment(id), Access::Read).map_err(io_at)?;
    let file_end = file.len().map_err(io_at)?;
    let mut head = [0; HEADER_BYTES];
    let read = read_full_at(&*file, &mut head, 0).map_err(io_at)?;
    let head = head.get(..read).unwrap_or_default();
    let header = match SegmentHeader::decode(head) {
        Ok(header) => header,
        Err(Defect::Zeroed) => {
            each(Inspected::Zeros {
                offset: 0,
                end_offset: file_end,
            });
            return Ok(());
        }
        Err(defect) => {
            each(Inspected::Unverified {
                offset: 0,
                end_offset: file_end,
                defect,
            });
            return Ok(());
        }
    };
    each(Inspected::Header(header.clone()));
    let mut window = Window::new(Source::File(file));
    let fault = |fault: Fault| fault.into_error(Op::Read, id);
    let written = nonzero_end(&mut window, HEADER_BYTES as u64, file_end).map_err(fault)?;
    // A sealed segment's frames end where the manifest says; anything else goes on to the zeros.
    let frames_end = sealed_end(dir, id).unwrap_or(written);
    let range = Range {
        offset: HEADER_BYTES as u64,
        frames_end,
        first_seq: header.base_seq,
        next_seq: Seq::MAX,
        dense: false,
    };
    let mut at = HEADER_BYTES as u64;
    let context = header.context();
    salvage(&mut window, &context, range, |piece| match piece {
        Piece::Batch(offset, header) => {
            at = offset + header.batch_bytes();
            each(Inspected::Batch {
                offset,
                header: *header,
            });
        }
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
    })
    .map_err(fault)?;
    let mut at = at.max(frames_end);
    let bytes = window.get(at, 1, file_end).map_err(io_at)?;
    if let Ok(footer) = Footer::decode(bytes, &context, at) {
        each(Inspected::Footer { offset: at, footer });
        at += (crate::format::footer::FOOTER_BYTES
            + footer.entry_count as usize * crate::format::footer::INDEX_ENTRY_BYTES)
            as u64;
    }
    if at < file_end {
        each(Inspected::Zeros {
            offset: at,
            end_offset: file_end,
        });
    }
    Ok(())
}

fn sealed_end(dir: &Dir, id: SegmentId) -> Option<u64> {
    let manifest = Manifest::decode(&dir.read(names::MANIFEST).ok()?).ok()?;
    manifest
        .sealed
        .iter()
        .find(|entry| entry.id == id)
        .map(|entry| entry.frames_end)
}
