//! What is asked of letting go, of queues, of many threads that read, of packing, and of handing over.

use super::{PAYLOADS, Target, at_least, at_most, of_limit, over_best};
use crate::{
    book::{Better, Book, work},
    pictures,
};

pub fn of(book: &Book, workload: &str) -> Vec<Target> {
    match workload {
        "W12" => checkpoints(book),
        "W13" => queue(book),
        "W14" => acknowledgements(book),
        "W16" => packing(book),
        "W17" => many(book),
        "W18" => handing_over(book),
        _ => parallel(book),
    }
}

fn checkpoints(book: &Book) -> Vec<Target> {
    let mut all = Vec::new();
    for (threads, over_peers, limit, of) in [
        (1, 1.0, "raw-fdatasync", 0.95),
        (8, 1.3, "raw-group", 1.0),
        (64, 1.3, "raw-group", 1.0),
    ] {
        let named = |target: Target| Target {
            what: format!("{threads} threads, {}", target.what),
            ..target
        };
        let rates = over_best(book, "W12", threads, "rate", [over_peers; 3]);
        all.extend(rates.into_iter().map(named));
        for (payload, label) in PAYLOADS {
            let work = work("W12", payload, threads);
            all.push(named(of_limit(book, &work, label, "rate", limit, of)));
            for peer in ["okaywal", "raft-engine"] {
                let theirs = book.get(&work, peer, "p99_us");
                let reached = book.ratio(&work, "p99_us", theirs);
                let what = format!("{label}: p99 over that of {peer}");
                all.push(named(at_most(what, 1.0, reached)));
            }
            let bare = book.get(&work, limit, "device_ratio");
            let reached = book.ratio(&work, "device_ratio", bare);
            let what = format!("{label}: device bytes over those of {limit}");
            all.push(named(at_most(what, 1.1, reached)));
        }
    }
    all
}

/// Of a log that only grows, whose files are all new: p99 beside okaywal, which writes over its own.
pub fn where_nothing_comes_back(book: &Book, workload: &str, threads: &[usize]) -> Vec<Target> {
    let mut all = Vec::new();
    for &threads in threads {
        for (payload, label) in PAYLOADS {
            let work = work(workload, payload, threads);
            let theirs = book.get(&work, "okaywal", "p99_us");
            let reached = book.ratio(&work, "p99_us", theirs);
            let of = pictures::how_many(&work);
            all.push(at_most(
                format!("{label}{of}: p99 over that of okaywal"),
                1.5,
                reached,
            ));
        }
    }
    all
}

fn queue(book: &Book) -> Vec<Target> {
    let one = work("W13", 100, 1);
    let sqlite = book.get(&one, "rusqlite", "rate");
    let many = work("W13", 100, 64);
    let best = book.best(&many, "rate", Better::More);
    let who = best.map_or("the best peer", |it| it.0);
    vec![
        at_least(
            "1 worker: over rusqlite",
            2.0,
            book.ratio(&one, "rate", sqlite),
        ),
        at_least(
            format!("64 workers: over {who}"),
            5.0,
            book.ratio(&many, "rate", best.map(|it| it.1)),
        ),
    ]
}

fn acknowledgements(book: &Book) -> Vec<Target> {
    let of_appends = |threads| book.get(&work("W14", 100, threads), "cairn", "of_appends");
    vec![
        at_least(
            "1 consumer: of durable appends by one thread",
            0.9,
            of_appends(1),
        ),
        at_least(
            "64 consumers: of durable appends by 64 threads",
            0.8,
            of_appends(64),
        ),
    ]
}

fn parallel(book: &Book) -> Vec<Target> {
    let get = |name| book.get(&work("W15", 1024, 2), "cairn", name);
    vec![
        at_least("scan: two threads over one", 1.8, get("scan_gain")),
        at_least("verify: two threads over one", 1.8, get("verify_gain")),
    ]
}

fn packing(book: &Book) -> Vec<Target> {
    let mut all = Vec::new();
    for (workload, label) in [
        ("W16-packages", "package list"),
        ("W16-json", "JSON"),
        ("W16-server", "server log"),
    ] {
        let work = work(workload, 100, 1);
        for (engine, asked) in [("cairn-zstd", 0.2), ("cairn-lz4", 0.3)] {
            let reached = book.get(&work, engine, "disk_ratio");
            let what = format!("{label}, {engine}: bytes on disk per byte of payload");
            all.push(at_most(what, asked, reached));
        }
        let packed = book.get(&work, "cairn-lz4", "rate");
        let plain = book.get(&work, "cairn", "rate");
        let reached = packed.zip(plain).map(|(packed, plain)| packed / plain);
        let what = format!("{label}: scan of cairn-lz4 over cairn");
        all.push(at_least(what, 0.5, reached));
    }
    let work = work("W16-codec", 100, 1);
    for engine in ["cairn-lz4", "cairn-zstd"] {
        let get = |name| book.get(&work, engine, name);
        let what = format!("{engine}: packing, of the bare codec");
        all.push(at_least(what, 0.5, get("of_bare")));
        let beside = get("beside_p99_us").zip(get("held_p99_us"));
        let what = format!("{engine}: p99 of appends beside it over alone");
        let reached = beside.map(|(beside, held)| beside / held);
        all.push(at_most(what, 1.2, reached));
    }
    all
}

fn many(book: &Book) -> Vec<Target> {
    let works = book.works("W17");
    let Some(work) = works.last() else {
        return Vec::new();
    };
    let get = |name| book.get(work, "cairn", name);
    let logs = work.size;
    let most = |what: &str, limit, reached| at_most(format!("{logs} logs: {what}"), limit, reached);
    vec![
        most("threads", 8.0, get("threads")),
        most("descriptors a log", 4.0, get("descriptors")),
        most(
            "bytes of memory a log, before it was used",
            1024.0,
            get("memory_bytes"),
        ),
        most(
            "KiB on disk a log",
            64.0,
            get("disk_bytes").map(|it| it / 1024.0),
        ),
        most(
            "ms of processor time in 10 s at rest",
            10.0,
            get("idle_cpu_ms"),
        ),
        most("seconds to open all", 20.0, get("open_s")),
    ]
}

fn handing_over(book: &Book) -> Vec<Target> {
    let target = |workload, depth| {
        let work = work(workload, 256, depth);
        let best = book.best(&work, "rate", Better::More);
        let who = best.map_or("the best peer", |it| it.0);
        let reached = book.ratio(&work, "rate", best.map(|it| it.1));
        let how = if workload == "W18" { "" } else { "as stores, " };
        at_least(format!("{how}{depth} on the way: over {who}"), 2.0, reached)
    };
    let of = |workload| [1, 64, 1024].map(|depth| target(workload, depth));
    ["W18", "W18-stores"].into_iter().flat_map(of).collect()
}
