//! Does compaction stay within the memory that it was given, whatever the number of keys?
//!
//! A child process, this binary again, compacts a log of a million keys; its peak is what the kernel
//! says it was.

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
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!("\npeak {} passes {}", peak, report.progress.pass_count);
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
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "memory::child", "--nocapture"])
            .env(DIR, dir.path().join(keys))
            .env("CAIRN_MEMORY_KEYS", keys)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        let line = text.lines().find(|line| line.starts_with("peak")).unwrap();
        let kib: u64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
        println!("{keys}: {line}");
        assert!(kib * 1024 <= BOUND_BYTES + CONSTANT_BYTES, "{keys}: {line}");
        assert!(
            kib * 1024 >= BOUND_BYTES / 2,
            "the bound was not even tried: {line}"
        );
    }
}
