//! Is a log the same while its old segments live in the store alone, and does the store never lose one of those?

mod common;

use cairnlog::{ErrorKind, Log, Maintained, Options, SegmentId, format::names, vfs::sim::SimFs};
use cairnlog_object_store::{
    Copier, CopyOptions, Error, RemoteReader, Replicator, ReplicatorOptions, RestoreOptions, Store,
    StoreSegments, Tier, To,
};
use common::{faulty::Fault, on, shown, store};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn tiered(disk: &SimFs, store: &Store) -> Options {
    on(disk).far_segments(StoreSegments::new(store))
}

fn fill(log: &Log, count: u64) {
    for _ in 0..count {
        let seq = log.next_seq();
        let value = format!("value {seq} ").repeat(20);
        log.append_keyed(format!("k{}", seq % 7), value).unwrap();
        while log.maintain().unwrap() != Maintained::Nothing {}
    }
}

/// Nothing is kept for the sake of its age.
fn at_once(disk: &SimFs) -> CopyOptions {
    let clock = Arc::new(disk.clone());
    CopyOptions::new().keep(Duration::ZERO).clock(clock)
}

fn start(log: &Log, store: &Store, options: CopyOptions) -> Copier {
    Copier::start(log.stored().unwrap(), store, options).unwrap()
}

/// Copies so often, with something new each time, that whatever may be deleted is.
fn copy_on(log: &Log, copier: &mut Copier) {
    for _ in 0..40 {
        log.append("more").unwrap();
        copier.step().unwrap();
        while copier.collect().unwrap() {}
    }
}

fn sealed_here(log: &Log) -> Vec<SegmentId> {
    let segments = log.segments().unwrap();
    let here = segments.iter().filter(|it| it.is_sealed && !it.is_far);
    here.map(|it| it.id).collect()
}

fn far_count(log: &Log) -> usize {
    log.segments()
        .unwrap()
        .iter()
        .filter(|it| it.is_far)
        .count()
}

#[test]
fn is_a_log_the_same_whose_old_segments_live_in_the_store_alone() {
    let (store, faulty) = store();
    let disk = SimFs::new(1);
    let log = tiered(&disk, &store).open("/log").unwrap();
    fill(&log, 200);
    let mut copier = start(&log, &store, at_once(&disk));
    copier.step().unwrap();
    let before = shown(&log.reader());
    let ids = sealed_here(&log);
    assert!(ids.len() > 6);
    assert_eq!(copier.release(&log, &ids[..5]).unwrap().segments, ids[..5]);
    assert_eq!(shown(&log.reader()), before);
    copy_on(&log, &mut copier);
    let now = shown(&log.reader());
    assert_eq!(now[..before.len()], before);
    // Restored, and read from afar, as ever; a new log has all of it.
    let other = SimFs::new(2);
    other.write_file(std::path::Path::new("/there"), b"");
    let how = RestoreOptions::new()
        .log(on(&other))
        .vfs(Arc::new(other.clone()));
    how.restore(&store, "/restored", To::Latest).unwrap();
    let restored = on(&other).open("/restored").unwrap();
    assert_eq!(
        (shown(&restored.reader()), far_count(&restored)),
        (now.clone(), 0)
    );
    assert_eq!(shown(&RemoteReader::open(&store).unwrap()), now);
    // Opened anew, by itself and by another process; without the store what is near is read.
    drop((copier, restored));
    log.close().unwrap();
    let log = tiered(&disk, &store).open("/log").unwrap();
    assert_eq!((shown(&log.reader()), far_count(&log)), (now.clone(), 5));
    let reader = tiered(&disk, &store).open_reader("/log").unwrap();
    assert_eq!(shown(&reader), now);
    assert_eq!(tiered(&disk, &store).verify("/log").unwrap().findings, []);
    let without = on(&disk).open_reader("/log").unwrap();
    assert_eq!(without.get(0).unwrap_err().kind(), ErrorKind::Far);
    // A store that is away, and comes back.
    let fresh = tiered(&disk, &store).open_reader("/log").unwrap();
    faulty.plan(|_| Fault::Error);
    assert_eq!(fresh.get(0).unwrap_err().kind(), ErrorKind::Io);
    assert!(fresh.get(now.len() as u64 - 1).unwrap().is_some());
    faulty.plan(|_| Fault::None);
    assert_eq!(shown(&fresh), now);
    // A second store gets what the log has only in the first.
    let (second, _) = common::store();
    start(&log, &second, at_once(&disk)).step().unwrap();
    assert_eq!(shown(&RemoteReader::open(&second).unwrap()), now);
}

/// Whoever copies on into the store from a log of its own may trim, compact, or have another history: what the first log has
/// nowhere else stays, until that log itself has dropped it, or somebody says that it is gone.
#[test]
fn does_another_writer_delete_what_a_log_has_only_there() {
    let (store, _) = store();
    let disk = SimFs::new(3);
    let log = tiered(&disk, &store).open("/log").unwrap();
    fill(&log, 200);
    let mut copier = start(&log, &store, at_once(&disk));
    copier.step().unwrap();
    let ids = sealed_here(&log);
    copier.release(&log, &ids[..5]).unwrap();
    let far = shown(&log.reader());
    // A copier that was replaced lets go of nothing more.
    let other = SimFs::new(4);
    other.write_file(std::path::Path::new("/there"), b"");
    let how = RestoreOptions::new()
        .log(on(&other))
        .vfs(Arc::new(other.clone()));
    how.restore(&store, "/restored", To::Latest).unwrap();
    let heir = tiered(&other, &store).open("/restored").unwrap();
    let mut taken = start(&heir, &store, at_once(&other).take_over(true));
    let refused = copier.release(&log, &ids[5..6]).unwrap_err();
    assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
    assert_eq!(far_count(&log), 5);
    // The heir drops everything that it had, and copies on.
    taken.step().unwrap();
    heir.trim(heir.next_seq()).unwrap();
    copy_on(&heir, &mut taken);
    assert_eq!(
        shown(&tiered(&disk, &store).open_reader("/log").unwrap()),
        far
    );
    // Whether months go by or not, and whoever takes over in the name of the heir.
    drop(taken);
    let mut again = start(&heir, &store, at_once(&other));
    copy_on(&heir, &mut again);
    assert_eq!(
        shown(&tiered(&disk, &store).open_reader("/log").unwrap()),
        far
    );
    // The log comes back, and trims some of it: that goes, and no more.
    drop(again);
    let mut back = start(&log, &store, at_once(&disk).take_over(true));
    let third = log.segments().unwrap()[3].base_seq;
    log.trim(third).unwrap();
    copy_on(&log, &mut back);
    let left: Vec<_> = far.iter().filter(|it| it.0 >= third).cloned().collect();
    let fresh = tiered(&disk, &store).open_reader("/log").unwrap();
    assert_eq!(shown(&fresh)[..left.len()], left);
    // Somebody says that it is gone for good.
    drop(back);
    let mut heir_again = start(
        &heir,
        &store,
        at_once(&other).take_over(true).forget_others(true),
    );
    copy_on(&heir, &mut heir_again);
    let fresh = tiered(&disk, &store).open_reader("/log").unwrap();
    assert_eq!(fresh.get(third).unwrap_err().kind(), ErrorKind::Damaged);
}

/// Whenever the store fails, and whoever takes it over right then: what the log has let go of by then is kept.
#[test]
fn is_what_a_log_let_go_of_kept_whatever_fails_from_some_request_on() {
    let mut released = 0;
    for left in (0..40).step_by(5) {
        let (store, faulty) = store();
        let disk = SimFs::new(left);
        let log = tiered(&disk, &store).open("/log").unwrap();
        fill(&log, 120);
        let mut copier = start(&log, &store, at_once(&disk));
        copier.step().unwrap();
        let before = shown(&log.reader());
        let failing = faulty.request_count() + left;
        faulty.plan(move |number| match number < failing {
            true => Fault::None,
            false => Fault::Error,
        });
        let let_go = copier.release(&log, &sealed_here(&log)[..2]);
        released += far_count(&log);
        assert_eq!(let_go.is_ok(), far_count(&log) == 2, "{let_go:?}");
        drop(copier);
        // Another continuation goes on in the store, without any of it.
        faulty.plan(|_| Fault::None);
        let other = SimFs::new(left + 100);
        other.write_file(std::path::Path::new("/there"), b"");
        let how = RestoreOptions::new()
            .log(on(&other))
            .vfs(Arc::new(other.clone()));
        how.restore(&store, "/restored", To::Latest).unwrap();
        let heir = tiered(&other, &store).open("/restored").unwrap();
        let mut taken = start(&heir, &store, at_once(&other).take_over(true));
        taken.step().unwrap();
        heir.trim(heir.next_seq()).unwrap();
        copy_on(&heir, &mut taken);
        let fresh = tiered(&disk, &store).open_reader("/log").unwrap();
        assert_eq!(shown(&fresh), before, "after {left} requests");
    }
    assert!(released > 0);
}

/// All that is due goes at once. What does not verify stays, keeps no other, and is told once the others are gone.
#[test]
fn does_a_damaged_segment_keep_the_others() {
    let (store, _) = store();
    let disk = SimFs::new(5);
    let log = tiered(&disk, &store).open("/log").unwrap();
    fill(&log, 200);
    let mut copier = start(&log, &store, at_once(&disk));
    copier.step().unwrap();
    let ids = sealed_here(&log);
    let path = std::path::Path::new("/log").join(names::segment(ids[1]));
    assert!(disk.flip_bit(&path, 1000, 2));
    for _ in 0..2 {
        let error = copier.tier(&log, &Tier::new().after_bytes(0)).unwrap_err();
        let Error::Log(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(error.place().segment, Some(ids[1]));
        assert_eq!(sealed_here(&log), [ids[1]]);
    }
    assert!(disk.flip_bit(&path, 1000, 2));
    let report = copier.tier(&log, &Tier::new().after_bytes(0)).unwrap();
    assert_eq!(
        (report.segments.as_slice(), sealed_here(&log)),
        (&ids[1..2], vec![])
    );
    assert_eq!(
        shown(&RemoteReader::open(&store).unwrap()),
        shown(&log.reader())
    );
}

/// What was read back of a segment, before letting go failed for another reason, was in memory and compared the next time: the store
/// was not asked whether it has it, and the log let go of what may have been nowhere else.
#[test]
fn is_a_segment_let_go_of_for_what_was_read_back_before() {
    let (store, faulty) = store();
    let disk = SimFs::new(6);
    let log = tiered(&disk, &store).open("/log").unwrap();
    fill(&log, 200);
    let mut copier = start(&log, &store, at_once(&disk));
    copier.step().unwrap();
    let ids = sealed_here(&log);
    let path = std::path::Path::new("/log").join(names::segment(ids[1]));
    assert!(disk.flip_bit(&path, 1000, 2));
    let Error::Log(error) = copier.release(&log, &ids[..2]).unwrap_err() else {
        panic!("the log itself says no");
    };
    assert_eq!(error.place().segment, Some(ids[1]));
    assert!(disk.flip_bit(&path, 1000, 2));
    faulty.plan(|_| Fault::Error);
    let released = copier.release(&log, &ids[..1]);
    assert!(
        matches!(&released, Err(Error::Log(error)) if error.kind() == ErrorKind::Io),
        "{released:?}"
    );
    assert_eq!(far_count(&log), 0);
    faulty.plan(|_| Fault::None);
    let released = copier.release(&log, &ids[..2]).unwrap();
    assert_eq!(released.segments, ids[..2]);
}

/// By itself, as far as it is told to, and only what is in the store.
#[test]
fn are_old_segments_let_go_of_in_the_background() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, _) = store();
    let log = Log::options()
        .segment_bytes(16 << 10)
        .far_segments(StoreSegments::new(&store))
        .open(dir.path().join("log"))
        .unwrap();
    fill(&log, 600);
    let before = shown(&log.reader());
    let how = ReplicatorOptions::new()
        .interval(Duration::from_millis(20))
        .tier(Tier::new().after_bytes(40 << 10));
    let replicator = Replicator::start(&log, &store, how).unwrap();
    let here = || -> u64 {
        let segments = log.segments().unwrap();
        let here = segments.iter().filter(|it| it.is_sealed && !it.is_far);
        here.map(|it| it.frame_bytes).sum()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while here() > 40 << 10 {
        assert!(Instant::now() < deadline, "{:?}", replicator.status());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(shown(&log.reader()), before);
    assert!(far_count(&log) > 3);
    let status = replicator.stop();
    assert!(
        status.tier_error.is_none() && status.released_count > 3,
        "{status:?}"
    );
    // Only the writer can say that a segment lives elsewhere.
    let how = ReplicatorOptions::new().tier(Tier::new());
    let refused = Replicator::follow(log.stored().unwrap(), &store, how);
    assert!(matches!(refused, Err(Error::InvalidInput(_))));
    // One that was opened without the way to them copies all the same, and says what it does not do.
    let other = Log::options()
        .segment_bytes(16 << 10)
        .open(dir.path().join("other"))
        .unwrap();
    fill(&other, 300);
    let (second, _) = common::store();
    let how = ReplicatorOptions::new().tier(Tier::new().after_bytes(0));
    let replicator = Replicator::start(&other, &second, how).unwrap();
    assert!(replicator.wait_for(other.next_seq() - 1, None).unwrap());
    while replicator.status().tier_error.is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(far_count(&other), 0);
}
