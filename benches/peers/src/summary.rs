//! The few lines of the README: one payload, Cairn, the best peer, the limit.
//!
//! Called by the report; it replaces what stands between two marks and nothing else.

use crate::{
    book::{Better, Book, work},
    engine::Kind,
    plan::Work,
    results::Results,
    text::number,
};
use anyhow::{Context, Result};
use std::{fmt::Write, fs, path::Path};

const START: &str = "<!-- written by cairn-peers -->\n";
const END: &str = "<!-- until here -->\n";
const PAYLOAD: usize = 1024;

/// What is measured, its work, its number, which way is better, and the unit.
type Line = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    Better,
    &'static str,
);

const LINES: [Line; 8] = [
    (
        "durable appends, 1 thread",
        "W1",
        1,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "durable appends, 8 threads",
        "W2",
        8,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "durable appends, 64 threads",
        "W2",
        64,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "durable batches of 100",
        "W3",
        1,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "not durable, with the last sync",
        "W4",
        1,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "read from start to end",
        "read",
        1,
        "rate",
        Better::More,
        "/s",
    ),
    (
        "read one by its number",
        "read",
        1,
        "get_rate",
        Better::More,
        "/s",
    ),
    (
        "open after a kill",
        "killed",
        1,
        "open_ms",
        Better::Less,
        " ms",
    ),
];

/// Replaces the lines of the README.
pub fn store(results: &Results, readme: &Path) -> Result<()> {
    let text = fs::read_to_string(readme)?;
    let (before, rest) = text
        .split_once(START)
        .context("the README has no place for it")?;
    let (_, after) = rest
        .split_once(END)
        .context("the README has no end of it")?;
    let table = table(&Book::new(results))?;
    Ok(fs::write(
        readme,
        format!("{before}{START}\n{table}\n{END}{after}"),
    )?)
}

fn table(book: &Book) -> Result<String> {
    let mut out =
        "| records of 1 KiB | Cairn | the best peer | the limit |\n|---|--:|--:|--:|\n".to_owned();
    for (title, workload, threads, name, better, unit) in LINES {
        let work = work(workload, PAYLOAD, threads);
        let cairn = book.get(&work, "cairn", name);
        let best = book.best(&work, name, better);
        let won = cairn
            .zip(best)
            .is_some_and(|(cairn, (_, best))| better.beats(cairn, best));
        let bold = |text: String, it: bool| if it { format!("**{text}**") } else { text };
        let shown = |value: f64| format!("{}{unit}", number(value));
        writeln!(
            out,
            "| {title} | {} | {} | {} |",
            cairn.map_or("-".to_owned(), |it| bold(shown(it), won)),
            best.map_or("-".to_owned(), |(who, it)| bold(
                format!("{} {who}", shown(it)),
                !won
            )),
            limit(book, &work, name, better).map_or("-".to_owned(), shown),
        )?;
    }
    Ok(out)
}

fn limit(book: &Book, work: &Work, name: &str, better: Better) -> Option<f64> {
    // A copy that is never written, and a scan that checks nothing, limit something else.
    let among = |row: &crate::results::Row| {
        book.kind(row) == Kind::Raw && !["raw-memcpy-crc", "raw-map"].contains(&&*row.engine)
    };
    book.best_of(work, name, better, among).map(|it| it.1)
}
