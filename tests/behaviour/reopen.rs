//! Does a log come back as it was left, however it was left?

use crate::{sim, values};
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, OnAmbiguousTail, Producer, Verdict,
    vfs::{Vfs, sim::Choice},
};
use std::path::Path;

#[test]
fn every_part_of_a_record_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let producer = Producer {
        id: 7,
        epoch: 2,
        number: 99,
    };
    let log = Log::open(&path).unwrap();
    let records = [
        NewRecord::value(""),
        NewRecord::keyed("", "empty key"),
        NewRecord::keyed("key", "value").timestamp_ms(-5),
        NewRecord::tombstone("key").timestamp_ms(i64::MAX),
    ];
    let how = AppendOptions::new().producer(producer);
    log.append_records(&records, &how).unwrap();
    log.close().unwrap();
    drop(log);
    let log = Log::open(&path).unwrap();
    let back: Vec<_> = log.scan(..).unwrap().map(Result::unwrap).collect();
    assert_eq!(back[0].value(), Some(&b""[..]));
    assert_eq!((back[0].key(), back[0].is_tombstone()), (None, false));
    assert_eq!(
        (back[1].key(), &*back[1]),
        (Some(&b""[..]), &b"empty key"[..])
    );
    assert_eq!(back[2].timestamp_ms(), -5);
    assert!(back.iter().all(|it| it.producer() == Some(producer)));
    assert_eq!((back[3].value(), back[3].timestamp_ms()), (None, i64::MAX));
    assert!(back[3].is_tombstone());
}

#[test]
fn recovery_tells_how_the_log_was_left() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Created);
    let id = log.id();
    log.append("one").unwrap();
    log.close().unwrap();
    drop(log);

    let log = options.clone().open("/log").unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean);
    assert_eq!(
        (log.recovery().record_count, log.recovery().next_seq),
        (1, 1)
    );
    log.append("two").unwrap();
    drop(log); // Dropping the last handle closes in order too.
    let log = options.clone().open("/log").unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean);
    log.append("three").unwrap();

    let disk = disk.kill();
    let options = options.vfs(std::sync::Arc::new(disk.clone()));
    let log = options.clone().open("/log").unwrap();
    let recovery = log.recovery().clone();
    assert_eq!(recovery.verdict, Verdict::Unclean);
    assert_eq!(
        (
            recovery.carried_count,
            recovery.proven_seq,
            recovery.cut_bytes()
        ),
        (0, 3, 0),
        "the dead writer told readers that all was durable: nothing has to be copied"
    );
    assert_eq!(log.id(), id);
    assert_eq!(values(&log), ["one", "two", "three"]);
    let segment = Path::new("/log/00000000000000000003.seg");
    log.append("four").unwrap();

    // Its last frame torn by hand: as long as something attests it, that is damage.
    let disk = disk.kill();
    let mut bytes = disk.read_file(segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    assert!(disk.write_file(segment, &bytes));
    let options = options.vfs(std::sync::Arc::new(disk.clone()));
    let error = options.clone().open("/log").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(error.place().seq, Some(3));
    // Without what readers were told it is an unfinished write: cut, told, and kept.
    disk.remove(Path::new("/log/WATERMARK")).unwrap();
    let refusing = options.clone().on_ambiguous_tail(OnAmbiguousTail::Refuse);
    assert_eq!(
        refusing.open("/log").unwrap_err().kind(),
        ErrorKind::Damaged
    );
    let log = options.open("/log").unwrap();
    let recovery = log.recovery();
    assert_eq!(recovery.verdict, Verdict::Torn);
    let kept = Path::new("/log").join(recovery.cut[0].kept_in.as_ref().unwrap());
    let (offset, kept) = (
        recovery.cut[0].offset as usize,
        disk.read_file(&kept).unwrap(),
    );
    assert_eq!(kept, bytes[offset..=end], "exactly what was cut");
    assert_eq!(values(&log), ["one", "two", "three"]);
    let text = recovery.to_string();
    assert!(
        text.contains("torn at segment 3") && text.contains("quarantine/"),
        "{text}"
    );
}

#[test]
fn levels_survive_what_they_promise() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    for (value, level) in [
        ("durable", Durability::Durable),
        ("written", Durability::Written),
        ("buffered", Durability::Buffered),
    ] {
        let how = AppendOptions::new().durability(level);
        log.append_records(&[NewRecord::value(value)], &how)
            .unwrap();
    }
    assert_eq!(log.durable_seq(), 1);
    assert_eq!(
        values(&log),
        ["durable"],
        "a reader sees what cannot be undone"
    );
    assert_eq!(
        log.reader().including_written().scan(..).unwrap().count(),
        2
    );
    let without_power = disk.crash_at(u64::MAX).state(&Choice::lost());
    let killed = disk.kill();
    for (disk, expected) in [
        (without_power, &["durable"][..]),
        (killed, &["durable", "written"]),
    ] {
        let options = options.clone().vfs(std::sync::Arc::new(disk));
        assert_eq!(values(&options.open("/log").unwrap()), expected);
    }
}

#[test]
fn opening_needs_a_log_unless_it_may_create_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Log::options().create(false).open(dir.path().join("log"));
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(
        !dir.path().join("log").exists(),
        "and leaves nothing behind"
    );
    drop(Log::open(dir.path().join("log")).unwrap());
    assert_eq!(open().unwrap().next_seq(), 0);
}

#[test]
fn options_may_change_between_openings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let big = "x".repeat(900);
    for (round, segment_bytes) in [4096, 512, 1 << 20, 1024].into_iter().enumerate() {
        let log = Log::options()
            .segment_bytes(segment_bytes)
            .open(&path)
            .unwrap();
        assert_eq!(log.next_seq(), round as u64 * 5);
        for number in 0..5 {
            let value = if segment_bytes > 2048 {
                big.as_str()
            } else {
                "small"
            };
            assert_eq!(log.append(value).unwrap(), round as u64 * 5 + number);
        }
        let lens: Vec<usize> = log.scan(..).unwrap().map(|r| r.unwrap().len()).collect();
        let expected = |at: usize| if (at / 5).is_multiple_of(2) { 900 } else { 5 };
        assert!(
            lens.iter()
                .enumerate()
                .all(|(at, len)| *len == expected(at))
        );
    }
}

/// Bytes of one file never verify in another, because each file has a salt of its own: also those
/// that recovery, rewinding and rotating make, one after the other.
#[test]
fn every_segment_has_a_salt_of_its_own() {
    let (mut disk, options) = sim();
    let mut salts = std::collections::BTreeMap::new();
    for round in 0..6 {
        let options = options.clone().vfs(std::sync::Arc::new(disk.clone()));
        let log = options.open("/log").unwrap();
        log.append_batch(["a", "b"]).unwrap();
        if round % 3 == 1 {
            log.rewind(log.next_seq() - 1).unwrap();
        }
        log.rotate().unwrap();
        log.append("c").unwrap();
        for path in disk
            .files()
            .iter()
            .filter(|path| path.extension().is_some())
        {
            let bytes = disk.read_file(path).unwrap();
            if let Ok(header) = cairnlog::format::SegmentHeader::decode(&bytes) {
                salts.insert(header.id, header.salt);
            }
        }
        disk = disk.kill();
    }
    let distinct: std::collections::BTreeSet<_> = salts.values().collect();
    assert!(salts.len() >= 12, "{} segments", salts.len());
    assert_eq!(distinct.len(), salts.len());
}

/// Dropping the last handle closes the log: what was only buffered is written, and the end is named.
#[test]
fn is_what_was_buffered_there_after_the_last_handle_was_dropped() {
    let (disk, options) = crate::sim();
    let log = options.clone().open("/log").unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    log.append_records(&[NewRecord::value("buffered")], &how)
        .unwrap();
    let other = log.clone();
    drop(log);
    assert_eq!(other.durable_seq(), 0, "there is another handle");
    drop(other);
    let lost = disk
        .crash_at(u64::MAX)
        .state(&cairnlog::vfs::sim::Choice::lost());
    let log = options.vfs(std::sync::Arc::new(lost)).open("/log").unwrap();
    assert_eq!(crate::values(&log), ["buffered"]);
    assert_eq!(log.recovery().verdict, cairnlog::Verdict::Clean);
}
