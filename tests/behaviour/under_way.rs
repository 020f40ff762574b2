//! What does everybody else see while a call to the disk is under way?

use crate::gated::Gated;
use cairnlog::{
    ErrorKind, Log, Options,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

fn gated() -> (Gated, Options) {
    let gated = Gated::new(&SimFs::new(1));
    let options = Log::options()
        .vfs(Arc::new(gated.clone()))
        .background(false)
        .segment_bytes(4096);
    (gated, options)
}

/// A watermark that was raised before the sync instead of after it passed every other test: nothing else
/// looks while a sync is in flight. A reader would be shown what a power cut takes away.
#[test]
fn is_a_record_shown_before_its_sync_returned() {
    let (gated, options) = gated();
    let log = options.open("/log").unwrap();
    log.append("first").unwrap();
    gated.hold(OpKind::Sync, ".seg");
    let other = log.clone();
    let appends = thread::spawn(move || other.append("second").unwrap());
    gated.wait_until_held();
    let mut tail = log.tail(1);
    let seen = (log.durable_seq(), log.get(1).unwrap().is_some());
    let followed = tail.next_timeout(Duration::from_millis(20)).unwrap();
    gated.release();
    assert_eq!(appends.join().unwrap(), 1);
    assert_eq!(
        (seen, followed),
        ((1, false), None),
        "shown before it was durable"
    );
    assert_eq!(&*tail.next().unwrap().unwrap(), b"second");
}

/// The same for readers of another process, which are told by a file.
#[test]
fn is_another_process_told_of_a_record_before_its_sync_returned() {
    let (gated, options) = gated();
    let log = options.clone().open("/log").unwrap();
    log.append("first").unwrap();
    let reader = options.open_reader("/log").unwrap();
    gated.hold(OpKind::Sync, ".seg");
    let other = log.clone();
    let appends = thread::spawn(move || other.append("second").unwrap());
    gated.wait_until_held();
    // Whoever else has something to tell at this moment.
    log.trim(0).unwrap();
    let seen = (reader.end_seq(), reader.get(1).unwrap().is_some());
    gated.release();
    assert_eq!(appends.join().unwrap(), 1);
    assert_eq!(seen, (1, false), "told before it was durable");
    assert_eq!(reader.end_seq(), 2);
}

/// The same of a mark: a vote that is seen is acted on.
#[test]
fn is_a_mark_shown_before_it_is_durable() {
    let (gated, options) = gated();
    let log = options.clone().open("/log").unwrap();
    log.set_mark("vote", "old").unwrap();
    let reader = options.open_reader("/log").unwrap();
    gated.hold(OpKind::SyncDir, "/log");
    let other = log.clone();
    let sets = thread::spawn(move || other.set_mark("vote", "new").unwrap());
    gated.wait_until_held();
    let seen = (log.mark("vote"), reader.mark("vote").unwrap());
    gated.release();
    sets.join().unwrap();
    let old = Some(b"old".to_vec());
    assert_eq!(seen, (old.clone(), old), "shown before it was durable");
    assert_eq!(log.mark("vote").as_deref(), Some(&b"new"[..]));
}

/// Two threads synced the directory at once, each by itself: the system told the loss of a name to one of
/// them, and the other was told that all is well.
#[test]
fn is_the_directory_synced_by_one_at_a_time() {
    let (gated, options) = gated();
    let log = options.open("/log").unwrap();
    log.append("first").unwrap();
    let syncs = || {
        let trace = gated.disk.trace();
        let syncs = trace.iter().filter(|event| event.kind == OpKind::SyncDir);
        syncs.count()
    };
    gated.hold(OpKind::SyncDir, "/log");
    let its = log.clone();
    let trims = thread::spawn(move || its.trim(1).unwrap());
    gated.wait_until_held();
    let before = syncs();
    let its = log.clone();
    let consumes = thread::spawn(move || its.consumer("mail").map(drop));
    thread::sleep(Duration::from_millis(60));
    let meanwhile = syncs() - before;
    gated.release();
    trims.join().unwrap();
    consumes.join().unwrap().unwrap();
    assert_eq!(meanwhile, 0);
    assert!(syncs() > before + 1);
}

/// So who waits for its turn hears of the failure of the one before.
#[test]
fn does_who_waits_to_sync_the_directory_hear_that_another_failed() {
    let (gated, options) = gated();
    let log = options.open("/log").unwrap();
    log.append("first").unwrap();
    gated.hold(OpKind::SyncDir, "/log");
    let its = log.clone();
    let trims = thread::spawn(move || its.trim(1));
    gated.wait_until_held();
    let its = log.clone();
    let consumes = thread::spawn(move || its.consumer("mail").map(drop));
    thread::sleep(Duration::from_millis(60));
    let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    gated.disk.fail(FaultRule::nth(OpKind::SyncDir, 0, lies));
    gated.release();
    let trimmed = trims.join().unwrap().unwrap_err();
    assert_eq!(trimmed.kind(), ErrorKind::Indeterminate);
    assert!(consumes.join().unwrap().is_err(), "told as durable");
    assert_eq!(log.append("more").unwrap_err().kind(), ErrorKind::Poisoned);
}

/// So long a reader waits that nobody wakes, who then sees all the same that there is something; one that
/// is woken has it in a fraction of that.
const SLEEPS_ON: Duration = Duration::from_secs(8);

/// Every reader that waits is woken, not only the first.
#[test]
fn are_all_readers_that_wait_woken_by_an_append() {
    let (_, options) = gated();
    let log = options.open("/log").unwrap();
    let waits: Vec<_> = (0..4)
        .map(|_| {
            let mut tail = log.tail(0);
            thread::spawn(move || tail.next_timeout(SLEEPS_ON).unwrap())
        })
        .collect();
    thread::sleep(Duration::from_millis(60));
    log.append("news").unwrap();
    let told = Instant::now();
    for wait in waits {
        let record = wait.join().unwrap();
        assert_eq!(record.as_deref(), Some(&b"news"[..]));
    }
    assert!(told.elapsed() < SLEEPS_ON / 2, "one of them slept on");
}

/// Nor does one of them sleep on when nothing more can come.
#[test]
fn are_all_readers_that_wait_let_go_when_the_log_is_closed() {
    let (_, options) = gated();
    let log = options.open("/log").unwrap();
    let waits: Vec<_> = (0..4)
        .map(|_| {
            let mut tail = log.tail(0);
            thread::spawn(move || {
                let none = tail.next_timeout(SLEEPS_ON).unwrap();
                (none, tail.is_finished())
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(60));
    log.close().unwrap();
    let told = Instant::now();
    for wait in waits {
        assert_eq!(wait.join().unwrap(), (None, true));
    }
    assert!(told.elapsed() < SLEEPS_ON / 2, "one of them slept on");
}

/// The worker was filling space with zeros when an append came that went beyond what was filled. If it did
/// not wait for the piece in flight, zeros ran over its frame after it had been acknowledged.
#[test]
fn does_a_fill_ahead_run_over_what_is_appended_meanwhile() {
    let (gated, options) = gated();
    gated.hold(OpKind::Write, "1.seg zeros");
    let options = options.background(true).segment_bytes(1 << 20);
    let log = options.clone().open("/log").unwrap();
    gated.wait_until_held();
    let its = log.clone();
    let appends = thread::spawn(move || its.append("not to be run over").unwrap());
    thread::sleep(Duration::from_millis(60));
    gated.release();
    assert_eq!(appends.join().unwrap(), 0);
    assert_eq!(
        log.get(0).unwrap().as_deref(),
        Some(&b"not to be run over"[..])
    );
    drop(log);
    let report = options.verify("/log").unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
