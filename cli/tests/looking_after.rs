//! Do stat, inspect, repair, salvage, trim, rewind and replay do what they say?

mod common;
use common::Scratch;
use std::fs;

#[test]
fn stat_draws_the_segments_and_gives_them_to_scripts() {
    let scratch = Scratch::new();
    scratch.log("log", 5000);
    let run = scratch.run(&["stat", "log"]);
    run.ok()
        .says("5,000 records, seq 0..5000, closed in order")
        .says("sealed")
        .says("█");
    let stat = scratch.run(&["stat", "log", "--json"]).json();
    assert_eq!(stat["next_seq"], 5000);
    assert_eq!(stat["record_count"], 5000);
    assert_eq!(stat["clean"], true);
    let segments = stat["segments"].as_array().expect("segments");
    let counted: u64 = segments
        .iter()
        .filter_map(|part| part["record_count"].as_u64())
        .sum();
    assert_eq!(counted, 5000);
    let states: Vec<&str> = segments
        .iter()
        .filter_map(|part| part["state"].as_str())
        .collect();
    assert_eq!(states.first(), Some(&"sealed"));
    assert_eq!(states.iter().filter(|state| **state == "tail").count(), 1);
}

#[test]
fn stat_of_a_log_that_was_not_closed_counts_the_same() {
    let scratch = Scratch::new();
    scratch.file(
        "history",
        "batch 500 50 1\nbatch 500 50 2\nbatch 500 50 3\ncrash\nclose\n",
    );
    scratch
        .run(&["replay", "log", "history", "--segment-bytes", "64K"])
        .ok();
    let stat = scratch.run(&["stat", "log", "--json"]).json();
    assert_eq!(
        (&stat["record_count"], &stat["next_seq"]),
        (&1500.into(), &1500.into())
    );
    scratch.torn_log("torn");
    let run = scratch.run(&["stat", "torn"]);
    run.ok().says("2 records, seq 0..2, open or not closed");
}

#[test]
fn inspect_accounts_for_every_byte_of_the_file() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch.torn_log("torn");
    scratch.log("damaged", 3000);
    scratch.damage("damaged", 1, 5000, b"XX");
    for (log, name) in [
        ("log", "1"),
        ("log", "2"),
        ("log", "3"),
        ("torn", "1"),
        ("damaged", "1"),
    ] {
        let lines = scratch
            .run(&["inspect", log, name, "--json"])
            .ok()
            .json_lines();
        let mut at = 0;
        for line in &lines {
            let number = |field: &str| line[field].as_u64().expect("a number");
            // Records lie inside the batch whose header is before them.
            assert_eq!(number("offset"), at, "{log} {name}: {line}");
            at += number("bytes");
        }
        let id: u64 = name.parse().expect("a number");
        let file = scratch.path.join(log).join(format!("{id:020}.seg"));
        assert_eq!(
            at,
            fs::metadata(file).expect("a file").len(),
            "{log} {name}"
        );
    }
    let run = scratch.run(&["inspect", "log", "00000000000000000001.seg"]);
    run.ok()
        .says("header segment 1")
        .says("record seq 0, value 8 bytes \"record 0\"");
    let short = scratch.run(&["inspect", "log", "1", "--no-records"]);
    assert!(short.ok().says("footer").out().lines().count() < run.out().lines().count());
    scratch.run(&["inspect", "log", "77"]).ends_with(1);
}

#[test]
fn repair_is_a_dry_run_and_refuses_loss_until_it_is_accepted() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch
        .run(&["repair", "log"])
        .ok()
        .says("nothing to repair");
    scratch.damage("log", 1, 5000, b"XX");
    let run = scratch.run(&["repair", "log"]);
    run.ends_with(3)
        .says("would be lost")
        .says("nothing was changed");
    scratch
        .run(&["repair", "log", "--apply"])
        .ends_with(3)
        .says("has to be accepted");
    scratch.run(&["verify", "log"]).ends_with(3);

    let args = ["repair", "log", "--apply", "--accept-loss", "--json"];
    let report = scratch.run(&args).ok().json();
    assert_eq!(report["applied"], true);
    let lost = &report["lost"][0];
    let (first, next) = (
        lost[0].as_u64().expect("a seq"),
        lost[1].as_u64().expect("a seq"),
    );
    assert!(first < next);
    let kept = report["kept"][0]["kept_in"].as_str().expect("a file");
    assert!(scratch.path.join("log").join(kept).exists());
    scratch.run(&["verify", "log"]).ok();
    let records = scratch.run(&["cat", "log", "--json"]).json_lines();
    assert_eq!(records.len() as u64, 3000 - (next - first));
    for record in records {
        let seq = record["seq"].as_u64().expect("a seq");
        assert!(!(first..next).contains(&seq));
        assert_eq!(record["value"], format!("record {seq}"));
    }
}

#[test]
fn a_torn_end_is_repaired_without_loss_of_anything_proven() {
    let scratch = Scratch::new();
    scratch.torn_log("log");
    scratch
        .run(&["repair", "log"])
        .ends_with(2)
        .says("nothing was changed");
    scratch
        .run(&["repair", "log", "--apply"])
        .ok()
        .says("kept:")
        .says("repaired");
    scratch.run(&["verify", "log"]).ok();
    assert_eq!(scratch.run(&["cat", "log"]).out(), "record 0\nrecord 1\n");
}

#[test]
fn salvage_writes_what_verifies_and_tells_the_gaps() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch
        .run(&["salvage", "log", "whole"])
        .ok()
        .says("salvaged 3,000 records")
        .says("0 gaps");
    assert_eq!(
        scratch.run(&["cat", "whole"]).out(),
        scratch.run(&["cat", "log"]).out()
    );
    scratch
        .run(&["salvage", "log", "whole"])
        .ends_with(1)
        .says("not empty");
    scratch.damage("log", 1, 5000, b"XX");
    let report = scratch
        .run(&["salvage", "log", "out", "--json"])
        .ends_with(3)
        .json();
    // One record, or a whole batch if its header was hit: how many came together is for the clock to say.
    assert_eq!(report["gaps"].as_array().map(Vec::len), Some(1));
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let gap = &report["gaps"][0];
    let lost = number(&gap["next_seq"]) - number(&gap["first_seq"]);
    assert!((1..3000).contains(&lost));
    assert_eq!(number(&report["record_count"]), 3000 - lost);
    scratch.run(&["verify", "out"]).ok();
    scratch.run(&["verify", "log"]).ends_with(3);
    // Even without a manifest.
    fs::remove_file(scratch.path.join("log/MANIFEST")).expect("removed");
    scratch.run(&["cat", "log"]).ends_with(3);
    scratch.run(&["salvage", "log", "again"]).ends_with(3);
    let again = scratch.run(&["cat", "again"]).ok().out();
    assert_eq!(again, scratch.run(&["cat", "out"]).out());
}

#[test]
fn trim_and_rewind_drop_what_they_say() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    scratch
        .run(&["trim", "log", "10", "--dry-run"])
        .ok()
        .says("would drop seq 0..10");
    scratch
        .run(&["trim", "log", "10"])
        .ok()
        .says("dropped seq 0..10");
    scratch
        .run(&["trim", "log", "10"])
        .ok()
        .says("dropped nothing");
    scratch
        .run(&["rewind", "log", "90", "--dry-run"])
        .ok()
        .says("would drop seq 90..100");
    let done = scratch.run(&["rewind", "log", "90", "--json"]).ok().json();
    assert_eq!(
        (&done["first_seq"], &done["next_seq"]),
        (&90.into(), &100.into())
    );
    scratch
        .run_with(&["append", "log"], "new\n")
        .ok()
        .says("seq 100..101");
    let seqs = |run: common::Run| -> Vec<u64> {
        let records = run.ok().json_lines();
        records
            .iter()
            .filter_map(|record| record["seq"].as_u64())
            .collect()
    };
    let expected: Vec<u64> = (10..90).chain([100]).collect();
    assert_eq!(seqs(scratch.run(&["cat", "log", "--json"])), expected);
    scratch
        .run(&["trim", "log", "1000"])
        .ends_with(1)
        .says("not appended yet");
    scratch
        .run(&["rewind", "log", "5"])
        .ends_with(1)
        .says("it was trimmed");
    assert_eq!(
        seqs(scratch.run(&["tail", "log", "--json", "-n", "2"])),
        [89, 100]
    );
    scratch
        .run(&["stat", "log"])
        .ok()
        .says("81 records, seq 10..101");
}

#[test]
fn replay_runs_every_operation_and_tells_it() {
    let scratch = Scratch::new();
    scratch.file(
        "history",
        "append 10 1            # one\n\
         append 0 0 key=k written\n\
         tombstone k\n\
         batch 3 100 7 buffered\n\
         sync\n\
         expect 3 100 7\n\
         expect 5 100 9\n\
         expect-next 6\n\
         rotate\n\
         maintain\n\
         append 20 2\n\
         crash\n\
         expect-verdict unclean\n\
         expect 6 20 2\n\
         expect-count 7\n\
         append 5 5 buffered\n\
         crash\n\
         expect-none 7\n\
         trim 2\n\
         expect-head 2\n\
         expect-none 1\n\
         rewind 6\n\
         expect-next 7\n\
         expect-count 4\n\
         sleep 1\n\
         reopen\n\
         expect-verdict clean\n\
         close\n",
    );
    let args = [
        "replay",
        "log",
        "history",
        "--segment-bytes",
        "4K",
        "--no-background",
    ];
    let run = scratch.run(&args);
    run.ok()
        .says("1: append 10 1: seq 0 durable")
        .says("4: batch 3 100 7 buffered: seq 3..6");
    run.says("12: crash: opened unclean")
        .says("28: close: closed");
    assert_eq!(run.out().lines().count(), 28);
    scratch.run(&["verify", "log"]).ok();

    for (history, text) in [
        (
            "append 5 1\nexpect 0 5 2\n",
            "line 2: `expect 0 5 2`: the record has 5 bytes, and not",
        ),
        ("close\nsync\n", "line 2: `sync`: the log is closed"),
        ("expect-next 3\n", "line 1: `expect-next 3`: it is 0"),
        (
            "expect-verdict clean\nsnyc\n",
            "line 2: `snyc` is no operation",
        ),
        ("trim 99\n", "line 1: `trim 99` failed"),
    ] {
        let name = format!("log {}", text.len());
        let run = scratch.run_with(&["replay", &name, "-"], history);
        run.ends_with(1);
        assert!(
            run.err()
                .contains(text.split(": `snyc`").next().expect("text")),
            "{}",
            run.err()
        );
    }
    scratch
        .run_with(&["replay", "other", "-"], "crash\n")
        .ends_with(64);
}
