//! Is a log that has let go of old segments read like any other, by the tool alone, and what is said where it cannot be?
//! Only where that is built with `--features remote`.

#![cfg(feature = "remote")]

mod common;

use common::Scratch;
use serde_json::Value;
use std::{fs, io::Write, thread, time::Duration};

/// Records in the log: a hundred and some kilobytes in segments of 16.
const RECORDS: u64 = 4000;

/// Has the log let go of all that is sealed; how many segments that are.
fn tier(scratch: &Scratch) -> u64 {
    let line = "replicate orders.log store --once --tier-after 0 --json";
    let run = scratch.run(&line.split(' ').collect::<Vec<_>>());
    let told = run.ok().json();
    assert!(told["released_bytes"].as_u64() > Some(0), "{told}");
    told["released_count"].as_u64().expect("a number")
}

fn segments(scratch: &Scratch) -> Vec<Value> {
    let stat = scratch.run(&["stat", "orders.log", "--json"]).ok().json();
    stat["segments"].as_array().expect("segments").clone()
}

fn far_count(scratch: &Scratch) -> u64 {
    let all = segments(scratch);
    all.iter().filter(|it| it["state"] == "far").count() as u64
}

/// What each verb shows before, it shows afterwards with the way to the store; and without it, who comes to a far segment is told
/// which, and what there is to do.
#[test]
fn does_every_verb_that_reads_cross_the_border() {
    let lines: [(&str, bool); 15] = [
        ("cat orders.log", true),
        ("cat orders.log --reverse", true),
        ("cat orders.log --from 3999", false),
        ("cat orders.log --grep 3999 --json", true),
        ("get orders.log 3 3999", true),
        ("get orders.log 3999 --json", false),
        ("tail orders.log -n 2", false),
        ("tail orders.log -n 4000", true),
        ("export orders.log", true),
        ("consume orders.log mailer --no-ack", true),
        ("inspect orders.log 1", true),
        ("inspect orders.log 1 --json", true),
        ("stat orders.log --keys", true),
        ("verify orders.log", false),
        ("cursor list orders.log", false),
    ];
    let scratch = Scratch::new();
    scratch.log("orders.log", RECORDS);
    scratch
        .run_with(&["append", "orders.log"], "the last\n")
        .ok();
    scratch
        .run(&["consume", "orders.log", "mailer", "--max", "1"])
        .ok();
    let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
    // What tells of files and not of records: it says by itself where they are. And how old a cursor is passes with time.
    let others = ["stat", "verify", "cursor"];
    let is_told = |line: &str| others.iter().any(|verb| line.starts_with(verb));
    let before: Vec<_> = lines
        .iter()
        .map(|(line, _)| scratch.run(&words(line)).ok().out())
        .collect();
    let count = tier(&scratch);
    assert!(count > 3, "{count}");
    assert_eq!(far_count(&scratch), count);
    for ((line, is_far), before) in lines.into_iter().zip(before) {
        let with = scratch.run(&[words(line), vec!["--store", "store"]].concat());
        with.ok();
        assert!(
            is_told(line) || with.out() == before,
            "{line}: {}",
            with.out()
        );
        let without = scratch.run(&words(line));
        if !is_far {
            assert!(is_told(line) || without.ok().out() == before, "{line}");
            continue;
        }
        without
            .ends_with(1)
            .says(": segment ")
            .says("lives elsewhere");
        without.says("hint: nothing is wrong with it: --store URL reads it there");
    }
    let far = format!("{count} segments not looked at: elsewhere");
    scratch
        .run(&["verify", "orders.log"])
        .ok()
        .says("clean")
        .says(&far);
    let all = scratch
        .run(&["verify", "orders.log", "--store", "store", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&all["far_count"], &all["record_count"]),
        (&0.into(), &(RECORDS + 1).into())
    );
    // A backup and a salvage have all of it, and need nothing any more.
    let before = scratch
        .run(&["cat", "orders.log", "--store", "store"])
        .ok()
        .out();
    for line in ["backup orders.log backup", "salvage orders.log salvaged"] {
        let copy = line.split(' ').next_back().expect("a word");
        scratch
            .run(&[words(line), vec!["--store", "store"]].concat())
            .ok();
        assert_eq!(scratch.run(&["cat", copy]).ok().out(), before, "{line}");
    }
}

/// A store that is another, none at all, or named where it makes no sense.
#[test]
fn what_is_said_of_a_store_that_is_not_the_right_one() {
    let scratch = Scratch::new();
    scratch.log("orders.log", RECORDS);
    tier(&scratch);
    fs::create_dir(scratch.path.join("other")).expect("a directory");
    let tier_again = "replicate orders.log store --once --tier-after 0 --store store";
    for (line, code, says) in [
        (
            "get orders.log 3 --store other",
            3,
            "the segment lives elsewhere, and is not there",
        ),
        (
            "get orders.log 3 --store other",
            3,
            "hint: is that the store that the log was copied to?",
        ),
        (
            "get orders.log 3 --store nowhere",
            1,
            "nowhere: there is no such directory",
        ),
        ("get orders.log 3 --store gopher://store", 64, "gopher"),
        (tier_again, 64, "that is URL"),
        (
            "replicate gone.log nowhere --once --tier-after 0",
            1,
            "gone.log",
        ),
        (
            "replicate orders.log second --once",
            1,
            "hint: nothing is wrong with it: --store URL",
        ),
    ] {
        let run = scratch.run(&line.split(' ').collect::<Vec<_>>());
        run.ends_with(code).says(says);
    }
    assert!(!scratch.path.join("nowhere").exists());
    // With the way to the first a second store gets all of it.
    let line = [
        "replicate",
        "orders.log",
        "second",
        "--once",
        "--store",
        "store",
    ];
    scratch.run(&line).ok();
    let all = scratch.run(&["remote", "cat", "second"]).ok().out();
    assert_eq!(all.lines().count() as u64, RECORDS);
    // And the store that has it goes on without being read.
    scratch
        .run_with(&["append", "orders.log"], "one more\n")
        .ok();
    scratch
        .run(&["replicate", "orders.log", "store", "--once"])
        .ok();
    let last = scratch.run(&["remote", "cat", "store"]).ok().out();
    assert!(last.starts_with("record 0\n") && last.ends_with("one more\n"));
}

/// Only who writes can say that a segment lives elsewhere: that another process has the log is said, and what there is to do.
#[test]
fn is_a_log_let_go_of_that_another_process_writes() {
    let scratch = Scratch::new();
    scratch.log("orders.log", RECORDS);
    let mut holder = scratch.spawn(&["append", "orders.log", "--acks"]);
    let mut input = holder.stdin.take().expect("its input");
    writeln!(input, "held").expect("taken");
    let mut acks = std::io::BufReader::new(holder.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut acks, &mut String::new()).expect("an acknowledgement");
    let line = [
        "replicate",
        "orders.log",
        "store",
        "--once",
        "--tier-after",
        "0",
    ];
    let refused = scratch.run(&line);
    refused.ends_with(1).says("held by process");
    refused
        .says("hint: its holder alone can let go of segments")
        .says("--wait");
    assert_eq!(far_count(&scratch), 0);
    // Without it, beside the writer as ever; and once that is gone, or while it goes.
    scratch.run(&line[..4]).ok();
    let waits = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(input);
        holder.wait().expect("it ends");
    });
    scratch
        .run(&[&line[..], &["--wait", "30s"]].concat())
        .ok()
        .says("only there from now on");
    waits.join().expect("it ended");
    assert!(far_count(&scratch) > 3);
    scratch
        .run(&[&line[..], &["--tier-above", "1G"]].concat())
        .ok();
}

/// Continuously, and only as much as was said.
#[test]
fn is_the_log_let_go_of_as_it_is_copied() {
    let scratch = Scratch::new();
    scratch.log("orders.log", RECORDS);
    let before = scratch.run(&["cat", "orders.log"]).ok().out();
    let line = "replicate orders.log store --interval 0.1s --tier-above 40K";
    let mut replicator = scratch.spawn(&line.split(' ').collect::<Vec<_>>());
    let here = || -> u64 {
        let sealed = segments(&scratch)
            .into_iter()
            .filter(|it| it["state"] == "sealed");
        sealed
            .map(|it| it["frame_bytes"].as_u64().expect("bytes"))
            .sum()
    };
    let begun = here();
    for attempt in 0.. {
        if here() <= 40 << 10 {
            break;
        }
        assert!(attempt < 300, "{} of {begun} bytes are here", here());
        thread::sleep(Duration::from_millis(100));
    }
    replicator.kill().expect("killed");
    replicator.wait().expect("gone");
    assert!(begun > 40 << 10 && here() > 0, "{begun}, {}", here());
    let after = scratch.run(&["cat", "orders.log", "--store", "store"]);
    assert_eq!(after.ok().out(), before);
    assert!(
        scratch
            .run(&["verify", "orders.log", "--store", "store"])
            .ok()
            .out()
            .contains("clean")
    );
}
