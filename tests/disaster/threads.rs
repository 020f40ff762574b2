//! Power cuts while threads append and the worker works: the schedule is the real one and differs
//! from run to run, the promise does not.

use crate::history::DIR;
use cairnlog::{
    AppendOptions, Durability, Log, NewRecord, Options, Seq,
    vfs::sim::{Choice, SimFs},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const THREADS: u64 = 3;
const APPENDS: u64 = 40;

/// An acknowledgement: how many operations the disk had seen when it was given, the seq, the value.
type Ack = (u64, Seq, String);

fn run(disk: &SimFs, options: &Options) -> Vec<Ack> {
    let log = options
        .clone()
        .vfs(Arc::new(disk.clone()))
        .open(DIR)
        .unwrap();
    let acks = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, acks) = (&log, &acks);
            scope.spawn(move || {
                for number in 0..APPENDS {
                    let value = format!("{thread} {number} {}", "x".repeat(number as usize * 2));
                    let level = match (thread + number) % 4 {
                        0 => Durability::Written,
                        1 => Durability::Buffered,
                        _ => Durability::Durable,
                    };
                    let how = AppendOptions::new().durability(level);
                    let seqs = log
                        .append_records(&[NewRecord::value(&value)], &how)
                        .unwrap();
                    if level == Durability::Durable {
                        acks.lock()
                            .unwrap()
                            .push((disk.op_count(), seqs.start, value));
                    }
                    // The worker's clock is the disk's.
                    disk.advance(Duration::from_micros(300));
                }
            });
        }
    });
    log.close().unwrap();
    acks.into_inner().unwrap()
}

/// Everything that was acknowledged by then is there, and what is there is what was appended: dense,
/// each thread's in its order, each once.
fn check(disk: SimFs, options: &Options, acks: &[Ack], op: u64) {
    let options = options.clone().vfs(Arc::new(disk)).background(false);
    let log = options.open(DIR).unwrap();
    let mut next = [0; THREADS as usize];
    let mut found = BTreeMap::new();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let value = String::from_utf8(record.to_vec()).unwrap();
        let words: Vec<u64> = value
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        let (thread, number) = (words[0] as usize, words[1]);
        assert_eq!(number, next[thread], "thread {thread}");
        next[thread] += 1;
        assert_eq!(record.seq(), found.len() as u64);
        found.insert(record.seq(), value);
    }
    for (_, seq, value) in acks.iter().filter(|(at, ..)| *at <= op) {
        assert_eq!(found.get(seq), Some(value), "seq {seq} was acknowledged");
    }
}

fn storm(segment_bytes: u64, seed: u64) -> u64 {
    let options = Log::options()
        .segment_bytes(segment_bytes)
        .direct_writes(seed % 2 == 1)
        .buffer_bytes(400)
        .buffer_interval(Duration::from_millis(1))
        .idle_watermark(Some(Duration::from_millis(2)));
    let disk = SimFs::new(seed);
    let acks = run(&disk, &options);
    let mut states = 0;
    for op in 0..=disk.op_count() {
        let cut = disk.crash_at(op);
        let extremes = [Choice::lost(), Choice::kept(cut.effect_count())];
        for choice in extremes
            .into_iter()
            .chain((0..3).map(|seed| cut.choose(seed)))
        {
            let _context = crate::Context::new(|| format!("op {op}\n{}", cut.describe(&choice)));
            check(cut.state(&choice), &options, &acks, op);
            states += 1;
        }
    }
    states
}

#[test]
fn power_cuts_among_threads_lose_nothing_acknowledged() {
    let states: u64 = (0..4)
        .map(|seed| storm([600, 1024, 4096, 1 << 18][seed], seed as u64))
        .sum();
    println!("{states} states");
    assert!(states > 1_000, "{states}");
}
