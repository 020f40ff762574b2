//! The strict walk of recovery: which batches of an unsealed segment are in the log, where they
//! stop and why, and whether anything behind attests that more had been there.
//!
//! Never writes, never judges: torn or damaged is for `recover` to decide from these facts.

use super::{
    Fault, Summary, Tally, View, Window,
    build::tally_of,
    nonzero_end,
    summary::push_index,
    witness::{Old, witness_in_old},
};
use crate::{
    error::Defect,
    format::{
        BatchHeader, Footer, IndexEntry, SegmentContext, StoredHead,
        batch::{BATCH_HEADER_BYTES, Records, check_annex},
        footer::FOOTER_BYTES,
        header::HEADER_BYTES,
        moves::MOVES_KIND,
        packed::PACKED_RECORD_BYTES_MIN,
    },
    types::Seq,
};

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The scan was asked to go no further.
    Reached,
    /// The file ends there.
    EndOfFile,
    /// Nothing but zeros follows: preallocated space. In a file that was another segment before: zeros up
    /// to `format::clear_end`, and no header of this one behind.
    Zeros,
    /// A footer follows: the segment was finished, and its sealing had begun.
    Footer,
    /// Something else follows. `offset` is where it does not verify, inside the batch at the end.
    Defect {
        offset: u64,
        seq: Seq,
        defect: Defect,
    },
}

/// The facts of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Of the batches that verify.
    pub(crate) summary: Summary,
    pub(crate) index: Vec<IndexEntry>,
    /// The highest durable watermark that a verified batch states.
    pub(crate) durable_seq: Seq,
    /// Whether a record of them says who appended it.
    pub(crate) names_producers: bool,
    /// Whether one of them holds moves of cursors.
    pub(crate) has_moves: bool,
    pub(crate) stop: Stop,
}

/// How far a scan goes and what it accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The file's size in bytes, or where its frames end if that is known.
    pub(crate) file_end: u64,
    /// Stop at the batch border where this seq is reached.
    pub(crate) until_seq: Seq,
    /// Whether the file was another segment before.
    pub(crate) recycled: bool,
    /// Whether its header says that batches may have been packed as they were appended.
    pub(crate) packed_appends: bool,
}

/// A batch that verified whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified<'a> {
    pub(crate) batch: BatchHeader,
    pub(crate) body: &'a [u8],
    /// What stands beside its records in the clear, if they are sealed or packed.
    pub(crate) head: Option<StoredHead>,
    /// Whether a record of it says who appended it.
    pub(crate) names_producers: bool,
    /// Whether it has no records and holds moves of cursors.
    pub(crate) has_moves: bool,
}

/// What is known of a batch, besides that it verified.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    tally: Tally,
    head: Option<StoredHead>,
    names_producers: bool,
    has_moves: bool,
}

/// Scans a segment onward from the end of `summary`, feeding every verified batch to `each`, and
/// looks what follows.
pub(crate) fn scan(
    window: &mut Window,
    context: &SegmentContext,
    summary: Summary,
    limits: Limits,
    each: impl FnMut(Verified<'_>),
) -> Result<Scan, Fault> {
    let mut scan = walk(window, context, summary, limits, each)?;
    if scan.stop != Stop::Reached
        && let Some(stop) = classify(window, context, &scan.summary, limits)?
    {
        scan.stop = stop;
    }
    Ok(scan)
}

/// As [`scan`], without a look at what follows: whatever it is, it is a defect.
pub(crate) fn walk(
    window: &mut Window,
    context: &SegmentContext,
    summary: Summary,
    limits: Limits,
    mut each: impl FnMut(Verified<'_>),
) -> Result<Scan, Fault> {
    let Limits {
        file_end,
        until_seq,
        packed_appends,
        ..
    } = limits;
    let mut scan = Scan {
        summary,
        index: Vec::new(),
        durable_seq: 0,
        names_producers: false,
        has_moves: false,
        stop: Stop::Reached,
    };
    while scan.summary.next_seq < until_seq {
        let offset = scan.summary.end;
        let found = batch_at(window, context, &scan.summary, (file_end, packed_appends))?;
        let (batch, content) = match found {
            Ok(found) => found,
            Err((offset, seq, defect)) => {
                scan.stop = Stop::Defect {
                    offset,
                    seq,
                    defect,
                };
                break;
            }
        };
        let Content {
            tally,
            head,
            names_producers,
            has_moves,
        } = content;
        push_index(&mut scan.index, context, &batch, offset);
        scan.durable_seq = scan.durable_seq.max(batch.durable_seq);
        scan.names_producers |= names_producers;
        scan.has_moves |= has_moves;
        let bytes = get(window, offset, batch.batch_bytes(), file_end)?;
        let bytes = bytes.get(..as_len(batch.batch_bytes())).unwrap_or_default();
        let one = std::iter::once(&batch);
        scan.summary
            .add(bytes, context, one, batch.next_seq(), &tally);
        each(Verified {
            batch,
            body: bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default(),
            head,
            names_producers,
            has_moves,
        });
    }
    Ok(scan)
}

/// What is known of an unsealed segment up to the first batch that has a record at or above `end_seq`.
pub(crate) fn summary_below(view: &View, written_end: u64, end_seq: Seq) -> Result<Summary, Fault> {
    let mut window = Window::new(&view.source);
    let head = get(&mut window, 0, HEADER_BYTES as u64, written_end)?;
    let head = head.get(..HEADER_BYTES).unwrap_or_default();
    let mut below = Summary::new(view.context.base_seq, head);
    while below.next_seq < end_seq {
        // One batch at a time: the one that goes on beyond the end is found by reading it, and left out.
        let limits = Limits {
            file_end: written_end,
            until_seq: below.next_seq.saturating_add(1),
            recycled: false,
            packed_appends: view.packed_appends,
        };
        let scan = walk(&mut window, &view.context, below.clone(), limits, |_| ())?;
        if let Stop::Defect {
            offset,
            seq,
            defect,
        } = scan.stop
        {
            return Err(Fault::Defect {
                offset,
                seq,
                defect,
            });
        }
        if scan.summary.next_seq > end_seq {
            break;
        }
        below = scan.summary;
    }
    Ok(below)
}

type NotABatch = (u64, Seq, Defect);

/// The batch at the end of `summary`, verified whole. In an unsealed segment it has to follow what is
/// before it without a gap. With it, what it holds.
fn batch_at(
    window: &mut Window,
    context: &SegmentContext,
    summary: &Summary,
    (file_end, packed_appends): (u64, bool),
) -> Result<Result<(BatchHeader, Content), NotABatch>, Fault> {
    let (offset, expected) = (summary.end, summary.next_seq);
    let head = get(window, offset, BATCH_HEADER_BYTES as u64, file_end)?;
    let batch = match BatchHeader::decode(head, context, offset) {
        Ok(batch) => batch,
        Err(defect) => return Ok(Err((offset, expected, defect))),
    };
    if batch.first_seq != expected {
        let defect = Defect::SequenceGap {
            expected,
            found: batch.first_seq,
        };
        return Ok(Err((offset, expected, defect)));
    }
    if batch.sparse {
        let defect = Defect::Malformed("sparse batch in an unsealed segment");
        return Ok(Err((offset, expected, defect)));
    }
    let bytes = get(window, offset, batch.batch_bytes(), file_end)?;
    let Some(body) = bytes.get(BATCH_HEADER_BYTES..as_len(batch.batch_bytes())) else {
        let (needed_bytes, available_bytes) = (batch.batch_bytes(), bytes.len() as u64);
        return Ok(Err((
            offset,
            expected,
            Defect::Truncated {
                needed_bytes,
                available_bytes,
            },
        )));
    };
    if batch.count == 0 {
        let body_offset = offset + BATCH_HEADER_BYTES as u64;
        return Ok(match check_annex(body, context, offset) {
            Ok(kind) => {
                let has_moves = kind == Some(MOVES_KIND);
                let content = Content {
                    has_moves,
                    ..Content::default()
                };
                Ok((batch, content))
            }
            Err(defect) => Err((body_offset, expected, defect)),
        });
    }
    if batch.packed {
        let content = stored_content(body, &batch, (context, offset), packed_appends);
        return Ok(match content {
            Ok(content) => Ok((batch, content)),
            Err(defect) => Err((offset + BATCH_HEADER_BYTES as u64, expected, defect)),
        });
    }
    let mut content = Content::default();
    let mut records = Records::new(body, *context, batch);
    let mut seq = batch.first_seq;
    loop {
        let at = offset + (BATCH_HEADER_BYTES + records.consumed_bytes()) as u64;
        match records.next() {
            Some(Ok(record)) => {
                content.tally.add_record(&record);
                content.names_producers |= record.producer.is_some();
                seq = record.seq.saturating_add(1);
            }
            Some(Err(defect)) => return Ok(Err((at, seq, defect))),
            None => return Ok(Ok((batch, content))),
        }
    }
}

/// What a sealed or packed batch holds, by what it states in the clear.
fn stored_content(
    body: &[u8],
    batch: &BatchHeader,
    (context, offset): (&SegmentContext, u64),
    packed_appends: bool,
) -> Result<Content, Defect> {
    let head = StoredHead::decode(body, batch, context, offset)?;
    if head.key_id().is_none() && !packed_appends {
        return Err(Defect::Malformed("packed batch in an unsealed segment"));
    }
    // A search behind an end relies on it.
    if batch.count > batch.body_bytes / PACKED_RECORD_BYTES_MIN {
        return Err(Defect::Malformed("count of packed records"));
    }
    Ok(Content {
        tally: tally_of(batch, &head),
        head: Some(head),
        names_producers: head.facts().append_count > 0,
        has_moves: false,
    })
}

/// Whether what follows the frames is an orderly end; `None` if it is not.
fn classify(
    window: &mut Window,
    context: &SegmentContext,
    summary: &Summary,
    limits: Limits,
) -> Result<Option<Stop>, Fault> {
    let file_end = limits.file_end;
    let offset = summary.end;
    if offset >= file_end {
        return Ok(Some(Stop::EndOfFile));
    }
    let bytes = get(window, offset, FOOTER_BYTES as u64, file_end)?;
    let footer = Footer::decode(bytes, context, offset);
    if footer.is_ok_and(|footer| footer.next_seq == summary.next_seq) {
        return Ok(Some(Stop::Footer));
    }
    let written_end = match limits.recycled {
        true => {
            let old = Old {
                next_seq: summary.next_seq,
                bytes_before: 0,
                packed_appends: limits.packed_appends,
            };
            witness_in_old(window, context, offset, file_end, old)?.nonzero_end
        }
        false => nonzero_end(window, offset, file_end)?,
    };
    Ok((written_end == offset).then_some(Stop::Zeros))
}

pub(super) fn get(
    window: &mut Window,
    offset: u64,
    needed: u64,
    limit: u64,
) -> Result<&[u8], Fault> {
    window
        .get(offset, needed, limit)
        .map_err(|error| Fault::Io { offset, error })
}

fn as_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
