//! Do the documents lead where they say, and is the guide all of what the tests run?
//!
//! That the guide's blocks run is seen by the doctests (`engine/lib.rs`) and by `cli/tests/guide.rs`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a reader of some patience takes in within ten minutes.
const ARCHITECTURE_WORDS_MAX: usize = 2400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a folder, and of those below it if that is wanted.
fn documents(dir: &Path, below: bool) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && below {
            out.extend(documents(&path, below));
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
    out.sort();
    out
}

fn all() -> Vec<PathBuf> {
    let mut all = documents(root(), false);
    all.extend(documents(&root().join("docs"), true));
    all
}

/// The text outside of blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let is_prose = |line: &&str| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// What stands between two marks in a line.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    let pieces = text.split(open).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(close)?.0))
        .collect()
}

/// Pieces of code in a text: what stands between each first and second accent.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn does_every_link_lead_to_a_file() {
    let mut dead = Vec::new();
    for page in all() {
        for link in between(&prose(&read(&page)), "](", ')') {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = link.contains("://") || path.is_empty();
            if !elsewhere && !page.parent().unwrap().join(path).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}

/// Paths of the repository as they are written in text: with their folder in front, a room without
/// `.rs`, perhaps with a star.
#[test]
fn is_every_file_that_is_named_there() {
    let folders = [
        "engine/",
        "tests/",
        "cli/",
        "fuzz/",
        "benches/",
        "examples/",
        "docs/",
    ];
    let mut missing = Vec::new();
    for page in all() {
        for name in code_spans(&prose(&read(&page))) {
            let is_path = folders.iter().any(|folder| name.starts_with(folder));
            if !is_path || name.contains([' ', '*']) {
                continue;
            }
            let path = root().join(name);
            // The fuzzer's finds are no part of the repository.
            if !path.exists() && !path.with_extension("rs").exists() && !name.contains("corpus") {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn is_every_page_of_the_guide_in_its_table_and_run() {
    let dir = root().join("docs/guide/src");
    let (summary, engine) = (
        read(&dir.join("SUMMARY.md")),
        read(&root().join("engine/lib.rs")),
    );
    for page in documents(&dir, false) {
        let name = page.file_name().unwrap().to_str().unwrap();
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(
            summary.contains(&format!("]({name})")),
            "{name} is not in the table"
        );
        let text = read(&page);
        let is_run = engine.contains(&format!("docs/guide/src/{name}\")"));
        assert!(
            is_run || !text.contains("```rust"),
            "{name} is not in engine/lib.rs"
        );
    }
}

/// What no test runs builds or installs something, and says so by its first word; or is the output of a
/// program that one does run.
#[test]
fn is_every_block_of_the_guide_of_a_kind_that_is_run() {
    for page in documents(&root().join("docs/guide/src"), false) {
        let text = read(&page);
        let blocks = text.split("\n```").skip(1).step_by(2);
        for block in blocks {
            let (kind, body) = block.split_once('\n').expect("a block has lines");
            let builds = || {
                body.lines()
                    .all(|line| line.starts_with("cargo ") || line.starts_with("cd "))
            };
            let is_run = match kind {
                "rust" | "console" => true,
                "rust,no_run" | "text" => page.ends_with("first-hour.md"), // `tests/examples.rs` runs it.
                "sh" => builds(),
                _ => false,
            };
            assert!(is_run, "{}: nothing runs\n{kind}\n{body}", page.display());
        }
    }
}

#[test]
fn is_every_decision_listed_with_its_date() {
    let dir = root().join("docs/decisions");
    let list = read(&dir.join("README.md"));
    let pages = documents(&dir, false);
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let name = page.file_name().unwrap().to_str().unwrap();
        if name == "README.md" {
            continue;
        }
        let text = read(&page);
        let date = text.lines().nth(2).unwrap_or_default();
        let digits = date.chars().filter(char::is_ascii_digit).count();
        assert!(
            date.starts_with("Date: ") && digits >= 8,
            "{name} has no date: {date}"
        );
        let row = list
            .lines()
            .find(|line| line.contains(&format!("]({name})")));
        assert!(row.is_some(), "{name} is not in the list");
    }
}

#[test]
fn does_the_map_name_every_room_and_take_ten_minutes() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let words = text.split_whitespace().count();
    assert!(words <= ARCHITECTURE_WORDS_MAX, "{words} words");
    let map = text.split("```").nth(1).expect("the map is a block");
    let named: BTreeSet<&str> = map.split(|c: char| !c.is_alphanumeric()).collect();
    for entry in fs::read_dir(root().join("engine")).expect("the engine") {
        let name = entry.expect("a room").file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        assert!(named.contains(room), "{room} is not on the map");
    }
}

/// Every verb of the tool is in the README's table.
#[test]
fn does_the_readme_name_every_command() {
    let readme = read(&root().join("README.md"));
    let main = read(&root().join("cli/src/main.rs"));
    let verbs = between(&main, "Command::", '(');
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "DemoWriter") {
        let name = verb.to_lowercase();
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in README.md"
        );
    }
}
