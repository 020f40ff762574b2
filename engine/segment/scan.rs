//! The strict walk of recovery: which batches of an unsealed segment are in the log, where they
//! stop and why, and whether anything behind attests that more had been there.
//!
//! Never writes, never judges: torn or damaged is for `recover` to decide from these facts.

use super::{Fault, Summary, Tally, Window, summary::push_index};
use crate::{
    error::Defect,
    format::{
        BatchHeader, Footer, IndexEntry, SegmentContext,
        batch::{BATCH_HEADER_BYTES, Records, cannot_be_header, check_annex},
        footer::FOOTER_BYTES,
        manifest::FRAMES_END_MAX,
        moves::MOVES_KIND,
    },
    types::Seq,
};
use std::ops::ControlFlow;

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The scan was asked to go no further.
    Reached,
    /// The file ends there.
    EndOfFile,
    /// Nothing but zeros follows: preallocated space.
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
}

/// A batch that verified whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified<'a> {
    pub(crate) batch: BatchHeader,
    pub(crate) body: &'a [u8],
    /// Whether a record of it says who appended it.
    pub(crate) names_producers: bool,
    /// Whether it has no records and holds moves of cursors.
    pub(crate) has_moves: bool,
}

/// What is known of a batch, besides that it verified.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    tally: Tally,
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
        && let Some(stop) = classify(window, context, &scan.summary, limits.file_end)?
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
        let (batch, content) = match batch_at(window, context, &scan.summary, file_end)? {
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
            names_producers,
            has_moves,
        });
    }
    Ok(scan)
}

type NotABatch = (u64, Seq, Defect);

/// The batch at the end of `summary`, verified whole. In an unsealed segment it has to follow what is
/// before it without a gap. With it, what it holds.
fn batch_at(
    window: &mut Window,
    context: &SegmentContext,
    summary: &Summary,
    file_end: u64,
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

/// Whether what follows the frames is an orderly end; `None` if it is not.
fn classify(
    window: &mut Window,
    context: &SegmentContext,
    summary: &Summary,
    file_end: u64,
) -> Result<Option<Stop>, Fault> {
    let offset = summary.end;
    if offset >= file_end {
        return Ok(Some(Stop::EndOfFile));
    }
    let bytes = get(window, offset, FOOTER_BYTES as u64, file_end)?;
    let footer = Footer::decode(bytes, context, offset);
    if footer.is_ok_and(|footer| footer.next_seq == summary.next_seq) {
        return Ok(Some(Stop::Footer));
    }
    Ok((nonzero_end(window, offset, file_end)? == offset).then_some(Stop::Zeros))
}

/// The offset after the last byte that is not zero, at least `from`.
pub(crate) fn nonzero_end(window: &mut Window, from: u64, file_end: u64) -> Result<u64, Fault> {
    let (mut at, mut end) = (from, from);
    let file_end = file_end.min(FRAMES_END_MAX);
    while at < file_end {
        let bytes = get(window, at, 1, file_end)?;
        if bytes.is_empty() {
            break;
        }
        // A file may be zeros to its end, and those are passed at the speed of memory.
        if !is_zero(bytes)
            && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        {
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
    Ok(end)
}

/// Whether all of it is zeros; many bytes at a time.
fn is_zero(bytes: &[u8]) -> bool {
    let any = |bytes: &[u8]| bytes.iter().fold(0, |any, byte| any | byte) != 0;
    !bytes.chunks(ZERO_CHUNK_BYTES).any(any)
}

/// Looked at together, without a branch between.
const ZERO_CHUNK_BYTES: usize = 1024;

/// What the bytes behind an unverified place say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The highest durable watermark that any batch header states.
    pub(crate) durable_seq: Seq,
    /// The highest seq that follows a batch whose header verifies.
    pub(crate) next_seq: Seq,
    /// After the last byte that is not zero.
    pub(crate) nonzero_end: u64,
    /// Where the first header is that only a newer program can read.
    pub(crate) newer: Option<u64>,
}

/// Searches every byte offset from `from` to the end of the file for batch headers that verify.
///
/// A header is witness enough without its records: it has its own checksum, bound to salt and
/// offset, and states what a sync had already confirmed when it was written.
pub(crate) fn witness(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    file_end: u64,
) -> Result<Witness, Fault> {
    let nonzero_end = nonzero_end(window, from, file_end)?;
    let mut found = Witness {
        nonzero_end,
        ..Witness::default()
    };
    search_headers(
        window,
        context,
        from,
        file_end.min(nonzero_end + BATCH_HEADER_BYTES as u64),
        |offset, batch| {
            match batch {
                Some(batch) => {
                    found.durable_seq = found.durable_seq.max(batch.durable_seq);
                    found.next_seq = found.next_seq.max(batch.next_seq());
                }
                None => found.newer = found.newer.or(Some(offset)),
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(found)
}

/// Tries every byte offset of a range for a batch header that verifies, until `each` has enough. One that
/// only a newer program can read is told of without what it says.
pub(super) fn search_headers(
    window: &mut Window,
    context: &SegmentContext,
    from: u64,
    end: u64,
    mut each: impl FnMut(u64, Option<&BatchHeader>) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let (mut at, end) = (from, end.min(FRAMES_END_MAX));
    while at < end {
        let bytes = get(window, at, BATCH_HEADER_BYTES as u64, end)?;
        let candidates = bytes.len().saturating_sub(BATCH_HEADER_BYTES - 1);
        if candidates == 0 {
            break;
        }
        if is_zero(bytes) {
            // Zero is no header, and none begins here but within the last bytes.
            at += candidates as u64;
            continue;
        }
        for start in 0..candidates {
            let candidate = bytes.get(start..).unwrap_or_default();
            if cannot_be_header(candidate) {
                continue;
            }
            let offset = at + start as u64;
            let more = match BatchHeader::decode(candidate, context, offset) {
                Ok(batch) => each(offset, Some(&batch)),
                Err(defect) if defect.is_unsupported() => each(offset, None),
                Err(_) => ControlFlow::Continue(()),
            };
            if more.is_break() {
                return Ok(());
            }
        }
        at += candidates as u64;
    }
    Ok(())
}

fn get(window: &mut Window, offset: u64, needed: u64, limit: u64) -> Result<&[u8], Fault> {
    window
        .get(offset, needed, limit)
        .map_err(|error| Fault::Io { offset, error })
}

fn as_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
