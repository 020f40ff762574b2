//! What Cairn is meant to reach, beside what it reached.

mod later;

use crate::{
    book::{Better, Book, exponent, work},
    engine::Kind,
    plan::Work,
    text::number,
};

/// One line: asked and reached, which is missing if it was not measured.
pub struct Target {
    pub what: String,
    pub asked: String,
    pub reached: Option<String>,
    pub met: bool,
}

fn at_least(what: impl Into<String>, asked: f64, reached: Option<f64>) -> Target {
    Target {
        what: what.into(),
        asked: format!(">= {}", number(asked)),
        reached: reached.map(number),
        met: reached.is_some_and(|it| it >= asked),
    }
}

fn at_most(what: impl Into<String>, asked: f64, reached: Option<f64>) -> Target {
    Target {
        what: what.into(),
        asked: format!("<= {}", number(asked)),
        reached: reached.map(number),
        met: reached.is_some_and(|it| it <= asked),
    }
}

const PAYLOADS: [(usize, &str); 3] = [(100, "100 B"), (1024, "1 KiB"), (16 * 1024, "16 KiB")];

/// Cairn's rate over the best honest peer's, for each payload.
fn over_best(
    book: &Book,
    workload: &str,
    threads: usize,
    name: &str,
    asked: [f64; 3],
) -> Vec<Target> {
    let each = PAYLOADS.iter().zip(asked).map(|((payload, label), asked)| {
        let work = work(workload, *payload, threads);
        let best = book.best(&work, name, Better::More);
        let who = best.map_or("the best peer", |it| it.0);
        let ours = book.ours(&work, name, Better::More);
        at_least(
            format!("{label}: {}over {who}", option(ours)),
            asked,
            ours.zip(best).map(|(ours, best)| ours.1 / best.1),
        )
    });
    each.collect()
}

/// Cairn's rate over a limit's, for each payload.
fn over_limit(book: &Book, workload: &str, name: &str, limit: &str, asked: f64) -> Vec<Target> {
    let each = PAYLOADS.iter().map(|(payload, label)| {
        of_limit(
            book,
            &work(workload, *payload, 1),
            label,
            name,
            limit,
            asked,
        )
    });
    each.collect()
}

fn of_limit(book: &Book, work: &Work, label: &str, name: &str, limit: &str, asked: f64) -> Target {
    let ours = book.ours(work, name, Better::More);
    let reached = ours.zip(book.get(work, limit, name));
    at_least(
        format!("{label}: {}of {limit}", option(ours)),
        asked,
        reached.map(|(ours, limit)| ours.1 / limit),
    )
}

/// What to say where the best of Cairn is not Cairn as it is.
fn option(ours: Option<(&str, f64)>) -> String {
    match ours {
        Some((name, _)) if name != "cairn" => format!("{name} "),
        _ => String::new(),
    }
}

pub fn of(book: &Book, workload: &str) -> Vec<Target> {
    match workload {
        "W1" => w1(book),
        "W2" => w2(book),
        "W3" => {
            let mut all = over_best(book, "W3", 1, "rate", [1.1, 1.35, 1.6]);
            all.extend(over_limit(book, "W3", "rate", "raw-direct", 0.95));
            all.extend(later::where_nothing_comes_back(book, "W3", &[1]));
            all
        }
        "W4" => w4(book),
        "W5" => w5(book),
        "W6" => w6(book),
        "W7" => w7(book),
        "W8" => w8(book),
        "W9" => vec![
            at_most(
                "same process, median us",
                30.0,
                book.get(&work("W9-here", 100, 1), "cairn", "p50_us"),
            ),
            at_most(
                "other process, median us",
                100.0,
                book.get(&work("W9-elsewhere", 100, 1), "cairn", "p50_us"),
            ),
        ],
        "W10" => w10(book),
        "W12" | "W13" | "W14" | "W15" | "W16" | "W17" | "W18" => later::of(book, workload),
        "growth" => growth(book),
        _ => Vec::new(),
    }
}

fn w1(book: &Book) -> Vec<Target> {
    let mut all = over_limit(book, "W1", "rate", "raw-fdatasync", 0.97);
    // Only where that is the faster way.
    for (payload, label) in PAYLOADS {
        let work = work("W1", payload, 1);
        let limit = |name| book.get(&work, name, "rate");
        if limit("raw-direct") > limit("raw-fdatasync") {
            all.push(of_limit(book, &work, label, "rate", "raw-direct", 0.95));
        }
    }
    all.extend(later::where_nothing_comes_back(book, "W1", &[1]));
    all
}

fn w2(book: &Book) -> Vec<Target> {
    let mut all = Vec::new();
    for (threads, asked) in [(8, [2.0, 2.0, 1.9]), (64, [2.0, 2.0, 2.5])] {
        for target in over_best(book, "W2", threads, "rate", asked) {
            all.push(Target {
                what: format!("{threads} threads, {}", target.what),
                ..target
            });
        }
        for (payload, label) in PAYLOADS {
            let work = work("W2", payload, threads);
            let best = book.best(&work, "p99_us", Better::Less);
            let who = best.map_or("the best peer", |it| it.0);
            let what = format!("{threads} threads, {label}: p99 over that of {who}");
            all.push(at_most(
                what,
                1.0,
                book.ratio(&work, "p99_us", best.map(|it| it.1)),
            ));
            let worst = book.get(&work, "cairn", "worst_thread_p999_us");
            let median = book.get(&work, "cairn", "p50_us");
            let what = format!("{threads} threads, {label}: worst thread's p99.9 over the median");
            all.push(at_most(
                what,
                10.0,
                worst.zip(median).map(|(worst, median)| worst / median),
            ));
        }
    }
    all.extend(later::where_nothing_comes_back(book, "W2", &[8, 64]));
    all
}

fn w4(book: &Book) -> Vec<Target> {
    let label = |what: &str, targets: Vec<Target>| {
        let what = what.to_owned();
        targets.into_iter().map(move |it| Target {
            what: format!("{what}, {}", it.what),
            ..it
        })
    };
    let handed = over_best(book, "W4", 1, "handed_over_rate", [3.0, 2.0, 2.0]);
    let synced = over_best(book, "W4", 1, "rate", [2.0, 1.5, 1.2]);
    let written = over_best(book, "W4-written", 1, "handed_over_rate", [1.05; 3]);
    let limit = over_limit(book, "W4-written", "handed_over_rate", "raw-pwrite", 0.95);
    let all = label("handed over", handed).chain(label("with the last sync", synced));
    all.chain(label("written", written))
        .chain(label("written", limit))
        .collect()
}

fn w5(book: &Book) -> Vec<Target> {
    let short = work("read", 100, 1);
    let lmdb = book.get(&short, "heed", "rate");
    let mut all = vec![at_least(
        "100 B: over heed, which checks nothing",
        1.0,
        book.ratio(&short, "rate", lmdb),
    )];
    for (payload, label) in &PAYLOADS[1..] {
        let work = work("read", *payload, 1);
        let limit = book.get(&work, "raw-map-crc", "rate");
        all.push(at_least(
            format!("{label}: of raw-map-crc"),
            0.85,
            book.ratio(&work, "rate", limit),
        ));
        // The others lend out their cache: their 16 KiB come faster than memory could be read.
        let copies = |row: &crate::results::Row| {
            let lends = ["cairn", "heed", "redb", "sled"].contains(&&*row.engine);
            book.kind(row) != Kind::Raw && !lends
        };
        let best = book.best_of(&work, "rate", Better::More, copies);
        let who = best.map_or("the best that copies", |it| it.0);
        let reached = book.ratio(&work, "rate", best.map(|it| it.1));
        all.push(at_least(format!("{label}: over {who}"), 2.0, reached));
    }
    all
}

fn w6(book: &Book) -> Vec<Target> {
    let work = work("read", 1024, 1);
    let lmdb = book.get(&work, "heed", "get_rate");
    vec![
        at_least(
            "1 KiB: over heed, which checks nothing",
            2.0,
            book.ratio(&work, "get_rate", lmdb),
        ),
        at_most(
            "1 KiB: median us",
            0.5,
            book.get(&work, "cairn", "get_p50_us"),
        ),
    ]
}

/// The largest log of this kind that was opened.
fn largest<'a>(book: &Book<'a>, workload: &str) -> Option<&'a Work> {
    let mut works = book.works(workload);
    works.retain(|it| it.payload_bytes == 1024);
    works.sort_by_key(|it| it.size);
    works.last().copied()
}

fn w7(book: &Book) -> Vec<Target> {
    let mut all = Vec::new();
    for (workload, label, ms) in [
        ("read", "after a clean close", 5.0),
        ("killed", "after a kill", 100.0),
    ] {
        let Some(work) = largest(book, workload) else {
            continue;
        };
        let bytes = book.get(work, "cairn", "length_bytes");
        let size = bytes.map_or(String::new(), |it| {
            format!(", {} MiB", number(it / f64::from(1 << 20)))
        });
        let get = |name| book.get(work, "cairn", name);
        all.push(at_most(format!("{label}{size}: ms"), ms, get("open_ms")));
        all.push(at_most(
            format!("{label}{size}: MiB of memory"),
            16.0,
            get("open_peak_mib"),
        ));
    }
    all
}

fn w8(book: &Book) -> Vec<Target> {
    let fresh = book.get(&work("fresh", 1024, 1), "cairn", "allocated_bytes");
    vec![
        at_most(
            "not durable, 1 KiB: device bytes per payload byte",
            1.05,
            book.get(&work("W4", 1024, 1), "cairn", "device_ratio"),
        ),
        at_most(
            "a fresh log, MiB on disk",
            1.0,
            fresh.map(|it| it / f64::from(1 << 20)),
        ),
    ]
}

fn w10(book: &Book) -> Vec<Target> {
    let work = work("W10", 1024, 1);
    let get = |name| book.get(&work, "cairn", name);
    let beside = get("beside_p99_us").zip(get("held_p99_us"));
    vec![
        at_least("of a plain copy of the live bytes", 0.5, get("copy_ratio")),
        at_most(
            "p99 of appends beside it over alone",
            2.0,
            beside.map(|(beside, held)| beside / held),
        ),
    ]
}

/// A cost by segments or MiB.
pub fn curve(book: &Book, workload: &str, name: &str) -> Vec<(f64, f64)> {
    let mut works = book.works(workload);
    works.sort_by_key(|it| it.size);
    let point = |work: &&Work| Some((work.size as f64, book.get(work, "cairn", name)?));
    works.iter().filter_map(point).collect()
}

fn growth(book: &Book) -> Vec<Target> {
    let mut all = Vec::new();
    for (workload, unit) in [("growth-segments", "segments"), ("growth-bytes", "bytes")] {
        for (name, what) in [
            ("append_us", "append"),
            ("get_us", "get"),
            ("wake_us", "append to tail"),
        ] {
            let reached = exponent(&curve(book, workload, name));
            all.push(at_most(
                format!("{what}, exponent by {unit}"),
                0.05,
                reached,
            ));
        }
    }
    let points = curve(book, "growth-segments", "open_ms");
    all.push(at_most(
        "open, exponent by segments",
        1.0,
        exponent(&points),
    ));
    let memory = curve(book, "growth-segments", "memory_bytes_per_segment")
        .last()
        .map(|it| it.1);
    all.push(at_most(
        "bytes of memory per segment, at the most segments",
        256.0,
        memory,
    ));
    all
}
