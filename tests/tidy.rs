//! Is the house in order? Properties of the source tree itself.
//!
//! Adding a room to `engine/` means adding a line to `ROOMS`, which is the moment to think.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rooms from the ground up. A room uses only rooms on a lower floor, or itself.
const ROOMS: &[(&str, u32)] = &[
    ("types", 0),
    ("seal", 0),
    ("error", 1),
    ("sync", 1),
    ("observe", 2),
    ("format", 2),
    ("vfs", 2),
    ("pool", 3),
    ("options", 4),
    ("segment", 5),
    ("manifest", 5),
    ("catalog", 6),
    // Verbs. Appending hands its parts to recovery, which opens; verify and repair ask recovery.
    ("append", 7),
    ("read", 7),
    ("recover", 8),
    ("cursor", 8),
    ("trim", 8),
    ("compact", 8),
    ("release", 8),
    ("retain", 9),
    ("verify", 9),
    ("upkeep", 10),
    ("repair", 10),
    ("backup", 10),
    ("log", 11),
    // A client of the log: consumers and queues hold one.
    ("consume", 12),
    ("large", 13),
    ("typed", 13),
    ("lib", 14),
];
/// Only `vfs` names the operating system, a clock or randomness; only `sync` starts a thread.
const BANNED_OUTSIDE_VFS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "SystemTime",
    "Instant::now",
    "RandomState",
];
const BANNED_OUTSIDE_SYNC: &[&str] = &["thread::spawn", "thread::Builder", "parking_lot"];
const UNSAFE_DOORS: &[&str] = &[
    "vfs/at.rs",
    "vfs/map.rs",
    "vfs/sole.rs",
    "vfs/watch.rs",
    "vfs/write_back.rs",
    "format/checksum.rs",
];
const LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).expect("readable source tree") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() && !path.ends_with("target") {
            out.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn floor(room: &str) -> u32 {
    let found = ROOMS.iter().find(|(name, _)| *name == room);
    found
        .unwrap_or_else(|| panic!("unknown room `{room}`: give it a floor"))
        .1
}

fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("engine")).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// What ships: without the unit tests, comments and doc examples.
fn production(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap();
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms named by every `crate::x` path, including `use crate::{a, b::{c, d}}` groups.
fn rooms_used(text: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut out = Vec::new();
    for tail in text.split("crate::").skip(1) {
        let Some(group) = tail.strip_prefix('{') else {
            out.push(ident(tail));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    out.push(ident(&group[start..at]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    out.push(ident(&group[start..at]));
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    out.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    out
}

/// The text with its comment lines emptied, so that line numbers stay.
fn without_docs(text: &str) -> String {
    let keep = |line: &str| !line.trim_start().starts_with("//");
    text.lines()
        .map(|line| if keep(line) { line } else { "" })
        .collect::<Vec<_>>()
        .join("\n")
}

/// (first line, length) of each function; rustfmt closes a function at the indent it opened.
fn function_lengths(body: &str) -> Vec<(usize, usize)> {
    let (mut out, mut open) = (Vec::new(), None);
    for (at, line) in body.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if open.is_none() && line.contains("fn ") && line.ends_with('{') {
            open = Some((at, indent));
        }
        if let Some((start, at_indent)) = open
            && at > start
            && indent == at_indent
            && line.trim() == "}"
        {
            out.push((start + 1, at - start + 1));
            open = None;
        }
    }
    out
}

/// Lines where a `matches!(..)` is a statement, so that its answer is thrown away.
fn bare_matches(text: &str) -> Vec<usize> {
    let mut out = Vec::new();
    for (at, _) in text.match_indices("matches!(") {
        let starts_statement = text[..at].trim_end().ends_with([';', '{', '}']);
        let mut depth = 0i32;
        let close = text[at..].char_indices().find(|(_, c)| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            *c == ')' && depth == 0
        });
        if starts_statement && close.is_some_and(|(k, _)| text[at + k + 1..].starts_with(';')) {
            out.push(text[..at].lines().count());
        }
    }
    out
}

const CHECKS: [&str; 5] = ["assert", "unwrap", "expect(", "panic!", "?;"];

/// Functions in these texts that check something, themselves or by calling one that does.
fn checking_functions(texts: &[String]) -> Vec<String> {
    let mut bodies = Vec::new();
    for text in texts {
        for block in text.split("fn ").skip(1) {
            let name: String = block
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            bodies.push((
                name,
                block.split("#[test]").next().unwrap_or(block).to_owned(),
            ));
        }
    }
    let mut found: Vec<String> = Vec::new();
    for _ in 0..4 {
        for (name, body) in &bodies {
            let checks = CHECKS.iter().any(|check| body.contains(check))
                || found
                    .iter()
                    .any(|other| body.contains(&format!("{other}(")));
            if checks && !found.contains(name) {
                found.push(name.clone());
            }
        }
    }
    found
}

/// Names of tests that check nothing, neither themselves nor through a function beside them.
fn tests_without_assertion(text: &str, helpers: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for block in text.split("#[test]").skip(1) {
        let body = block.split("\n}\n").next().unwrap_or(block);
        let name = block
            .split("fn ")
            .nth(1)
            .unwrap_or("?")
            .split('(')
            .next()
            .unwrap();
        let called = body.split_once('{').map_or("", |(_, inside)| inside);
        let checks = CHECKS.iter().any(|check| called.contains(check))
            || helpers
                .iter()
                .any(|helper| called.contains(&format!("{helper}(")));
        if !checks {
            out.push(name.to_owned());
        }
    }
    out
}

/// Whether a file of the engine holds unit tests and nothing else.
fn is_of_tests(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.ends_with("tests/cases.rs")
}

#[test]
fn rooms_use_only_lower_floors_and_doors_are_the_only_doors() {
    let mut errors = Vec::new();
    for file in rust_files(&root().join("engine")) {
        if is_of_tests(&file) {
            continue; // A test may come from above, with threads and a clock.
        }
        let body = production(&fs::read_to_string(&file).unwrap());
        let room = room_of(&file);
        for used in rooms_used(&body) {
            if used != room && room != "lib" && floor(&used) >= floor(&room) {
                errors.push(format!("{}: `{room}` looks up at `{used}`", file.display()));
            }
        }
        let mut ban = |door: &str, words: &[&str]| {
            for word in words
                .iter()
                .filter(|word| room != door && body.contains(**word))
            {
                errors.push(format!(
                    "{}: `{word}` belongs behind {door}",
                    file.display()
                ));
            }
        };
        // Waiting until a moment is the business of the door for locks.
        let waits = |word: &&str| !(room == "sync" && *word == "Instant::now");
        ban(
            "vfs",
            &BANNED_OUTSIDE_VFS
                .iter()
                .copied()
                .filter(waits)
                .collect::<Vec<_>>(),
        );
        // The simulated disk lives below the door for locks and never waits under one.
        if !file.components().any(|part| part.as_os_str() == "sim") {
            ban("sync", BANNED_OUTSIDE_SYNC);
        }
        let allowed =
            UNSAFE_DOORS.iter().any(|door| file.ends_with(door)) || !body.contains("unsafe {");
        if !allowed {
            errors.push(format!(
                "{}: unsafe outside {UNSAFE_DOORS:?}",
                file.display()
            ));
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn files_and_functions_fit_a_reader() {
    let mut errors = Vec::new();
    for file in rust_files(&root().join("engine")) {
        let text = fs::read_to_string(&file).unwrap();
        let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if is_of_tests(&file) {
            continue; // A table of cases may be as long as it has cases.
        }
        if shipped.lines().count() > LINES_MAX {
            errors.push(format!("{}: over {LINES_MAX} lines", file.display()));
        }
        for (line, length) in function_lengths(&without_docs(shipped)) {
            if length > FUNCTION_LINES_MAX {
                errors.push(format!(
                    "{}:{line}: function of {length} lines",
                    file.display()
                ));
            }
        }
        if !text.starts_with("//!") {
            errors.push(format!("{}: no card", file.display()));
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn every_sync_says_what_is_safe_after_it() {
    let mut errors = Vec::new();
    for file in rust_files(&root().join("engine")) {
        // The doors themselves only pass the call on, and promise nothing of their own.
        if file.components().any(|part| part.as_os_str() == "vfs") && !file.ends_with("vfs/dir.rs")
        {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let calls = [".sync()", ".sync_dir(", ".file.sync()"];
            let own = line.contains("fn ")
                || line.contains("core.sync()")
                || line.contains("self.sync()")
                || line.contains("appender.sync()")
                || line.trim_start().starts_with("//");
            if own || !calls.iter().any(|call| line.contains(call)) {
                continue;
            }
            let near = &lines[at.saturating_sub(6)..at];
            if !near.iter().any(|line| line.contains("DURABILITY:")) {
                errors.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
            }
        }
    }
    assert!(
        errors.is_empty(),
        "syncs without a `DURABILITY:` line\n{}",
        errors.join("\n")
    );
}

/// Whether two files are of one room, or of one test binary.
fn same_place(dir: &str, file: &Path, other: &Path) -> bool {
    if dir == "engine" {
        room_of(file) == room_of(other)
    } else {
        file.parent() == other.parent()
    }
}

#[test]
fn every_test_can_fail() {
    let mut errors = Vec::new();
    for dir in ["engine", "tests", "cli"] {
        let files = rust_files(&root().join(dir));
        let texts: Vec<String> = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        for (file, text) in files.iter().zip(&texts) {
            let beside: Vec<String> = files
                .iter()
                .zip(&texts)
                .filter(|(other, _)| same_place(dir, file, other))
                .map(|(_, text)| text.clone())
                .collect();
            let helpers = checking_functions(&beside);
            for line in bare_matches(text) {
                let place = file.display();
                errors.push(format!("{place}:{line}: a bare `matches!` asserts nothing"));
            }
            if !file.ends_with("tidy.rs") {
                for name in tests_without_assertion(text, &helpers) {
                    errors.push(format!("{}: {name} asserts nothing", file.display()));
                }
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn the_checks_above_see_what_they_look_for() {
    assert_eq!(
        rooms_used("use crate::{a, b::{c, D}, e}; crate::f::g()"),
        ["a", "b", "e", "f"]
    );
    assert_eq!(bare_matches("fn t() {\n    matches!(x, Some(_));\n}"), [2]);
    assert_eq!(
        bare_matches("assert!(matches!(x, Some(_)));"),
        Vec::<usize>::new()
    );
    assert_eq!(function_lengths("fn a() {\n    1;\n}\n"), [(1, 3)]);
    assert_eq!(
        tests_without_assertion("#[test]\nfn t() {\n    let x = 1;\n}\n", &[]),
        ["t"]
    );
}

#[test]
fn the_engine_stays_light() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages: Vec<Package> = lock.split("[[package]]").skip(1).map(package).collect();
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = manifest.split("[dependencies]").nth(1).unwrap();
    let table = table.split("\n[").next().unwrap();
    let is_wanted = |entry: &&str| {
        let name = entry.split(' ').next().unwrap();
        let mut lines = table.lines().filter(|line| !line.contains("optional"));
        lines.any(|line| line.split('=').next().unwrap().trim() == name)
    };
    let of = |name: &str| {
        packages
            .iter()
            .find(|package| package.entries.contains(&name))
    };
    let mut reached = vec!["cairnlog"];
    let all = of("cairnlog").unwrap().dependencies.iter().copied();
    let mut queue: Vec<&str> = all.filter(is_wanted).collect();
    while let Some(entry) = queue.pop() {
        // Cargo.lock names what other systems need as well, which is not built on this one.
        let name = entry.split(' ').next().unwrap();
        if !reached.contains(&entry) && !["windows-link", "redox_syscall"].contains(&name) {
            reached.push(entry);
            queue.extend(&of(entry).unwrap().dependencies);
        }
    }
    // An application embeds this: at most 15 crates with the default features, itself and build scripts counted.
    assert!(reached.len() <= 15, "{} crates: {reached:?}", reached.len());
}

/// A package of `Cargo.lock`: how others name it, with and without its version, and what it names.
struct Package<'a> {
    entries: [&'a str; 2],
    dependencies: Vec<&'a str>,
}

fn package(text: &str) -> Package<'_> {
    let field = |key: &str| {
        let value = text.split(key).nth(1).unwrap();
        value.split('"').next().unwrap()
    };
    let (name, version) = (field("name = \""), field("version = \""));
    let listed = text
        .split("dependencies = [")
        .nth(1)
        .map_or("", |list| list.split(']').next().unwrap());
    let dependencies: Vec<&str> = listed.split('"').skip(1).step_by(2).collect();
    Package {
        entries: [
            name,
            Box::leak(format!("{name} {version}").into_boxed_str()),
        ],
        dependencies,
    }
}
