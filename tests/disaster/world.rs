//! The world as it is worse than a power cut: reads that differ from the read before, errors that are told
//! late and to somebody else, disks that count their room as real ones do, stale bytes in new space.

use crate::{
    fault::{begin_on, calls, trial},
    history::{DIR, Run, options},
    shadow::Shadow,
    steps::{
        Close, Kill, Maintain, Named, Open, Rotate, Step, Sync, Trim, TrimDurable, Which, buffered,
        canonical, durable, plain as plain_record, written,
    },
};
use cairnlog::{
    Durability, ErrorKind, Options,
    vfs::sim::{Errno, Fault, FaultRule, Misread, OpKind, SimFs, Space},
};
use std::{path::Path, sync::Arc};

/// Whether the log shows what the shadow has, or cannot say; `Err`: it shows something else.
fn shows(disk: &SimFs, options: &Options, shadow: &Shadow) -> Result<bool, String> {
    let log = match options.clone().vfs(Arc::new(disk.clone())).open(DIR) {
        Ok(log) => log,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Unsupported, "{error}");
            return Ok(false);
        }
    };
    match shadow.check(&log) {
        Ok(_) => Ok(true),
        // An error that was told, by one of the ways to read.
        Err(what) if what.starts_with("scan") || what.starts_with("get: ") => Ok(false),
        Err(what) => Err(format!("shown by {}: {what}", log.recovery())),
    }
}

/// The history, and then the death of the process.
fn killed(steps: &[Step], options: &Options) -> (SimFs, Shadow) {
    let mut run = Run::new(SimFs::new(1), options);
    run.steps(steps);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    (run.disk.kill(), run.shadow)
}

/// Many records that one sync has made durable, so that no batch attests those before it.
fn synced_at_once() -> Vec<(&'static str, u64, Vec<Step>)> {
    let mut plain = vec![Open, durable(20), durable(20)];
    plain.extend((0..8).map(|_| written(20)));
    let mut named = vec![Open];
    named.extend((0..8).map(|number| Named {
        id: 1,
        which: Which::Next { skip: 0 },
        level: match number {
            0..3 => Durability::Durable,
            _ => Durability::Written,
        },
        news: vec![plain_record(20)],
    }));
    let synced = |steps: &[Step]| [steps, &[Sync]].concat();
    vec![
        ("plain", 4096, synced(&plain)),
        (
            "plain, closed",
            4096,
            [&synced(&plain)[..], &[Close]].concat(),
        ),
        ("named", 4096, synced(&named)),
        (
            "named, closed",
            4096,
            [&synced(&named)[..], &[Close]].concat(),
        ),
    ]
}

/// Ways in which a read of so many bytes from here can differ.
fn misreads(offset: u64, len: u64) -> Vec<Misread> {
    let flip = |at: u64| Misread::Flip {
        offset: at,
        bit: (at % 8) as u32,
    };
    let sixth = (len / 6).max(1);
    let flips = (0..len).step_by(sixth as usize).map(|at| flip(offset + at));
    let half = len / 2;
    let zeros = [
        Misread::Zeros { offset, len },
        Misread::Zeros {
            offset: offset + half,
            len,
        },
    ];
    flips.chain(zeros).collect()
}

/// The same as lasting damage.
fn harm(disk: &SimFs, path: &Path, how: Misread) {
    match how {
        Misread::Flip { offset, bit } => drop(disk.flip_bit(path, offset, bit)),
        Misread::Zeros { offset, len } => {
            let mut bytes = disk.read_file(path).expect("it is there");
            let end = (offset + len).min(bytes.len() as u64);
            bytes[offset as usize..end as usize].fill(0);
            disk.write_file(path, &bytes);
        }
        other => panic!("{other:?} is not tried"),
    }
}

/// Every read of an opening, and of reading all after it, differs once from what is there. That costs no
/// more than if the bytes were so on the disk: what a witness attests is never cut off. Once it was, of a
/// log closed in order whose records name their producer: it opened as clean, and ended at the wrong byte.
/// And once, of a tail behind which the next segment was begun: the tail looked empty, and was left out.
#[test]
fn is_a_read_that_differs_no_worse_than_bytes_that_do() {
    let (mut met, mut told, mut lost) = (0, 0, 0);
    for (name, bytes, steps) in canonical().into_iter().chain(synced_at_once()) {
        let options = options(bytes);
        let (disk, shadow) = killed(&steps, &options);
        assert_eq!(shows(&disk, &options, &shadow), Ok(true));
        let trace = disk.trace();
        let reads = trace.iter().filter(|event| event.kind == OpKind::Read);
        for (nth, read) in reads.enumerate() {
            for how in misreads(read.offset, read.len) {
                let _context = crate::Context::new(|| format!("{name}, {read}, {how:?}"));
                let (disk, shadow) = killed(&steps, &options);
                let rule = FaultRule::nth(OpKind::Read, nth as u64, Fault::Misread(how));
                disk.fail(rule);
                let shown = shows(&disk, &options, &shadow);
                if disk.fault_count() == 0 {
                    continue;
                }
                met += 1;
                told += u64::from(shown == Ok(false));
                // It was one read: the next process is shown all of it.
                let next = shows(&disk.kill(), &options, &shadow);
                if shown.clone().and(next.clone()) != Ok(true) {
                    let (damaged, _) = killed(&steps, &options);
                    harm(&damaged, &read.path, how);
                    let as_bad = shows(&damaged, &options, &shadow);
                    assert!(
                        as_bad.is_err(),
                        "damage is told, and this read was not: {shown:?}, then {next:?}, {as_bad:?}"
                    );
                    lost += 1;
                }
            }
        }
    }
    println!("{told} of {met} were told, {lost} lost as much as damage would lose");
    assert!(met > 1_000 && told > 100, "{told} of {met}");
}

/// What is lost behind the back of any call is told by the next sync, and by no other.
#[test]
fn does_a_loss_that_is_told_late_and_once_leave_what_was_promised() {
    let mut met = 0;
    for (name, bytes, steps) in canonical() {
        for direct in [false, true] {
            let options = options(bytes).direct_writes(direct);
            let (mut sound, rest) = begin_on(SimFs::new(1), &steps, &options);
            let from = sound.disk.trace().len();
            sound.steps(&rest);
            let kinds: Vec<OpKind> = sound.disk.trace()[from..].iter().map(|e| e.kind).collect();
            for call in 0..calls(&steps, &options) {
                // That a sync is told of success while another is told of the loss takes two at once.
                let kind = kinds[call as usize];
                if matches!(kind, OpKind::Sync | OpKind::SyncDir) {
                    continue;
                }
                let _context = crate::Context::new(|| format!("{name}, direct {direct}"));
                for errno in [Errno::Eio, Errno::Enospc] {
                    let fault = Fault::Late(errno);
                    met += u64::from(trial(SimFs::new(1), &steps, &options, (call, fault, 1)));
                }
            }
        }
    }
    println!("{met} met");
    assert!(met > 300, "{met}");
}

/// Histories cut at every operation where new space holds what former files have left there. The format
/// assumes zeros: so a log may be refused as damaged, but nothing wrong is shown and nothing is made up.
#[test]
fn is_what_lies_in_space_never_written_never_shown() {
    let (mut states, mut refused) = (0, 0);
    for (name, bytes, steps) in canonical() {
        let options = options(bytes);
        let disk = SimFs::new(1);
        disk.set_space(Space::new().stale(true));
        let mut run = Run::new(disk, &options);
        run.steps(&steps);
        for op in 0..=run.disk.op_count() {
            let (cut, shadow) = (run.disk.crash_at(op), run.shadow_at(op));
            for (choice, disk) in cut.all(60) {
                let text = || format!("{name}, op {op}\n{}", cut.describe(&choice));
                let _context = crate::Context::new(text);
                states += 1;
                let shown = shows(&disk, &options, shadow);
                refused += u64::from(!shown.expect("nothing wrong"));
            }
        }
    }
    println!("{refused} of {states} refused");
    assert!(states > 5_000, "{states}");
}

fn spaces() -> Vec<(&'static str, Space)> {
    let blocks = Space::new().block_bytes(128);
    vec![
        ("a quota", Space::new().quota(true)),
        ("blocks", blocks),
        ("freed late", blocks.frees_late(true)),
        ("copied", blocks.copy_on_write(true)),
        ("taken by others", blocks.others_take_freed(true)),
        (
            "copied and freed late",
            blocks.copy_on_write(true).frees_late(true),
        ),
    ]
}

/// At every size at which the disk can become full, on disks that count as real ones do: each step is done
/// or refused for want of room, and with room again all is as it was told.
#[test]
fn is_a_disk_that_counts_as_real_ones_do_full_and_not_damaged() {
    let mut refused = 0;
    let fill = [Open, durable(150), durable(150), buffered(90), Maintain];
    let more = [
        TrimDurable { keep: 1 },
        durable(90),
        Rotate,
        Trim { keep: 2 },
        durable(30),
        Close,
        Open,
        durable(20),
    ];
    for (name, space) in spaces() {
        let options = options(512);
        let begin = |capacity| {
            let disk = SimFs::new(1);
            disk.set_space(space);
            disk.set_capacity(capacity);
            let mut run = Run::new(disk, &options);
            run.steps(&fill).steps(&more);
            run
        };
        let most = begin(None).disk.used_bytes() + 2_048;
        for capacity in (0..most).step_by(64) {
            let _context = crate::Context::new(|| format!("{name}, capacity {capacity}"));
            let mut run = begin(Some(capacity));
            refused += run.errors.len();
            for (step, error) in run.errors.drain(..) {
                let kinds = [
                    ErrorKind::NoSpace,
                    ErrorKind::Indeterminate,
                    ErrorKind::Poisoned,
                ];
                assert!(kinds.contains(&error.kind()), "{step}: {error}");
            }
            run.disk.set_capacity(None);
            run.steps(&[Kill, Open, durable(20), Kill, Open]);
            assert!(run.errors.is_empty(), "with room again: {:?}", run.errors);
        }
    }
    assert!(refused > 100, "{refused}");
}
