//! Does an upload become one result, whatever breaks off or dies meanwhile, and in flat memory?
//!
//! Of `examples/upload`, which `cargo test` builds, and `cargo test --test upload` alone does not.
#![cfg(feature = "async")]

use cairnlog::{Log, Options, Record};
use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The server, which is killed with it.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Server {
    fn start(dir: &Path) -> Self {
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let mut command = Command::new(profile.join("examples/upload"));
        command.arg(dir).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("it is built by `cargo build --examples`");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        let timeout = Some(Duration::from_secs(60));
        socket.set_read_timeout(timeout).unwrap();
        socket
    }

    /// Begins an upload of so many bytes.
    fn begin(&self, id: u64, bytes: u64) -> TcpStream {
        let mut socket = self.connect();
        let head = format!("PUT /uploads HTTP/1.1\r\nHost: cairn\r\nupload-id: {id:x}\r\n");
        let rest = format!("Connection: close\r\nContent-Length: {bytes}\r\n\r\n");
        socket.write_all((head + &rest).as_bytes()).unwrap();
        socket
    }

    /// Uploads all of it; gives the number of its job.
    fn upload(&self, id: u64, text: &str) -> u64 {
        let mut socket = self.begin(id, text.len() as u64);
        socket.write_all(text.as_bytes()).unwrap();
        answer(socket)
    }

    fn events(&self, last: Option<u64>) -> Events {
        let mut socket = self.connect();
        let last = last.map_or(String::new(), |seq| format!("Last-Event-ID: {seq}\r\n"));
        let head = format!("GET /events HTTP/1.1\r\nHost: cairn\r\n{last}\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        // Once there is an answer it is told everything; what came before it would be missed.
        skip_head(&mut reader);
        Events(reader)
    }

    /// What was packed, and is unpacked again.
    fn result(&self, seq: u64) -> String {
        let mut socket = self.connect();
        let head = format!("GET /results/{seq} HTTP/1.0\r\nHost: cairn\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        skip_head(&mut reader);
        let mut text = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(reader);
        unpacked.read_to_string(&mut text).unwrap();
        text
    }

    /// The most memory that it ever had, in bytes.
    fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }
}

fn skip_head(reader: &mut impl BufRead) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no answer");
    }
}

fn answer(mut socket: TcpStream) -> u64 {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let last = answer.lines().last().unwrap();
    last.parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// Events as they come: number, kind, text. It ends when the connection does.
struct Events(BufReader<TcpStream>);

#[derive(Debug, Default)]
struct Event {
    seq: u64,
    kind: String,
    data: Vec<String>,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", seq)) => event.seq = seq.parse().unwrap(),
                Some(("event", kind)) => kind.clone_into(&mut event.kind),
                Some(("data", text)) => event.data.push(text.to_owned()),
                _ if line == "\n" && !event.data.is_empty() => return Some(event),
                _ => {} // Of HTTP.
            }
        }
    }
}

impl Events {
    /// The result of an upload: its number, what came of it, how many lines, what was wrong.
    fn result_of(&mut self, id: u64) -> (u64, String, u64, Vec<String>) {
        let id = format!("{id:x}");
        let is_it = |event: &Event| {
            event.kind == "result" && event.data[0].split(' ').next() == Some(id.as_str())
        };
        let mut event = self.find(is_it).expect("a result");
        let first = event.data.remove(0);
        let words: Vec<_> = first.split(' ').collect();
        (
            event.seq,
            words[1].to_owned(),
            words[2].parse().unwrap(),
            event.data,
        )
    }
}

fn lines(count: u64) -> String {
    (0..count)
        .map(|number| format!("name {number},{}\n", number * 7))
        .collect()
}

fn packed(lines: &str) -> String {
    lines.replace(',', "\t")
}

/// What the log of jobs has of this kind.
fn jobs(dir: &Path, kind: &str) -> Vec<Record> {
    let log = Log::options()
        .create(false)
        .open(dir.join("jobs.log"))
        .unwrap();
    let records = log.scan(..).unwrap().map(|record| record.unwrap());
    records
        .filter(|record| record.key() == Some(kind.as_bytes()))
        .collect()
}

#[test]
fn does_an_upload_become_a_result_and_one_that_breaks_off_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut events = server.events(None);

    // Two at once, whose pieces lie between each other's; the first breaks off with most of it there.
    let text = lines(60_000);
    let mut broken = server.begin(1, text.len() as u64);
    broken.write_all(&text.as_bytes()[..700_000]).unwrap();
    let received = |event: &Event| event.data[0].strip_prefix("1 received ")?.parse().ok();
    let more = |event: &Event| received(event).is_some_and(|bytes: u64| bytes > 2 * 256 * 1024);
    assert!(
        events.any(|event| more(&event)),
        "two pieces of it are in the log"
    );
    let good = server.upload(2, &text);
    drop(broken);
    let (result, outcome, count, errors) = events.result_of(2);
    assert_eq!((outcome.as_str(), count, errors), ("done", 60_000, vec![]));
    assert_eq!(server.result(result), packed(&text));
    assert_eq!(
        server.upload(2, "what is sent again is not looked at"),
        good
    );

    // Some lines are wrong, which the result says; too many, and it has failed.
    let some = format!("a,1\nb\nc,x\n{},5\nd,4", "e".repeat(100_000));
    server.upload(3, &some);
    let (result, outcome, count, errors) = events.result_of(3);
    assert_eq!((outcome.as_str(), count), ("done", 5));
    let wrong = [
        "line 2: no comma",
        "line 3: \"x\": invalid digit found in string",
        "line 4: longer than 4096 bytes",
    ];
    assert_eq!(errors, wrong);
    assert_eq!(server.result(result), "a\t1\nd\t4\n");
    server.upload(4, &"wrong\n".repeat(1000));
    let (_, outcome, count, errors) = events.result_of(4);
    assert_eq!((outcome.as_str(), count, errors.len()), ("failed", 11, 11));
    server.upload(5, "");
    let (result, outcome, count, _) = events.result_of(5);
    assert_eq!((outcome.as_str(), count), ("done", 0));
    assert_eq!(server.result(result), "");

    drop(server);
    assert_eq!(
        jobs(dir.path(), "upload").len(),
        4,
        "none of the one that broke off"
    );
    assert_eq!(jobs(dir.path(), "result").len(), 4);
}

#[test]
fn is_there_one_result_after_kills_in_the_middle_of_uploading_and_of_packing() {
    let dir = tempfile::tempdir().unwrap();
    let text = lines(200_000);
    let server = Server::start(dir.path());
    let mut upload = server.begin(1, text.len() as u64);
    upload.write_all(&text.as_bytes()[..1_000_000]).unwrap();
    let progress =
        |event: Event, what: &str| event.kind == "progress" && event.data[0].contains(what);
    assert!(server.events(None).any(|event| progress(event, "received")));
    drop(server);

    let server = Server::start(dir.path());
    let mut events = server.events(None);
    let job = server.upload(1, &text);
    assert!(events.any(|event| progress(event, "packed")));
    drop(server);
    assert_eq!(jobs(dir.path(), "result").len(), 0, "it was killed before");

    let server = Server::start(dir.path());
    assert_eq!(server.upload(1, &text), job, "its client did not know");
    let (result, outcome, count, _) = server.events(Some(job)).result_of(1);
    assert_eq!((outcome.as_str(), count), ("done", 200_000));
    assert_eq!(server.result(result), packed(&text));
    drop(server);
    assert_eq!(jobs(dir.path(), "upload").len(), 1);
    assert_eq!(jobs(dir.path(), "result").len(), 1);
    let report = Options::new()
        .verify(dir.path().join("values.log"))
        .unwrap();
    assert_eq!(report.health(), cairnlog::Health::Clean);
}

/// `CAIRN_UPLOAD_BYTES=1073741824 cargo test --release --features async --test upload flat -- --nocapture`, after
/// `cargo build --release --features async --example upload`.
#[test]
fn is_memory_flat_while_much_is_uploaded_and_worked_on() {
    let bytes = env::var("CAIRN_UPLOAD_BYTES").map_or(40 << 20, |text| text.parse().unwrap());
    let dir = env::var_os("CAIRN_UPLOAD_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let server = Server::start(dir.path());
    let mut events = server.events(None);
    let some = lines(10_000);
    let count = bytes / some.len() as u64;
    let mut upload = server.begin(1, count * some.len() as u64);
    for _ in 0..count {
        upload.write_all(some.as_bytes()).unwrap();
    }
    answer(upload);
    let received = server.peak_bytes();
    let (_, outcome, lines, _) = events.result_of(1);
    assert_eq!((outcome.as_str(), lines), ("done", count * 10_000));
    let peak = server.peak_bytes();
    println!("{bytes} bytes: a peak of {received} bytes while receiving, {peak} in all");
    assert!(
        peak < 32 << 20,
        "{peak} bytes of memory for an upload of {bytes}"
    );
}
