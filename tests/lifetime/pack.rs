//! Is a packed log the same log in fewer bytes?

use super::{delete, now, options, put};
use cairnlog::{
    AppendOptions, Compression, ErrorKind, FindingKind, Log, NewRecord, Options, PackOptions,
    Producer, ReadMode, Record, Salvaged, Seq, Verdict,
};
use std::{fs, ops::ControlFlow, path::Path, time::Duration};

/// With which it can be tried in this build.
fn codecs() -> impl Iterator<Item = Compression> {
    let all = [Compression::Lz4, Compression::Zstd];
    all.into_iter().filter(|codec| codec.is_built())
}

fn fast(codec: Compression) -> PackOptions {
    PackOptions::new(codec).rate_bytes_per_s(None)
}

fn noise(bytes: usize, mut state: u64) -> Vec<u8> {
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..bytes).map(next).collect()
}

/// Records of every shape: keys, tombstones, times, producers, large ones, some that cannot be packed.
fn fill(log: &Log, count: u64) {
    for number in 0..count {
        let line = format!("2026-11-29 07:00:{:02} GET /page/{number} 200", number % 60);
        match number % 100 {
            3 => drop(put(log, &format!("key-{}", number % 7), &line)),
            5 => drop(delete(log, &format!("key-{}", number % 7))),
            7 => {
                let record = NewRecord::value(&line).timestamp_ms(number as i64 - 5_000_000_000);
                log.append_records(&[record], &AppendOptions::new())
                    .unwrap();
            }
            11 => {
                let producer = Producer {
                    id: 9,
                    epoch: 1,
                    number,
                };
                let once = AppendOptions::new().producer(producer);
                log.append_with(&line, &once).unwrap();
            }
            13 => drop(log.append(noise(900, number)).unwrap()),
            17 if number % 300 == 17 => drop(log.append(line.repeat(2000)).unwrap()),
            _ => drop(log.append(line).unwrap()),
        }
    }
}

fn medium() -> Options {
    options().segment_bytes(256 << 10)
}

fn filled(dir: &Path, count: u64) -> Log {
    let log = medium().open(dir.join("log")).unwrap();
    fill(&log, count);
    log.rotate().unwrap();
    log.append("in the tail").unwrap();
    log.sync().unwrap();
    log
}

fn all(log: &Log) -> Vec<Record> {
    log.scan(..).unwrap().map(Result::unwrap).collect()
}

fn assert_same(log: &Log, expected: &[Record]) {
    assert_eq!(all(log), expected);
    let backwards = log.scan(..).unwrap().rev().map(Result::unwrap);
    assert!(backwards.eq(expected.iter().rev().cloned()));
    for record in expected.iter().step_by(7) {
        assert_eq!(log.get(record.seq()).unwrap().as_ref(), Some(record));
    }
    for key in ["key-0", "key-3", "key-6", "no such key"] {
        let newest = expected
            .iter()
            .rev()
            .find(|it| it.key() == Some(key.as_bytes()));
        assert_eq!(log.latest(key.as_bytes(), ..).unwrap().as_ref(), newest);
    }
    for record in expected.iter().step_by(97) {
        let time = record.timestamp_ms();
        let first = expected.iter().find(|it| it.timestamp_ms() >= time);
        assert_eq!(Some(log.seek_time(time).unwrap()), first.map(Record::seq));
    }
}

#[test]
fn does_every_reader_see_the_same_records_once_they_are_packed() {
    for codec in codecs() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 6000);
        let before = all(&log);
        let bytes = log.stats().sealed_bytes;
        let report = log.pack(&fast(codec)).unwrap();
        assert_eq!(report.dropped_count, 0);
        assert!(
            report.bytes_after < report.bytes_before * 2 / 3,
            "{report:?}"
        );
        assert!(log.stats().sealed_bytes < bytes * 2 / 3);
        assert_same(&log, &before);
        let again = log.pack(&fast(codec)).unwrap();
        assert_eq!(
            again.segments_before, 0,
            "what is packed is not packed again"
        );
        drop(log);
        for mode in [ReadMode::Mapped, ReadMode::Positional] {
            let log = medium()
                .read_mode(mode)
                .open(dir.path().join("log"))
                .unwrap();
            assert_eq!(log.recovery().verdict, Verdict::Clean);
            assert_same(&log, &before);
        }
        let verified = medium().verify(dir.path().join("log")).unwrap();
        assert!(verified.findings.is_empty(), "{:?}", verified.findings);
        assert_eq!(verified.record_count, before.len() as u64);
        // A reader without the writer's lock, too.
        let reader = medium().open_reader(dir.path().join("log")).unwrap();
        assert!(
            reader
                .scan(..)
                .unwrap()
                .map(Result::unwrap)
                .eq(before.iter().cloned())
        );
    }
}

#[test]
fn does_compaction_drop_the_same_records_of_packed_segments() {
    for (codec, goes_on_packed) in codecs().flat_map(|codec| [(codec, false), (codec, true)]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = filled(dir.path(), 3000);
        let plain = dir.path().join("plain");
        log.backup(&plain).unwrap();
        log.pack(&fast(codec)).unwrap();
        drop(log);
        let how = medium();
        let how = if goes_on_packed {
            how.pack(fast(codec))
        } else {
            how
        };
        let (packed, plain) = (how.open(&path).unwrap(), medium().open(&plain).unwrap());
        let (of_packed, of_plain) = (
            packed.compact(&now()).unwrap(),
            plain.compact(&now()).unwrap(),
        );
        assert!(of_plain.dropped_count > 20, "{of_plain:?}");
        assert_eq!(of_packed.dropped_count, of_plain.dropped_count);
        assert_same(&packed, &all(&plain));
        let smaller = packed.stats().sealed_bytes < plain.stats().sealed_bytes * 2 / 3;
        assert_eq!(smaller, goes_on_packed);
    }
}

/// By the worker: what an application sets once and forgets.
#[test]
fn are_segments_packed_as_they_are_sealed() {
    for codec in codecs() {
        let dir = tempfile::tempdir().unwrap();
        let how = medium().background(true).pack(fast(codec));
        let log = how.open(dir.path().join("log")).unwrap();
        fill(&log, 6000);
        log.rotate().unwrap();
        let before = all(&log);
        let packed = |log: &Log| log.stats().sealed_bytes < 450_000;
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !packed(&log) && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(packed(&log), "{:?}", log.stats());
        assert_same(&log, &before);
        assert!(log.worker_error().is_none());
    }
}

#[test]
fn does_a_packing_that_is_stopped_go_on_where_it_was() {
    for codec in codecs() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 6000);
        let before = all(&log);
        let stopped = log.pack_with(&fast(codec), |at| match at.run_count {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        let stopped = stopped.unwrap();
        assert!(
            stopped.stopped && stopped.segments_before == 1,
            "{stopped:?}"
        );
        assert_same(&log, &before);
        let rest = log.pack(&fast(codec)).unwrap();
        assert!(!rest.stopped && rest.segments_before > 0);
        assert_same(&log, &before);
    }
}

/// Trimming inside a packed batch, rewinding into one, and a backup of all that.
#[test]
fn is_a_packed_log_trimmed_rewound_and_copied_like_any_other() {
    for codec in codecs() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 6000);
        let before = all(&log);
        log.pack(&fast(codec)).unwrap();
        log.trim(777).unwrap();
        log.rewind(4001).unwrap();
        assert_same(&log, &before[777..4001]);
        let copy = dir.path().join("copy");
        log.backup(&copy).unwrap();
        assert_same(&medium().open(&copy).unwrap(), &before[777..4001]);
        let verified = medium().verify(&copy).unwrap();
        assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    }
}

/// The file of the first segment that has a packed batch right behind its header.
fn packed_file(dir: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "seg"));
    files.sort();
    let is_packed = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes[128 + 23] & 0b100 != 0 && bytes.iter().any(|byte| *byte != 0)
    };
    files.into_iter().find(is_packed).expect("a packed segment")
}

/// One byte of a packed batch is wrong. Reading says so and shows no wrong byte; verifying names the place;
/// and because the checksum of a batch says which byte it is, a salvage loses nothing.
#[test]
fn does_a_wrong_byte_in_a_packed_batch_cost_no_record() {
    for codec in codecs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = filled(dir.path(), 3000);
        let before = all(&log);
        log.pack(&fast(codec)).unwrap();
        drop(log);
        let file = packed_file(&path);
        let intact = fs::read(&file).unwrap();
        let frames_end = intact.windows(8).rposition(|it| it == b"CAIRNFTR").unwrap();
        for at in (128..frames_end).step_by(frames_end / 40) {
            for turned in [0x01, 0x80, 0xff] {
                let mut bytes = intact.clone();
                bytes[at] ^= turned;
                fs::write(&file, &bytes).unwrap();
                let reader = medium().open_reader(&path).unwrap();
                let mut shown = 0;
                for (record, expected) in reader.scan(..).unwrap().zip(&before) {
                    match record {
                        Ok(record) => assert_eq!(&record, expected, "byte {at}"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}"),
                    }
                    shown += 1;
                }
                assert!(shown < before.len(), "byte {at}: the walk ends there");
                let verified = medium().verify(&path).unwrap();
                let damage = |it: &cairnlog::Finding| it.kind == FindingKind::Damage;
                assert!(verified.findings.iter().any(damage), "byte {at}");
                let mut found: Vec<Seq> = Vec::new();
                let take = |item: Salvaged<'_>| {
                    if let Salvaged::Record(record) = item {
                        let expected = &before[usize::try_from(record.seq).unwrap()];
                        assert_eq!(record.value, expected.value());
                        assert_eq!(record.key, expected.key());
                        found.push(record.seq);
                    }
                };
                medium().read_salvage(&path, take).unwrap();
                // A header with several bits wrong loses its batch.
                let in_header = found.len() < before.len();
                assert!(!in_header || turned == 0xff, "byte {at}, {turned:#x}");
            }
        }
    }
}

/// A program that was built without the codec, played by a number that stands for none: it says by name what
/// it cannot read, reads the rest, and does all that needs no records.
#[test]
fn does_a_program_without_the_codec_say_so_and_do_the_rest() {
    let Some(codec) = codecs().next() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = filled(dir.path(), 6000);
    log.pack(&fast(codec)).unwrap();
    let segments = log.stats().segment_count;
    assert!(segments >= 4);
    drop(log);
    let unknown = with_codec(&packed_file(&path), 77);
    let log = medium().open(&path).unwrap();
    assert_eq!(log.recovery().verdict, Verdict::Clean);
    let error = log.get(unknown.start).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("packed with the unknown codec 77"),
        "{error}"
    );
    assert_eq!(log.get(unknown.end).unwrap().unwrap().seq(), unknown.end);
    log.append("it goes on").unwrap();
    let copy = dir.path().join("copy");
    log.backup(&copy).unwrap();
    let verified = medium().verify(&copy).unwrap();
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    assert_eq!(verified.record_count, log.next_seq());
    let error = log.compact(&now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // Nothing is lost on the way past it.
    let to = dir.path().join("new");
    let refused = medium().salvage(&path, &to).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    log.trim(unknown.end).unwrap();
    assert!(log.scan(..).unwrap().all(|record| record.is_ok()));
}

/// Says in every packed batch of a file that it was packed with another codec; gives the seqs from the first
/// to the end of the file.
fn with_codec(file: &Path, codec: u8) -> std::ops::Range<Seq> {
    use cairnlog::format::{BatchHeader, SegmentHeader, crc32c};
    let mut bytes = fs::read(file).unwrap();
    let context = SegmentHeader::decode(&bytes).unwrap().context();
    let (mut at, mut first, mut next_seq) = (128, None, 0);
    while let Ok(batch) = BatchHeader::decode(&bytes[at..], &context, at as u64) {
        let end = at + usize::try_from(batch.batch_bytes()).unwrap();
        if batch.packed {
            let body = &mut bytes[at + 24..end];
            body[4] = codec;
            let place = context.salt ^ at as u64;
            let seed = (place as u32) ^ (place >> 32) as u32 ^ 0x5041_434b;
            let sum = crc32c(seed, &body[4..]);
            body[..4].copy_from_slice(&sum.to_le_bytes());
            first.get_or_insert(batch.first_seq);
        }
        next_seq = batch.next_seq();
        at = end;
    }
    fs::write(file, bytes).unwrap();
    first.expect("a packed batch")..next_seq
}
