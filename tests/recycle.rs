//! Files that come back: does a log use them again, and never one that anybody still has?

use bytes::Bytes;
use cairnlog::{
    Log, Maintained, Options, Reader, Seq, Verdict,
    format::{BatchHeader, Manifest, RECYCLED, SegmentContext, SegmentHeader},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SEGMENT_BYTES: u64 = 64 * 1024;

/// A child that another test has just forked has the lock too until it is another program: it is waited for.
fn options() -> Options {
    Log::options()
        .segment_bytes(SEGMENT_BYTES)
        .background(false)
        .lock_timeout(Duration::from_secs(20))
}

/// A value of 5,000 bytes that says which record it is.
fn value(seq: Seq) -> Vec<u8> {
    format!("{seq:05}").repeat(1_000).into_bytes()
}

fn append(log: &Log, count: u64) {
    for _ in 0..count {
        let seq = log.next_seq();
        assert_eq!(log.append(value(seq)).unwrap(), seq);
        while log.maintain().unwrap() != Maintained::Nothing {}
    }
}

/// The segment files and their inodes.
fn segments(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|it| it == "seg"));
    segments
        .map(|path| {
            let inode = fs::metadata(&path).unwrap().ino();
            (path, inode)
        })
        .collect()
}

/// The segments whose headers say that their file was another before.
fn recycled(dir: &Path) -> usize {
    let header = |path: &PathBuf| SegmentHeader::decode(&fs::read(path).unwrap());
    let all = segments(dir).into_keys();
    all.filter(|path| header(path).is_ok_and(|header| header.recycled))
        .count()
}

/// Whether the manifest keeps programs from writing that do not know of such files.
fn tells_of_recycled(dir: &Path) -> bool {
    let manifest = Manifest::decode(&fs::read(dir.join("MANIFEST")).unwrap());
    manifest.unwrap().write_features & RECYCLED != 0
}

/// Whether this file system tells who else has a file, so that any come back.
fn can_tell(dir: &Path) -> bool {
    let log = options().open(dir.join("probe")).unwrap();
    append(&log, 40);
    log.trim(30).unwrap();
    append(&log, 40);
    recycled(&dir.join("probe")) > 0
}

fn check(log: &Log, from: Seq, to: Seq) {
    for seq in from..to {
        assert_eq!(*log.get(seq).unwrap().unwrap(), *value(seq));
    }
}

#[test]
fn does_the_file_of_a_trimmed_segment_come_back_and_the_log_stay_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = options().open(&path).unwrap();
    append(&log, 40);
    let before: Vec<u64> = segments(&path).into_values().collect();
    assert!(!tells_of_recycled(&path), "an older program may write it");
    log.trim(30).unwrap();
    append(&log, 40);
    if !can_tell(dir.path()) {
        return;
    }
    assert!(
        tells_of_recycled(&path),
        "it would take old bytes for its own"
    );
    let again = segments(&path)
        .into_values()
        .filter(|it| before.contains(it));
    assert!(again.count() > 2, "of {} files", before.len());
    assert!(recycled(&path) >= 2);
    check(&log, 30, 80);
    assert!(options().verify(&path).unwrap().findings.is_empty());
    // As a kill leaves it: old bytes are behind the end, and they are not called torn.
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let plan = options().plan(&copy).unwrap();
    assert_eq!(plan.verdict, Verdict::Unclean, "{plan:?}");
    let after = options().open(&copy).unwrap();
    assert_eq!(after.recovery().verdict, Verdict::Unclean);
    assert_eq!(after.recovery().cut_bytes(), 0);
    check(&after, 30, 80);
    append(&after, 40);
    check(&after, 30, 120);
    // And an end in order.
    drop(log);
    assert!(
        !segments(&path)
            .keys()
            .any(|it| it.extension().is_some_and(|it| it == "new"))
    );
    let log = options().open(&path).unwrap();
    check(&log, 30, 80);
    append(&log, 40);
    check(&log, 30, 120);
    assert!(options().verify(&path).unwrap().findings.is_empty());
}

/// Who may still have a file that the log has done with.
enum Holder {
    Record(cairnlog::Record),
    Bytes(Bytes),
    Reader(Reader),
    File(File),
    Link(PathBuf),
}

#[test]
fn is_a_file_left_alone_that_somebody_has() {
    type Hold = fn(&Log, &Path) -> Holder;
    let holders: [(&str, Hold); 6] = [
        ("a record", |log, _| {
            Holder::Record(log.get(3).unwrap().unwrap())
        }),
        ("its bytes", |log, _| {
            Holder::Bytes(log.get(3).unwrap().unwrap().into_bytes())
        }),
        ("a record of another process's reader", |_, dir| {
            Holder::Record(Reader::open(dir).unwrap().get(3).unwrap().unwrap())
        }),
        ("another process's reader", |_, dir| {
            let reader = Reader::open(dir).unwrap();
            assert_eq!(*reader.get(3).unwrap().unwrap(), *value(3));
            Holder::Reader(reader)
        }),
        ("a program that knows nothing of logs", |_, dir| {
            Holder::File(File::open(segments(dir).into_keys().next().unwrap()).unwrap())
        }),
        ("a hard link", |_, dir| {
            let link = dir.join("../link");
            fs::hard_link(segments(dir).into_keys().next().unwrap(), &link).unwrap();
            Holder::Link(link)
        }),
    ];
    for (who, holder) in holders {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = options().open(&path).unwrap();
        append(&log, 20);
        let (first, inode) = segments(&path).into_iter().next().unwrap();
        let bytes = fs::read(first).unwrap();
        let held = holder(&log, &path);
        log.trim(15).unwrap();
        append(&log, 60);
        let again = segments(&path).into_values().any(|it| it == inode);
        assert!(!again, "{who}: its file was used again");
        match held {
            Holder::Record(record) => assert_eq!(*record, *value(3), "{who}"),
            Holder::Bytes(held) => assert_eq!(*held, *value(3), "{who}"),
            Holder::Reader(reader) => drop(reader),
            Holder::File(file) => {
                let mut found = vec![0; bytes.len()];
                file.read_exact_at(&mut found, 0).unwrap();
                assert_eq!(found, bytes, "{who}");
            }
            Holder::Link(link) => assert_eq!(fs::read(link).unwrap(), bytes, "{who}"),
        }
    }
}

/// Behind the end lie megabytes of anything, and in them a checksum holds now and then.
#[test]
fn is_a_log_refused_for_what_chance_left_behind_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = options().open(&path).unwrap();
    append(&log, 40);
    log.trim(30).unwrap();
    append(&log, 30);
    if !can_tell(dir.path()) {
        return;
    }
    log.close().unwrap();
    let (tail, context) = log_end(&path);
    let offset = fs::metadata(&tail).unwrap().len() - 3_000;
    let header = BatchHeader {
        body_bytes: 400,
        first_seq: context.base_seq + (1 << 31),
        durable_seq: context.base_seq + (1 << 30),
        timestamp_ms: context.base_timestamp_ms,
        count: 3,
        sparse: false,
        packed: false,
    };
    let file = File::options().write(true).open(&tail).unwrap();
    file.write_all_at(&header.encode(&context, offset), offset)
        .unwrap();
    let log = options().open(&path).unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean);
    check(&log, 30, 70);
}

/// The segment with the highest id that was begun, and what its frames are decoded against.
fn log_end(dir: &Path) -> (PathBuf, SegmentContext) {
    let header = |path: &PathBuf| SegmentHeader::decode(&fs::read(path).unwrap()).ok();
    let begun = segments(dir).into_keys().rev();
    let mut begun = begun.filter_map(|path| header(&path).map(|header| (path, header)));
    let (path, header) = begun.next().unwrap();
    assert!(header.recycled, "the tail is in a file that came back");
    (path, header.context())
}

#[test]
fn is_nothing_kept_that_nobody_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = options().recycle(false).open(&path).unwrap();
    append(&log, 40);
    log.trim(30).unwrap();
    append(&log, 40);
    assert_eq!(recycled(&path), 0);
    drop(log);
    // What was kept when the log is closed, or was when its process died, is gone.
    let log = options().open(&path).unwrap();
    append(&log, 20);
    log.trim(log.next_seq()).unwrap();
    let kept = || {
        let names = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".new"))
            .count()
    };
    assert_eq!(kept(), 2, "so many at most");
    log.close().unwrap();
    assert_eq!(kept(), 0);
    fs::write(path.join("00000000000000000003.new"), "left by a kill").unwrap();
    options().open(&path).unwrap();
    assert_eq!(kept(), 0);
}

/// Where a child of this test finds the log.
const CHILD: &str = "CAIRN_RECYCLE_CHILD";

/// This test as a process of its own: `what` is one of the two below.
fn child(what: &str, dir: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", what, "--ignored", "--nocapture"]);
    command
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Appends and trims until it is killed.
#[test]
#[ignore = "a process that another test starts"]
fn writer() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let log = options().background(true).open(dir).unwrap();
    loop {
        let seq = log.append(value(log.next_seq())).unwrap();
        if seq.is_multiple_of(8) {
            log.trim(seq.saturating_sub(4)).unwrap();
        }
    }
}

/// Keeps what it reads, and looks at all of it again, until it is killed.
#[test]
#[ignore = "a process that another test starts"]
fn holder() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let mut kept = Kept::default();
    loop {
        kept.take_more(Path::new(&dir));
    }
}

/// Records that outlive their segments, each with what it said when it was read.
#[derive(Default)]
struct Kept {
    records: VecDeque<cairnlog::Record>,
    checked: u64,
}

impl Kept {
    fn take_more(&mut self, dir: &Path) {
        if let Ok(reader) = Reader::open(dir) {
            let scan = reader.scan(..).into_iter().flatten();
            // What is trimmed meanwhile is told, and no more than that.
            self.records.extend(scan.map_while(Result::ok));
        }
        while self.records.len() > 100 {
            self.records.pop_front();
        }
        for record in &self.records {
            assert_eq!(
                **record,
                *value(record.seq()),
                "seq {} has changed",
                record.seq()
            );
            self.checked += 1;
        }
    }
}

/// `CAIRN_RECYCLE_KILLS=200 cargo test --release --test recycle whoever_is_killed -- --nocapture` kills that many of
/// each; without it a few.
#[test]
fn does_what_a_reader_keeps_stay_whoever_is_killed() {
    let kills = std::env::var("CAIRN_RECYCLE_KILLS").map_or(3, |text| text.parse().unwrap());
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    let (mut kept, mut begun) = (Kept::default(), 0);
    for turn in 0..2 * kills {
        let mut writer = child("writer", &path);
        let mut holder = child("holder", &path);
        let end = Instant::now() + Duration::from_millis(120 + 37 * (turn % 5));
        // Where the machine is busy, the first writer takes longer to begin a log.
        while Instant::now() < end || Reader::open(&path).is_err() {
            kept.take_more(&path);
        }
        // The one is killed among the other's work, by turns; a child that failed was not to be killed.
        for process in if turn % 2 == 0 {
            [&mut writer, &mut holder]
        } else {
            [&mut holder, &mut writer]
        } {
            assert!(process.try_wait().unwrap().is_none(), "a child has failed");
            process.kill().unwrap();
            process.wait().unwrap();
            kept.take_more(&path);
        }
        begun += recycled(&path);
        let report = options().verify(&path).unwrap();
        let damaged = |finding: &&cairnlog::Finding| finding.kind == cairnlog::FindingKind::Damage;
        assert!(!report.findings.iter().any(|it| damaged(&it)), "{report:?}");
    }
    println!(
        "{kills} kills each, {} looks at what was kept, {begun} tails in files that came back",
        kept.checked
    );
    assert!(kept.checked > 0, "nothing was kept");
}
