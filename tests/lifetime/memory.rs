//! Does compaction stay within the memory that it was given, whatever the number of keys? And what does a
//! packed batch cost whose head says that it is larger than it can be?
//!
//! A child process, this binary again, compacts a log of a million keys, or reads such a batch; its peak is what
//! the kernel says it was.

use cairnlog::{AppendOptions, CompactOptions, Durability, KeyMatch, Log, NewRecord};
use std::{env, path::Path, process::Command};

const KEYS: u64 = 1_000_000;
const BOUND_BYTES: u64 = 16 << 20;
/// What a process that compacts takes beside the bound: its code, buffers of the log, the index of one
/// segment, what the allocator keeps.
const CONSTANT_BYTES: u64 = 8 << 20;
const DIR: &str = "CAIRN_MEMORY_DIR";

/// Every key twice; the second time a third of them are tombstones.
fn fill(dir: &Path) {
    let log = Log::options().segment_bytes(8 << 20).open(dir).unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..KEYS * 2 {
        let spread = number.wrapping_mul(2_654_435_761) % KEYS;
        let key = format!("user/{spread:012}");
        let record = match number >= KEYS && spread.is_multiple_of(3) {
            true => NewRecord::tombstone(&key),
            false => NewRecord::keyed(&key, "value"),
        };
        log.append_records(&[record], &how).unwrap();
    }
    log.rotate().unwrap();
    log.close().unwrap();
}

/// The child: not a test of its own.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let how = CompactOptions::new()
        .memory_bytes_max(usize::try_from(BOUND_BYTES).unwrap())
        .tombstone_age_min(std::time::Duration::ZERO)
        .rate_bytes_per_s(None);
    let how = how.keys(match env::var("CAIRN_MEMORY_KEYS").unwrap().as_str() {
        "exact" => KeyMatch::Exact,
        _ => KeyMatch::Hashed,
    });
    let options = Log::options().segment_bytes(8 << 20).background(false);
    let log = options.open(dir).unwrap();
    let report = log.compact(&how).unwrap();
    assert_eq!(report.kept_count, KEYS - KEYS.div_ceil(3));
    println!("\npeak {} passes {}", peak(), report.progress.pass_count);
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.unwrap().to_owned()
}

/// Runs a child over a directory; gives its peak in bytes, and the line in which it says so.
fn peak_of(child: &str, dir: &Path, keys: &str) -> (u64, String) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(DIR, dir)
        .env("CAIRN_MEMORY_KEYS", keys)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find(|line| line.starts_with("peak")).unwrap();
    let kib: u64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    (kib * 1024, line.to_owned())
}

#[test]
fn do_a_million_keys_fit_into_sixteen_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("hashed"));
    // The same log once more, for the other way of telling keys apart.
    let copied = Command::new("cp")
        .args(["-r", "hashed", "exact"])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(copied.success());
    for keys in ["hashed", "exact"] {
        let (peak_bytes, line) = peak_of("memory::child", &dir.path().join(keys), keys);
        println!("{keys}: {line}");
        assert!(peak_bytes <= BOUND_BYTES + CONSTANT_BYTES, "{keys}: {line}");
        assert!(
            peak_bytes >= BOUND_BYTES / 2,
            "the bound was not even tried: {line}"
        );
    }
}

/// What the head of a packed batch is made to say of its only record: as much as one may have at most.
#[cfg(feature = "lz4")]
const STATED_BYTES: u32 = 1 << 27;

/// The child: not a test of its own.
#[cfg(feature = "lz4")]
#[test]
fn reading_child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let reader = cairnlog::Reader::open(dir).unwrap();
    let error = reader.get(0).unwrap_err();
    assert_eq!(error.kind(), cairnlog::ErrorKind::Damaged);
    assert_eq!(&*reader.get(1).unwrap().unwrap(), b"in the tail");
    println!("\npeak {}", peak());
}

/// Some hundred bytes that say that they are 128 MiB, under a checksum that is right, are refused before there is
/// room for that.
#[cfg(feature = "lz4")]
#[test]
fn is_there_memory_for_what_so_few_bytes_cannot_come_to() {
    use cairnlog::format::{
        BatchHeader, SegmentHeader, StoredHead,
        batch::BATCH_HEADER_BYTES,
        header::HEADER_BYTES,
        packed::{HEAD_BYTES, PackedHead},
    };
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("zeros ".repeat(1000)).unwrap();
    log.rotate().unwrap();
    log.append("in the tail").unwrap();
    log.pack(&cairnlog::PackOptions::new(cairnlog::Compression::Lz4))
        .unwrap();
    let segment = log.segments().unwrap()[0].id;
    log.close().unwrap();
    let path = dir.path().join(format!("log/{:020}.seg", segment.0));
    let mut bytes = std::fs::read(&path).unwrap();
    let (context, at) = (
        SegmentHeader::decode(&bytes).unwrap().context(),
        HEADER_BYTES,
    );
    let batch = BatchHeader::decode(&bytes[at..], &context, at as u64).unwrap();
    let body = at + BATCH_HEADER_BYTES..at + batch.batch_bytes() as usize;
    let head = StoredHead::decode(&bytes[body.clone()], &batch, &context, at as u64);
    let lie = PackedHead {
        raw_bytes: STATED_BYTES,
        ..*head.unwrap().facts()
    };
    let packed = bytes[body.start + HEAD_BYTES..body.end].to_vec();
    bytes[body].copy_from_slice(&lie.encode(&packed, &batch, &context, at as u64));
    std::fs::write(&path, &bytes).unwrap();
    let (peak_bytes, line) = peak_of("memory::reading_child", &dir.path().join("log"), "");
    assert!(peak_bytes < u64::from(STATED_BYTES) / 2, "{line}");
}
