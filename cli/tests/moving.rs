//! Does every record come out as it went in: by `export` and `import`, by `get`, `cat` and its choices?

mod common;
use cairnlog::{AppendOptions, ConsumerOptions, Log, NewRecord, Options, Producer, Record};
use common::Scratch;

/// A log with records of every shape: keys, tombstones, times, producers, bytes that are no text.
fn every_shape(scratch: &Scratch, name: &str) {
    let log = Log::open(scratch.path.join(name)).expect("a log");
    let plain = AppendOptions::new();
    let bytes: Vec<u8> = (0..=255).collect();
    let long = "ü".repeat(100_000);
    let records = [
        NewRecord::value("text"),
        NewRecord::value(""),
        NewRecord::value(&bytes),
        NewRecord::value(&long),
        NewRecord::value("two\nlines\r\n\t\"quoted\" \\ \u{0}"),
        NewRecord::keyed("key", "value"),
        NewRecord::keyed("", ""),
        NewRecord::keyed(&bytes, &bytes),
        NewRecord::keyed("key", "of another time").timestamp_ms(-1),
        NewRecord::value("the first of all times").timestamp_ms(i64::MIN),
        NewRecord::value("the last").timestamp_ms(i64::MAX),
        NewRecord::tombstone("key"),
        NewRecord::tombstone(&bytes).timestamp_ms(1_700_000_000_123),
    ];
    for record in records {
        log.append_records(&[record], &plain).expect("appended");
    }
    for (id, epoch, number) in [(1, 0, 1), (u64::MAX, u32::MAX - 1, u64::MAX), (1, 0, 2)] {
        let how = AppendOptions::new().producer(Producer { id, epoch, number });
        let batch = [
            NewRecord::value("one of a batch"),
            NewRecord::keyed("key", "another"),
            NewRecord::tombstone("key"),
        ];
        log.append_records(&batch, &how).expect("appended");
    }
    log.close().expect("closed");
}

fn records(scratch: &Scratch, name: &str) -> Vec<Record> {
    let reader = Options::new().open_reader(scratch.path.join(name));
    let scan = reader.expect("a log").scan(..).expect("readable");
    scan.map(|record| record.expect("it verifies")).collect()
}

fn parts(record: &Record) -> impl PartialEq + std::fmt::Debug {
    (
        record.seq(),
        record.timestamp_ms(),
        record.key().map(<[u8]>::to_vec),
        record.value().map(<[u8]>::to_vec),
        record.producer(),
    )
}

#[test]
fn every_shape_goes_there_and_back() {
    let scratch = Scratch::new();
    every_shape(&scratch, "log");
    let before = records(&scratch, "log");
    assert_eq!(before.len(), 22);
    scratch.shell("cairn export log > all.jsonl").ok();
    let run = scratch.run(&["import", "copy", "all.jsonl", "--same-seqs"]);
    run.ok().says("imported 22 records, seq 0..22");
    let after = records(&scratch, "copy");
    assert_eq!(
        before.iter().map(parts).collect::<Vec<_>>(),
        after.iter().map(parts).collect::<Vec<_>>()
    );
    // What `cat` prints for people to read carries as much.
    scratch
        .shell("cairn cat log --json | cairn import from-cat --same-seqs")
        .ok();
    let third = records(&scratch, "from-cat");
    assert_eq!(
        before.iter().map(parts).collect::<Vec<_>>(),
        third.iter().map(parts).collect::<Vec<_>>()
    );
    // And once more: what is named is there already, the rest is appended again.
    let run = scratch.run(&["import", "copy", "all.jsonl", "--json"]);
    let report = run.ok().json();
    assert_eq!(
        (&report["record_count"], &report["repeated_count"]),
        (&13.into(), &9.into())
    );
    scratch.run(&["verify", "copy"]).ok();
}

#[test]
fn a_log_with_gaps_is_exported_as_it_is_and_imported_with_seqs_of_its_own() {
    let scratch = Scratch::new();
    scratch
        .shell("printf 'a=1\\nb=1\\na=2\\n' | cairn append log --key-separator =")
        .ok();
    scratch.run(&["compact", "log", "--rotate"]).ok();
    let seqs = |name| -> Vec<u64> { records(&scratch, name).iter().map(Record::seq).collect() };
    assert_eq!(seqs("log"), [1, 2]);
    let run =
        scratch.shell("cairn export log | cairn import exact --same-seqs 2>&1 >/dev/null; true");
    run.says("seq 1 would become seq 0");
    scratch.shell("cairn export log | cairn import copy").ok();
    assert_eq!(seqs("copy"), [0, 1]);
}

#[test]
fn a_cursors_move_stays_with_its_log() {
    let scratch = Scratch::new();
    let log = Log::open(scratch.path.join("log")).expect("a log");
    log.append("in").expect("appended");
    let consumer = log.consumer_with("worker", &ConsumerOptions::new());
    let mut consumer = consumer.expect("a consumer");
    let record = consumer.try_next().expect("readable").expect("a record");
    let out = [NewRecord::value("out")];
    let moved = consumer.append(&out, record.seq(), &AppendOptions::new());
    moved.expect("appended");
    drop((consumer, log));
    let run = scratch.shell("cairn export log | cairn import copy");
    run.ok()
        .says("1 record moved a cursor, which stays with its log");
    let copy = records(&scratch, "copy");
    assert_eq!(copy[1].value(), Some(&b"out"[..]));
    assert_eq!(copy[1].producer(), None);
}

#[test]
fn what_cannot_be_imported_is_told_with_its_line() {
    let scratch = Scratch::new();
    scratch.file("input", "{\"value\":\"good\"}\n{\"value\":5}\n");
    let run = scratch.run(&["import", "log", "input"]);
    run.ends_with(1)
        .says("import: input, line 2: `value` is not what its name says")
        .says("acknowledged before that: 1 record, seq 0..1");
    scratch
        .run(&["import", "other", "nowhere"])
        .ends_with(1)
        .says("nowhere");
    assert!(!scratch.path.join("other").exists());
}

/// It promised to be exact, and dropped keys and tombstones.
#[test]
fn length_prefixed_refuses_what_it_cannot_carry() {
    let scratch = Scratch::new();
    let feed = |log: &str, lines: &str| {
        let line = format!("printf '{lines}' | cairn append {log} --key-separator = --tombstones");
        scratch.shell(&line).ok();
    };
    feed("keyed", "plain\\na=1\\n");
    feed("gone", "a=1\\na=\\n");
    let run = scratch.run(&["cat", "keyed", "--length-prefixed"]);
    run.ends_with(1)
        .says("seq 1 has a key")
        .says("`cairn export`");
    assert_eq!(run.output.stdout, b"\x05\0\0\0plain");
    let with = ["--length-prefixed", "--key-separator", "="];
    scratch.run(&[&["cat", "keyed"][..], &with].concat()).ok();
    let run = scratch.run(&[&["cat", "gone"][..], &with].concat());
    run.ends_with(1).says("seq 1 is a tombstone");
    let dash = ["--length-prefixed", "--key-separator", "l"];
    let run = scratch.run(&[&["cat", "keyed"][..], &dash].concat());
    run.ends_with(1)
        .says("seq 0 has no key and the separator in its value");
}

#[test]
fn single_records_are_shown_in_the_order_asked_for() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    let run = scratch.run(&["get", "log", "7", "5", "99"]);
    assert_eq!(run.ok().out(), "record 7\nrecord 5\nrecord 99\n");
    let run = scratch.run(&["get", "log", "7", "--json"]);
    assert_eq!(run.ok().json()["seq"], 7);
    scratch.run(&["trim", "log", "6"]).ok();
    scratch.run(&["rewind", "log", "90"]).ok();
    scratch.run_with(&["append", "log"], "after\n").ok();
    let run = scratch.run(&["get", "log", "5", "95", "8", "1000"]);
    run.ends_with(1)
        .says("seq 5 was dropped; the oldest record kept is seq 6")
        .says("seq 95 was compacted or rewound away")
        .says("seq 1000 is not there yet");
    assert_eq!(run.out(), "record 8\n");
    scratch.run(&["get", "log"]).ends_with(64);
}

#[test]
fn a_range_is_narrowed_by_time_key_text_and_count() {
    let scratch = Scratch::new();
    let line = |seq: u64, key: &str, time_ms: u64| {
        format!("{{\"key\":\"{key}\",\"value\":\"value {seq}\",\"timestamp_ms\":{time_ms}}}\n")
    };
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time");
    let hour_ms = 3_600_000;
    let now_ms = u64::try_from(now_ms.as_millis()).expect("it fits");
    let lines: String = (0..10)
        .map(|seq| {
            let key = if seq % 2 == 0 { "even" } else { "odd" };
            line(seq, key, now_ms - (10 - seq) * hour_ms)
        })
        .collect();
    scratch.run_with(&["import", "log"], lines).ok();
    let shown = |args: &[&str]| -> Vec<String> {
        let run = scratch.run(&[&["cat", "log"], args].concat());
        run.ok()
            .out()
            .lines()
            .map(|line| line.replace("value ", ""))
            .collect()
    };
    assert_eq!(shown(&["--limit", "2"]), ["0", "1"]);
    assert_eq!(shown(&["--limit", "0"]), Vec::<String>::new());
    assert_eq!(shown(&["--limit", "2", "--reverse"]), ["9", "8"]);
    assert_eq!(shown(&["--key", "odd", "--limit", "2"]), ["1", "3"]);
    assert_eq!(shown(&["--key", "odd", "--reverse", "--limit", "1"]), ["9"]);
    assert_eq!(shown(&["--key", "none"]), Vec::<String>::new());
    assert_eq!(shown(&["--grep", "ue 7"]), ["7"]);
    assert_eq!(shown(&["--since", "150min"]), ["8", "9"]);
    assert_eq!(shown(&["--until", "450min"]), ["0", "1", "2"]);
    assert_eq!(
        shown(&["--since", "330min", "--until", "210min"]),
        ["5", "6"]
    );
    assert_eq!(
        shown(&["--since", "1h", "--until", "9h"]),
        Vec::<String>::new()
    );
}

#[test]
fn completions_and_pages_are_made_for_every_command() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = scratch.run(&["completions", shell]);
        let script = run.ok().out();
        assert!(
            script.contains("rewind") && script.contains("length-prefixed"),
            "{shell}"
        );
    }
    scratch
        .shell("cairn completions bash > c && bash -n c")
        .ok();
    scratch.run(&["completions", "tcsh"]).ends_with(64);
    scratch.run(&["man"]).ok().says(".TH cairn 1");
    scratch
        .run(&["man", "append"])
        .ok()
        .says(".TH cairn-append 1")
        .says("\\-\\-acks");
    scratch.run(&["man", "nothing"]).ends_with(64);
    scratch.run(&["man", "--dir", "pages"]).ok();
    let pages = std::fs::read_dir(scratch.path.join("pages"))
        .expect("a directory")
        .count();
    let help = scratch.run(&["--help"]).out();
    let commands = help.split_once("Commands:\n").expect("commands").1;
    let commands = commands.lines().take_while(|line| !line.is_empty()).count();
    // The tool itself has one, `help` has none.
    assert_eq!(pages, commands);
    assert!(!scratch.path.join("pages/cairn-demo-writer.1").exists());
}
