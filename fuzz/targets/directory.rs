//! A whole directory of arbitrary bytes: every journey over it ends in a value or an error, in
//! bounded time and memory, and what verifies is never shown wrong.
//!
//! The input is a log (the seed) with changes: files replaced, cut, extended, patched. As it likes the log
//! has producers, a cursor, and segments that were compacted.
#![no_main]
use arbitrary::Arbitrary;
use cairnlog::{
    AppendOptions, CompactOptions, Log, NewRecord, Producer, RepairOptions,
    vfs::{Vfs, sim::SimFs},
};
use std::{path::Path, sync::Arc};

#[derive(Arbitrary, Debug)]
enum Change {
    Patch { file: u8, offset: u16, bytes: Vec<u8> },
    Replace { file: u8, bytes: Vec<u8> },
    Cut { file: u8, len: u16 },
    Swap { a: u8, b: u8 },
    Remove { file: u8 },
    Add { id: u8, bytes: Vec<u8> },
}

#[derive(Arbitrary, Debug)]
struct Input {
    record_sizes: Vec<u8>,
    close: bool,
    named: bool,
    cursor: bool,
    compact: bool,
    changes: Vec<Change>,
}

fn value(seq: u64, size: u8) -> Vec<u8> {
    (0..u64::from(size)).map(|at| (seq * 31 + at) as u8).collect()
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let disk = SimFs::new(1);
    let options = |disk: &SimFs| {
        Log::options().vfs(Arc::new(disk.clone())).segment_bytes(512).background(false)
    };
    let log = options(&disk).open("log").unwrap();
    let sizes: Vec<u8> = input.record_sizes.into_iter().take(40).collect();
    for (seq, size) in (0..).zip(&sizes) {
        let (id, epoch, number) = (seq % 2, 0, seq);
        let by = AppendOptions::new().producer(Producer { id, epoch, number });
        let how = if input.named { by } else { AppendOptions::new() };
        let (key, value) = ([b'a' + (seq % 5) as u8], value(seq, *size));
        log.append_records(&[NewRecord::keyed(&key, &value)], &how).unwrap();
    }
    if input.cursor {
        let consumer = log.consumer("cursor").unwrap();
        if let Some(seq) = log.durable_seq().checked_sub(2) {
            consumer.ack(seq).unwrap();
        }
    }
    if input.compact {
        log.rotate().unwrap();
        log.compact(&CompactOptions::new().rate_bytes_per_s(None)).unwrap();
    }
    if input.close {
        log.close().unwrap();
    }
    drop(log);
    let disk = disk.kill();
    input.changes.iter().take(8).for_each(|change| apply(&disk, change));

    let check = |seq: u64, found: Option<&[u8]>| {
        let expected = sizes.get(seq as usize).map(|size| value(seq, *size));
        assert_eq!(found, expected.as_deref(), "seq {seq} is shown wrong");
    };
    let tools = options(&disk);
    let _ = tools.plan("log");
    let _ = tools.verify("log");
    let _ = tools.cursors("log");
    let _ = tools.read_salvage("log", |item| {
        if let cairnlog::Salvaged::Record(record) = item {
            check(record.seq, record.value);
        }
    });
    if let Ok(reader) = tools.open_reader("log")
        && let Ok(scan) = reader.scan(..)
    {
        scan.map_while(Result::ok).for_each(|record| check(record.seq(), record.value()));
    }
    if let Ok(log) = options(&disk).open("log") {
        let end = log.next_seq();
        for seq in log.head_seq()..end.min(64) {
            if let Ok(Some(record)) = log.get(seq) {
                check(seq, record.value());
            }
        }
        if let Ok(mut consumer) = log.consumer("cursor") {
            if let Ok(Some(record)) = consumer.try_next() {
                check(record.seq(), record.value());
            }
            let _ = consumer.ack(end.saturating_sub(1));
        }
        let by = Producer { id: 1, epoch: 0, number: 39 };
        let once_more = AppendOptions::new().producer(by);
        let _ = log.append_records(&[NewRecord::value("one more")], &once_more);
        let _ = log.backup("backup");
    } else if tools.repair("log", RepairOptions::new().apply(true).accept_loss(true)).is_ok() {
        let log = options(&disk).open("log").expect("a repaired log opens");
        for record in log.scan(..).unwrap() {
            let record = record.expect("a repaired log verifies");
            check(record.seq(), record.value());
        }
    }
});

fn apply(disk: &SimFs, change: &Change) {
    let mut files = disk.files();
    files.retain(|file| !file.ends_with("LOCK"));
    let pick = |number: u8| files.get(usize::from(number) % files.len().max(1)).cloned();
    let edit = |number: u8, edit: &dyn Fn(&mut Vec<u8>)| {
        if let Some(path) = pick(number) {
            let mut bytes = disk.read_file(&path).unwrap_or_default();
            edit(&mut bytes);
            disk.write_file(&path, &bytes);
        }
    };
    match change {
        Change::Patch { file, offset, bytes } => edit(*file, &|content| {
            let start = usize::from(*offset).min(content.len());
            let end = (start + bytes.len()).min(content.len());
            content[start..end].copy_from_slice(&bytes[..end - start]);
        }),
        Change::Replace { file, bytes } => edit(*file, &|content| *content = bytes.clone()),
        Change::Cut { file, len } => edit(*file, &|content| content.truncate((*len).into())),
        Change::Swap { a, b } => {
            if let (Some(a), Some(b)) = (pick(*a), pick(*b)) {
                let (of_a, of_b) = (disk.read_file(&a), disk.read_file(&b));
                disk.write_file(&a, &of_b.unwrap_or_default());
                disk.write_file(&b, &of_a.unwrap_or_default());
            }
        }
        Change::Remove { file } => {
            if let Some(path) = pick(*file) {
                disk.remove_file(&path);
            }
        }
        Change::Add { id, bytes } => {
            let name = format!("log/{id:020}.seg");
            if disk.list(Path::new("log")).is_ok() {
                disk.write_file(Path::new(&name), bytes);
            }
        }
    }
}
