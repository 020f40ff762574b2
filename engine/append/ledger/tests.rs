//! What does the ledger answer, and what is left of it when appends are taken back?

use super::*;
use crate::types::LogId;

const ID: u64 = 7;
const OWNER: Owner = Owner {
    log_id: LogId([1; 16]),
    incarnation: 2,
};

fn by(epoch: u32, number: u64) -> Producer {
    let id = ID;
    Producer { id, epoch, number }
}

/// The answer to an append, in words.
fn answer(ledger: &Ledger, producer: Producer, count: u32) -> String {
    match ledger.find(producer, count) {
        Ok(None) => "new".to_owned(),
        Ok(Some(seqs)) => format!("{}..{}", seqs.start, seqs.end),
        Err(error) => match error.newest_epoch() {
            Some(epoch) => format!("Fenced {epoch}"),
            None => format!("{:?}", error.kind()),
        },
    }
}

/// Appends of one record each, at the seqs 10, 11, ...
fn after(appends: &[(u32, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (seq, (epoch, number)) in (10..).zip(appends) {
        ledger.add(by(*epoch, *number), seq..seq + 1, Seq::MAX);
    }
    ledger
}

#[test]
fn what_is_the_answer_to_each_append() {
    let twelve: Vec<(u32, u64)> = (0..12).map(|number| (1, number * 10)).collect();
    type Case<'a> = (&'a [(u32, u64)], (u32, u64), u32, &'a str);
    let cases: [Case<'_>; 16] = [
        (&[], (0, 0), 1, "new"),
        (&[(1, 5)], (1, 5), 1, "10..11"),
        (&[(1, 5)], (1, 5), 2, "InvalidInput"),
        (&[(1, 5)], (1, 6), 1, "new"),
        (&[(1, 5)], (1, 900), 3, "new"),
        (&[(1, 5)], (1, 4), 1, "InvalidInput"),
        (&[(1, 5), (1, 7)], (1, 6), 1, "InvalidInput"),
        (&[(1, 5), (1, 7)], (1, 5), 1, "10..11"),
        (&[(1, 5)], (0, 5), 1, "Fenced 1"),
        (&[(1, 5)], (0, 6), 1, "Fenced 1"),
        (&[(1, 5)], (2, 5), 1, "new"),
        (&[(1, 5), (2, 0)], (2, 0), 1, "11..12"),
        (&[(1, 5), (2, 0)], (1, 5), 1, "Fenced 2"),
        (&twelve, (1, 30), 1, "Duplicate"),
        (&twelve, (1, 40), 1, "14..15"),
        (&twelve, (1, 31), 1, "InvalidInput"),
    ];
    for (appends, (epoch, number), count, want) in cases {
        let got = answer(&after(appends), by(epoch, number), count);
        assert_eq!(got, want, "{epoch}/{number} x{count} after {appends:?}");
    }
}

#[test]
fn does_taking_back_leave_it_as_it_was() {
    let mut ledger = after(&[(1, 0), (1, 1), (1, 2)]);
    let before = ledger.clone();
    for number in 3..40 {
        let seq = 10 + number;
        ledger.add(by(1, number), seq..seq + 1, 13);
    }
    assert_eq!(answer(&ledger, by(1, 0), 1), "10..11", "not forgotten yet");
    ledger.drop_from(13);
    for number in 0..40 {
        let (was, is) = (
            answer(&before, by(1, number), 1),
            answer(&ledger, by(1, number), 1),
        );
        assert_eq!(was, is, "number {number}");
    }
    // And once they are written the window is what it should be.
    for number in 3..40 {
        let seq = 10 + number;
        ledger.add(by(1, number), seq..seq + 1, 13);
    }
    ledger.add(by(1, 40), 50..51, 50);
    assert_eq!(answer(&ledger, by(1, 31), 1), "Duplicate");
    assert_eq!(answer(&ledger, by(1, 32), 1), "42..43");
}

#[test]
fn is_a_higher_epoch_still_a_fence_when_its_append_was_taken_back() {
    let mut ledger = after(&[(1, 5)]);
    ledger.add(by(2, 0), 11..12, 11);
    ledger.drop_from(11);
    assert_eq!(answer(&ledger, by(1, 5), 1), "Fenced 2");
    assert_eq!(answer(&ledger, by(2, 0), 1), "new");
}

#[test]
fn is_the_producer_forgotten_that_appended_least_lately() {
    let mut ledger = Ledger::default();
    let one = |id| Producer {
        id,
        epoch: 0,
        number: 0,
    };
    let count = PRODUCERS_MAX as u64;
    (0..count).for_each(|id| ledger.add(one(id), id..id + 1, Seq::MAX));
    let again = Producer {
        number: 1,
        ..one(0)
    };
    ledger.add(again, count..count + 1, Seq::MAX);
    ledger.add(one(count), count + 1..count + 2, Seq::MAX);
    assert_eq!(answer(&ledger, one(1), 1), "new", "forgotten");
    assert_eq!(answer(&ledger, one(0), 1), "0..1");
    assert_eq!(ledger.producers.counts(), (PRODUCERS_MAX, PRODUCERS_MAX));
    // One that may be taken back drives nobody out.
    ledger.add(one(count + 1), count + 2..count + 3, count + 2);
    assert_eq!(answer(&ledger, one(2), 1), "2..3");
    ledger.add(one(count + 2), count + 3..count + 4, count + 3);
    assert_eq!(answer(&ledger, one(2), 1), "new");
}

/// Each is counted once, however often it appends: counted anew each time, the others were forgotten for it.
#[test]
fn is_a_producer_counted_once_that_appends_on_and_on() {
    let mut ledger = Ledger::default();
    let mut seqs = 0..;
    let mut add = |ledger: &mut Ledger, id: u64, number: u64, settled: bool| {
        let (producer, seq) = (
            Producer {
                id,
                ..by(0, number)
            },
            seqs.next().expect("endless"),
        );
        let settled_seq = if settled { Seq::MAX } else { seq };
        ledger.add(producer, seq..seq + 1, settled_seq);
    };
    add(&mut ledger, 1, 0, true);
    add(&mut ledger, 2, 0, true);
    for number in 1..20 {
        add(&mut ledger, 2, number, true);
        assert_eq!(ledger.producers.counts(), (2, 2), "{number}");
    }
    for number in 20..40 {
        add(&mut ledger, 2, number, false);
        assert_eq!(
            ledger.producers.counts(),
            (2, 1),
            "{number} may be taken back"
        );
    }
    add(&mut ledger, 1, 1, true);
    assert_eq!(ledger.producers.counts(), (2, 2));
}

#[test]
fn does_the_last_move_of_a_cursor_win_and_is_it_never_a_repeat() {
    let to = |number| by(EPOCH_CURSOR, number);
    let mut ledger = Ledger::default();
    for (seq, position) in [(0, 5), (1, 9), (2, 3), (3, 3)] {
        ledger.add(to(position), seq..seq + 1, Seq::MAX);
    }
    assert_eq!(ledger.moved(ID, 4), Some((3, 4)));
    assert_eq!(ledger.moved(ID, 2), Some((9, 2)), "the others do not count");
    assert_eq!(
        answer(&ledger, by(0, 3), 1),
        "new",
        "a cursor is no producer"
    );
    ledger.drop_from(2);
    assert_eq!(ledger.moved(ID, 4), Some((9, 2)));
    ledger.forget_cursor(ID);
    assert_eq!(ledger.moved(ID, 4), None);
}

#[test]
fn does_it_come_back_from_its_file_and_from_the_records() {
    let record = |seq, producer| RecordRef {
        seq,
        timestamp_ms: 0,
        key: None,
        value: Some(b"".as_slice()),
        producer,
    };
    let owner = OWNER;
    let mut ledger = after(&[(1, 0), (1, 1), (2, 0)]);
    ledger.add(by(EPOCH_CURSOR, 4), 13..14, Seq::MAX);
    let bytes = ledger.to_file(owner, 14, 14, SegmentId(3)).expect("known");
    let file = ProducersFile::decode(&bytes).expect("as it was written");
    let mut back = Ledger::of(&file, SegmentId(3));
    assert_eq!(back, ledger);
    // A walk that begins below adds nothing twice, and tells two appends of one producer apart.
    let steps = [
        (13, by(1, 9)),
        (14, by(2, 1)),
        (15, by(2, 1)),
        (16, by(2, 2)),
    ];
    for (seq, producer) in steps {
        back.add_record(&record(seq, Some(producer)));
    }
    back.add_record(&record(17, None));
    ledger.add(by(2, 1), 14..16, Seq::MAX);
    ledger.add(by(2, 2), 16..17, Seq::MAX);
    assert_eq!(back.next_seq(), 18);
    back.next_seq = 17;
    assert_eq!(back, ledger);
    assert_eq!(Ledger::default().to_file(owner, 0, 0, SegmentId(1)), None);
}

#[test]
fn is_what_a_rewind_drops_void_only_once_the_rewind_is_in_force() {
    let ledger = after(&[(1, 0), (1, 1), (1, 2)]);
    let bytes = ledger.to_file(OWNER, 13, 11, SegmentId(5)).expect("known");
    let file = ProducersFile::decode(&bytes).expect("as it was written");
    let before = Ledger::of(&file, SegmentId(4));
    assert_eq!(answer(&before, by(1, 2), 1), "12..13");
    let rewound = Ledger::of(&file, SegmentId(5));
    assert_eq!(answer(&rewound, by(1, 2), 1), "new");
    assert_eq!(answer(&rewound, by(1, 0), 1), "10..11");
    assert_eq!(rewound.next_seq(), 13);
}

/// A thousand steps of appends, some of them taken back, beside a list that is searched anew each time.
#[test]
fn are_the_same_forgotten_as_by_who_looks_at_all_of_them() {
    let mut ledger = Ledger::default().keyed(0x5eed);
    let mut latest: BTreeMap<u64, Vec<Seq>> = BTreeMap::new();
    let (mut seq, mut settled_seq, mut dice) = (1, 1, 1_u64);
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (dice >> 33) % below
    };
    for step in 0..PRODUCERS_MAX as u64 + 1000 {
        // Everybody once; then whoever it may be, of more than are remembered.
        let id = match step < PRODUCERS_MAX as u64 {
            true => step,
            false => roll(PRODUCERS_MAX as u64 + 200),
        };
        let producer = Producer {
            id,
            epoch: 0,
            number: seq,
        };
        ledger.add(producer, seq..seq + 1, settled_seq);
        latest.entry(id).or_default().push(seq);
        let is_settled = |seqs: &Vec<Seq>| seqs.last().is_none_or(|last| *last < settled_seq);
        while latest.values().filter(|seqs| is_settled(seqs)).count() > PRODUCERS_MAX {
            let ages = latest.iter().map(|(id, seqs)| (seqs.last(), *id));
            let oldest = ages.min().expect("there are many").1;
            latest.remove(&oldest);
        }
        seq += 1;
        match roll(12) {
            0 => settled_seq = seq,
            1 => {
                seq = settled_seq + roll(seq - settled_seq + 1);
                ledger.drop_from(seq);
                for seqs in latest.values_mut() {
                    seqs.retain(|it| *it < seq);
                }
            }
            _ => {}
        }
        assert_eq!(ledger.producers.counts().0, latest.len(), "step {step}");
        if step % 100 == 0 {
            let mut known = ledger.producers.iter();
            assert!(known.all(|(id, _)| latest.contains_key(&id)), "step {step}");
        }
    }
}
