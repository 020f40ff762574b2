//! Does every shell session of the guide run as it is shown?
//!
//! The blocks of a page that are marked `console` are one session in an empty folder. A line that
//! begins with `$ ` is a command; what follows is its output, errors included. It is compared in shape:
//! numbers, times, sizes and ids may differ; three dots stand for any end of a line, and on a line of
//! their own for any lines. A command ends with 0, unless the next one asks how it ended.

mod common;
use common::Scratch;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

/// A command, and what the page shows of its output.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

fn pages() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/src");
    let entries = fs::read_dir(dir).expect("the guide");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("a page").path()).collect();
    pages.sort();
    pages
}

fn session(text: &str) -> Vec<Step> {
    let (mut steps, mut inside) = (Vec::<Step>::new(), false);
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step {
                line: at + 1,
                command: command.to_owned(),
                ..Step::default()
            });
        } else if inside {
            let step = steps.last_mut().expect("a block begins with a command");
            step.shown.push(line.to_owned());
        }
    }
    steps
}

/// All commands in one shell, with what each printed and how it ended.
fn run(steps: &[Step]) -> Vec<(String, i32)> {
    const MARK: char = '\u{1}';
    let mut script = "exec 2>&1\n".to_owned();
    for step in steps {
        // The next command finds the exit code of this one, as at a terminal.
        script += &format!(
            "{}\nit=$?; printf '\\001%d\\001' $it; (exit $it)\n",
            step.command
        );
    }
    let out = Scratch::new().shell(&script).out();
    let parts: Vec<&str> = out.split(MARK).collect();
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| (pair[0].to_owned(), pair[1].parse().expect("an exit code")))
        .collect()
}

/// A word without what may differ: digits, and what is written in hexadecimal.
fn shape_of_word(word: &str) -> &str {
    let is_hex = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    match word {
        _ if is_hex || word.starts_with(|c: char| c.is_ascii_digit()) => "#",
        _ => word,
    }
}

/// A line without what may differ.
fn shape(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| match first {
            _ if first.is_alphanumeric() => c.is_alphanumeric(),
            ' ' => c == ' ',
            _ if "█▓▒░·".contains(first) => "█▓▒░·".contains(c),
            _ => false,
        };
        let len = rest
            .find(|c| !same(c))
            .unwrap_or(rest.len())
            .max(first.len_utf8());
        let (word, left) = rest.split_at(len);
        out += match first {
            ' ' => " ",
            _ if "█▓▒░·".contains(first) => "█",
            _ => shape_of_word(word),
        };
        rest = left;
    }
    for (from, to) in [("#,#", "#"), ("#.#", "#"), ("#-#", "#"), ("#:#", "#")] {
        while out.contains(from) && from != to {
            out = out.replace(from, to);
        }
    }
    for unit in ["B", "KiB", "MiB", "GiB", "ns", "us", "µs", "ms", "s", "min"] {
        out = with_word(&out, &format!("# {unit}"), "# unit");
    }
    // One or several: how often the writer got to something by then is chance.
    for one in ["# sync", "# group", "# segment", "# record"] {
        out = with_word(&out, &format!("{one}s"), one);
    }
    out
}

/// Replaces what is not the beginning of a longer word.
fn with_word(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = !part.starts_with(char::is_alphanumeric);
        out += if ends { to } else { from };
        out += part;
    }
    out
}

/// Whether the lines are what is shown.
fn is_shown(found: &[String], shown: &[String]) -> bool {
    match shown.split_first() {
        None => found.is_empty(),
        Some((dots, after)) if dots == "..." => {
            (0..=found.len()).any(|skipped| is_shown(&found[skipped..], after))
        }
        Some((line, after)) => {
            let is_it = |found: &String| match line.strip_suffix("...") {
                Some(begin) => found.starts_with(begin),
                None => found == line,
            };
            found.first().is_some_and(is_it) && is_shown(&found[1..], after)
        }
    }
}

/// What of a page does not run as it is shown.
fn differences(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page");
    let steps = session(&text);
    let outcomes = run(&steps);
    assert_eq!(
        outcomes.len(),
        steps.len(),
        "{}: it ended early",
        page.display()
    );
    let mut differences = Vec::new();
    for (at, (step, (output, code))) in steps.iter().zip(outcomes).enumerate() {
        let asked = steps
            .get(at + 1)
            .is_some_and(|next| next.command == "echo $?");
        let shapes = |lines: &mut dyn Iterator<Item = &str>| lines.map(shape).collect::<Vec<_>>();
        let found = shapes(&mut output.lines());
        let shown = shapes(&mut step.shown.iter().map(String::as_str));
        if !is_shown(&found, &shown) || (code != 0 && !asked) {
            differences.push(format!(
                "{}:{}: $ {}\nends with {code}, prints\n{output}instead of\n{}\n",
                page.display(),
                step.line,
                step.command,
                step.shown.join("\n")
            ));
        }
    }
    differences
}

#[test]
fn does_every_session_of_the_guide_run_as_shown() {
    let pages = pages();
    let threads: Vec<_> = pages
        .into_iter()
        .map(|page| thread::spawn(move || differences(&page)))
        .collect();
    let differences: Vec<String> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("it was run"))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn is_the_same_shape_what_differs_in_numbers_alone() {
    let same = |one: &str, other: &str| assert_eq!(shape(one), shape(other));
    same(
        "seq 0..3, 2.8 KiB in 11.3 ms, 1 sync",
        "seq 0..1000, 42 B in 1.00 s, 28 syncs",
    );
    same(
        "log 42d1413f62a15539, 0 s ago",
        "log be3a47a1053285fb, 3 min ago",
    );
    same("2026-11-28T22:21:14.303Z", "2027-01-01T00:00:00.000Z");
    same("  ███▓▓▓····", "  █▓·");
    assert_ne!(shape("1 record"), shape("1 recorder"));
    assert_ne!(shape("5 B kept"), shape("5 Bytes kept"));
    assert_ne!(shape("clean: seq 0..3"), shape("torn: seq 0..3"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(is_shown(&lines("a\nb\nc"), &lines("a\n...\nc")));
    assert!(is_shown(&lines("a\nc"), &lines("a\n...\nc")));
    assert!(!is_shown(&lines("a\nb"), &lines("a\n...\nc")));
    assert!(!is_shown(&lines("a\nb"), &lines("a")));
    assert!(is_shown(&lines("a, b"), &lines("a, ...")));
}
