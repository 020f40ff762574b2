//! Do the examples show what they say they show, and again after a restart?
//!
//! They are built by `cargo test`, and not by `cargo test --test examples` alone.

use cairnlog::{Health, Log, Options};
use std::{collections::BTreeSet, env, path::Path, process::Command};

/// Runs an example with a directory to work in; gives what it printed.
fn run(name: &str, dir: &Path) -> String {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let example = profile.join("examples").join(name);
    let hint = "it is not built: `cargo build --examples`";
    let output = Command::new(example).arg(dir).output().expect(hint);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The numbers in the line with this text.
#[track_caller]
fn numbers(output: &str, text: &str) -> Vec<i64> {
    let line = output.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("no `{text}` in:\n{output}"));
    let words = line.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

fn values(log: &Path) -> Vec<String> {
    let log = Log::options().create(false).open(log).unwrap();
    let records = log.scan(..).unwrap();
    records
        .map(|record| String::from_utf8(record.unwrap().to_vec()).unwrap())
        .collect()
}

#[test]
fn does_the_account_stay_above_zero_while_two_withdraw() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut before = (0, 0);
    for round in 1..=2 {
        let output = run("account", &log);
        assert_eq!(numbers(&output, "balance"), [before.0, before.1]);
        // The log itself says what happened.
        let (mut balance, mut in_all, mut by_30, mut by_50) = (0, 0, 0, 0);
        let events = values(&log);
        for event in &events {
            let amount: i64 = event.parse().unwrap();
            balance += amount;
            assert!(balance >= 0, "{events:?}");
            in_all += amount.max(0);
            by_30 += i64::from(amount == -30);
            by_50 += i64::from(amount == -50);
        }
        assert_eq!(in_all, 1000 * round);
        assert_eq!(in_all - 30 * by_30 - 50 * by_50, balance);
        assert!(balance < 30, "both went on until there was too little");
        let count = i64::try_from(events.len()).unwrap();
        assert_eq!(numbers(&output, "never below 0"), [balance, count, 0]);
        let told = numbers(&output, "withdrew 30")[1] + numbers(&output, "withdrew 50")[1];
        assert_eq!(told, count - before.1 - 1);
        before = (balance, count);
    }
}

#[test]
fn is_the_table_built_from_a_compacted_log_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut rows = 0;
    for _ in 0..2 {
        let output = run("change_capture", &log);
        assert_eq!(numbers(&output, "opened"), [rows]);
        let before = numbers(&output, "before compaction");
        let after = numbers(&output, "after compaction");
        assert!(before[0] >= 20_000 && after[1] * 10 < before[1], "{output}");
        rows = after[2];
        assert!((300..=500).contains(&rows), "{output}");
        assert_eq!(after[0], rows, "a record for each row, and no tombstone");
        assert_eq!(numbers(&output, "dropped"), [before[0] - rows]);
        assert_eq!(numbers(&output, "is the table"), [rows]);
        let report = Options::new().verify(&log).unwrap();
        assert_eq!(report.health(), Health::Clean);
        assert_eq!(
            values(&log).into_iter().collect::<BTreeSet<_>>().len(),
            after[0] as usize
        );
    }
}

#[test]
fn is_every_job_done_once_and_the_one_that_always_fails_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let queue = dir.path().join("queue");
    let first = run("job_queue", &queue);
    assert_eq!(numbers(&first, "20 new jobs"), [20]);
    assert_eq!(numbers(&first, "asked again"), [0]);
    let lines: BTreeSet<&str> = first.lines().collect();
    assert!(lines.contains("a worker died: true"), "{first}");
    assert!(lines.contains("job 0 done, delivery 2"), "{first}");
    for job in (0..20).filter(|job| *job != 13) {
        let done = first.matches(&format!("job {job} done")).count();
        assert_eq!(done, 1, "{first}");
    }
    assert_eq!(first.matches("job 13 failed").count(), 3);
    assert!(lines.contains("job 13 failed, delivery 3"), "{first}");
    assert!(lines.contains("19 jobs done, each once: true"), "{first}");
    assert!(lines.contains("dead letter: job 13"), "{first}");
    // Everything is known after a restart: what was asked for, what is done, what is dead.
    let second = run("job_queue", &queue);
    assert_eq!(numbers(&second, "new jobs"), [0]);
    let lines: BTreeSet<&str> = second.lines().collect();
    assert!(lines.contains("a worker died: false"), "{second}");
    assert!(lines.contains("0 jobs done, each once: true"), "{second}");
    assert_eq!(values(&queue.join("dead.log")), ["job 13"]);
    assert_eq!(values(&queue.join("jobs.log")).len(), 20);
}
