//! A whole directory of arbitrary bytes: every journey over it ends in a value or an error, in
//! bounded time and memory, and what verifies is never shown wrong.
//!
//! The input is a log (the seed) with changes: files replaced, cut, extended, patched. As it likes the log
//! has producers, a cursor, segments that were compacted, and appends that are packed.
#![no_main]
mod common;

use arbitrary::Arbitrary;
use cairnlog::{
    AppendOptions, CompactOptions, Compression, Log, NewRecord, Producer, RepairOptions, vfs::sim::SimFs,
};
use common::{Change, apply, value};
use std::sync::Arc;

#[derive(Arbitrary, Debug)]
struct Input {
    record_sizes: Vec<u8>,
    close: bool,
    named: bool,
    cursor: bool,
    compact: bool,
    packed: bool,
    changes: Vec<Change>,
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let disk = SimFs::new(1);
    let options = |disk: &SimFs| {
        let options = Log::options().vfs(Arc::new(disk.clone())).background(false);
        match input.packed {
            true => options.segment_bytes(16 * 1024).pack_appends(Compression::Lz4),
            false => options.segment_bytes(512),
        }
    };
    let log = options(&disk).open("log").unwrap();
    // What is packed has to be worth it.
    let scale = if input.packed { 24 } else { 1 };
    let sizes = input.record_sizes.iter().take(40);
    let sizes: Vec<u64> = sizes.map(|size| u64::from(*size) * scale).collect();
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
