//! Do the planted bugs still apply? `tests/planted/run` plants them one at a time and sees who catches
//! them, which takes long; this looks only whether each can be planted, so that they do not rot.
//!
//! A plant is a text file: a line each for `what`, `tests` and `file`, then pairs of texts behind `--- old`
//! and `--- new`. Behind `--- end` another file may follow. An old text is in its file exactly once. The tests
//! of an adapter are named behind its folder: `openraft/suite`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms that have to have bugs.
const ROOMS: &[&str] = &[
    "append",
    "backup",
    "catalog",
    "compact",
    "consume",
    "cursor",
    "format",
    "log",
    "manifest",
    "object_store",
    "openraft",
    "read",
    "recover",
    "release",
    "repair",
    "retain",
    "segment",
    "trim",
    "upkeep",
    "verify",
    "vfs",
];
const COUNT_MIN: usize = 40;
const ROWS: usize = 5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One replacement.
#[derive(Debug, Default)]
struct Edit {
    file: String,
    old: String,
    new: String,
}

#[derive(Debug, Default)]
struct Plant {
    what: String,
    tests: Vec<String>,
    edits: Vec<Edit>,
}

impl Plant {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut plant, mut file, mut part) = (Self::default(), String::new(), "end");
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for line in text.lines().chain(["--- end"]) {
            if let Some(next) = line.strip_prefix("--- ") {
                if part == "new" {
                    let (file, old, new) = (file.clone(), old.join("\n"), new.join("\n"));
                    plant.edits.push(Edit { file, old, new });
                }
                match (part, next) {
                    ("end" | "new", "old") => (old, new) = (Vec::new(), Vec::new()),
                    ("old", "new") | ("end" | "new", "end") => {}
                    _ => return Err(format!("`{next}` behind `{part}`")),
                }
                part = next;
                continue;
            }
            match (part, line.split_once(": ")) {
                ("old", _) => old.push(line),
                ("new", _) => new.push(line),
                (_, Some(("what", value))) => plant.what = value.to_owned(),
                (_, Some(("tests", value))) => {
                    plant.tests = value.split(' ').map(str::to_owned).collect();
                }
                (_, Some(("file", value))) => file = value.to_owned(),
                _ => return Err(format!("what is `{line}`?")),
            }
        }
        Ok(plant)
    }

    /// What keeps it from being planted, or from being understood.
    fn check(&self, room: &str) -> Result<(), String> {
        let sentence = self.what.ends_with('.') && self.what.contains("so that");
        if !sentence && !self.what.contains("though") {
            return Err("`what` says in one sentence what is wrong and what is lost by it".into());
        }
        for test in &self.tests {
            let (folder, name) = match test.split_once('/') {
                Some((adapter, name)) => (root().join("adapters").join(adapter), name),
                None => (root().to_owned(), test.as_str()),
            };
            let tests = folder.join("tests");
            let there = tests.join(format!("{name}.rs")).is_file()
                || tests.join(name).join("main.rs").is_file();
            if !there && name != "lib" {
                return Err(format!("there are no tests `{test}`"));
            }
        }
        if self.tests.is_empty() || self.edits.is_empty() {
            return Err("it names no tests, or changes nothing".into());
        }
        let rooms: Vec<String> = self.edits.iter().map(|edit| room_of(&edit.file)).collect();
        if !rooms.iter().any(|it| it == room) {
            return Err(format!("it is of {rooms:?}"));
        }
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for Edit { file, old, new } in &self.edits {
            let text = texts
                .entry(file)
                .or_insert_with(|| read(&root().join(file)));
            if old == new {
                return Err(format!("{file}: it changes nothing"));
            }
            match text.matches(old.as_str()).count() {
                1 => *text = text.replace(old, new),
                count => return Err(format!("{file} has {count} times:\n{old}")),
            }
        }
        Ok(())
    }
}

/// The first folder, or the adapter's, with `_` for what parts the name of a plant.
fn room_of(file: &str) -> String {
    let inside = file.strip_prefix("engine/");
    let inside = inside
        .or_else(|| file.strip_prefix("adapters/"))
        .unwrap_or_default();
    let room = inside.split('/').next().unwrap_or_default();
    room.trim_end_matches(".rs").replace('-', "_")
}

/// Every plant's name, and itself.
fn plants() -> BTreeMap<String, Plant> {
    let listed = fs::read_dir(root().join("tests/planted")).expect("readable");
    let paths = listed.map(|entry| entry.expect("readable").path());
    let is_plant = |path: &PathBuf| path.extension().is_some_and(|it| it == "plant");
    let parsed = paths.filter(is_plant).map(|path| {
        let name = path.file_stem().expect("it has one").to_string_lossy();
        let plant = Plant::parse(&read(&path)).unwrap_or_else(|why| panic!("{name}: {why}"));
        (name.into_owned(), plant)
    });
    parsed.collect()
}

#[test]
fn does_every_planted_bug_still_apply() {
    let (mut errors, mut numbers, mut rooms) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let plants = plants();
    for (name, plant) in &plants {
        let mut parts = name.splitn(3, '-');
        let (number, room) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        if number.parse::<u32>().is_err() || !numbers.insert(number) || parts.next().is_none() {
            errors.push(format!(
                "{name}: a number of its own, a room, and what it is"
            ));
        }
        if let Err(why) = plant.check(room) {
            errors.push(format!("{name}: {why}"));
        }
        rooms.insert(room);
    }
    let missing: Vec<_> = ROOMS.iter().filter(|room| !rooms.contains(*room)).collect();
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    assert!(missing.is_empty(), "no bugs of {missing:?}");
    assert!(plants.len() >= COUNT_MIN, "{}", plants.len());
}

/// The table is written by the run, and has each bug, as it is described, caught by two tests at least.
#[test]
fn does_the_table_tell_of_every_planted_bug() {
    let table = read(&root().join("tests/planted/TABLE.md"));
    let cells = |line: &str| -> Vec<String> {
        let inside = line.trim_matches('|').split(" | ");
        inside.map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: BTreeMap<String, Vec<String>> = rows
        .skip(1)
        .map(|line| (cells(line)[0].clone(), cells(line)))
        .collect();
    let plants = plants();
    assert!(
        rows.keys().eq(plants.keys()),
        "run tests/planted/run for those that are new"
    );
    for (name, row) in &rows {
        assert_eq!(row.len(), ROWS, "{name}");
        assert_eq!(row[2], plants[name].what, "{name}: run it anew");
        let caught = row[3].split([':', '+']).next();
        let caught = caught.and_then(|it| it.parse().ok());
        assert!(caught >= Some(2), "{name} is caught by {}", row[3]);
    }
}
