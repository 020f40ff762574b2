//! The power goes at every operation of a disk: of the log's while it is copied, of the new one's while it is
//! restored. Is what was told to be in the store there, is it the log, and does restoring go on to the same?
//!
//! Some of the operations, drawn by `CAIRN_SEED`; with `CAIRN_CUTS=all` each, in as many states as `CAIRN_STATES` says:
//! `CAIRN_CUTS=all CAIRN_STATES=8 cargo test -p cairnlog-object-store --release --test cuts -- --nocapture`.

mod common;

use cairnlog::{
    AppendOptions, CompactOptions, ErrorKind, Log, Maintained, NewRecord, Seq, vfs::sim::SimFs,
};
use cairnlog_object_store::{Copier, CopyOptions, RestoreOptions, Store, To};
use common::{Dice, Shown, faulty::Faulty, on, over, shown, store};
use std::{env, ops::Range, path::Path, sync::Arc, time::Duration};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The operations at which the power goes, and the states of each.
fn cuts(ops: Range<u64>, share: u64) -> impl Iterator<Item = (u64, u64)> {
    let all = env::var_os("CAIRN_CUTS").is_some();
    let (seed, states) = (number("CAIRN_SEED", 1), number("CAIRN_STATES", 1));
    let mut dice = Dice(seed);
    ops.filter(move |_| all || dice.below(share) == 0)
        .flat_map(move |op| (0..states).map(move |state| (op, seed + op * states + state)))
}

fn fill(log: &Log, count: u64) {
    for _ in 0..count {
        let seq = log.next_seq();
        let value = format!("record {seq} ").repeat(1 + seq as usize % 30);
        let key = [b'a' + (seq % 5) as u8];
        let record = NewRecord::keyed(&key[..], &value);
        log.append_records(&[record], &AppendOptions::new())
            .unwrap();
    }
}

fn settle(log: &Log) {
    while log.maintain().unwrap() != Maintained::Nothing {}
}

fn start(log: &Log, store: &Store) -> Copier {
    let keep = CopyOptions::new().keep(Duration::ZERO);
    Copier::start(log.stored().unwrap(), store, keep).unwrap()
}

/// What is done to a log between two steps of its copy.
fn change(log: &Log, round: u64) {
    fill(log, 9);
    match round {
        2 | 6 => {
            let how = CompactOptions::new().rate_bytes_per_s(None);
            log.compact(&how).unwrap();
        }
        3 => log.trim(12).unwrap(),
        4 => log.rewind(log.next_seq() - 4).unwrap(),
        5 => {
            drop(log.consumer("reader").unwrap());
            log.set_cursor("reader", log.durable_seq() - 3).unwrap();
        }
        _ => log.rotate().unwrap(),
    }
    settle(log);
}

/// A log's disk, and after each round: its operations by then, the store, and the seq that was told to be there.
fn copied(seed: u64) -> (SimFs, Vec<(u64, Arc<Faulty>, Seq)>) {
    let disk = SimFs::new(seed);
    let (store, faulty) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut copier = start(&log, &store);
    let mut rounds = vec![(disk.op_count(), faulty.fork(), 0)];
    for round in 0..8 {
        change(&log, round);
        copier.step().unwrap();
        while copier.collect().unwrap() {}
        rounds.push((disk.op_count(), faulty.fork(), copier.end_seq()));
    }
    (disk, rounds)
}

fn restored(store: &Store, disk: &SimFs, to: To) {
    let options = RestoreOptions::new().log(on(disk));
    options
        .vfs(Arc::new(disk.clone()))
        .restore(store, "/restored", to)
        .unwrap();
}

fn empty_disk(seed: u64) -> SimFs {
    let disk = SimFs::new(seed);
    disk.write_file(Path::new("/there"), b"");
    disk
}

#[test]
fn is_what_was_told_there_after_a_power_cut_at_any_operation_of_the_log() {
    let (disk, rounds) = copied(number("CAIRN_SEED", 1));
    let mut count = 0;
    for pair in rounds.windows(2) {
        let ((first, before, told), (end, ..)) = (&pair[0], &pair[1]);
        for (op, seed) in cuts(*first..*end, 4) {
            let after = disk.crash_at(op).random(seed);
            let log = on(&after).open("/log").unwrap();
            assert!(
                log.next_seq() >= *told,
                "op {op}: the log lost what was told"
            );
            // As it is in the store, without the log: it may be gone with its disk.
            let moment = over(before).moments().unwrap().pop();
            assert_eq!(moment.map_or(0, |it| it.end_seq), *told, "op {op}");
            // And as it is once the log is copied on.
            let faulty = before.fork();
            let store = over(&faulty);
            fill(&log, 2);
            start(&log, &store).step().unwrap();
            let onto = empty_disk(seed);
            restored(&store, &onto, To::Latest);
            let again = on(&onto).create(false).open("/restored").unwrap();
            assert_eq!(
                shown(&again.reader()),
                shown(&log.reader()),
                "op {op}, state {seed}"
            );
            assert_eq!(again.next_seq(), log.next_seq());
            count += 1;
        }
    }
    println!("{count} cuts of {} operations", rounds.last().unwrap().0);
    assert!(count > 5, "{count}");
}

/// The log in the directory, if there is one.
fn found(disk: &SimFs) -> Option<(Vec<Shown>, Seq)> {
    match on(disk).create(false).open("/restored") {
        Ok(log) => Some((shown(&log.reader()), log.next_seq())),
        Err(error) => {
            let kinds = [ErrorKind::Damaged, ErrorKind::NotFound];
            assert!(kinds.contains(&error.kind()), "{error}");
            None
        }
    }
}

#[test]
fn does_restoring_go_on_after_a_power_cut_at_any_operation() {
    let (_, rounds) = copied(number("CAIRN_SEED", 1));
    let (_, faulty, end_seq) = rounds.last().unwrap();
    let store = over(faulty);
    for to in [To::Latest, To::Seq(end_seq - 5)] {
        let disk = empty_disk(7);
        restored(&store, &disk, to);
        let whole = found(&disk.snapshot()).unwrap();
        let (mut none, mut some) = (0, 0);
        for (op, seed) in cuts(0..disk.op_count() + 1, 2) {
            let after = disk.crash_at(op).random(seed);
            // Whoever opens it has the log, or is told that there is none; and is not in the way.
            match found(&after.snapshot()) {
                Some(log) => {
                    some += 1;
                    assert_eq!(log, whole, "op {op}, state {seed}");
                }
                None => {
                    none += 1;
                    restored(&store, &after, to);
                    assert_eq!(found(&after).unwrap(), whole, "op {op}, state {seed}");
                }
            }
        }
        println!(
            "{to:?}: {none} cuts left no log, {some} the log, of {} operations",
            disk.op_count()
        );
        assert!(none > 0 && none + some > 3, "{none} {some}");
    }
}
