//! Do the examples show what they say they show, and again after a restart?
//!
//! They are built by `cargo test`, and not by `cargo test --test examples` alone.

use cairnlog::{Health, Log, Options};
use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(name)
}

/// Runs an example with a directory to work in; gives what it printed.
fn run(name: &str, dir: &Path) -> String {
    let hint = "it is not built: `cargo build --examples`";
    let output = Command::new(example(name)).arg(dir).output().expect(hint);
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
fn is_a_log_added_up_by_many_threads_as_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for _ in 0..2 {
        // It compares the sums itself.
        let output = run("parallel_sum", &log);
        let total: i64 = (0..50_000).map(|number| number % 11 - 4).sum();
        assert_eq!(numbers(&output, "accounts hold"), [7, total]);
        assert!(numbers(&output, " parts, ")[0] > 1, "{output}");
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

/// What Prometheus asks of a text: a type for every name, buckets that only grow, the last of them `+Inf`
/// and as large as the count.
#[test]
fn are_the_numbers_of_a_log_a_text_that_prometheus_reads() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("prometheus", &dir.path().join("log"));
    let (mut name, mut buckets) = (String::new(), Vec::new());
    for line in output.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            typed.split(' ').next().unwrap().clone_into(&mut name);
        }
        if line.starts_with('#') {
            continue;
        }
        assert!(!name.is_empty() && line.starts_with(&name), "{line}");
        let (what, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        if what.contains("_bucket") {
            buckets.push(value);
        } else if what.contains("_count") {
            assert!(buckets.is_sorted(), "{output}");
            assert_eq!(buckets.last(), Some(&value), "{output}");
            buckets.clear();
        }
    }
    let number = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in:\n{output}"))
            .trim()
            .parse::<f64>()
            .unwrap()
    };
    assert_eq!(number("cairn_appended_records_total "), 1200.0);
    assert_eq!(number("cairn_not_durable "), 0.0);
    let durable = number("cairn_append_seconds_count{level=\"durable\"}");
    assert_eq!(durable, 200.0);
    assert!(number("cairn_append_seconds_count{level=\"buffered\"}") >= 15.0);
    assert_eq!(number("cairn_sync_records_sum{}"), 1200.0);
}

/// A browser in a few lines: it reads events until it has seen so many.
#[cfg(feature = "async")]
mod browser {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpStream,
        process::{Child, Command, Stdio},
        time::Duration,
    };

    /// The server, which ends with it.
    pub struct Server {
        child: Child,
        pub address: String,
    }

    impl Server {
        pub fn start(mut command: Command) -> Self {
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix("http://").unwrap().to_owned();
            Self { child, address }
        }

        fn ask(&self, request: &str) -> BufReader<TcpStream> {
            let mut socket = TcpStream::connect(&self.address).unwrap();
            let timeout = Some(Duration::from_secs(20));
            socket.set_read_timeout(timeout).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            BufReader::new(socket)
        }

        /// Appends; gives the seq.
        pub fn post(&self, text: &str) -> u64 {
            let length = text.len();
            let head = "POST / HTTP/1.1\r\nHost: cairn\r\nConnection: close";
            let mut answer = String::new();
            let mut reader = self.ask(&format!("{head}\r\nContent-Length: {length}\r\n\r\n{text}"));
            reader.read_to_string(&mut answer).unwrap();
            answer.lines().last().unwrap().parse().unwrap()
        }

        /// Events from behind the last that was seen: number and text.
        pub fn events(&self, last: Option<u64>) -> impl Iterator<Item = (u64, String)> + use<> {
            let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
            let mut reader = self.ask(&format!(
                "GET /events HTTP/1.1\r\nHost: cairn\r\n{last}\r\n"
            ));
            let mut head = String::new();
            while head != "\r\n" {
                head.clear();
                assert!(reader.read_line(&mut head).unwrap() > 0, "no answer");
            }
            let mut stream = String::new();
            std::iter::from_fn(move || {
                loop {
                    if let Some(event) = next_event(&mut stream) {
                        return Some(event);
                    }
                    stream.push_str(&next_chunk(&mut reader)?);
                }
            })
        }
    }

    /// A piece of the body; nothing when the connection is cut off.
    fn next_chunk(reader: &mut BufReader<TcpStream>) -> Option<String> {
        let mut length = String::new();
        reader.read_line(&mut length).ok()?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2]; // With the line end behind it.
        reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some(String::from_utf8(chunk).unwrap())
    }

    /// What the standard says that a browser makes of the stream: a line ends with CR, LF or both, an
    /// empty one ends an event, unknown fields are passed over, lines of data are joined by LF.
    fn next_event(stream: &mut String) -> Option<(u64, String)> {
        loop {
            let text = stream.replace("\r\n", "\n").replace('\r', "\n");
            let (event, rest) = text.split_once("\n\n")?;
            let of = |name: &str| -> Vec<String> {
                let values = event.lines().filter_map(|line| line.strip_prefix(name));
                values.map(str::to_owned).collect()
            };
            let (ids, data) = (of("id: "), of("data: "));
            *stream = rest.to_owned();
            if !data.is_empty() {
                return Some((ids.last()?.parse().unwrap(), data.join("\n")));
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What is posted is seen at once by who watches; who comes back, also to another process, misses
/// nothing.
#[cfg(feature = "async")]
#[test]
fn does_a_browser_see_what_is_appended_and_miss_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(example("sse"));
        command.arg(dir.path().join("log"));
        browser::Server::start(command)
    };
    let server = start();
    let mut watching = server.events(None);
    for number in 0..3 {
        assert_eq!(server.post(&format!("event {number}")), number);
        assert_eq!(watching.next(), Some((number, format!("event {number}"))));
    }
    drop(server);
    assert_eq!(watching.next(), None, "it was cut off");
    let server = start();
    assert_eq!(server.post("event 3"), 3);
    let since: Vec<_> = server.events(Some(1)).take(2).collect();
    assert_eq!(
        since,
        [(2, "event 2".to_owned()), (3, "event 3".to_owned())]
    );
}

/// A lone carriage return ends a line of server-sent events. The example broke lines at line feeds
/// alone, so what stood behind a carriage return became a field of its own: it was lost, or ended the
/// event, or moved the number that the browser comes back with.
#[cfg(feature = "async")]
#[test]
fn is_a_record_with_any_line_ends_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(example("sse"));
    command.arg(dir.path().join("log"));
    let server = browser::Server::start(command);
    let cases = [
        ("a\rb", "a\nb"),
        ("a\r\rid: 77\rdata: c", "a\n\nid: 77\ndata: c"),
        ("a\r\nb\nc\r", "a\nb\nc\n"),
        ("", ""),
        ("\r\n\r\n", "\n\n"),
    ];
    for (number, (record, _)) in cases.iter().enumerate() {
        assert_eq!(server.post(record), number as u64);
    }
    let seen: Vec<_> = server.events(None).take(cases.len()).collect();
    for (number, (record, shown)) in cases.iter().enumerate() {
        assert_eq!(
            seen[number],
            (number as u64, (*shown).to_owned()),
            "{record:?}"
        );
    }
    drop(server.events(Some(u64::MAX))); // A number beyond all is answered as well.
}

/// The program of the guide's first hour, run twice as the guide says, prints what the guide shows.
#[test]
fn does_the_program_of_the_first_hour_print_what_the_guide_shows() {
    let guide = include_str!("../docs/guide/src/first-hour.md");
    let program = include_str!("../examples/first_hour.rs");
    let program = program.split_once("\n\n").unwrap().1;
    assert!(guide.contains(program), "the guide shows another program");
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut command = Command::new(example("first_hour"));
        let output = command.current_dir(dir.path()).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(guide.contains(&output), "the guide does not show\n{output}");
    }
}
