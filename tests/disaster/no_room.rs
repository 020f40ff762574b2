//! Not a byte of room. An application filled its disk, or somebody else did, and then everything that
//! could have made room was refused, because it needed some itself: a killed log could not be opened, a
//! trim was done and reported a failure, a rewind and a compaction had no room for what they write.
//! Here every verb works on a disk on which nothing is left, after a clean end and after a killed
//! writer; and the power is cut at each of its operations, and while recovering from that.

use crate::{
    crash::{goes_on, recovers},
    history::{DIR, Run, options},
    shadow::Shadow,
    steps::{
        Close, Compact, Consume, Deed, Kill, Maintain, Mark, Named, Open, Pack, READER, Retain,
        Rewind, Rotate, Step, Sync, TILL, TrimDurable, Which, durable, keyed, plain, written,
    },
};
use cairnlog::{
    Durability, ErrorKind, Options,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs, Space, SyncFailure},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// States of one crash point, and of one inside the recovery from it.
const STATES: u64 = 24;
const NESTED_STATES: u64 = 3;
const NESTED_EVERY: u64 = 11;

fn full(disk: &SimFs) {
    disk.set_capacity(Some(disk.used_bytes()));
}

/// What stands in the log's directory, but for what is there to be given up.
fn names(disk: &SimFs) -> Vec<PathBuf> {
    let mut names = disk.files();
    names.retain(|path| path.starts_with(DIR) && !path.ends_with("RESERVE"));
    names
}

/// Recovers on the full disk, with a power cut at each operation of that, and goes on with room again.
fn recovers_full(disk: &SimFs, options: &Options, shadow: &Shadow, nested: bool) -> u64 {
    let again = recovers(&disk.snapshot(), options, shadow);
    let mut count = 1;
    for op in 0..=again.disk.op_count() {
        if !nested {
            break;
        }
        let cut = again.disk.crash_at(op);
        for (choice, disk) in cut.all(NESTED_STATES) {
            let text = || format!("in recovery, op {op}\n{}", cut.describe(&choice));
            let _context = crate::Context::new(text);
            count += recovers_full(&disk, options, shadow, false);
        }
    }
    again.disk.set_capacity(None);
    goes_on(again, options);
    count
}

/// Takes steps while there is room, and then others while there is none.
fn without_room(name: &str, segment_bytes: u64, before: &[Step], then: &[Step]) -> u64 {
    let options = options(segment_bytes);
    let mut run = Run::new(SimFs::new(1), &options);
    run.steps(before);
    assert!(run.errors.is_empty(), "{name}: {:?}", run.errors);
    full(&run.disk);
    cut_at_each_step(name, &mut run, then)
}

/// Takes steps on a full disk, with a power cut at each operation of them.
pub fn cut_at_each_step(name: &str, run: &mut Run, then: &[Step]) -> u64 {
    let (start, options) = (run.disk.op_count(), run.options.clone());
    for step in then {
        run.step(step);
        assert!(run.errors.is_empty(), "{name}, full: {:?}", run.errors);
    }
    let mut count = 0;
    for op in start..=run.disk.op_count() {
        let (cut, shadow) = (run.disk.crash_at(op), run.shadow_at(op));
        for (index, (choice, disk)) in (0..).zip(cut.all(STATES)) {
            let text = || {
                let trace = run.disk.trace();
                let at = trace.iter().find(|event| event.op == Some(op));
                let at = at.map_or("end".to_owned(), ToString::to_string);
                format!("{name}, op {op}: {at}\n{}", cut.describe(&choice))
            };
            let _context = crate::Context::new(text);
            full(&disk);
            let nested = (op + index) % NESTED_EVERY == 0;
            count += recovers_full(&disk, &options, shadow, nested);
        }
    }
    count
}

/// Three segments and a tail.
fn filled() -> Vec<Step> {
    let mut steps = vec![Open];
    for _ in 0..3 {
        steps.extend([keyed(1, 120), keyed(2, 120), keyed(1, 60), Rotate, Maintain]);
    }
    steps.extend([durable(50), durable(50)]);
    steps
}

fn with(mut steps: Vec<Step>, more: &[Step]) -> Vec<Step> {
    steps.extend_from_slice(more);
    steps
}

#[test]
fn does_every_verb_work_where_nothing_is_left() {
    let verbs: [(&str, &[Step]); 8] = [
        ("trim", &[TrimDurable { keep: 2 }]),
        (
            "trims",
            &[
                TrimDurable { keep: 9 },
                TrimDurable { keep: 6 },
                TrimDurable { keep: 1 },
            ],
        ),
        ("retain", &[Retain { bytes: 300 }]),
        ("rewind", &[Rewind { drop: 1 }]),
        ("mark", &[Mark, Mark]),
        ("compact", &[Compact]),
        ("pack", &[Pack]),
        ("sync", &[Sync]),
    ];
    let mut count = 0;
    for (name, verb) in verbs {
        count += without_room(name, 2048, &filled(), &with(verb.to_vec(), &[Close]));
        let reopened = with(filled(), &[Close]);
        let then = with(vec![Open], &with(verb.to_vec(), &[Close, Open]));
        count += without_room(&format!("{name}, reopened"), 2048, &reopened, &then);
    }
    println!("{count} states");
    assert!(count > 2_000, "{count} states");
}

/// Whatever is freed others take at once, and what they leave comes late.
#[test]
fn does_closing_work_where_others_keep_the_disk_full() {
    // As those are that do this: a file that is written over keeps what its last block has.
    let blocks = Space::new().block_bytes(4096);
    let spaces = [
        blocks.others_take_freed(true),
        blocks.frees_late(true),
        blocks.frees_late(true).others_take_freed(true),
    ];
    let next = || Named {
        id: 7,
        which: Which::Next { skip: 0 },
        level: Durability::Written,
        news: vec![plain(700)],
    };
    let ends: [(&str, Vec<Step>); 5] = [
        ("durable", vec![durable(20)]),
        ("written", vec![written(60), written(60)]),
        ("finished", vec![written(1500), written(900), written(20)]),
        ("producers", vec![next(), next(), next(), next()]),
        (
            "cursors",
            vec![
                Consume(READER, Deed::Ack { ahead: 1 }),
                written(1500),
                durable(900),
            ],
        ),
    ];
    for space in spaces {
        for (name, end) in &ends {
            for trims in [false, true] {
                let _context = crate::Context::new(|| format!("{space:?}, {name}, trims {trims}"));
                let options = options(2048);
                let disk = SimFs::new(1);
                disk.set_space(space);
                let mut run = Run::new(disk, &options);
                run.steps(&with(filled(), end));
                assert!(run.errors.is_empty(), "{:?}", run.errors);
                full(&run.disk);
                if trims {
                    run.step(&TrimDurable { keep: 2 });
                }
                // Nobody is told that it did not work, and whoever opens it finds what was told.
                for _ in 0..3 {
                    run.steps(&[Close, Open]);
                    assert!(run.errors.is_empty(), "{:?}", run.errors);
                }
                run.step(&Close);
                run.disk.set_capacity(None);
                run.steps(&[Open, durable(20), Kill, Open]);
                assert!(run.errors.is_empty(), "with room: {:?}", run.errors);
            }
        }
    }
}

#[test]
fn does_a_killed_log_open_where_nothing_is_left() {
    let ends: [(&str, &[Step]); 4] = [
        ("all durable", &[]),
        ("written", &[written(60), written(60)]),
        // The spare is begun: what is behind it is neither sealed nor is there another spare.
        ("rotated", &[written(1500), written(900), written(20)]),
        ("rotated, synced", &[written(1500), durable(900)]),
    ];
    let then = [Open, TrimDurable { keep: 1 }, Sync, Close, Open];
    let mut count = 0;
    for (name, end) in ends {
        let before = with(with(filled(), end), &[Kill]);
        count += without_room(name, 2048, &before, &then);
    }
    println!("{count} states");
    assert!(count > 1_000, "{count} states");
}

/// The next segment was begun by a write that a failed sync left in the cache alone, its header with it, and the
/// process died. On the full disk it is appended to where it stands: so all of it has to be written anew.
#[test]
fn is_a_begun_segment_written_anew_from_its_header_on() {
    let options = options(2048);
    let mut run = Run::new(SimFs::new(1), &options);
    run.steps(&[Open, durable(900), written(1500)]);
    let spare = Path::new(DIR).join("00000000000000000002.seg");
    assert!(run.disk.read_file(&spare).unwrap()[..8] == *b"CAIRNSEG");
    let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    run.disk
        .fail(FaultRule::nth(OpKind::Sync, 0, lies).on(&spare));
    run.step(&Sync);
    assert_eq!(run.errors.pop().unwrap().1.kind(), ErrorKind::Indeterminate);
    run.step(&Kill);
    full(&run.disk);
    run.steps(&[Open, durable(20)]);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    let lost = run
        .disk
        .crash_at(run.disk.op_count())
        .state(&Choice::lost());
    let log = options.vfs(Arc::new(lost)).open(DIR).unwrap();
    assert_eq!(log.scan(..).unwrap().map(Result::unwrap).count(), 3);
}

#[test]
fn does_a_killed_log_with_producers_open_where_nothing_is_left() {
    let next = || Named {
        id: 7,
        which: Which::Next { skip: 0 },
        level: Durability::Written,
        news: vec![plain(700)],
    };
    let before = [Open, next(), next(), next(), next(), Kill];
    let then = [Open, Sync, Close, Open];
    let count = without_room("producers", 2048, &before, &then);
    assert!(count > 100, "{count} states");
}

#[test]
fn can_a_cursor_move_where_nothing_is_left() {
    let ack = |who, ahead| Consume(who, Deed::Ack { ahead });
    let before = with(filled(), &[ack(TILL, 1), ack(READER, 2)]);
    let then = [
        ack(TILL, 7),
        Retain { bytes: 300 },
        ack(TILL, 1),
        ack(READER, 1),
        Close,
    ];
    let count = without_room("cursor", 2048, &before, &then);
    assert!(count > 200, "{count} states");
}

/// Each opening that found no room left an empty segment file, and each that had kept what it cut kept it
/// again: on a disk that was full already.
#[test]
fn does_a_try_that_failed_leave_nothing() {
    let options = options(2048);
    for torn in [false, true] {
        let mut run = Run::new(SimFs::new(1), &options);
        run.steps(&with(filled(), &[written(60), written(60), Kill]));
        if torn {
            let tail = Path::new(DIR).join("00000000000000000004.seg");
            let mut bytes = run.disk.read_file(&tail).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[end - 3] ^= 1;
            run.disk.write_file(&tail, &bytes);
        }
        let (before, used) = (names(&run.disk), run.disk.used_bytes());
        for nth in 0..60 {
            // Whatever it needs there is no room for; of each of the others there is as much as it likes.
            let disk = run.disk.snapshot();
            disk.fail(no_room_at(nth));
            for _ in 0..3 {
                let mut run = Run::after(disk.clone(), &options, run.shadow.clone(), 900_000);
                run.open();
                if run.errors.is_empty() {
                    break;
                }
                drop(run);
                let mut left = names(&disk);
                left.retain(|path| !path.starts_with(Path::new(DIR).join("quarantine")));
                assert_eq!(left, before, "torn {torn}, call {nth}");
                assert!(disk.used_bytes() <= used + 4096, "torn {torn}, call {nth}");
            }
        }
    }
}

fn no_room_at(nth: u64) -> FaultRule {
    FaultRule::nth(OpKind::Write, nth, Fault::Error(Errno::Enospc)).for_ever()
}
