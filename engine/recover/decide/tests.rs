//! Facts to decide on, and plans in a few words: what the table in `cases` is written in.

mod cases;

use super::*;
use crate::{
    format::{
        ProducersFile, SegmentHeader, WatermarkFile,
        header::Predecessor,
        manifest::{SpareEntry, TailEntry},
    },
    segment::{Scan, Summary, Witness},
    types::LogId,
};

const TAIL: SegmentId = SegmentId(5);
const SPARE: SegmentId = SegmentId(6);
const NEXT: SegmentId = SegmentId(7);
const BASE: Seq = 100;
const FILE_BYTES: u64 = 4096;
const BAD: Defect = Defect::BadChecksum {
    stored: 1,
    computed: 2,
};

fn header(id: SegmentId, origin: Origin, base_seq: Seq, durable_seq: Seq) -> SegmentHeader {
    SegmentHeader {
        origin,
        log_id: LogId([7; 16]),
        id,
        base_seq,
        salt: id.0 * 1000,
        base_timestamp_ms: 0,
        predecessor: None,
        durable_seq,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: false,
        packed_appends: false,
    }
}

fn scanned(base_seq: Seq, next_seq: Seq, end: u64, durable_seq: Seq, stop: Stop) -> Scan {
    let mut summary = Summary::new(base_seq, &[]);
    (summary.next_seq, summary.end) = (next_seq, end);
    Scan {
        summary,
        index: Vec::new(),
        durable_seq,
        names_producers: false,
        has_moves: false,
        stop,
    }
}

/// An unsealed segment with records up to `next_seq`, ending at byte `end`.
fn segment(id: SegmentId, base_seq: Seq, next_seq: Seq, end: u64, stop: Stop) -> UnsealedFact {
    UnsealedFact {
        id,
        salt: id.0 * 1000,
        file_bytes: Some(FILE_BYTES),
        header: HeaderFact::Valid(Box::new(header(id, Origin::Live, base_seq, base_seq))),
        // Each batch states what was durable before it; the last record is never stated.
        scan: Some(scanned(
            base_seq,
            next_seq,
            end,
            next_seq.saturating_sub(1).max(base_seq),
            stop,
        )),
        witness: Witness {
            nonzero_end: end,
            ..Witness::default()
        },
    }
}

fn blank(id: SegmentId) -> UnsealedFact {
    UnsealedFact {
        id,
        salt: id.0 * 1000,
        file_bytes: Some(FILE_BYTES),
        header: HeaderFact::Blank,
        scan: None,
        witness: Witness::default(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        log_id: LogId([7; 16]),
        incarnation: 3,
        write_features: 0,
        generation: 9,
        created_ms: 0,
        head_seq: 0,
        next_segment_id: NEXT,
        durable_seq: BASE,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed: Vec::new(),
        tail: TailEntry {
            id: TAIL,
            salt: TAIL.0 * 1000,
            base_seq: BASE,
        },
        marks: Vec::new(),
        spare: Some(SpareEntry {
            id: SPARE,
            salt: SPARE.0 * 1000,
            recycled: false,
        }),
    }
}

/// Ten records, the log not closed, zeros behind them, the spare untouched.
fn unclean() -> Facts {
    Facts {
        manifest: ManifestFact::Valid(Box::new(manifest())),
        sealed_defects: Vec::new(),
        tail: Some(segment(TAIL, BASE, 110, 500, Stop::Zeros)),
        spare: Some(blank(SPARE)),
        unnamed: Vec::new(),
        occupied_id: None,
        leftovers: Vec::new(),
        let_go: Vec::new(),
        producers: ProducersFact::Missing,
        newer: Vec::new(),
        reserve: true,
        watermark: WatermarkFact::Missing,
        cursors_seq: 0,
        owner: Some(manifest().owner()),
    }
}

/// A ledger that is complete below this seq.
fn ledger(as_of_seq: Seq) -> ProducersFact {
    ProducersFact::Valid(Box::new(ProducersFile {
        log_id: LogId([7; 16]),
        incarnation: 3,
        as_of_seq,
        end_seq: as_of_seq,
        tail_id: TAIL,
        producers: Vec::new(),
    }))
}

fn with_manifest(edit: impl FnOnce(&mut Manifest)) -> Facts {
    let mut named = manifest();
    edit(&mut named);
    Facts {
        manifest: ManifestFact::Valid(Box::new(named)),
        ..unclean()
    }
}

fn with_tail(edit: impl FnOnce(&mut UnsealedFact)) -> Facts {
    let mut facts = unclean();
    edit(facts.tail.as_mut().expect("it has a tail"));
    facts
}

/// The tail stops at byte 500 because something there does not verify, up to byte 700.
fn torn() -> Facts {
    with_tail(|tail| {
        let stop = Stop::Defect {
            offset: 520,
            seq: 110,
            defect: BAD,
        };
        *tail = segment(TAIL, BASE, 110, 500, stop);
        tail.witness.nonzero_end = 700;
    })
}

/// The spare was begun behind the tail's last frame and holds records up to `next_seq`.
fn rotated(next_seq: Seq) -> Facts {
    let mut facts = unclean();
    let tail = facts
        .tail
        .as_ref()
        .and_then(|tail| tail.scan.as_ref())
        .expect("scanned");
    let mut spare = segment(SPARE, 110, next_seq, 300, Stop::Zeros);
    let mut begun = header(SPARE, Origin::Live, 110, 109);
    begun.predecessor = Some(Predecessor {
        id: TAIL,
        salt: TAIL.0 * 1000,
        frames_end: tail.summary.end,
        next_seq: tail.summary.next_seq,
        checksum: tail.summary.checksum,
    });
    spare.header = HeaderFact::Valid(Box::new(begun));
    facts.spare = Some(spare);
    facts
}

fn unnamed(id: u64, header: HeaderFact, holds_frames: bool) -> UnnamedFact {
    UnnamedFact {
        id: SegmentId(id),
        header,
        holds_frames,
        names_seqs_below: 0,
    }
}

fn valid(id: u64, origin: Origin, base_seq: Seq) -> HeaderFact {
    HeaderFact::Valid(Box::new(header(SegmentId(id), origin, base_seq, 0)))
}

/// A plan in a few words.
fn words(plan: &Plan) -> String {
    let ids = |ids: &[SegmentId]| ids.iter().map(|id| format!(" -{id}")).collect::<String>();
    match plan {
        Plan::Create { remove } => format!("create{}", ids(remove)),
        Plan::Resume { remove, clean } => {
            let how = if *clean { "clean" } else { "empty" };
            format!("resume {how}{}", ids(remove))
        }
        Plan::Carry { carry, remove } => {
            let spare = if carry.spare_begun { " in spare" } else { "" };
            let torn = if carry.torn.is_some() { " torn" } else { "" };
            let cut = carry
                .cut
                .iter()
                .map(|(id, from, to)| format!(" cut {id}:{from}..{to}"));
            let cut: String = cut.collect();
            let (proven, next) = (carry.proven_seq, carry.next_seq);
            format!("carry {proven}..{next}{spare}{torn}{cut}{}", ids(remove))
        }
        Plan::Refuse { damage } => {
            let each = damage.iter().map(|one| {
                let place = match (one.place.segment, &one.place.path) {
                    (Some(id), _) => id.to_string(),
                    (None, path) => path.clone().unwrap_or_default().display().to_string(),
                };
                format!(" {place} {}..{}", one.first_seq, one.next_seq)
            });
            format!("refuse{}", each.collect::<String>())
        }
    }
}

#[track_caller]
fn decides(what: &str, facts: &Facts, expected: &str) {
    assert_eq!(
        words(&decide(facts, OnAmbiguousTail::Cut)),
        expected,
        "{what}"
    );
}
