//! `BENCHMARKS.md`: tables, targets and pictures of everything in the results.
//!
//! Called by `main` after a run, and alone by `--render`.

use crate::{
    book::{Better, Book},
    engine::{self, Kind},
    machine, pictures,
    plan::Work,
    results::{Results, Row},
    targets,
    text::number,
};
use anyhow::Result;
use std::{fmt::Write, path::Path};

/// A column: its title, the number, what it is multiplied by, and which way is better, if that is marked.
type Column = (&'static str, &'static str, f64, Option<Better>);

const MIB: f64 = 1.0 / (1 << 20) as f64;
const DURABLE: &[Column] = &[
    ("records/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("p99.9 µs", "p999_us", 1.0, None),
    ("syncs/record", "flushes", 1.0, None),
    ("device B/B", "device_ratio", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const UNSYNCED: &[Column] = &[
    ("records/s, synced", "rate", 1.0, Some(Better::More)),
    ("handed over/s", "handed_over_rate", 1.0, Some(Better::More)),
    ("device B/B", "device_ratio", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const SCAN: &[Column] = &[
    ("records/s", "rate", 1.0, Some(Better::More)),
    ("MB/s", "bytes_per_s", 1e-6, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const GET: &[Column] = &[
    ("reads/s", "get_rate", 1.0, Some(Better::More)),
    ("p50 µs", "get_p50_us", 1.0, None),
    ("p99 µs", "get_p99_us", 1.0, Some(Better::Less)),
];
const OPEN: &[Column] = &[
    ("open ms", "open_ms", 1.0, Some(Better::Less)),
    ("MiB after", "open_mib", 1.0, None),
    ("peak MiB", "open_peak_mib", 1.0, Some(Better::Less)),
    ("files MiB", "length_bytes", MIB, None),
];
const FRESH: &[Column] = &[
    (
        "on disk KiB",
        "allocated_bytes",
        1.0 / 1024.0,
        Some(Better::Less),
    ),
    ("file lengths KiB", "length_bytes", 1.0 / 1024.0, None),
];
const TAIL: &[Column] = &[
    ("p50 µs", "p50_us", 1.0, None),
    ("p90 µs", "p90_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, None),
    ("from the call, p50 µs", "total_p50_us", 1.0, None),
];
const COMPACT: &[Column] = &[
    ("live MB/s", "rate", 1e-6, None),
    ("plain copy MB/s", "copy_rate", 1e-6, None),
    ("append p99 alone µs", "held_p99_us", 1.0, None),
    ("beside µs", "beside_p99_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const MIXED: &[Column] = &[
    ("appends/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("read MB/s", "read_bytes_per_s", 1e-6, Some(Better::More)),
];
const GROWTH: &[Column] = &[
    ("append µs", "append_us", 1.0, None),
    ("rotate µs", "rotate_us", 1.0, None),
    ("open ms", "open_ms", 1.0, None),
    ("get µs", "get_us", 1.0, None),
    ("tail wake-up µs", "wake_us", 1.0, None),
    (
        "bytes of memory per segment",
        "memory_bytes_per_segment",
        1.0,
        None,
    ),
];

/// A workload of the report: its tables come from these works.
struct Section {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    tables: &'static [(&'static str, &'static [Column])],
}

const SECTIONS: &[Section] = &[
    Section {
        name: "W1",
        title: "durable appends, one thread",
        text: "Each append returns when the record survives power loss. The limits write the payload and 32 bytes.",
        tables: &[("W1", DURABLE)],
    },
    Section {
        name: "W2",
        title: "durable appends, 8 and 64 threads",
        text: "The limits have one thread, and write as many records with one sync as Cairn did on average in the round before.",
        tables: &[("W2", DURABLE)],
    },
    Section {
        name: "W3",
        title: "durable batches of 100",
        text: "Latencies are of a batch, the rest is per record.",
        tables: &[("W3", DURABLE)],
    },
    Section {
        name: "W4",
        title: "not durable",
        text: "The cheapest mode that each has, up to 1 GiB or the time box, one sync at the end: how fast records are handed over, \
               and with that sync in. Then the same with at least one write to the operating system for each record.",
        tables: &[("W4", UNSYNCED), ("W4-written", UNSYNCED)],
    },
    Section {
        name: "W5",
        title: "sequential reading, warm",
        text: "The second pass over a log that was closed and opened again.",
        tables: &[("read", SCAN)],
    },
    Section {
        name: "W6",
        title: "random reads by number, warm",
        text: "One thread; transactions, where there are any, for each read.",
        tables: &[("read", GET)],
    },
    Section {
        name: "W7",
        title: "opening",
        text: "After a clean close, then after a SIGKILL. Memory is what opening added.",
        tables: &[("read", OPEN), ("killed", OPEN)],
    },
    Section {
        name: "W8",
        title: "space",
        text: "A log with one durable record, while it is open. The bytes that reached the device for each byte of payload are in \
               the tables of W1 to W4.",
        tables: &[("fresh", FRESH)],
    },
    Section {
        name: "W9",
        title: "tail latency",
        text: "From the return of a durable append to a waiting reader's having the record: a thread of the same process, then \
               another process. No peer has a reader that waits.",
        tables: &[("W9-here", TAIL), ("W9-elsewhere", TAIL)],
    },
    Section {
        name: "W10",
        title: "compaction",
        text: "A keyed log, half of it dead: as fast as it can beside a plain copy of the live bytes, synced; and durable appends \
               of 100 B beside a compaction at the default rate.",
        tables: &[("W10", COMPACT)],
    },
    Section {
        name: "W11",
        title: "one durable writer, four scanning readers",
        text: "Two cores or few: who reads faster leaves less for the writer.",
        tables: &[("W11", MIXED)],
    },
    Section {
        name: "growth",
        title: "growth",
        text: "Cairn alone. By segments: a log of small ones that is made with the format's encoders. By MiB: segments as by default.",
        tables: &[("growth-segments", GROWTH), ("growth-bytes", GROWTH)],
    },
];

/// The whole page. `charts` is where the pictures are, seen from the page.
pub fn render(
    results: &Results,
    lock: &str,
    charts: &str,
) -> Result<(String, Vec<pictures::Picture>)> {
    let (book, mut page, mut all) = (Book::new(results), String::new(), Vec::new());
    head(&mut page, results)?;
    for section in SECTIONS {
        let works: Vec<(&Work, &[Column])> = section
            .tables
            .iter()
            .flat_map(|(name, columns)| book.works(name).into_iter().map(|work| (work, *columns)))
            .collect();
        if works.is_empty() {
            continue;
        }
        writeln!(
            page,
            "\n## {}: {}\n\n{}",
            section.name, section.title, section.text
        )?;
        for picture in pictures::of(&book, section.name) {
            writeln!(page, "\n![{}]({charts}/{})", picture.alt, picture.file)?;
            all.push(picture);
        }
        met(&mut page, &targets::of(&book, section.name))?;
        if section.name == "growth" {
            grown(&mut page, &book, section)?;
            continue;
        }
        for (work, columns) in works {
            table(&mut page, &book, work, columns)?;
        }
    }
    feet(&mut page, lock)?;
    Ok((page, all))
}

fn head(page: &mut String, results: &Results) -> Result<()> {
    let quick = results.rows.iter().filter(|row| row.quick).count();
    writeln!(
        page,
        "# Benchmarks\n\n\
         Cairn beside the logs that people know and beside bare loops, on the same work, in the same run. Written by\n\
         `{}`\non {}; do not edit.\n\n\
         * Machine: {}.\n\
         * Rows of a table alternate, each round in fresh processes and directories, begun one row further on. Numbers are medians \
         over the rounds, with the least and the most in small print. Read ratios inside one table, and nothing across tables.\n\
         * *Syncs* are the flushes that the block device completed, *device B/B* the bytes written to it for each byte of payload: \
         counted from outside, whatever an engine says of itself. What else the machine does at that time is in them too.\n\
         * **Bold**: the best of Cairn and the peers, whoever it is. *Italics*: limits. †: was seen not to reach the device, and \
         is nobody's best.",
        results.command, results.date, results.machine
    )?;
    if quick > 0 {
        writeln!(
            page,
            "* {quick} of {} rows are from a run with `--quick`: short, few rounds, small logs. Good for the shape, too noisy for \
             the last tenth.",
            results.rows.len()
        )?;
    }
    Ok(())
}

fn met(page: &mut String, targets: &[targets::Target]) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n| target | asked | reached | |\n|---|---|---|---|")?;
    for it in targets {
        let (reached, verdict) = match (&it.reached, it.met) {
            (None, _) => ("-", "not measured"),
            (Some(reached), true) => (reached.as_str(), "met"),
            (Some(reached), false) => (reached.as_str(), "**missed**"),
        };
        writeln!(
            page,
            "| {} | {} | {reached} | {verdict} |",
            it.what, it.asked
        )?;
    }
    Ok(())
}

fn name_of(work: &Work) -> String {
    let mut name = match work.workload.as_str() {
        "W4-written" => "one write each, ".to_owned(),
        "killed" => "after a kill, ".to_owned(),
        "W9-here" => "same process, ".to_owned(),
        "W9-elsewhere" => "other process, ".to_owned(),
        _ => String::new(),
    };
    name += &pictures::size(work.payload_bytes);
    match work.workload.as_str() {
        "W2" => name += &format!(", {} threads", work.threads),
        "read" | "killed" if work.size > 0 => name += &format!(", {} MiB", work.size),
        _ => {}
    }
    name
}

fn table(page: &mut String, book: &Book, work: &Work, columns: &[Column]) -> Result<()> {
    let mut rows = book.rows(work);
    rows.retain(|row| {
        columns
            .iter()
            .any(|(_, name, ..)| row.median(name).is_some())
    });
    let Some((_, first, _, better)) = columns.first().copied() else {
        return Ok(());
    };
    let (worst, less) = if better == Some(Better::Less) {
        (f64::INFINITY, true)
    } else {
        (0.0, false)
    };
    let key = |row: &Row| row.median(first).unwrap_or(worst);
    rows.sort_by(|a, b| {
        if less {
            key(a).total_cmp(&key(b))
        } else {
            key(b).total_cmp(&key(a))
        }
    });
    if rows.is_empty() {
        return Ok(());
    }
    let alone = rows.len() == 1;
    let ratio = if alone { "" } else { " to Cairn |" };
    write!(
        page,
        "\n### {} {}\n\n| |",
        work.workload.split('-').next().unwrap_or_default(),
        name_of(work)
    )?;
    for (number, (title, ..)) in columns.iter().enumerate() {
        write!(page, " {title} |{}", if number == 0 { ratio } else { "" })?;
    }
    writeln!(
        page,
        "\n|---|{}",
        "--:|".repeat(columns.len() + usize::from(!alone))
    )?;
    for row in rows {
        let mark = match book.kind(row) {
            Kind::Raw => format!("*{}*", row.engine),
            _ if !book.honest(row) => format!("{} †", row.engine),
            _ => row.engine.clone(),
        };
        write!(page, "| {mark} |")?;
        for (number, column) in columns.iter().enumerate() {
            write!(page, " {} |", cell(book, work, row, column))?;
            if number == 0 && !alone {
                let cairn = book.get(work, "cairn", first);
                let ratio = row
                    .median(first)
                    .zip(cairn)
                    .map(|(value, cairn)| value / cairn);
                write!(
                    page,
                    " {} |",
                    ratio.map_or("-".to_owned(), |it| format!("{it:.2}"))
                )?;
            }
        }
        writeln!(page)?;
    }
    Ok(())
}

fn cell(book: &Book, work: &Work, row: &Row, column: &Column) -> String {
    let (_, name, scale, better) = *column;
    let Some(spread) = row.spread(name) else {
        return "-".to_owned();
    };
    let median = number(spread.median * scale);
    let among = |row: &Row| book.kind(row) != Kind::Raw;
    let best = better.and_then(|better| book.best_of(work, name, better, among));
    let alone = book.rows(work).len() == 1;
    let median = if !alone && best.is_some_and(|(who, _)| who == row.engine) {
        format!("**{median}**")
    } else {
        median
    };
    if better.is_none() || row.rounds.len() < 2 {
        return median;
    }
    let (min, max) = (number(spread.min * scale), number(spread.max * scale));
    format!("{median} <sub>{min}..{max}</sub>")
}

/// One line for each size.
fn grown(page: &mut String, book: &Book, section: &Section) -> Result<()> {
    for (workload, columns) in section.tables {
        let mut works = book.works(workload);
        works.sort_by_key(|work| work.size);
        let unit = if *workload == "growth-segments" {
            "segments"
        } else {
            "MiB"
        };
        write!(page, "\n| {unit} |")?;
        for (title, ..) in *columns {
            write!(page, " {title} |")?;
        }
        writeln!(page, "\n|--:|{}", "--:|".repeat(columns.len()))?;
        for work in works {
            write!(page, "| {} |", number(work.size as f64))?;
            for (_, name, scale, _) in *columns {
                let value = book.get(work, "cairn", name).map(|it| number(it * scale));
                write!(page, " {} |", value.unwrap_or_else(|| "-".to_owned()))?;
            }
            writeln!(page)?;
        }
    }
    Ok(())
}

fn feet(page: &mut String, lock: &str) -> Result<()> {
    writeln!(
        page,
        "\n## Who is compared, and how each is set up\n\n| | version | settings | reading checks |\n|---|---|---|---|"
    )?;
    for it in engine::all() {
        let version = machine::version(
            lock,
            if it.kind == Kind::Cairn {
                "cairnlog"
            } else {
                it.name
            },
        );
        let reads = if it.reads.is_empty() { "-" } else { it.reads };
        let dagger = if it.kind == Kind::NotDurable {
            " †"
        } else {
            ""
        };
        writeln!(
            page,
            "| {}{dagger} | {} | {} | {reads} |",
            it.name,
            version.unwrap_or_else(|| "-".to_owned()),
            it.settings
        )?;
    }
    Ok(())
}

/// Writes the page and its pictures.
pub fn store(results: &Results, root: &Path, page: &Path, charts: &Path) -> Result<()> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let beside = page
        .parent()
        .and_then(|parent| charts.strip_prefix(parent).ok());
    let (text, all) = render(results, &lock, &beside.unwrap_or(charts).to_string_lossy())?;
    pictures::store(charts, &all)?;
    Ok(std::fs::write(page, text)?)
}
