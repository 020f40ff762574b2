//! What the system may refuse: descriptors, threads, memory, writing, reading.

use super::{
    common::{CAIRN, Scratch},
    verbs::VERBS,
    world::{World, is_root},
};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// Any error of the system will do as its place: which call meets the limit is chance.
const ANY: &[&str] = &["cairn: "];

#[test]
fn does_every_verb_bear_a_want_of_descriptors() {
    for count in [4, 5, 6, 8, 10, 14] {
        let shell = format!(r#"ulimit -n {count}; exec "$@""#);
        World {
            name: &format!("{count} descriptors"),
            shell: &shell,
            places: ANY,
            ..World::default()
        }
        .try_all(VERBS);
    }
}

/// How much memory the tool needs to start at all, in KiB: with less its loader ends it.
fn least_kib() -> u64 {
    let scratch = Scratch::new();
    let starts = |kib: &u64| {
        let line = format!("ulimit -v {kib}; cairn --version");
        scratch.shell(&line).code() == 0
    };
    (2000..40_000).step_by(500).find(starts).expect("a limit")
}

/// The process ended with SIGABRT, as if the tool were wrong.
#[test]
fn does_every_verb_bear_a_want_of_memory() {
    let least = least_kib();
    for more in [0, 500, 2_000, 5_000, 10_000, 70_000] {
        let shell = format!(r#"ulimit -v {}; exec "$@""#, least + more);
        World {
            name: &format!("{least} + {more} KiB"),
            shell: &shell,
            places: ANY,
            ..World::default()
        }
        .try_all(VERBS);
    }
}

/// Where the limit left room for a thread's stack, and not for what the runtime takes beside it, the process
/// ended with SIGABRT in the C library, or with a panic of the runtime in a thread that had not begun.
#[test]
fn does_it_bear_a_limit_that_a_thread_does_not_fit_under() {
    let scratch = Scratch::new();
    scratch.log("log", 20);
    let run = |kib: u64| {
        let line = format!("ulimit -v {kib}; cairn compact log --rotate");
        let output = scratch.shell(&line);
        let (code, err) = (output.code(), output.err());
        assert!(code == 0 || code == 1, "{kib} KiB: {code}: {err}");
        assert!(!err.contains("panicked"), "{kib} KiB: {err}");
        code == 0
    };
    // Below the first there is no thread to be had, from the second on there is.
    let least = least_kib();
    let (mut none, mut one) = (least, 200_000);
    while one - none > 4 {
        let middle = none + (one - none) / 8 * 4;
        match run(middle) {
            true => one = middle,
            false => none = middle,
        }
    }
    for kib in (least.max(one - 100)..one + 100).step_by(4) {
        run(kib);
    }
}

/// Runs as a user with no other process, to whom nothing here belongs.
const SOMEBODY: &str = "setpriv --reuid 54321 --regid 54321 --clear-groups";

/// Whether another user can run the tool at all.
fn somebody_can() -> bool {
    let line = format!("exec {SOMEBODY} {CAIRN} --version");
    let output = Command::new("sh").args(["-c", &line]).output();
    is_root() && output.is_ok_and(|output| output.status.success())
}

fn give_away(scratch: &Scratch) {
    let line = format!("chown -R 54321:54321 {}", scratch.path.display());
    scratch.shell(&line).ok();
}

#[test]
fn does_every_verb_bear_a_want_of_threads() {
    if !somebody_can() {
        eprintln!("left out: only root can become a user without other processes");
        return;
    }
    for count in 1..4 {
        // One at a time: what another process of this user has counts too.
        let shell =
            format!(r#"exec flock /tmp/cairn-test-nobody {SOMEBODY} prlimit --nproc={count} "$@""#);
        World {
            name: &format!("{count} threads"),
            shell: &shell,
            places: ANY,
            prepare: &give_away,
            ..World::default()
        }
        .try_all(VERBS);
    }
}

#[test]
fn does_every_verb_bear_another_users_log() {
    if !somebody_can() {
        eprintln!("left out: only root can become another user");
        return;
    }
    let shell = format!(r#"exec {SOMEBODY} "$@""#);
    for mode in [0o700, 0o755] {
        World {
            name: &format!("another's log with {mode:o}"),
            shell: &shell,
            places: &["log", "out", "bench", "keys"],
            prepare: &|scratch| {
                let dir = scratch.path.join("log");
                fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("its own");
                if mode == 0o755 {
                    scratch.shell("chmod -R a+rX log").ok();
                }
            },
            then: &|_, verb, ended| {
                let needs_it = verb.writes || mode == 0o700;
                let makes = ["out", "bench"].iter().any(|word| verb.line.contains(word));
                if needs_it && verb.needs_log || makes {
                    assert_eq!(ended.status.code(), Some(1), "{}", ended.out);
                }
            },
            ..World::default()
        }
        .try_all(VERBS);
    }
}

#[test]
fn does_every_verb_bear_a_disk_that_is_read_only() {
    let mounts = Command::new("unshare").args(["-m", "true"]).output();
    if !is_root() || !mounts.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: only root may mount");
        return;
    }
    // A mount of the place over itself, which ends with the process.
    let shell = r#"exec unshare -m sh -c 'mount --bind . . && mount -o remount,bind,ro . &&
        cd "$PWD" && exec "$@"' sh "$@""#;
    World {
        name: "a read-only disk",
        shell,
        places: &["log", "out", "bench"],
        then: &|_, verb, ended| {
            let copies = ["out", "bench"].iter().any(|word| verb.line.contains(word));
            let code = if verb.writes || copies { 1 } else { 0 };
            assert_eq!(
                ended.status.code(),
                Some(code),
                "{}{}",
                ended.out,
                ended.err
            );
        },
        ..World::default()
    }
    .try_all(VERBS);
}
