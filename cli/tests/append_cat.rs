//! Does what goes in by `append` come out by `cat` and `tail`, in every form?

mod common;
use common::Scratch;
use std::{io::Write, time::Duration};

#[test]
fn lines_come_back_as_they_were() {
    let scratch = Scratch::new();
    let text = "one\n\n  three \nfour\r\nümlaut\n";
    let run = scratch.run_with(&["append", "log"], text);
    run.ok().says("appended 5 records, seq 0..5");
    assert_eq!(scratch.run(&["cat", "log"]).ok().out(), text);
    assert_eq!(
        scratch
            .run(&["cat", "log", "--from", "3", "--to", "4"])
            .out(),
        "four\r\n"
    );
    assert_eq!(
        scratch.run(&["cat", "log", "--from", "4"]).out(),
        "ümlaut\n"
    );
    assert_eq!(
        scratch.run(&["cat", "log", "--reverse", "--to", "2"]).out(),
        "\none\n"
    );
    assert_eq!(scratch.run(&["cat", "log", "--from", "9"]).ok().out(), "");
    assert_eq!(
        scratch.run(&["tail", "log", "-n", "2"]).out(),
        "four\r\nümlaut\n"
    );
    assert_eq!(scratch.run(&["tail", "log", "-n", "0"]).ok().out(), "");
    scratch
        .run(&["cat", "log", "--from", "3", "--to", "2"])
        .ends_with(64);
}

#[test]
fn files_and_standard_input_are_read_in_order() {
    let scratch = Scratch::new();
    scratch.file("a", "a1\na2");
    scratch.file("b", "b1\n");
    scratch
        .run_with(&["append", "log", "a", "-", "b"], "in\n")
        .ok();
    assert_eq!(scratch.run(&["cat", "log"]).out(), "a1\na2\nin\nb1\n");
    let run = scratch.run(&["append", "log", "b", "missing"]);
    run.ends_with(1)
        .says("missing")
        .says("acknowledged before that: 1 record, seq 4..5");
    assert_eq!(scratch.run(&["cat", "log"]).out(), "a1\na2\nin\nb1\nb1\n");
}

#[test]
fn an_empty_log_and_an_empty_record_are_neither_the_same_nor_an_error() {
    let scratch = Scratch::new();
    scratch
        .run(&["append", "log"])
        .ok()
        .says("appended 0 records, seq 0..0");
    for command in [["cat", "log"], ["tail", "log"]] {
        assert_eq!(scratch.run(&command).ok().out(), "");
    }
    for command in [["stat", "log"], ["verify", "log"], ["plan", "log"]] {
        scratch.run(&command).ok();
    }
    scratch
        .run_with(&["append", "log"], "\n")
        .ok()
        .says("1 record");
    assert_eq!(scratch.run(&["cat", "log"]).ok().out(), "\n");
}

#[test]
fn length_prefixed_records_are_exact() {
    let scratch = Scratch::new();
    let mut input = Vec::new();
    for size in [0usize, 1, 5, 255, 256, 65_536, 300_000] {
        let byte = |number: usize| (number * 31 + size) as u8;
        input.extend_from_slice(&u32::try_from(size).expect("small").to_le_bytes());
        input.extend((0..size).map(byte));
    }
    scratch
        .run_with(&["append", "log", "--length-prefixed"], &input)
        .ok();
    let run = scratch.run(&["cat", "log", "--length-prefixed"]);
    assert!(run.ok().output.stdout == input);

    let cut = &input[..input.len() - 1];
    let run = scratch.run_with(&["append", "log", "--length-prefixed"], cut);
    run.ends_with(1)
        .says("standard input, record 7: the input ends inside the record");
    run.says("6 records, seq 7..13");
}

#[test]
fn keys_tombstones_and_their_three_forms() {
    let scratch = Scratch::new();
    let args = ["append", "log", "--key-separator", "\\t", "--tombstones"];
    scratch.run_with(&args, "k\tv\nplain\nk\t\na\tb\tc\n").ok();
    assert_eq!(scratch.run(&["cat", "log"]).out(), "v\nplain\nb\tc\n");
    let run = scratch.run(&["cat", "log", "--key-separator", "="]);
    assert_eq!(run.out(), "k=v\nplain\nk=\na=b\tc\n");
    let records = scratch.run(&["cat", "log", "--json"]).json_lines();
    assert_eq!(records.len(), 4);
    assert_eq!(
        (&records[0]["key"], &records[0]["value"]),
        (&"k".into(), &"v".into())
    );
    assert!(records[1].get("key").is_none());
    assert_eq!(records[2]["tombstone"], true);
    assert_eq!(records[3]["seq"], 3);
    let run = scratch.run(&["cat", "log", "--format", "hex"]);
    run.says("seq 0  20")
        .says("|v|")
        .says("tombstone")
        .says("00000000  62 09 63");
    scratch
        .run(&["append", "log", "--tombstones"])
        .ends_with(64);
    scratch
        .run(&["cat", "log", "--json", "--length-prefixed"])
        .ends_with(64);
}

#[test]
fn json_escapes_text_and_gives_bytes_in_hex() {
    let scratch = Scratch::new();
    scratch
        .run_with(&["append", "log"], b"say \"hi\"\t\\\n\xff\x00\n")
        .ok();
    let records = scratch
        .run(&["cat", "log", "--format", "json"])
        .json_lines();
    assert_eq!(records[0]["value"], "say \"hi\"\t\\");
    assert_eq!(records[1]["value_hex"], "ff00");
    assert!(records[0]["timestamp_ms"].as_i64().expect("a time") > 1_600_000_000_000);
    let tail = scratch.run(&["tail", "log", "-n", "1", "--json"]).json();
    assert_eq!(tail, records[1]);
}

#[test]
fn since_skips_what_is_older() {
    let scratch = Scratch::new();
    scratch.run_with(&["append", "log"], "old\n").ok();
    std::thread::sleep(Duration::from_millis(20));
    scratch.run_with(&["append", "log"], "new\n").ok();
    let new = scratch.run(&["tail", "log", "-n", "1", "--json"]).json();
    let time = new["time"].as_str().expect("a time").to_owned();
    let unix_ms = new["timestamp_ms"].to_string();
    for since in [time, unix_ms] {
        assert_eq!(
            scratch.run(&["cat", "log", "--since", &since]).ok().out(),
            "new\n"
        );
    }
    assert_eq!(
        scratch.run(&["cat", "log", "--since", "2020-01-01"]).out(),
        "old\nnew\n"
    );
    assert_eq!(
        scratch
            .run(&["cat", "log", "--since", "2999-01-01"])
            .ok()
            .out(),
        ""
    );
    scratch
        .run(&["cat", "log", "--since", "noon"])
        .ends_with(64);
}

#[test]
fn a_batch_is_one_batch_in_the_segment() {
    let scratch = Scratch::new();
    let run = scratch.run_with(
        &["append", "log", "--batch", "4", "--json"],
        "1\n2\n3\n4\n5\n6\n",
    );
    let done = run.ok().json();
    assert_eq!(
        (&done["first_seq"], &done["next_seq"]),
        (&0.into(), &6.into())
    );
    assert_eq!(scratch.run(&["cat", "log"]).out(), "1\n2\n3\n4\n5\n6\n");
    let args = [
        "append",
        "log",
        "--batch",
        "1000000",
        "--segment-bytes",
        "4K",
    ];
    let run = scratch.run_with(&args, "x\n".repeat(5000));
    run.ends_with(1).says("a batch");
    assert_eq!(scratch.run(&["cat", "log"]).out(), "1\n2\n3\n4\n5\n6\n");
    scratch
        .run(&["append", "log", "--batch", "0"])
        .ends_with(64);
}

#[test]
fn a_record_at_the_limit_goes_in_and_one_byte_more_does_not() {
    let scratch = Scratch::new();
    let limit = 16 << 20;
    let mut text = vec![b'x'; limit];
    text.push(b'\n');
    scratch.run_with(&["append", "log"], &text).ok();
    let run = scratch.run(&["cat", "log"]);
    assert!(run.ok().output.stdout == text);
    for more in [1, 200_000] {
        let mut text = b"fine\n".to_vec();
        text.resize(text.len() + limit + more, b'x');
        text.extend_from_slice(b"\nnever\n");
        let run = scratch.run_with(&["append", "log"], &text);
        run.ends_with(1).says("line 2").says("16777216 bytes");
    }
    let end = scratch.run(&["cat", "log", "--from", "1"]);
    assert_eq!(end.out(), "fine\nfine\n");
}

#[test]
fn every_level_is_durable_in_the_end() {
    let scratch = Scratch::new();
    for (number, level) in ["durable", "written", "buffered"].into_iter().enumerate() {
        let args = ["append", "log", "--durability", level];
        scratch.run_with(&args, "x\n".repeat(1000)).ok();
        let records = scratch.run(&["cat", "log"]).ok().out();
        assert_eq!(records.lines().count(), 1000 * (number + 1));
    }
    let args = ["append", "log", "--durability", "buffered", "--acks"];
    scratch.run_with(&args, "x\n").ends_with(64).says("--acks");
}

#[test]
fn tail_follows_another_process_and_shows_each_record_once() {
    let scratch = Scratch::new();
    scratch.run_with(&["append", "log"], "before\n").ok();
    let mut follower = scratch.spawn(&["tail", "log", "-f", "-n", "1"]);
    let out = follower.stdout.take().expect("standard output");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    let mut next = || lines.next().expect("a line").expect("readable");
    assert_eq!(next(), "before");
    // One writer that stays, and one that comes and goes.
    let mut writer = scratch.spawn(&["append", "log", "--acks", "--segment-bytes", "4K"]);
    let mut stdin = writer.stdin.take().expect("standard input");
    for number in 0..500 {
        writeln!(stdin, "live {number}").expect("fed");
    }
    stdin.flush().expect("fed");
    (0..500).for_each(|number| assert_eq!(next(), format!("live {number}")));
    drop(stdin);
    assert!(writer.wait().expect("it ended").success());
    scratch.run_with(&["append", "log"], "after\n").ok();
    assert_eq!(next(), "after");
    follower.kill().expect("killed");
    follower.wait().expect("it ended");
}

#[test]
fn reading_below_the_head_is_an_error_and_not_silence() {
    let scratch = Scratch::new();
    scratch.log("log", 10);
    scratch.run(&["trim", "log", "5"]).ok();
    let run = scratch.run(&["cat", "log", "--from", "2"]);
    run.ends_with(1)
        .says("it was trimmed")
        .says("hint: the oldest record kept is seq 5");
    assert_eq!(scratch.run(&["cat", "log"]).out().lines().count(), 5);
    assert_eq!(
        scratch
            .run(&["tail", "log", "-n", "100"])
            .out()
            .lines()
            .count(),
        5
    );
}

#[test]
fn what_is_not_proven_durable_is_left_out_and_said_so() {
    let scratch = Scratch::new();
    let mut child = scratch.spawn(&["append", "log", "--acks"]);
    let mut stdin = child.stdin.take().expect("standard input");
    let mut acks = std::io::BufReader::new(child.stdout.take().expect("standard output"));
    for number in 0..3 {
        writeln!(stdin, "{number}").expect("fed");
        std::io::BufRead::read_line(&mut acks, &mut String::new()).expect("acknowledged");
    }
    child.kill().expect("killed");
    child.wait().expect("it ended");
    let all = scratch.run(&["cat", "log", "--unproven"]);
    assert_eq!(all.ok().out(), "0\n1\n2\n");
    let proven = scratch.run(&["cat", "log"]);
    let missing = 3 - proven.ok().out().lines().count();
    assert!(
        missing == 0 || proven.err().contains("left out"),
        "{}",
        proven.err()
    );
    // A writer makes it true, and says what it did.
    scratch
        .run(&["append", "log"])
        .ok()
        .says("recovered: unclean: seq 0..3");
    assert_eq!(scratch.run(&["cat", "log"]).out(), "0\n1\n2\n");
}
