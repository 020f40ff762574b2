//! A backup that a later one brings up to date: at every moment it is the one that was there or the next, whatever
//! the power, the disk's room or a call does meanwhile.
//!
//! `CAIRN_BACKUPS` says how many histories of a log and its backup are gone through, from `CAIRN_SEED` on.

use cairnlog::{
    AppendOptions, BackupOptions, CompactOptions, Error, ErrorKind, Log, NewRecord, Options,
    Producer, Seq,
    vfs::sim::{Errno, Fault, FaultRule, SimFs},
};
use std::{env, sync::Arc};

/// Where the log's old segments live, of some histories.
#[path = "../far/attic.rs"]
#[allow(dead_code, reason = "its log is another")]
mod attic;
use attic::Attic;

pub(super) const TO: &str = "/backup";
/// States of one crash point.
const STATES: u64 = 24;

pub(super) fn on(disk: &SimFs) -> Options {
    let options = Log::options().segment_bytes(640).background(false);
    options.publish(false).vfs(Arc::new(disk.clone()))
}

/// What an application finds in a log.
#[derive(Clone, Debug, PartialEq)]
struct Was {
    records: Vec<(Seq, Vec<u8>)>,
    seqs: (Seq, Seq),
    cursors: Vec<(String, Seq)>,
    mark: Option<Vec<u8>>,
    /// What a repeat of the append of the last record is told.
    repeated: Option<Result<Seq, ErrorKind>>,
}

impl Was {
    fn of(log: &Log) -> Self {
        let records = log.scan(..).unwrap().map(Result::unwrap);
        let records: Vec<_> = records.map(|it| (it.seq(), it.to_vec())).collect();
        let cursors = log.cursors().unwrap().into_iter();
        let repeat = |last: &(Seq, Vec<u8>)| put(log, last.0).map_err(|error| error.kind());
        let repeated = records.last().map(repeat);
        assert_ne!(repeated, Some(Ok(log.next_seq())), "it is known");
        Self {
            records,
            repeated,
            seqs: (log.head_seq(), log.next_seq()),
            cursors: cursors.map(|it| (it.name, it.seq)).collect(),
            mark: log.marks().first().map(|it| it.value.to_vec()),
        }
    }

    /// What a backup is as a log. It is one by itself from then on.
    fn opened(disk: &SimFs) -> Self {
        let log = on(disk).create(false).open(TO).unwrap();
        let was = Self::of(&log);
        assert_eq!(put(&log, was.seqs.1).unwrap(), was.seqs.1, "no repeat");
        for (name, seq) in &was.cursors {
            assert_eq!(log.consumer(name).unwrap().seq(), *seq);
        }
        was
    }
}

/// Appends a record whose number is its seq.
fn put(log: &Log, number: u64) -> Result<Seq, Error> {
    let (id, epoch) = (7, 1);
    let by = Producer { id, epoch, number };
    let value = format!("{number:0100}");
    let key = [b'a' + (number % 5) as u8];
    let record = NewRecord::keyed(&key[..], &value);
    let how = AppendOptions::new().producer(by);
    log.append_records(&[record], &how).map(|seqs| seqs.start)
}

fn fill(log: &Log, count: u64) {
    (0..count).for_each(|_| assert_eq!(put(log, log.next_seq()).unwrap(), log.next_seq() - 1));
}

pub(super) fn settle(log: &Log) {
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
}

/// A log with a backup that is behind by all that changes one, and what the backup was and will be.
fn behind(seed: u64, how: &BackupOptions) -> (SimFs, Log, Was, Was) {
    let disk = SimFs::new(seed);
    let log = on(&disk).open("/log").unwrap();
    fill(&log, 13);
    log.consumer("mail").unwrap().ack(2).unwrap();
    drop(log.consumer("goes").unwrap());
    settle(&log);
    log.set_mark("vote", "term 1").unwrap();
    log.backup_with(TO, how).unwrap();
    let former = Was::of(&log);
    fill(&log, 12);
    log.rotate().unwrap();
    log.compact(&CompactOptions::new().rate_bytes_per_s(None))
        .unwrap();
    log.trim(4).unwrap();
    log.rewind(log.next_seq() - 2).unwrap();
    log.delete_cursor("goes").unwrap();
    drop(log.consumer("comes").unwrap());
    fill(&log, 9);
    log.consumer("mail").unwrap().ack(9).unwrap();
    log.set_mark("vote", "term 2").unwrap();
    settle(&log);
    let next = Was::of(&log);
    assert_ne!(former, next);
    (disk, log, former, next)
}

#[test]
fn is_it_the_former_or_the_next_after_a_power_cut_at_any_operation() {
    for copy in [false, true] {
        let how = BackupOptions::new().copy(copy);
        let (disk, log, former, next) = behind(1, &how);
        let start = disk.op_count();
        let report = log.backup_with(TO, &how).unwrap();
        assert_eq!((report.head_seq, report.next_seq), next.seqs);
        let (mut formers, mut nexts) = (0, 0);
        for op in start..=disk.op_count() {
            let cut = disk.crash_at(op);
            for (choice, after) in cut.all(STATES) {
                let _context =
                    crate::Context::new(|| format!("op {op}\n{}", cut.describe(&choice)));
                // Whoever only reads sees it as well, and so does the next backup.
                let again = after.snapshot();
                let read = on(&after).open_reader(TO).unwrap();
                let seen = (read.head_seq(), read.end_seq());
                match Was::opened(&after) {
                    was if was == former => formers += 1,
                    was if was == next => nexts += 1,
                    was => panic!("neither: {was:?}"),
                }
                assert!([former.seqs, next.seqs].contains(&seen), "{seen:?}");
                let log = on(&again).open("/log").unwrap();
                assert_eq!(Was::of(&log), next, "the log is none the worse");
                if op % 5 == 0 {
                    log.backup_with(TO, &how).unwrap();
                    assert_eq!(Was::opened(&again), next);
                }
            }
        }
        println!("copy {copy}: {formers} states of the former, {nexts} of the next");
        assert!(formers > 50 && nexts > 20, "{formers} {nexts}");
        let lost = disk.crash_at(u64::MAX);
        assert!(lost.all(STATES).all(|(_, disk)| Was::opened(&disk) == next));
    }
}

/// What a backup refuses or meets is told, and what is there stays the former or is the next.
fn check_failed(disk: &SimFs, error: &Error, kinds: &[ErrorKind], both: (&Was, &Was)) {
    assert!(kinds.contains(&error.kind()), "{error}");
    let has_place = error.place().path.is_some() || error.place().segment.is_some();
    assert!(has_place, "{error}");
    let was = Was::opened(&disk.snapshot());
    assert!([both.0, both.1].contains(&&was), "neither: {was:?} {error}");
}

#[test]
fn does_a_failing_call_leave_the_former_or_the_next() {
    let (mut failed, mut made) = (0, 0);
    for call in 0.. {
        let (disk, log, former, next) = behind(1, &BackupOptions::new());
        disk.fail(FaultRule::nth_call(call, Fault::Error(Errno::Eio)));
        let result = log.backup(TO);
        let hit = disk.fault_count() > 0;
        disk.clear_faults();
        match result {
            Ok(_) => {
                made += 1;
                assert_eq!(Was::opened(&disk), next);
            }
            Err(error) => {
                failed += 1;
                let kinds = [ErrorKind::Io, ErrorKind::Poisoned];
                check_failed(&disk, &error, &kinds, (&former, &next));
                // The next attempt goes on with what there is.
                log.backup(TO).unwrap();
                assert_eq!(Was::opened(&disk), next);
            }
        }
        if !hit {
            break;
        }
    }
    println!("{failed} failed, {made} made");
    assert!(failed > 30 && made > 1, "{failed} failed, {made} made");
}

#[test]
fn does_a_full_disk_leave_the_former_and_nothing_beside_it() {
    let how = BackupOptions::new().copy(true);
    let (disk, log, former, next) = behind(1, &how);
    let used = disk.used_bytes();
    let mut refused = 0;
    for room in (0..).step_by(97) {
        disk.set_capacity(Some(disk.used_bytes().max(used) + room));
        let made = log.backup_with(TO, &how);
        disk.set_capacity(None);
        let Err(error) = made else {
            break;
        };
        refused += 1;
        check_failed(&disk, &error, &[ErrorKind::NoSpace], (&former, &next));
    }
    assert_eq!(Was::opened(&disk), next);
    assert!(refused > 3, "{refused}");
    fill(&log, 1);
}

pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One change of a log, of any kind.
fn change(disk: &SimFs, attic: &Attic, log: &Log, dice: &mut Dice) {
    let (head, next) = (log.head_seq(), log.next_seq());
    match dice.below(13) {
        0..=4 => fill(log, 1 + dice.below(8)),
        5 => log.rotate().unwrap(),
        6 => {
            let how = CompactOptions::new().rate_bytes_per_s(None);
            log.compact(&how).unwrap();
        }
        7 => log.trim(head + dice.below(next - head + 1) / 2).unwrap(),
        8 => log
            .rewind(next - dice.below((next - head).min(9) + 1))
            .unwrap(),
        9 => {
            let name = ["one", "two"][dice.below(2) as usize];
            drop(log.consumer(name).unwrap());
            let to = head + dice.below(log.durable_seq() - head + 1);
            log.set_cursor(name, to).unwrap();
        }
        10 => {
            let name = ["one", "two"][dice.below(2) as usize];
            log.delete_cursor(name).ok();
        }
        11 => {
            let here = attic.take(disk, log);
            let count = dice.below(here.len() as u64 + 1) as usize;
            attic.release(disk, log, count);
        }
        _ => log.set_mark("vote", next.to_le_bytes()).unwrap(),
    }
    if dice.below(2) == 0 {
        settle(log);
    }
}

pub(super) fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Whatever happened to the log between two backups, the second is the log as it is then; also after a power cut.
#[test]
fn is_it_the_log_after_any_history() {
    let (count, seed) = (number("CAIRN_BACKUPS", 25), number("CAIRN_SEED", 1));
    let (mut kept, mut far) = (0, 0);
    for seed in seed..seed + count {
        let _context = crate::Context::new(|| format!("CAIRN_SEED={seed}"));
        let mut dice = Dice(seed);
        let (mut disk, attic) = (SimFs::new(seed), Attic::new());
        let mut log = on(&disk).far_segments(attic.clone()).open("/log").unwrap();
        let mut former: Option<Was> = None;
        for _ in 0..6 {
            (0..1 + dice.below(8)).for_each(|_| change(&disk, &attic, &log, &mut dice));
            far += u64::from(log.stats().far_bytes > 0);
            let (next, start) = (Was::of(&log), disk.op_count());
            let report = log.backup(TO).unwrap();
            kept += report.kept_count;
            assert_eq!(Was::opened(&disk.snapshot()), next);
            if let Some(was) = former.as_ref().filter(|_| dice.below(3) == 0) {
                // The power goes in the midst of it, and all goes on from there.
                let op = start + dice.below(disk.op_count() - start + 1);
                drop(log);
                disk = disk.crash_at(op).random(dice.below(1 << 30));
                let found = Was::opened(&disk.snapshot());
                assert!([was, &next].contains(&&found), "neither: {found:?}");
                log = on(&disk).far_segments(attic.clone()).open("/log").unwrap();
                assert_eq!(Was::of(&log), next);
                log.backup(TO).unwrap();
                assert_eq!(Was::opened(&disk.snapshot()), next);
            }
            former = Some(next);
        }
    }
    println!(
        "{count} histories: {kept} segments were kept, and {far} backups made of a log with far ones"
    );
    assert!(kept > count, "{kept} segments were kept");
    assert!(far > count / 2, "{far} had far segments");
}
