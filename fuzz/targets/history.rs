//! A whole history with crashes: whatever happens, what was acknowledged as durable is there, what is
//! there is an exact prefix, and nothing that failed for certain comes back. In every other one appends are packed, of
//! records and batches large enough for it.
#![no_main]
use arbitrary::Arbitrary;
use cairnlog::{
    AppendOptions, CompactOptions, Compression, Durability, ErrorKind, Log, NewRecord, Producer,
    vfs::sim::SimFs,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

#[derive(Arbitrary, Debug)]
enum Op {
    Append { size: u8, level: u8 },
    Batch { count: u8, size: u8 },
    Sync,
    Rotate,
    Maintain,
    Compact,
    Trim { back: u8 },
    Rewind { back: u8 },
    Reopen,
    Kill,
    PowerLoss { seed: u64 },
    /// An append under the next number of a producer, or once more under a late one.
    Named { back: u8, level: u8 },
    Ack { ahead: u8 },
    /// Appends what came of the next record, and moves past it.
    Output,
}

#[derive(Default)]
struct Model {
    /// Whether appends are packed.
    packs: bool,
    /// What was appended and not rewound, by seq.
    records: BTreeMap<u64, Vec<u8>>,
    head: u64,
    next: u64,
    durable: u64,
    /// The numbers of the producer's appends that are there, and their seqs.
    named: Vec<(u64, Range<u64>)>,
    /// Where the cursor was stored, if it is there; and the seq of each output since, with where it went.
    cursor: Option<u64>,
    moves: Vec<(u64, u64)>,
}

libfuzzer_sys::fuzz_target!(|input: (u64, Vec<Op>)| {
    let (seed, ops) = input;
    let mut disk = SimFs::new(seed);
    let mut model = Model { packs: seed % 2 == 1, ..Model::default() };
    let mut log = Some(open(&disk, &model));
    for op in ops.into_iter().take(64) {
        let Some(open_log) = &log else { break };
        match op {
            Op::Append { size, level } => append(open_log, &mut model, 1, size, level % 3),
            Op::Batch { count, size } => append(open_log, &mut model, count % 8, size, 0),
            Op::Sync => {
                model.durable = open_log.sync().unwrap();
                assert_eq!(model.durable, model.next);
            }
            Op::Rotate => open_log.rotate().unwrap(),
            Op::Maintain => drop(open_log.maintain().unwrap()),
            Op::Compact => {
                // All records are compared: what is superseded then is known.
                model.durable = open_log.sync().unwrap();
                open_log.rotate().unwrap();
                let how = CompactOptions::new().rate_bytes_per_s(None);
                open_log.compact(&how).unwrap();
                model.compacted();
            }
            Op::Trim { back } => {
                let to = model.next.saturating_sub(back.into());
                open_log.trim(to).unwrap();
                model.head = model.head.max(to);
                // Trimming what is not durable yet makes it so; otherwise it needs no sync.
                model.durable = model.durable.max(to);
            }
            Op::Rewind { back } => {
                let to = model.next.saturating_sub(back.into()).max(model.head);
                open_log.rewind(to).unwrap();
                model.records.split_off(&to);
                model.durable = model.next;
                model.undone(to);
            }
            Op::Named { back, level } => named(open_log, &mut model, (back % 8).into(), level % 3),
            Op::Ack { ahead } => consume(open_log, &mut model, |log, model, consumer| {
                let seq = consumer.seq() + u64::from(ahead);
                if seq < log.durable_seq() {
                    consumer.ack(seq).unwrap();
                    model.cursor = Some(seq + 1);
                }
            }),
            Op::Output => consume(open_log, &mut model, |log, model, consumer| {
                let seq = consumer.seq();
                if seq < log.durable_seq() {
                    let output = consumer.append(&[record(b"output")], seq, &AppendOptions::new());
                    assert_eq!(output.unwrap(), model.next..model.next + 1);
                    model.moves.push((model.next, seq + 1));
                    model.records.insert(model.next, b"output".to_vec());
                    model.next += 1;
                    model.durable = model.next;
                }
            }),
            Op::Reopen => {
                open_log.close().unwrap();
                log = None;
                model.durable = model.next;
            }
            Op::Kill => {
                // The handle of the dead process can do nothing any more.
                let after = disk.kill();
                log = None;
                disk = after;
            }
            Op::PowerLoss { seed } => {
                let after = disk.reboot(seed);
                disk.power_cut();
                log = None;
                disk = after;
            }
        }
        if log.is_none() {
            let reopened = open(&disk, &model);
            check(&reopened, &mut model);
            log = Some(reopened);
        }
    }
});

fn open(disk: &SimFs, model: &Model) -> Log {
    let options = Log::options().vfs(Arc::new(disk.clone())).background(false).publish(false);
    let options = match model.packs {
        true => options.segment_bytes(16 * 1024).pack_appends(Compression::Lz4),
        false => options.segment_bytes(1024),
    };
    options.open("log").expect("no crash makes a log unopenable")
}

fn append(log: &Log, model: &mut Model, count: u8, size: u8, level: u8) {
    let level = [Durability::Durable, Durability::Written, Durability::Buffered][level as usize];
    let bytes = u64::from(size) * if model.packs { 8 } else { 1 };
    let values: Vec<Vec<u8>> = (0..u64::from(count))
        .map(|n| (0..bytes).map(|at| ((model.next + n) * 7 + at) as u8).collect())
        .collect();
    let records: Vec<NewRecord> = values.iter().map(Vec::as_slice).map(record).collect();
    match log.append_records(&records, &AppendOptions::new().durability(level)) {
        Ok(seqs) => {
            assert_eq!(seqs, model.next..model.next + u64::from(count));
            model.records.extend(seqs.clone().zip(values));
            model.next = seqs.end;
            if level == Durability::Durable && count > 0 {
                model.durable = model.next;
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}"),
    }
}

fn record(value: &[u8]) -> NewRecord<'_> {
    match key_of(value) {
        Some(key) => NewRecord::keyed(key, value),
        None => NewRecord::value(value),
    }
}

fn by(number: u64) -> AppendOptions {
    AppendOptions::new().producer(Producer { id: 7, epoch: 1, number })
}

/// Appends under the next number, or asks for one of the last eight again and gets the same answer.
fn named(log: &Log, model: &mut Model, back: u64, level: u8) {
    let level = [Durability::Durable, Durability::Written, Durability::Buffered][level as usize];
    let next = model.named.last().map_or(0, |(number, _)| number + 1);
    let number = next.saturating_sub(back);
    let seqs = log.append_records(&[record(b"named")], &by(number).durability(level)).unwrap();
    match model.named.iter().find(|(known, _)| *known == number) {
        Some((_, original)) => assert_eq!(seqs, *original),
        None => {
            assert_eq!(seqs, model.next..model.next + 1);
            model.records.insert(model.next, b"named".to_vec());
            model.next = seqs.end;
            model.named.push((number, seqs.clone()));
        }
    }
    if level == Durability::Durable {
        assert!(log.durable_seq() >= seqs.end);
        model.durable = log.durable_seq();
    }
}

fn consume(log: &Log, model: &mut Model, what: impl Fn(&Log, &mut Model, &cairnlog::Consumer)) {
    let consumer = log.consumer("cursor").unwrap();
    assert_eq!(consumer.seq(), model.at().unwrap_or(model.head));
    // Opening it stores where it stands.
    model.cursor = Some(consumer.seq());
    model.moves.clear();
    what(log, model, &consumer);
}

/// The first byte of a value tells its key, if it has a first byte.
fn key_of(value: &[u8]) -> Option<&'static str> {
    let number = usize::from(*value.first()?) % 4;
    Some(["a", "b", "c", "d"][number])
}

impl Model {
    /// Where the cursor stands, if it is there.
    fn at(&self) -> Option<u64> {
        self.moves.last().map(|(_, to)| *to).or(self.cursor)
    }

    /// Appends at or above are not there, and what rode on them neither.
    fn undone(&mut self, end: u64) {
        // A rewind frees the numbers that are remembered: the log is not asked for others any more.
        if self.named.iter().any(|(_, seqs)| seqs.start >= end) {
            let kept = self.named.len().saturating_sub(8);
            self.named.drain(..kept);
        }
        self.named.retain(|(_, seqs)| seqs.start < end);
        self.moves.retain(|(seq, _)| *seq < end);
    }

    /// Only the newest record of each key is left.
    fn compacted(&mut self) {
        let keyed = self.records.iter().filter_map(|(seq, value)| Some((key_of(value)?, *seq)));
        let newest: BTreeMap<_, _> = keyed.collect();
        self.records.retain(|seq, value| key_of(value).is_none_or(|key| newest[key] == *seq));
    }
}

fn check(log: &Log, model: &mut Model) {
    let end = log.next_seq();
    assert!(end >= model.durable && end <= model.next, "{end} is not in {:?}", model.durable..=model.next);
    assert_eq!(log.head_seq(), model.head);
    model.records.split_off(&end);
    model.undone(end);
    for (number, seqs) in model.named.iter().rev().take(8) {
        let again = log.append_records(&[record(b"named")], &by(*number)).unwrap();
        assert_eq!(again, *seqs, "number {number}");
    }
    let found = log.cursors().unwrap();
    assert_eq!(found.first().map(|cursor| cursor.seq), model.at());
    model.next = end;
    model.durable = end;
    let found: BTreeMap<u64, Vec<u8>> =
        log.scan(..).unwrap().map(|r| r.unwrap()).map(|r| (r.seq(), r.to_vec())).collect();
    let kept = model.records.split_off(&model.head);
    model.records = kept;
    assert_eq!(found, model.records);
}
