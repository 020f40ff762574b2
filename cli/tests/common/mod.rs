//! What the end-to-end tests share: a scratch directory, and runs of the built tool in it.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The tool under test.
pub const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// A directory of a test's own, removed with it.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cairn-test-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self { path }
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CAIRN);
        command.args(args).current_dir(&self.path);
        command
    }

    /// Runs the tool with some standard input.
    pub fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Run {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take().expect("standard input");
        let input = input.as_ref().to_vec();
        // A tool that ends before it has read everything closes the pipe: that is its right.
        let feed = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().expect("it ran");
        feed.join().expect("it was fed");
        Run::new(args, output)
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    /// Runs a line of shell, with the tool on its path.
    pub fn shell(&self, line: &str) -> Run {
        let tool = Path::new(CAIRN).parent().expect("a directory");
        let before = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.path)
            .env("PATH", format!("{}:{before}", tool.display()))
            .output()
            .expect("a shell");
        Run::new(&[line], output)
    }

    /// A log with the lines 0 to `count`, in segments of 16 KiB.
    pub fn log(&self, name: &str, count: u64) {
        let lines: String = (0..count)
            .map(|number| format!("record {number}\n"))
            .collect();
        self.run_with(&["append", name, "--segment-bytes", "16K"], lines)
            .ok();
    }

    /// Overwrites bytes of a segment.
    pub fn damage(&self, log: &str, segment: u64, offset: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let path = self.path.join(log).join(format!("{segment:020}.seg"));
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("a segment");
        file.write_all_at(bytes, offset).expect("written");
    }

    /// A log whose last record was written when the power went, and does not verify. Nothing tells of it.
    pub fn torn_log(&self, name: &str) {
        let mut child = self.spawn(&["append", name, "--acks"]);
        let mut stdin = child.stdin.take().expect("standard input");
        let mut acks = std::io::BufReader::new(child.stdout.take().expect("standard output"));
        for number in 0..3 {
            writeln!(stdin, "record {number}").expect("fed");
            let mut line = String::new();
            std::io::BufRead::read_line(&mut acks, &mut line).expect("an acknowledgement");
            assert_eq!(line, format!("{number}\n"));
        }
        child.kill().expect("killed");
        child.wait().expect("it ended");
        fs::remove_file(self.path.join(name).join("WATERMARK")).expect("told");
        let run = self.run(&["inspect", name, "1", "--json"]);
        let records = run.json_lines();
        let last = records.iter().rev().find(|line| line["kind"] == "record");
        let offset = last.expect("a record")["offset"]
            .as_u64()
            .expect("an offset");
        self.damage(name, 1, offset + 10, b"ZZ");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// A finished run.
pub struct Run {
    what: String,
    pub output: Output,
}

impl Run {
    fn new(args: &[&str], output: Output) -> Self {
        let what = args.join(" ");
        Self { what, output }
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(
            self.code(),
            code,
            "{}\n{}\n{}",
            self.what,
            self.out(),
            self.err()
        );
        self
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.ends_with(0)
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        let all = self.out() + &self.err();
        assert!(
            all.contains(text),
            "{}: `{text}` is not in:\n{all}",
            self.what
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.out()))
    }

    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", self.what))
        };
        self.out().lines().map(parse).collect()
    }
}
