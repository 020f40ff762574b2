//! Does every failed sync end all writing, whoever made it?
//!
//! Compaction, a new spare, a rewind and a footer synced by themselves, and went on after a failure. The
//! system tells a lost write once: the sync of a commit that came later returned success, and the commit
//! could be undone by a power cut after it had been told as done.

use crate::unchanged::unchanged;
use cairnlog::{
    AppendOptions, CompactOptions, ErrorKind, Log, Maintained, NewRecord, Options,
    vfs::{
        Vfs,
        sim::{Choice, Errno, Fault, FaultRule, OpKind, Outcome, SimFs, SyncFailure},
    },
};
use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

const DIR: &str = "/log";

fn options(disk: &SimFs) -> Options {
    Log::options()
        .segment_bytes(600)
        .background(false)
        .publish(false)
        .vfs(Arc::new(disk.clone()))
}

/// Everything that syncs: appends, rotation and sealing, trim, compaction, cursors, rewind, close.
fn life(log: &Log) -> Vec<(&'static str, cairnlog::Result<()>)> {
    let how = CompactOptions::new()
        .rate_bytes_per_s(None)
        .tombstone_age_min(Duration::ZERO);
    let mut told = Vec::new();
    for round in 0..2 {
        for i in 0..16_u32 {
            let value = format!("value {i} {}", "v".repeat(60));
            let record = [NewRecord::keyed(
                if i < 3 { "once" } else { "again" },
                &value,
            )];
            let appended = log.append_records(&record, &AppendOptions::new());
            told.push(("append", appended.map(drop)));
        }
        told.push(("rotate", log.rotate()));
        told.push(("maintain", maintain(log)));
        told.push(("compact", log.compact(&how).map(drop)));
        told.push(("trim", log.trim(3 + round)));
        told.push((
            "cursor",
            log.consumer("c").and_then(|c| c.ack(log.next_seq() - 1)),
        ));
        told.push(("rewind", log.rewind(log.next_seq() - 1)));
    }
    told.push(("close", log.close()));
    told
}

fn maintain(log: &Log) -> cairnlog::Result<()> {
    while log.maintain()? != Maintained::Nothing {}
    Ok(())
}

#[test]
fn is_nothing_written_or_told_as_done_after_any_failed_sync() {
    let mut met = 0;
    for kind in [OpKind::Sync, OpKind::SyncDir] {
        for nth in 0.. {
            let disk = SimFs::new(1);
            let log = options(&disk).open(DIR).unwrap();
            log.append("first").unwrap();
            let before = disk.trace().len();
            let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
            disk.fail(FaultRule::nth(kind, nth, lies));
            let told = life(&log);
            if disk.fault_count() == 0 {
                break;
            }
            met += 1;
            let trace = disk.trace();
            let failed = |outcome: Outcome| matches!(outcome, Outcome::Failed(_));
            let mut after = trace[before..].iter();
            let first = after
                .find(|it| it.kind == kind && failed(it.outcome))
                .unwrap();
            let writes = |kind: OpKind| kind.is_operation() && kind != OpKind::Lock;
            let changes: Vec<String> = after
                .filter(|it| writes(it.kind) && !failed(it.outcome))
                .map(ToString::to_string)
                .collect();
            assert!(changes.is_empty(), "after {first}:\n{}", changes.join("\n"));
            let refused = told.iter().position(|(_, outcome)| outcome.is_err());
            let refused = refused.unwrap_or_else(|| panic!("{first}: nobody was told"));
            for (what, outcome) in &told[refused + 1..] {
                let kind = outcome.as_ref().err().map(cairnlog::Error::kind);
                // An end that is there already, and a closed log, are no lies.
                let idle = matches!(*what, "compact" | "maintain") && kind.is_none();
                assert!(
                    kind == Some(ErrorKind::Poisoned) || idle,
                    "{first}: {what}: {outcome:?}"
                );
            }
            drop(log);
            let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
            let log = options(&lost).open(DIR).unwrap();
            let head = told
                .iter()
                .filter(|(what, it)| *what == "trim" && it.is_ok())
                .count() as u64;
            let trimmed = if head > 0 { 2 + head } else { 0 };
            assert!(
                log.head_seq() >= trimmed,
                "{first}: a trim that was told is undone"
            );
        }
    }
    assert!(met > 40, "{met} syncs failed");
}

/// A disk that goes by paths, and where something happens right behind the rename of a commit.
struct Meets {
    disk: SimFs,
    hook: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Meets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meets")
    }
}

impl Vfs for Meets {
    unchanged!(disk: create_dir, list, create_new, open, remove, sync_dir, try_lock);
    unchanged!(disk: unix_time_ms, monotonic, sleep, random);
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let renamed = self.disk.rename(from, to);
        if to.ends_with("MANIFEST")
            && let Some(hook) = self.hook.lock().unwrap().take()
        {
            hook();
        }
        renamed
    }
}

/// Another thread's sync of the directory failed between the rename of a commit and the commit's own,
/// which then returned success and meant nothing: the trim was told as done, and a power cut undid it.
#[test]
fn is_a_commit_that_met_the_failed_sync_of_another_told_as_unknown() {
    let disk = SimFs::new(1);
    let meets = Arc::new(Meets {
        disk: disk.clone(),
        hook: Mutex::default(),
    });
    let log = options(&disk).vfs(meets.clone()).open(DIR).unwrap();
    (0..9).for_each(|i| _ = log.append(format!("{i}")).unwrap());
    let (other, its_disk) = (log.clone(), disk.clone());
    *meets.hook.lock().unwrap() = Some(Box::new(move || {
        let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
        its_disk.fail(FaultRule::nth(OpKind::SyncDir, 0, lies));
        let cursor = std::thread::spawn(move || other.consumer("c").map(drop));
        assert_eq!(cursor.join().unwrap().unwrap_err().kind(), ErrorKind::Io);
    }));
    assert_eq!(log.trim(5).unwrap_err().kind(), ErrorKind::Indeterminate);
    assert_eq!(log.trim(6).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(log.append("more").unwrap_err().kind(), ErrorKind::Poisoned);
    drop(log);
    let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
    assert_eq!(options(&lost).open(DIR).unwrap().next_seq(), 9);
}
