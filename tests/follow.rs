//! Does a reader in another process see what is durable, all of it, in order and at once, whatever
//! happens to the writer and to the reader itself?
//!
//! Both are children, this binary again. A record's bytes follow from its seq, so whoever reads one
//! knows what it must be. The writer tells through a pipe what it is about to drop, and the reader
//! what it shows; both are killed at random moments, again and again.

#[path = "common/children.rs"]
mod children;

use cairnlog::{AppendOptions, CompactOptions, ErrorKind, Log, NewRecord, Reader, Seq};
use children::{ARGUMENT, DIR, Dice, child, end, key, lines, parse, payload, say, spawn};
use std::{
    collections::BTreeSet,
    ops::Range,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const KILLS: u64 = 200;
/// So many times is it done all over until a trim has passed a reader.
const TURNS_MAX: u64 = 5;
/// Whoever waits longer is stuck.
const DEADLINE: Duration = Duration::from_secs(20);

// The children: not tests of their own, they run until they are killed. ------------------------------

#[test]
fn writing_child() {
    let Some((dir, round)) = child() else { return };
    let mut dice = Dice(round);
    let options = Log::options().segment_bytes(4096 << (round % 3));
    let log = options.open(dir).unwrap();
    say(&format!("opened {}", log.next_seq()));
    loop {
        append(&log, 1 + dice.below(4));
        let next = log.next_seq();
        // Everything else that a writer does.
        match dice.below(60) {
            0 => log.rotate().unwrap(),
            1 => {
                let head = next.saturating_sub(dice.below(300)).max(log.head_seq());
                say(&format!("trims {head}"));
                log.trim(head).unwrap();
            }
            2 => {
                let end = next.saturating_sub(1 + dice.below(3)).max(log.head_seq());
                say(&format!("rewinds {end} {next}"));
                log.rewind(end).unwrap();
            }
            3 => {
                log.rotate().unwrap();
                let report = log.compact(&CompactOptions::new().rate_bytes_per_s(None));
                say(&format!("compacted {}", report.unwrap().dropped_count));
            }
            _ => {}
        }
    }
}

fn append(log: &Log, count: u64) {
    let next = log.next_seq();
    let payloads: Vec<_> = (next..next + count).map(payload).collect();
    let keys: Vec<_> = (next..next + count).map(key).collect();
    let mut records = Vec::new();
    for (payload, key) in payloads.iter().zip(&keys) {
        records.push(match key {
            Some(key) => NewRecord::keyed(key, payload),
            None => NewRecord::value(payload),
        });
    }
    let how = AppendOptions::new().expected_seq(next);
    log.append_records(&records, &how).unwrap();
    say(&format!("durable {}", next + count));
}

#[test]
fn reading_child() {
    let Some((dir, due)) = child() else { return };
    let (mut from, mut shown) = (due, 0u64);
    let reader = loop {
        match Reader::open(&dir) {
            Ok(reader) => break reader,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    };
    loop {
        let mut tail = reader.tail(from);
        loop {
            match tail.next().expect("it never ends") {
                Ok(record) => {
                    assert_eq!(
                        record.to_vec(),
                        payload(record.seq()),
                        "seq {}",
                        record.seq()
                    );
                    assert_eq!(record.key(), key(record.seq()).as_ref().map(|key| &key[..]));
                    say(&format!("shows {}", record.seq()));
                    shown += 1;
                    if shown.is_multiple_of(64) {
                        look_around(&reader, record.seq());
                    }
                }
                Err(error) => {
                    from = error.resume_seq().unwrap_or_else(|| panic!("{error}"));
                    say(&format!("resumes {from}"));
                    break;
                }
            }
        }
    }
}

/// The other ways to read show the same.
fn look_around(reader: &Reader, seq: Seq) {
    match reader.get(seq) {
        Ok(Some(record)) => assert_eq!(record.to_vec(), payload(seq)),
        Ok(None) => {} // Rewound, or compacted away.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}"),
    }
    let (mut above, end) = (Seq::MAX, reader.end_seq());
    for record in reader.scan(..end).unwrap().rev() {
        match record {
            Ok(record) => {
                assert!(record.seq() < above);
                above = record.seq();
                assert_eq!(record.to_vec(), payload(above));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}"),
        }
    }
    let written = reader.clone().including_written();
    assert!(written.end_seq() >= seq);
}

// The test that watches them. ------------------------------------------------------------------------

/// What the children told.
#[derive(Default)]
struct Told {
    durable: AtomicU64,
    shown: AtomicU64,
    shown_count: AtomicU64,
    opened_count: AtomicU64,
    compacted_count: AtomicU64,
    dropped: Mutex<Vec<Range<Seq>>>,
    heads: Mutex<BTreeSet<Seq>>,
}

impl Told {
    fn writer_says(&self, line: &str, shown_before: Seq) {
        let (word, numbers) = parse(line);
        match (word, &numbers[..]) {
            ("opened", [next]) => {
                assert!(
                    *next >= shown_before,
                    "shown was {shown_before}, recovered {next}"
                );
                let durable = self.durable.load(Ordering::SeqCst);
                assert!(
                    *next >= durable,
                    "acknowledged was {durable}, recovered {next}"
                );
                self.opened_count.fetch_add(1, Ordering::SeqCst);
            }
            ("durable", [next]) => drop(self.durable.fetch_max(*next, Ordering::SeqCst)),
            ("compacted", [count]) => {
                self.compacted_count.fetch_add(*count, Ordering::SeqCst);
            }
            ("trims", [head]) => drop(self.heads.lock().unwrap().insert(*head)),
            ("rewinds", [from, to]) => self.dropped.lock().unwrap().push(*from..*to),
            _ => {}
        }
    }

    /// Takes in what a reader shows, given the seq that it has to show next; gives the one after.
    fn reader_says(&self, line: &str, due: Seq) -> (Seq, Option<Gap>) {
        let (word, numbers) = parse(line);
        match (word, &numbers[..]) {
            ("shows", [seq]) => {
                assert!(*seq >= due, "seq {seq} was shown after {due}");
                self.shown.fetch_max(seq + 1, Ordering::SeqCst);
                self.shown_count.fetch_add(1, Ordering::SeqCst);
                (seq + 1, (*seq > due).then_some(Gap::Dropped(due..*seq)))
            }
            ("resumes", [seq]) => {
                assert!(*seq > due);
                (*seq, Some(Gap::Trimmed(*seq)))
            }
            _ => (due, None),
        }
    }

    /// Whether a gap that a reader met is explained by what the writer said before it made it.
    fn explains(&self, gap: &Gap) -> bool {
        match gap {
            Gap::Trimmed(head) => self.heads.lock().unwrap().contains(head),
            Gap::Dropped(seqs) => {
                let dropped = self.dropped.lock().unwrap();
                let rewound = |seq| dropped.iter().any(|range| range.contains(&seq));
                // Compaction takes what has a newer record of its key, and there soon is one.
                seqs.clone().all(|seq| key(seq).is_some() || rewound(seq))
            }
        }
    }
}

#[derive(Debug)]
enum Gap {
    Trimmed(Seq),
    /// By a rewind or a compaction.
    Dropped(Range<Seq>),
}

/// How long a process lives: longer where the turns before were too short for all that is to be seen,
/// because the machine is busy.
fn life(dice: &mut Dice, turn: u64) -> Duration {
    Duration::from_millis(5 + dice.below(90)) * u32::try_from(turn + 1).unwrap()
}

/// Lets writers live and die; what they say is taken in while they live.
fn writers(dir: &Path, told: &Told, turn: u64) {
    let mut dice = Dice(2 * turn + 1);
    for round in turn * KILLS..(turn + 1) * KILLS {
        // Whatever was shown by now was durable, and the next writer finds it.
        let shown_before = told.shown.load(Ordering::SeqCst);
        let mut child = spawn("writing_child", dir, round);
        let said = lines(&mut child);
        thread::scope(|scope| {
            let listener = scope.spawn(move || {
                said.for_each(|line| told.writer_says(&line, shown_before));
            });
            thread::sleep(life(&mut dice, turn));
            end(child);
            listener.join().unwrap();
        });
    }
}

/// Lets readers live and die; each goes on where the one before was cut off. Gives where the last was.
fn readers(dir: &Path, told: &Told, turn: u64, mut due: Seq) -> (Seq, Vec<Gap>) {
    let (mut dice, mut gaps) = (Dice(2 * turn + 2), Vec::new());
    for _ in 0..KILLS {
        let mut child = spawn("reading_child", dir, due);
        let said = lines(&mut child);
        thread::scope(|scope| {
            let listener = scope.spawn(move || {
                let mut gaps = Vec::new();
                for line in said {
                    let (next, gap) = told.reader_says(&line, due);
                    due = next;
                    gaps.extend(gap);
                }
                (due, gaps)
            });
            thread::sleep(life(&mut dice, turn));
            end(child);
            let (next, found) = listener.join().unwrap();
            due = next;
            gaps.extend(found);
        });
    }
    (due, gaps)
}

/// The last reader comes to the end of the log, in time, and sees what this process does: of every key
/// the newest record, and all that have none.
fn catches_up(dir: &Path, told: &Told) {
    let log = Log::open(dir).unwrap();
    assert!(log.next_seq() >= told.shown.load(Ordering::SeqCst));
    append(&log, 1);
    let (last, started) = (log.next_seq() - 1, Instant::now());
    let mut tail = Reader::open(dir).unwrap().tail(log.head_seq());
    let mut seen = BTreeSet::new();
    while tail.next_seq() <= last {
        let record = tail.next_timeout(DEADLINE).unwrap();
        let stuck = || panic!("stuck at {}, the last is {last}", tail.next_seq());
        seen.insert(record.unwrap_or_else(stuck).seq());
        assert!(started.elapsed() < DEADLINE);
    }
    let here: BTreeSet<Seq> = log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect();
    assert_eq!(seen, here);
    let dropped = told.dropped.lock().unwrap();
    let rewound = |seq: &Seq| dropped.iter().any(|range| range.contains(seq));
    let keyless = (log.head_seq()..last).filter(|seq| key(*seq).is_none() && !rewound(seq));
    for seq in keyless {
        assert!(here.contains(&seq), "seq {seq} is gone");
    }
}

#[test]
fn is_what_a_reader_shows_right_whoever_is_killed() {
    let (dir, told) = (
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        Told::default(),
    );
    let (path, started) = (dir.path().join("log"), Instant::now());
    let (mut due, mut gaps) = (0, Vec::new());
    let is_trim = |gap: &Gap| matches!(gap, Gap::Trimmed(_));
    for turn in 0..TURNS_MAX {
        let (next, found) = thread::scope(|scope| {
            let writing = scope.spawn(|| writers(&path, &told, turn));
            let found = readers(&path, &told, turn, due);
            writing.join().unwrap();
            found
        });
        due = next;
        gaps.extend(found);
        // Whether a reader falls behind a trim, and a writer lives to compact, is up to the machine: where
        // it is busy, not at once. What a reader is told behind a trim is tried below, one thing at a
        // time, so for that one more turn is enough.
        let compacted = told.compacted_count.load(Ordering::SeqCst);
        if compacted > KILLS / 10 && (turn > 0 || gaps.iter().any(is_trim)) {
            break;
        }
    }
    // Judged at the end: a reader's line may be read before the writer's that explains it.
    for gap in &gaps {
        assert!(told.explains(gap), "{gap:?} was not shown");
    }
    catches_up(&path, &told);
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let (shown, durable) = (count(&told.shown_count), count(&told.durable));
    println!(
        "{durable} seqs by {} writers, {shown} shown, {} gaps, {} of them trims, {:?}",
        count(&told.opened_count),
        gaps.len(),
        gaps.iter().filter(|gap| is_trim(gap)).count(),
        started.elapsed()
    );
    assert!(
        shown > 2 * KILLS && durable > 4 * KILLS,
        "nothing was tested"
    );
    let compacted = count(&told.compacted_count);
    assert!(compacted > KILLS / 10, "{compacted} were compacted");
}

// What changes under a reader, one thing at a time. The reader is of this process, and shares nothing
// with the writer but the files. ----------------------------------------------------------------------

/// A log of segments of a few records, closed to the reader's eyes: none of them is open there.
fn subject(count: u64) -> (tempfile::TempDir, Log, Reader) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Log::options()
        .segment_bytes(2048)
        .open(dir.path().join("log"))
        .unwrap();
    (0..count).for_each(|_| append(&log, 1));
    log.maintain().unwrap();
    let reader = Reader::open(dir.path().join("log")).unwrap();
    assert_eq!((reader.head_seq(), reader.end_seq()), (0, count));
    (dir, log, reader)
}

fn seqs(records: impl Iterator<Item = cairnlog::Result<cairnlog::Record>>) -> Vec<Seq> {
    let seq = |record: cairnlog::Result<cairnlog::Record>| {
        let record = record.unwrap();
        assert_eq!(record.to_vec(), payload(record.seq()));
        record.seq()
    };
    records.map(seq).collect()
}

/// A newer manifest may change what is to be shown without taking a file away that the reader would miss: a
/// reader that did not look for it went on showing what had been trimmed.
#[test]
fn is_a_trim_seen_that_takes_no_segment_away() {
    let (_dir, log, reader) = subject(5);
    assert_eq!(reader.get(2).unwrap().unwrap().to_vec(), payload(2));
    log.trim(3).unwrap();
    assert_eq!(reader.head_seq(), 3);
    assert_eq!(reader.get(2).unwrap_err().resume_seq(), Some(3));
    assert_eq!(seqs(reader.scan(..).unwrap()), [3, 4]);
}

/// And what had been rewound, since it had the old tail open.
#[test]
fn is_a_rewind_seen_of_a_tail_that_is_open() {
    let (_dir, log, reader) = subject(9);
    assert_eq!(reader.get(8).unwrap().unwrap().to_vec(), payload(8));
    log.rewind(5).unwrap();
    assert_eq!(reader.get(8).unwrap(), None);
    append(&log, 1);
    assert_eq!(seqs(reader.scan(..).unwrap()), [0, 1, 2, 3, 4, 9]);
}

#[test]
fn does_a_walk_whose_segments_are_trimmed_away_say_where_to_go_on() {
    let (_dir, log, reader) = subject(200);
    let (mut forward, mut backward) = (reader.scan(..).unwrap(), reader.scan(..).unwrap().rev());
    assert_eq!(forward.next().unwrap().unwrap().seq(), 0);
    assert_eq!(backward.next().unwrap().unwrap().seq(), 199);
    log.trim(150).unwrap();
    // What is open is shown to its end; then comes the error, and nothing after it.
    let error = forward.by_ref().find_map(Result::err).unwrap();
    assert_eq!(
        (error.kind(), error.resume_seq()),
        (ErrorKind::Trimmed, Some(150))
    );
    assert!(forward.next().is_none());
    let rest: Vec<_> = backward.collect();
    // Records that were hidden with the trim are shown as long as their segment is there.
    let (last, shown) = rest.split_last().unwrap();
    let lowest = shown.iter().map(|it| it.as_ref().unwrap().seq()).min();
    assert!(
        lowest.unwrap() <= 150 && lowest.unwrap() > 100,
        "{lowest:?}"
    );
    assert_eq!(shown.len() as u64, 199 - lowest.unwrap());
    assert_eq!(last.as_ref().unwrap_err().resume_seq(), Some(150));
    assert_eq!(reader.get(149).unwrap_err().resume_seq(), Some(150));
    assert_eq!(
        seqs(reader.scan(..).unwrap()),
        (150..200).collect::<Vec<_>>()
    );
    assert_eq!(
        reader.tail(3).next().unwrap().unwrap_err().resume_seq(),
        Some(150)
    );
}

/// A range with an end is shown as it was; one without also shows what the newer set has above it, and it has that
/// once a manifest says so, which the worker may write at any time. A test that expected it never to come failed
/// on a busy machine, and on a quiet one with the commit below.
#[test]
fn does_a_walk_whose_segments_are_rewound_go_on_with_what_is_left() {
    let (_dir, log, reader) = subject(200);
    let [mut forward, backward] = [0; 2].map(|_| reader.scan(..200).unwrap());
    let [mut open_forward, open_backward] = [0; 2].map(|_| reader.scan(..).unwrap());
    let [mut backward, mut open_backward] = [backward, open_backward].map(Iterator::rev);
    for walk in [&mut forward, &mut open_forward] {
        assert_eq!(walk.next().unwrap().unwrap().seq(), 0);
    }
    for walk in [&mut backward, &mut open_backward] {
        assert_eq!(walk.next().unwrap().unwrap().seq(), 199);
    }
    log.rewind(100).unwrap();
    append(&log, 1);
    log.rotate().unwrap();
    log.maintain().unwrap();
    assert_eq!(seqs(forward), (1..100).collect::<Vec<_>>());
    assert_eq!(
        seqs(open_forward),
        (1..100).chain([200]).collect::<Vec<_>>()
    );
    // The end that was open when the walk began is shown, and then what is left.
    let shown = seqs(backward);
    assert!(shown.is_sorted_by(|a, b| a > b));
    assert_eq!(shown.iter().filter(|seq| **seq < 100).count(), 100);
    // What is newer comes where the newer set is taken: behind that end.
    let shown = seqs(open_backward);
    let newer = shown.iter().position(|seq| *seq == 200).unwrap();
    assert!(shown[..newer].iter().all(|seq| *seq >= 100));
    assert_eq!(shown[newer + 1..], (0..100).rev().collect::<Vec<_>>());
    assert!(shown[..newer].is_sorted_by(|a, b| a > b));
    assert_eq!(
        seqs(reader.scan(..).unwrap()),
        (0..100).chain(200..201).collect::<Vec<_>>()
    );
    assert_eq!(reader.get(100).unwrap(), None);
    assert_eq!(reader.get(200).unwrap().unwrap().to_vec(), payload(200));
}

#[test]
fn is_a_segment_that_is_missing_damage_if_nobody_took_it_away() {
    let (dir, log, reader) = subject(200);
    std::fs::remove_file(dir.path().join("log/00000000000000000002.seg")).unwrap();
    let error = reader.scan(..).unwrap().find_map(Result::err).unwrap();
    assert_eq!(
        (error.kind(), error.place().segment.unwrap().0),
        (ErrorKind::Damaged, 2)
    );
    // Also while the log goes on.
    append(&log, 1);
    assert_eq!(
        reader
            .scan(..)
            .unwrap()
            .find_map(Result::err)
            .unwrap()
            .kind(),
        ErrorKind::Damaged
    );
}

#[test]
fn what_is_seen_without_a_watermark_file_or_with_rubbish_in_it() {
    let (dir, log, reader) = subject(50);
    let path = dir.path().join("log");
    let file = path.join("WATERMARK");
    let of_another = {
        let other = Log::open(dir.path().join("other")).unwrap();
        append(&other, 300);
        std::fs::read(dir.path().join("other/WATERMARK")).unwrap()
    };
    // In place, as the writer does it; and what comes next makes it right again.
    for rubbish in [&b"rubbish"[..], &[0; 56], &[0xff; 500], &of_another] {
        std::fs::write(&file, rubbish).unwrap();
        assert_eq!(reader.end_seq(), log.next_seq());
        append(&log, 1);
        assert_eq!(reader.end_seq(), log.next_seq());
        assert_eq!(Reader::open(&path).unwrap().end_seq(), log.next_seq());
    }
    // Gone for good: a record is seen once a later batch attests it, or the mark of an idle log.
    let mut tail = reader.tail(log.next_seq());
    std::fs::remove_file(&file).unwrap();
    append(&log, 1);
    assert!(tail.next_timeout(DEADLINE).unwrap().is_some());
    log.close().unwrap();
    drop(log);
    // A writer that does not tell takes away what another has told. Until a child that another test has just
    // forked becomes another program it has the lock too.
    let again = || Log::options().lock_timeout(DEADLINE);
    let log = again().open(&path).unwrap();
    assert!(file.exists());
    drop(log);
    let log = again().publish(false).open(&path).unwrap();
    assert!(!file.exists());
    append(&log, 1);
    assert!(tail.next_timeout(DEADLINE).unwrap().is_some());
    assert_eq!(tail.next_seq(), log.next_seq());
    assert_eq!(Log::options().verify(&path).unwrap().findings, []);
}

#[test]
fn is_what_is_only_written_shown_to_whoever_asks_for_it_and_to_nobody_else() {
    let (_dir, log, reader) = subject(20);
    let whole = reader.clone().including_written();
    let (mut all, mut durable) = (whole.tail(20), reader.tail(20));
    let how = AppendOptions::new().durability(cairnlog::Durability::Written);
    for seq in 20..80 {
        log.append_records(&[NewRecord::value(&payload(seq))], &how)
            .unwrap();
        assert_eq!(all.next_timeout(DEADLINE).unwrap().unwrap().seq(), seq);
        assert_eq!(
            seqs(whole.scan(seq - 2..).unwrap()),
            [seq - 2, seq - 1, seq]
        );
    }
    assert!(reader.end_seq() < 80);
    log.sync().unwrap();
    for seq in 20..80 {
        assert_eq!(durable.next_timeout(DEADLINE).unwrap().unwrap().seq(), seq);
    }
}

#[test]
fn is_the_end_of_the_directory_an_error_for_who_waits_in_it() {
    for with_another_log in [false, true] {
        let (dir, log, reader) = subject(20);
        let waiting = thread::spawn(move || reader.tail(20).next_timeout(DEADLINE));
        thread::sleep(Duration::from_millis(50));
        drop(log);
        let (path, old) = (dir.path().join("log"), dir.path().join("old"));
        if with_another_log {
            // Before anything is told to the one that waits, its path is another log's.
            drop(Log::open(&old).unwrap());
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::rename(&old, &path).unwrap();
        } else {
            std::fs::remove_dir_all(&path).unwrap();
        }
        let error = waiting.join().unwrap().unwrap_err();
        let kinds = [ErrorKind::NotFound, ErrorKind::Damaged];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

#[test]
fn does_a_reader_that_stands_still_hold_the_writer_up() {
    let (dir, log, _reader) = subject(20);
    let mut child = spawn("reading_child", &dir.path().join("log"), 0);
    let mut said = lines(&mut child).map(|line| parse(&line).1.first().copied().unwrap_or(0));
    assert!(said.any(|seq| seq == 19));
    let signal = |name: &str| {
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP");
    let started = Instant::now();
    (0..2000).for_each(|_| append(&log, 1));
    log.trim(1500).unwrap();
    log.rewind(2010).unwrap();
    append(&log, 1);
    assert!(started.elapsed() < DEADLINE);
    signal("-CONT");
    let last = log.next_seq() - 1;
    assert!(said.any(|seq| seq == last), "it goes on where it was");
    end(child);
}

// Waiting. -------------------------------------------------------------------------------------------

#[test]
fn idle_child() {
    let Some((dir, count)) = child() else { return };
    let mut tail = Reader::open(dir).unwrap().tail(0);
    for seq in 0..count {
        let record = tail.next_timeout(DEADLINE).unwrap().unwrap();
        assert_eq!(record.to_vec(), payload(seq));
    }
    assert!(std::fs::metadata("/mark-begin").is_err());
    assert!(
        tail.next_timeout(Duration::from_millis(1500))
            .unwrap()
            .is_none()
    );
    assert!(std::fs::metadata("/mark-end").is_err());
}

#[test]
fn does_a_reader_that_waits_do_nothing_meanwhile() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("strace is not installed: nothing is counted");
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, trace) = (dir.path().join("log"), dir.path().join("trace"));
    let log = Log::open(&path).unwrap();
    append(&log, 10);
    // By then the log is marked idle, and the next segment prepared.
    thread::sleep(Duration::from_millis(300));
    let child = Command::new("strace")
        .args(["-f", "-q", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "idle_child", "--nocapture"])
        .env(DIR, &path)
        .env(ARGUMENT, "10")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let trace = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let mark = |name: &str| lines.iter().position(|line| line.contains(name)).unwrap();
    let (begin, end) = (mark("/mark-begin"), mark("/mark-end"));
    let thread = lines[begin].split(' ').next().unwrap();
    let of_thread = |line: &&&str| line.starts_with(thread);
    let calls: Vec<&&str> = lines[begin + 1..end].iter().filter(of_thread).collect();
    let polls = calls.iter().filter(|line| line.contains(" poll(")).count();
    assert_eq!(polls, 1, "it waits once: {calls:#?}");
    assert!(calls.len() < 40, "{} calls: {calls:#?}", calls.len());
    assert!(!calls.iter().any(|line| line.contains("nanosleep")));
}

fn unix_micros() -> u128 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros()
}

#[test]
fn telling_child() {
    let Some((dir, _)) = child() else { return };
    let log = Log::open(dir).unwrap();
    loop {
        append(&log, 1);
        say(&format!("at {} {}", log.next_seq() - 1, unix_micros()));
        thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn is_what_is_durable_seen_at_once() {
    const COUNT: u64 = 300;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    drop(Log::open(&path).unwrap());
    let mut tail = Reader::open(&path).unwrap().tail(0);
    let mut child = spawn("telling_child", &path, 0);
    let said = lines(&mut child);
    let durable = thread::spawn(move || {
        let numbers = said
            .map(|line| parse(&line).1)
            .filter(|numbers| numbers.len() == 2);
        numbers
            .take(COUNT as usize)
            .map(|numbers| numbers[1])
            .collect::<Vec<u64>>()
    });
    let mut seen = Vec::new();
    for _ in 0..COUNT {
        tail.next_timeout(DEADLINE).unwrap().unwrap();
        seen.push(unix_micros());
    }
    let durable = durable.join().unwrap();
    end(child);
    let pairs = seen.iter().zip(&durable);
    // Often it is seen before the append has returned.
    let mut late: Vec<i128> = pairs
        .map(|(seen, at)| *seen as i128 - i128::from(*at))
        .collect();
    late.sort_unstable();
    let (median, worst) = (late[late.len() / 2], late[late.len() - 1]);
    println!(
        "seen after {median} us (median), {worst} us (worst), counted from the append's return"
    );
    assert!(median < 50_000, "{median} us");
}
