//! What was fetched and is kept in a directory: is it read there, never believed when it is not what was put, and
//! never more than was allowed, whoever else uses the directory?

mod common;

use cairnlog::{AppendOptions, ErrorKind, Log, NewRecord, Options};
use cairnlog_object_store::{
    Copier, CopyOptions, RemoteOptions, RemoteReader, Store, StoreSegments, Tier,
};
use common::{
    Shown,
    faulty::{Fault, Faulty},
    shown, store,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// What the directory may have, unless a test says otherwise.
const PLENTY: u64 = 1 << 30;

struct Copied {
    dir: tempfile::TempDir,
    store: Store,
    faulty: Arc<Faulty>,
    records: Vec<Shown>,
}

fn options() -> Options {
    Log::options().segment_bytes(1 << 20)
}

/// A log of some MiB, in a store.
fn copied() -> Copied {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = options().open(dir.path().join("log")).unwrap();
    let mut noise = 1u64;
    for _ in 0..64 {
        let mut value = vec![0; 128 << 10];
        for byte in &mut value {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (noise >> 56) as u8;
        }
        log.append_records(&[NewRecord::value(&value)], &AppendOptions::new())
            .unwrap();
    }
    let (store, faulty) = store();
    let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
    copier.step().unwrap();
    let records = shown(&log.reader());
    Copied {
        dir,
        store,
        faulty,
        records,
    }
}

/// A log of which only the newest segment is on the disk.
fn tiered() -> Copied {
    let copied = copied();
    let log = copied.log(PLENTY);
    let mut copier =
        Copier::start(log.stored().unwrap(), &copied.store, CopyOptions::new()).unwrap();
    copier.tier(&log, &Tier::new().after_bytes(0)).unwrap();
    assert!(log.stats().far_bytes > 4 << 20);
    copied
}

impl Copied {
    /// The log, which keeps next to nothing of its far segments in memory.
    fn log(&self, bytes: u64) -> Log {
        let far = StoreSegments::with_cache_dir(&self.store, 0, self.cache(), bytes).unwrap();
        let options = options().background(false).far_segments(far);
        options.open(self.dir.path().join("log")).unwrap()
    }

    /// Reads all of the log, and gives how many requests that took.
    fn read_log(&self, bytes: u64) -> u64 {
        let before = self.faulty.request_count();
        assert_eq!(shown(&self.log(bytes).reader()), self.records);
        self.faulty.request_count() - before
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A reader with next to nothing in memory.
    fn reader(&self, bytes: u64) -> RemoteReader {
        let options = RemoteOptions::new().cache_bytes(0);
        options
            .cache_dir(self.cache(), bytes)
            .open(&self.store)
            .unwrap()
    }

    /// Reads all, and gives how many requests that took.
    fn read(&self, reader: &RemoteReader) -> u64 {
        let before = self.faulty.request_count();
        assert_eq!(shown(reader), self.records);
        self.faulty.request_count() - before
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|it| (it.path(), it.metadata().unwrap().len()))
        .collect()
}

#[test]
fn is_what_was_read_once_there_without_the_store() {
    let copied = copied();
    assert!(copied.read(&copied.reader(PLENTY)) > 3);
    let again = copied.reader(PLENTY);
    assert_eq!(copied.read(&again), 0);
    copied.faulty.plan(|_| Fault::Error);
    assert_eq!(shown(&again), copied.records);
    // Without what is there the store is asked.
    fs::remove_dir_all(copied.cache()).unwrap();
    let error = again.get(3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

/// Torn, cut, flipped, empty, another's under its name: each is a block that is not there.
#[test]
fn is_what_is_not_what_was_put_fetched_again() {
    let copied = copied();
    copied.read(&copied.reader(PLENTY));
    let whole: Vec<_> = files(&copied.cache());
    assert!(whole.len() > 10);
    for kind in 0..5 {
        let mut other = fs::read(&whole[0].0).unwrap();
        for (path, _) in &whole {
            let bytes = fs::read(path).unwrap();
            let mut bad = bytes.clone();
            match kind {
                0 => bad.truncate(bytes.len() / 2),
                1 => bad.clear(),
                2 => bad[bytes.len() / 3] ^= 4,
                3 => bad[bytes.len() / 2..].fill(0),
                _ => bad = std::mem::replace(&mut other, bytes),
            }
            fs::write(path, bad).unwrap();
        }
        assert!(copied.read(&copied.reader(PLENTY)) > 3, "kind {kind}");
        assert_eq!(copied.read(&copied.reader(PLENTY)), 0, "kind {kind}");
    }
}

#[test]
fn is_there_never_more_than_was_allowed() {
    let copied = copied();
    let bytes = 1 << 20;
    copied.read(&copied.reader(PLENTY));
    let sum = || files(&copied.cache()).iter().map(|it| it.1).sum::<u64>();
    assert!(sum() > 2 * bytes);
    // What is there already counts, whoever put it.
    let reader = copied.reader(bytes);
    assert!(sum() <= bytes, "{}", sum());
    for _ in 0..3 {
        assert!(copied.read(&reader) > 0);
        assert!(sum() <= bytes && sum() > 0, "{}", sum());
    }
    // A stranger's file is nobody's.
    fs::write(copied.cache().join("notes"), [0; 1000]).unwrap();
    copied.read(&copied.reader(0));
    let left: Vec<_> = files(&copied.cache());
    assert_eq!(left, [(copied.cache().join("notes"), 1000)]);
}

/// As two processes do: each has handles and a view of the directory of its own.
#[test]
fn is_a_directory_shared_by_many_at_a_time() {
    let copied = copied();
    thread::scope(|scope| {
        for bytes in [1 << 20, 2 << 20, PLENTY, 1 << 19] {
            let copied = &copied;
            scope.spawn(move || {
                for _ in 0..3 {
                    let reader = copied.reader(bytes);
                    assert_eq!(shown(&reader), copied.records);
                }
            });
        }
    });
    let is_block = |it: &(PathBuf, u64)| it.0.extension().is_some_and(|it| it == "block");
    assert!(files(&copied.cache()).iter().all(is_block));
}

/// A cache that cannot be written is none.
#[test]
fn is_a_log_read_where_nothing_can_be_kept() {
    let copied = copied();
    let reader = copied.reader(PLENTY);
    fs::remove_dir_all(copied.cache()).unwrap();
    fs::write(copied.cache(), "a file").unwrap();
    assert_eq!(shown(&reader), copied.records);
    let refused = RemoteOptions::new()
        .cache_dir(copied.cache(), PLENTY)
        .open(&copied.store);
    assert!(refused.is_err());
}

/// Where its segments are is asked once, by four requests: which commit is the newest, and what it says.
const ASKED: u64 = 4;

#[test]
fn is_a_far_segment_read_once_there_without_the_store() {
    let tiered = tiered();
    // What was read back is no sign that anybody reads it.
    assert_eq!(files(&tiered.cache()), []);
    assert!(tiered.read_log(PLENTY) > ASKED + 3);
    assert_eq!(tiered.read_log(PLENTY), ASKED);
    // A reader of the same moment has the same blocks.
    let before = files(&tiered.cache()).len();
    tiered.read(&tiered.reader(PLENTY));
    assert!(files(&tiered.cache()).len() < before + 10);
}

#[test]
fn is_a_block_of_a_far_segment_believed_that_is_not_what_was_put() {
    let tiered = tiered();
    tiered.read_log(PLENTY);
    for (path, bytes) in files(&tiered.cache()) {
        let mut bad = fs::read(&path).unwrap();
        bad[bytes as usize / 3] ^= 4;
        fs::write(path, bad).unwrap();
    }
    assert!(tiered.read_log(PLENTY) > ASKED + 3);
    assert_eq!(tiered.read_log(PLENTY), ASKED);
}

#[test]
fn is_there_never_more_of_far_segments_than_was_allowed() {
    let tiered = tiered();
    let bytes = 1 << 20;
    for _ in 0..3 {
        assert!(tiered.read_log(bytes) > ASKED);
        let sum: u64 = files(&tiered.cache()).iter().map(|it| it.1).sum();
        assert!(sum <= bytes && sum > 0, "{sum}");
    }
    fs::remove_dir_all(tiered.cache()).unwrap();
    fs::write(tiered.cache(), "a file").unwrap();
    assert!(StoreSegments::with_cache_dir(&tiered.store, 0, tiered.cache(), bytes).is_err());
}
