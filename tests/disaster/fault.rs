//! Every call of small histories fails in every way, once and for ever; the application goes on as
//! far as it is let. Then: the same handle, a kill and a reopening, a power cut and a reopening.

use crate::{
    history::{Run, options},
    shadow::read_all,
    steps::{Kill, Open, Step, canonical, durable, given_early},
};
use cairnlog::{
    ErrorKind, Options,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, Outcome, SimFs, SyncFailure},
};
use std::path::Path;

/// The ways to fail that differ in kind, for every call.
const ALWAYS: [(Fault, bool); 13] = [
    (Fault::Error(Errno::Eio), false),
    (Fault::Error(Errno::Eio), true),
    (Fault::Error(Errno::Enospc), false),
    (Fault::Error(Errno::Enospc), true),
    (Fault::Error(Errno::Eintr), false),
    (Fault::Short(1), false),
    (Fault::Short(13), true),
    (torn(40, Errno::Eio), false),
    (torn(150, Errno::Enospc), false),
    (torn(3, Errno::Edquot), true),
    (Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew), false),
    (Fault::Sync(Errno::Eio, SyncFailure::CacheShowsOld), false),
    (Fault::Sync(Errno::Enospc, SyncFailure::StillDirty), false),
];

const fn torn(bytes: usize, errno: Errno) -> Fault {
    Fault::Torn { bytes, errno }
}

/// So often in a row are calls short "for ever": longer than any of a log's own files but the ballast, of
/// which thousands of pieces would be written that a power cut may lose one by one.
pub const SHORT_TIMES: u64 = 300;

/// All of those for a call, and of the remaining errors, which the engine does not tell apart, two
/// by turns. A campaign takes them all.
fn faults(call: u64) -> Vec<(Fault, bool)> {
    let by_turns = (call as usize..call as usize + 2).map(|i| {
        let errno = Errno::ALL[i % Errno::ALL.len()];
        // Who is interrupted for ever tries for ever, by rights.
        (Fault::Error(errno), i % 3 == 0 && errno != Errno::Eintr)
    });
    ALWAYS.into_iter().chain(by_turns).collect()
}

/// The history up to its last kill is done without faults: they are for what comes after.
fn begin(steps: &[Step], options: &Options) -> (Run, Vec<Step>) {
    begin_on(SimFs::new(1), steps, options)
}

pub fn begin_on(disk: SimFs, steps: &[Step], options: &Options) -> (Run, Vec<Step>) {
    let kill = steps.iter().rposition(|step| matches!(step, Kill));
    let (before, after) = steps.split_at(kill.map_or(0, |at| at + 1));
    let mut run = Run::new(disk, options);
    run.steps(before);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    (run, after.to_vec())
}

fn check_after(mut run: Run, met: OpKind, once: bool) {
    for (step, error) in &run.errors {
        // Nothing on the disk was harmed: who says so took an error for an end or for damage.
        let honest = !matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported);
        assert!(honest, "{step}: {error}");
    }
    // After power loss: the extremes and two by chance.
    let cut = run.disk.crash_at(u64::MAX);
    let extremes = [Choice::lost(), Choice::kept(cut.effect_count())];
    for choice in extremes
        .into_iter()
        .chain((1..=2).map(|seed| cut.choose(seed)))
    {
        let _context = crate::Context::new(|| format!("power cut\n{}", cut.describe(&choice)));
        reopen(&cut.state(&choice), &run);
    }
    // With the same handle, where there is one.
    run.disk.clear_faults();
    run.reads_fail = false;
    if run.log.is_none() {
        run.errors.clear();
        run.open();
        assert!(run.errors.is_empty(), "opens once it can: {:?}", run.errors);
    }
    let log = run.log.clone().expect("it is open");
    if let Err(what) = run.shadow.check(&log) {
        panic!("the same handle: {what}");
    }
    drop(log);
    run.errors.clear();
    run.step(&durable(11));
    if let Some((_, error)) = run.errors.first() {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        let reads = matches!(
            met,
            OpKind::Read | OpKind::List | OpKind::Open | OpKind::Len
        );
        assert!(!(reads && once), "a failed read stops no writer: {error}");
    }
    // In another process, and after a power cut there.
    run.errors.clear();
    run.steps(&[Kill, Open, durable(12)]);
    assert!(run.errors.is_empty(), "after a kill: {:?}", run.errors);
    reopen(&run.disk.crash_at(u64::MAX).state(&Choice::lost()), &run);
}

pub fn reopen(disk: &SimFs, run: &Run) {
    let mut next = Run::after(disk.clone(), &run.options, run.shadow.clone(), 800_000);
    next.open();
    assert!(next.errors.is_empty(), "{:?}", next.errors);
}

/// The kind of the call that met the fault first.
fn met(run: &Run, from: usize) -> Option<OpKind> {
    let trace = run.disk.trace();
    let cut = |event: &&cairnlog::vfs::sim::TraceEvent| match event.outcome {
        Outcome::Failed(kind) => kind != std::io::ErrorKind::NotFound,
        Outcome::Moved(bytes) => bytes < event.len,
        Outcome::Done => false,
    };
    trace.iter().skip(from).find(cut).map(|event| event.kind)
}

/// Whether the sync of the directory's own name failed. On a system that then calls the name clean no
/// later sync brings it to the disk, and nobody can tell: the open told the error, and that is all.
fn parent_is_lost(run: &Run, from: usize) -> bool {
    let trace = run.disk.trace();
    trace.iter().skip(from).any(|event| {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        event.kind == OpKind::SyncDir && failed && event.path == Path::new("/")
    })
}

/// How many calls the history takes from its last kill on.
pub fn calls(steps: &[Step], options: &Options) -> u64 {
    let (mut sound, rest) = begin(steps, options);
    let before = sound.disk.call_count();
    sound.steps(&rest);
    assert!(sound.errors.is_empty(), "{:?}", sound.errors);
    sound.disk.call_count() - before
}

/// The history with one fault, from this call on so many times. True if it met it.
pub fn trial(
    disk: SimFs,
    steps: &[Step],
    options: &Options,
    (call, fault, times): (u64, Fault, u64),
) -> bool {
    let (mut run, rest) = begin_on(disk, steps, options);
    let from = run.disk.trace().len();
    run.disk.fail(FaultRule::nth_call(call, fault).times(times));
    run.reads_fail = true;
    let disk = run.disk.clone();
    let text = || {
        let trace = disk.trace();
        let at = trace.get(from + call as usize);
        let at = at.map_or_else(String::new, ToString::to_string);
        format!("call {call}, {fault:?}, times {times}: {at}")
    };
    let _context = crate::Context::new(text);
    run.steps(&rest);
    let transfer = matches!(met(&run, from), Some(OpKind::Read | OpKind::Write));
    if transfer && times == 1 && matches!(fault, Fault::Error(Errno::Eintr) | Fault::Short(_)) {
        assert!(
            run.errors.is_empty(),
            "it is gone on with: {:?}",
            run.errors
        );
    }
    let counts = disk.fault_count() > 0 && !parent_is_lost(&run, from);
    if counts {
        let met = met(&run, from).unwrap_or(OpKind::Sync);
        check_after(run, met, times == 1);
    }
    counts
}

fn sweep(name: &str, options: &Options, steps: &[Step]) -> u64 {
    let _context = crate::Context::new(|| name.to_owned());
    let mut met_count = 0;
    for call in 0..calls(steps, options) {
        for (fault, for_ever) in faults(call) {
            let times = match (fault, for_ever) {
                (_, false) => 1,
                (Fault::Short(_), true) => SHORT_TIMES,
                _ => u64::MAX,
            };
            let met = trial(SimFs::new(1), steps, options, (call, fault, times));
            met_count += u64::from(met);
        }
    }
    met_count
}

#[test]
fn every_fault_at_every_call_leaves_what_was_promised() {
    let mut count = 0;
    for (number, (name, segment_bytes, steps)) in canonical().into_iter().enumerate() {
        let started = std::time::Instant::now();
        let options = options(segment_bytes);
        let mut met = sweep(name, &options, &steps);
        if number % 3 == 0 {
            met += sweep(name, &options.direct_writes(true), &steps);
        }
        println!("{name}: {met} {:?}", started.elapsed());
        count += met;
    }
    assert!(count > 5_000, "{count} faults met");
}

/// That the disk refused bytes which it was given early may be the only word of their loss: a log that
/// went on would be told by the next sync that all is well.
#[test]
fn every_fault_while_the_disk_is_given_bytes_early_leaves_what_was_promised() {
    for (name, segment_bytes, buffer_bytes, steps) in given_early() {
        let options = options(segment_bytes).buffer_bytes(buffer_bytes);
        let started = std::time::Instant::now();
        let met = sweep(name, &options, &steps);
        println!("{name}: {met} {:?}", started.elapsed());
        assert!(met > 100, "{name}: {met} faults met");
    }
}

#[test]
fn failed_sync_is_never_followed_by_an_acknowledgement() {
    for (number, (name, segment_bytes, steps)) in canonical().into_iter().enumerate() {
        let options = options(segment_bytes).direct_writes(number % 2 == 0);
        for nth in 0.. {
            let (mut run, rest) = begin(&steps, &options);
            run.steps(&rest[..1]);
            let how = SyncFailure::CacheKeepsNew;
            let rule = FaultRule::nth(OpKind::Sync, nth, Fault::Sync(Errno::Eio, how));
            run.disk.fail(rule);
            run.steps(&rest[1..]);
            if run.disk.fault_count() == 0 {
                break;
            }
            let _context = crate::Context::new(|| format!("{name}, sync {nth}"));
            let Some(log) = run.log.clone() else { continue };
            read_all(&log).expect("what is durable can be read");
            let lost = run.disk.crash_at(u64::MAX).state(&Choice::lost());
            reopen(&lost, &run);
        }
    }
}

/// What handles a failure fails itself: cutting back, taking away what was begun, telling the rest.
#[test]
fn second_fault_while_the_first_is_handled_breaks_no_promise() {
    let firsts = [
        torn(40, Errno::Enospc),
        torn(7, Errno::Eio),
        Fault::Short(5),
    ];
    let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    let mut count = 0;
    for (number, (name, segment_bytes, steps)) in canonical().into_iter().enumerate() {
        let options = options(segment_bytes).direct_writes(number % 2 == 1);
        let (mut sound, rest) = begin(&steps, &options);
        let before = sound.disk.call_count();
        sound.steps(&rest);
        for call in 0..sound.disk.call_count() - before {
            for (first, distance) in firsts.into_iter().zip(0..).flat_map(|(first, turn)| {
                // Each pair of distances comes up at every third call: a campaign takes them all.
                (1..=4)
                    .filter(move |d| (call + d + turn).is_multiple_of(3))
                    .map(move |d| (first, d))
            }) {
                let (mut run, rest) = begin(&steps, &options);
                let from = run.disk.trace().len();
                run.disk.fail(FaultRule::nth_call(call, first));
                run.disk.fail(FaultRule::nth_call(call + distance, lies));
                run.reads_fail = true;
                let text = || format!("{name}, call {call}, {first:?}, then {distance} later");
                let _context = crate::Context::new(text);
                run.steps(&rest);
                if run.disk.fault_count() > 1 && !parent_is_lost(&run, from) {
                    count += 1;
                    check_after(run, OpKind::Sync, false);
                }
            }
        }
    }
    assert!(count > 500, "{count} pairs met");
}
