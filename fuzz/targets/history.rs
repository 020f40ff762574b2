//! A whole history with crashes: whatever happens, what was acknowledged as durable is there, what is
//! there is an exact prefix, and nothing that failed for certain comes back.
#![no_main]
use arbitrary::Arbitrary;
use cairnlog::{
    AppendOptions, CompactOptions, Durability, ErrorKind, Log, NewRecord,
    vfs::sim::SimFs,
};
use std::{collections::BTreeMap, sync::Arc};

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
}

#[derive(Default)]
struct Model {
    /// What was appended and not rewound, by seq.
    records: BTreeMap<u64, Vec<u8>>,
    head: u64,
    next: u64,
    durable: u64,
}

libfuzzer_sys::fuzz_target!(|input: (u64, Vec<Op>)| {
    let (seed, ops) = input;
    let mut disk = SimFs::new(seed);
    let mut log = Some(open(&disk));
    let mut model = Model::default();
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
            }
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
            let reopened = open(&disk);
            check(&reopened, &mut model);
            log = Some(reopened);
        }
    }
});

fn open(disk: &SimFs) -> Log {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(1024)
        .background(false)
        .publish(false)
        .open("log")
        .expect("no crash makes a log unopenable")
}

fn append(log: &Log, model: &mut Model, count: u8, size: u8, level: u8) {
    let level = [Durability::Durable, Durability::Written, Durability::Buffered][level as usize];
    let values: Vec<Vec<u8>> = (0..u64::from(count))
        .map(|n| (0..u64::from(size)).map(|at| ((model.next + n) * 7 + at) as u8).collect())
        .collect();
    let record = |value| match key_of(value) {
        Some(key) => NewRecord::keyed(key, value),
        None => NewRecord::value(value),
    };
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

/// The first byte of a value tells its key, if it has a first byte.
fn key_of(value: &[u8]) -> Option<&'static str> {
    let number = usize::from(*value.first()?) % 4;
    Some(["a", "b", "c", "d"][number])
}

impl Model {
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
    model.next = end;
    model.durable = end;
    let found: BTreeMap<u64, Vec<u8>> =
        log.scan(..).unwrap().map(|r| r.unwrap()).map(|r| (r.seq(), r.to_vec())).collect();
    let kept = model.records.split_off(&model.head);
    model.records = kept;
    assert_eq!(found, model.records);
}
