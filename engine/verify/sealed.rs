//! Verifying one sealed segment: the file as a whole, every record, the footer, its predecessor.

use super::{Finding, FindingKind, of_gap};
use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{
        SegmentContext,
        header::{HEADER_BYTES, Origin, Predecessor},
        manifest::SealedEntry,
    },
    options::Options,
    seal::KeyRing,
    segment::{
        Fault, Home, Loaded, Piece, Range, Sealed, Source, View, Window, open_damaged_sealed,
        salvage,
    },
    types::{LogId, Seq},
    vfs::Dir,
};

/// What one sealed segment is like. Whether it follows the one before shows where both are known.
pub(super) struct Looked {
    entry: SealedEntry,
    pub(super) record_count: u64,
    /// The seq after its last record.
    pub(super) next_seq: Seq,
    findings: Vec<Finding>,
    /// What its header tells of the segment before.
    told: Option<Predecessor>,
    /// Its state, as its successor should have recorded it.
    state: Option<Predecessor>,
}

impl Looked {
    /// Takes it in behind the segment before; gives its own state.
    pub(super) fn follow(
        self,
        before: Option<Predecessor>,
        findings: &mut Vec<Finding>,
    ) -> Option<Predecessor> {
        findings.extend(self.findings);
        // Where a header tells of the very segment before it, the two have to agree.
        if let (Some(told), Some(seen)) = (self.told, before)
            && told.id == seen.id
            && told != seen
        {
            let defect = Defect::Malformed("state of the segment before");
            findings.push(whole(&self.entry, defect));
        }
        self.state
    }
}

/// Looks at a sealed segment.
pub(super) fn look(
    dir: &Dir,
    log_id: LogId,
    entry: &SealedEntry,
    options: &Options,
) -> Result<Looked> {
    let mut looked = Looked {
        entry: *entry,
        record_count: 0,
        next_seq: entry.next_seq,
        findings: Vec::new(),
        told: None,
        state: None,
    };
    let keys = &options.keys;
    let sealed = Sealed::new(*entry, Home::apart(dir.clone(), log_id, options));
    match sealed.open() {
        Ok(loaded) => {
            let dense = loaded.origin == Origin::Live;
            let source = &loaded.view.source;
            let how = (&loaded.view.context, keys);
            walk(entry, source, how, dense, &mut looked)?;
            if looked.findings.is_empty() && looked.record_count != u64::from(entry.record_count) {
                let defect = Defect::Malformed("count of records");
                looked.findings.push(whole(entry, defect));
            }
            check_index(entry, &loaded.view, &mut looked);
            around(entry, &loaded, &mut looked);
        }
        Err(Fault::Defect {
            offset,
            seq,
            defect,
        }) => {
            let mut finding = whole(entry, defect);
            finding.place = Place::in_segment(entry.id, offset).with_seq(seq);
            if matches!(defect, Defect::MissingFile | Defect::MissingFar) {
                finding.seqs = entry.base_seq..entry.next_seq;
            }
            looked.findings.push(finding);
            if !defect.is_unsupported() {
                damaged(dir, (log_id, options), entry, &mut looked)?;
            }
        }
        Err(fault) => return Err(fault.into_error(Op::Verify, entry.id)),
    }
    Ok(looked)
}

/// The file as a whole is not what it should be: what of its records is?
fn damaged(
    dir: &Dir,
    (log_id, options): (LogId, &Options),
    entry: &SealedEntry,
    looked: &mut Looked,
) -> Result<()> {
    let found = open_damaged_sealed(dir, log_id, entry, &options.far)
        .map_err(|error| Error::io(Op::Verify, error).at(Place::in_segment(entry.id, 0)))?;
    if let Some(found) = found {
        walk(
            entry,
            &Source::File(found.file),
            (&found.context, &options.keys),
            found.dense,
            looked,
        )?;
    }
    Ok(())
}

/// Walks all frames, and counts the records that verify.
fn walk(
    entry: &SealedEntry,
    source: &Source,
    how: (&SegmentContext, &KeyRing),
    dense: bool,
    looked: &mut Looked,
) -> Result<()> {
    let (mut count, mut end_seq) = (0, entry.base_seq);
    let range = Range {
        offset: HEADER_BYTES as u64,
        frames_end: entry.frames_end,
        first_seq: entry.base_seq,
        next_seq: entry.next_seq,
        dense,
        ..Range::known()
    };
    salvage(&mut Window::new(source), how, range, |piece| match piece {
        Piece::Record(_, record) => (count, end_seq) = (count + 1, record.seq + 1),
        Piece::Gap(gap) => looked.findings.push(of_gap(entry.id, &gap)),
        // What this program cannot unpack verifies as it is stored.
        Piece::Packed(_, batch, head, Some(_)) => {
            (count, end_seq) = (count + u64::from(batch.count), head.next_seq());
        }
        Piece::Packed(..) => {}
        Piece::Batch(_, batch) => end_seq = end_seq.max(batch.first_seq),
    })
    .map_err(|fault| fault.into_error(Op::Verify, entry.id))?;
    if end_seq > entry.next_seq {
        let found = whole(
            entry,
            Defect::Malformed("seq behind the end of the segment"),
        );
        looked.findings.push(found);
    }
    looked.record_count += count;
    Ok(())
}

/// The index is derived data, and who uses it looks whether it is right. One that is not is told all the
/// same: nothing that this writes has it so.
fn check_index(entry: &SealedEntry, view: &View, looked: &mut Looked) {
    let number_of = |number: usize| view.index.entry(number);
    let mut entries = (0..view.index.entry_count()).filter_map(number_of);
    let mut from = None;
    let wrong = entries.any(|to| {
        let is_true = view.is_true(from, Some(to), entry.frames_end);
        from = Some(to);
        !is_true || u64::from(to.offset) >= entry.frames_end
    });
    if wrong {
        looked.findings.push(Finding {
            kind: FindingKind::Derived,
            place: Place::in_segment(entry.id, entry.frames_end),
            ..whole(
                entry,
                Defect::Malformed("index: it is not that of the frames"),
            )
        });
    }
}

fn whole(entry: &SealedEntry, defect: Defect) -> Finding {
    Finding {
        kind: FindingKind::of(defect),
        place: Place::in_segment(entry.id, 0),
        end_offset: None,
        seqs: 0..0,
        defect,
    }
}

/// The footer, and what the header tells of the segment before.
fn around(entry: &SealedEntry, loaded: &Loaded, looked: &mut Looked) {
    looked.told = loaded.header.predecessor;
    match &loaded.footer {
        Ok(footer) => {
            looked.state = Some(Predecessor {
                id: entry.id,
                salt: entry.salt,
                frames_end: entry.frames_end,
                next_seq: entry.next_seq,
                checksum: footer.segment_checksum,
            });
        }
        Err(defect) => looked.findings.push(Finding {
            kind: FindingKind::Derived,
            place: Place::in_segment(entry.id, entry.frames_end),
            ..whole(entry, *defect)
        }),
    }
}
