//! A log's numbers as the text that Prometheus reads: `cargo run --example prometheus [DIR]`.
//!
//! No crate is needed for it: a server answers `GET /metrics` with what is printed here. (An application
//! that collects with the `metrics` crate takes the feature of that name and `MetricsExport` instead.)

use cairnlog::{AppendOptions, Durability, Histogram, Log, NewRecord, Stats};
use std::{error::Error, fmt::Write, path::PathBuf, thread};

/// The bounds of buckets, which Prometheus wants to be the same each time: in nanoseconds, and in records.
const TIMES_NS: [u64; 9] = [
    1_000,
    10_000,
    100_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    1_000_000_000,
];
const RECORDS: [u64; 6] = [1, 3, 10, 30, 100, 1000];

/// The text, line by line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("a string takes what it is given");
    }

    fn head(&mut self, name: &str, kind: &str, about: &str) {
        self.line(&format!("# HELP {name} {about}"));
        self.line(&format!("# TYPE {name} {kind}"));
    }

    fn number(&mut self, name: &str, kind: &str, about: &str, value: u64) {
        self.head(name, kind, about);
        self.line(&format!("{name} {value}"));
    }

    /// Each bucket counts what is not larger than its bound; so many of a unit make one of Prometheus'.
    fn histogram(&mut self, name: &str, label: &str, of: &Histogram, bounds: &[u64], unit: f64) {
        for bound in bounds {
            let below = of.buckets().take_while(|(value, _)| value <= bound);
            let count: u64 = below.map(|(_, count)| count).sum();
            let le = *bound as f64 / unit;
            self.line(&format!("{name}_bucket{{{label}le=\"{le}\"}} {count}"));
        }
        let (count, sum) = (of.count(), of.sum() as f64 / unit);
        self.line(&format!("{name}_bucket{{{label}le=\"+Inf\"}} {count}"));
        let label = label.trim_end_matches(',');
        self.line(&format!("{name}_sum{{{label}}} {sum}"));
        self.line(&format!("{name}_count{{{label}}} {count}"));
    }
}

fn text_of(stats: &Stats) -> String {
    let mut text = Text::default();
    for (name, about, value) in [
        (
            "appended_records",
            "Records appended.",
            stats.appended_records,
        ),
        ("appended_bytes", "Bytes appended.", stats.appended_bytes),
        ("written_bytes", "Bytes written.", stats.written_bytes),
        ("syncs", "Syncs for appends.", stats.sync_count),
    ] {
        text.number(&format!("cairn_{name}_total"), "counter", about, value);
    }
    let lag = stats.next_seq.saturating_sub(stats.durable_seq);
    for (name, about, value) in [
        ("segments", "Segments.", stats.segment_count),
        (
            "frame_bytes",
            "Bytes of frames in segments.",
            stats.frame_bytes,
        ),
        ("queued_bytes", "Bytes not yet written.", stats.queued_bytes),
        ("not_durable", "Records not yet durable.", lag),
    ] {
        text.number(&format!("cairn_{name}"), "gauge", about, value);
    }
    let name = "cairn_append_seconds";
    text.head(name, "histogram", "Time until the caller was told.");
    for (level, of) in [
        ("durable", &stats.durable_append_ns),
        ("written", &stats.written_append_ns),
        ("buffered", &stats.buffered_append_ns),
    ] {
        text.histogram(name, &format!("level=\"{level}\","), of, &TIMES_NS, 1e9);
    }
    let name = "cairn_sync_seconds";
    text.head(name, "histogram", "Time of a sync.");
    text.histogram(name, "", &stats.sync_ns, &TIMES_NS, 1e9);
    let name = "cairn_sync_records";
    text.head(name, "histogram", "Records made durable by a sync.");
    text.histogram(name, "", &stats.sync_records, &RECORDS, 1.0);
    text.0
}

/// Something to measure: threads that share their syncs, and one that waits for none.
fn work(log: &Log) -> cairnlog::Result<()> {
    let durable = || (0..50).try_for_each(|_| log.append("an order").map(drop));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(durable)).collect();
        let mut outcomes = threads.into_iter().map(|thread| thread.join());
        outcomes.try_for_each(|outcome| outcome.expect("it does not panic"))
    })?;
    let how = AppendOptions::new().durability(Durability::Buffered);
    for _ in 0..1000 {
        log.append_records(&[NewRecord::value("a page view")], &how)?;
    }
    log.sync().map(drop)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("cairn-prometheus.log"));
    let log = Log::open(dir)?;
    work(&log)?;
    print!("{}", text_of(&log.stats()));
    Ok(log.close()?)
}
