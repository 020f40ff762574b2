//! Does what was acknowledged survive `kill -9`?
//!
//! A child process, this binary again, appends from four threads to a log in a real directory and
//! tells every acknowledgement through a pipe after the append has returned. It is killed at a random
//! moment, again and again over the same log, also while it recovers.
//!
//! A campaign says how often, where and with which seed: `CAIRN_KILLS`, `CAIRN_KILLS_IN`, `CAIRN_SEED`;
//! `tests/kills` does so on file systems of its own.

use cairnlog::{AppendOptions, Durability, Log, NewRecord};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const KILLS: u64 = 200;
const KILLS_WANTED: &str = "CAIRN_KILLS";
const PLACE: &str = "CAIRN_KILLS_IN";
const SEED: &str = "CAIRN_SEED";
/// Kills over one log before the next is begun.
const KILLS_PER_LOG: u64 = 40;
const THREADS: u64 = 4;
const DIR: &str = "CAIRN_KILL_DIR";
const ROUND: &str = "CAIRN_KILL_ROUND";

/// What one append holds: who, which of his in this round, and which part of a batch of how many.
fn payload(round: u64, thread: u64, number: u64, part: u64, parts: u64) -> String {
    let filler = "x".repeat((number * 37 + thread * 11) as usize % 300);
    format!("{round} {thread} {number} {part} {parts} {filler}")
}

fn parts_of(thread: u64, number: u64) -> u64 {
    if thread == 2 { 1 + number % 4 } else { 1 }
}

/// The last thread's appends wait for the write only; that is enough to survive a kill.
fn level_of(thread: u64) -> Durability {
    if thread == 3 {
        Durability::Written
    } else {
        Durability::Durable
    }
}

/// The child: not a test of its own, it runs until it is killed.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let round: u64 = env::var(ROUND).unwrap().parse().unwrap();
    let options = Log::options().segment_bytes(if round.is_multiple_of(2) {
        4096
    } else {
        16_384
    });
    let log = options.open(PathBuf::from(dir)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let how = AppendOptions::new().durability(level_of(thread));
                for number in 0.. {
                    let parts = parts_of(thread, number);
                    let text = |part| payload(round, thread, number, part, parts);
                    let texts: Vec<String> = (0..parts).map(text).collect();
                    let records: Vec<_> = texts.iter().map(NewRecord::value).collect();
                    let seqs = log.append_records(&records, &how).unwrap();
                    // One write of less than a pipe takes at once: it comes whole or not at all.
                    let line = format!("\nack {thread} {number} {}\n", seqs.start);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

/// Acknowledged: round, thread, number, and the first seq.
type Ack = (u64, u64, u64, u64);

/// Kills it so long after it has told that many; with none, from its start on. By time alone a busy machine killed
/// most before they had begun, and nothing was tested.
fn run_and_kill(dir: &Path, round: u64, told: usize, after: Duration) -> Vec<Ack> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (tell, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut acks = Vec::new();
        for line in stdout.lines().map_while(Result::ok) {
            let Some(rest) = line.strip_prefix("ack ") else {
                continue;
            };
            let numbers: Vec<u64> = rest
                .split(' ')
                .map_while(|word| word.parse().ok())
                .collect();
            if let [thread, number, seq] = numbers[..] {
                acks.push((round, thread, number, seq));
                tell.send(()).ok();
            }
        }
        acks
    });
    // One that ends by itself has failed, which is seen below.
    heard.iter().take(told).for_each(drop);
    std::thread::sleep(after);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("panicked"), "the child failed: {told}");
    reader.join().unwrap()
}

/// P1 and P2: every acknowledged record is there, exactly; each thread's are a prefix of what it
/// appended, in its order, each once; batches are whole.
fn check(log: &Log, acks: &[Ack]) {
    let mut found = BTreeMap::new();
    let mut next: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let text = String::from_utf8(record.to_vec()).unwrap();
        let words: Vec<u64> = text
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        let [round, thread, number, part, parts] = words[..] else {
            panic!("nobody appended {text:?}");
        };
        assert_eq!(text, payload(round, thread, number, part, parts));
        let expected = next.entry((round, thread)).or_default();
        assert_eq!((number, part), *expected, "round {round} thread {thread}");
        *expected = match part + 1 == parts {
            true => (number + 1, 0),
            false => (number, part + 1),
        };
        found.insert(record.seq(), (round, thread, number));
    }
    for (who, (_, part)) in &next {
        assert_eq!(*part, 0, "a batch of {who:?} is not whole");
    }
    let seqs: Vec<u64> = found.keys().copied().collect();
    assert_eq!(seqs, (0..log.next_seq()).collect::<Vec<_>>());
    for (round, thread, number, seq) in acks {
        let there = found.get(seq);
        assert_eq!(
            there,
            Some(&(*round, *thread, *number)),
            "seq {seq} was acknowledged"
        );
    }
}

/// Whoever was told is shown it by a reader as well, before anybody has opened the log again for writing.
fn check_shown(path: &Path, acks: &[Ack]) {
    let shown = match Log::options().open_reader(path) {
        Ok(reader) => reader.end_seq(),
        Err(error) => {
            // Killed before there was a log.
            assert!(acks.is_empty(), "{error}");
            return;
        }
    };
    let durable = acks
        .iter()
        .filter(|ack| level_of(ack.1) == Durability::Durable);
    for (round, thread, number, seq) in durable {
        assert!(
            *seq < shown,
            "{seq} was acknowledged (round {round}, thread {thread}, {number}), shown below {shown}"
        );
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn acknowledged_records_survive_two_hundred_kills() {
    let started = Instant::now();
    let (kills, seed) = (number(KILLS_WANTED, KILLS), number(SEED, 0));
    let place = env::var_os(PLACE).map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let (mut all, mut clean, mut carried) = (0, 0, 0);
    for log_number in 0..kills.div_ceil(KILLS_PER_LOG) {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let path = dir.path().join("log");
        let mut acks = Vec::new();
        for round in 0..KILLS_PER_LOG {
            // Anything from "it is still recovering" to "it has rotated a few times".
            let dice = round * 7919 + (log_number + seed) * 104_729;
            let (told, after) = (dice % 50, 3 + dice / 50 % 15);
            acks.extend(run_and_kill(
                &path,
                round,
                told as usize,
                Duration::from_millis(after),
            ));
            if round % 4 == 3 || round + 1 == KILLS_PER_LOG {
                check_shown(&path, &acks);
                let log = Log::open(&path).unwrap();
                check(&log, &acks);
                clean += u64::from(log.recovery().torn.is_none());
                carried += log.recovery().carried_count;
                log.close().unwrap();
            }
        }
        all += acks.len();
    }
    println!(
        "{kills} kills, {all} acknowledgements, {clean} ends in order, {carried} records carried, {:?}",
        started.elapsed()
    );
    assert!(
        all as u64 > 4 * kills,
        "only {all} acknowledgements: nothing was tested"
    );
}
