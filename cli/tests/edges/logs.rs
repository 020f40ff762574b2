//! Logs in every state: locked, torn, damaged, newer, empty, gone, and no log at all.

use super::{
    common::Scratch,
    verbs::{VERBS, Verb},
    world::{Ended, Prepare, World, is_no_log},
};
use std::fs;

fn code(ended: &Ended) -> i32 {
    ended.status.code().expect("a code")
}

#[test]
fn does_every_verb_bear_a_log_that_another_process_writes() {
    // The holder is of the same shell: it ends with its input, behind the verb.
    let shell = r#"mkfifo feed; "$1" append log --acks <feed >acks & exec 3>feed; echo new >&3
        while [ ! -s acks ]; do sleep 0.01; done; "$@"; code=$?; exec 3>&-; wait; exit $code"#;
    World {
        name: "locked",
        shell,
        places: &["held by process"],
        then: &|_, verb, ended| {
            // A backup is made beside it.
            let is_refused = verb.writes && !verb.line.starts_with("backup");
            let codes: &[i32] = if is_refused { &[1] } else { &[0] };
            assert!(codes.contains(&code(ended)), "{}{}", ended.out, ended.err);
        },
        ..World::default()
    }
    .try_all(VERBS);
}

fn last_offset(scratch: &Scratch, segment: u64) -> u64 {
    let run = scratch.run(&["inspect", "log", &segment.to_string(), "--json"]);
    let lines = run.json_lines();
    let last = lines.iter().rev().find(|line| line["kind"] == "record");
    last.expect("a record")["offset"]
        .as_u64()
        .expect("an offset")
}

/// The number of the segment that is written to.
fn tail(scratch: &Scratch) -> u64 {
    let stat = scratch.run(&["stat", "log", "--json"]).ok().json();
    let segments = stat["segments"].as_array().expect("segments");
    let tail = segments.iter().find(|segment| segment["state"] == "tail");
    tail.expect("a tail")["id"].as_u64().expect("a number")
}

#[test]
fn does_every_verb_bear_a_log_that_is_torn_or_damaged() {
    let torn = |scratch: &Scratch| {
        fs::remove_dir_all(scratch.path.join("log")).expect("removed");
        scratch.torn_log("log");
    };
    let sealed = |scratch: &Scratch| scratch.damage("log", 1, 5000, b"XX");
    let end = |scratch: &Scratch| {
        let tail = tail(scratch);
        scratch.damage("log", tail, last_offset(scratch, tail) + 2, b"XX");
    };
    let header = |scratch: &Scratch| scratch.damage("log", tail(scratch), 16, b"XXXXXXXX");
    let missing = |scratch: &Scratch| {
        let name = format!("log/{:020}.seg", tail(scratch));
        fs::remove_file(scratch.path.join(name)).expect("removed");
    };
    let manifest = |scratch: &Scratch| {
        scratch.file("log/MANIFEST", [7; 200]);
    };
    let all: [(&str, Prepare<'_>); 6] = [
        ("torn", &torn),
        ("a damaged segment", &sealed),
        ("a damaged end", &end),
        ("a damaged header of the tail", &header),
        ("no file of the tail", &missing),
        ("a damaged manifest", &manifest),
    ];
    for (name, prepare) in all {
        World {
            name,
            prepare,
            places: &["log", "segment", "cursor", "MANIFEST"],
            is_whole: false,
            ..World::default()
        }
        .try_all(VERBS);
    }
}

#[test]
fn does_every_verb_leave_a_log_of_a_newer_program_alone() {
    World {
        name: "newer",
        prepare: &|scratch| {
            // The version of the manifest, and a checksum that is none of this program's business.
            let path = scratch.path.join("log/MANIFEST");
            let mut bytes = fs::read(&path).expect("a manifest");
            bytes[8] = 99;
            fs::write(&path, bytes).expect("written");
        },
        places: &["log"],
        is_whole: false,
        then: &|scratch, verb, ended| {
            // It shows the bytes of a file, whoever wrote the rest.
            let needs_none = !verb.needs_log || verb.line.starts_with("inspect");
            assert!(
                [1, 3, 4].contains(&code(ended)) || needs_none,
                "{}",
                ended.err
            );
            let manifest = fs::read(scratch.path.join("log/MANIFEST")).expect("a manifest");
            assert_eq!(manifest[8], 99);
        },
        ..World::default()
    }
    .try_all(VERBS);
}

/// Without the key nothing is read and nothing appended, and the log is as whole as before.
#[test]
fn does_every_verb_bear_a_log_that_it_has_no_key_for() {
    let other = r#"export CAIRN_KEY_FILE=others; exec "$@""#;
    for (name, shell) in [("no key", r#"exec "$@""#), ("another key", other)] {
        World {
            name,
            shell,
            places: &["log", "out"],
            prepare: &|scratch| {
                let seal = ["reseal", "log", "--key-file", "keys", "--rate", "none"];
                scratch.run(&seal).ok();
                // Both are needed to see that nothing is lost.
                let others = "umask 077; sed 's/^1 /7 /' keys >others && cat others keys >both";
                scratch.shell(&format!("{others} && mv both keys")).ok();
            },
            then: &|_, verb, ended| {
                let lines = ["cat", "get", "tail", "consume", "export", "salvage", "pack"];
                let reads = lines.iter().any(|word| verb.line.starts_with(word));
                let reads = reads || verb.line.starts_with("compact");
                let appends = verb.begins && name == "no key";
                match code(ended) {
                    // What it was in is a file that is no more.
                    1 => assert!(verb.line.starts_with("inspect"), "{}", ended.err),
                    5 => assert!(ended.err.contains("hint: ") || ended.out.contains("key 1")),
                    code => assert!(code == 0 && !reads && !appends, "{code}: {}", ended.err),
                }
                assert!(!ended.out.contains("record 5"), "{}", ended.out);
            },
            ..World::default()
        }
        .try_all(VERBS);
    }
}

#[test]
fn does_every_verb_bear_that_there_is_no_log() {
    let gone = |scratch: &Scratch| fs::remove_dir_all(scratch.path.join("log")).expect("removed");
    let empty = |scratch: &Scratch| {
        gone(scratch);
        fs::create_dir(scratch.path.join("log")).expect("a directory");
    };
    let other = |scratch: &Scratch| {
        empty(scratch);
        scratch.file("log/notes.txt", "mine");
    };
    let file = |scratch: &Scratch| {
        gone(scratch);
        scratch.file("log", "mine");
    };
    let all: [(&str, Prepare<'_>); 4] = [
        ("gone", &gone),
        ("empty", &empty),
        ("a directory of something else", &other),
        ("a file", &file),
    ];
    for (name, prepare) in all {
        World {
            name,
            prepare,
            is_whole: false,
            then: &|scratch: &Scratch, verb: &Verb, ended: &Ended| {
                let may_begin = verb.begins && ["gone", "empty"].contains(&name);
                let demo = !verb.needs_log;
                let wanted = if may_begin || demo { 0 } else { 1 };
                assert_eq!(code(ended), wanted, "{}{}", ended.out, ended.err);
                assert_eq!(
                    ended.err.contains("hint: `cairn append log`"),
                    !may_begin
                        && !demo
                        && ["gone", "empty"].contains(&name)
                        && !verb.line.starts_with("inspect"),
                    "{}",
                    ended.err
                );
                if !may_begin {
                    assert!(demo || is_no_log(&scratch.path.join("log")) || name == "a file");
                    assert!(
                        !scratch.path.join("out").exists() || demo,
                        "made from nothing"
                    );
                }
            },
            ..World::default()
        }
        .try_all(VERBS);
    }
}
