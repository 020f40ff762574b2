//! Power cuts at every operation while large values are written, two at a time: each is there whole or not at all, and
//! what was told to be durable is there.

use crate::history::{DIR, options};
use cairnlog::{
    AppendOptions, Durability, LargeWriter, Log, Options, Result, Seq,
    vfs::sim::{Errno, Fault, FaultRule, SimFs},
};
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

const STATES: u64 = 60;

/// A value that was to be finished: what the disk had done before and after, and its number if that was told.
struct Told {
    ops: std::ops::Range<u64>,
    seq: Option<Seq>,
    durable: bool,
    value: Vec<u8>,
}

fn bytes(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|at| (at as u8).wrapping_mul(seed)).collect()
}

fn small(disk: &SimFs) -> Options {
    let options = options(1024).record_bytes_max(100);
    options.vfs(Arc::new(disk.clone()))
}

struct Histories {
    disk: SimFs,
    log: Log,
    told: Vec<Told>,
}

impl Histories {
    fn begin(&self, level: Durability) -> Result<LargeWriter> {
        let how = AppendOptions::new().durability(level);
        self.log.large_writer(&how)
    }

    fn finish(&mut self, mut writer: LargeWriter, level: Durability, value: &[u8]) -> Result<()> {
        let before = self.disk.op_count();
        let finished = writer.finish();
        self.told.push(Told {
            ops: before..self.disk.op_count(),
            seq: finished.as_ref().ok().copied(),
            durable: finished.is_ok() && level == Durability::Durable,
            value: value.to_vec(),
        });
        finished.map(drop)
    }

    /// Two that are written by turns, one that is given up, one of a single piece, one that nothing syncs.
    fn all(&mut self) -> io::Result<()> {
        let level = Durability::Durable;
        let (one, two) = (bytes(3, 500), bytes(5, 300));
        let (three, four) = (bytes(7, 40), bytes(9, 500));
        let (mut first, mut second) = (self.begin(level)?, self.begin(level)?);
        let mut given_up = self.begin(level)?;
        for (one, two) in one.chunks(50).zip(two.chunks(30)) {
            first.write_all(one)?;
            second.write_all(two)?;
            given_up.write_all(one)?;
        }
        self.finish(second, level, &two)?;
        self.log.append("something else")?;
        self.finish(first, level, &one)?;
        let mut third = self.begin(level)?;
        third.write_all(&three)?;
        self.finish(third, level, &three)?;
        let level = Durability::Written;
        let mut fourth = self.begin(level)?;
        fourth.write_all(&four)?;
        self.finish(fourth, level, &four)?;
        Ok(())
    }
}

fn histories(disk: &SimFs) -> Histories {
    let log = small(disk).open(DIR).unwrap();
    let (disk, told) = (disk.clone(), Vec::new());
    Histories { disk, log, told }
}

fn visible(log: &Log) -> Vec<(Seq, Vec<u8>)> {
    let records = log.scan(..).unwrap();
    let values = records.filter_map(|record| log.large_of(&record.unwrap()).unwrap());
    let all = values.map(|mut value| {
        let mut bytes = Vec::new();
        value.read_to_end(&mut bytes).unwrap();
        (value.seq(), bytes)
    });
    all.collect()
}

/// What a disk shows after a crash behind so many operations.
fn check(disk: &SimFs, told: &[Told], ops: u64) {
    let log = small(disk).open(DIR).unwrap();
    let shown = visible(&log);
    for it in told.iter().filter(|it| it.durable && it.ops.end <= ops) {
        let expected = (it.seq.unwrap(), it.value.clone());
        assert!(shown.contains(&expected), "{:?} is gone", it.seq);
    }
    for (seq, value) in &shown {
        let is_it = |it: &&Told| it.ops.start <= ops && &it.value == value;
        let of = told
            .iter()
            .find(is_it)
            .expect("whole, and to be finished by then");
        assert!(
            of.seq.is_none_or(|told| told == *seq),
            "{seq} is not {:?}",
            of.seq
        );
    }
    let numbers = shown.iter().map(|(seq, _)| *seq);
    assert!(numbers.is_sorted_by(|one, two| one < two));
    // The log goes on, and what was not finished stays unseen.
    let value = bytes(11, 400);
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    writer.write_all(&value).unwrap();
    let seq = writer.finish().unwrap();
    let mut expected = shown;
    expected.push((seq, value));
    assert_eq!(visible(&log), expected);
}

#[test]
fn is_a_large_value_whole_or_not_there_after_every_crash() {
    let disk = SimFs::new(1);
    let mut histories = histories(&disk);
    histories.all().unwrap();
    assert_eq!(
        visible(&histories.log).len(),
        3,
        "the fourth is only written"
    );
    let mut states = 0;
    for op in 0..=disk.op_count() {
        let cut = disk.crash_at(op);
        for (choice, after) in cut.all(STATES) {
            let _context = crate::Context::new(|| format!("op {op}\n{}", cut.describe(&choice)));
            check(&after.snapshot(), &histories.told, op);
            states += 1;
        }
    }
    assert!(states > 1_000, "{states} states");
}

/// The same with each call refused once: what was not told to be there may be there all the same, but whole.
#[test]
fn is_a_large_value_whole_or_not_there_after_every_error() {
    let whole = SimFs::new(1);
    let mut histories_of = histories(&whole);
    let before = whole.call_count();
    histories_of.all().unwrap();
    drop(histories_of);
    let calls = whole.call_count() - before;
    let mut refused = 0;
    for errno in [Errno::Eio, Errno::Enospc] {
        for nth in 0..calls {
            let disk = SimFs::new(1);
            let mut tried = histories(&disk);
            disk.fail(FaultRule::nth_call(nth, Fault::Error(errno)));
            refused += u64::from(tried.all().is_err());
            disk.clear_faults();
            let Histories { log, told, .. } = tried;
            drop(log);
            let _context = crate::Context::new(|| format!("{errno:?} at call {nth}"));
            check(&disk, &told, u64::MAX);
        }
    }
    assert!(refused > 20, "{refused} were refused");
}
