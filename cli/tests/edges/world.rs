//! A place for one verb in one world, and what has to hold of it afterwards.

use super::{
    common::{CAIRN, Scratch},
    verbs::{CURSOR, RECORDS, Verb},
};
use cairnlog::{ErrorKind, Keys, Options};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The exit codes that `cairn --help` lists.
const CODES: [i32; 9] = [0, 1, 2, 3, 4, 5, 6, 64, 141];

/// Where each cell begins: a log with a cursor, a key file, an input, a history.
pub fn template() -> Scratch {
    let scratch = Scratch::new();
    scratch.log("log", RECORDS);
    let to = CURSOR.to_string();
    scratch
        .run(&["consume", "log", "mailer", "--max", &to])
        .ok();
    scratch.run(&["keygen", "keys"]).ok();
    let lines: String = (0..20).map(|number| format!("line {number}\n")).collect();
    scratch.file("input.txt", lines);
    scratch.file("history.txt", "append 10 1\nbatch 3 10 2\ncrash\nsync\n");
    scratch
}

/// What is done to a place before a verb runs.
pub type Prepare<'a> = &'a (dyn Fn(&Scratch) + Sync);

/// What a verb meets.
pub struct World<'a> {
    pub name: &'a str,
    /// A line of shell that runs the tool: `"$@"` is its command line.
    pub shell: &'a str,
    /// An error names one of these.
    pub places: &'a [&'a str],
    /// Done to the place before the verb runs.
    pub prepare: Prepare<'a>,
    /// Asked of the place afterwards, beyond what holds of every cell.
    pub then: &'a (dyn Fn(&Scratch, &Verb, &Ended) + Sync),
    /// Whether the log is whole, so that nothing of it may be lost.
    pub is_whole: bool,
}

/// How it ended.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Default for World<'_> {
    fn default() -> Self {
        Self {
            name: "",
            shell: r#"exec "$@""#,
            places: &["log"],
            prepare: &|_| {},
            then: &|_, _, _| {},
            is_whole: true,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).expect("copied")),
        }
    }
}

/// A place of its own.
pub fn place(template: &Scratch) -> Scratch {
    let scratch = Scratch::new();
    copy(&template.path, &scratch.path);
    scratch
}

/// The command line of the tool in a world.
pub fn command(scratch: &Scratch, shell: &str, verb: &Verb) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh", CAIRN]);
    command.args(verb.line.split(' '));
    command.current_dir(&scratch.path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

impl World<'_> {
    /// Runs the verb in this world; panics with the reason if anything does not hold.
    fn try_out(&self, template: &Scratch, verb: &Verb) {
        let scratch = place(template);
        (self.prepare)(&scratch);
        let mut child = command(&scratch, self.shell, verb)
            .spawn()
            .expect("a shell");
        let mut stdin = child.stdin.take().expect("standard input");
        // A tool that ends before it has read everything closes the pipe: that is its right.
        stdin.write_all(verb.input.unwrap_or("").as_bytes()).ok();
        drop(stdin);
        let output = child.wait_with_output().expect("it ran");
        let ended = Ended {
            status: output.status,
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        self.judge(&scratch, verb, &ended);
        (self.then)(&scratch, verb, &ended);
    }

    fn judge(&self, scratch: &Scratch, verb: &Verb, ended: &Ended) {
        let Ended { status, out, err } = ended;
        assert!(!err.contains("panicked"), "{err}");
        let code = status.code();
        let known = code.is_some_and(|code| CODES.contains(&code));
        assert!(known, "{status}: {err}");
        if code == Some(1) && !self.places.is_empty() {
            let told = |place: &&str| err.starts_with("cairn: ") && err.contains(*place);
            assert!(self.places.iter().any(told), "1, and: {err}");
        }
        if self.is_whole {
            holds(scratch, verb, out);
        }
    }

    /// Tries every verb, a few at a time.
    pub fn try_all(&self, verbs: &[Verb]) {
        let template = template();
        let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(verb) = verbs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            self.try_out(&template, verb);
                        }));
                        if let Err(fault) = tried {
                            let text = fault.downcast_ref::<String>().cloned();
                            let text = text.unwrap_or_else(|| "it fails".to_owned());
                            let line = format!("{}: cairn {}: {text}", self.name, verb.line);
                            faults.lock().expect("no panic under it").push(line);
                        }
                    }
                });
            }
        });
        let faults = faults.into_inner().expect("no panic under it");
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

/// Whether nothing is lost, and nothing acknowledged that is not there or went nowhere.
pub fn holds(scratch: &Scratch, verb: &Verb, out: &str) {
    let dir = scratch.path.join("log");
    let report = Options::new().verify(&dir).expect("it can be looked at");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // A verb may have sealed it.
    let keys = Keys::from_file(scratch.path.join("keys")).expect("a key file");
    let options = Options::new().keys(keys);
    let reader = options.open_reader(&dir).expect("a log");
    let reader = reader.including_written();
    let mut wanted = verb.keeps();
    for record in reader.scan(wanted.clone()).expect("it is kept") {
        let record = record.expect("it verifies");
        assert_eq!(Some(record.seq()), wanted.next());
        let text = format!("record {}", record.seq());
        assert_eq!(record.value(), Some(text.as_bytes()));
    }
    assert!(wanted.is_empty(), "seq {wanted:?} is lost");
    if verb.line.contains("--acks") {
        for ack in out.lines() {
            let seq = ack.parse().expect("a seq");
            assert!(reader.get(seq).expect("readable").is_some(), "seq {seq}");
        }
    }
    for cursor in options.cursors(&dir).expect("cursors") {
        let begun = if cursor.name == "mailer" { CURSOR } else { 0 };
        if verb.line.starts_with("consume") {
            let printed = out.lines().count() as u64;
            assert!(cursor.seq <= begun + printed, "acknowledged, and unread");
        }
    }
}

/// Whether the log cannot be opened because of what it is, and not of how it was asked.
pub fn is_no_log(dir: &Path) -> bool {
    let opened = Options::new().open_reader(dir);
    opened.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Whether this user may do what only root may.
pub fn is_root() -> bool {
    let mut text = String::new();
    let status =
        fs::File::open("/proc/self/status").and_then(|mut file| file.read_to_string(&mut text));
    status.is_ok() && text.lines().any(|line| line.starts_with("Uid:\t0\t0"))
}
