//! Does a log survive its disk, by the tool alone? Only where that is built with `--features remote`.

#![cfg(feature = "remote")]

mod common;

use common::Scratch;
use std::{fs, io::Write, thread, time::Duration};

#[test]
fn is_a_log_whose_disk_was_lost_restored_and_copied_on() {
    let scratch = Scratch::new();
    scratch.log("orders.log", 2000);
    let mut replicator = scratch.spawn(&["replicate", "orders.log", "store", "--interval", "0.1s"]);
    // Beside a writer, which is killed, and the copier with it.
    let mut writer = scratch.spawn(&["append", "orders.log"]);
    let mut input = writer.stdin.take().expect("its input");
    for number in 2000..2100 {
        writeln!(input, "record {number}").expect("taken");
    }
    input.flush().expect("taken");
    let listed = |scratch: &Scratch| scratch.run(&["remote", "ls", "store"]);
    for attempt in 0.. {
        let last = listed(&scratch);
        if last.code() == 0 && last.out().trim_end().ends_with("0..2100") {
            break;
        }
        assert!(attempt < 300, "it is not copied: {}", last.err());
        thread::sleep(Duration::from_millis(100));
    }
    writer.kill().expect("killed");
    replicator.kill().expect("killed");
    writer.wait().expect("gone");
    replicator.wait().expect("gone");
    let before = scratch.run(&["cat", "orders.log"]).ok().out();
    fs::remove_dir_all(scratch.path.join("orders.log")).expect("removed");

    scratch.run(&["remote", "verify", "store"]).ok();
    assert_eq!(scratch.run(&["remote", "cat", "store"]).ok().out(), before);
    let far = scratch.run(&["remote", "cat", "store", "--from", "1234", "--limit", "1"]);
    assert_eq!(far.ok().out(), "record 1234\n");
    assert!(
        scratch
            .run(&["remote", "stat", "store"])
            .ok()
            .out()
            .contains("seq 0..2100 in")
    );
    scratch.run(&["restore", "store", "orders.log"]).ok();
    scratch.run(&["verify", "orders.log"]).ok();
    assert_eq!(scratch.run(&["cat", "orders.log"]).ok().out(), before);

    scratch
        .run(&["restore", "store", "cut.log", "--to-seq", "1999"])
        .ok();
    assert!(
        scratch
            .run(&["cat", "cut.log"])
            .ok()
            .out()
            .ends_with("record 1998\n")
    );
    let refused = scratch.run(&["replicate", "orders.log", "store", "--once"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.err().contains("takes over"), "{}", refused.err());
    scratch
        .run(&["replicate", "orders.log", "store", "--once", "--take-over"])
        .ok();

    for (line, code) in [
        (&["restore", "store", "orders.log"][..], 1),
        (&["restore", "nowhere", "new.log"], 1),
        (&["remote", "ls", "nowhere"], 1),
        (&["restore", "store", "new.log", "--to-time", "1000"], 1),
        (&["remote", "ls", "gopher://store"], 64),
    ] {
        assert_eq!(scratch.run(line).code(), code, "{line:?}");
    }
    assert!(!scratch.path.join("nowhere").exists());
}
