//! What does a durable append cost the kernel? One positional write and one `fdatasync`, and one more
//! small write to tell readers in other processes, unless that is turned off; nothing else. Counted at the engine's door, and, where strace is installed, by the kernel's own account.

#[path = "common/unchanged.rs"]
mod unchanged;

use cairnlog::{
    Durability, Log, Options,
    vfs::{Access, DirEntry, RealFs, Vfs, VfsFile},
};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use unchanged::unchanged;

/// The real file system, counting what goes to files.
#[derive(Debug, Default)]
struct Counting {
    real: RealFs,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    writes: AtomicU64,
    direct_writes: AtomicU64,
    syncs: AtomicU64,
    others: AtomicU64,
    /// How often the log's worker looked at the clock.
    worker_looks: AtomicU64,
    /// How many files were created by other threads than that.
    created_elsewhere: AtomicU64,
    /// How much longer than the disk a sync takes, in milliseconds.
    sync_takes_ms: AtomicU64,
}

#[derive(Debug)]
struct CountingFile(Arc<dyn VfsFile>, Arc<Counts>, Way);

/// How a handle writes: by way of the page cache, or past it.
#[derive(Debug, Clone, Copy)]
enum Way {
    Cached,
    Direct,
}

impl Vfs for Counting {
    unchanged!(real: create_dir, try_lock, unix_time_ms, sleep, random);
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        self.real.list(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        if std::thread::current().name() != Some("cairn-worker") {
            self.counts
                .created_elsewhere
                .fetch_add(1, Ordering::Relaxed);
        }
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(CountingFile(
            self.real.create_new(path)?,
            self.counts.clone(),
            Way::Cached,
        )))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(CountingFile(
            self.real.open(path, access)?,
            self.counts.clone(),
            Way::Cached,
        )))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        self.real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        self.real.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.counts.others.fetch_add(1, Ordering::Relaxed);
        self.real.sync_dir(path)
    }
    fn monotonic(&self) -> Duration {
        if std::thread::current().name() == Some("cairn-worker") {
            self.counts.worker_looks.fetch_add(1, Ordering::Relaxed);
        }
        self.real.monotonic()
    }
}

impl VfsFile for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.others.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let count = match self.2 {
            Way::Cached => &self.1.writes,
            Way::Direct => &self.1.direct_writes,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.0.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.1.others.fetch_add(1, Ordering::Relaxed);
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.others.fetch_add(1, Ordering::Relaxed);
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::Relaxed);
        let takes_ms = self.1.sync_takes_ms.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(takes_ms));
        self.0.sync()
    }
    fn direct(&self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        let direct = self.0.direct()?;
        Ok(direct.map(|file| Arc::new(Self(file, self.1.clone(), Way::Direct)) as _))
    }
}

/// A log in a directory of its own, and what it does there.
fn open(options: Options) -> (tempfile::TempDir, Log, Arc<Counts>) {
    let dir = tempfile::tempdir().unwrap();
    let vfs = Counting::default();
    let counts = vfs.counts.clone();
    let log = options.vfs(Arc::new(vfs)).open(dir.path().join("log"));
    (dir, log.unwrap(), counts)
}

#[test]
fn a_durable_append_is_one_write_and_one_sync_at_the_door() {
    let options = Log::options().publish(false);
    assert_eq!(calls_of_200_appends(options), [200, 0, 200, 0]);
    // And one write more after the sync, if readers in other processes are told.
    assert_eq!(calls_of_200_appends(Log::options()), [400, 0, 200, 0]);
}

#[test]
fn a_durable_append_past_the_page_cache_is_one_write_and_one_sync_too() {
    let options = Log::options().publish(false).direct_writes(true);
    let [cached, direct, syncs, others] = calls_of_200_appends(options);
    assert_eq!((cached + direct, syncs), (200, 200));
    // Not every file system has the way. Where the log goes on is looked up once.
    assert!(
        (direct == 200 && others == 1) || direct == 0,
        "{direct} past the page cache, {others} other calls"
    );
}

/// A log was written to without a break, at the level `Written`. After its first sync by interval an
/// idle watermark was due, could not be written because the log was not idle, and was due again at
/// once: the worker took a whole processor, and half of the appenders' time, for looking at the clock.
#[test]
fn does_the_worker_sleep_while_a_log_is_only_written_to() {
    let options = Log::options()
        .durability(Durability::Written)
        .sync_interval(Some(Duration::from_millis(10)))
        .idle_watermark(Some(Duration::from_millis(1)));
    let (_dir, log, counts) = open(options);
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_millis(300) {
        log.append("not idle").unwrap();
        count += 1;
    }
    assert!(count > 1000, "only {count} appends");
    let looks = counts.worker_looks.load(Ordering::Relaxed);
    assert!(
        looks < 1000,
        "{looks} looks at the clock beside {count} appends"
    );
}

/// Where there was always somebody parked to lead the next group, nobody called the worker: it prepared
/// the next segment when its clock woke it, or when the tail was full and all who appended stood waiting.
#[test]
fn does_the_worker_prepare_segments_while_many_append() {
    let options = Log::options().segment_bytes(1 << 20);
    let (_dir, log, counts) = open(options);
    counts.sync_takes_ms.store(1, Ordering::Relaxed);
    let before = counts.created_elsewhere.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..200 {
                    log.append([7; 4096]).unwrap();
                }
            });
        }
    });
    let elsewhere = counts.created_elsewhere.load(Ordering::Relaxed) - before;
    let rotations = log.stats().rotation_count;
    assert!(rotations >= 10, "{rotations} rotations");
    // A segment and a manifest each time that an append had to do it. The worker may come late once.
    assert!(
        elsewhere <= rotations / 2,
        "{elsewhere} files created by who appends, {rotations} rotations"
    );
}

/// A rotation wrote a header and no record. A sync by interval was due for it, found all records durable
/// and so did nothing, and was due again at once.
#[test]
fn does_the_worker_sleep_after_a_rotation() {
    let options = Log::options().sync_interval(Some(Duration::from_millis(10)));
    let (_dir, log, counts) = open(options);
    log.append("before").unwrap();
    log.rotate().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let looks = counts.worker_looks.load(Ordering::Relaxed);
    assert!(looks < 500, "{looks} looks at the clock");
}

/// A watermark was due in a tail with less room left than it takes. It was not written and due again at
/// once: a log that nobody used took a whole processor, until somebody appended.
#[test]
fn does_the_worker_sleep_when_the_tail_has_no_room_for_a_watermark() {
    let open_and_append = |value_bytes: usize| {
        let options = Log::options()
            .segment_bytes(4096)
            .idle_watermark(Some(Duration::from_millis(1)));
        let (dir, log, counts) = open(options);
        log.append("first").unwrap();
        log.append(vec![7; value_bytes]).unwrap();
        (log.stats().rotation_count, value_bytes, (log, dir), counts)
    };
    // Among them are some that leave room for less than a header, whatever that and the frame take.
    let logs: Vec<_> = (3700..3900).step_by(8).map(open_and_append).collect();
    assert_eq!((logs.first().unwrap().0, logs.last().unwrap().0), (0, 1));
    std::thread::sleep(Duration::from_millis(200));
    for (_, value_bytes, _log, counts) in &logs {
        let looks = counts.worker_looks.load(Ordering::Relaxed);
        assert!(looks < 500, "{looks} looks at the clock, {value_bytes} B");
    }
}

/// A watermark was due while an append's sync took its time. It could not be written meanwhile, and was
/// due again at once: beside every slow sync the worker took a processor.
#[test]
fn does_the_worker_sleep_during_a_slow_sync() {
    let options = Log::options().idle_watermark(Some(Duration::from_millis(1)));
    let (_dir, log, counts) = open(options);
    counts.sync_takes_ms.store(10, Ordering::Relaxed);
    for _ in 0..40 {
        log.append("slowly").unwrap();
    }
    let looks = counts.worker_looks.load(Ordering::Relaxed);
    assert!(looks < 1000, "{looks} looks at the clock beside 40 syncs");
}

/// Writes by way of the page cache and past it, syncs, other calls.
fn calls_of_200_appends(options: Options) -> [u64; 4] {
    let (_dir, log, counts) = open(options.background(false));
    let count = || {
        let Counts {
            writes,
            direct_writes,
            syncs,
            others,
            ..
        } = &*counts;
        [writes, direct_writes, syncs, others].map(|counter| counter.load(Ordering::Relaxed))
    };
    let before = count();
    for number in 0..200 {
        log.append(format!("record {number}")).unwrap();
    }
    let after = count();
    [0, 1, 2, 3].map(|which| after[which] - before[which])
}

/// The child of the test below: appends between two marks that strace sees.
#[test]
fn child_that_appends_under_strace() {
    let Ok(dir) = std::env::var("CAIRN_SYSCALLS_DIR") else {
        return;
    };
    let log = Log::open(dir).unwrap();
    for _ in 0..20 {
        log.append("before the first mark").unwrap();
    }
    // By then the worker has allocated space ahead and marked the log idle: it has nothing to do.
    std::thread::sleep(Duration::from_millis(250));
    assert!(std::fs::metadata("/mark-begin").is_err());
    for number in 0..200 {
        log.append(format!("record {number}")).unwrap();
    }
    assert!(std::fs::metadata("/mark-end").is_err());
}

#[test]
fn a_durable_append_is_two_writes_and_one_sync_in_the_kernel() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("strace is not installed: the count at the engine's door has to do");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-q", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_under_strace", "--nocapture"])
        .env("CAIRN_SYSCALLS_DIR", dir.path().join("log"))
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<(&str, &str)> = trace
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(thread, call)| (thread, call.trim_start()))
        .collect();
    let mark = |name: &str| {
        calls
            .iter()
            .position(|(_, call)| call.contains(name))
            .unwrap()
    };
    let (begin, end) = (mark("/mark-begin"), mark("/mark-end"));
    let thread = calls[begin].0;
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, call) in calls[begin + 1..end].iter().filter(|(by, _)| *by == thread) {
        // A call that another thread interrupts in the trace is resumed on a line of its own.
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with("<...")) {
            *counts.entry(name).or_default() += 1;
        }
    }
    // The worker extends the file now and then: waking it, or waiting for it, is all else there is, and
    // rare. (A contended lock yields a few times before it waits.)
    let waits = counts.remove("futex").unwrap_or(0);
    let yields = counts.remove("sched_yield").unwrap_or(0);
    assert!(
        waits <= 8 && yields <= 60,
        "{waits} waits, {yields} yields in 200 appends"
    );
    assert_eq!(
        counts,
        BTreeMap::from([("fdatasync", 200), ("pwrite64", 400)])
    );
}
