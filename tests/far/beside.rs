//! What else is done with a log while its old segments live elsewhere: dropped, rewound, copied, mended.

use super::{
    attic::{append, everything, is_here, near, options, shown},
    starts, with_far,
};
use cairnlog::{
    BackupOptions, ErrorKind, Inspected, RepairOptions, Retention, Salvaged, StoredLog,
    format::header::HEADER_BYTES,
};
use std::path::Path;

#[test]
fn are_they_dropped_without_a_look_at_them() {
    let (disk, attic, log, _) = with_far(31, 5);
    let all = everything(&log.reader()).swap_remove(0).1;
    let starts = starts(&log);
    let is_left = |from: u64, to: u64| {
        let walk: Vec<_> = log
            .scan(..)
            .unwrap()
            .map(|it| shown(&it.unwrap()))
            .collect();
        assert_eq!(walk, all[from as usize..to as usize]);
    };
    attic.set_away(true);
    log.trim(starts[1]).unwrap();
    log.retain(&Retention::new().seq_min(starts[2])).unwrap();
    attic.set_away(false);
    is_left(starts[2], all.len() as u64);
    // A rewind reads the one that it cuts through, and what stays of it is here.
    attic.set_away(true);
    let error = log.rewind(starts[4] + 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    is_left_after(&log, starts[5]);
    attic.set_away(false);
    log.rewind(starts[4] + 3).unwrap();
    is_left(starts[2], starts[4] + 3);
    attic.set_away(true);
    log.rewind(starts[4]).unwrap();
    attic.set_away(false);
    is_left(starts[2], starts[4]);
    assert_eq!(
        log.segments()
            .unwrap()
            .iter()
            .filter(|it| it.is_far)
            .count(),
        2
    );
    log.close().unwrap();
    let log = options(&disk, &attic).open("/log").unwrap();
    let walk: Vec<_> = log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect();
    assert_eq!(walk, (starts[2]..starts[4]).collect::<Vec<_>>());
    append(&log, 3);
}

/// After a rewind that failed everything is as it was.
fn is_left_after(log: &cairnlog::Log, from: u64) {
    let near = log.scan(from..).unwrap().map(|it| it.unwrap().seq());
    assert_eq!(near.last(), Some(log.next_seq() - 1));
}

/// A log of which all but a little lives elsewhere is as large as ever, and retention keeps it to its bounds.
#[test]
fn does_retention_by_bytes_count_them() {
    let (disk, attic, log, far) = with_far(36, 5);
    let bytes = |log: &cairnlog::Log| -> Vec<u64> {
        let segments = log.segments().unwrap();
        let bytes = segments
            .iter()
            .map(|it| it.frame_bytes + HEADER_BYTES as u64);
        bytes.collect()
    };
    let (all, starts) = (bytes(&log), starts(&log));
    attic.set_away(true);
    let max = all[2..].iter().sum();
    let report = log.retain(&Retention::new().bytes_max(max)).unwrap();
    assert_eq!((report.segment_count, report.head_seq), (2, starts[2]));
    assert_eq!(bytes(&log), all[2..]);
    let left = log.segments().unwrap();
    let left: Vec<_> = left.iter().filter(|it| it.is_far).map(|it| it.id).collect();
    assert_eq!(left, far[2..]);
    // A plan says the same, and so does a log that was opened anew.
    let how = Retention::new().bytes_max(all[4..].iter().sum());
    assert_eq!(
        near(&disk).plan_retain("/log", &how).unwrap().segment_count,
        2
    );
    drop(log);
    let log = options(&disk, &attic).open("/log").unwrap();
    assert_eq!(log.retain(&how).unwrap().head_seq, starts[4]);
}

#[test]
fn is_a_backup_whole() {
    let (disk, attic, log, _) = with_far(32, 4);
    let before = everything(&log.reader());
    let how = BackupOptions::new();
    log.backup("/backup").unwrap();
    options(&disk, &attic)
        .backup("/log", "/beside", &how)
        .unwrap();
    options(&disk, &attic).salvage("/log", "/salvaged").unwrap();
    for copy in ["/backup", "/beside", "/salvaged"] {
        // All of it is there.
        assert_eq!(near(&disk).verify(copy).unwrap().far_count, 0);
        let copy = near(&disk).open(copy).unwrap();
        assert_eq!(everything(&copy.reader())[..4], before[..4]);
        assert_eq!(copy.stats().far_bytes, 0);
    }
    let error = near(&disk).backup("/log", "/other", &how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    let error = near(&disk).salvage("/log", "/other-salvaged").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    attic.set_away(true);
    assert_eq!(log.backup("/third").unwrap_err().kind(), ErrorKind::Io);
}

/// Who copies segments as they are stored gets those as well.
#[test]
fn are_they_copied_as_they_are_stored() {
    let (disk, attic, log, far) = with_far(33, 3);
    let bytes = |stored: &StoredLog| -> Vec<Vec<u8>> {
        let moment = stored.moment().unwrap();
        let of = |it: &cairnlog::StoredSegment| it.open().unwrap().read(0, 1 << 20).unwrap();
        moment.segments.iter().map(|it| of(it).to_vec()).collect()
    };
    let stored = bytes(&log.stored().unwrap());
    assert_eq!(
        stored,
        bytes(&options(&disk, &attic).open_stored("/log").unwrap())
    );
    let moment = near(&disk).open_stored("/log").unwrap().moment().unwrap();
    let entries = moment.segments.iter().filter_map(|it| it.sealed_entry());
    let told: Vec<_> = entries.filter(|it| it.far).map(|it| it.id).collect();
    assert_eq!(told, far);
    assert_eq!(
        moment.segments[0].open().unwrap_err().kind(),
        ErrorKind::Far
    );
    assert!(moment.segments[3].open().is_ok());
}

/// Repair mends what is here, and leaves the rest alone: also if it is missing there.
#[test]
fn does_repair_touch_what_lives_elsewhere() {
    let (disk, attic, log, far) = with_far(34, 3);
    let ids: Vec<_> = log.segments().unwrap().iter().map(|it| it.id).collect();
    let lost = log.segments().unwrap()[5].base_seq;
    let before = everything(&log.reader()).swap_remove(0).1;
    log.close().unwrap();
    let name = cairnlog::format::names::segment(ids[5]);
    assert!(disk.flip_bit(&Path::new("/log").join(name), 200, 1));
    attic.set_away(true);
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let report = options(&disk, &attic).repair("/log", how).unwrap();
    assert_eq!(report.rewritten, [ids[5]]);
    attic.set_away(false);
    let log = options(&disk, &attic).open("/log").unwrap();
    let walk: Vec<_> = log
        .scan(..)
        .unwrap()
        .map(|it| shown(&it.unwrap()))
        .collect();
    let left: Vec<_> = before.into_iter().filter(|it| walk.contains(it)).collect();
    assert_eq!(walk, left);
    assert!(!report.lost.is_empty() && report.lost[0].start >= lost);
    let now: Vec<_> = log
        .segments()
        .unwrap()
        .iter()
        .filter(|it| it.is_far)
        .map(|it| it.id)
        .collect();
    assert_eq!(now, far);
    // A read past damage tells what it cannot have.
    let mut gaps = Vec::new();
    let mut records = 0;
    near(&disk)
        .read_salvage("/log", |item| match item {
            Salvaged::Gap(gap) => gaps.push(gap),
            _ => records += 1,
        })
        .unwrap();
    let told: Vec<_> = gaps.iter().filter_map(|it| it.place.segment).collect();
    assert_eq!(told, far);
    assert!(records > 50);
}

#[test]
fn is_one_shown_frame_by_frame() {
    let (disk, attic, _log, far) = with_far(35, 1);
    assert!(!is_here(&disk, far[0]));
    let show = |options: cairnlog::Options| {
        let (mut records, mut footers) = (0, 0);
        let shown = options.inspect("/log", far[0], |it| match it {
            Inspected::Record { .. } => records += 1,
            Inspected::Footer { .. } => footers += 1,
            _ => {}
        });
        shown.map(|()| (records, footers))
    };
    let (records, footers) = show(options(&disk, &attic)).unwrap();
    assert!(records > 10 && footers == 1);
    let error = show(near(&disk)).unwrap_err();
    assert_eq!(
        (error.kind(), error.place().segment),
        (ErrorKind::Far, Some(far[0]))
    );
}
