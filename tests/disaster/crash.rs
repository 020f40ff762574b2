//! Power cuts at every operation of small histories, into every state that the disk can be left in,
//! and again inside the recovery from each of them, and inside the recovery from that.

use crate::{
    history::{DIR, Run, options},
    shadow::Shadow,
    steps::{Maintain, Open, Rewind, Step, Trim, canonical, durable, given_early, written},
};
use cairnlog::{
    ErrorKind, Options, Record, Result,
    format::{Manifest, SegmentHeader, names},
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs, TraceEvent},
};
use std::{path::Path, sync::Arc, time::Duration};

/// States of one crash point. A campaign raises it; with 12 effects pending 4,096 are all subsets.
const STATES: u64 = 160;
/// States of one crash point inside a recovery, and how many of the first crash's states are
/// followed there.
const NESTED_STATES: u64 = 6;
const NESTED_EVERY: u64 = 151;

#[derive(Default)]
struct Tally {
    states: u64,
    nested: u64,
    /// Those whose tail or spare was begun in a file that was another segment before.
    recycled: u64,
}

/// Whether the log goes on in a file that was another segment before.
fn is_recycled(disk: &SimFs) -> bool {
    let manifest = disk.read_file(&Path::new(DIR).join(names::MANIFEST));
    let Some(Ok(manifest)) = manifest.map(|bytes| Manifest::decode(&bytes)) else {
        return false;
    };
    let spare = manifest.spare.map(|spare| spare.id);
    [manifest.tail.id].into_iter().chain(spare).any(|id| {
        let file = disk.read_file(&Path::new(DIR).join(names::segment(id)));
        let header = file.map(|bytes| SegmentHeader::decode(&bytes));
        header.is_some_and(|header| header.is_ok_and(|header| header.recycled))
    })
}

/// Opens a disk after a crash, holds it against the shadow, appends, cuts the power again so that
/// everything unsynced is lost, and holds it against what was shown before.
pub fn recovers(disk: &SimFs, options: &Options, shadow: &Shadow) -> Run {
    let mut run = Run::after(disk.clone(), options, shadow.clone(), 900_000);
    run.open();
    if let Some((_, error)) = run.errors.first() {
        panic!("does not open: {error}");
    }
    run
}

pub fn goes_on(mut run: Run, options: &Options) {
    let cut = run.log.as_ref().map(|log| log.recovery().cut.clone());
    run.step(&durable(12));
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    let lost = run.disk.crash_at(u64::MAX).state(&Choice::lost());
    run.disk.power_cut();
    for piece in cut.into_iter().flatten() {
        let kept = piece.kept_in.expect("what was cut is kept");
        let kept = lost.read_file(&Path::new(DIR).join(kept));
        assert_eq!(
            kept.map(|bytes| bytes.len() as u64),
            Some(piece.bytes),
            "durably"
        );
    }
    recovers(&lost, options, &run.shadow);
}

/// Crashes inside a recovery, at each of its operations.
fn nested(first: &SimFs, options: &Options, shadow: &Shadow, depth: u32, tally: &mut Tally) {
    let run = recovers(&first.snapshot(), options, shadow);
    for op in 0..=run.disk.op_count() {
        let cut = run.disk.crash_at(op);
        for (index, (choice, disk)) in (0..).zip(cut.all(NESTED_STATES)) {
            tally.nested += 1;
            let text = || format!("in recovery, op {op}\n{}", cut.describe(&choice));
            let _context = crate::Context::new(text);
            let again = recovers(&disk.snapshot(), options, shadow);
            if depth > 0 && (op + index) % 7 == 3 {
                nested(&disk, options, shadow, depth - 1, tally);
            }
            if index == 0 {
                goes_on(again, options);
            }
        }
    }
}

/// What a reader shows of a disk before anybody has recovered it; nothing if there is no log yet.
pub fn shown_before(disk: &SimFs, options: &Options) -> Vec<Record> {
    let disk = disk.snapshot();
    let before = disk.op_count();
    let shown = match options.clone().vfs(Arc::new(disk.clone())).open_reader(DIR) {
        Ok(reader) => reader
            .scan(..)
            .unwrap()
            .map(|record| record.unwrap())
            .collect(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            Vec::new()
        }
    };
    assert_eq!(disk.op_count(), before, "a reader writes nothing");
    shown
}

/// Nothing that was shown is gone, or another.
pub fn check_shown(shown: &[Record], run: &Run) {
    let log = run.log.as_ref().expect("it opened");
    for record in shown {
        assert_eq!(log.get(record.seq()).unwrap().as_ref(), Some(record));
    }
}

fn enumerate(name: &str, options: &Options, steps: &[Step], tally: &mut Tally) -> Run {
    let mut run = Run::new(SimFs::new(1), options);
    run.steps(steps);
    assert!(run.errors.is_empty(), "{name}: {:?}", run.errors);
    for op in 0..=run.disk.op_count() {
        let cut = run.disk.crash_at(op);
        let shadow = run.shadow_at(op);
        for (index, (choice, disk)) in (0..).zip(cut.all(STATES)) {
            tally.states += 1;
            tally.recycled += u64::from(is_recycled(&disk));
            let text = || {
                let trace = run.disk.trace();
                let at = trace.iter().find(|event| event.op == Some(op));
                let at = at.map_or("end".to_owned(), ToString::to_string);
                format!("{name}, op {op}: {at}\n{}", cut.describe(&choice))
            };
            let _context = crate::Context::new(text);
            let shown = shown_before(&disk, options);
            let again = recovers(&disk.snapshot(), options, shadow);
            check_shown(&shown, &again);
            let wrote = again.disk.op_count() > 1;
            if wrote && (op + index) % NESTED_EVERY == 0 {
                nested(&disk, options, shadow, 1, tally);
            }
            if index % 3 == 0 {
                goes_on(again, options);
            }
        }
    }
    run
}

#[test]
fn every_crash_of_every_small_history_recovers_an_exact_prefix() {
    let mut tally = Tally::default();
    let started = std::time::Instant::now();
    for (name, segment_bytes, steps, direct) in
        canonical().into_iter().flat_map(|(name, bytes, steps)| {
            [false, true].map(|direct| (name, bytes, steps.clone(), direct))
        })
    {
        let (before, at) = (tally.states + tally.nested, std::time::Instant::now());
        let options = options(segment_bytes).direct_writes(direct);
        enumerate(name, &options, &steps, &mut tally);
        println!(
            "{name}, direct {direct}: {} {:?}",
            tally.states + tally.nested - before,
            at.elapsed()
        );
    }
    let all = tally.states + tally.nested;
    let rate = all as f64 / started.elapsed().as_secs_f64();
    println!("{} + {} states, {rate:.0}/s", tally.states, tally.nested);
    assert!(tally.states > 5_000, "{} states", tally.states);
    assert!(tally.nested > 2_000, "{} nested states", tally.nested);
    println!("{} of a tail in a file that came back", tally.recycled);
    assert!(
        tally.recycled > 300,
        "{} in files that came back",
        tally.recycled
    );
}

#[test]
fn every_crash_while_the_disk_is_given_bytes_early_recovers_an_exact_prefix() {
    let mut tally = Tally::default();
    for (name, segment_bytes, buffer_bytes, steps) in given_early() {
        let options = options(segment_bytes).buffer_bytes(buffer_bytes);
        let run = enumerate(name, &options, &steps, &mut tally);
        let trace = run.disk.trace();
        let early = |event: &&TraceEvent| event.kind == OpKind::WriteBack;
        let text = || {
            trace
                .iter()
                .map(|event| format!("{event}\n"))
                .collect::<String>()
        };
        assert!(trace.iter().filter(early).count() > 1, "{name}: {}", text());
    }
    println!("{} + {} states", tally.states, tally.nested);
    assert!(tally.states > 1_000, "{} states", tally.states);
}

#[test]
fn is_what_was_told_to_readers_true_after_every_crash() {
    let mut tally = Tally::default();
    let steps = [
        Open,
        durable(60),
        written(40),
        durable(150),
        Maintain,
        durable(200),
        Rewind { drop: 1 },
        durable(20),
        // Told at the commit, while records are written and not yet durable.
        written(30),
        written(20),
        Trim { keep: 4 },
    ];
    let options = options(512).publish(true);
    // A reader sees what is durable when it is: what that means is judged by the power cuts below.
    let mut run = Run::new(SimFs::new(1), &options);
    run.step(&Open);
    let reader = options.clone().vfs(Arc::new(run.disk.clone()));
    let reader = reader.open_reader(DIR).unwrap();
    for step in &steps[1..] {
        run.step(step);
        let log = run.log.as_ref().unwrap();
        assert_eq!(reader.end_seq(), log.durable_seq(), "after {step:?}");
        let shown: Result<Vec<Record>> = reader.scan(..).unwrap().collect();
        let own: Result<Vec<Record>> = log.scan(..).unwrap().collect();
        assert_eq!(shown.unwrap(), own.unwrap());
    }
    enumerate("published", &options, &steps, &mut tally);
    println!("{} + {} states", tally.states, tally.nested);
    assert!(tally.states > 2_000, "{} states", tally.states);
}

#[test]
fn is_failing_to_tell_no_error_and_readers_do_without() {
    for fault in [Fault::Error(Errno::Enospc), Fault::Short(20)] {
        for kind in [OpKind::CreateNew, OpKind::Write] {
            let options = options(512).publish(true);
            let mut run = Run::new(SimFs::new(1), &options);
            run.disk
                .fail(FaultRule::nth(kind, 1, fault).on("WATERMARK").for_ever());
            run.disk
                .fail(FaultRule::nth(kind, 0, fault).on("WATERMARK"));
            run.steps(&[Open, durable(100), durable(150), durable(150), Maintain]);
            assert!(run.errors.is_empty(), "{:?}", run.errors);
            let reader = options.clone().vfs(Arc::new(run.disk.clone()));
            let reader = reader.open_reader(DIR).unwrap();
            let durable_seq = run.log.as_ref().unwrap().durable_seq();
            // All but what no later batch attests yet, or all if it was told piece by piece.
            assert!((durable_seq - 1..=durable_seq).contains(&reader.end_seq()));
            // This disk tells nobody of changes: who waits looks now and then, and not for ever.
            let mut tail = reader.tail(reader.end_seq());
            let waited = tail.next_timeout(Duration::from_secs(1)).unwrap();
            assert!(waited.is_none());
            run.steps(&[durable(10), durable(10)]);
            let next = tail.next_timeout(Duration::from_secs(1)).unwrap();
            assert!(next.is_some_and(|record| record.seq() + 1 >= durable_seq));
        }
    }
}
