//! Sealed logs from the shell: key files, reading with a key and without, another key, a wrong one.

mod common;

use common::Scratch;
use std::{fs, os::unix::fs::PermissionsExt};

const KEYS: [&str; 2] = ["--key-file", "keys"];

fn with_keys<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &KEYS].concat()
}

/// Whether a text stands in a file of the log.
fn shows(scratch: &Scratch, text: &str) -> bool {
    let files = fs::read_dir(scratch.path.join("log")).expect("a log");
    let mut files = files.filter_map(|entry| fs::read(entry.ok()?.path()).ok());
    files.any(|bytes| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

fn private(scratch: &Scratch, name: &str, text: &str) {
    let path = scratch.file(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its own");
}

fn mode(scratch: &Scratch, name: &str) -> u32 {
    let known = fs::metadata(scratch.path.join(name)).expect("a file");
    known.permissions().mode() & 0o7777
}

fn text(scratch: &Scratch, name: &str) -> String {
    fs::read_to_string(scratch.path.join(name)).expect("a file")
}

#[test]
fn a_log_is_sealed_and_its_key_replaced() {
    let scratch = Scratch::new();
    let made = scratch.run(&["keygen", "keys"]);
    made.ok().says("key 1 is the current one of keys: 1 key");
    let digits = text(&scratch, "keys")[2..66].to_owned();
    assert!(!made.out().contains(&digits), "it is not shown");
    let lines: String = (0..100)
        .map(|number| format!("secret {number}\n"))
        .collect();
    let append = ["append", "log", "--segment-bytes", "4K"];
    scratch.run_with(&with_keys(&append), &lines).ok();
    assert!(!shows(&scratch, "secret"), "on the disk");

    // Without the key: what is missing, and nothing that is shown or damaged.
    for line in [
        "cat log",
        "get log 5",
        "tail log",
        "export log",
        "consume log c",
    ] {
        let run = scratch.run(&line.split(' ').collect::<Vec<_>>());
        run.ends_with(5)
            .says("sealed under key 1")
            .says("hint: --key-file");
        assert_eq!(run.out(), "", "{line}");
    }
    let refused = scratch.run_with(&["append", "log"], "in the clear\n");
    refused
        .ends_with(5)
        .says("the log is sealed")
        .says("hint: --key-file");
    assert!(!shows(&scratch, "in the clear"));
    scratch
        .run(&["verify", "log"])
        .ok()
        .says("clean")
        .says("100 records");
    scratch.run(&["plan", "log"]).ok();
    scratch.run(&["repair", "log"]).ok();
    let stat = scratch.run(&["stat", "log"]);
    stat.ok()
        .says("100 records, seq 0..100")
        .says("records are sealed: --keys");
    scratch
        .run(&["inspect", "log", "1"])
        .ok()
        .says("under key 1");

    // With it, from the command line or the environment, of which the first wins.
    assert_eq!(scratch.run(&with_keys(&["cat", "log"])).ok().out(), lines);
    let shell = |line: &str| scratch.shell(line).ok().out();
    assert_eq!(shell("CAIRN_KEY_FILE=keys cairn cat log"), lines);
    assert_eq!(
        shell("CAIRN_KEY_FILE=none cairn cat log --key-file keys"),
        lines
    );
    scratch.shell("CAIRN_KEY_FILE= cairn cat log").ends_with(5);
    let shown = scratch.run(&with_keys(&["inspect", "log", "1"]));
    shown.ok().says("secret 5");
    scratch
        .run(&with_keys(&["verify", "log"]))
        .ok()
        .says("clean");

    // Another key: what comes is under it, what is there needs the first until it is resealed.
    let more = scratch.run(&["keygen", "keys", "--json"]).ok().json();
    assert_eq!(
        (&more["key_id"], &more["key_count"]),
        (&2.into(), &2.into())
    );
    scratch.run_with(&with_keys(&append), "secret 100\n").ok();
    let stat = scratch.run(&with_keys(&["stat", "log", "--keys", "--json"]));
    let stat = stat.ok().json();
    let under = |stat: &serde_json::Value| {
        let keys = stat["keys_in_use"].as_array().expect("keys").clone();
        keys.into_iter()
            .map(|key| key["key_id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (under(&stat), &stat["sealing"]),
        (vec![1.into(), 2.into()], &true.into())
    );
    private(
        &scratch,
        "second",
        text(&scratch, "keys").lines().last().expect("a key"),
    );
    let run = scratch.run(&["cat", "log", "--key-file", "second"]);
    run.ends_with(5)
        .says("key 1")
        .says("hint: second has no key 1");
    let resealed = scratch.run(&with_keys(&["reseal", "log", "--rate", "none", "--json"]));
    assert_eq!(under(&resealed.ok().json()), [2]);
    scratch
        .run(&with_keys(&["reseal", "log"]))
        .ok()
        .says("nothing was under another key");
    scratch
        .run(&["stat", "log", "--keys"])
        .ok()
        .says(" under key 2\n");
    let run = scratch.run(&["cat", "log", "--key-file", "second"]);
    assert_eq!(run.ok().out(), lines + "secret 100\n");
    scratch.run(&["verify", "log", "--key-file", "second"]).ok();
}

#[test]
fn a_log_in_the_clear_is_sealed_afterwards() {
    let scratch = Scratch::new();
    scratch.log("log", 1000);
    scratch
        .run(&["reseal", "log"])
        .ends_with(64)
        .says("--key-file");
    scratch
        .run(&["stat", "log", "--keys"])
        .ok()
        .says(" in the clear\n");
    let stat = scratch.run(&["stat", "log", "--json"]).ok().json();
    assert_eq!(
        (&stat["sealing"], &stat["keys_in_use"]),
        (&false.into(), &().into())
    );
    scratch.run(&["keygen", "keys"]).ok();
    let reseal = with_keys(&["reseal", "log", "--rate", "none"]);
    scratch
        .run(&reseal)
        .ok()
        .says("resealed ")
        .says("1,000 records")
        .says(" under key 1\n");
    assert!(!shows(&scratch, "record 5"));
    let lines = scratch.run(&with_keys(&["cat", "log"])).ok().out();
    assert_eq!(lines.lines().count(), 1000);
    scratch.run(&["salvage", "log", "unread"]).ends_with(5);
    scratch.run(&with_keys(&["salvage", "log", "rescued"])).ok();
    scratch.run(&["cat", "rescued"]).ends_with(5);
    assert_eq!(
        scratch.run(&with_keys(&["cat", "rescued"])).ok().out(),
        lines
    );
}

/// Another key under the same number, or somebody who changed the bytes and their checksum.
#[test]
fn records_that_are_not_what_was_sealed_are_told_from_damage() {
    let scratch = Scratch::new();
    for (keys, log) in [("keys", "log"), ("others", "elsewhere")] {
        scratch.run(&["keygen", keys]).ok();
        let append = ["append", log, "--segment-bytes", "4K", "--key-file", keys];
        scratch.run_with(&append, "a record\n".repeat(400)).ok();
    }
    let run = scratch.run(&["cat", "log", "--key-file", "others"]);
    run.ends_with(6)
        .says("hint: somebody changed them, or others has another key");
    let wrong = ["verify", "log", "--key-file", "others"];
    scratch.run(&wrong).ends_with(6).says("damage");
    scratch
        .run(&["repair", "log", "--key-file", "others"])
        .ends_with(6);
    scratch.run(&["verify", "log"]).ok();
    scratch.damage("log", 1, 200, b"XX");
    scratch.run(&["cat", "log"]).ends_with(3);
    scratch.run(&["verify", "log"]).ends_with(3);
}

#[test]
fn a_key_file_is_made_and_never_broken() {
    let scratch = Scratch::new();
    scratch.shell("umask 0; cairn keygen keys").ok();
    assert_eq!(mode(&scratch, "keys"), 0o600);
    let first = text(&scratch, "keys");
    // What a person wrote stays, the end of the last line is found, numbers go on above the largest.
    private(
        &scratch,
        "keys",
        &format!("# ours\n\n9 {}\n{}", "ab".repeat(32), first.trim_end()),
    );
    scratch
        .run(&["keygen", "keys"])
        .ok()
        .says("key 10 ")
        .says("3 keys");
    let text_now = text(&scratch, "keys");
    assert!(text_now.starts_with(&format!("# ours\n\n9 {}\n{first}10 ", "ab".repeat(32))));
    assert_eq!(mode(&scratch, "keys"), 0o600);
    // A link stays one.
    scratch.shell("ln -s keys link").ok();
    scratch.run(&["keygen", "link"]).ok().says("key 11 ");
    assert!(scratch.path.join("link").is_symlink() && text(&scratch, "keys").contains("\n11 "));

    // What is no key file stays what it is; what others may read is none, to whatever verb.
    let before = text(&scratch, "keys");
    private(&scratch, "notes", "dear diary\n");
    private(&scratch, "empty", "");
    fs::write(scratch.path.join("open"), &before).expect("a file");
    fs::set_permissions(scratch.path.join("open"), fs::Permissions::from_mode(0o640))
        .expect("ours");
    private(
        &scratch,
        "last",
        &format!("{} {}", u64::MAX, "ab".repeat(32)),
    );
    scratch.log("log", 3);
    for (file, code, why) in [
        ("notes", 64, "line 1"),
        ("empty", 64, "no key"),
        ("open", 64, "chmod 600"),
        ("log", 64, "not a regular file"),
        ("last", 1, "no number"),
        ("none/keys", 1, "none/keys"),
    ] {
        scratch.run(&["keygen", file]).ends_with(code).says(why);
        assert!(!scratch.path.join(format!("{file}.new")).exists(), "{file}");
        if file != "last" {
            let with = ["--key-file", file];
            for args in [
                &["cat", "log"][..],
                &["verify", "log"],
                &["inspect", "log", "1"],
            ] {
                let run = scratch.run(&[args, &with].concat());
                run.ends_with(code).says(file);
            }
        }
    }
    assert_eq!(text(&scratch, "notes"), "dear diary\n");
    assert_eq!(text(&scratch, "empty"), "");
    assert_eq!(text(&scratch, "open"), before);
    // Two at a time would lose a key.
    private(&scratch, "keys.new", "");
    scratch
        .run(&["keygen", "keys"])
        .ends_with(1)
        .says("keys.new is there");
    assert_eq!(text(&scratch, "keys"), before);
}

#[test]
fn the_demo_and_the_measurement_work_sealed() {
    let scratch = Scratch::new();
    scratch.run(&["keygen", "keys"]).ok();
    let lines: String = (0..200).map(|number| format!("line {number}\n")).collect();
    scratch.file("input", lines);
    let demo = with_keys(&["demo", "input", "--dir", "log", "--records", "20"]);
    scratch.run(&demo).ok().says("clean");
    scratch.run(&["cat", "log/log"]).ends_with(5);
    scratch
        .run(&with_keys(&[
            "top",
            "log/log",
            "--once",
            "--interval",
            "0.01",
        ]))
        .ok();
    scratch
        .run(&with_keys(&["bench", ".", "--seconds", "0.005"]))
        .ok();
}
