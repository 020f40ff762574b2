//! Is what verifies shown of a log that is damaged, then what is wrong, and an exit code that says so?

mod common;
use common::Scratch;
use std::fs;

/// A log of two sealed segments at least, and the number of its tail.
fn log(scratch: &Scratch) -> (u64, u64) {
    scratch.log("log", 3000);
    let stat = scratch.run(&["stat", "log", "--json"]).ok().json();
    let segments = stat["segments"].as_array().expect("segments").clone();
    let tail = segments.iter().find(|segment| segment["state"] == "tail");
    let tail = tail.expect("a tail");
    let number = |name: &str| tail[name].as_u64().expect("a number");
    assert!(number("id") > 2 && number("record_count") > 20);
    (number("id"), number("first_seq"))
}

/// Damage to the tail made `cat`, `tail` and `stat` refuse the segments that were whole.
#[test]
fn is_all_that_verifies_shown_before_a_damaged_tail() {
    for kind in ["header", "gone", "frames"] {
        let scratch = Scratch::new();
        let (tail, first) = log(&scratch);
        let mut whole = first;
        match kind {
            "header" => scratch.damage("log", tail, 16, b"XXXXXXXX"),
            "gone" => {
                let name = format!("log/{tail:020}.seg");
                fs::remove_file(scratch.path.join(name)).expect("removed");
            }
            _ => {
                let run = scratch.run(&["inspect", "log", &tail.to_string(), "--json"]);
                let lines = run.ok().json_lines();
                let mut records = lines.iter().filter(|line| line["kind"] == "record");
                let record = records.nth(10).expect("a record");
                scratch.damage(
                    "log",
                    tail,
                    record["offset"].as_u64().expect("one") + 2,
                    b"XX",
                );
                whole = record["seq"].as_u64().expect("a seq");
            }
        }
        let expected: String = (0..whole).map(|seq| format!("record {seq}\n")).collect();
        let run = scratch.run(&["cat", "log"]);
        run.ends_with(3)
            .says(&format!("segment {tail}"))
            .says("hint: `cairn verify log`");
        let shown = run.out();
        let shown_count = shown.lines().count() as u64;
        // A batch verifies as a whole or not at all.
        assert!(
            expected.starts_with(&shown) && shown_count >= first,
            "{kind}: {shown_count} of {whole}"
        );
        let last = shown_count - 1;

        let run = scratch.run(&["tail", "log", "-n", "2"]);
        run.ends_with(3).says(&format!("segment {tail}"));
        assert_eq!(run.out(), format!("record {}\nrecord {last}\n", last - 1));
        let run = scratch.run(&["tail", "log", "-n", "1", "-f"]);
        assert_eq!(run.ends_with(3).out(), format!("record {last}\n"));
        let run = scratch.run(&["cat", "log", "--reverse"]);
        assert_eq!(run.ends_with(3).out().lines().count() as u64, shown_count);
        let run = scratch.run(&["cat", "log", "--reverse", "--limit", "1"]);
        assert_eq!(run.ok().out(), format!("record {last}\n"));
        let run = scratch.run(&["get", "log", "1", "2999", "2"]);
        assert_eq!(run.ends_with(3).out(), "record 1\nrecord 2\n");
        let run = scratch.run(&["export", "log"]);
        assert_eq!(run.ends_with(3).json_lines().len() as u64, shown_count);
        let run = scratch.run(&["stat", "log"]);
        run.ends_with(3)
            .says("sealed")
            .says(&format!("segment {tail}"));
        let stat = scratch.run(&["stat", "log", "--json"]);
        assert_eq!(
            stat.ends_with(3).json()["proven_seq"],
            shown_count,
            "{kind}"
        );
        // What changes the log refuses as before.
        scratch.run_with(&["append", "log"], "more\n").ends_with(3);

        // `plan` and `verify` name the same records.
        let of = |verb: &str| {
            let report = scratch.run(&[verb, "log", "--json"]).ends_with(3).json();
            let damage = report["findings"].as_array().expect("findings").clone();
            let named = damage.iter().filter(|finding| finding["kind"] == "damage");
            let seqs = named.map(|it| (it["first_seq"].clone(), it["next_seq"].clone()));
            seqs.collect::<Vec<_>>()
        };
        assert_eq!(of("plan"), of("verify"), "{kind}");
    }
}

#[test]
fn is_a_dry_run_what_would_be_done() {
    let scratch = Scratch::new();
    let lines: String = (0..4000)
        .map(|number| match number % 7 {
            0 => format!("key {}=\n", number % 90),
            _ => format!("key {}=value {number}\n", number % 130),
        })
        .collect();
    let args = [
        "append",
        "log",
        "--segment-bytes",
        "16K",
        "--key-separator",
        "=",
        "--tombstones",
    ];
    scratch.run_with(&args, lines).ok();
    let before = scratch.run(&["verify", "log", "--json"]).ok().json();
    let compact = [
        "compact",
        "log",
        "--tombstone-age",
        "0",
        "--segment-bytes",
        "16K",
        "--json",
    ];
    for rotate in [&[][..], &["--rotate"]] {
        let args = [&compact[..], rotate].concat();
        let plan = scratch
            .run(&[&args[..], &["--dry-run"]].concat())
            .ok()
            .json();
        let done = scratch.run(&args).ok().json();
        assert!(plan["dropped_count"].as_u64() > Some(10), "{plan}");
        assert_eq!(plan["dropped_count"], done["dropped_count"], "{rotate:?}");
        if rotate.is_empty() {
            assert_eq!(before["record_count"], 4000);
        }
    }
    scratch.log("other", 3000);
    for limit in [
        ["--bytes", "20K"],
        ["--seq", "1500"],
        ["--age", "1h"],
        ["--bytes", "0"],
    ] {
        let args = [&["retain", "other", "--json"][..], &limit].concat();
        let mut plan = scratch
            .run(&[&args[..], &["--dry-run"]].concat())
            .ok()
            .json();
        let mut done = scratch.run(&args).ok().json();
        assert_eq!(
            (plan["applied"].take(), done["applied"].take()),
            (false.into(), true.into())
        );
        assert_eq!(plan, done, "{limit:?}");
    }
    let run = scratch.run(&["rewind", "other", "2990", "--dry-run"]);
    run.ok().says("would drop seq 2990..3000");
    scratch
        .run(&["compact", "log", "--dry-run", "--memory", "100"])
        .ends_with(1)
        .says("--memory");
}
