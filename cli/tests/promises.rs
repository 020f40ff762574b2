//! Is an acknowledgement printed only once it is true? Does the demo hold, and every example run?

mod common;
use common::Scratch;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    thread,
    time::Duration,
};

#[test]
fn whatever_was_acknowledged_before_a_kill_is_there_and_an_exact_prefix() {
    let scratch = Scratch::new();
    let lines: Vec<String> = (0..200_000)
        .map(|number| format!("line number {number}"))
        .collect();
    let text = lines.join("\n") + "\n";
    let input = scratch.file("input", &text);
    let input = input.to_str().expect("a path");
    for (round, batch) in ["1", "1", "7", "1", "100", "7"].into_iter().enumerate() {
        let log = format!("log{round}");
        let args = [
            "append",
            &log,
            input,
            "--acks",
            "--batch",
            batch,
            "--segment-bytes",
            "256K",
        ];
        let mut child = scratch.spawn(&args);
        let mut out = child.stdout.take().expect("standard output");
        let mut acks = vec![0; 100];
        out.read_exact(&mut acks).expect("a few acknowledgements");
        thread::sleep(Duration::from_micros(700 * round as u64));
        child.kill().expect("killed");
        out.read_to_end(&mut acks).expect("the rest of them");
        child.wait().expect("it ended");
        // The last may have been cut short by the kill.
        let acks = String::from_utf8(acks).expect("text");
        let whole = acks.rfind('\n').map_or("", |end| &acks[..end]);
        for (number, ack) in whole.lines().enumerate() {
            assert_eq!(ack, number.to_string());
        }
        let acknowledged = whole.lines().count();
        scratch.run(&["append", &log]).ok();
        let there = scratch.run(&["cat", &log]).ok().out();
        assert!(there.lines().count() >= acknowledged, "{acknowledged}");
        assert!(text.starts_with(&there));
        let batch: usize = batch.parse().expect("a number");
        let count = there.lines().count();
        assert!(
            count.is_multiple_of(batch) || count == lines.len(),
            "{count} of {batch}"
        );
        scratch.run(&["verify", &log]).ok();
    }
}

#[test]
fn an_acknowledgement_comes_without_waiting_for_more_input() {
    let scratch = Scratch::new();
    let mut child = scratch.spawn(&["append", "log", "--acks"]);
    let mut stdin = child.stdin.take().expect("standard input");
    let mut acks = BufReader::new(child.stdout.take().expect("standard output"));
    for number in 0..20 {
        writeln!(stdin, "x").expect("fed");
        let mut line = String::new();
        acks.read_line(&mut line).expect("an acknowledgement");
        assert_eq!(line, format!("{number}\n"));
    }
    drop(stdin);
    assert!(child.wait().expect("it ended").success());
}

#[test]
fn the_demo_holds_on_a_small_file_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let lines: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    scratch.file("lines", &lines);
    let temporary = scratch.path.join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let output = scratch
        .command(&["demo", "lines"])
        .env("TMPDIR", &temporary)
        .output()
        .expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("5,000 lines") && text.contains("Every check held."),
        "{text}"
    );
    assert_eq!(fs::read_dir(&temporary).expect("readable").count(), 0);

    scratch
        .run(&["demo", "lines", "--dir", "kept", "--records", "3000"])
        .ok();
    let kept = scratch.run(&["cat", "kept/log"]).ok().out();
    assert_eq!(
        kept,
        lines
            .lines()
            .take(3000)
            .map(|line| line.to_owned() + "\n")
            .collect::<String>()
    );
    scratch
        .run(&["demo", "lines", "--dir", "kept"])
        .ends_with(1)
        .says("not empty");
    scratch.file("empty", "");
    scratch
        .run(&["demo", "empty"])
        .ends_with(1)
        .says("no lines");
}

/// The examples of a command's help, as they stand there.
fn examples(scratch: &Scratch, command: &str) -> Vec<String> {
    let help = scratch.run(&[command, "--help"]).ok().out();
    let Some((_, examples)) = help.split_once("Examples:\n") else {
        panic!("{command} has no examples");
    };
    let lines = examples.lines().map_while(|line| line.strip_prefix("  "));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{command}");
    lines
}

/// Their examples name stores that are not here, and follow for ever: `remote.rs` tries them.
const OF_STORES: [&str; 3] = ["replicate", "restore", "remote"];

#[test]
fn every_example_of_every_help_runs_as_written() {
    let scratch = Scratch::new();
    let help = scratch.run(&["--help"]).out();
    let commands = help.split_once("Commands:\n").expect("commands").1;
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names
        .filter(|name| *name != "help" && !OF_STORES.contains(name))
        .map(str::to_owned)
        .collect();
    assert_eq!(names.len(), 28, "{names:?}");
    for command in names {
        let scratch = Scratch::new();
        scratch.file("events.txt", "one\ntwo\n");
        scratch.file("more-events.txt", "three\n");
        scratch.log("orders.log", 1000);
        for line in examples(&scratch, &command) {
            // What follows for ever is interrupted; all else has to end by itself, and well.
            if line.ends_with(" -f") {
                assert_eq!(
                    scratch.shell(&format!("timeout 0.3 {line}")).code(),
                    124,
                    "{line}"
                );
            } else {
                scratch.shell(&line).ok();
            }
        }
    }
}

#[test]
fn between_an_acknowledgement_and_its_bytes_lies_a_sync() {
    // A kill cannot tell a record in the page cache from one on the disk: the system calls can.
    let scratch = Scratch::new();
    let mut traced = std::process::Command::new("strace");
    traced.args([
        "-f",
        "-qq",
        "-o",
        "trace",
        "-e",
        "trace=pwrite64,fdatasync,write",
    ]);
    traced.args(["-s", "4096", common::CAIRN, "append", "log", "--acks"]);
    traced.current_dir(&scratch.path);
    traced
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let Ok(mut child) = traced.spawn() else {
        eprintln!("skipped: no `strace` here");
        return;
    };
    let mut stdin = child.stdin.take().expect("standard input");
    let mut acks = BufReader::new(child.stdout.take().expect("standard output"));
    for number in 0..10 {
        writeln!(stdin, "needle {number}").expect("fed");
        acks.read_line(&mut String::new())
            .expect("an acknowledgement");
    }
    drop(stdin);
    child.wait().expect("it ended");

    let trace = fs::read_to_string(scratch.path.join("trace")).expect("a trace");
    let (mut written, mut synced, mut acknowledged) = (0, 0, 0);
    for line in trace.lines() {
        if line.contains("pwrite64(") {
            written += line.matches("needle").count();
        } else if line.contains("fdatasync") && line.ends_with("= 0") {
            synced = written;
        } else if line.contains("write(1, ") {
            acknowledged += 1;
            assert!(acknowledged <= synced, "told before its sync:\n{trace}");
        }
    }
    assert_eq!((written, acknowledged), (10, 10), "{trace}");
}
