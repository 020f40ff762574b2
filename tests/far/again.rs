//! A backup that a later one brings up to date, of a log whose old segments live elsewhere: it has all of it each time, and
//! what it has is not fetched again.

use super::{
    attic::{Attic, append, everything, near, options},
    starts, with_far,
};
use cairnlog::{
    BackupOptions, BackupReport, ErrorKind, Log, SegmentId,
    vfs::{Vfs, sim::SimFs},
};
use std::{path::Path, sync::Arc};

const TO: &str = "/backup";

/// The files of the backup, by name and size.
fn files(disk: &SimFs) -> Vec<(String, u64)> {
    let listed = disk.list(Path::new(TO)).unwrap();
    let files = listed
        .into_iter()
        .filter(|it| it.is_file && it.name != "LOCK");
    let mut files: Vec<_> = files.map(|it| (it.name, it.size_bytes)).collect();
    files.sort();
    files
}

fn sealed(log: &Log) -> Vec<SegmentId> {
    let segments = log.segments().unwrap().into_iter();
    segments.filter(|it| it.is_sealed).map(|it| it.id).collect()
}

/// The backup is all of the log, and needs nothing that lives elsewhere.
fn check(disk: &SimFs, log: &Log) {
    let report = near(disk).verify(TO).unwrap();
    assert_eq!((report.findings.as_slice(), report.far_count), (&[][..], 0));
    let copy = near(disk).open_reader(TO).unwrap();
    assert_eq!(everything(&copy), everything(&log.reader()));
}

/// The log, its backup, and which sealed segments that has.
struct Pair {
    disk: SimFs,
    attic: Arc<Attic>,
    log: Log,
    how: BackupOptions,
    known: Vec<SegmentId>,
}

impl Pair {
    /// Backs up, while what lives elsewhere is away or not, and checks that what was there is kept, and no more.
    fn update(&mut self, away: bool) -> BackupReport {
        self.attic.set_away(away);
        let report = self.log.backup_with(TO, &self.how).unwrap();
        self.attic.set_away(false);
        let now = sealed(&self.log);
        let kept = now.iter().filter(|id| self.known.contains(id)).count();
        assert_eq!(report.kept_count, kept as u64, "{report:?}");
        check(&self.disk, &self.log);
        self.known = now;
        report
    }
}

#[test]
fn is_it_brought_up_to_date_over_the_border() {
    for copy in [false, true] {
        let how = BackupOptions::new().copy(copy);
        let (disk, attic, log, _) = with_far(41, 4);
        let mut pair = Pair {
            disk,
            attic,
            log,
            how,
            known: Vec::new(),
        };
        let first = pair.update(false);
        assert!(first.copied_count >= 4, "{first:?}");
        // What was fetched is there: nothing is asked for any more.
        append(&pair.log, 40);
        assert!(pair.update(true).kept_count > 4);
        // Let go of since: its file in the backup is what it was.
        pair.attic.release(&pair.disk, &pair.log, 2);
        append(&pair.log, 40);
        assert!(pair.update(true).kept_count > 6);
        // Appended, sealed and let go of since: fetched.
        append(&pair.log, 200);
        let here = pair.attic.take(&pair.disk, &pair.log);
        let fresh = here.iter().filter(|id| !pair.known.contains(id)).count();
        pair.attic.release(&pair.disk, &pair.log, here.len());
        let report = pair.update(false);
        assert!(
            fresh > 1 && report.copied_count >= fresh as u64,
            "{report:?}"
        );
        // Dropped since: neither is it in the backup.
        let head = starts(&pair.log)[5] + 1;
        pair.log.trim(head).unwrap();
        append(&pair.log, 3);
        pair.update(true);
        assert_eq!(near(&pair.disk).open_reader(TO).unwrap().head_seq(), head);
        // Beside a writer of another process it is the same; who has all of it needs no way to the others.
        for options in [options(&pair.disk, &pair.attic), near(&pair.disk)] {
            append(&pair.log, 3);
            options.backup("/log", TO, &pair.how).unwrap();
            check(&pair.disk, &pair.log);
        }
    }
}

/// What cannot be fetched, or is not what it was, ends the backup before it changes anything.
#[test]
fn does_a_failed_fetch_leave_the_former() {
    let (disk, attic, log, _) = with_far(42, 2);
    let how = BackupOptions::new();
    log.backup(TO).unwrap();
    let (former, before) = (files(&disk), near(&disk).open_reader(TO).unwrap().end_seq());
    append(&log, 80);
    let here = attic.take(&disk, &log);
    attic.release(&disk, &log, here.len());
    let fresh = *here.last().unwrap();
    let is_as_it_was = |what: &str| {
        assert_eq!(files(&disk), former, "{what}");
        let report = near(&disk).verify(TO).unwrap();
        assert_eq!(
            (report.findings.len(), report.next_seq),
            (0, before),
            "{what}"
        );
    };
    attic.set_away(true);
    let error = log.backup(TO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.place().segment.is_some(), "{error}");
    is_as_it_was("away");
    attic.set_away(false);
    let error = near(&disk).backup("/log", TO, &how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far, "{error}");
    is_as_it_was("without the way");
    let mut whole = Vec::new();
    for what in ["a bit of a record", "cut", "gone"] {
        attic.change(fresh, |bytes| {
            whole = bytes.clone();
            let mut other = bytes;
            match what {
                "cut" => other.truncate(2000),
                "gone" => other.clear(),
                _ => other[1000] ^= 1,
            }
            Some(other)
        });
        let error = log.backup(TO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        assert_eq!(error.place().segment, Some(fresh), "{what}: {error}");
        is_as_it_was(what);
        attic.change(fresh, |_| Some(whole.clone()));
    }
    log.backup(TO).unwrap();
    check(&disk, &log);
}

/// A log with a backup that lacks segments which were sealed and let go of since.
fn behind(seed: u64) -> (SimFs, Arc<Attic>, Log) {
    let (disk, attic) = (SimFs::new(seed), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, 120);
    attic.release(&disk, &log, 1);
    log.backup(TO).unwrap();
    append(&log, 120);
    let here = attic.take(&disk, &log);
    attic.release(&disk, &log, here.len());
    (disk, attic, log)
}

/// The first one, which has to fetch: whole, or no log.
#[test]
fn is_a_first_backup_whole_or_none_when_the_power_goes_while_segments_are_fetched() {
    let (disk, attic) = (SimFs::new(44), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, 120);
    attic.release(&disk, &log, 2);
    let (all, start) = (everything(&log.reader()), disk.op_count());
    log.backup(TO).unwrap();
    let (mut none, mut whole) = (0, 0);
    for op in start..=disk.op_count() {
        for (_, state) in disk.crash_at(op).all(12) {
            match near(&state).open_reader(TO) {
                Err(_) => none += 1,
                Ok(copy) => {
                    whole += 1;
                    assert_eq!(everything(&copy), all, "after {op}");
                    let report = near(&state).verify(TO).unwrap();
                    assert_eq!((report.findings.as_slice(), report.far_count), (&[][..], 0));
                }
            }
        }
    }
    assert!(none > 40 && whole > 5, "{none} {whole}");
}

#[test]
fn is_it_the_former_or_the_next_when_the_power_goes_while_segments_are_fetched() {
    let (disk, attic, log) = behind(43);
    let seen = |disk: &SimFs| everything(&near(disk).open_reader(TO).unwrap());
    let (former, next) = (seen(&disk), everything(&log.reader()));
    let start = disk.op_count();
    let report = log.backup(TO).unwrap();
    assert!(
        report.kept_count > 1 && report.copied_count > 2,
        "{report:?}"
    );
    let (mut formers, mut nexts) = (0, 0);
    for op in start..=disk.op_count() {
        for (_, state) in disk.crash_at(op).all(12) {
            let report = near(&state).verify(TO).unwrap();
            assert_eq!(
                (report.health(), report.far_count),
                (cairnlog::Health::Clean, 0),
                "after {op}"
            );
            match seen(&state) {
                was if was == former => formers += 1,
                was if was == next => nexts += 1,
                was => panic!("neither, after {op}: {was:?}"),
            }
            // The log is none the worse, and the next attempt goes on with what there is.
            if op % 4 == 0 {
                let log = options(&state, &attic).open("/log").unwrap();
                log.backup(TO).unwrap();
                assert_eq!(seen(&state), next, "after {op}");
            }
        }
    }
    assert!(formers > 40 && nexts > 10, "{formers} {nexts}");
}
