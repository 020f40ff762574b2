//! The work that is counted in instructions and measured in time, through the public door only.
//!
//! Records of 100 bytes, 150 to a batch, as appends fill them. A crate of its own, so that nobody who
//! runs the tests has to build what measures.

use cairnlog::{
    AppendOptions, Durability, Log, NewRecord,
    format::{
        BatchHeader, SegmentContext,
        batch::Records,
        crc32c,
        record::{self, RecordParts},
    },
};
use std::hint::black_box;
use tempfile::TempDir;

/// Records in a batch.
const BATCH_COUNT: u32 = 150;
/// Records in a log, and appends that are queued.
const LOG_COUNT: u64 = 3_000;

const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x1234_5678_9abc_def0,
    base_seq: 0,
    base_timestamp_ms: 0,
    log_id: cairnlog::LogId([0; 16]),
};

/// Encodes one record.
pub fn encode_record(out: &mut Vec<u8>, seq: u64) {
    let parts = RecordParts {
        key: None,
        value: Some(&[7; 100]),
        timestamp_ms: None,
        producer: None,
    };
    record::encode(out, CONTEXT.salt, seq, None, black_box(&parts));
}

/// Encodes a batch: its records, and its header when they are known.
#[must_use]
pub fn encode_batch() -> (BatchHeader, Vec<u8>) {
    let mut body = Vec::with_capacity(32 * 1024);
    for seq in 0..BATCH_COUNT {
        encode_record(&mut body, seq.into());
    }
    let header = BatchHeader {
        body_bytes: u32::try_from(body.len()).expect("a batch is small"),
        first_seq: 0,
        durable_seq: 0,
        timestamp_ms: 0,
        count: BATCH_COUNT,
        sparse: false,
        packed: false,
    };
    black_box(header.encode(&CONTEXT, 64));
    (header, body)
}

/// Decodes the records of a batch, each verified.
#[must_use]
pub fn decode((header, body): &(BatchHeader, Vec<u8>)) -> usize {
    let mut count = 0;
    for record in Records::new(body, CONTEXT, *header) {
        black_box(record.expect("it was just encoded"));
        count += 1;
    }
    count
}

/// Checksums a hundred records of 104 bytes, and one of 16 KiB.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    let short = (0..100).fold(0, |sum, _| crc32c(sum, &bytes[..104]));
    crc32c(short, &bytes[..16 * 1024])
}

/// A log without a thread of its own, and the directory that goes with it.
#[must_use]
pub fn empty_log() -> (TempDir, Log) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Log::options().background(false).buffer_bytes(1 << 20);
    let log = options.open(dir.path().join("log")).expect("a new log");
    (dir, log)
}

/// Queues appends that are acknowledged as buffered.
pub fn push((_, log): &(TempDir, Log)) {
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    for _ in 0..LOG_COUNT {
        let pushed = log.append_records(&[NewRecord::value(&[7; 100])], &buffered);
        black_box(pushed.expect("there is room"));
    }
}

/// A log with records in its tail, or in a sealed segment.
#[must_use]
pub fn full_log(sealed: bool) -> (TempDir, Log) {
    let log = empty_log();
    push(&log);
    log.1.sync().expect("a disk");
    if sealed {
        log.1.rotate().expect("a disk");
    }
    log
}

/// Scans a log, each record verified.
#[must_use]
pub fn scan((_, log): &(TempDir, Log)) -> u64 {
    let (mut scan, mut count) = (log.scan(..).expect("from the head"), 0);
    while let Some(record) = scan.next_ref() {
        black_box(record.expect("it was just written"));
        count += 1;
    }
    count
}

/// Looks at an unclean end as recovery does.
pub fn recover((dir, _): &(TempDir, Log)) {
    let plan = Log::options().plan(dir.path().join("log"));
    black_box(plan.expect("a log"));
}
