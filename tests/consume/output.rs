//! Is what a queue's worker appends there if and only if its record is done?

use crate::{filled, kind, lost, on, sim};
use cairnlog::{
    AppendOptions, Backoff, ErrorKind, Lease, Log, NewRecord, Options, Producer, Queue,
    QueueOptions, Result,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{collections::BTreeSet, time::Duration};

const JOBS: u64 = 4;

fn queue(log: &Log) -> Queue {
    let consumer = log.consumer("work").unwrap();
    consumer.into_queue(QueueOptions::new()).unwrap()
}

fn all(queue: &Queue) -> Vec<Lease> {
    queue.next_batch(JOBS as usize, Duration::ZERO).unwrap()
}

/// Appends the output of a record.
fn put(lease: Lease) -> Result<std::ops::Range<u64>> {
    let output = format!("output of {}", lease.record().seq());
    lease.append(&[NewRecord::value(&output)], &AppendOptions::new())
}

/// The jobs whose output is there; a panic if one is there twice.
fn outputs(log: &Log) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for record in log.scan(..).unwrap() {
        let value = String::from_utf8(record.unwrap().to_vec()).unwrap();
        if let Some(seq) = value.strip_prefix("output of ") {
            assert!(found.insert(seq.parse().unwrap()), "{value} twice");
        }
    }
    found
}

/// The jobs that are to be done, by a queue that is opened for it.
fn open(log: &Log) -> BTreeSet<u64> {
    let leases = all(&queue(log));
    let seqs = leases.iter().map(|lease| lease.record().seq());
    seqs.filter(|seq| *seq < JOBS).collect()
}

fn check(disk: &SimFs) -> BTreeSet<u64> {
    let log = on(disk).open("/log").unwrap();
    let (outputs, open) = (outputs(&log), open(&log));
    assert!(
        outputs.is_disjoint(&open),
        "{outputs:?} are there and {open:?} open"
    );
    // Whoever does the rest completes it.
    let dealt = queue(&log);
    for lease in all(&dealt).into_iter().rev() {
        if lease.record().seq() < JOBS {
            put(lease).unwrap();
        } else {
            lease.ack().unwrap();
        }
    }
    let told = self::outputs(&log);
    assert_eq!(&told | &acked(), (0..JOBS).collect());
    outputs
}

/// The job that is acknowledged without output.
fn acked() -> BTreeSet<u64> {
    BTreeSet::from([1])
}

fn history(options: &Options) -> Log {
    let log = filled(options, JOBS);
    let dealt = queue(&log);
    let mut leases = all(&dealt);
    assert_eq!(put(leases.remove(2)).unwrap(), 4..5, "the others are below");
    leases.remove(1).ack().unwrap();
    assert_eq!(put(leases.remove(1)).unwrap(), 5..6);
    assert_eq!(dealt.seq(), 0);
    assert_eq!(put(leases.remove(0)).unwrap(), 6..7);
    assert_eq!(dealt.seq(), 4);
    log
}

/// Only a consumer could append output together with its position: a queue's worker appended first, and its
/// job was done twice, or acknowledged first, and it was done without output.
#[test]
fn does_every_crash_leave_a_job_open_or_its_output_there() {
    let (disk, options) = sim();
    drop(history(&options));
    let (mut states, mut seen) = (0, BTreeSet::new());
    for op in disk.first_op()..=disk.op_count() {
        let cut = disk.crash_at(op);
        for (_, state) in cut.all(60) {
            if state
                .read_file("/log/cursors/00000000000000000001.cur".as_ref())
                .is_none()
            {
                continue; // The jobs are not all there yet.
            }
            states += 1;
            seen.insert(check(&state));
        }
    }
    let told: [&[u64]; 4] = [&[], &[2], &[2, 3], &[0, 2, 3]];
    let told: BTreeSet<BTreeSet<u64>> =
        told.iter().map(|it| it.iter().copied().collect()).collect();
    assert_eq!(seen, told);
    assert!(states > 100, "{states}");
}

#[test]
fn is_output_once_whoever_is_late_and_whatever_fails() {
    let (disk, options) = sim();
    let log = filled(&options, 3);
    let consumer = log.consumer("work").unwrap();
    let term = Duration::from_secs(9);
    let dealt = consumer
        .into_queue(QueueOptions::new().lease(term).backoff(Backoff::none()))
        .unwrap();
    let mut slow = all(&dealt);
    disk.advance(term);
    let mut again = all(&dealt);
    assert_eq!(again.len(), 3);
    // The first of the two wins, and the second is told.
    assert_eq!(put(slow.remove(1)).unwrap(), 3..4);
    assert_eq!(kind(put(again.remove(1))), ErrorKind::Duplicate);
    // An acknowledgement is as good.
    again.remove(1).ack().unwrap();
    assert_eq!(kind(put(slow.remove(1))), ErrorKind::Duplicate);
    let mut last = again.remove(0);
    // What fails leaves the job open, and promises nothing to what follows.
    let full = FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc));
    for rule in [full.clone().on("/log/00000000000000000001.seg"), full] {
        disk.fail(rule.for_ever());
        assert_eq!(kind(put(last)), ErrorKind::NoSpace);
        disk.clear_faults();
        last = dealt.try_next().unwrap().expect("given again");
        assert_eq!(last.record().seq(), 0);
    }
    drop(last);
    assert_eq!(
        open_after(&lost(&disk)),
        [0, 3],
        "and the output, a job too"
    );
    let by = Producer {
        id: 1,
        epoch: 0,
        number: 0,
    };
    let named = dealt.try_next().unwrap().unwrap();
    let named = named.append(&[NewRecord::value("x")], &AppendOptions::new().producer(by));
    assert_eq!(kind(named), ErrorKind::InvalidInput);
    let none = dealt.try_next().unwrap().unwrap();
    assert_eq!(none.append(&[], &AppendOptions::new()).unwrap(), 4..4);
    assert_eq!(dealt.seq(), 3);
    assert_eq!(outputs(&log), BTreeSet::from([1]));
}

fn open_after(disk: &SimFs) -> Vec<u64> {
    open(&on(disk).open("/log").unwrap()).into_iter().collect()
}

/// A cursor's file that promises something to a move, and a move that comes of something else.
#[test]
fn does_a_move_complete_only_what_was_promised_to_it() {
    let (disk, options) = sim();
    let log = filled(&options, JOBS);
    let dealt = queue(&log);
    let mut leases = all(&dealt);
    // The power goes between the promise and the move.
    disk.fail(
        FaultRule::nth(OpKind::Write, 1, Fault::Error(Errno::Enospc))
            .on("/log/00000000000000000001.seg"),
    );
    assert_eq!(kind(put(leases.remove(2))), ErrorKind::NoSpace);
    leases.remove(1).ack().unwrap();
    drop((leases, dealt));
    let consumer = log.consumer("work").unwrap();
    consumer
        .append(&[NewRecord::value("bill")], 0, &AppendOptions::new())
        .unwrap();
    let after = disk.crash_at(u64::MAX).state(&Choice::lost());
    assert_eq!(open_after(&after), [2, 3]);
}

/// A backup of a moment between the two would have the output, and the job open.
#[test]
fn does_a_backup_have_the_output_and_the_job_done() {
    let (disk, options) = sim();
    let log = filled(&options, JOBS);
    let dealt = queue(&log);
    let mut leases = all(&dealt);
    put(leases.remove(2)).unwrap();
    log.backup("/copy").unwrap();
    let copy = on(&disk).open("/copy").unwrap();
    assert_eq!(open(&copy), BTreeSet::from([0, 1, 3]));
    assert_eq!(outputs(&copy), BTreeSet::from([2]));
}
