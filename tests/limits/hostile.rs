//! Files as hostile as they like, under our names: once each was read or searched whole, however large
//! it was said to be. A tail of zeros took 5.8 seconds of a processor for each GiB, without end; a
//! `MANIFEST` of 1 GiB was read before its length was compared with what it states; and one large
//! `WATERMARK`, or a directory of this name, stopped every reader of a log that is whole without it.

use crate::path_of;
use cairnlog::{
    ConsumerOptions, ErrorKind, Log, Options, Reader, Retention, StoppedBy,
    format::{BatchHeader, Manifest, SegmentHeader},
};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Nothing of it is on the disk.
const HUGE: u64 = 1 << 40;
/// Zeros up to where offsets end, in a build without optimization, on a machine that is busy. Without a
/// bound it would be an hour.
const SOON: Duration = Duration::from_secs(600);

fn log_of_three(dir: &Path) -> PathBuf {
    let path = path_of(dir);
    let log = Log::open(&path).unwrap();
    for value in ["a", "b", "c"] {
        log.append(value).unwrap();
    }
    log.close().unwrap();
    path
}

/// Makes a file huge; one that is not there yet is only that.
fn blow_up(file: &Path) {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file);
    file.unwrap().set_len(HUGE).unwrap();
}

fn count(path: &Path) -> Result<usize, cairnlog::Error> {
    let reader = Reader::open(path)?;
    let records: Result<Vec<_>, _> = reader.scan(..)?.collect();
    Ok(records?.len())
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = run();
    let took = started.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    done
}

#[test]
fn does_a_huge_file_cost_more_than_it_may_hold() {
    for name in [
        "00000000000000000001.seg",
        "00000000000000000002.seg",
        "00000000000000000077.seg",
        "WATERMARK",
        "RESERVE",
        "MANIFEST.new",
    ] {
        // A disk's file system gives each page of a hole memory, and fills that with zeros, before it is read.
        let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = in_memory.unwrap();
        let path = log_of_three(dir.path());
        blow_up(&path.join(name));
        timed(name, || {
            assert_eq!(count(&path).unwrap(), 3, "{name}");
            let log = Log::open(&path).unwrap();
            assert_eq!(log.append("d").unwrap(), 3, "{name}");
            log.close().unwrap();
            assert_eq!(count(&path).unwrap(), 4, "{name}");
        });
    }
}

#[test]
fn is_a_file_that_is_longer_than_it_states_refused_at_once() {
    for name in ["MANIFEST", "PRODUCERS"] {
        let dir = tempfile::tempdir().unwrap();
        let path = log_of_three(dir.path());
        blow_up(&path.join(name));
        timed(name, || {
            let error = Log::open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{name}: {error}");
            assert_eq!(error.place().path.as_deref(), Some(Path::new(name)));
        });
    }
    // A manifest that states more than any may hold, with a checksum that is right.
    let dir = tempfile::tempdir().unwrap();
    let path = log_of_three(dir.path());
    let mut bytes = fs::read(path.join("MANIFEST")).unwrap();
    bytes[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    let checksum = checksum_of(&bytes[..140]);
    bytes[140..144].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path.join("MANIFEST"), &bytes).unwrap();
    blow_up(&path.join("MANIFEST"));
    timed("a stated length", || {
        let error = Log::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    });
}

/// The checksum of a manifest's fixed part, with the seed that `format.md` gives.
fn checksum_of(head: &[u8]) -> u32 {
    cairnlog::format::crc32c(0x4d41_4e49, head)
}

/// Puts something else in the place of a file.
fn put(kind: &str, path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
    match kind {
        "directory" => fs::create_dir(path).unwrap(),
        "link" => symlink("/dev/zero", path).unwrap(),
        "dangling link" => symlink("/nowhere", path).unwrap(),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "pipe" => {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        }
        _ => File::create(path).map(drop).unwrap(),
    }
}

const KINDS: [&str; 6] = [
    "directory",
    "link",
    "dangling link",
    "socket",
    "pipe",
    "empty file",
];

#[test]
fn does_what_is_no_file_harm_a_log_that_does_without() {
    for name in ["WATERMARK", "RESERVE", "BACKUP", "00000000000000000003.seg"] {
        for kind in KINDS {
            let what = format!("{kind} {name}");
            let dir = tempfile::tempdir_in("/tmp").unwrap();
            let path = log_of_three(dir.path());
            put(kind, &path.join(name));
            assert_eq!(count(&path).unwrap(), 3, "{what}");
            let log = Log::options().segment_bytes(512).open(&path).unwrap();
            for _ in 0..20 {
                log.append([7; 200]).unwrap();
            }
            log.trim(2).unwrap();
            assert_eq!(log.scan(..).unwrap().count(), 21, "{what}");
            log.close().unwrap();
            let options = Options::new();
            assert_eq!(options.verify(&path).unwrap().findings, [], "{what}");
        }
    }
}

/// Forty records in small segments, and the cursors `bad` and `good`.
fn with_cursors(path: &Path) {
    let log = Log::options().segment_bytes(1024).open(path).unwrap();
    for _ in 0..40 {
        log.append([7; 300]).unwrap();
    }
    let holds = ConsumerOptions::new().holds(true);
    drop(log.consumer_with("bad", &holds).unwrap());
    let good = log.consumer_with("good", &holds).unwrap();
    good.ack(19).unwrap();
}

/// One file of a cursor that was cut to nothing stopped retention for the whole log, compaction too,
/// and the worker's next try; only `worker_error` told.
#[test]
fn does_a_bad_cursor_stop_more_than_its_consumer() {
    for kind in KINDS {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = path_of(dir.path());
        with_cursors(&path);
        let file = Path::new("cursors/00000000000000000001.cur");
        put(kind, &path.join(file));
        let log = Log::options().segment_bytes(1024).open(&path).unwrap();
        let report = log.retain(&Retention::new().bytes_max(2048)).unwrap();
        // The other one holds as before.
        assert!((15..=20).contains(&report.head_seq), "{kind}: {report:?}");
        assert_eq!(report.stopped_by, StoppedBy::Cursor, "{kind}");
        assert_eq!(report.damaged_cursors, [file], "{kind}");
        log.compact(&cairnlog::CompactOptions::new()).unwrap();
        let mut good = log.consumer("good").unwrap();
        assert_eq!(good.next().unwrap().unwrap().seq(), 20);
        good.ack(25).unwrap();
        // It may be the one that is asked for: it is told, and does not begin anew at the head.
        for name in ["bad", "new"] {
            let error = log.consumer(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{kind}: {error}");
            assert_eq!(error.place().path.as_deref(), Some(file), "{kind}");
        }
        let cursors = log.cursors().unwrap();
        assert!(cursors[0].defect.is_some() && cursors[1].defect.is_none());
        if kind != "directory" {
            log.delete_cursor("00000000000000000001.cur").unwrap();
            assert_eq!(log.consumer("bad").unwrap().seq(), log.head_seq());
        }
    }
}

#[test]
fn does_the_worker_retain_beside_a_bad_cursor_and_tell_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_of(dir.path());
    with_cursors(&path);
    fs::write(path.join("cursors/00000000000000000001.cur"), "").unwrap();
    let limits = Retention::new().bytes_max(2048);
    let log = Log::options()
        .segment_bytes(1024)
        .background(false)
        .retention(limits)
        .open(&path)
        .unwrap();
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    assert!(log.head_seq() >= 15);
    let told = log.worker_error().unwrap();
    assert_eq!(told.kind(), ErrorKind::Damaged, "{told}");
}

#[test]
fn may_a_cursor_file_be_huge() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_of(dir.path());
    with_cursors(&path);
    blow_up(&path.join("cursors/00000000000000000001.cur"));
    timed("a huge cursor", || {
        let log = Log::open(&path).unwrap();
        assert!(log.cursors().unwrap()[0].defect.is_some());
        log.retain(&Retention::new()).unwrap();
    });
}

/// A batch whose header is right, of records whose lengths fit and whose checksums do not, costs a search for the
/// next one at each of its bytes. Each batch could take all that one may: 32 MiB of them half a minute.
#[test]
fn does_a_search_for_records_cost_in_each_batch_what_it_may_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = log_of_three(dir.path());
    let log = Log::open(&path).unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    drop(log);
    let first = path.join("00000000000000000001.seg");
    let mut manifest = Manifest::decode(&fs::read(path.join("MANIFEST")).unwrap()).unwrap();
    let mut bytes = fs::read(&first).unwrap();
    bytes.truncate(128);
    let context = SegmentHeader::decode(&bytes).unwrap().context();
    let (body_bytes, mut seq) = (32_u32 << 10, 0);
    while bytes.len() < 32 << 20 {
        let batch = BatchHeader {
            body_bytes,
            first_seq: seq,
            durable_seq: seq,
            timestamp_ms: context.base_timestamp_ms,
            count: 1000,
            sparse: false,
            packed: false,
        };
        bytes.extend(batch.encode(&context, bytes.len() as u64));
        let half = (body_bytes / 2).to_le_bytes();
        bytes.extend(half.repeat(body_bytes as usize / half.len()));
        seq += u64::from(batch.count);
    }
    let sealed = &mut manifest.sealed[0];
    (sealed.frames_end, sealed.next_seq) = (bytes.len() as u64, seq);
    sealed.record_count = u32::try_from(seq).unwrap();
    (manifest.tail.base_seq, manifest.durable_seq) = (seq, seq);
    manifest.clean = false;
    fs::write(&first, &bytes).unwrap();
    fs::write(path.join("MANIFEST"), manifest.encode()).unwrap();
    let started = Instant::now();
    let mut gaps = 0;
    let read = Options::new().read_salvage(&path, |_| gaps += 1);
    read.unwrap();
    assert!(gaps >= 1000, "{gaps}: all of it is lost");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
}
