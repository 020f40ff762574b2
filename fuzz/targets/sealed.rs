//! A directory with sealed and packed batches, changed by who can sum as well: whatever is done to its bytes, with
//! checksums that are right or not, nobody is shown a record that was not sealed there, with the right keys, with
//! another under the same number, with one missing, or with none.
//!
//! The input is a log, as it likes in the clear at first, packed (each append, and once sealed), resealed under another key, compacted; forgeries
//! of its sealed batches; then changes of files as of the target `directory`.
#![no_main]
mod common;

use arbitrary::Arbitrary;
use cairnlog::{
    AppendOptions, CompactOptions, Compression, ErrorKind, Key, KeyId, Keys, Log, NewRecord,
    Options, PackOptions, Producer, RepairOptions, ResealOptions, Salvaged, Seq,
    format::{
        BatchHeader, SegmentContext, SegmentHeader, StoredHead,
        batch::BATCH_HEADER_BYTES,
        header::HEADER_BYTES,
        record::{self, RecordParts},
        stored,
    },
    vfs::sim::SimFs,
};
use common::{Change, apply, value};
use std::{ops::Range, path::PathBuf, sync::Arc};

#[derive(Arbitrary, Debug)]
struct Input {
    sizes: Vec<u8>,
    /// So many of the records are in the clear, from before the log was sealed.
    clear_count: u8,
    pack: bool,
    reseal: bool,
    compact: bool,
    close: bool,
    forgeries: Vec<Forgery>,
    changes: Vec<Change>,
}

/// What is done to a sealed batch, with checksums that are right.
#[derive(Arbitrary, Debug)]
struct Forgery {
    batch: u8,
    how: How,
}

#[derive(Arbitrary, Debug)]
enum How {
    /// Its body, patched.
    Body { offset: u16, bytes: Vec<u8> },
    /// Its header says something else.
    Header {
        seq_delta: i8,
        count: u8,
        sparse: bool,
        durable: bool,
    },
    /// The body of another batch.
    Of { batch: u8 },
    /// Records in the clear in its place.
    Clear { byte: u8, count: u8, sparse: bool },
}

/// The keys of the log, as it is read with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Having {
    Right,
    OneOfTwo,
    Wrong,
    None,
}

const DIR: &str = "log";

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

fn options(disk: &SimFs, having: Having) -> Options {
    let options = Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(640)
        .background(false);
    match having {
        Having::Right => options.keys(Keys::new(KeyId(2), key(2)).with(KeyId(1), key(1))),
        Having::OneOfTwo => options.keys(Keys::new(KeyId(2), key(2))),
        Having::Wrong => options.keys(Keys::new(KeyId(2), key(9)).with(KeyId(1), key(8))),
        Having::None => options,
    }
}

/// As it is written: with appends that are packed, as the input likes.
fn written(options: Options, input: &Input) -> Options {
    match input.pack {
        true => options
            .segment_bytes(16 * 1024)
            .pack_appends(Compression::Lz4),
        false => options,
    }
}

/// Appends one record for each size, from a seq on.
fn fill(log: &Log, sizes: &[u64], seqs: Range<u64>) {
    for seq in seqs {
        let (key, value) = ([b'a' + (seq % 5) as u8], value(seq, sizes[seq as usize]));
        let by = Producer {
            id: seq % 2,
            epoch: 0,
            number: seq,
        };
        let (record, how) = match seq % 3 {
            0 => (NewRecord::keyed(&key, &value), AppendOptions::new()),
            1 => (NewRecord::value(&value), AppendOptions::new().producer(by)),
            _ => (
                NewRecord::value(&value).timestamp_ms(seq as i64),
                AppendOptions::new(),
            ),
        };
        log.append_records(&[record], &how).unwrap();
    }
}

/// The log, and the seq from which on everything is sealed.
fn build(disk: &SimFs, input: &Input, sizes: &[u64]) -> Seq {
    let end = sizes.len() as u64;
    let clear_end = u64::from(input.clear_count % 16).min(end);
    let half = clear_end + (end - clear_end) / 2;
    if clear_end > 0 {
        let clear = options(disk, Having::None);
        let log = written(clear, input).open(DIR).unwrap();
        fill(&log, sizes, 0..clear_end);
        log.close().unwrap();
    }
    let only_one = options(disk, Having::None).keys(Keys::new(KeyId(1), key(1)));
    let log = written(only_one, input).open(DIR).unwrap();
    fill(&log, sizes, clear_end..half);
    log.close().unwrap();
    let both = options(disk, Having::Right);
    let log = written(both, input).open(DIR).unwrap();
    fill(&log, sizes, half..end);
    if input.pack || input.reseal || input.compact {
        log.rotate().unwrap();
    }
    if input.pack {
        log.pack(&PackOptions::new(Compression::Lz4).rate_bytes_per_s(None))
            .unwrap();
    }
    if input.reseal {
        log.reseal(&ResealOptions::new().rate_bytes_per_s(None))
            .unwrap();
    }
    if input.compact {
        log.compact(&CompactOptions::new().rate_bytes_per_s(None))
            .unwrap();
    }
    if input.close {
        log.close().unwrap();
    }
    if input.reseal { 0 } else { clear_end }
}

/// A sealed batch: its file, what it is bound to, where it starts, its header.
type Sealed = (PathBuf, SegmentContext, u64, BatchHeader);

fn sealed_batches(disk: &SimFs) -> Vec<Sealed> {
    let mut found = Vec::new();
    for path in disk.files() {
        let bytes = disk.read_file(&path).unwrap_or_default();
        let Ok(header) = SegmentHeader::decode(&bytes) else {
            continue;
        };
        let (context, mut at) = (header.context(), HEADER_BYTES);
        while let Ok(batch) = BatchHeader::decode(&bytes[at..], &context, at as u64) {
            let end = at + batch.batch_bytes() as usize;
            let Some(body) = bytes.get(at + BATCH_HEADER_BYTES..end) else {
                break;
            };
            let head = batch
                .packed
                .then(|| StoredHead::decode(body, &batch, &context, at as u64));
            if let Some(Ok(StoredHead::Sealed(_))) = head {
                found.push((path.clone(), context, at as u64, batch));
            }
            at = end;
        }
    }
    found
}

fn forge(disk: &SimFs, batches: &[Sealed], forgery: &Forgery) {
    let pick = |number: u8| batches.get(usize::from(number) % batches.len().max(1));
    let Some((path, context, offset, header)) = pick(forgery.batch) else {
        return;
    };
    let body_at = *offset as usize + BATCH_HEADER_BYTES;
    let body_bytes = header.body_bytes as usize;
    let mut header = *header;
    let Some(mut file) = disk.read_file(path) else {
        return;
    };
    let mut body = file[body_at..body_at + body_bytes].to_vec();
    match &forgery.how {
        How::Body { offset, bytes } => {
            let start = usize::from(*offset).min(body_bytes);
            let end = (start + bytes.len()).min(body_bytes);
            body[start..end].copy_from_slice(&bytes[..end - start]);
        }
        How::Header {
            seq_delta,
            count,
            sparse,
            durable,
        } => {
            let first_seq = header.first_seq.saturating_add_signed((*seq_delta).into());
            header.first_seq = first_seq.max(context.base_seq);
            header.durable_seq = if *durable { header.first_seq } else { 0 };
            header.count = header.count.wrapping_add((*count).into()).clamp(1, 1000);
            header.sparse ^= *sparse;
        }
        How::Of { batch } => {
            let Some((path, _, offset, other)) = pick(*batch) else {
                return;
            };
            let start = *offset as usize + BATCH_HEADER_BYTES;
            let other = start..start + (other.body_bytes as usize).min(body_bytes);
            let foreign = disk.read_file(path).unwrap_or_default();
            body[..other.len()].copy_from_slice(&foreign[other]);
        }
        How::Clear {
            byte,
            count,
            sparse,
        } => {
            let count = u32::from(*count % 8).max(1);
            let head_bytes = record::RECORD_BYTES_MIN + if *sparse { 4 } else { 0 };
            body.clear();
            for number in 0..count {
                let delta = if *sparse { number * 2 } else { number };
                // The last one fills what is left, so that what follows is where it was.
                let left = (body_bytes - body.len()) / (count - number) as usize;
                let Some(value_bytes) = left.checked_sub(head_bytes) else {
                    return;
                };
                let value = vec![*byte; value_bytes];
                let parts = RecordParts {
                    key: None,
                    value: Some(&value),
                    timestamp_ms: None,
                    producer: None,
                };
                let (seq, delta) = (header.first_seq + u64::from(delta), sparse.then_some(delta));
                record::encode(&mut body, context.salt, seq, delta, &parts);
            }
            header = BatchHeader {
                count,
                sparse: *sparse,
                packed: false,
                ..header
            };
        }
    }
    if header.packed {
        stored::sum(&mut body, context, *offset);
    }
    file[*offset as usize..body_at].copy_from_slice(&header.encode(context, *offset));
    file[body_at..body_at + body.len()].copy_from_slice(&body);
    disk.write_file(path, &file);
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    // What is packed has to be worth it.
    let scale = if input.pack { 24 } else { 1 };
    let sizes = input.sizes.iter().take(40);
    let sizes: Vec<u64> = sizes.map(|size| u64::from(*size) * scale).collect();
    let disk = SimFs::new(1);
    let sealed_from = build(&disk, &input, &sizes);
    let disk = disk.kill();
    let batches = sealed_batches(&disk);
    // What was in the clear may be sealed with the rest: of that anybody may take the seal off.
    let may_change = batches
        .iter()
        .any(|(.., batch)| batch.first_seq < sealed_from);
    let check_from = if may_change && !input.forgeries.is_empty() {
        sealed_from
    } else {
        0
    };
    for forgery in input.forgeries.iter().take(8) {
        forge(&disk, &batches, forgery);
    }
    input
        .changes
        .iter()
        .take(4)
        .for_each(|change| apply(&disk, change));
    for having in [Having::None, Having::Wrong, Having::OneOfTwo, Having::Right] {
        let show = |seq: u64, found: Option<&[u8]>| {
            let expected = sizes.get(seq as usize).map(|size| value(seq, *size));
            assert!(
                seq < check_from || found == expected.as_deref(),
                "seq {seq} is shown wrong with {having:?}: {found:?}"
            );
            let opens = seq < sealed_from || matches!(having, Having::Right | Having::OneOfTwo);
            assert!(opens, "seq {seq} is shown with {having:?}");
        };
        read(&options(&disk, having).sealed_from(sealed_from), &show);
    }
    write(&disk, (sealed_from, check_from), &sizes);
});

/// Every way to read: what is shown was appended.
fn read(options: &Options, show: &dyn Fn(u64, Option<&[u8]>)) {
    let _ = options.plan(DIR);
    let _ = options.verify(DIR);
    let _ = options.cursors(DIR);
    let _ = options.read_salvage(DIR, |item| {
        if let Salvaged::Record(record) = item {
            show(record.seq, record.value);
        }
    });
    let Ok(reader) = options.open_reader(DIR) else {
        return;
    };
    let (head, end) = (reader.head_seq(), reader.end_seq());
    for seq in head..end.min(head.saturating_add(64)) {
        if let Ok(Some(record)) = reader.get(seq) {
            show(seq, record.value());
        }
        if let Ok(scan) = reader.scan(seq..) {
            scan.map_while(Result::ok)
                .take(2)
                .for_each(|record| show(record.seq(), record.value()));
        }
    }
    if let Ok(scan) = reader.scan(..) {
        scan.rev()
            .map_while(Result::ok)
            .for_each(|record| show(record.seq(), record.value()));
    }
    if let Ok(Some(record)) = reader.latest(b"b", ..) {
        show(record.seq(), record.value());
    }
}

/// The log goes on, or is repaired, under the right keys; then all that it shows is right.
fn write(disk: &SimFs, (sealed_from, check_from): (Seq, Seq), sizes: &[u64]) {
    let end = sizes.len() as u64;
    let right = || options(disk, Having::Right).sealed_from(sealed_from);
    let check = |log: &Log, end: Seq| {
        let seqs = check_from..end;
        for record in log
            .scan(..)
            .unwrap()
            .map_while(Result::ok)
            .filter(|it| seqs.contains(&it.seq()))
        {
            let seq = record.seq();
            let expected = value(seq, sizes[seq as usize]);
            assert_eq!(
                record.value(),
                Some(&expected[..]),
                "seq {seq} is shown wrong"
            );
        }
    };
    let Ok(log) = right().open(DIR) else {
        let _ = right().repair(DIR, RepairOptions::new().apply(true).accept_loss(true));
        if let Ok(log) = right().open(DIR) {
            check(&log, end);
        }
        return;
    };
    check(&log, end);
    let new = log.append_records(&[NewRecord::value("one more")], &AppendOptions::new());
    // Where an end was cut off that nothing attests, its numbers are given again.
    let end = new.map_or(end, |seqs| seqs.start.min(end));
    let _ = log.rotate();
    let _ = log.reseal(&ResealOptions::new().rate_bytes_per_s(None));
    let _ = log.compact(&CompactOptions::new().rate_bytes_per_s(None));
    let _ = log.backup("backup");
    check(&log, end);
    let _ = log.close();
    let repaired = right().repair(DIR, RepairOptions::new().apply(true).accept_loss(true));
    match right().open(DIR) {
        Ok(log) => check(&log, end),
        Err(error) => assert!(
            repaired.is_err() || error.kind() == ErrorKind::KeyMissing,
            "{error}"
        ),
    }
}
