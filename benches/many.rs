//! What does a log cost that does nothing, where there are thousands? One worker for all of them.
//!
//! `cargo bench --bench many -- [LOGS] [THREADS]`: 1,000 logs and 4 threads, unless it is said.

use cairnlog::{AppendOptions, Log, NewRecord, Options, Ticket, Worker};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

fn entries(dir: &str) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Memory of this process that is in use now, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or(0)
}

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn disk_kib(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter_map(|file| {
            let facts = file.metadata().ok()?;
            let below = if facts.is_dir() {
                disk_kib(&file.path())
            } else {
                0
            };
            Some(facts.blocks() / 2 + below)
        })
        .sum()
}

fn open_all(count: usize, dir: &Path, options: &Options) -> Vec<Log> {
    let open = |number| options.clone().open(dir.join(format!("{number}"))).unwrap();
    (0..count).map(open).collect()
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let count = numbers.first().copied().unwrap_or(1000);
    let threads = numbers.get(1).copied().unwrap_or(4);
    let dir = tempfile::tempdir_in(".").unwrap();
    let worker = Worker::new(threads).unwrap();
    let options = Log::options().worker(worker);
    let (descriptors, memory) = (entries("/proc/self/fd"), resident_kib());

    let begun = Instant::now();
    let logs = open_all(count, dir.path(), &options);
    println!("created {count} logs in {:.2?}", begun.elapsed());
    let each = |total: u64| total as f64 / count as f64;
    println!("threads of the process: {}", entries("/proc/self/task"));
    let opened = entries("/proc/self/fd") - descriptors;
    println!("descriptors a log: {:.2}", each(opened as u64));
    println!("memory a log: {:.1} KiB", each(resident_kib() - memory));
    println!("disk a log: {:.1} KiB", each(disk_kib(dir.path())));

    let begun = Instant::now();
    let how = AppendOptions::new();
    let submit = |log: &Log| log.submit(&[NewRecord::value(&[7; 100])], &how).unwrap();
    let tickets: Vec<Ticket> = logs.iter().map(submit).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    println!("one durable append to each in {:.2?}", begun.elapsed());

    std::thread::sleep(Duration::from_secs(2));
    let (before, begun) = (processor_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let used = processor_time() - before;
    println!(
        "processor time at rest: {:.3} % of one",
        used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0
    );
    println!(
        "memory a log after an append: {:.1} KiB",
        each(resident_kib() - memory)
    );

    let begun = Instant::now();
    logs.into_iter().for_each(|log| log.close().unwrap());
    println!("closed in {:.2?}", begun.elapsed());
    let begun = Instant::now();
    let logs = open_all(count, dir.path(), &options);
    println!("opened again in {:.2?}", begun.elapsed());
    assert!(logs.iter().all(|log| log.durable_seq() == 1));
}
