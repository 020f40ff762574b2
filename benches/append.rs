//! How near is a durable append to the disk itself?
//!
//! In one run, alternating: a bare positional write + `fdatasync` on a zero-filled file, and
//! `Log::append`, one thread, without and with telling readers in other processes. Medians and their ratio; absolute times mean little on a shared machine.
//! `cargo bench --bench append`.

use cairnlog::Log;
use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 7;
const APPENDS: u32 = 400;

fn raw(dir: &Path, payload: &[u8]) -> Duration {
    let path = dir.join("raw");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .unwrap();
    let frame = vec![1; payload.len() + 32];
    let zeros = vec![0; frame.len() * APPENDS as usize];
    file.write_all_at(&zeros, 0).unwrap();
    file.sync_all().unwrap();
    let start = Instant::now();
    for number in 0..APPENDS {
        file.write_all_at(&frame, u64::from(number) * frame.len() as u64)
            .unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed() / APPENDS
}

fn cairn(dir: &Path, payload: &[u8], publish: bool) -> Duration {
    let path = dir.join("log");
    let log = Log::options().publish(publish).open(&path).unwrap();
    // The first megabyte is past: from there on space is allocated ahead as in a log's daily life.
    for _ in 0..50 {
        log.append(payload).unwrap();
    }
    let start = Instant::now();
    for _ in 0..APPENDS {
        log.append(payload).unwrap();
    }
    let time = start.elapsed() / APPENDS;
    drop(log);
    std::fs::remove_dir_all(path).unwrap();
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    for payload_bytes in [100, 1024, 16 * 1024] {
        let payload = vec![7; payload_bytes];
        let (mut raws, mut silent, mut telling) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            raws.push(raw(dir.path(), &payload));
            silent.push(cairn(dir.path(), &payload, false));
            telling.push(cairn(dir.path(), &payload, true));
        }
        let (raw, silent, telling) = (median(raws), median(silent), median(telling));
        println!(
            "{payload_bytes:>6} B: write + fdatasync {raw:>9.1?}, append {telling:>9.1?}, ratio {:.2}; \
             without telling others {silent:>9.1?}",
            raw.as_secs_f64() / telling.as_secs_f64()
        );
    }
}
