//! The manifest outgrows its last block while others keep the disk full.
//!
//! A log on a full disk goes on over the alternate, which is a block longer than the manifest. The manifest that it
//! replaces is the next alternate, and a block too short by then: the first commit was done, the second refused, be it
//! the end of a log or the trim that was to make room. The ballast was given back for it, which others took.

use crate::{
    history::{DIR, Run, options},
    no_room::cut_at_each_step,
    steps::{
        Close, Kill, Maintain, Named, Open, Retain, Rotate, Step, Sync, TrimDurable, Which,
        durable, plain, written,
    },
};
use cairnlog::{
    Durability, ErrorKind,
    vfs::sim::{SimFs, Space},
};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: u64 = 4096;
const ENTRY_BYTES: u64 = 64;

fn manifest_bytes(disk: &SimFs) -> u64 {
    let path = Path::new(DIR).join("MANIFEST");
    disk.read_file(&path).map_or(0, |bytes| bytes.len() as u64)
}

/// A log whose manifest has room for so many more segments in its first block, or its second.
fn grown(space: Space, blocks: u64, left: u64) -> Run {
    let disk = SimFs::new(1);
    disk.set_space(space);
    let mut run = Run::new(disk, &options(2048));
    run.step(&Open);
    while (blocks * BLOCK_BYTES - manifest_bytes(&run.disk)) / ENTRY_BYTES > left {
        let before = manifest_bytes(&run.disk);
        run.steps(&[durable(5), Rotate, Maintain]);
        assert_eq!(manifest_bytes(&run.disk), before + ENTRY_BYTES);
    }
    run
}

/// What a process leaves that dies, or goes on: a segment that is finished and waits for its seal, and the next, begun.
fn ends() -> Vec<(&'static str, Vec<Step>)> {
    let next = || Named {
        id: 7,
        which: Which::Next { skip: 0 },
        level: Durability::Written,
        news: vec![plain(700)],
    };
    vec![
        ("finished", vec![written(1500), written(900), written(20)]),
        ("producers", vec![next(), next(), next(), next()]),
        ("in order", vec![durable(20)]),
    ]
}

fn spaces() -> [Space; 2] {
    let blocks = Space::new().block_bytes(BLOCK_BYTES);
    let others = blocks.others_take_freed(true);
    [others, others.frees_late(true)]
}

fn full(disk: &SimFs) {
    disk.set_capacity(Some(disk.used_bytes()));
}

#[test]
fn does_every_verb_work_where_the_manifest_needs_one_block_more() {
    let verbs: [(&str, &[Step]); 5] = [
        ("close", &[Close, Open, Close, Open]),
        ("seal", &[Maintain, Sync, Close, Open]),
        (
            "trim",
            &[
                Maintain,
                TrimDurable { keep: 60 },
                TrimDurable { keep: 1 },
                Close,
                Open,
            ],
        ),
        ("retain", &[Maintain, Retain { bytes: 3000 }, Close, Open]),
        ("kill", &[Kill, Open, TrimDurable { keep: 61 }, Close, Open]),
    ];
    for space in spaces() {
        for (blocks, left) in [(1, 1), (1, 0), (2, 0)] {
            for (end, steps) in ends() {
                for (name, verb) in verbs {
                    let what = || format!("{space:?}, {left} left of {blocks}, {end}, {name}");
                    let _context = crate::Context::new(what);
                    let mut run = grown(space, blocks, left);
                    run.steps(&steps);
                    assert!(run.errors.is_empty(), "{:?}", run.errors);
                    full(&run.disk);
                    for step in verb {
                        run.step(step);
                        // No file is made for the time after the next.
                        let is_spare = matches!(step, Maintain);
                        run.errors
                            .retain(|(_, error)| !(is_spare && error.kind() == ErrorKind::NoSpace));
                        assert!(run.errors.is_empty(), "{:?}", run.errors);
                    }
                    goes_on(run);
                }
            }
        }
    }
}

#[test]
fn does_a_power_cut_leave_a_manifest_whatever_its_blocks_are() {
    let (close, trim): (&[Step], &[Step]) = (&[Close, Open], &[TrimDurable { keep: 61 }, Close]);
    for (space, then) in spaces().into_iter().zip([close, trim]) {
        let mut run = grown(space, 1, 0);
        // Nothing that could be torn: what is cut is kept, and for that there is no room.
        run.steps(&[durable(1500), durable(900)]);
        full(&run.disk);
        let count = cut_at_each_step("outgrown", &mut run, then);
        assert!(count > 100, "{count} states");
    }
}

/// With room again.
fn goes_on(mut run: Run) {
    run.disk.set_capacity(None);
    run.steps(&[Kill, Open, durable(20), Rotate, Maintain, Kill, Open]);
    assert!(run.errors.is_empty(), "with room: {:?}", run.errors);
}

fn names(disk: &SimFs) -> Vec<PathBuf> {
    let mut names = disk.files();
    names.retain(|path| !path.ends_with("RESERVE"));
    names
}

/// Others have the ballast by the time of the next commit: it was used for this one.
#[test]
fn has_the_next_manifest_its_room_before_anybody_asks_for_it() {
    for space in spaces() {
        let mut run = grown(space, 1, 0);
        run.steps(&[durable(1500), durable(900)]);
        full(&run.disk);
        run.step(&Maintain);
        let (_, no_spare) = run.errors.pop().unwrap();
        assert_eq!(no_spare.kind(), ErrorKind::NoSpace);
        assert!(manifest_bytes(&run.disk) > BLOCK_BYTES);
        run.disk.remove_file(&Path::new(DIR).join("RESERVE"));
        full(&run.disk);
        run.steps(&[Close, Open, TrimDurable { keep: 62 }, Close]);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        goes_on(run);
    }
}

/// Where nothing is written in place the ballast cannot stand in: it is given back, as before.
#[test]
fn is_the_ballast_given_back_where_nothing_is_written_in_place() {
    let mut run = grown(Space::new().copy_on_write(true), 1, 0);
    for _ in 0..2 {
        run.steps(&[durable(5), Rotate, Maintain]);
    }
    let alternate = Path::new(DIR).join("MANIFEST.alt");
    assert!(run.disk.write_file(&alternate, &[0; 4096]));
    full(&run.disk);
    run.step(&TrimDurable { keep: 62 });
    assert!(manifest_bytes(&run.disk) > BLOCK_BYTES);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    goes_on(run);
}

/// What was held back for such a case others have taken by now. Then a segment cannot be sealed that the manifest has no
/// room for. That is said, nothing is left of the try, and what makes room works all the same.
#[test]
fn is_a_segment_left_unsealed_that_the_manifest_has_no_room_for() {
    for space in spaces() {
        for (blocks, kills) in [(1, false), (1, true), (2, false), (2, true)] {
            let what = || format!("{space:?}, {blocks} blocks, kills {kills}");
            let _context = crate::Context::new(what);
            let mut run = grown(space, 1, 0);
            run.step(&Close);
            let [ballast, alternate] =
                ["RESERVE", "MANIFEST.alt"].map(|name| Path::new(DIR).join(name));
            assert!(run.disk.remove_file(&ballast));
            assert!(run.disk.write_file(&alternate, &vec![0; blocks * 4096]));
            full(&run.disk);
            run.steps(&[Open, written(1500), written(900), Sync]);
            assert!(run.errors.is_empty(), "{:?}", run.errors);
            let before = names(&run.disk);
            for step in [Maintain, Rotate, Maintain] {
                run.step(&step);
                let (_, error) = run.errors.pop().unwrap();
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert_eq!(names(&run.disk), before);
            }
            if kills {
                run.steps(&[Kill, Open]);
            }
            run.step(&TrimDurable { keep: 62 });
            assert!(run.errors.is_empty(), "{:?}", run.errors);
            run.steps(&[TrimDurable { keep: 1 }, Close, Open, Close]);
            assert!(run.errors.is_empty(), "{:?}", run.errors);
            goes_on(run);
        }
    }
}
