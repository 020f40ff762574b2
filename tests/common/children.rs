//! Children that run until they are killed, and say on the way what they do: this binary again, with one of
//! its tests alone.

use cairnlog::Seq;
use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub const DIR: &str = "CAIRN_CHILD_DIR";
pub const ARGUMENT: &str = "CAIRN_CHILD_ARGUMENT";

/// A cheap source of numbers, different for each seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub const KEYS: u64 = 7;

/// What a record has to hold.
pub fn payload(seq: Seq) -> Vec<u8> {
    let mut text = format!("{seq} ").into_bytes();
    text.resize(
        text.len() + (seq * 37 % 250) as usize,
        b'a' + (seq % 26) as u8,
    );
    text
}

/// Two of three records have one of seven keys: compaction leaves the newest of each.
pub fn key(seq: Seq) -> Option<[u8; 1]> {
    (!seq.is_multiple_of(3)).then_some([(seq * 5 % KEYS) as u8])
}

/// The directory of a child and its argument; nothing if this is no child.
pub fn child() -> Option<(PathBuf, u64)> {
    let dir: OsString = env::var_os(DIR)?;
    let argument = env::var(ARGUMENT).unwrap().parse().unwrap();
    Some((dir.into(), argument))
}

pub fn say(line: &str) {
    // One write of less than a pipe takes at once: it comes whole or not at all.
    let line = format!("\n{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

pub fn spawn(test: &str, dir: &Path, argument: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIR, dir)
        .env(ARGUMENT, argument.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child says, line by line, until it is dead.
pub fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.lines().map_while(Result::ok)
}

/// Kills a child, which must not have failed before.
pub fn end(mut child: Child) {
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("panicked"), "a child failed: {told}");
}

/// A word and the numbers behind it.
pub fn parse(line: &str) -> (&str, Vec<u64>) {
    let mut words = line.split(' ');
    let word = words.next().unwrap_or_default();
    (word, words.map_while(|word| word.parse().ok()).collect())
}
