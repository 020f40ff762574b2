//! What does each thing cost as the log grows? By segments, in a log that is made with the format's own
//! encoders, because rotating a hundred thousand times is another question; and by bytes.

use super::tail;
use crate::{
    child::{Sample, Spec},
    engine::Values,
    meter, system,
};
use anyhow::{Context, Result};
use cairnlog::{
    Log, LogId, SegmentId,
    format::{
        BatchHeader, SegmentHeader, crc32c,
        footer::{Footer, IndexEntry},
        header::{Origin, Predecessor},
        manifest::{Manifest, SealedEntry, TailEntry},
        names,
        record::{self, RecordParts},
    },
};
use std::{
    fs,
    time::{Duration, Instant},
};

const LOG: LogId = LogId(*b"the log of peers");
const TIME_MS: i64 = 1_700_000_000_000;
/// Records in each segment that is made.
const RECORDS: u64 = 10;
/// Times that a tail is woken.
const WAKES: usize = 100;

/// A sealed segment in bytes, its entry in the manifest, and what its successor says about it.
struct Made {
    file: Vec<u8>,
    entry: SealedEntry,
    predecessor: Predecessor,
}

fn header(id: u64, predecessor: Option<Predecessor>) -> SegmentHeader {
    let base_seq = (id - 1) * RECORDS;
    SegmentHeader {
        origin: Origin::Live,
        log_id: LOG,
        id: SegmentId(id),
        base_seq,
        salt: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(id),
        base_timestamp_ms: TIME_MS,
        predecessor,
        durable_seq: base_seq,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: false,
        packed_appends: false,
    }
}

/// One batch of records, sealed.
fn make(id: u64, predecessor: Option<Predecessor>, payload: &[u8]) -> Made {
    let header = header(id, predecessor);
    let (context, base_seq, next_seq) =
        (header.context(), header.base_seq, header.base_seq + RECORDS);
    let mut body = Vec::new();
    for seq in base_seq..next_seq {
        let parts = RecordParts {
            key: None,
            value: Some(payload),
            timestamp_ms: None,
            producer: None,
        };
        record::encode(&mut body, context.salt, seq, None, &parts);
    }
    let mut file = header.encode();
    let batch = BatchHeader {
        body_bytes: body.len() as u32,
        first_seq: base_seq,
        durable_seq: base_seq,
        timestamp_ms: TIME_MS,
        count: RECORDS as u32,
        sparse: false,
        packed: false,
    };
    let offset = file.len();
    file.extend_from_slice(&batch.encode(&context, offset as u64));
    file.extend_from_slice(&body);
    let (frames_end, checksum) = (file.len() as u64, crc32c(0, &file));
    let footer = Footer {
        entry_count: 1,
        record_count: RECORDS as u32,
        tombstone_count: 0,
        keyed_count: 0,
        first_seq: base_seq,
        next_seq,
        min_timestamp_ms: TIME_MS,
        max_timestamp_ms: TIME_MS,
        frames_end,
        segment_checksum: checksum,
    };
    let index = [IndexEntry {
        seq_delta: 0,
        offset: offset as u32,
    }];
    file.extend_from_slice(&footer.encode(&context, &index));
    let (id, salt) = (header.id, header.salt);
    let entry = SealedEntry {
        id,
        salt,
        base_seq,
        next_seq,
        frames_end,
        max_timestamp_ms: TIME_MS,
        record_count: RECORDS as u32,
        tombstone_count: 0,
        keyed_count: 0,
        compacted: false,
        packed: false,
        far: false,
    };
    let predecessor = Predecessor {
        id,
        salt,
        frames_end,
        next_seq,
        checksum,
    };
    Made {
        file,
        entry,
        predecessor,
    }
}

/// Makes a log of so many sealed segments, and an empty tail.
pub fn build(spec: &Spec) -> Result<Sample> {
    let dir = spec.dir.join("log");
    fs::create_dir_all(&dir)?;
    let payload = vec![7; spec.payload_bytes];
    let (mut sealed, mut last) = (Vec::new(), None);
    for id in 1..=spec.size {
        let made = make(id, last, &payload);
        fs::write(dir.join(names::segment(made.entry.id)), &made.file)?;
        sealed.push(made.entry);
        last = Some(made.predecessor);
    }
    let tail = header(spec.size + 1, last);
    let mut file = tail.encode();
    file.resize(1 << 20, 0);
    fs::write(dir.join(names::segment(tail.id)), file)?;
    let manifest = Manifest {
        log_id: LOG,
        incarnation: 0,
        write_features: 0,
        generation: 1,
        created_ms: TIME_MS,
        head_seq: 0,
        next_segment_id: SegmentId(spec.size + 2),
        durable_seq: tail.base_seq,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed,
        tail: TailEntry {
            id: tail.id,
            salt: tail.salt,
            base_seq: tail.base_seq,
        },
        spare: None,
        marks: Vec::new(),
    };
    fs::write(dir.join(names::MANIFEST), manifest.encode())?;
    system::sync_file_system(&fs::File::open(&dir)?)?;
    Ok(Sample::default())
}

/// Each cost, in the log that is there.
pub fn costs(spec: &Spec) -> Result<Sample> {
    let mut values = Values::new();
    system::return_free_memory();
    let before = meter::memory_mib("VmRSS")?;
    let start = Instant::now();
    let log = Log::open(spec.dir.join("log"))?;
    values.insert("open_ms".into(), start.elapsed().as_secs_f64() * 1e3);
    system::return_free_memory();
    let grown = (meter::memory_mib("VmRSS")? - before) * f64::from(1 << 20);
    let segments = log.stats().segment_count as f64;
    values.insert("segments".into(), segments);
    values.insert("memory_bytes_per_segment".into(), grown / segments);
    let payload = vec![7; spec.payload_bytes];
    let time = Duration::from_secs_f64(spec.seconds);
    values.insert(
        "append_us".into(),
        median(time, || Ok(log.append(&payload).map(drop)?))?,
    );
    values.insert("get_us".into(), gets(&log, time)?);
    values.insert("wake_us".into(), wake(&log, &payload)?);
    values.insert("rotate_us".into(), rotations(&log, &payload, time)?);
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    log.close()?;
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

/// Of as many calls as fit the time, in microseconds.
fn median(time: Duration, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut each = meter::histogram()?;
    let deadline = Instant::now() + time;
    let mut start = Instant::now();
    while start < deadline || each.len() < 5 {
        call()?;
        let end = Instant::now();
        each.saturating_record((end - start).as_nanos() as u64);
        start = end;
    }
    Ok(each.value_at_quantile(0.5) as f64 / 1e3)
}

/// Records that were read before, so that no segment is opened for the first time.
fn gets(log: &Log, time: Duration) -> Result<f64> {
    const AMONG: u64 = 1000;
    let (mut state, end) = (0x2545_f491_4f6c_dd1d_u64, log.durable_seq());
    let mut numbers = Vec::new();
    for _ in 0..AMONG {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers.push(state % end);
    }
    let mut turn = numbers.iter().cycle();
    let mut get = || {
        let seq = turn.next().copied().context("no numbers")?;
        log.get(seq)?.context("a record is missing")?;
        Ok(())
    };
    for _ in 0..AMONG {
        get()?;
    }
    median(time, get)
}

/// From the call of a durable append to a waiting tail's having it: a tail may have it before the append
/// returns, so that only the sum is never nothing.
fn wake(log: &Log, payload: &[u8]) -> Result<f64> {
    let sample = tail::compare_here(log, payload, WAKES)?;
    sample
        .values
        .get("total_p50_us")
        .copied()
        .context("no median")
}

/// A rotation, and the append after it that begins the segment; the commit is done when the next comes.
fn rotations(log: &Log, payload: &[u8], time: Duration) -> Result<f64> {
    median(time, || {
        log.rotate()?;
        log.append(payload)?;
        Ok(())
    })
}
