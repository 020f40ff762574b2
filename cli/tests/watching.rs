//! Is what `top` shows what happens, and what `bench` says true of where it measured?

mod common;
use common::Scratch;
use std::{fs, io::Write, thread, time::Duration};

#[test]
fn top_shows_what_another_process_appends() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    scratch
        .run(&["consume", "log", "mailer", "--max", "40"])
        .ok();
    let still = scratch
        .run(&["top", "log", "--once", "--interval", "0.05", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&still["append_count"], &still["sync_count"]),
        (&0.into(), &0.into())
    );
    assert_eq!(still["latency_p99_ms"], serde_json::Value::Null);
    assert_eq!(
        (&still["head_seq"], &still["end_seq"]),
        (&0.into(), &100.into())
    );
    assert_eq!(still["cursors"][0]["lag"], 60);
    assert!(still["file_bytes"].as_u64() > Some(1000) && still["free_bytes"].as_u64() > Some(0));

    let mut writer = scratch.spawn(&["append", "log"]);
    let mut stdin = writer.stdin.take().expect("standard input");
    let feeder = thread::spawn(move || {
        while writeln!(stdin, "0123456789").is_ok() && stdin.flush().is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    thread::sleep(Duration::from_millis(50));
    let busy = scratch
        .run(&["top", "log", "--once", "--interval", "0.5", "--json"])
        .ok()
        .json();
    let text = scratch.run(&["top", "log", "--once", "--interval", "0.1"]);
    text.ok()
        .says("appends")
        .says("durable after: p50")
        .says("mailer")
        .says("free on its disk");
    writer.kill().expect("killed");
    writer.wait().expect("it ended");
    feeder.join().expect("it ended");
    let count = |name: &str| busy[name].as_u64().expect("a number");
    assert!(count("append_count") > 5, "{busy}");
    assert_eq!(count("payload_bytes"), 10 * count("append_count"));
    assert!(
        (1..=count("append_count")).contains(&count("sync_count")),
        "{busy}"
    );
    assert!(count("latency_p50_ms") <= count("latency_p99_ms"), "{busy}");
    assert!(count("latency_p99_ms") < 60_000, "{busy}");
}

#[test]
fn bench_measures_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let args = ["bench", ".", "--seconds", "0.1", "--threads", "4", "--json"];
    let report = scratch.run(&args).ok().json();
    for name in ["bare_sync", "append", "append_shared"] {
        let number = |field: &str| report[name][field].as_u64().expect("a number");
        assert!(
            number("count") > 0 && number("p50_us") <= number("p99_us"),
            "{report}"
        );
    }
    assert!(report["appends_per_sync"].as_f64() >= Some(1.0), "{report}");
    assert!(report["verdict"].as_str().expect("words").ends_with('.'));
    assert_eq!(fs::read_dir(&scratch.path).expect("readable").count(), 0);
    scratch
        .run(&["bench", "nowhere"])
        .ends_with(1)
        .says("nowhere");
    let run = scratch.run(&["bench", ".", "--seconds", "0.01"]);
    run.ok()
        .says("a write and a sync, bare")
        .says("share a sync");
    if fs::metadata("/dev/shm").is_ok_and(|meta| meta.is_dir()) {
        let run = scratch.run(&["bench", "/dev/shm", "--seconds", "0.01"]);
        run.ok().says("This is memory");
    }
}

#[test]
fn stat_shows_marks() {
    let scratch = Scratch::new();
    scratch.log("log", 3);
    let json = || scratch.run(&["stat", "log", "--json"]).ok().json()["marks"].clone();
    assert_eq!(json(), serde_json::json!([]));
    let log = cairnlog::Log::open(scratch.path.join("log")).expect("a log");
    log.set_mark("vote", "term 7").expect("set");
    log.set_mark("applied", [0, 255]).expect("set");
    drop(log);
    let marks = serde_json::json!([
        { "name": "applied", "value_hex": "00ff" },
        { "name": "vote", "value_hex": "7465726d2037" },
    ]);
    assert_eq!(json(), marks);
    scratch
        .run(&["stat", "log"])
        .ok()
        .says("2 marks")
        .says("vote  6 B");
    scratch.run(&["verify", "log"]).ok();
}
