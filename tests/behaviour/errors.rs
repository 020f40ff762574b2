//! Does each error say what the caller can do, where it happened, and why?

use crate::{sim, values};
use cairnlog::{
    AppendOptions, Durability, Error, ErrorKind, Log, NewRecord, Op,
    vfs::sim::{Errno, Fault, FaultRule, OpKind},
};
use std::{error::Error as _, path::Path, sync::Arc};

/// A sentence for people: no debug output, no empty parts.
fn reads_well(error: &Error) {
    let text = error.to_string();
    for odd in [
        "Some(", "None", "Error {", "Kind", "\"", "  ", ": :", "Os {",
    ] {
        assert!(!text.contains(odd), "{text}");
    }
    assert!(text.starts_with(&error.op().to_string()), "{text}");
    assert!(!text.ends_with([' ', ':', ',']), "{text}");
}

#[test]
fn limits_are_checked_before_anything_is_queued() {
    let (_disk, options) = sim();
    let log = options.clone().record_bytes_max(300).open("/log").unwrap();
    assert_eq!(log.append(vec![7; 300]).unwrap(), 0, "at the limit");
    let error = log.append(vec![7; 301]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(
        error.to_string(),
        "append: a record of 301 bytes is over the limit of 300 bytes"
    );
    let key = [1; 100];
    let keyed = [NewRecord::keyed(&key, &[2; 201])];
    let error = log
        .append_records(&keyed, &AppendOptions::new())
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::TooLarge,
        "key and value count together"
    );
    assert_eq!(log.append_batch([[0; 300]; 2]).unwrap(), 1..3);
    let error = log.append_batch([[0; 300]; 3]).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::TooLarge,
        "more than a segment together"
    );
    reads_well(&error);
    assert_eq!(log.append("").unwrap(), 3, "an empty record is one");
    assert_eq!(
        log.append_batch([""; 0]).unwrap(),
        4..4,
        "an empty batch is none"
    );
    assert_eq!((log.next_seq(), log.scan(..).unwrap().count()), (4, 4));
    let long_key = vec![0; 70_000];
    let long = [NewRecord::keyed(&long_key, "")];
    let error = log
        .append_records(&long, &AppendOptions::new())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    // Whatever fits by default fits a segment of its own.
    drop(log);
    let log = options.segment_bytes(512).open("/other").unwrap();
    let most = (0..512)
        .rev()
        .find(|len| log.append(vec![1; *len]).is_ok())
        .unwrap();
    assert!(most > 300 && log.append(vec![1; most]).is_ok(), "{most}");
    let full = NewRecord::keyed("k", "").timestamp_ms(1);
    log.append_records(&[full], &AppendOptions::new()).unwrap();
}

#[test]
fn conditional_append_tells_the_actual_number() {
    let (_disk, options) = sim();
    let log = options.open("/log").unwrap();
    let at = |seq| AppendOptions::new().expected_seq(seq);
    assert_eq!(
        log.append_records(&[NewRecord::value("a")], &at(0))
            .unwrap(),
        0..1
    );
    for wrong in [0, 2, u64::MAX] {
        let error = log
            .append_records(&[NewRecord::value("b")], &at(wrong))
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.next_seq()),
            (ErrorKind::SeqMismatch, Some(1))
        );
        reads_well(&error);
    }
    assert_eq!(values(&log), ["a"]);
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let (_disk, options) = sim();
    for refused in [
        options.clone().segment_bytes(511),
        options.clone().segment_bytes((1 << 31) + 1),
        options.clone().record_bytes_max(900),
        options.clone().queue_bytes_max(0),
        options.clone().buffer_bytes(0),
    ] {
        let error = refused.open("/log").unwrap_err();
        assert_eq!(
            (error.kind(), error.op()),
            (ErrorKind::InvalidInput, Op::Open)
        );
        reads_well(&error);
    }
    let log = options.open("/log").unwrap();
    log.close().unwrap();
    log.close().unwrap();
    for error in [log.append("x").unwrap_err(), log.rotate().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Closed);
        reads_well(&error);
    }
    assert_eq!(log.rewind(0).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn failed_sync_poisons_and_says_why_ever_after() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    log.append("kept").unwrap();
    let mut tail = log.tail(0);
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    let error = log.append("maybe").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    assert_eq!(error.place().segment.map(|id| id.0), Some(1));
    reads_well(&error);
    let cause = error.source().expect("the sync");
    let os = cause.source().expect("the system's error");
    let os = os.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(os.raw_os_error(), Some(libc::EIO));
    for error in [
        log.append("never").unwrap_err(),
        log.sync().unwrap_err(),
        log.rotate().unwrap_err(),
        log.rewind(0).unwrap_err(),
        log.close().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("Input/output error"), "{error}");
        reads_well(&error);
    }
    assert_eq!(values(&log), ["kept"], "reading goes on");
    assert_eq!(tail.next().unwrap().unwrap().into_bytes(), "kept");
    let told = tail.next().unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Poisoned);
    reads_well(&told);
    assert!(
        tail.next().is_none(),
        "and nobody waits for what will not come"
    );
}

#[test]
fn full_disk_is_no_space_with_its_place() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    disk.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Error(Errno::Enospc),
    ));
    let error = log.append("x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(
        (error.place().segment.map(|id| id.0), error.place().offset),
        (Some(1), Some(128))
    );
    reads_well(&error);
    assert_eq!(log.append("y").unwrap(), 0, "the number of what never was");
}

#[test]
fn damage_is_told_once_with_its_place_and_hides_no_neighbour() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for number in 0..20 {
        log.append(format!("{number:0100}")).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let sealed = Path::new("/log/00000000000000000001.seg");
    let at = disk
        .read_file(sealed)
        .unwrap()
        .windows(3)
        .position(|three| three == b"003")
        .unwrap();
    assert!(disk.flip_bit(sealed, at as u64, 0));
    let log = options.open("/log").unwrap();
    let mut scan = log.scan(..).unwrap();
    let before: Vec<u64> = scan
        .by_ref()
        .map_while(Result::ok)
        .map(|r| r.seq())
        .collect();
    assert_eq!(before, [0, 1, 2]);
    assert!(scan.next().is_none(), "after its error it has ended");
    let error = log.scan(..).unwrap().find_map(Result::err).unwrap();
    assert_eq!((error.kind(), error.op()), (ErrorKind::Damaged, Op::Read));
    let place = error.place();
    assert_eq!(
        (place.segment.map(|id| id.0), place.seq),
        (Some(1), Some(3))
    );
    let offset = place.offset.unwrap() as usize;
    assert!(offset < at && at < offset + 110, "{offset} {at}");
    assert!(error.defect_found().is_some());
    reads_well(&error);
    for seq in (0..20).filter(|seq| *seq != 3) {
        let record = log.get(seq).unwrap().unwrap();
        assert_eq!(&*record, format!("{seq:0100}").as_bytes());
    }
    assert_eq!(log.get(3).unwrap_err().kind(), ErrorKind::Damaged);
}

/// Behind a record of a large batch that does not verify, the next one was looked for at every byte,
/// and whatever the noise there gave for a length was checksummed: minutes for each read.
#[test]
fn damage_in_a_large_batch_is_told_in_bounded_time() {
    let (disk, options) = sim();
    let options = options.segment_bytes(32 << 20);
    let log = options.clone().open("/log").unwrap();
    let mut noise = 1_u64;
    let value = |_| {
        let next = |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        };
        (0..4 << 20).map(next).collect::<Vec<u8>>()
    };
    let values: Vec<Vec<u8>> = (0..3).map(value).collect();
    log.append_batch(&values).unwrap();
    log.close().unwrap();
    drop(log);
    // Sealed by reopening with a smaller segment and rotating.
    let log = options.clone().open("/log").unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    drop(log);
    let segment = Path::new("/log/00000000000000000001.seg");
    assert!(disk.flip_bit(segment, 3 << 20, 3) && disk.flip_bit(segment, 7 << 20, 3));
    let log = options.open("/log").unwrap();
    let started = std::time::Instant::now();
    for seq in 0..2 {
        assert_eq!(log.get(seq).unwrap_err().kind(), ErrorKind::Damaged);
    }
    assert_eq!(log.get(2).unwrap().unwrap().into_bytes(), values[2]);
    let took = started.elapsed();
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn newer_format_is_unsupported_and_not_damaged() {
    let (disk, options) = sim();
    drop(options.clone().open("/log").unwrap());
    let manifest = Path::new("/log/MANIFEST");
    let mut bytes = disk.read_file(manifest).unwrap();
    bytes[8] = 200;
    // The checksum of the first 140 bytes, as the format has it.
    let crc = crc_of(&bytes[..140]);
    bytes[140..144].copy_from_slice(&crc.to_le_bytes());
    assert!(disk.write_file(manifest, &bytes));
    let error = options.open("/log").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.place().path.as_deref(), Some(Path::new("MANIFEST")));
    assert!(error.to_string().contains("200"), "{error}");
    reads_well(&error);
}

/// CRC-32C by the book, bit by bit, with the manifest's seed.
fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = !0x4d41_4e49_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn errors_of_the_system_keep_their_cause() {
    let (disk, options) = sim();
    disk.fail(FaultRule::nth(OpKind::List, 0, Fault::Error(Errno::Emfile)));
    let error = options.clone().open("/log").unwrap_err();
    assert_eq!((error.kind(), error.op()), (ErrorKind::Io, Op::Open));
    assert_eq!(error.place().path.as_deref(), Some(Path::new("/log")));
    assert!(error.source().is_some());
    reads_well(&error);
    let log = options.vfs(Arc::new(disk)).open("/log").unwrap();
    let how = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value("fine")], &how)
        .unwrap();
}

#[test]
fn real_directories_that_cannot_be_opened_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let error = Log::open(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    reads_well(&error);
    let error = Log::open(dir.path().join("no/parent/log")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    reads_well(&error);
}
