//! Is what compaction and packing do what they say, and is it undone where the log changes under them?

use super::{now, options, put, shown};
use cairnlog::{
    CompactProgress, CompactReport, ErrorKind, Log, Maintained, Options,
    format::{Manifest, manifest::SealedEntry},
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{ops::ControlFlow, path::Path, sync::Arc};

const VALUE_BYTES: usize = 50_000;
/// Bytes from one question whether to go on to the next.
const STEP_BYTES: u64 = 256 << 10;

fn sim() -> (SimFs, Options) {
    let disk = SimFs::new(1);
    let options = options().segment_bytes(1 << 20);
    let options = options.vfs(Arc::new(disk.clone()));
    (disk, options)
}

/// Two segments with the same keys, and a third without any of these.
fn three_segments(options: &Options) -> Log {
    let log = options.clone().open("/log").unwrap();
    for round in 0..2 {
        for key in 0..10 {
            let value = format!("{round}").repeat(VALUE_BYTES);
            put(&log, &format!("{key}"), &value);
        }
        put(&log, &format!("only {round}"), "kept");
        log.rotate().unwrap();
    }
    put(&log, "only 2", "kept");
    log.rotate().unwrap();
    log
}

fn manifest(disk: &SimFs) -> Manifest {
    let bytes = disk.read_file(Path::new("/log/MANIFEST")).unwrap();
    Manifest::decode(&bytes).unwrap()
}

/// Does something once, when so much of the copies is written that it is asked whether to go on: nothing is
/// swapped in by then.
fn compacted_beside(log: &Log, written_bytes: u64, mut once: impl FnMut()) -> CompactReport {
    let mut is_done = false;
    let between = |progress: &CompactProgress| {
        if progress.written_bytes >= written_bytes && !std::mem::replace(&mut is_done, true) {
            assert_eq!(progress.run_count, 0);
            once();
        }
        ControlFlow::Continue(())
    };
    let report = log.compact_with(&now(), between).unwrap();
    assert!(is_done, "{report:?}");
    report
}

/// A record is dropped for the sake of a newer one of its key. With that one rewound away, it is the newest.
#[test]
fn is_a_record_kept_whose_newer_one_is_rewound_away_meanwhile() {
    let (disk, options) = sim();
    let log = three_segments(&options);
    let before = shown(&log);
    let report = compacted_beside(&log, 1, || log.rewind(11).unwrap());
    assert!(report.stopped && report.dropped_count == 0, "{report:?}");
    let kept = before.range(..11).map(|(seq, it)| (*seq, it.clone()));
    assert!(shown(&log).into_iter().eq(kept));
    drop(log);
    assert!(options.verify("/log").unwrap().findings.is_empty());
    assert_eq!(manifest(&disk).sealed.len(), 1);
}

/// A sync failed meanwhile: nothing is told as done after that, and nothing swapped.
#[test]
fn is_nothing_swapped_in_after_a_sync_that_failed_meanwhile() {
    let (disk, options) = sim();
    let log = three_segments(&options);
    let (before, entries) = (shown(&log), manifest(&disk).sealed);
    let mut is_done = false;
    let between = |progress: &CompactProgress| {
        if progress.written_bytes > 0 && !std::mem::replace(&mut is_done, true) {
            let rule = FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio));
            disk.fail(rule.on("/log/00000000000000000004.seg"));
            log.append("lost").unwrap_err();
        }
        ControlFlow::Continue(())
    };
    let told = log.compact_with(&now(), between).unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Poisoned);
    assert_eq!(manifest(&disk).sealed, entries);
    assert_eq!(shown(&log), before);
}

/// With that one trimmed away, so is what it made superfluous: then nothing is to be undone, and what was
/// trimmed is not brought back.
#[test]
fn does_it_go_on_where_the_log_is_trimmed_meanwhile() {
    for written_bytes in [0, 1] {
        let (disk, options) = sim();
        let log = three_segments(&options);
        let before = shown(&log);
        let report = compacted_beside(&log, written_bytes, || log.trim(14).unwrap());
        assert!(!report.stopped, "{report:?}");
        let kept = before.range(14..).map(|(seq, it)| (*seq, it.clone()));
        assert!(shown(&log).into_iter().eq(kept));
        let below = |entry: &SealedEntry| entry.next_seq <= 14;
        assert!(!manifest(&disk).sealed.iter().any(below));
        drop(log);
        assert!(options.verify("/log").unwrap().findings.is_empty());
    }
}

/// A whole copy may lie below the head by the time it is swapped in: it goes with its file, and does not stand in
/// the log until the next trim.
#[test]
fn is_a_copy_taken_back_of_which_all_was_trimmed_meanwhile() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for round in 0..2 {
        put(&log, "dead", "x");
        for key in 0..18 {
            put(&log, &format!("{round} {key}"), &"x".repeat(VALUE_BYTES));
        }
        log.rotate().unwrap();
    }
    put(&log, "dead", "x");
    log.rotate().unwrap();
    let mut before = shown(&log);
    before.retain(|seq, _| *seq >= 25);
    let report = compacted_beside(&log, 1, || log.trim(25).unwrap());
    assert!(!report.stopped, "{report:?}");
    assert_eq!(shown(&log), before);
    let named = manifest(&disk);
    let bases: Vec<_> = named
        .sealed
        .iter()
        .map(|it| it.base_seq..it.next_seq)
        .collect();
    assert!(bases.iter().all(|it| it.end > 25), "{bases:?}");
    let mut files = disk.files();
    files.retain(|path| path.extension().is_some_and(|it| it == "seg"));
    assert_eq!(files.len(), named.sealed.len() + 2, "tail and spare");
}

/// Whoever does what is due meanwhile leaves it to the one who is at it.
#[test]
fn does_maintenance_wait_for_a_compaction_that_is_under_way() {
    let (_, options) = sim();
    let log = three_segments(&options.compaction(now().dirty_ratio_min(0.0)));
    let mut told = Vec::new();
    let report = compacted_beside(&log, 1, || told.push(log.maintain().unwrap()));
    assert_eq!(told, [Maintained::Nothing]);
    assert_eq!(report.dropped_count, 10);
}

/// Records below the head that share a segment with others go, too.
#[test]
fn is_what_was_trimmed_dropped_from_its_segment() {
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    for number in 0..9 {
        log.append(format!("{number}")).unwrap();
    }
    log.rotate().unwrap();
    log.trim(4).unwrap();
    let report = log.compact(&now()).unwrap();
    assert_eq!((report.dropped_count, report.kept_count), (4, 5));
    assert_eq!(shown(&log).len(), 5);
}

#[test]
fn does_compaction_say_what_it_has_done_and_is_it_done_with_that() {
    let (disk, options) = sim();
    let log = three_segments(&options);
    let (bytes, records) = (log.stats().sealed_bytes, shown(&log).len() as u64);
    let mut asked = 0;
    let how = now().run_bytes_max(300_000);
    let between = |_: &CompactProgress| {
        asked += 1;
        ControlFlow::Continue(())
    };
    let report = log.compact_with(&how, between).unwrap();
    assert_eq!((report.dropped_count, report.kept_count), (10, 1));
    assert_eq!((report.segments_before, report.segments_after), (1, 1));
    let (before, after) = (report.bytes_before, report.bytes_after);
    assert!(
        before > 10 * VALUE_BYTES as u64 && after < 1000,
        "{report:?}"
    );
    assert_eq!(log.stats().sealed_bytes, bytes - before + after);
    assert_eq!(shown(&log).len() as u64, records - 10);
    let progress = report.progress;
    assert!(
        progress.read_bytes > bytes && progress.read_bytes < 3 * bytes,
        "{report:?}"
    );
    assert!(progress.written_bytes < 1000, "{report:?}");
    assert_eq!((progress.pass_count, progress.run_count), (1, 1));
    let steps = progress.read_bytes / STEP_BYTES;
    assert!((steps..=steps + 2).contains(&asked), "{asked} of {steps}");
    // It is noted that there is nothing more to do, and so nothing is done.
    assert!(manifest(&disk).sealed.iter().all(|it| it.compacted));
    assert_eq!(manifest(&disk).write_features, 0);
    let again = log.compact(&how).unwrap();
    assert_eq!((again.dropped_count, again.segments_before), (0, 0));
}

/// Bytes that are read and bytes that are written, both.
#[test]
fn does_compaction_keep_to_its_rate() {
    let (_, options) = sim();
    let log = three_segments(&options);
    let time = |log: &Log| {
        let seq = log.append("now").unwrap();
        log.get(seq).unwrap().unwrap().timestamp_ms()
    };
    let began_ms = time(&log);
    let how = now().rate_bytes_per_s(Some(1 << 20));
    let report = log.compact(&how).unwrap();
    let took_ms = time(&log) - began_ms;
    let moved = report.progress.read_bytes + report.progress.written_bytes;
    assert!(report.progress.written_bytes > STEP_BYTES, "{report:?}");
    let wanted_ms = i64::try_from((moved * 1000) >> 20).unwrap();
    // The last step need not be waited for.
    let wanted_ms = wanted_ms - 300..wanted_ms + 300;
    assert!(wanted_ms.contains(&took_ms), "{took_ms} of {wanted_ms:?}");
}

#[cfg(feature = "lz4")]
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let byte = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(byte).collect()
}

/// Before the first is packed, the manifest says that some may be: a program that does not know what that is
/// keeps away. What gains nothing stays as it was, and is not tried again.
#[cfg(feature = "lz4")]
#[test]
fn does_packing_say_what_it_has_done_and_is_it_done_with_that() {
    use cairnlog::{Compression, PackOptions};
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    let how = PackOptions::new(Compression::Lz4).rate_bytes_per_s(None);
    // Of these a twelfth could be saved, which is not worth it.
    for state in 0..12 {
        let value = [noise(45_000, state), vec![0; 4_000]].concat();
        log.append(value).unwrap();
    }
    log.rotate().unwrap();
    let before = manifest(&disk).sealed;
    let nothing = log.pack(&how).unwrap();
    assert_eq!((nothing.segments_before, nothing.bytes_after), (0, 0));
    let noted = manifest(&disk);
    assert_eq!(noted.write_features, 4);
    let files = |sealed: &[SealedEntry]| sealed.iter().map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(files(&noted.sealed), files(&before));
    assert!(noted.sealed.iter().all(|it| it.packed), "looked at");
    for _ in 0..12 {
        log.append("the same again and again ".repeat(2_000))
            .unwrap();
    }
    log.rotate().unwrap();
    let report = log.pack(&how).unwrap();
    assert_eq!((report.segments_before, report.segments_after), (1, 1));
    assert!(report.bytes_after < report.bytes_before / 8, "{report:?}");
    assert!(manifest(&disk).sealed.iter().all(|it| it.packed));
    let generation = manifest(&disk).generation;
    assert_eq!(log.pack(&how).unwrap().segments_before, 0);
    assert_eq!(manifest(&disk).generation, generation, "nothing to say");
    // Nor by who opens it the next time.
    drop(log);
    let log = options.pack(how).open("/log").unwrap();
    let generation = manifest(&disk).generation;
    log.maintain().unwrap();
    assert_eq!(manifest(&disk).generation, generation);
    assert_eq!(log.scan(..).unwrap().count(), 24);
    assert_eq!(
        log.stats().sealed_bytes,
        manifest(&disk).sealed.iter().map(|it| it.frames_end).sum()
    );
}
