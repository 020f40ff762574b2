//! Is a log the same when its old segments live elsewhere, and does it say so when they cannot be read there?

mod again;
mod attic;
mod beside;
mod crash;
mod keys;

use attic::{Attic, RECORDS, Remembering, append, everything, is_here, near, options, shown};
use cairnlog::{
    Defect, ErrorKind, Health, Log, SegmentId, Seq,
    format::{Manifest, header::HEADER_BYTES},
    vfs::sim::SimFs,
};
use std::{path::Path, sync::Arc};

/// A log whose oldest segments, so many of them, live in the attic; which they are.
fn with_far(seed: u64, count: usize) -> (SimFs, Arc<Attic>, Log, Vec<SegmentId>) {
    let (disk, attic) = (SimFs::new(seed), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS);
    let far = attic.release(&disk, &log, count);
    (disk, attic, log, far)
}

/// The first seq of each segment.
fn starts(log: &Log) -> Vec<Seq> {
    let segments = log.segments().unwrap();
    segments.iter().map(|it| it.base_seq).collect()
}

#[test]
fn does_a_reader_cross_the_border_unnoticed() {
    let (disk, attic) = (SimFs::new(1), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS);
    let before = everything(&log.reader());
    assert_eq!(before[0].1.len() as u64, RECORDS);
    // A walk that has begun goes on in the files that it has, or with what takes their place.
    let mut walk = log.scan(..).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().seq(), 0);
    let other = options(&disk, &attic).open_reader("/log").unwrap();
    let mut far_walk = other.scan(..).unwrap();
    assert_eq!(far_walk.next().unwrap().unwrap().seq(), 0);
    let far = attic.release(&disk, &log, 5);
    assert_eq!(walk.map(|it| it.unwrap().seq()).last(), Some(RECORDS - 1));
    assert_eq!(far_walk.count() as u64, RECORDS - 1);
    assert!(far.iter().all(|id| !is_here(&disk, *id)));
    assert_eq!(everything(&log.reader()), before);
    assert_eq!(everything(&other), before);
    // And after everything was opened anew.
    log.close().unwrap();
    let log = options(&disk, &attic).open("/log").unwrap();
    assert_eq!(everything(&log.reader()), before);
    let reader = options(&disk, &attic).open_reader("/log").unwrap();
    assert_eq!(everything(&reader), before);
    let told: Vec<_> = log.segments().unwrap().iter().map(|it| it.is_far).collect();
    assert!(told[..5].iter().all(|far| *far) && !told[5..].iter().any(|far| *far));
    let stats = log.stats();
    assert!(stats.far_bytes > 0 && stats.far_bytes < stats.sealed_bytes);
    // Once more is nothing new; the rest goes the same way.
    assert_eq!(log.release(&far).unwrap().segments, []);
    attic.release(&disk, &log, 1);
    assert_eq!(everything(&reader), before);
    append(&log, 20);
    assert_eq!(log.scan(..).unwrap().count() as u64, RECORDS + 20);
}

/// It says where the records are; everything else goes on.
#[test]
fn what_does_a_log_do_that_was_not_told_where_they_live() {
    let (disk, _, log, far) = with_far(2, 4);
    let border = log.segments().unwrap()[4].base_seq;
    let all = everything(&log.reader());
    log.close().unwrap();
    let log = near(&disk).open("/log").unwrap();
    append(&log, 10);
    log.trim(3).unwrap();
    for reader in [log.reader(), near(&disk).open_reader("/log").unwrap()] {
        assert!(reader.get(border).unwrap().is_some());
        let near = reader
            .scan(border..RECORDS)
            .unwrap()
            .map(|it| shown(&it.unwrap()));
        assert!(near.eq(all[0].1[border as usize..].iter().cloned()));
        let error = reader.get(3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Far);
        assert_eq!(error.place().segment, Some(far[0]));
        assert_eq!(error.defect_found(), Some(Defect::Far));
        let walked = reader.scan(..).unwrap().next().unwrap();
        assert_eq!(walked.unwrap_err().kind(), ErrorKind::Far);
    }
    assert_eq!(
        log.release(&far).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let report = near(&disk).verify("/log").unwrap();
    assert_eq!((report.findings.as_slice(), report.far_count), (&[][..], 4));
    assert_eq!(report.next_seq, log.next_seq());
}

/// To a program from before their files would be missing: it has to refuse by the number of the feature.
#[test]
fn does_the_manifest_state_the_feature_while_there_are_any() {
    let (disk, _, log, _) = with_far(3, 2);
    let stated = || {
        let bytes = disk.read_file(Path::new("/log/MANIFEST")).unwrap();
        Manifest::decode(&bytes).unwrap();
        u32::from_le_bytes(bytes[12..16].try_into().unwrap())
    };
    assert_eq!(stated(), 1 << 5);
    log.set_mark("and", "a mark").unwrap();
    assert_eq!(stated(), 1 << 5 | 1 << 4);
    log.trim(log.segments().unwrap()[2].base_seq).unwrap();
    assert_eq!(stated(), 1 << 4);
    log.remove_mark("and").unwrap();
    assert_eq!(stated(), 0);
}

/// Whoever copies may have copied badly, or not at all.
#[test]
fn is_anything_let_go_of_that_is_not_the_same_elsewhere() {
    type Change = fn(Vec<u8>) -> Option<Vec<u8>>;
    let cases: [(&str, Change); 5] = [
        ("nothing is there", |_| None),
        ("a bit of a record is another", |mut bytes| {
            bytes[1000] ^= 4;
            Some(bytes)
        }),
        ("a bit of the header is another", |mut bytes| {
            bytes[70] ^= 1;
            Some(bytes)
        }),
        ("the end is missing", |bytes| Some(bytes[..3000].to_vec())),
        ("the footer is missing", |mut bytes| {
            let at = bytes.windows(8).position(|it| it == b"CAIRNFTR");
            bytes.truncate(at.unwrap());
            Some(bytes)
        }),
    ];
    for (what, change) in cases {
        let (disk, attic) = (SimFs::new(4), Attic::new());
        let log = options(&disk, &attic).open("/log").unwrap();
        append(&log, RECORDS);
        let before = everything(&log.reader());
        let ids = attic.take(&disk, &log);
        attic.change(ids[1], change);
        let generation = disk.read_file(Path::new("/log/MANIFEST"));
        let error = log.release(&ids[..3]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        assert_eq!(error.place().segment, Some(ids[1]), "{what}");
        assert_eq!(disk.read_file(Path::new("/log/MANIFEST")), generation);
        assert!(ids.iter().all(|id| is_here(&disk, *id)), "{what}");
        assert_eq!(log.release(&ids[..1]).unwrap().segments, ids[..1]);
        assert_eq!(everything(&log.reader()), before, "{what}");
    }
}

/// Wherever the two differ, by a bit: in the header, in any batch, in the last one.
#[test]
fn does_a_bit_anywhere_elsewhere_keep_a_segment_here() {
    let (disk, attic) = (SimFs::new(6), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS / 3);
    let first = log.segments().unwrap()[0];
    attic.take(&disk, &log);
    let start = HEADER_BYTES as u64;
    let end = start + first.frame_bytes;
    for offset in (start..end).step_by(53).chain([end - 1]) {
        let flip = |mut bytes: Vec<u8>| {
            bytes[offset as usize] ^= 0x10;
            Some(bytes)
        };
        attic.change(first.id, flip);
        let error = log.release(&[first.id]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{offset}: {error}");
        assert!(is_here(&disk, first.id) && !log.segments().unwrap()[0].is_far);
        attic.change(first.id, flip);
    }
    assert_eq!(log.release(&[first.id]).unwrap().segments, [first.id]);
}

/// Who reads there may keep what it read; by the time that a segment is let go of, it may be there no more, or be another.
#[test]
fn is_a_segment_let_go_of_for_what_was_read_elsewhere_before() {
    for (seed, is_gone) in [(7, true), (8, false)] {
        let (disk, attic) = (SimFs::new(seed), Attic::new());
        let remembering = Remembering::of(&attic);
        let log = near(&disk).far_segments(remembering).open("/log").unwrap();
        append(&log, RECORDS);
        let ids = attic.take(&disk, &log);
        // The first is read there, and then the second keeps both.
        attic.change(ids[1], |_| None);
        log.release(&ids[..2]).unwrap_err();
        attic.change(ids[0], |mut bytes| {
            bytes[1000] ^= 4;
            (!is_gone).then_some(bytes)
        });
        let error = log.release(&ids[..1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(is_here(&disk, ids[0]));
        attic.take(&disk, &log);
        assert_eq!(log.release(&ids[..2]).unwrap().segments, ids[..2]);
    }
}

/// What does not verify here is not made to look well by being elsewhere as well.
#[test]
fn is_damage_let_go_of() {
    let (disk, attic) = (SimFs::new(5), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS);
    let name = cairnlog::format::names::segment(log.segments().unwrap()[0].id);
    assert!(disk.flip_bit(&Path::new("/log").join(name), 1000, 3));
    let ids = attic.take(&disk, &log);
    let error = log.release(&ids).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(error.place().segment, Some(ids[0]));
    assert!(log.segments().unwrap().iter().all(|it| !it.is_far));
}

/// The store is away, and comes back; a copy is lost for good.
#[test]
fn what_is_lost_if_they_cannot_be_read_there() {
    let (disk, attic, log, far) = with_far(6, 4);
    let before = everything(&log.reader());
    log.close().unwrap();
    let log = options(&disk, &attic).open("/log").unwrap();
    let starts = starts(&log);
    attic.set_away(true);
    let error = log.get(0).unwrap_err();
    assert_eq!(
        (error.kind(), error.place().segment),
        (ErrorKind::Io, Some(far[0]))
    );
    assert!(log.get(starts[4]).unwrap().is_some());
    append(&log, 5);
    log.rewind(RECORDS).unwrap();
    attic.set_away(false);
    assert_eq!(everything(&log.reader()), before);

    attic.change(far[1], |_| None);
    attic.change(far[2], |mut bytes| {
        bytes[1500..1540].fill(0xee);
        Some(bytes)
    });
    drop(log);
    let log = options(&disk, &attic).open("/log").unwrap();
    let error = log.get(starts[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(error.defect_found(), Some(Defect::MissingFar));
    assert_eq!(error.place().segment, Some(far[1]));
    for seq in [0, starts[3], starts[4]] {
        assert!(log.get(seq).unwrap().is_some());
    }
    let report = options(&disk, &attic).verify("/log").unwrap();
    let missing = report
        .findings
        .iter()
        .find(|it| it.place.segment == Some(far[1]));
    let missing = missing.unwrap();
    assert_eq!(missing.defect, Defect::MissingFar);
    assert_eq!(missing.seqs, starts[1]..starts[2]);
    let of_other = |it: &&cairnlog::Finding| it.place.segment == Some(far[2]);
    let lost = report
        .findings
        .iter()
        .filter(of_other)
        .map(|it| it.seqs.clone());
    assert!((1..3).contains(&lost.map(|it| it.end - it.start).sum::<u64>()));
    // Whoever does not look there is told how much he did not look at.
    let report = near(&disk).verify("/log").unwrap();
    assert_eq!((report.health(), report.far_count), (Health::Clean, 4));
}
