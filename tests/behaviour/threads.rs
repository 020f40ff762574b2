//! Does the background worker do its work without doing harm?

use crate::unchanged::unchanged;
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord,
    vfs::{
        Access, Vfs, VfsFile,
        sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
    },
};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A simulated disk that refuses what it is given with a fill of zeros, once it is told to.
#[derive(Clone, Debug)]
struct BadFill {
    disk: SimFs,
    /// Fills ahead that went well, and whether one failed.
    fills: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    armed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct BadFillFile {
    bad: BadFill,
    file: Arc<dyn VfsFile>,
    filled: AtomicBool,
}

impl BadFill {
    fn wrap(&self, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        let filled = AtomicBool::new(false);
        let bad = self.clone();
        Arc::new(BadFillFile { bad, file, filled })
    }
}

impl VfsFile for BadFillFile {
    unchanged!(file: read_at, len, set_len);
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        // A new segment is filled from its start; only a fill ahead begins further on.
        if offset > 0 && buf.len() >= 4096 && buf.iter().all(|byte| *byte == 0) {
            self.filled.store(true, Ordering::SeqCst);
        }
        self.file.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        // DURABILITY: as the disk has it.
        self.file.sync()
    }
    fn write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        if !self.filled.swap(false, Ordering::SeqCst) {
            return self.file.write_back(offset, len);
        }
        let fails = self.bad.armed.swap(false, Ordering::SeqCst);
        if fails {
            let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
            self.bad
                .disk
                .fail(FaultRule::nth(OpKind::WriteBack, 0, lies));
        }
        let result = self.file.write_back(offset, len);
        self.bad.fills.fetch_add(1, Ordering::SeqCst);
        self.bad.failed.fetch_or(fails, Ordering::SeqCst);
        result
    }
}

impl Vfs for BadFill {
    unchanged!(disk: create_dir, list, rename, remove, sync_dir, try_lock);
    unchanged!(disk: unix_time_ms, monotonic, sleep, random);
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.wrap(self.disk.create_new(path)?))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.wrap(self.disk.open(path, access)?))
    }
}

/// The worker's fill ahead had the disk write, failed, and was put off until later. The system had told
/// the error to it and called the lost pages clean, frames among them: the next append's sync
/// succeeded, and what it acknowledged was gone after a power cut.
#[test]
fn failed_fill_ahead_poisons_the_log() {
    let disk = SimFs::new(1);
    let bad = BadFill {
        disk: disk.clone(),
        fills: Arc::default(),
        failed: Arc::default(),
        armed: Arc::default(),
    };
    let options = Log::options().segment_bytes(1 << 20).idle_watermark(None);
    let log = options
        .clone()
        .vfs(Arc::new(bad.clone()))
        .open("/log")
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(Instant::now() < deadline, "nothing was filled ahead");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // A fresh log is filled ahead at once; the next fill is due when most of that is used.
    wait(&|| bad.fills.load(Ordering::SeqCst) > 0);
    bad.armed.store(true, Ordering::SeqCst);
    let written = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value(&[7; 100_000])], &written)
        .unwrap();
    wait(&|| bad.failed.load(Ordering::SeqCst));
    let appended = log.append("acknowledged?");
    let kept = disk.crash_at(u64::MAX).state(&Choice::lost());
    let after = options.vfs(Arc::new(kept)).open("/log").unwrap();
    match appended {
        Ok(seq) => assert!(after.get(seq).unwrap().is_some(), "it was acknowledged"),
        Err(error) => {
            let kinds = [ErrorKind::Poisoned, ErrorKind::Indeterminate];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    }
    assert_eq!(log.append("later").unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn appends_of_many_threads_get_every_number_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::options()
        .segment_bytes(2048)
        .open(dir.path().join("log"))
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let log = &log;
            scope.spawn(move || {
                let level = [
                    Durability::Durable,
                    Durability::Written,
                    Durability::Buffered,
                ];
                let how = AppendOptions::new().durability(level[thread as usize % 3]);
                let mut last = None;
                for number in 0..100_u64 {
                    let text = format!("{thread} {number}");
                    let seqs = log
                        .append_records(&[NewRecord::value(&text)], &how)
                        .unwrap();
                    assert!(last.is_none_or(|last| last < seqs.start));
                    last = Some(seqs.start);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                log.rotate().unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
    });
    assert_eq!(log.sync().unwrap(), 600);
    let mut next = [0; 6];
    for (seq, record) in (0..).zip(log.scan(..).unwrap()) {
        let record = record.unwrap();
        assert_eq!(record.seq(), seq);
        let text = String::from_utf8(record.to_vec()).unwrap();
        let (thread, number) = text.split_once(' ').unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next));
        *next += 1;
    }
    assert_eq!(next, [100; 6]);
}

#[test]
fn idle_log_attests_its_last_record_by_itself() {
    let disk = SimFs::new(1);
    let options = Log::options().vfs(Arc::new(disk.clone()));
    let log = options
        .idle_watermark(Some(Duration::from_millis(5)))
        .open("/log")
        .unwrap();
    log.append("the last one").unwrap();
    let before = disk.op_count();
    disk.advance(Duration::from_millis(50));
    let deadline = Instant::now() + Duration::from_secs(10);
    // A write and a sync.
    while disk.op_count() < before + 2 {
        assert!(Instant::now() < deadline, "no watermark was written");
        disk.advance(Duration::from_millis(50));
        std::thread::sleep(Duration::from_millis(1));
    }
    let disk = disk.kill();
    let log = Log::options().vfs(Arc::new(disk)).open("/log").unwrap();
    assert_eq!((log.recovery().proven_seq, log.next_seq()), (1, 1));
}

/// The worker fills a tail ahead piece by piece. When the tail was finished and sealed between two pieces
/// it went on, over and behind the footer: the index was lost and had to be rebuilt, the space was wasted.
#[test]
fn is_a_segment_that_is_sealed_not_filled_any_further() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    for _ in 0..12 {
        for _ in 0..20 {
            log.append([7; 60_000]).unwrap();
        }
        log.rotate().unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    log.close().unwrap();
    let report = Log::options().verify(dir.path().join("log")).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let sealed = std::fs::read_dir(dir.path().join("log")).unwrap();
    let sizes = sealed.map(|entry| entry.unwrap().metadata().unwrap().len());
    let longest = sizes.filter(|size| *size > 1_200_000).max().unwrap();
    assert!(
        longest < 1_210_000,
        "a segment of 1.2 MB has {longest} bytes"
    );
}
