//! Is every record consumed at least once, and a cursor moved only by who may?

mod common;
use common::Scratch;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

/// The cursors of the log, by `cairn cursor list --json`.
fn cursors(scratch: &Scratch) -> Vec<serde_json::Value> {
    scratch
        .run(&["cursor", "list", "log", "--json"])
        .ok()
        .json_lines()
}

#[test]
fn a_consumer_goes_on_where_it_left_off() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch
        .run(&["cursor", "list", "log"])
        .ok()
        .says("no cursors");
    let run = scratch.run(&["consume", "log", "mailer", "--max", "2"]);
    assert_eq!(run.ok().out(), "record 0\nrecord 1\n");
    run.says("no cursor `mailer` yet: begins one at seq 0");
    let run = scratch.run(&["consume", "log", "mailer", "--max", "1", "--json"]);
    assert_eq!(run.ok().json()["seq"], 2);
    assert_eq!(run.err(), "");
    let rest = scratch.run(&["consume", "log", "mailer"]).ok().out();
    let expected: String = (3..3000)
        .map(|number| format!("record {number}\n"))
        .collect();
    assert_eq!(rest, expected);
    assert_eq!(scratch.run(&["consume", "log", "mailer"]).ok().out(), "");
    // Another has a position of its own.
    let run = scratch.run(&["consume", "log", "biller", "--max", "1", "--format", "hex"]);
    run.ok().says("|record 0|");
    let cursors = cursors(&scratch);
    assert_eq!(
        (&cursors[0]["name"], &cursors[0]["seq"]),
        (&"mailer".into(), &3000.into())
    );
    assert_eq!(
        (&cursors[0]["lag"], &cursors[0]["holds"]),
        (&0.into(), &false.into())
    );
    assert_eq!(
        (&cursors[1]["name"], &cursors[1]["lag"]),
        (&"biller".into(), &2999.into())
    );
    let stat = scratch.run(&["stat", "log", "--json"]).json();
    assert_eq!(stat["cursors"], serde_json::Value::from(cursors));
    for command in [&["stat", "log"][..], &["cursor", "list", "log"]] {
        scratch.run(command).ok().says("biller").says("2,999");
    }
    scratch
        .run(&["consume", "log", ""])
        .ends_with(1)
        .says("1 to 255 bytes");
}

#[test]
fn what_was_not_acknowledged_is_printed_again() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    let run = scratch.run(&["consume", "log", "mailer", "--no-ack", "--max", "1"]);
    assert_eq!(run.ok().out(), "record 0\n");
    run.says("no cursor `mailer` yet");
    assert!(cursors(&scratch).is_empty(), "looking creates nothing");
    scratch
        .run(&["consume", "log", "mailer", "--max", "5"])
        .ok();
    for _ in 0..2 {
        let run = scratch.run(&["consume", "log", "mailer", "--no-ack", "--max", "1"]);
        assert_eq!(
            (run.ok().out(), run.err()),
            ("record 5\n".to_owned(), String::new())
        );
    }
    // Whoever read the output went away after a line: everything from some point on comes again.
    let mut child = scratch.spawn(&["consume", "log", "mailer"]);
    let mut out = BufReader::new(child.stdout.take().expect("standard output"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "record 5\n");
    drop(out);
    assert!(child.wait().expect("it ended").success());
    let seq = cursors(&scratch)[0]["seq"].as_u64().expect("a seq");
    let again = scratch.run(&["consume", "log", "mailer"]).ok().out();
    let expected: String = (seq..3000)
        .map(|number| format!("record {number}\n"))
        .collect();
    assert_eq!(again, expected);
}

#[test]
fn nothing_is_acknowledged_that_could_not_be_printed() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: no `/dev/full` here");
        return;
    };
    let mut command = scratch.command(&["consume", "log", "mailer"]);
    let status = command.stdout(full).stderr(Stdio::null()).status();
    assert_eq!(status.expect("it ran").code(), Some(1));
    assert_eq!(cursors(&scratch)[0]["seq"], 0);
}

#[test]
fn what_lies_before_damage_is_consumed_and_the_damage_told_each_time() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch.damage("log", 1, 5000, b"XX");
    let before = scratch
        .run(&["consume", "log", "mailer"])
        .ends_with(3)
        .out();
    let count = before.lines().count() as u64;
    assert!((1..3000).contains(&count), "{count}");
    assert_eq!(cursors(&scratch)[0]["seq"], count);
    assert_eq!(
        scratch
            .run(&["consume", "log", "mailer"])
            .ends_with(3)
            .out(),
        ""
    );
}

#[test]
fn a_cursor_is_moved_and_deleted_by_its_name() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    scratch.run(&["consume", "log", "mailer"]).ok();
    let run = scratch.run(&["cursor", "set", "log", "mailer", "98"]);
    run.ok().says("cursor mailer: goes on at seq 98");
    assert_eq!(
        scratch.run(&["consume", "log", "mailer"]).ok().out(),
        "record 98\nrecord 99\n"
    );
    let run = scratch.run(&["cursor", "set", "log", "mailer", "101"]);
    run.ends_with(1).says("beyond the durable end");
    for args in [
        &["cursor", "set", "log", "nobody", "1"][..],
        &["cursor", "delete", "log", "nobody"],
    ] {
        let run = scratch.run(args);
        run.ends_with(1)
            .says("no cursor of this name")
            .says("hint: `cairn cursor list log`");
    }
    // Behind the head: told with where to go on, until it is set there.
    scratch.run(&["cursor", "set", "log", "mailer", "3"]).ok();
    scratch.run(&["trim", "log", "50"]).ok();
    for no_ack in [&[][..], &["--no-ack"]] {
        let run = scratch.run(&[&["consume", "log", "mailer"], no_ack].concat());
        run.ends_with(1).says("the oldest record kept is seq 50");
    }
    scratch.run(&["cursor", "set", "log", "mailer", "50"]).ok();
    assert_eq!(
        scratch
            .run(&["consume", "log", "mailer", "--max", "1"])
            .out(),
        "record 50\n"
    );
    scratch
        .run(&["cursor", "delete", "log", "mailer"])
        .ok()
        .says("deleted");
    assert!(cursors(&scratch).is_empty());
    scratch.run(&["cursor"]).ends_with(64);
    scratch
        .run(&["cursor", "set", "log", "mailer"])
        .ends_with(64);
}

#[test]
fn a_damaged_cursor_is_told_and_can_be_deleted() {
    let scratch = Scratch::new();
    scratch.log("log", 10);
    scratch.run(&["consume", "log", "mailer"]).ok();
    let file = fs::read_dir(scratch.path.join("log/cursors"))
        .expect("a directory")
        .next();
    let file = file.expect("a file").expect("readable");
    let mut bytes = fs::read(file.path()).expect("readable");
    bytes[40] ^= 1;
    fs::write(file.path(), bytes).expect("written");
    let name = file.file_name().into_string().expect("text");
    scratch
        .run(&["cursor", "list", "log"])
        .ends_with(3)
        .says("damaged")
        .says(&name);
    scratch.run(&["stat", "log"]).ok().says(&name);
    let run = scratch.run(&["consume", "log", "mailer"]);
    run.ends_with(3).says("hint: `cairn cursor list log`");
    scratch.run(&["cursor", "delete", "log", &name]).ok();
    assert_eq!(
        scratch
            .run(&["consume", "log", "mailer"])
            .ok()
            .out()
            .lines()
            .count(),
        10
    );
}

#[test]
fn looking_works_beside_a_writer_and_follows_it() {
    let scratch = Scratch::new();
    scratch.log("log", 10);
    scratch
        .run(&["consume", "log", "mailer", "--max", "9"])
        .ok();
    let mut writer = scratch.spawn(&["append", "log", "--acks"]);
    let mut stdin = writer.stdin.take().expect("standard input");
    let mut acks = BufReader::new(writer.stdout.take().expect("standard output"));
    let mut append = |text: &str| {
        writeln!(stdin, "{text}").expect("fed");
        acks.read_line(&mut String::new()).expect("acknowledged");
    };
    append("new");
    // Whoever appended is told first, and other processes a moment later.
    let proven =
        |scratch: &Scratch| scratch.run(&["stat", "log", "--json"]).json()["proven_seq"].clone();
    let started = Instant::now();
    while proven(&scratch) != 11 && started.elapsed() < Duration::from_secs(30) {}
    let args = ["consume", "log", "mailer", "--no-ack"];
    assert_eq!(scratch.run(&args).ok().out(), "record 9\nnew\n");
    assert_eq!(cursors(&scratch)[0]["lag"], 2);
    let stat = scratch.run(&["stat", "log", "--json"]).ok().json();
    assert_eq!(stat["cursors"][0]["lag"], 2);

    let mut follower = scratch.spawn(&[&args[..], &["--follow", "--max", "4"]].concat());
    let out = follower.stdout.take().expect("standard output");
    let mut lines = BufReader::new(out).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    assert_eq!((next(), next()), ("record 9".to_owned(), "new".to_owned()));
    append("newer");
    assert_eq!(next(), "newer");
    append("newest");
    assert_eq!(next(), "newest");
    assert!(
        follower.wait().expect("it ended").success(),
        "four were asked for"
    );
    let run = scratch.run(&["consume", "log", "mailer", "-f"]);
    run.ends_with(64).says("--no-ack");
    drop(stdin);
    writer.wait().expect("it ended");
}
