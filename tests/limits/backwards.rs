//! A walk backwards once kept 70 bytes for every record of the batch that it was in: 170 MiB for the last of
//! 2.5 million records that were appended as one.

use cairnlog::{Log, vfs::sim::SimFs};
use std::{env, ops::Range, process::Command, sync::Arc};

const RECORDS: usize = 2_000_000;
const DIR: &str = "CAIRN_BACKWARDS_DIR";

/// What the process has for itself: mapped files are not counted.
fn own_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let own = lines
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    own.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The child: not a test of its own.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let log = Log::options().background(false).open(dir).unwrap();
    let mut scan = log.scan(..).unwrap();
    let (before, mut most) = (own_kib(), 0);
    for seq in (0..RECORDS as u64).rev().take(10_000) {
        assert_eq!(scan.next_back().unwrap().unwrap().seq(), seq);
        if seq % 1_000 == 999 {
            most = most.max(own_kib());
        }
    }
    println!("\ngrown by {} KiB", most.saturating_sub(before));
}

#[test]
fn does_a_walk_backwards_take_memory_for_each_record_of_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::options()
        .queue_bytes_max(64 << 20)
        .open(dir.path().join("log"));
    let log = log.unwrap();
    log.append_batch(std::iter::repeat_n([7; 8], RECORDS))
        .unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "backwards::child", "--nocapture"])
        .env(DIR, dir.path().join("log"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let words = text.lines().find_map(|line| line.strip_prefix("grown by "));
    let kib: u64 = words.unwrap().trim_end_matches(" KiB").parse().unwrap();
    assert!(kib < 4096, "{kib} KiB");
}

/// All that is asked for comes in order, from wherever a walk begins and wherever the batches end.
#[test]
fn does_a_walk_backwards_over_batches_of_any_size_leave_nothing_out() {
    let disk = SimFs::new(1);
    let options = Log::options().vfs(Arc::new(disk)).background(false);
    let log = options.open("/log").unwrap();
    let mut next_seq = 0;
    for count in [1, 5_000, 1, 1_024, 3, 1_025, 2_047, 2_048, 2_049, 40_000, 7] {
        let values = (next_seq..next_seq + count).map(|seq| seq.to_string());
        log.append_batch(values).unwrap();
        next_seq += count;
    }
    let walk = |range: Range<u64>| {
        let scan = log.scan(range.clone()).unwrap().rev();
        let seqs = scan.map(|record| {
            let record = record.unwrap();
            assert_eq!(&*record, record.seq().to_string().as_bytes());
            record.seq()
        });
        assert!(seqs.eq(range.clone().rev()), "{range:?}");
    };
    for range in [
        0..next_seq,
        3..5_000,
        4_999..6_026,
        6_027..20_001,
        12_174..40_000,
    ] {
        walk(range);
    }
    log.rotate().unwrap();
    walk(0..next_seq);
}
