//! What is filled, written and synced beside each other.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
use super::{Space, Way};
use crate::vfs::{
    Vfs, VfsFile,
    sim::{Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
};
use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A file, and what is done before zeros are written to it, and before it is synced.
struct Watched {
    file: Arc<dyn VfsFile>,
    before: Box<dyn Fn(OpKind) + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

/// The space of a file that is watched.
fn watched(
    disk: &SimFs,
    before: impl Fn(OpKind, Arc<Space>) + Send + Sync + 'static,
) -> Arc<Space> {
    let file = disk.create_new(Path::new("/file")).unwrap();
    Arc::new_cyclic(|space: &Weak<Space>| {
        let space = space.clone();
        let before = move |kind| {
            space
                .upgrade()
                .into_iter()
                .for_each(|space| before(kind, space))
        };
        let before = Box::new(before);
        Space::new(Arc::new(Watched { file, before }), 0)
    })
}

impl VfsFile for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if buf.iter().all(|byte| *byte == 0) {
            (self.before)(OpKind::Write);
        }
        self.file.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.file.write_back(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        (self.before)(OpKind::Sync);
        // DURABILITY: as the disk has it.
        self.file.sync()
    }
}

fn wait_for(flag: &AtomicBool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !flag.load(SeqCst) {
        assert!(Instant::now() < end, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn does_a_fill_in_flight_run_over_a_write() {
    let (begun, go) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (begins, goes) = (begun.clone(), go.clone());
    let space = watched(&SimFs::new(1), move |kind, _| {
        if kind == OpKind::Write {
            begins.store(true, SeqCst);
            wait_for(&goes);
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| space.fill_piece(4096, false).unwrap());
        wait_for(&begun);
        scope.spawn(|| space.write(b"frame", 10, Way::Unsynced).unwrap());
        thread::sleep(Duration::from_millis(30));
        go.store(true, SeqCst);
    });
    let mut found = [0; 5];
    space.file().read_at(&mut found, 10).unwrap();
    assert_eq!(&found, b"frame");
}

/// What is left of the zeros when a sync has ended holds up the next, so the disk gets them beside it.
#[test]
fn does_a_fill_wait_for_a_sync() {
    let space = watched(&SimFs::new(1), |kind, space| {
        if kind == OpKind::Sync {
            let (tell, told) = mpsc::channel();
            thread::spawn(move || tell.send(space.fill_piece(20_000, false).unwrap()));
            assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(true));
        }
    });
    space.write(b"frame", 0, Way::Unsynced).unwrap();
    // DURABILITY: none; it has to end.
    space.sync().unwrap();
    assert_eq!(space.allocated_end(), 20_000);
}

/// It may be the only word of bytes that were lost: the system tells it once.
#[test]
fn does_a_sync_succeed_after_the_disk_refused_bytes_given_early() {
    let frames = |space: &Space| space.write_back(9000);
    let zeros = |space: &Space| space.fill_piece(20_000, false).map(drop);
    for give in [frames as fn(&Space) -> _, zeros] {
        let disk = SimFs::new(1);
        let space = Space::new(disk.create_new(Path::new("/file")).unwrap(), 0);
        space.write(&[7; 9000], 0, Way::Unsynced).unwrap();
        let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
        disk.fail(FaultRule::nth(OpKind::WriteBack, 0, lies));
        give(&space).unwrap_err();
        // DURABILITY: none; both syncs have to fail.
        space.sync().unwrap_err();
        assert!(space.sync_failed());
        space.write_back(9000).unwrap();
        assert!(space.sync().is_err(), "it sticks");
    }
}
