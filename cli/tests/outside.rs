//! Does the tool keep its word where the world around it ends: outputs that are closed or full, no more
//! threads, another disk that is full, files that are none?

mod common;
use common::{CAIRN, Scratch};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// Standard output was closed, as in a daemon: everything was acknowledged, and printed nowhere.
#[test]
fn is_nothing_acknowledged_that_was_printed_nowhere() {
    let scratch = Scratch::new();
    scratch.log("log", 100);
    scratch
        .shell("cairn consume log mailer --max 10 >&-")
        .ends_with(1)
        .says("standard output is closed");
    // Whoever wants that can have it: it is written.
    scratch
        .shell("cairn consume log mailer --max 10 >/dev/null")
        .ok();
    scratch
        .shell("cairn consume log mailer >/dev/full")
        .ends_with(1)
        .says("standard output");
    let run = scratch.run(&["cursor", "list", "log", "--json"]);
    assert_eq!(run.ok().json()["seq"], 10);
}

/// It ended with 141, "the reader of the acknowledgements went away", and said nothing.
#[test]
fn is_a_full_disk_told_that_acknowledgements_are_written_to() {
    let scratch = Scratch::new();
    scratch
        .shell("seq 1 10 | cairn append log --acks >/dev/full")
        .ends_with(1)
        .says("standard output: No space left");
    // What was appended by then is in the log all the same: all of it, or as far as it had come when the first
    // acknowledgement met the full disk. Who cannot be told is not appended for.
    let kept = scratch.run(&["cat", "log"]).ok().out();
    let all: String = (1..=10).map(|number| format!("{number}\n")).collect();
    assert!(!kept.is_empty() && all.starts_with(&kept), "{kept}");
}

/// A note that could not be written ended the tool with a panic, and what it was about was not done.
#[test]
fn is_a_note_lost_and_nothing_else_if_standard_error_is_full() {
    let scratch = Scratch::new();
    scratch.torn_log("log");
    scratch
        .shell("echo seven | cairn append log 2>/dev/full")
        .ok()
        .says("appended 1 record");
    scratch.shell("cairn trim nolog 1 2>/dev/full").ends_with(1);
    scratch.shell("cairn frobnicate 2>/dev/full").ends_with(64);
    assert!(scratch.run(&["cat", "log"]).ok().out().ends_with("seven\n"));
}

/// The disk of a backup was full, and the advice was to drop records of the log.
#[test]
fn is_the_hint_about_a_full_disk_true() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    let mounted = "mkdir -p full && mount -t tmpfs -o size=32k none full";
    if scratch.shell(mounted).code() != 0 {
        eprintln!("left out: only root may mount");
        return;
    }
    let run = scratch.run(&["backup", "log", "full/copy"]);
    let fresh = scratch.shell("seq 1 10 | cairn append full/log --segment-bytes 1M");
    scratch.shell("umount full").ok();
    run.ends_with(1).says("free some space on the disk of");
    assert!(!run.err().contains("cairn trim"), "{}", run.err());
    // And there is nothing to trim where there is no log yet.
    fresh.ends_with(1);
    assert!(!fresh.err().contains("cairn trim"), "{}", fresh.err());
}

/// The limit of processes was reached, as in a container: a panic, where the library gives an error.
#[test]
fn is_no_thread_to_be_had_an_error() {
    let scratch = Scratch::new();
    // A user with no other process, who can write here and nowhere else.
    let place = scratch.path.join("place");
    fs::create_dir(&place).expect("a directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("for all");
    let tool = place.join("cairn");
    fs::copy(CAIRN, &tool).expect("the tool");
    for processes in 1..4 {
        let limit = format!("--nproc={processes}");
        let run = Command::new("setpriv")
            .args(["--reuid", "54321", "--regid", "54321", "--clear-groups"])
            .args(["prlimit", &limit])
            .arg(&tool)
            .args(["append", "log", "/etc/hostname"])
            .current_dir(&place)
            .output();
        let Ok(output) = run else {
            eprintln!("left out: no setpriv here");
            return;
        };
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("setpriv:")
            || text.contains("prlimit:")
            || text.contains("Permission denied")
        {
            eprintln!("left out: {text}");
            return;
        }
        assert!(matches!(output.status.code(), Some(0 | 1)), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// One cursor's file was empty, and nothing was retained for anybody; nothing told why nothing went.
#[test]
fn does_retention_go_on_and_tell_of_what_it_met() {
    let scratch = Scratch::new();
    scratch.log("log", 3000);
    scratch.run(&["consume", "log", "dead", "--max", "1"]).ok();
    let file = "log/cursors/00000000000000000001.cur";
    scratch.file(file, "");
    let run = scratch.run(&["retain", "log", "--bytes", "40K", "--json"]);
    run.ok().says("holds nothing back");
    let report = run.json();
    assert!(report["segment_count"].as_u64().expect("a count") > 0);
    assert_eq!(
        report["damaged_cursors"][0],
        "cursors/00000000000000000001.cur"
    );
    scratch
        .run(&["retain", "log", "--bytes", "1G"])
        .ok()
        .says("dropped nothing: the oldest segment passes no limit");
    scratch
        .run(&["retain", "log", "--bytes", "0"])
        .ok()
        .says("the log begins at");
    scratch
        .run(&["retain", "log", "--bytes", "0"])
        .ok()
        .says("dropped nothing: all that there is lies in the tail");
}
