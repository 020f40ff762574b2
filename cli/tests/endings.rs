//! Does every command end as it says it does: codes, hints, pipes, colours?

mod common;
use common::{CAIRN, Scratch};
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

#[test]
fn verify_and_plan_tell_clean_torn_damaged_and_unreadable_apart() {
    let scratch = Scratch::new();
    scratch.log("clean", 3000);
    scratch.torn_log("torn");
    scratch.log("damaged", 3000);
    scratch.damage("damaged", 1, 5000, b"XX");
    for (log, code, health, kind) in [
        ("clean", 0, "clean", None),
        ("torn", 2, "torn", Some("torn")),
        ("damaged", 3, "damaged", Some("damage")),
    ] {
        scratch.run(&["verify", log]).ends_with(code).says(health);
        let report = scratch
            .run(&["verify", log, "--json"])
            .ends_with(code)
            .json();
        assert_eq!(report["health"], health);
        let first = report["findings"].get(0);
        assert_eq!(first.and_then(|found| found["kind"].as_str()), kind);
        if let Some(found) = first {
            assert_eq!(found["segment"], 1);
            assert!(found["offset"].as_u64().expect("an offset") > 128);
            assert!(
                found["defect"]
                    .as_str()
                    .expect("a defect")
                    .contains("checksum")
            );
        }
    }
    scratch
        .run(&["verify", "none"])
        .ends_with(1)
        .says("there is no log here");

    scratch
        .run(&["plan", "clean"])
        .ok()
        .says("would go on at seq 3000");
    let run = scratch.run(&["plan", "torn", "--json"]);
    assert_eq!(run.ends_with(2).json()["verdict"], "torn");
    scratch.run(&["plan", "none"]).ends_with(1);
    // Neither wrote anything.
    scratch.run(&["verify", "torn"]).ends_with(2);
}

#[test]
fn reading_into_damage_gives_what_is_before_it_and_3() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch.damage("log", 1, 5000, b"XX");
    let run = scratch.run(&["cat", "log"]);
    run.ends_with(3)
        .says("segment 1 offset")
        .says("hint: `cairn verify log`");
    let lines: Vec<String> = run.out().lines().map(str::to_owned).collect();
    assert!(!lines.is_empty() && lines.len() < 3000);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("record {number}"));
    }
}

#[test]
fn errors_have_their_code_and_their_hint() {
    let scratch = Scratch::new();
    for command in ["cat", "tail", "stat", "verify", "plan", "repair"] {
        let run = scratch.run(&[command, "none"]);
        assert_eq!(run.ends_with(1).out(), "");
        assert!(run.err().starts_with("cairn: "), "{}", run.err());
    }
    for command in ["cat", "tail", "stat", "verify", "plan"] {
        scratch
            .run(&[command, "none"])
            .says("hint: `cairn append none` creates a log");
    }
    scratch.run(&["trim", "none", "1"]).ends_with(1);
    scratch.run(&["rewind", "none", "1"]).ends_with(1);
    scratch.run(&["salvage", "none", "out"]).ends_with(1);
    assert!(!scratch.path.join("out").exists());
    scratch.run(&["inspect", "none", "1"]).ends_with(1);
    for wrong in [
        &["frob"][..],
        &["cat"],
        &["cat", "a", "--from", "x"],
        &["inspect", "a", "0"],
    ] {
        scratch.run(wrong).ends_with(64);
    }
    scratch.run(&["--version"]).ok().says("cairn ");
    scratch.run(&["--help"]).ok().says("Exit codes:");
}

#[test]
fn a_second_writer_is_refused_by_the_holders_id_or_waits() {
    let scratch = Scratch::new();
    let mut holder = scratch.spawn(&["append", "log", "--acks"]);
    let mut stdin = holder.stdin.take().expect("standard input");
    writeln!(stdin, "mine").expect("fed");
    let mut acks = BufReader::new(holder.stdout.take().expect("standard output"));
    acks.read_line(&mut String::new()).expect("acknowledged");

    let run = scratch.run_with(&["append", "log"], "other\n");
    run.ends_with(1)
        .says(&format!("held by process {}", holder.id()))
        .says("hint:");
    scratch.run(&["trim", "log", "1"]).ends_with(1);
    scratch.run(&["stat", "log"]).ok();
    let waiting = scratch.spawn(&["append", "log", "--wait", "10s"]);
    drop(stdin);
    holder.wait().expect("it ended");
    let waited = waiting.wait_with_output().expect("it ended");
    assert!(waited.status.success());
    assert_eq!(scratch.run(&["cat", "log"]).out(), "mine\n");
}

#[test]
fn a_broken_pipe_ends_it_quietly() {
    let scratch = Scratch::new();
    scratch.log("log", 50_000);
    for args in [
        &["cat", "log"][..],
        &["cat", "log", "--json"],
        &["cat", "log", "--reverse"],
        &["tail", "log", "-n", "50000"],
        &["inspect", "log", "1"],
    ] {
        let mut child = scratch.spawn(args);
        let mut out = BufReader::new(child.stdout.take().expect("standard output"));
        out.read_line(&mut String::new()).expect("a line");
        drop(out);
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("standard error");
        stderr.read_to_string(&mut errors).expect("readable");
        assert!(child.wait().expect("it ended").success(), "{args:?}");
        assert_eq!(errors, "", "{args:?}");
    }
    let run = scratch.shell("cairn cat log | head -n 1");
    assert_eq!(
        (run.ok().out().as_str(), run.err().as_str()),
        ("record 0\n", "")
    );
}

#[test]
fn append_says_by_its_code_that_the_acknowledgements_went_unread() {
    let scratch = Scratch::new();
    let mut child = scratch.spawn(&["append", "log", "--acks"]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("standard input");
    // It stops reading at some point, and that is an error for whoever feeds it.
    while writeln!(stdin, "more").is_ok() {}
    assert_eq!(child.wait().expect("it ended").code(), Some(141));
    scratch.run(&["verify", "log"]).ok();
}

#[test]
fn colours_only_where_they_are_wanted() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    let escape = |output: Vec<u8>| output.contains(&0x1b);
    for args in [
        &["stat", "log"][..],
        &["verify", "log"],
        &["inspect", "log", "1"],
    ] {
        let stdout = |set: &[(&str, &str)]| {
            let mut command = scratch.command(args);
            command.env_remove("NO_COLOR").envs(set.iter().copied());
            command.output().expect("it ran").stdout
        };
        assert!(!escape(stdout(&[])), "a pipe is no terminal");
        assert!(escape(stdout(&[("CLICOLOR_FORCE", "1")])), "{args:?}");
        let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
        assert!(!escape(stdout(&[("NO_COLOR", "1")])) && !escape(stdout(&both[1..])));
    }
    // What records hold is never touched.
    scratch
        .run_with(&["append", "colour"], "\x1b[31mred\x1b[0m\n")
        .ok();
    assert_eq!(
        scratch.run(&["cat", "colour"]).out(),
        "\x1b[31mred\x1b[0m\n"
    );
}

#[test]
fn colours_are_as_asked_for() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    let coloured = |when: &str, set: &[(&str, &str)]| {
        let mut command = scratch.command(&["stat", "log", "--color", when]);
        command.env_remove("NO_COLOR").envs(set.iter().copied());
        command.output().expect("it ran").stdout.contains(&0x1b)
    };
    let (no, forced) = ([("NO_COLOR", "1")], [("CLICOLOR_FORCE", "1")]);
    for (when, set, expected) in [
        ("auto", &[][..], false),
        ("auto", &forced, true),
        ("auto", &no, false),
        ("always", &[], true),
        ("always", &no, true),
        ("never", &[], false),
        ("never", &forced, false),
    ] {
        assert_eq!(coloured(when, set), expected, "{when} {set:?}");
    }
    scratch
        .run(&["stat", "log", "--color", "red"])
        .ends_with(64);
}

#[test]
fn quiet_says_errors_and_shows_what_was_asked_for() {
    let scratch = Scratch::new();
    scratch.run_with(&["append", "log", "-q"], "a\nb\nc\n").ok();
    for args in [
        &["consume", "log", "mailer", "--max", "0"][..],
        &["trim", "log", "1"],
        &["rewind", "log", "2"],
        &["compact", "log", "--rotate"],
        &["pack", "log", "--rotate"],
        &["keygen", "keys"],
        &["reseal", "log", "--key-file", "keys"],
        &["retain", "log", "--bytes", "1G"],
        &["backup", "log", "copy"],
        &["cursor", "set", "log", "mailer", "1"],
        &["salvage", "log", "rescued", "--key-file", "keys"],
    ] {
        let run = scratch.run(&[args, &["--quiet"]].concat());
        assert_eq!((run.ok().out(), run.err()), Default::default(), "{args:?}");
    }
    let keyed = ["cat", "log", "--quiet", "--key-file", "keys"];
    assert_eq!(scratch.run(&keyed).ok().out(), "b\n");
    let run = scratch.run(&["trim", "log", "1", "--quiet", "--json"]);
    assert_eq!(run.ok().json()["applied"], true);
    let run = scratch.run(&["cat", "nowhere", "--quiet"]);
    run.ends_with(1).says("there is no log here");
}

#[test]
fn the_help_of_every_command_has_its_exit_codes() {
    let scratch = Scratch::new();
    let help = scratch.run(&["--help"]).out();
    let commands = help.split_once("Commands:\n").expect("commands").1;
    let commands = commands.lines().take_while(|line| !line.is_empty());
    for name in commands.filter_map(|line| line.split_whitespace().next()) {
        if name != "help" {
            scratch.run(&[name, "--help"]).ok().says("Exit codes:");
        }
    }
}

#[test]
fn progress_and_colours_on_a_terminal_but_not_with_no_color() {
    // `script` gives a terminal; where it is missing there is nothing to be seen.
    let scratch = Scratch::new();
    scratch.log("log", 100);
    let on_terminal = |no_color: bool| {
        let mut command = Command::new("script");
        let line = format!("{CAIRN} stat log");
        command
            .args(["-qec", &line, "/dev/null"])
            .current_dir(&scratch.path);
        command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        if no_color {
            command.env("NO_COLOR", "1");
        }
        command
            .output()
            .ok()
            .filter(|output| output.status.success())
    };
    let (Some(with), Some(without)) = (on_terminal(false), on_terminal(true)) else {
        eprintln!("skipped: no `script` here");
        return;
    };
    assert!(with.stdout.contains(&0x1b));
    assert!(!without.stdout.contains(&0x1b));
}
