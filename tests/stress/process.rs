//! Other processes, which are this binary again.

use crate::{acked::Ack, options, work};
use cairnlog::ErrorKind;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

const ROLE: &str = "CAIRN_STRESS_ROLE";
const DIR: &str = "CAIRN_STRESS_DIR";
const PLACE: &str = "CAIRN_STRESS_PLACE";
const ROUND: &str = "CAIRN_STRESS_ROUND";

pub fn is_child() -> bool {
    env::var_os(ROLE).is_some()
}

/// The child: not a test of its own, it runs until it is killed.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let path = |name| PathBuf::from(env::var_os(name).expect(name));
    let round = env::var(ROUND).expect(ROUND).parse().expect(ROUND);
    match role.as_str() {
        "writer" => {
            let log = options().open(path(DIR)).expect("it opens");
            // One write of less than a pipe takes at once: it comes whole or not at all.
            let mut tell = |ack: Ack| {
                let line = ack.line();
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            };
            let long = Duration::from_secs(3600);
            work::all(&log, &path(PLACE), round, long, &mut tell);
        }
        _ => follow(&path(DIR), round == 0),
    }
}

/// Reads from the head to the end as it comes, and begins again where the log was trimmed beneath it.
fn follow(dir: &Path, from_start: bool) {
    loop {
        let reader = match options().open_reader(dir) {
            Ok(reader) => reader,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("{error}"),
        };
        let from = match from_start {
            true => reader.head_seq(),
            false => reader.end_seq(),
        };
        let mut tail = reader.tail(from);
        let mut next_seq = from;
        loop {
            match tail.next_timeout(Duration::from_millis(50)) {
                Ok(Some(record)) => {
                    assert!(
                        record.seq() >= next_seq,
                        "{} after {next_seq}",
                        record.seq()
                    );
                    next_seq = record.seq() + 1;
                    let key = record.key().unwrap_or(b"none");
                    assert!(key.len() < 64);
                }
                Ok(None) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}");
                    break;
                }
            }
        }
    }
}

/// A child, and what it told.
pub struct Process {
    child: Child,
    told: JoinHandle<Vec<Ack>>,
}

impl Process {
    pub fn writer(dir: &Path, place: &Path, round: u64) -> Self {
        Self::start("writer", dir, place, round)
    }

    pub fn reader(dir: &Path, nth: u64) -> Self {
        Self::start("reader", dir, dir, nth)
    }

    fn start(role: &str, dir: &Path, place: &Path, round: u64) -> Self {
        let mut child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "process::child", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
            .env(PLACE, place)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let told = std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            lines.filter_map(|line| Ack::parse(&line)).collect()
        });
        Self { child, told }
    }

    /// What it had told by the time it was killed.
    pub fn kill(mut self) -> Vec<Ack> {
        self.child.kill().expect("it runs");
        let output = self.child.wait_with_output().expect("it ended");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!told.contains("panicked"), "the child failed: {told}");
        self.told.join().expect("its lines")
    }
}
