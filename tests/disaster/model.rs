//! Histories by chance: any operation after any other, with kills, power cuts, power cuts inside the
//! recovery from them, and failing calls among them; held against the shadow after every step.
//!
//! `PROPTEST_CASES` makes a campaign of it.

use crate::{
    campaign::larger,
    history::{Run, options, packing, sealed},
    shadow::{Rec, Shadow},
    steps::{
        Append, Backup, Close, Compact, Consume, Deed, Expect, Kill, Maintain, Mark, Named, New,
        Open, Pack, PackAppends, READER, Retain, Rewind, Rotate, Step, Submit, Sync, TILL, Trim,
        TrimDurable, Which,
    },
};
use cairnlog::{
    Durability, ErrorKind, Log, ReadMode, Seq,
    vfs::sim::{Errno, Fault, FaultRule, SimFs, SyncFailure},
};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Act {
    Do(Step),
    /// A power cut at some operation of a step.
    CutIn {
        step: Step,
        op: u64,
        seed: u64,
    },
    Reopen,
    KillAndOpen,
    PowerCut {
        seed: u64,
    },
    /// A power cut, and another at an operation of the recovery from it, and so on.
    PowerCuts {
        seeds: Vec<(u64, u64)>,
    },
    Fail {
        call: u64,
        fault: Fault,
    },
    Read {
        from: u64,
        to: u64,
        key: u8,
    },
}

fn new() -> impl Strategy<Value = New> {
    let time = prop_oneof![
        4 => Just(None),
        1 => (0..1_000_i64).prop_map(|t| Some(1_767_225_600_000 + t)),
        1 => prop::sample::select(vec![0, -1, i64::MAX, i64::MIN, 4_000_000_000_000]).prop_map(Some),
    ];
    let key = prop::option::weighted(0.4, 0..4_u8);
    let size = prop_oneof![3 => 0..20_usize, 3 => 20..60_usize, 1 => 60..90_usize];
    (key, prop::option::weighted(0.9, size), time).prop_map(|(key, value_bytes, time_ms)| New {
        // A tombstone has a key.
        value_bytes: value_bytes.or(key.is_none().then_some(5)),
        key,
        time_ms,
    })
}

fn level() -> impl Strategy<Value = Durability> {
    prop_oneof![
        3 => Just(Durability::Durable),
        2 => Just(Durability::Written),
        2 => Just(Durability::Buffered),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    use SyncFailure::{CacheKeepsNew, CacheShowsOld, StillDirty};
    let errno = prop::sample::select(Errno::ALL.to_vec());
    let how = prop::sample::select(vec![CacheKeepsNew, CacheShowsOld, StillDirty]);
    prop_oneof![
        errno.clone().prop_map(Fault::Error),
        (1..200_usize).prop_map(Fault::Short),
        (0..200_usize, errno.clone()).prop_map(|(bytes, errno)| Fault::Torn { bytes, errno }),
        (errno, how).prop_map(|(errno, how)| Fault::Sync(errno, how)),
    ]
}

fn named() -> impl Strategy<Value = Step> {
    let which = prop_oneof![
        8 => (0..3_u64).prop_map(|skip| Which::Next { skip: skip.saturating_sub(1) }),
        6 => (0..12_u64).prop_map(|back| Which::Again { back }),
        1 => Just(Which::TakeOver),
    ];
    let id = prop_oneof![3 => Just(1_u64), 1 => Just(2)];
    let named = (id, which, level(), vec(new(), 1..3));
    named.prop_map(|(id, which, level, news)| Named {
        id,
        which,
        level,
        news,
    })
}

fn consume() -> impl Strategy<Value = Step> {
    let who = prop_oneof![2 => Just(TILL), 1 => Just(READER)];
    let output = (0..4_u64, vec(new(), 1..3));
    let deed = prop_oneof![
        3 => (0..6_u64).prop_map(|ahead| Deed::Ack { ahead }),
        2 => any::<u64>().prop_map(|to| Deed::Seek { to }),
        6 => output.prop_map(|(ahead, news)| Deed::Output { ahead, news }),
        1 => Just(Deed::Leave),
    ];
    (who, deed).prop_map(|(who, deed)| Consume(who, deed))
}

pub fn step() -> impl Strategy<Value = Step> {
    let batch = || vec(new(), 1..4);
    prop_oneof![
        12 => (level(), batch()).prop_map(|(level, news)| Append(level, news)),
        3 => (level(), vec(batch(), 1..5)).prop_map(|(level, all)| Submit(level, all)),
        1 => (0..3_u64).prop_map(|seq_off_by| Expect { seq_off_by }),
        10 => named(),
        10 => consume(),
        3 => Just(Sync),
        2 => Just(Rotate),
        3 => Just(Maintain),
        1 => (0..12_u64).prop_map(|keep| Trim { keep }),
        1 => (0..12_u64).prop_map(|keep| TrimDurable { keep }),
        2 => (0..9_u64).prop_map(|drop| Rewind { drop }),
        2 => Just(Mark),
        3 => Just(Compact),
        2 => Just(Pack),
        1 => Just(PackAppends),
        1 => (0..4_000_u64).prop_map(|bytes| Retain { bytes }),
        1 => any::<bool>().prop_map(|copy| Backup { copy }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    // A backup is longer than any other step.
    let backup = any::<bool>().prop_map(|copy| Backup { copy });
    let cut_step = prop_oneof![3 => step(), 1 => backup];
    prop_oneof![
        50 => step().prop_map(Act::Do),
        2 => Just(Act::Reopen),
        2 => Just(Act::KillAndOpen),
        2 => any::<u64>().prop_map(|seed| Act::PowerCut { seed }),
        4 => (cut_step, any::<u64>(), any::<u64>()).prop_map(|(step, op, seed)| Act::CutIn { step, op, seed }),
        2 => vec((any::<u64>(), 0..40_u64), 2..5).prop_map(|seeds| Act::PowerCuts { seeds }),
        1 => (0..30_u64, fault()).prop_map(|(call, fault)| Act::Fail { call, fault }),
        6 => (any::<u64>(), any::<u64>(), 0..5_u8).prop_map(|(from, to, key)| Act::Read { from, to, key }),
    ]
}

/// After a fault anything may fail, but for that each error has to be an honest one.
fn check_errors(run: &mut Run, faulty: bool) {
    for (step, error) in run.errors.drain(..) {
        assert!(faulty, "{step}: {error}");
        let honest = !matches!(
            error.kind(),
            ErrorKind::Damaged | ErrorKind::Unsupported | ErrorKind::NotFound
        );
        assert!(honest, "{step}: {error}");
    }
}

fn go(run: &mut Run, acts: &[Act]) {
    let (mut faulty, mut rule_count) = (false, 0);
    // The first cursor comes with its directory: if the sync of that fails nothing helps, a known limit.
    run.steps(&[Open, Consume(READER, Deed::Leave)]);
    for act in acts {
        if !faulty {
            rule_count = 0;
        }
        match act {
            Act::Do(step) => run.step(step),
            // What it may be inside a step is known of one without faults.
            Act::CutIn { step, .. } if faulty => run.step(step),
            Act::CutIn { step, op, seed } => {
                run.step(step);
                check_errors(run, false);
                cut_in(run, step, *op, *seed);
                run.step(&Open);
            }
            Act::Reopen => {
                run.steps(&[Close, Open]);
            }
            Act::KillAndOpen => {
                check_errors(run, faulty);
                faulty = false;
                run.steps(&[Kill, Open]);
            }
            Act::PowerCut { seed } => {
                check_errors(run, faulty);
                faulty = false;
                power_cut(run, *seed, u64::MAX);
                run.step(&Open);
            }
            Act::PowerCuts { seeds } => {
                check_errors(run, faulty);
                faulty = false;
                power_cut(run, seeds[0].0, u64::MAX);
                for (seed, op) in &seeds[1..] {
                    let (before, serial) = (run.shadow.clone(), run.serial());
                    run.step(&Open);
                    check_errors(run, false);
                    // What this one showed counts only if it was allowed to finish.
                    let op = op % (run.disk.op_count() + 1);
                    let finished = op == run.disk.op_count();
                    let shadow = if finished { run.shadow.clone() } else { before };
                    power_cut(run, *seed, op);
                    go_on(run, run.disk.clone(), shadow, serial);
                }
                run.step(&Open);
            }
            Act::Fail { call, fault } => {
                run.disk.fail(FaultRule::nth_call(*call, *fault));
                run.reads_fail = true;
                rule_count += 1;
                faulty = true;
            }
            Act::Read { from, to, key } => {
                if let (Some(log), false) = (run.log.clone(), faulty) {
                    check_reads(run, &log, *from, *to, *key);
                }
            }
        }
        // Each was once: when all were met, only their consequences are left.
        if run.disk.fault_count() >= rule_count {
            run.reads_fail = false;
        }
        check_errors(run, faulty);
        if run.log.is_none() {
            run.step(&Open);
            check_errors(run, faulty);
        }
        if let (Some(log), false) = (&run.log, run.reads_fail) {
            run.shadow
                .check(log)
                .unwrap_or_else(|what| panic!("after {act:?}: {what}"));
        }
        let cut = matches!(
            act,
            Act::CutIn { .. } | Act::PowerCut { .. } | Act::PowerCuts { .. }
        );
        if !faulty && (cut || matches!(act, Act::Do(Backup { .. }))) {
            run.check_copies();
        }
    }
}

fn power_cut(run: &mut Run, seed: u64, op: u64) {
    let cut = run.disk.crash_at(op);
    run.disk.power_cut(); // Or dropping the log would close it.
    go_on(run, cut.random(seed), run.shadow.clone(), run.serial());
}

/// A power cut at some operation of the last step.
fn cut_in(run: &mut Run, step: &Step, op: u64, seed: u64) {
    let note = run.notes.last().expect("a step was taken").clone();
    let op = note.ops.start + op % (note.ops.end - note.ops.start + 1);
    let finished = op == note.ops.end;
    if let (Backup { .. }, false, Some(copy)) = (step, finished, run.copies.last_mut()) {
        copy.reported = false;
    }
    run.shadow = if finished { note.after } else { note.during };
    power_cut(run, seed, op);
}

fn go_on(run: &mut Run, disk: SimFs, shadow: Shadow, serial: u64) {
    let copies = std::mem::take(&mut run.copies);
    *run = Run::after(disk, &run.options.clone(), shadow, serial);
    run.copies = copies;
}

/// Every way of reading, against the records that this level has to show, no more and no less.
fn check_reads(run: &Run, log: &Log, from: u64, to: u64, key: u8) {
    let all: Vec<&Rec> = run
        .shadow
        .certain
        .iter()
        .chain(run.shadow.maybe.iter().flatten())
        .collect();
    let head = log.head_seq();
    for (reader, end) in [
        (log.reader(), log.durable_seq()),
        (log.reader().including_written(), log.stats().written_seq),
    ] {
        assert!(run.shadow.certain.last().is_none_or(|last| last.seq < end));
        let shown: Vec<&Rec> = all
            .iter()
            .copied()
            .filter(|rec| (head..end).contains(&rec.seq))
            .collect();
        let span = end - head + 3;
        let (from, to) = (head + from % span, head + to % span);
        let wanted: Vec<&&Rec> = shown
            .iter()
            .filter(|rec| (from..to).contains(&rec.seq))
            .collect();
        let same = |found: &[cairnlog::Record], wanted: &[&&Rec]| {
            assert_eq!(found.len(), wanted.len(), "{from}..{to} of {head}..{end}");
            assert!(found.iter().zip(wanted).all(|(got, want)| want.is(got)));
        };
        let scan = || reader.scan(from..to).unwrap();
        same(&scan().collect::<Result<Vec<_>, _>>().unwrap(), &wanted);
        let mut back = scan().rev().collect::<Result<Vec<_>, _>>().unwrap();
        back.reverse();
        same(&back, &wanted);
        // From both ends by turns, until they meet.
        let (mut scan, mut front, mut back) = (scan(), Vec::new(), Vec::new());
        while let Some(record) = scan.next() {
            front.push(record.unwrap());
            back.extend(scan.next_back().map(|record| record.unwrap()));
        }
        back.reverse();
        front.append(&mut back);
        same(&front, &wanted);
        for seq in [from, to] {
            let want = shown.iter().find(|rec| rec.seq == seq);
            let got = reader.get(seq).unwrap();
            assert!(want.map_or(got.is_none(), |want| want.is(got.as_ref().unwrap())));
        }
        let latest = reader.latest(&[b'k', key], from..to).unwrap();
        let want = wanted
            .iter()
            .rfind(|rec| rec.key.as_deref() == Some(&[b'k', key]));
        assert_eq!(latest.map(|record| record.seq()), want.map(|rec| rec.seq));
        check_seek(&reader, &shown, end);
    }
    if let Some(below) = head.checked_sub(1) {
        let error = log.get(below).unwrap_err();
        assert_eq!(
            (error.kind(), error.resume_seq()),
            (ErrorKind::Trimmed, Some(head))
        );
    }
}

/// The first record at or after a time. Times that the log chose are read back, the others are known.
fn check_seek(reader: &cairnlog::Reader, shown: &[&Rec], end: Seq) {
    let times: Vec<(Seq, i64)> = shown
        .iter()
        .map(|rec| {
            (
                rec.seq,
                reader.get(rec.seq).unwrap().unwrap().timestamp_ms(),
            )
        })
        .collect();
    let middle = times.get(times.len() / 2).map_or(0, |(_, time)| *time);
    for time in [middle, middle.saturating_add(1), i64::MIN, i64::MAX] {
        let want = times
            .iter()
            .find(|(_, at)| *at >= time)
            .map_or(end, |(seq, _)| *seq);
        assert_eq!(reader.seek_time(time).unwrap(), want, "{time} in {times:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]
    #[test]
    fn any_history_keeps_what_it_acknowledged(
        seed in any::<u64>(),
        segment_bytes in prop::sample::select(vec![512_u64, 640, 1024, 2048, 4096]),
        buffer_bytes in prop::sample::select(vec![64_usize, 300, 100_000]),
        queue_bytes_max in prop::sample::select(vec![100_usize, 1_000, 100_000]),
        positional in any::<bool>(),
        direct in any::<bool>(),
        acts in vec(act(), 1..60),
    ) {
        let mode = if positional { ReadMode::Positional } else { ReadMode::Mapped };
        let options = options(segment_bytes)
            .buffer_bytes(buffer_bytes)
            .queue_bytes_max(queue_bytes_max)
            .read_mode(mode)
            .direct_writes(direct);
        go(&mut Run::new(SimFs::new(seed), &options), &acts);
    }
}

/// The same act with records of up to a KiB.
fn grown(act: Act) -> Act {
    match act {
        Act::Do(step) => Act::Do(larger(step)),
        Act::CutIn { step, op, seed } => {
            let step = larger(step);
            Act::CutIn { step, op, seed }
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::with_cases(600) })]
    /// Any history, of records that are packed as they are appended.
    #[test]
    fn any_history_of_what_is_packed_keeps_what_it_acknowledged(
        seed in any::<u64>(),
        segment_bytes in prop::sample::select(vec![4_096_u64, 8_192, 20_000]),
        buffer_bytes in prop::sample::select(vec![64_usize, 3_000, 100_000]),
        is_sealed in any::<bool>(),
        direct in any::<bool>(),
        acts in vec(act(), 1..60),
    ) {
        let options = packing(options(segment_bytes))
            .buffer_bytes(buffer_bytes)
            .direct_writes(direct);
        let options = if is_sealed { sealed(options) } else { options };
        let acts: Vec<_> = acts.into_iter().map(grown).collect();
        go(&mut Run::new(SimFs::new(seed), &options), &acts);
    }
}

/// A cursor's file was replaced before a seal, the sync of its directory failed, and the process ended. The
/// next one saw the file with the move in it, took that for stored, and sealed the segment that had the move.
/// A power cut then brought the old file back, and what had been acknowledged was given again.
#[test]
fn is_a_move_kept_that_a_file_said_whose_sync_failed() {
    let new = |key, bytes| New {
        key,
        value_bytes: Some(bytes),
        time_ms: None,
    };
    let named = |news| {
        let (id, which, level) = (1, Which::Next { skip: 0 }, Durability::Durable);
        Act::Do(Named {
            id,
            which,
            level,
            news,
        })
    };
    let till = |deed| Act::Do(Consume(TILL, deed));
    let several = vec![new(None, 31), new(None, 55), new(None, 6)];
    let options = options(640).buffer_bytes(64).queue_bytes_max(1_000);
    let mut met = 0;
    for call in 0..40 {
        let fault = Fault::Error(Errno::Eio);
        let acts = [
            named(vec![new(None, 5)]),
            till(Deed::Leave),
            named(vec![new(None, 5), new(None, 60)]),
            named(vec![new(Some(0), 13)]),
            till(Deed::Ack { ahead: 0 }),
            Act::Do(Append(Durability::Buffered, vec![new(Some(0), 2)])),
            Act::Fail { call, fault },
            Act::Do(Append(Durability::Written, several.clone())),
            Act::Reopen,
        ];
        let _context = crate::Context::new(move || format!("call {call}"));
        for seed in 0..8 {
            let mut run = Run::new(SimFs::new(0), &options);
            go(&mut run, &acts);
            met += run.disk.fault_count();
            power_cut(&mut run, seed, u64::MAX);
            run.step(&Open);
            let log = run.log.clone().expect("it opens");
            run.shadow
                .check(&log)
                .unwrap_or_else(|what| panic!("{what}"));
        }
    }
    assert!(met > 50, "{met}");
}
