//! The table of section "Recovery by cases": facts on the left, the plan on the right.

use super::*;
use crate::{
    format::{
        SegmentHeader,
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
    }
}

fn scanned(base_seq: Seq, next_seq: Seq, end: u64, durable_seq: Seq, stop: Stop) -> Scan {
    let mut summary = Summary::new(base_seq, &[]);
    (summary.next_seq, summary.end) = (next_seq, end);
    Scan {
        summary,
        index: Vec::new(),
        durable_seq,
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
        generation: 9,
        created_ms: 0,
        head_seq: 0,
        next_segment_id: NEXT,
        durable_seq: BASE,
        durable_end: 0,
        clean: false,
        sealed: Vec::new(),
        tail: TailEntry {
            id: TAIL,
            salt: TAIL.0 * 1000,
            base_seq: BASE,
        },
        spare: Some(SpareEntry {
            id: SPARE,
            salt: SPARE.0 * 1000,
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
        leftovers: Vec::new(),
        reserve: true,
    }
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
                let segment = one
                    .place
                    .segment
                    .map_or("MANIFEST".to_owned(), |id| id.to_string());
                format!(" {segment} {}..{}", one.first_seq, one.next_seq)
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

#[test]
fn end_of_the_log() {
    let closed =
        |seq, end| with_manifest(|m| (m.clean, m.durable_seq, m.durable_end) = (true, seq, end));
    decides("closed exactly here", &closed(110, 500), "resume clean");
    decides(
        "closed, then appended to",
        &closed(105, 300),
        "carry 109..110",
    );
    decides(
        "closed further on: cut off since",
        &closed(115, 800),
        "refuse 5 110..115",
    );
    decides("not closed", &unclean(), "carry 109..110");
    decides(
        "not closed, file ends",
        &with_tail(|tail| *tail = segment(TAIL, BASE, 110, 500, Stop::EndOfFile)),
        "carry 109..110",
    );
    decides(
        "nothing behind the header",
        &with_tail(|tail| *tail = segment(TAIL, BASE, BASE, 128, Stop::Zeros)),
        "resume empty",
    );
    decides(
        "sealing had begun",
        &with_tail(|tail| *tail = segment(TAIL, BASE, 110, 500, Stop::Footer)),
        "carry 109..110",
    );
}

#[test]
fn torn_or_damaged() {
    decides(
        "nothing attests what is torn",
        &torn(),
        "carry 109..110 torn cut 5:500..700",
    );
    let refused = decide(&torn(), OnAmbiguousTail::Refuse);
    assert_eq!(
        words(&refused),
        "refuse 5 110..110",
        "if the options say so"
    );

    let mut facts = torn();
    let witness =
        |facts: &mut Facts, seq| facts.tail.as_mut().expect("a tail").witness.durable_seq = seq;
    witness(&mut facts, 110);
    decides(
        "a later frame that attests nothing beyond",
        &facts,
        "carry 110..110 torn cut 5:500..700",
    );
    witness(&mut facts, 111);
    decides(
        "a later frame attests the next record",
        &facts,
        "refuse 5 110..111",
    );

    let mut facts = torn();
    facts.manifest = with_manifest(|m| m.durable_seq = 112).manifest;
    decides("the manifest attests it", &facts, "refuse 5 110..112");
    let mut facts = unclean();
    facts.manifest = with_manifest(|m| m.durable_seq = 112).manifest;
    decides(
        "zeros where durable records were",
        &facts,
        "refuse 5 110..112",
    );
}

#[test]
fn rotation_in_progress() {
    decides(
        "begun and in order",
        &rotated(115),
        "carry 114..115 in spare",
    );
    decides(
        "begun, nothing in it yet",
        &rotated(110),
        "carry 110..110 in spare",
    );

    let mut facts = rotated(112);
    if let Some(scan) = facts.tail.as_mut().and_then(|tail| tail.scan.as_mut()) {
        scan.summary.checksum ^= 1;
    }
    decides(
        "behind other frames than these",
        &facts,
        "refuse 5 110..111",
    );

    let mut facts = rotated(110);
    let lost = segment(TAIL, BASE, 108, 420, Stop::Zeros);
    facts.tail = Some(lost);
    // What was begun behind them says that everything below 110 was durable.
    decides(
        "frames before it are gone that were durable",
        &facts,
        "refuse 5 108..110",
    );

    let mut facts = unclean();
    facts.spare = Some(UnsealedFact {
        header: HeaderFact::Invalid(BAD),
        ..blank(SPARE)
    });
    decides("its header is torn", &facts, "carry 109..110 torn");
    let mut facts = unclean();
    facts.spare = Some(UnsealedFact {
        witness: Witness {
            nonzero_end: 600,
            ..Witness::default()
        },
        ..blank(SPARE)
    });
    decides("noise in it", &facts, "carry 109..110 torn cut 6:0..600");
    let mut facts = unclean();
    facts.spare = Some(UnsealedFact {
        file_bytes: None,
        ..blank(SPARE)
    });
    decides("it is missing", &facts, "refuse 6 100..100");
    let mut facts = rotated(115);
    facts.spare = Some(segment(SPARE, 105, 115, 300, Stop::Zeros));
    decides(
        "it begins before the tail ends",
        &facts,
        "refuse 6 100..100",
    );
}

#[test]
fn files_that_are_missing_or_not_what_they_should_be() {
    decides(
        "the tail is missing",
        &with_tail(|tail| tail.file_bytes = None),
        "refuse 5 100..100",
    );
    decides(
        "its header is zeros",
        &with_tail(|tail| tail.header = HeaderFact::Blank),
        "refuse 5 100..100",
    );
    decides(
        "its header does not verify",
        &with_tail(|tail| tail.header = HeaderFact::Invalid(BAD)),
        "refuse 5 100..100",
    );
    decides(
        "it is another segment",
        &with_tail(|tail| tail.header = valid(3, Origin::Live, BASE)),
        "refuse 5 100..100",
    );
    let mut facts = unclean();
    facts.sealed_defects = vec![(SegmentId(2), 20, 40, Defect::MissingFile)];
    decides("a sealed segment is missing", &facts, "refuse 2 20..40");
    let facts = Facts {
        manifest: ManifestFact::Invalid(BAD),
        ..unclean()
    };
    decides(
        "the manifest does not verify",
        &facts,
        "refuse MANIFEST 0..0",
    );
}

#[test]
fn files_that_no_manifest_names() {
    let with = |fact: UnnamedFact| Facts {
        unnamed: vec![fact],
        ..unclean()
    };
    decides(
        "superseded",
        &with(unnamed(3, valid(3, Origin::Live, 0), true)),
        "carry 109..110 -3",
    );
    decides(
        "a copy that was never named",
        &with(unnamed(7, valid(7, Origin::Copy, 90), true)),
        "carry 109..110 -7",
    );
    decides(
        "a torn copy",
        &with(unnamed(8, HeaderFact::Invalid(BAD), true)),
        "carry 109..110 -8",
    );
    decides(
        "a spare that was never named",
        &with(unnamed(7, HeaderFact::Blank, true)),
        "carry 109..110 -7",
    );
    decides(
        "begun under a newer manifest",
        &with(unnamed(7, valid(7, Origin::Live, 110), true)),
        "refuse 7 0..0",
    );
}

#[test]
fn no_manifest() {
    let with = |unnamed: Vec<UnnamedFact>| Facts {
        manifest: ManifestFact::Missing,
        sealed_defects: Vec::new(),
        tail: None,
        spare: None,
        unnamed,
        leftovers: Vec::new(),
        reserve: false,
    };
    let (blank, invalid) = (HeaderFact::Blank, HeaderFact::Invalid(BAD));
    decides("nothing there", &with(vec![]), "create");
    let first = || unnamed(1, valid(1, Origin::Copy, 0), false);
    decides(
        "creation cut short",
        &with(vec![first(), unnamed(2, blank.clone(), false)]),
        "create -1 -2",
    );
    decides(
        "creation torn",
        &with(vec![
            unnamed(1, invalid.clone(), false),
            unnamed(2, invalid.clone(), true),
        ]),
        "create -1 -2",
    );
    decides(
        "the first tail holds records",
        &with(vec![unnamed(1, valid(1, Origin::Copy, 0), true)]),
        "refuse MANIFEST 0..0",
    );
    decides(
        "a segment that was begun",
        &with(vec![unnamed(2, valid(2, Origin::Live, 9), true)]),
        "refuse MANIFEST 0..0",
    );
    decides(
        "a segment that creation does not make",
        &with(vec![unnamed(3, invalid, false)]),
        "refuse MANIFEST 0..0",
    );
    let facts = Facts {
        reserve: true,
        ..with(vec![first()])
    };
    decides(
        "the first commit had returned",
        &facts,
        "refuse MANIFEST 0..0",
    );
}
