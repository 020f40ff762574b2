//! How long does opening take, and how much memory?
//!
//! A log of 1 GiB in records of 1 KiB, whose last segment is nearly full, is opened after a clean close
//! and after the process died with that segment written and synced; alternating, each in a process of
//! its own. Medians, the worst, and the peak of resident memory beyond what the process began with.
//! `cargo bench --bench open`; `CAIRN_OPEN_MIB=10240` for 10 GiB.

use cairnlog::{AppendOptions, Durability, Log, NewRecord};
use std::{path::Path, process::Command, time::Instant};

const ROUNDS: usize = 5;
const TAIL_MIB: u64 = 62;

fn append(log: &Log, mib: u64) {
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    for _ in 0..mib * 1024 {
        log.append_records(&[NewRecord::value(&[7; 1000])], &buffered)
            .unwrap();
    }
    log.sync().unwrap();
}

/// The peak of resident memory of this process so far, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = peak.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// What the processes do that this one starts.
fn play(part: &str, dir: &Path) {
    let before = peak_kib();
    let start = Instant::now();
    let log = Log::open(dir).unwrap();
    let (time, memory) = (start.elapsed(), peak_kib() - before);
    println!("{} {memory}", time.as_micros());
    if part == "die" {
        log.rotate().unwrap();
        append(&log, TAIL_MIB);
        std::process::abort();
    }
    log.close().unwrap();
}

/// Has another process play a part: microseconds and KiB that its opening took.
fn in_process(part: &str, dir: &Path) -> (u64, u64) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args([part.as_ref(), dir.as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect();
    (numbers[0], numbers[1])
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, part, dir] = &args[..] {
        return play(part, dir.as_ref());
    }
    let mib = std::env::var("CAIRN_OPEN_MIB").map_or(1024, |mib| mib.parse().unwrap());
    let root = tempfile::tempdir_in(std::env::current_dir().unwrap().join("target")).unwrap();
    let dir = root.path().join("log");
    let log = Log::open(&dir).unwrap();
    append(&log, mib);
    log.rotate().unwrap();
    append(&log, TAIL_MIB);
    log.close().unwrap();
    drop(log);
    let mut found = [
        ("after a clean close", Vec::new()),
        ("after a kill", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        found[0].1.push(in_process("open", &dir));
        in_process("die", &dir);
        found[1].1.push(in_process("open", &dir));
    }
    for (name, mut times) in found {
        times.sort_unstable();
        let (median, worst) = (times[ROUNDS / 2].0, times[ROUNDS - 1].0);
        let memory = times.iter().map(|(_, memory)| memory).max().unwrap();
        let ms = |micros: u64| micros as f64 / 1000.0;
        println!(
            "{mib} MiB, open {name}: median {:.2} ms, worst {:.2} ms, memory {:.1} MiB",
            ms(median),
            ms(worst),
            *memory as f64 / 1024.0
        );
    }
}
