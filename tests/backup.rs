//! Is a backup a log that holds everything that was durable when it was asked for, exactly?

#[path = "backup/again.rs"]
mod again;
#[path = "common/gated.rs"]
mod gated;
#[path = "common/unchanged.rs"]
mod unchanged;

use cairnlog::{
    AppendOptions, BackupOptions, Durability, ErrorKind, Log, NewRecord, Options, Producer, Seq,
    vfs::{
        RealFs, Vfs,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
    },
};
use gated::Gated;
use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use unchanged::unchanged;

fn payload(seq: Seq) -> Vec<u8> {
    format!("{seq} ")
        .repeat((seq % 20) as usize + 1)
        .into_bytes()
}

fn append(log: &Log, count: u64) {
    let next = log.next_seq();
    let payloads: Vec<_> = (next..next + count).map(payload).collect();
    let records: Vec<_> = payloads.iter().map(NewRecord::value).collect();
    let by = Producer {
        id: 1,
        epoch: 0,
        number: next,
    };
    let how = AppendOptions::new().expected_seq(next).producer(by);
    log.append_records(&records, &how).unwrap();
}

fn seqs(log: &Log) -> Vec<Seq> {
    let seq = |record: cairnlog::Result<cairnlog::Record>| {
        let record = record.unwrap();
        assert_eq!(record.to_vec(), payload(record.seq()));
        record.seq()
    };
    log.scan(..).unwrap().map(seq).collect()
}

fn small() -> Options {
    Log::options().segment_bytes(8192)
}

#[test]
fn does_a_backup_beside_a_busy_writer_hold_an_exact_prefix() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    append(&log, 1);
    let (stop, trimmed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut linked_count = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                append(&log, 1 + round % 5);
                if round % 50 == 49 {
                    let head = log.next_seq().saturating_sub(400).max(log.head_seq());
                    log.trim(head).unwrap();
                    trimmed.store(head, Ordering::SeqCst);
                }
            }
        });
        // However slow the writer is, until there was enough of everything.
        for round in 0.. {
            if round >= 25 && linked_count > 25 && trimmed.load(Ordering::SeqCst) > 0 {
                break;
            }
            assert!(
                round < 500,
                "{linked_count} segments were linked, and none trimmed"
            );
            thread::sleep(Duration::from_millis(10));
            let path = dir.path().join(format!("backup {round}"));
            let (head_before, durable) = (trimmed.load(Ordering::SeqCst), log.durable_seq());
            let how = BackupOptions::new().copy(round % 5 == 4);
            let report = log.backup_with(&path, &how).unwrap();
            linked_count += report.linked_count;
            assert!(report.next_seq >= durable && report.head_seq >= head_before);
            let verified = small().verify(&path).unwrap();
            assert_eq!(verified.findings, []);
            let copy = small().create(false).open(&path).unwrap();
            assert_eq!((copy.id(), copy.next_seq()), (log.id(), report.next_seq));
            assert_eq!(
                seqs(&copy),
                (report.head_seq..report.next_seq).collect::<Vec<_>>()
            );
            // It is a log of its own: what happens to it does not happen to the other.
            append(&copy, 3);
            copy.trim(copy.next_seq()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        seqs(&log),
        (log.head_seq()..log.next_seq()).collect::<Vec<_>>()
    );
}

#[test]
fn does_a_forced_copy_share_nothing_and_the_default_all_that_is_sealed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    (0..40).for_each(|_| append(&log, 20));
    log.rewind(700).unwrap();
    append(&log, 1);
    let sealed_count = log.stats().segment_count - 1;
    let shared = |name: &str| {
        let entries = fs::read_dir(dir.path().join(name)).unwrap();
        let links = |entry: io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().nlink();
        entries.map(links).filter(|count| *count > 1).count() as u64
    };
    let copied = log
        .backup_with(dir.path().join("copied"), &BackupOptions::new().copy(true))
        .unwrap();
    assert_eq!((shared("copied"), copied.linked_count), (0, 0));
    let linked = log.backup(dir.path().join("linked")).unwrap();
    assert_eq!(
        (shared("linked"), linked.linked_count),
        (sealed_count, sealed_count)
    );
    for name in ["copied", "linked"] {
        let copy = small().open(dir.path().join(name)).unwrap();
        assert_eq!(seqs(&copy), (0..700).chain(800..801).collect::<Vec<_>>());
        assert_eq!(copy.next_seq(), 801);
    }
}

#[test]
fn what_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    append(&log, 3);
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/file"), "x").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for path in ["log", "log/inside", "full/../log/./inside", "full"] {
        let error = log.backup(dir.path().join(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
        assert!(!dir.path().join("log/inside").exists());
    }
    assert_eq!(log.backup(dir.path().join("empty")).unwrap().next_seq, 3);
    assert_eq!(
        log.backup(dir.path().join("none/none")).unwrap_err().kind(),
        ErrorKind::Io
    );
}

/// By a link a backup was made inside the log that it was a backup of: its directory had one more that no
/// tool expects there. Paths lead anywhere; what counts is where they end.
#[test]
fn is_a_backup_refused_inside_the_log_whatever_way_leads_there() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    append(&log, 3);
    log.consumer("mail").unwrap();
    let link = |name: &str, to: &str| {
        std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(name)).unwrap();
    };
    link("link", "log");
    link("cursors", "log/cursors");
    fs::create_dir(dir.path().join("log/empty")).unwrap();
    link("empty", "log/empty");
    for path in [
        "link/inside",
        "cursors/inside",
        "empty",
        "link/empty/inside",
    ] {
        let error = log.backup(dir.path().join(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
        assert!(error.to_string().contains("inside the log"), "{error}");
        let left = fs::read_dir(dir.path().join(path)).unwrap();
        assert_eq!(
            left.filter(|it| it.as_ref().unwrap().path().is_file())
                .count(),
            0
        );
    }
    // A link to elsewhere is a way like any other.
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    link("other", "elsewhere");
    log.backup(dir.path().join("other/backup")).unwrap();
    assert_eq!(
        seqs(&small().open(dir.path().join("elsewhere/backup")).unwrap()),
        [0, 1, 2]
    );
}

/// `File exists (os error 17)`, of a path that ended in a slash, is no answer; and of a log that was closed
/// another process may be the writer, so that nothing of it can be copied in peace.
#[test]
fn are_a_file_another_backup_and_a_closed_log_refused_in_so_many_words() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    append(&log, 3);
    fs::write(dir.path().join("file"), "x").unwrap();
    let error = log.backup(dir.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error
            .to_string()
            .ends_with("file: what is there is no directory"),
        "{error}"
    );
    let error = log.backup(dir.path().join("no/such")).unwrap_err();
    assert!(error.to_string().contains("no/such: "), "{error}");
    for round in 0..10 {
        let both = || log.backup(dir.path().join(format!("both {round}")));
        let (one, two) = thread::scope(|scope| {
            let one = scope.spawn(both);
            (both(), one.join().unwrap())
        });
        let (done, other) = if one.is_ok() { (one, two) } else { (two, one) };
        assert_eq!(done.unwrap().next_seq, 3);
        // Who comes when the first has ended brings its backup up to date.
        match other {
            Ok(report) => assert_eq!((report.next_seq, report.copied_count), (3, 1)),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Locked),
                "{error}"
            ),
        }
    }
    log.close().unwrap();
    let closed = log.backup(dir.path().join("closed")).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    assert!(!dir.path().join("closed").exists());
}

/// After a failed sync a backup may be all that is left to be done.
#[test]
fn can_a_poisoned_log_be_backed_up() {
    let disk = SimFs::new(1);
    let options = small().background(false).vfs(Arc::new(disk.clone()));
    let log = options.clone().open("/log").unwrap();
    append(&log, 3);
    let failed = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    disk.fail(FaultRule::nth(OpKind::Sync, 0, failed));
    log.append("lost").unwrap_err();
    assert_eq!(log.append("x").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(log.backup("/copy").unwrap().next_seq, 3);
    assert_eq!(seqs(&options.open("/copy").unwrap()), [0, 1, 2]);
}

#[test]
fn do_cursors_and_producers_come_along_and_the_watermark_not() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, to) = (dir.path().join("log"), dir.path().join("backup"));
    let log = small().open(&path).unwrap();
    append(&log, 30);
    let by = |number| {
        let (id, epoch) = (7, 1);
        AppendOptions::new().producer(Producer { id, epoch, number })
    };
    let records = [NewRecord::value("once")];
    let seqs = log.append_records(&records, &by(1)).unwrap();
    let mut consumer = log.consumer("billing").unwrap();
    consumer.next_timeout(Duration::ZERO).unwrap().unwrap();
    consumer.ack(3).unwrap();
    // A move that only a record tells of.
    let moved = consumer
        .append(&[NewRecord::value("bill")], 4, &AppendOptions::new())
        .unwrap();
    let report = log.backup(&to).unwrap();
    assert_eq!(report.next_seq, moved.end);
    // What comes later is not in it: neither the records nor that they were appended.
    log.append_records(&records, &by(2)).unwrap();
    consumer.ack(20).unwrap();
    assert!(path.join("WATERMARK").exists());
    for name in ["WATERMARK", "LOCK"] {
        assert!(!to.join(name).exists(), "{name}");
    }
    // Whose copy it is, it says as long as nobody has opened it.
    assert!(to.join("BACKUP").exists());
    let copy = small().open(&to).unwrap();
    assert!(!to.join("BACKUP").exists());
    assert_eq!(copy.cursors().unwrap()[0].seq, 5);
    assert_eq!(
        copy.append_records(&records, &by(1)).unwrap(),
        seqs,
        "a repeat"
    );
    assert_eq!(
        copy.append_records(&records, &by(2)).unwrap().start,
        moved.end,
        "no repeat"
    );
}

/// A log was backed up while named appends were under way: the backup named them too, though they were
/// not in it, and called itself damaged. Had it not, it would have refused them as repeats for ever.
#[test]
fn does_a_backup_remember_the_appends_that_are_in_it_and_no_others() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, to) = (dir.path().join("log"), dir.path().join("backup"));
    let log = small().background(false).open(path).unwrap();
    let put = |log: &Log, number, level| {
        let (id, epoch) = (7, 1);
        let by = Producer { id, epoch, number };
        let how = AppendOptions::new().durability(level).producer(by);
        let seqs = log.append_records(&[NewRecord::value("once")], &how);
        seqs.map(|seqs| seqs.start)
    };
    for number in 0..10 {
        assert_eq!(put(&log, number, Durability::Durable).unwrap(), number);
    }
    for number in 10..30 {
        put(&log, number, Durability::Written).unwrap();
    }
    let report = log.backup(&to).unwrap();
    assert_eq!(report.next_seq, 10);
    let copy = small().background(false).open(&to).unwrap();
    let forgotten = put(&copy, 1, Durability::Durable).unwrap_err();
    assert_eq!(forgotten.kind(), ErrorKind::Duplicate);
    for number in 2..10 {
        let seq = put(&copy, number, Durability::Durable).unwrap();
        assert_eq!(seq, number, "a repeat");
    }
    assert_eq!(copy.next_seq(), 10);
    for number in 10..30 {
        let seq = put(&copy, number, Durability::Durable).unwrap();
        assert_eq!(seq, number, "no repeat");
    }
}

fn put(log: &Log, number: u64) -> cairnlog::Result<Seq> {
    let (id, epoch) = (7, 1);
    let by = Producer { id, epoch, number };
    let how = AppendOptions::new().producer(by);
    let value = format!("{number:0100}");
    log.append_records(&[NewRecord::value(&value)], &how)
        .map(|seqs| seqs.start)
}

/// A backup of ten named appends: while it was about to read what the log remembers of them, twenty more came
/// and a segment was sealed, which stores that anew.
fn backed_up_beside_a_rotation() -> Log {
    let gated = Gated::new(&SimFs::new(1));
    let options = small().background(false).publish(false);
    let options = options.vfs(Arc::new(gated.clone()));
    let log = options.clone().open("/log").unwrap();
    (0..8).for_each(|number| assert_eq!(put(&log, number).unwrap(), number));
    log.rotate().unwrap();
    (8..10).for_each(|number| assert_eq!(put(&log, number).unwrap(), number));
    gated.hold(OpKind::Open, "PRODUCERS");
    let its = log.clone();
    let backup = thread::spawn(move || its.backup("/copy").unwrap().next_seq);
    gated.wait_until_held();
    let its = log.clone();
    let more = thread::spawn(move || {
        (10..30).for_each(|number| assert_eq!(put(&its, number).unwrap(), number));
        its.rotate().unwrap();
    });
    thread::sleep(Duration::from_millis(100));
    gated.release();
    assert_eq!(backup.join().unwrap(), 10);
    more.join().unwrap();
    options.open("/copy").unwrap()
}

/// What the log remembered later had forgotten the appends that are in the copy: there each repeat of one
/// was refused.
#[test]
fn does_a_backup_beside_a_rotation_remember_what_is_in_it() {
    let copy = backed_up_beside_a_rotation();
    for number in 2..10 {
        assert_eq!(put(&copy, number).unwrap(), number, "a repeat");
    }
    assert_eq!(copy.next_seq(), 10);
}

/// And it knew appends that are not in the copy: there they could never be made.
#[test]
fn can_what_is_not_in_a_backup_beside_a_rotation_be_appended_to_it() {
    let copy = backed_up_beside_a_rotation();
    for number in 10..30 {
        assert_eq!(put(&copy, number).unwrap(), number, "no repeat");
    }
}

/// The real file system, without links, and with a copy that is done by hand.
#[derive(Debug, Default)]
struct Plain(RealFs);

impl Vfs for Plain {
    unchanged!(0: create_dir, list, create_new, open, rename, remove, sync_dir, try_lock);
    unchanged!(0: unix_time_ms, monotonic, sleep, random);
}

#[test]
fn is_a_file_system_without_links_copied_from() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let plain = small().vfs(Arc::new(Plain::default()));
    let log = plain.open(dir.path().join("log")).unwrap();
    (0..20).for_each(|_| append(&log, 20));
    let report = log.backup(dir.path().join("backup")).unwrap();
    assert_eq!(report.linked_count, 0);
    assert_eq!(report.copied_count, log.stats().segment_count);
    let copy = small().open(dir.path().join("backup")).unwrap();
    assert_eq!(seqs(&copy), (0..400).collect::<Vec<_>>());
}

/// The child: not a test of its own. It writes, trims, compacts and moves a cursor until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let log = small().open(dir).unwrap();
    let mut consumer = log.consumer("worker").unwrap();
    for round in 0_u64.. {
        append(&log, 1 + round % 5);
        if round % 7 == 6 {
            // The file of the cursor is replaced twice, and once it goes back.
            let end = log.durable_seq();
            consumer.seek(end).unwrap();
            consumer.seek(end - 1).unwrap();
        }
        if round % 50 == 49 {
            log.trim(log.next_seq().saturating_sub(400).max(log.head_seq()))
                .unwrap();
        }
    }
}

const DIR: &str = "CAIRN_BACKUP_DIR";

/// A backup of a log that another process writes was refused: `cp` was all that was left, which gives no log.
#[test]
fn does_a_backup_beside_a_writer_in_another_process_hold_an_exact_prefix() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    append(&small().open(&path).unwrap(), 1);
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let reader = small().open_reader(&path).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while reader.head_seq() == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing was trimmed");
        thread::sleep(Duration::from_millis(5));
    }
    for round in 0..30 {
        let backup = dir.path().join(format!("backup {round}"));
        let (head_before, durable) = (reader.head_seq(), reader.end_seq());
        let how = BackupOptions::new().copy(round % 2 == 1);
        let report = small().backup(&path, &backup, &how).unwrap();
        assert!(report.next_seq >= durable && report.head_seq >= head_before);
        assert_eq!(small().verify(&backup).unwrap().findings, []);
        let copy = small().create(false).open(&backup).unwrap();
        assert_eq!(copy.next_seq(), report.next_seq);
        assert_eq!(
            seqs(&copy),
            (report.head_seq..report.next_seq).collect::<Vec<_>>()
        );
        let cursors = copy.cursors().unwrap();
        assert!(cursors.iter().all(|cursor| cursor.seq <= report.next_seq));
        // The producer of what is in it is known, and of what is not, not.
        append(&copy, 3);
        drop(copy);
        fs::remove_dir_all(&backup).unwrap();
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    let log = small().open(&path).unwrap();
    assert_eq!(
        seqs(&log),
        (log.head_seq()..log.next_seq()).collect::<Vec<_>>()
    );
}

/// The real file system, on which something happens right before the second link is made.
struct Meddled(RealFs, Mutex<(u32, Box<dyn FnMut() + Send>)>);

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddled")
    }
}

impl Vfs for Meddled {
    unchanged!(0: create_dir, list, create_new, open, rename, remove, sync_dir, try_lock);
    unchanged!(0: unix_time_ms, monotonic, sleep, random);

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut meddle = self.1.lock().unwrap();
        meddle.0 += 1;
        if meddle.0 == 2 {
            (meddle.1)();
        }
        self.0.hard_link(from, to)
    }
}

/// Between the look and the copy files were taken away: then it is the copy of a later moment, and has nothing
/// of the earlier.
#[test]
fn is_a_log_backed_up_whose_files_are_taken_away_meanwhile() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, to) = (dir.path().join("log"), dir.path().join("backup"));
    let log = small().open(&path).unwrap();
    (0..20).for_each(|_| append(&log, 20));
    let trimmed = Arc::new(log);
    let meddle = {
        let log = trimmed.clone();
        move || log.trim(300).unwrap()
    };
    let disk = Meddled(RealFs::default(), Mutex::new((0, Box::new(meddle))));
    let beside = small().vfs(Arc::new(disk));
    let report = beside.backup(&path, &to, &BackupOptions::new()).unwrap();
    assert_eq!((report.head_seq, report.next_seq), (300, 400));
    // Of those that it took before the trim none is left: beside the tail.
    let files = fs::read_dir(&to).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".seg")
    });
    let taken_count = report.linked_count + report.copied_count;
    assert_eq!(files.count() as u64, taken_count + 1);
    let copy = small().open(&to).unwrap();
    assert_eq!(seqs(&copy), (300..400).collect::<Vec<_>>());
}

/// One that is missing though the manifest names it is damage, and no endless search.
#[test]
fn is_a_log_backed_up_that_lacks_a_file() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, to) = (dir.path().join("log"), dir.path().join("backup"));
    let log = small().open(&path).unwrap();
    (0..20).for_each(|_| append(&log, 20));
    let second = log.segments().unwrap()[1].id;
    fs::remove_file(path.join(cairnlog::format::names::segment(second))).unwrap();
    let error = small()
        .backup(&path, &to, &BackupOptions::new())
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.place().segment),
        (ErrorKind::Damaged, Some(second))
    );
    assert!(!to.exists());
}

/// Where a cursor stands is said by moves in the unsealed segments, and its file is of long ago.
#[test]
fn are_cursors_that_have_moved_copied_beside_a_writer_as_they_stand() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    let log = Log::open(&path).unwrap();
    append(&log, 10);
    let consumer = log.consumer("worker").unwrap();
    for seq in 0..5 {
        consumer.ack(seq).unwrap();
    }
    append(&log, 1);
    let to = dir.path().join("backup");
    let report = small().backup(&path, &to, &BackupOptions::new()).unwrap();
    assert_eq!(report.next_seq, 11);
    let copy = Log::open(&to).unwrap();
    let cursor = copy.cursors().unwrap().pop().unwrap();
    assert_eq!((cursor.name.as_str(), cursor.seq), ("worker", 5));
}
