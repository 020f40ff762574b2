//! Which picture each workload gets.

mod alone;

use crate::{
    book::{Book, exponent},
    chart::{
        bars::{self, Bar, Panel, Scale},
        curves::{self, Axis, Curve},
    },
    engine::Kind,
    plan::Work,
    results::Row,
    targets,
};
use anyhow::Result;
use std::{fs, path::Path};

/// A picture of the report: its file and what it shows, for who cannot see it.
pub struct Picture {
    pub file: String,
    pub alt: String,
    svg: String,
}

const RATE: &str = "Records per second; in brackets the ratio to Cairn. Grey: limits, and † what does not reach the device";

const CHECKED: &str = "Per second, logarithmic; in brackets the ratio to Cairn. heed, redb and rusqlite check nothing";
const OPENED: &str = "Milliseconds, logarithmic, shorter is better; in brackets the ratio to Cairn";

const FRESH: &str = "Bytes, logarithmic, shorter is better; in brackets the ratio to Cairn";
const TAKEN: &str = "Bytes on disk for each byte of payload, shorter is better; in brackets the ratio to Cairn unpacked";
const SCANNED: &str =
    "Records per second, the log in memory; in brackets the ratio to Cairn unpacked";
const JOBS: &str =
    "Jobs per second: put, taken with a lease, acknowledged; in brackets the ratio to Cairn";
const TEXTS: &str = "W16-packages W16-json W16-server";

/// A picture of bars: the workload that it belongs to, its file, title and subtitle, and the number of
/// which tables.
type Bars = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Scale,
    &'static str,
    &'static str,
);

#[rustfmt::skip] // One line each.
const BARS: &[Bars] = &[
    ("W1", "w1", "Durable appends, one thread", RATE, Scale::Linear, "W1", "rate"),
    ("W2", "w2", "Durable appends, many threads", RATE, Scale::Linear, "W2", "rate"),
    ("W3", "w3", "Durable batches of 100 records, one thread", RATE, Scale::Linear, "W3", "rate"),
    ("W4", "w4", "Appends without a sync each, with the last sync", RATE, Scale::Linear, "W4", "rate"),
    ("W4", "w4-handed-over", "Appends without a sync each, as handed over", RATE, Scale::Linear, "W4", "handed_over_rate"),
    ("W4", "w4-written", "Appends of one write each", RATE, Scale::Linear, "W4-written", "handed_over_rate"),
    ("W5", "w5", "Reading from the start to the end", CHECKED, Scale::Logarithmic, "read", "rate"),
    ("W6", "w6", "Reading one record by its number, at random", CHECKED, Scale::Logarithmic, "read", "get_rate"),
    ("W7", "w7", "Opening after a clean close", OPENED, Scale::Logarithmic, "read", "open_ms"),
    ("W7", "w7-killed", "Opening after a kill", OPENED, Scale::Logarithmic, "killed", "open_ms"),
    ("W8", "w8", "A log with one durable record, on disk", FRESH, Scale::Logarithmic, "fresh", "allocated_bytes"),
    ("W12", "w12", "Durable appends, let go of after each 12 MiB", RATE, Scale::Linear, "W12", "rate"),
    ("W13", "w13", "A queue of jobs", JOBS, Scale::Linear, "W13", "rate"),
    ("W16", "w16", "Text that is packed, on disk", TAKEN, Scale::Linear, TEXTS, "disk_ratio"),
    ("W16", "w16-scan", "Reading packed text from the start to the end", SCANNED, Scale::Linear, TEXTS, "rate"),
    ("W18", "w18", "Durable appends that are handed over", RATE, Scale::Linear, "W18", "rate"),
    ("W11", "w11", "Durable appends, beside four readers that scan", RATE, Scale::Linear, "W11", "rate"),
];

/// The pictures of one workload.
pub fn of(book: &Book, workload: &str) -> Vec<Picture> {
    let mut all = Vec::new();
    for (_, file, title, subtitle, scale, tables, name) in BARS.iter().filter(|it| it.0 == workload)
    {
        let panels = panels(book, tables, name);
        if !panels.is_empty() {
            let svg = bars::draw(title, subtitle, *scale, &panels);
            all.push(Picture {
                file: format!("{file}.svg"),
                alt: (*title).to_owned(),
                svg,
            });
        }
    }
    all.extend(match workload {
        "W2" => latencies(book, "w2-latency", "W2", 1024, 8),
        "W9" => tails(book),
        "W10" => alone::of(book, "w10", &alone::COMPACTED),
        "W12" => latencies(book, "w12-latency", "W12", 1024, 8),
        "W14" => alone::of(book, "w14", &alone::ACKNOWLEDGED),
        "W15" => alone::of(book, "w15", &alone::PARALLEL),
        "growth" => growth(book),
        _ => Vec::new(),
    });
    all
}

pub fn store(dir: &Path, pictures: &[Picture]) -> Result<()> {
    fs::create_dir_all(dir)?;
    for picture in pictures {
        fs::write(dir.join(&picture.file), &picture.svg)?;
    }
    Ok(())
}

/// One for each table of these workloads that has this number; logs of ten times the size are apart.
fn panels(book: &Book, workloads: &str, name: &str) -> Vec<Panel> {
    let tables = workloads.split(' ').flat_map(|it| book.works(it));
    let mut works: Vec<&Work> = tables.filter(|work| work.size == 0).collect();
    works.sort_by_key(|work| (work.threads, work.payload_bytes));
    let panel = |work: &&Work| {
        let bar = |row: &&Row| {
            Some(Bar {
                engine: row.engine.clone(),
                kind: book.kind(row),
                honest: book.honest(row),
                value: row.median(name)?,
            })
        };
        let bars: Vec<Bar> = book.rows(work).iter().filter_map(bar).collect();
        let title = match text(&work.workload) {
            Some(text) => text.to_owned(),
            None => format!("{}{}", size(work.payload_bytes), how_many(work)),
        };
        Panel { title, bars }
    };
    works
        .iter()
        .map(panel)
        .filter(|panel| !panel.bars.is_empty())
        .collect()
}

pub fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} B")
    }
}

/// How many threads or workers, where that is what tables differ by.
pub fn how_many(work: &Work) -> String {
    let many = if work.threads == 1 { "" } else { "s" };
    let what = match work.workload.as_str() {
        "W2" | "W12" => "thread",
        "W13" => "worker",
        "W14" => "consumer",
        "W18" => return format!(", {} on the way", work.threads),
        _ => return String::new(),
    };
    format!(", {} {what}{many}", work.threads)
}

/// What kind of text a workload is of.
pub fn text(workload: &str) -> Option<&'static str> {
    match workload {
        "W16-packages" => Some("package list"),
        "W16-json" => Some("lines of JSON"),
        "W16-server" => Some("server log"),
        _ => None,
    }
}

/// The shares of appends that are slower: 1 in 2, 1 in 10, to 1 in 10,000.
fn slower() -> Axis {
    let marks = [
        ("50 %", 2.0),
        ("90 %", 10.0),
        ("99 %", 100.0),
        ("99.9 %", 1e3),
        ("99.99 %", 1e4),
    ];
    Axis {
        title: "share of appends that are at most so slow".to_owned(),
        marks: marks.map(|(mark, at)| (at, mark.to_owned())).to_vec(),
    }
}

/// A curve from 1 in 2 on, as far as there are enough to say.
fn distribution(name: &str, accent: bool, latencies: &[(f64, u64)]) -> Curve {
    let all: u64 = latencies.iter().map(|it| it.1).sum();
    let at = |share: f64| {
        let mut seen = 0;
        let wanted = (all as f64 * (1.0 - 1.0 / share)).ceil() as u64;
        let reached = latencies.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        reached.map(|(us, _)| (share, *us))
    };
    let shares = [2.0, 4.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4];
    let enough = shares.into_iter().filter(|share| all as f64 / share >= 5.0);
    Curve {
        name: name.to_owned(),
        accent,
        points: enough.filter_map(at).collect(),
    }
}

fn curves_picture(
    file: &str,
    title: &str,
    subtitle: &str,
    x: &Axis,
    y: &str,
    curves: &[Curve],
) -> Vec<Picture> {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Vec::new();
    }
    let y = curves::decades(
        y,
        curves
            .iter()
            .flat_map(|curve| curve.points.iter().map(|it| it.1)),
    );
    let svg = curves::draw(title, subtitle, x, &y, curves);
    vec![Picture {
        file: format!("{file}.svg"),
        alt: title.to_owned(),
        svg,
    }]
}

/// Curves of peers in one picture: more cannot be told apart.
const PEERS: usize = 5;

fn latencies(
    book: &Book,
    file: &str,
    workload: &str,
    payload: usize,
    threads: usize,
) -> Vec<Picture> {
    let mut rows = book.rows(&Work {
        threads,
        ..crate::book::work(workload, payload, threads)
    });
    rows.retain(|row| book.honest(row) && book.kind(row) != Kind::Raw && !row.latencies.is_empty());
    let p99 = |row: &Row| row.median("p99_us").unwrap_or(f64::INFINITY);
    rows.sort_by(|a, b| p99(a).total_cmp(&p99(b)));
    let ours = |row: &Row| matches!(book.kind(row), Kind::Cairn | Kind::Variant);
    let mut peers = 0;
    rows.retain(|row| {
        peers += usize::from(!ours(row));
        ours(row) || peers <= PEERS
    });
    let draw = |row: &&Row| distribution(&row.engine, ours(row), &row.latencies);
    let curves: Vec<Curve> = rows.iter().map(draw).collect();
    let title = format!(
        "How long a durable append takes: {threads} threads, {}",
        size(payload)
    );
    let subtitle =
        "Cairn and the five peers of the lowest p99, all rounds together; both axes logarithmic";
    curves_picture(file, &title, subtitle, &slower(), "microseconds", &curves)
}

fn tails(book: &Book) -> Vec<Picture> {
    let named = [
        ("W9-here", "same process", true),
        ("W9-elsewhere", "other process", false),
    ];
    let mut curves = Vec::new();
    for (workload, name, accent) in named {
        let rows = book.rows(&crate::book::work(workload, 100, 1));
        curves.extend(
            rows.iter()
                .map(|row| distribution(name, accent, &row.latencies)),
        );
    }
    let title = "From durable to seen by a waiting reader";
    let subtitle =
        "From the return of the append to the record in the reader's hands; both axes logarithmic";
    curves_picture("w9", title, subtitle, &slower(), "microseconds", &curves)
}

fn growth(book: &Book) -> Vec<Picture> {
    let mut all = Vec::new();
    let both = [("growth-segments", "segments"), ("growth-bytes", "MiB")];
    for (workload, unit) in both {
        let named = [
            ("append_us", "append", true),
            ("get_us", "get", false),
            ("wake_us", "to a tail", false),
            ("rotate_us", "rotate", false),
            ("open_ms", "open", false),
        ];
        let curve = |(name, label, accent): (&str, &str, bool)| {
            let scale = if name == "open_ms" { 1e3 } else { 1.0 };
            let points: Vec<_> = targets::curve(book, workload, name)
                .into_iter()
                .map(|(x, y)| (x, y * scale))
                .collect();
            let power = exponent(&points).map_or(String::new(), |it| format!(" ~ n^{it:.2}"));
            Curve {
                name: format!("{label}{power}"),
                accent,
                points,
            }
        };
        let curves: Vec<Curve> = named.map(curve).into_iter().collect();
        let x = curves::decades(
            unit,
            curves.iter().flat_map(|it| it.points.iter().map(|it| it.0)),
        );
        let title = format!("What each thing costs as the log grows by {unit}");
        let subtitle =
            "Medians, with the exponent of a power law fitted to them; both axes logarithmic";
        all.extend(curves_picture(
            workload,
            &title,
            subtitle,
            &x,
            "microseconds",
            &curves,
        ));
    }
    all
}
