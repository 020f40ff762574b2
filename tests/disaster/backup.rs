//! A backup that the power, a full disk or a failing call interrupts: it is no log, or it is whole.

use crate::{
    deeds::open_copy,
    history::{Run, options},
    steps::{Open, Rotate, Trim, batch, durable, written},
};
use cairnlog::{
    AppendOptions, BackupOptions, Durability, ErrorKind, Log, NewRecord, Options, Producer, Seq,
    vfs::{
        Vfs,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    },
};
use std::{path::Path, sync::Arc};

const TO: &str = "/backup";
/// States of one crash point.
const STATES: u64 = 160;

/// An open log of sealed segments, a head inside of one, and a tail that is not all durable.
fn subject(disk: SimFs) -> Run {
    let mut run = Run::new(disk, &options(640));
    run.steps(&[Open, durable(200), durable(200), Rotate, batch(&[100, 150])]);
    run.steps(&[
        Rotate,
        durable(90),
        Trim { keep: 4 },
        durable(40),
        written(20),
    ]);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    run
}

fn on(disk: &SimFs) -> Options {
    options(640).vfs(Arc::new(disk.clone()))
}

fn contents(log: &Log) -> Vec<(Seq, Vec<u8>)> {
    let each = log.scan(..).unwrap().map(|record| record.unwrap());
    each.map(|record| (record.seq(), record.to_vec())).collect()
}

/// True if what is there is the whole backup, and not none.
fn is_whole(disk: &SimFs, expected: &[(Seq, Vec<u8>)]) -> bool {
    let log = open_copy(disk, &options(640), TO);
    log.is_some_and(|log| {
        assert_eq!(contents(&log), expected);
        log.append("one more").is_ok()
    })
}

fn expected(run: &Run) -> Vec<(Seq, Vec<u8>)> {
    let log = run.log.as_ref().unwrap();
    let durable = contents(log);
    assert_eq!(
        durable.last().map(|(seq, _)| seq + 1),
        Some(log.durable_seq())
    );
    assert!(log.durable_seq() < log.next_seq());
    durable
}

#[test]
fn is_a_backup_whole_or_none_after_a_power_cut_at_any_operation() {
    for copy in [false, true] {
        let run = subject(SimFs::new(1));
        let (expected, start) = (expected(&run), run.disk.op_count());
        let how = BackupOptions::new().copy(copy);
        let log = run.log.as_ref().unwrap();
        let report = log.backup_with(TO, &how).unwrap();
        assert_eq!(
            (report.linked_count, report.copied_count),
            if copy { (0, 3) } else { (2, 1) }
        );
        let (mut none, mut whole) = (0, 0);
        for op in start..=run.disk.op_count() {
            let cut = run.disk.crash_at(op);
            for (choice, disk) in cut.all(STATES) {
                let _context =
                    crate::Context::new(|| format!("op {op}\n{}", cut.describe(&choice)));
                match is_whole(&disk, &expected) {
                    true => whole += 1,
                    false => none += 1,
                }
                // And the log itself is none the worse.
                let log = on(&disk).open("/log").unwrap();
                assert!(contents(&log).starts_with(&expected));
            }
        }
        println!("copy {copy}: {none} states without a backup, {whole} with");
        assert!(none > 50 && whole > 5, "{none} {whole}");
        // What was reported survives whatever comes.
        let lost = run.disk.crash_at(u64::MAX);
        assert!(lost.all(STATES).all(|(_, disk)| is_whole(&disk, &expected)));
    }
}

#[test]
fn does_a_full_disk_end_a_backup_and_nothing_else() {
    let run = subject(SimFs::new(1));
    let (log, expected, used) = (
        run.log.as_ref().unwrap(),
        expected(&run),
        run.disk.used_bytes(),
    );
    let (mut refused, mut number) = (0, 0);
    for room in (0..).step_by(97) {
        number += 1;
        let to = format!("/backup {number}");
        let used_now = run.disk.used_bytes();
        run.disk.set_capacity(Some(used_now + room));
        let made = log.backup_with(&to, &BackupOptions::new().copy(true));
        run.disk.set_capacity(None);
        match made {
            Ok(_) => {
                let copy = on(&run.disk).open(&to).unwrap();
                assert_eq!(contents(&copy), expected);
                break;
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                let error = on(&run.disk).open(&to).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged);
            }
        }
        // What is left of it is removed, as its documentation says.
        for entry in run.disk.list(Path::new(&to)).unwrap() {
            run.disk.remove(&Path::new(&to).join(entry.name)).unwrap();
        }
    }
    assert!(refused > 3, "{refused} of {number}, {used} bytes used");
    log.append("the log goes on").unwrap();
}

#[test]
fn does_a_failing_call_end_a_backup_or_find_another_way() {
    let (mut failed, mut made) = (0, 0);
    for call in 0.. {
        let run = subject(SimFs::new(1));
        let (log, expected) = (run.log.as_ref().unwrap(), expected(&run));
        run.disk
            .fail(FaultRule::nth_call(call, Fault::Error(Errno::Eio)));
        let result = log.backup(TO);
        let hit = run.disk.fault_count() > 0;
        run.disk.clear_faults();
        match result {
            Ok(_) => {
                made += 1;
                assert!(is_whole(&run.disk, &expected));
            }
            Err(error) => {
                failed += 1;
                // The second, where the reserve of the copy could not be synced before.
                let kinds = [ErrorKind::Io, ErrorKind::Poisoned];
                assert!(kinds.contains(&error.kind()), "{error}");
                assert!(
                    error.place().path.is_some() || error.place().segment.is_some(),
                    "{error}"
                );
            }
        }
        if !hit {
            break;
        }
    }
    // A link that fails is not an error: the file is copied.
    assert!(failed > 20 && made > 1, "{failed} failed, {made} made");
    let run = subject(SimFs::new(1));
    run.disk
        .fail(FaultRule::nth(OpKind::Link, 0, Fault::Error(Errno::Eio)));
    let report = run.log.as_ref().unwrap().backup(TO).unwrap();
    assert_eq!((report.linked_count, report.copied_count), (1, 2));
}

/// A rotation had stored the ledger for its new segment, and the commit that names the segment failed.
/// The stored ledger then knew an append that was written and not durable, the copy ended before it,
/// and its own ledger was refused as malformed.
#[test]
fn is_a_ledger_that_is_ahead_of_the_copy_cut_to_it() {
    let disk = SimFs::new(1);
    let log = on(&disk).open("/log").unwrap();
    let named = |number| {
        let producer = Producer {
            id: 7,
            epoch: 0,
            number,
        };
        AppendOptions::new().producer(producer)
    };
    let records = [NewRecord::value("named")];
    log.append_records(&records, &named(1)).unwrap();
    let only_written = named(2).durability(Durability::Written);
    log.append_records(&records, &only_written).unwrap();
    disk.fail(FaultRule::nth(OpKind::Rename, 0, Fault::Error(Errno::Eio)).on("MANIFEST"));
    log.rotate().unwrap_err();
    assert_eq!(log.durable_seq(), 1);
    let report = log.backup(TO).unwrap();
    assert_eq!(report.next_seq, 1);
    let copy = on(&disk).open(TO).unwrap();
    // What is in the copy is recognised, what is not is appended.
    assert_eq!(copy.append_records(&records, &named(1)).unwrap(), 0..1);
    assert_eq!(copy.append_records(&records, &named(2)).unwrap(), 1..2);
}
