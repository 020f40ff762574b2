//! The table of section "Recovery by cases": facts on the left, the plan on the right.

use super::*;

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
    let mut facts = closed(110, 500);
    if let Some(scan) = facts.tail.as_mut().and_then(|tail| tail.scan.as_mut()) {
        scan.stop = Stop::Footer;
    }
    decides("closed, and sealed after that", &facts, "carry 110..110");
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
        "refuse 5 110..110",
    );

    // It says itself what was durable when it was begun.
    let mut facts = unclean();
    if let Some(tail) = &mut facts.tail {
        let mut begun = header(TAIL, Origin::Live, BASE, 112);
        begun.salt = tail.salt;
        tail.header = HeaderFact::Valid(Box::new(begun));
    }
    decides("less than its header says", &facts, "refuse 5 110..112");

    // Whatever of it was not the end of this tail.
    type Edit = fn(&mut Predecessor);
    let edits: [Edit; 5] = [
        |it| it.id = SegmentId(4),
        |it| it.salt ^= 1,
        |it| it.frames_end -= 1,
        |it| it.next_seq -= 1,
        |it| it.checksum ^= 1,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut facts = rotated(112);
        let spare = facts.spare.as_mut().expect("begun");
        if let HeaderFact::Valid(header) = &mut spare.header {
            header.predecessor.as_mut().map(edit).expect("it has one");
        }
        let what = format!("behind other frames: {number}");
        decides(&what, &facts, "refuse 5 110..110");
    }

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
    decides("it is missing", &facts, "refuse 6 110..110");
    let mut facts = rotated(115);
    facts.spare = Some(segment(SPARE, 105, 115, 300, Stop::Zeros));
    decides(
        "it begins before the tail ends",
        &facts,
        "refuse 6 110..114",
    );
}

#[test]
fn files_that_are_missing_or_not_what_they_should_be() {
    decides(
        "the tail is missing",
        &with_tail(|tail| {
            *tail = UnsealedFact {
                file_bytes: None,
                ..blank(TAIL)
            }
        }),
        "refuse 5 100..100",
    );
    decides(
        "its header is zeros",
        &with_tail(|tail| tail.header = HeaderFact::Blank),
        "refuse 5 100..109",
    );
    decides(
        "its header does not verify",
        &with_tail(|tail| tail.header = HeaderFact::Invalid(BAD)),
        "refuse 5 100..109",
    );
    decides(
        "it is another segment",
        &with_tail(|tail| tail.header = valid(3, Origin::Live, BASE)),
        "refuse 5 100..109",
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
fn the_ledger_of_producers() {
    let with = |producers: ProducersFact| Facts {
        producers,
        ..unclean()
    };
    decides(
        "it is of the tail's base",
        &with(ledger(BASE)),
        "carry 109..110",
    );
    decides(
        "it attests the end: a seal was under way",
        &with(ledger(110)),
        "carry 110..110",
    );
    decides(
        "it attests more than there is",
        &with(ledger(112)),
        "refuse 5 110..112",
    );
    let flagged = |producers: ProducersFact| Facts {
        producers,
        ..with_manifest(|m| m.has_ledger = true)
    };
    decides(
        "it is as it should be",
        &flagged(ledger(BASE)),
        "carry 109..110",
    );
    decides(
        "it is gone",
        &flagged(ProducersFact::Missing),
        "refuse PRODUCERS 0..0",
    );
    decides(
        "it is of an earlier tail",
        &flagged(ledger(BASE - 1)),
        "refuse PRODUCERS 0..0",
    );
    let of_tail = |tail_id| match ledger(BASE) {
        ProducersFact::Valid(mut file) => {
            file.tail_id = tail_id;
            flagged(ProducersFact::Valid(file))
        }
        other => flagged(other),
    };
    decides(
        "it is of before a rewind",
        &of_tail(SegmentId(4)),
        "refuse PRODUCERS 0..0",
    );
    decides("a seal was under way", &of_tail(SPARE), "carry 109..110");
    decides("a rewind was under way", &of_tail(NEXT), "carry 109..110");
    decides(
        "it does not verify",
        &with(ProducersFact::Invalid(BAD)),
        "refuse PRODUCERS 0..0",
    );
}

/// Each of these is written after a sync that returned, and lies beside the log; none was heard once,
/// and what they attest was cut as torn, or left out without a word, and its numbers given again.
#[test]
fn what_lies_beside_the_log_is_heard() {
    decides(
        "the head was durable when it was trimmed to",
        &with_manifest(|m| m.head_seq = 112),
        "refuse 5 110..112",
    );
    let told = |durable_seq, generation| Facts {
        watermark: WatermarkFact::Told(WatermarkFile {
            log_id: LogId([7; 16]),
            incarnation: 3,
            durable_seq,
            generation,
        }),
        ..unclean()
    };
    decides(
        "the watermark file says less",
        &told(105, 9),
        "carry 109..110",
    );
    decides(
        "it says that all was durable: nothing has to be copied",
        &told(110, 9),
        "carry 110..110",
    );
    decides(
        "it says more than there is",
        &told(112, 9),
        "refuse 5 110..112",
    );
    decides(
        "it knows a newer manifest",
        &told(110, 10),
        "refuse MANIFEST 0..0",
    );
    let facts = Facts {
        watermark: WatermarkFact::Unheard,
        ..unclean()
    };
    decides("half of one, or another log's", &facts, "carry 109..110");
    let passed = |cursors_seq| Facts {
        cursors_seq,
        ..unclean()
    };
    decides("a cursor has passed all", &passed(110), "carry 110..110");
    decides(
        "a cursor has passed more",
        &passed(111),
        "refuse 5 110..111",
    );
    let facts = Facts {
        watermark: told(112, 9).watermark,
        ..with_tail(|tail| {
            *tail = UnsealedFact {
                file_bytes: None,
                ..blank(TAIL)
            }
        })
    };
    decides("the tail is missing with it", &facts, "refuse 5 100..112");
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
        "refuse 7 110..110",
    );
    decides(
        "the same of another log: it is not ours",
        &with(unnamed(7, valid(8, Origin::Live, 110), true)),
        "carry 109..110",
    );
    // A recovery or a rewind wrote it aside, with what lies below 110.
    let tail = |names_seqs_below| {
        let mut header = header(SegmentId(7), Origin::Copy, 109, 109);
        header.appends_from = Some(110);
        UnnamedFact {
            names_seqs_below,
            ..unnamed(7, HeaderFact::Valid(Box::new(header)), true)
        }
    };
    decides(
        "a tail that a crash cut short before it was named",
        &with(tail(110)),
        "carry 109..110 -7",
    );
    decides(
        "one that was appended to: a newer manifest named it",
        &with(tail(113)),
        "refuse 7 110..113",
    );
    let facts = Facts {
        manifest: with_manifest(|m| m.next_segment_id = SegmentId(8)).manifest,
        ..with(tail(113))
    };
    decides("one that was left behind", &facts, "carry 109..110 -7");
}

#[test]
fn no_manifest() {
    let with = |unnamed: Vec<UnnamedFact>| Facts {
        manifest: ManifestFact::Missing,
        sealed_defects: Vec::new(),
        tail: None,
        spare: None,
        unnamed,
        occupied_id: None,
        leftovers: Vec::new(),
        let_go: Vec::new(),
        producers: ProducersFact::Missing,
        newer: Vec::new(),
        reserve: false,
        watermark: WatermarkFact::Missing,
        cursors_seq: 0,
        owner: None,
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
        producers: ledger(0),
        ..with(vec![first()])
    };
    decides("producers were stored once", &facts, "refuse MANIFEST 0..0");
    let facts = Facts {
        newer: Vec::new(),
        reserve: true,
        ..with(vec![first()])
    };
    decides(
        "the first commit had returned",
        &facts,
        "refuse MANIFEST 0..0",
    );
    let told = WatermarkFile {
        log_id: LogId([7; 16]),
        incarnation: 3,
        durable_seq: 0,
        generation: 1,
    };
    let facts = Facts {
        watermark: WatermarkFact::Told(told),
        ..with(vec![first()])
    };
    decides("readers were told of it", &facts, "refuse MANIFEST 0..0");
    let facts = Facts {
        leftovers: vec!["BACKUP".to_owned()],
        ..with(vec![])
    };
    decides("a backup cut short", &facts, "refuse BACKUP 0..0");
}

#[test]
fn the_ledger_that_the_manifest_knows_of() {
    let with = |producers: ProducersFact| Facts {
        producers,
        ..with_manifest(|m| m.has_ledger = true)
    };
    let gone = with(ProducersFact::Missing);
    decides("it is gone", &gone, "refuse PRODUCERS 0..0");
    let old = with(ledger(BASE - 1));
    decides("it is older than the tail", &old, "refuse PRODUCERS 0..0");
    decides(
        "it is as of the tail",
        &with(ledger(BASE)),
        "carry 109..110",
    );
    let facts = Facts {
        producers: ledger(BASE - 1),
        ..unclean()
    };
    decides(
        "a log from before the manifest knew",
        &facts,
        "carry 109..110",
    );
}
