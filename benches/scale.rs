//! What does the number of segments cost: opening, memory, a commit?
//!
//! A log is given a manifest of so many sealed segments of 2 GiB, each a file that takes no room, as a log has it that
//! nobody has read since it was opened. It is opened in a process of its own, a mark is set a few times, which is a
//! commit and nothing else, and it is closed.
//! `cargo bench --bench scale`; `CAIRN_SCALE=465661` for a petabyte, which takes a minute or two.

use cairnlog::{
    Log, SegmentId,
    format::{Manifest, manifest::SealedEntry, names},
};
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Instant,
};

const SEGMENT_BYTES: u64 = 1 << 31;
const COMMITS: u32 = 10;

/// A log of that many segments, without records.
fn make(dir: &Path, count: u64) {
    Log::open(dir).unwrap().close().unwrap();
    let path = dir.join(names::MANIFEST);
    let mut manifest = Manifest::decode(&fs::read(&path).unwrap()).unwrap();
    let first_id = manifest.next_segment_id.0;
    for id in first_id..first_id + count {
        let id = SegmentId(id);
        File::create(dir.join(names::segment(id)))
            .unwrap()
            .set_len(SEGMENT_BYTES)
            .unwrap();
        manifest.sealed.push(SealedEntry {
            id,
            salt: id.0,
            base_seq: 0,
            next_seq: 0,
            frames_end: SEGMENT_BYTES,
            max_timestamp_ms: 0,
            record_count: 0,
            tombstone_count: 0,
            keyed_count: 0,
            compacted: false,
            packed: false,
            far: false,
        });
    }
    manifest.next_segment_id = SegmentId(first_id + count);
    fs::write(&path, manifest.encode()).unwrap();
}

/// A number of KiB that the system tells of this process.
fn kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Opens it and commits; prints what that took.
fn play(dir: &Path) {
    let before = kib("VmRSS:");
    let start = Instant::now();
    let log = Log::open(dir).unwrap();
    let opened = start.elapsed();
    let held = kib("VmRSS:") - before;
    let start = Instant::now();
    for number in 0..COMMITS {
        log.set_mark("number", number.to_le_bytes()).unwrap();
    }
    let commit = start.elapsed() / COMMITS;
    println!(
        "{:.1} ms to open, {:.1} MiB held, {:.1} MiB at most, {:.1} ms a commit",
        opened.as_secs_f64() * 1e3,
        held as f64 / 1024.0,
        kib("VmHWM:") as f64 / 1024.0,
        commit.as_secs_f64() * 1e3,
    );
    log.close().unwrap();
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, part, dir] = &args[..]
        && part == "play"
    {
        return play(dir.as_ref());
    }
    let wanted = std::env::var("CAIRN_SCALE").ok();
    let counts = match wanted {
        Some(count) => vec![count.parse().unwrap()],
        None => vec![1_000, 10_000, 50_000],
    };
    for count in counts {
        let root = tempfile::tempdir_in(std::env::current_dir().unwrap().join("target")).unwrap();
        let dir = root.path().join("log");
        make(&dir, count);
        let manifest_bytes = fs::metadata(dir.join(names::MANIFEST)).unwrap().len();
        println!("{count} segments, a manifest of {manifest_bytes} bytes:");
        for _ in 0..3 {
            let this = std::env::current_exe().unwrap();
            let done = Command::new(this).arg("play").arg(&dir).status().unwrap();
            assert!(done.success());
        }
    }
}
