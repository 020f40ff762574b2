//! Do compact, retain and backup do what they say, and refuse what they should?

mod common;
use common::Scratch;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    process::{Child, ChildStdin},
    thread,
    time::Duration,
};

/// A log of `rounds` values for each of 100 keys, in segments of 16 KiB.
fn keyed_log(scratch: &Scratch, name: &str, rounds: u64) {
    let line = |number: u64| format!("key {}\tvalue {} of it\n", number % 100, number / 100);
    let lines: String = (0..rounds * 100).map(line).collect();
    let separator = ["--key-separator", "\\t", "--tombstones"];
    let args = [&["append", name, "--segment-bytes", "16K"], &separator[..]].concat();
    scratch.run_with(&args, lines).ok();
}

/// The last value of each key that the log shows, and how many records it shows.
fn state(scratch: &Scratch, name: &str) -> (BTreeMap<String, String>, usize) {
    let text = scratch
        .run(&["cat", name, "--key-separator", "\\t"])
        .ok()
        .out();
    let pairs = text
        .lines()
        .map(|line| line.split_once('\t').expect("a key"));
    let state = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    (state.collect(), text.lines().count())
}

/// Another process that has the log open for writing.
fn holder(scratch: &Scratch, log: &str) -> (Child, ChildStdin) {
    let mut holder = scratch.spawn(&["append", log, "--acks"]);
    let mut stdin = holder.stdin.take().expect("standard input");
    writeln!(stdin, "mine").expect("fed");
    let mut acks = BufReader::new(holder.stdout.take().expect("standard output"));
    acks.read_line(&mut String::new()).expect("acknowledged");
    (holder, stdin)
}

#[test]
fn compact_keeps_the_newest_of_each_key_and_says_what_it_dropped() {
    let scratch = Scratch::new();
    keyed_log(&scratch, "log", 30);
    let (before, _) = state(&scratch, "log");
    let dirty = scratch.run(&["stat", "log", "--json"]).json();
    assert_eq!(dirty["dirty_bytes"], dirty["sealed_bytes"]);
    assert!(dirty["dirty_bytes"].as_u64() > Some(50_000), "{dirty}");
    scratch
        .run(&["stat", "log"])
        .ok()
        .says("100% of ")
        .says(" sealed is dirty");

    let args = ["compact", "log", "--rotate", "--rate", "none", "--json"];
    let done = scratch.run(&[&args[..], &["--segment-bytes", "16K"]].concat());
    let done = done.ok().json();
    assert_eq!(
        (&done["dropped_count"], &done["kept_count"]),
        (&2900.into(), &100.into())
    );
    assert!(done["segments_before"].as_u64() > Some(3), "{done}");
    assert_eq!(done["segments_after"], 1);
    assert!(done["bytes_after"].as_u64() < Some(10_000), "{done}");
    assert_eq!(state(&scratch, "log"), (before.clone(), 100));
    let clean = scratch.run(&["stat", "log", "--json"]).json();
    assert_eq!(
        (&clean["dirty_bytes"], &clean["next_seq"]),
        (&0.into(), &3000.into())
    );
    scratch.run(&["stat", "log"]).ok().says("0% of ");
    scratch
        .run(&["compact", "log"])
        .ok()
        .says("nothing to drop");
    scratch.run(&["verify", "log"]).ok();

    keyed_log(&scratch, "hashed", 30);
    let args = [
        "compact", "hashed", "--rotate", "--hashed", "--memory", "1M",
    ];
    let run = scratch.run(&[&args[..], &["--rate", "64M"]].concat());
    run.ok()
        .says("into 1, ")
        .says("dropped 2,900 records, kept 100");
    assert_eq!(state(&scratch, "hashed"), (before, 100));
}

#[test]
fn a_packed_log_is_smaller_and_says_the_same() {
    for codec in ["lz4", "zstd"] {
        let scratch = Scratch::new();
        keyed_log(&scratch, "log", 30);
        let before = scratch.run(&["export", "log"]).ok().out().to_owned();
        let args = [
            "pack", "log", "--rotate", "--codec", codec, "--rate", "none", "--json",
        ];
        let done = scratch.run(&args).ok().json();
        let bytes = |name: &str| done[name].as_u64().expect("a number");
        assert!(bytes("bytes_after") < bytes("bytes_before") / 2, "{done}");
        assert_eq!(scratch.run(&["export", "log"]).ok().out(), before);
        scratch.run(&["pack", "log"]).ok().says("nothing to gain");
        scratch.run(&["verify", "log"]).ok();
        scratch.run(&["get", "log", "7", "2999"]).ok();
        // Frame by frame: each line says where it is and how long, none wraps or overlaps its batch.
        let stat = scratch.run(&["stat", "log", "--json"]).ok().json();
        let id = stat["segments"][0]["id"].to_string();
        let lines = scratch
            .run(&["inspect", "log", &id, "--json"])
            .ok()
            .json_lines();
        let packed = lines.iter().filter(|line| line["kind"] == "packed").count();
        let records = lines.iter().filter(|line| line["kind"] == "record").count();
        assert!(packed > 0 && records > 100, "{packed} {records}");
        assert!(
            lines
                .iter()
                .all(|line| line["bytes"].as_u64() < Some(1 << 30))
        );
    }
}

/// What was packed as it was appended is counted and shown like anything else, and packed again once it is sealed.
#[test]
fn a_log_packed_as_it_was_appended_is_told_of_as_any_other() {
    let scratch = Scratch::new();
    let options = cairnlog::Log::options().pack_appends(cairnlog::Compression::Lz4);
    let log = options.open(scratch.path.join("log")).expect("a log");
    for group in 0..50 {
        let line = |number: u64| format!("GET /page/{} 200 OK", group * 40 + number);
        log.append_batch((0..40).map(line)).expect("appended");
    }
    log.close().expect("closed");
    let stat = || scratch.run(&["stat", "log", "--json"]).ok().json();
    let tail = stat()["segments"][0].clone();
    assert_eq!(tail["record_count"], 2000, "{tail}");
    assert_eq!(tail["next_seq"], 2000, "{tail}");
    let id = tail["id"].to_string();
    let lines = scratch
        .run(&["inspect", "log", &id, "--json"])
        .ok()
        .json_lines();
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((count("packed"), count("record")), (50, 2000));
    scratch.run(&["verify", "log"]).ok();
    let before = scratch.run(&["export", "log"]).ok().out().to_owned();
    let args = ["pack", "log", "--rotate", "--rate", "none", "--json"];
    let done = scratch.run(&args).ok().json();
    let bytes = |name: &str| done[name].as_u64().expect("a number");
    assert!(bytes("bytes_after") < bytes("bytes_before"), "{done}");
    assert_eq!(scratch.run(&["export", "log"]).ok().out(), before);
    let packed = stat()["segments"][0]["id"].to_string();
    let lines = scratch
        .run(&["inspect", "log", &packed, "--json"])
        .ok()
        .json_lines();
    let blocks = lines.iter().filter(|line| line["kind"] == "packed");
    assert_eq!(blocks.count(), 2, "blocks of 64 KiB");
}

#[test]
fn compact_leaves_young_tombstones_and_what_is_not_sealed() {
    let scratch = Scratch::new();
    keyed_log(&scratch, "log", 1);
    scratch
        .run(&["compact", "log"])
        .ok()
        .says("no segment is sealed yet")
        .says("--rotate");
    assert_eq!(state(&scratch, "log").1, 100);
    let args = ["append", "log", "--key-separator", "\\t", "--tombstones"];
    scratch.run_with(&args, "key 7\t\n").ok();
    let tombstones = |scratch: &Scratch| {
        let records = scratch.run(&["cat", "log", "--json"]).json_lines();
        records
            .iter()
            .filter(|record| record["tombstone"] == true)
            .count()
    };
    scratch
        .run(&["compact", "log", "--rotate"])
        .ok()
        .says("dropped 1 record, kept 100");
    assert_eq!(tombstones(&scratch), 1);
    // Old enough, it goes, as soon as something else is rewritten for it.
    let args = ["compact", "log", "--rotate", "--tombstone-age", "0"];
    scratch.run(&args).ok().says("dropped 1 record, kept 99");
    assert_eq!(tombstones(&scratch), 0);
    // A log without keys has nothing to drop and nothing dirty.
    scratch.log("plain", 3000);
    scratch
        .run(&["compact", "plain", "--segment-bytes", "16K"])
        .ok()
        .says("nothing to drop");
    assert!(!scratch.run(&["stat", "plain"]).ok().out().contains("dirty"));
}

#[test]
fn a_compaction_that_is_killed_changes_nothing_that_counts() {
    let scratch = Scratch::new();
    keyed_log(&scratch, "log", 200);
    let (before, _) = state(&scratch, "log");
    let mut killed_count = 0;
    for round in 0..4 {
        // It reads everything and then rewrites it: some seconds, and each kill later than the last.
        let args = ["compact", "log", "--rate", "256K", "--segment-bytes", "16K"];
        let mut child = scratch.spawn(&args);
        thread::sleep(Duration::from_millis(50 + 250 * round));
        killed_count += u64::from(child.try_wait().expect("a child").is_none());
        child.kill().expect("killed");
        child.wait().expect("it ended");
        assert_eq!(state(&scratch, "log").0, before);
        scratch.run(&["verify", "log"]).ok();
    }
    assert!(killed_count > 0, "it was never killed at work");
    scratch
        .run(&["compact", "log", "--rotate"])
        .ok()
        .says("kept 100");
    assert_eq!(state(&scratch, "log"), (before, 100));
    // Nothing is left of what was half written.
    let files = fs::read_dir(scratch.path.join("log")).expect("readable");
    let names = files.map(|file| file.expect("readable").file_name());
    let is_segment = |name: &OsString| name.to_string_lossy().ends_with(".seg");
    let stat = scratch.run(&["stat", "log", "--json"]).json();
    let named = stat["segments"].as_array().map(Vec::len);
    assert_eq!(Some(names.filter(is_segment).count()), named);
}

#[test]
fn retain_drops_whole_segments_past_a_limit() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    let stat = |scratch: &Scratch| scratch.run(&["stat", "log", "--json"]).ok().json();
    let first = stat(&scratch)["segments"][0].clone();
    scratch
        .run(&["retain", "log", "--bytes", "1G"])
        .ok()
        .says("dropped nothing");
    scratch
        .run(&["retain", "log", "--age", "7d"])
        .ok()
        .says("dropped nothing");
    let end = first["next_seq"].as_u64().expect("a seq");
    let short = (end - 1).to_string();
    scratch
        .run(&["retain", "log", "--seq", &short])
        .ok()
        .says("dropped nothing");
    let args = ["retain", "log", "--seq", &end.to_string(), "--json"];
    let done = scratch.run(&args).ok().json();
    assert_eq!(
        (&done["segment_count"], &done["head_seq"]),
        (&1.into(), &end.into())
    );
    assert_eq!(done["record_count"], first["record_count"]);
    assert_eq!(done["frame_bytes"], first["frame_bytes"]);
    scratch
        .run(&["cat", "log", "--from", "0"])
        .ends_with(1)
        .says(&format!("seq {end}"));

    scratch
        .run(&["retain", "log", "--bytes", "20K"])
        .ok()
        .says("the log begins at seq ");
    let left: u64 = stat(&scratch)["segments"]
        .as_array()
        .expect("segments")
        .iter()
        .filter_map(|part| part["frame_bytes"].as_u64())
        .sum();
    assert!(left <= 20 << 10, "{left}");
    thread::sleep(Duration::from_millis(5));
    scratch
        .run(&["retain", "log", "--age", "0"])
        .ok()
        .says("dropped");
    assert!(stat(&scratch)["segments"][0]["state"] != "sealed");
    let records = scratch.run(&["cat", "log"]).ok().out();
    assert!(records.ends_with("record 2999\n"), "the tail stays");
    // Nothing says what may go, or what it says makes no sense.
    scratch
        .run(&["retain", "log"])
        .ends_with(64)
        .says("--bytes");
    scratch
        .run(&["retain", "log", "--held-bytes", "1G"])
        .ends_with(64);
    scratch
        .run(&["retain", "log", "--age", "soon"])
        .ends_with(64)
        .says("7d");
}

#[test]
fn a_backup_is_a_log_with_the_same_records_and_cursors() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch
        .run(&["consume", "log", "mailer", "--max", "10"])
        .ok();
    let all = scratch.run(&["cat", "log", "--json"]).ok().out();
    let run = scratch.run(&["backup", "log", "linked"]);
    run.ok().says("backed up seq 0..3000").says("shared");
    let args = ["backup", "log", "copied", "--copy", "--json"];
    let done = scratch.run(&args).ok().json();
    assert_eq!(
        (&done["head_seq"], &done["next_seq"]),
        (&0.into(), &3000.into())
    );
    assert_eq!(done["linked_count"], 0);
    assert!(done["copied_count"].as_u64() > Some(1), "{done}");
    for (copy, names) in [("linked", 2), ("copied", 1)] {
        assert_eq!(scratch.run(&["cat", copy, "--json"]).ok().out(), all);
        let cursors = scratch.run(&["cursor", "list", copy, "--json"]).json();
        assert_eq!(
            (&cursors["name"], &cursors["seq"]),
            (&"mailer".into(), &10.into())
        );
        let file = scratch.path.join(copy).join(format!("{:020}.seg", 1));
        assert_eq!(
            fs::metadata(file).expect("a segment").nlink(),
            names,
            "{copy}"
        );
    }
    scratch.run_with(&["append", "log"], "more\n").ok();
    let run = scratch.run(&["backup", "log", "copied", "--copy"]);
    run.ok().says("backed up seq 0..3001").says("kept");
    let all = scratch.run(&["cat", "log", "--json"]).ok().out();
    assert_eq!(scratch.run(&["cat", "copied", "--json"]).ok().out(), all);
    // What comes into the one does not come into the other.
    scratch
        .run_with(&["append", "linked"], "new\n")
        .ok()
        .says("seq 3000..3001");
    assert_eq!(scratch.run(&["cat", "log", "--json"]).ok().out(), all);

    scratch
        .run(&["backup", "log", "linked"])
        .ends_with(1)
        .says("opened as one since");
    scratch
        .run(&["backup", "log", "log/inside"])
        .ends_with(1)
        .says("inside the log itself");
    scratch.damage("log", 1, 5000, b"XX");
    scratch
        .run(&["backup", "log", "bad"])
        .ends_with(3)
        .says("segment 1");
    let run = scratch.run(&["cat", "bad"]);
    run.ends_with(3)
        .says("never finished")
        .says("remove bad and back up again");
}

#[test]
fn looking_after_a_log_that_another_process_writes_is_refused_by_its_id() {
    let scratch = Scratch::new();
    let (mut writer, stdin) = holder(&scratch, "log");
    let held = format!("held by process {}", writer.id());
    for args in [
        &["compact", "log"][..],
        &["retain", "log", "--bytes", "0"],
        &["consume", "log", "mailer"],
        &["cursor", "set", "log", "mailer", "0"],
        &["cursor", "delete", "log", "mailer"],
    ] {
        let run = scratch.run(args);
        run.ends_with(1)
            .says(&held)
            .says("its holder alone can change the log");
    }
    // A backup is made beside it.
    scratch
        .run(&["backup", "log", "beside"])
        .ok()
        .says("backed up seq 0..1");
    assert_eq!(scratch.run(&["cat", "beside"]).ok().out(), "mine\n");
    let waiting = scratch.spawn(&["backup", "log", "copy", "--wait", "10s"]);
    drop(stdin);
    writer.wait().expect("it ended");
    assert!(
        waiting
            .wait_with_output()
            .expect("it ended")
            .status
            .success()
    );
    assert_eq!(scratch.run(&["cat", "copy"]).ok().out(), "mine\n");
    scratch
        .run(&["backup", "log", "other", "--wait", "soon"])
        .ends_with(64);
}

#[test]
fn only_a_log_that_is_there_is_looked_after() {
    let scratch = Scratch::new();
    for args in [
        &["compact", "none"][..],
        &["retain", "none", "--bytes", "0"],
        &["backup", "none", "copy"],
        &["consume", "none", "mailer"],
        &["consume", "none", "mailer", "--no-ack"],
        &["cursor", "list", "none"],
        &["cursor", "set", "none", "mailer", "0"],
        &["cursor", "delete", "none", "mailer"],
    ] {
        let run = scratch.run(args);
        run.ends_with(1)
            .says("there is no log here")
            .says("hint: `cairn append none` creates");
        assert!(!scratch.path.join("none").exists(), "{args:?}");
    }
    scratch.log("log", 10);
    for args in [
        &["compact", "log", "--rate", "0"][..],
        &["compact", "log", "--tombstone-age", "-1"],
    ] {
        scratch.run(args).ends_with(64);
    }
    scratch
        .run(&["compact", "log", "--memory", "4K"])
        .ends_with(1)
        .says("at least 1 MiB");
}
