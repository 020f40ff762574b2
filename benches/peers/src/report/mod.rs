//! `BENCHMARKS.md`: tables, targets and pictures of everything in the results.
//!
//! Called by `main` after a run, and alone by `--render`.

mod sections;

use sections::{Column, SECTIONS, Section};

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
    for (disk, machine) in &results.disks {
        writeln!(
            page,
            "\n## On another disk: {disk}\n\nThe same work. The machine was then: {machine}."
        )?;
        for work in book.works_on(disk) {
            let columns = SECTIONS.iter().flat_map(|it| it.tables);
            let own = columns.filter(|(name, _)| *name == work.workload);
            for (_, columns) in own.take(1) {
                table(&mut page, &book, work, columns)?;
            }
        }
    }
    feet(&mut page, lock)?;
    Ok((page, all))
}

fn head(page: &mut String, results: &Results) -> Result<()> {
    let quick = results.rows.iter().filter(|row| row.quick).count();
    let all = machine::COMMAND;
    // Who measures again on another machine leaves tables of the one before.
    let days = results.machines.iter().rev();
    let days = days.filter(|(day, _)| results.rows.iter().any(|row| row.date == **day));
    let machines: Vec<String> = days.map(|(day, it)| format!("on {day} {it}")).collect();
    let machines = machines.join("; ");
    let commands = if results.command == all {
        format!("`{all}`")
    } else {
        format!("`{all}`, the last part of it by `{}`", results.command)
    };
    writeln!(
        page,
        "# Benchmarks\n\n\
         Cairn beside the logs that people know and beside bare loops, on the same work, in the same run. Written by\n\
         {}\non {}; do not edit. A run replaces what it measures and leaves the rest: above each table stands when it was measured, in how many rounds, and how long Cairn's were.\n\n\
         * Machine: {machines}.\n\
         * Rows of a table alternate, each round in fresh processes and directories, begun one row further on. Numbers are medians \
         over the rounds, with the least and the most in small print. Read ratios inside one table, and nothing across tables.\n\
         * *Syncs* are the flushes that the block device completed, *device B/B* the bytes written to it for each byte of payload: \
         counted from outside, whatever an engine says of itself. What else the machine does at that time is in them too.\n\
         * Above each table, too: what others had of the processors meanwhile, the kernel's own threads for the disk included. With \
         much of it a table says little: on a busy core who waits for a sync waits for its turn as well, 4 ms on many kernels.\n\
         * *Peak MiB* is that of the child, about 15 MiB of program and, with 64 threads, of histograms included.\n\
         * **Bold**: the best of Cairn and the peers, whoever it is. *Italics*: limits. †: was seen not to reach the device, and \
         is nobody's best.",
        commands, results.date
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
        "W16-codec" => "packing it, package list, ".to_owned(),
        "W18-stores" => "as a Raft node's log store, ".to_owned(),
        _ => pictures::text(&work.workload).map_or_else(String::new, |it| format!("{it}, ")),
    };
    name += &pictures::size(work.payload_bytes);
    name += &pictures::how_many(work);
    match work.workload.as_str() {
        "read" | "killed" if work.size > 0 => name += &format!(", {} MiB", work.size),
        "W17" => name += &format!(", {} logs", work.size),
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
    let mut others: Vec<f64> = rows.iter().filter_map(|row| row.median("others")).collect();
    others.sort_by(f64::total_cmp);
    let ratio = if alone { "" } else { " to Cairn |" };
    write!(
        page,
        "\n### {} {}\n\n",
        work.workload.split('-').next().unwrap_or_default(),
        name_of(work)
    )?;
    let date = rows
        .iter()
        .map(|row| &row.date)
        .max()
        .cloned()
        .unwrap_or_default();
    let rounds = rows.iter().map(|row| row.rounds.len()).max().unwrap_or(0);
    let seconds = book.get(work, "cairn", "seconds");
    let each = seconds.map_or_else(String::new, |it| format!(" of {} s", number(it)));
    let busy = others
        .get(others.len() / 2)
        .map_or_else(String::new, |others| {
            let share = others * 100.0;
            format!(" Others had {share:.0} % of the processors meanwhile.")
        });
    let short = if rows.iter().any(|row| row.quick) {
        ", `--quick`"
    } else {
        ""
    };
    writeln!(
        page,
        "<sub>{date}, {rounds} rounds{each}{short}.{busy}</sub>\n"
    )?;
    write!(page, "| |")?;
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
        let mark = if row.date == date {
            mark
        } else {
            format!("{mark} <sub>{}</sub>", row.date)
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
        let rows = works.iter().flat_map(|work| book.rows(work));
        let date = rows.map(|row| row.date.as_str()).max().unwrap_or_default();
        writeln!(page, "\n<sub>{date}.</sub>")?;
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
        let package = match it.kind {
            Kind::Cairn | Kind::Variant => "cairnlog",
            _ => it.name.trim_end_matches("-lz4").trim_end_matches("-zstd"),
        };
        let version = machine::version(lock, package);
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
