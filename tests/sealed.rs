//! What does a sealed log show, to whom, and what does it still do without a key?

#![cfg(feature = "seal")]

use cairnlog::{
    AppendOptions, Defect, ErrorKind, FindingKind, Health, Inspected, Key, KeyId, Keys, Log,
    NewRecord, Options, Producer, RepairOptions, ResealOptions, SegmentId,
    format::{
        BatchHeader, SegmentContext, StoredHead,
        batch::BATCH_HEADER_BYTES,
        record::{self, RecordParts},
        sealed::SealedHead,
        stored,
    },
    vfs::{Access, Vfs, sim::SimFs},
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

const DIR: &str = "/log";

fn key(id: u8) -> Key {
    Key::new([id; 32])
}

fn keys(id: u8) -> Keys {
    Keys::new(KeyId(id.into()), key(id))
}

fn options(fs: &Arc<SimFs>) -> Options {
    let vfs: Arc<dyn Vfs> = fs.clone();
    Log::options().vfs(vfs).segment_bytes(4096)
}

/// Whether a text stands in any file of a directory.
fn shows(fs: &SimFs, dir: &str, text: &[u8]) -> bool {
    let entries = fs.list(Path::new(dir)).unwrap();
    entries.iter().any(|entry| {
        let file = fs.open(&Path::new(dir).join(&entry.name), Access::Read);
        file.is_ok_and(|file| {
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            let read = file.read_at(&mut bytes, 0).unwrap_or(0);
            bytes[..read]
                .windows(text.len())
                .any(|window| window == text)
        })
    })
}

fn value(number: u64) -> Vec<u8> {
    format!("secret-value-{number}").into_bytes()
}

fn fill(log: &Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let seq = match number % 4 {
            0 => log.append_keyed(format!("secret-key-{}", number % 7), value(number)),
            1 => log.append_with(
                NewRecord::value(&value(number)).timestamp_ms(number as i64 * 1000),
                &AppendOptions::new(),
            ),
            2 => {
                let by = AppendOptions::new().producer(Producer {
                    id: number % 3,
                    epoch: 1,
                    number,
                });
                log.append_with(NewRecord::value(&value(number)), &by)
            }
            _ => log.append(value(number)),
        };
        assert_eq!(seq.unwrap(), number);
    }
}

fn check(log: &Log, numbers: std::ops::Range<u64>) {
    let records = log.scan(numbers.clone()).unwrap();
    let found: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(found.len() as u64, numbers.end - numbers.start);
    for (record, number) in found.iter().zip(numbers) {
        assert_eq!((record.seq(), &**record), (number, &*value(number)));
        let by_number = log.get(number).unwrap().unwrap();
        assert_eq!(by_number.key(), record.key());
        assert_eq!(by_number.timestamp_ms(), record.timestamp_ms());
        assert_eq!(record.producer().is_some(), number % 4 == 2);
        if number % 4 == 1 {
            assert_eq!(record.timestamp_ms(), number as i64 * 1000);
        }
    }
    let backwards = log.scan(..).unwrap().rev();
    assert!(
        backwards
            .map(Result::unwrap)
            .map(|it| it.seq())
            .is_sorted_by(|a, b| a > b)
    );
}

fn health(fs: &Arc<SimFs>, keys: Option<Keys>) -> Health {
    let options = match keys {
        Some(keys) => options(fs).keys(keys),
        None => options(fs),
    };
    let report = options.verify(DIR).unwrap();
    // A segment that ends where a rewind ended it has no footer.
    let derived = |it: &cairnlog::Finding| it.kind == FindingKind::Derived;
    assert!(report.findings.iter().all(derived), "{:?}", report.findings);
    report.health()
}

/// The promise in one: who has the disk has nothing, who has the key has everything.
#[test]
fn does_the_disk_say_nothing_and_the_log_everything() {
    let fs = Arc::new(SimFs::new(1));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..300);
    assert!(
        !shows(&fs, DIR, b"secret-"),
        "neither in the tail nor in sealed segments"
    );
    check(&log, 0..300);
    log.close().unwrap();
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    check(&log, 0..300);
    fill(&log, 300..320);
    let reader = options(&fs).keys(keys(1)).open_reader(DIR).unwrap();
    assert_eq!(&*reader.get(310).unwrap().unwrap(), value(310));
    log.close().unwrap();
    assert_eq!(health(&fs, None), Health::Clean);
    assert_eq!(health(&fs, Some(keys(1))), Health::Clean);
    assert!(!shows(&fs, DIR, b"secret-"));
}

/// Recovery, verification, trimming, retention, rewinding at a batch, backup: on stored bytes alone. What a
/// producer appended is known as well: a repeat is recognised though no record can be read.
#[test]
fn does_a_log_without_its_key_do_all_but_read_and_append() {
    let fs = Arc::new(SimFs::new(2));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..100);
    drop(log);
    fs.power_cut();
    let fs = Arc::new(fs.reboot(7));
    let log = options(&fs).open(DIR).unwrap();
    assert_eq!(log.next_seq(), 100, "recovered without a key");
    let missing = log.get(60).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::KeyMissing);
    assert_eq!(missing.defect_found(), Some(Defect::KeyMissing(KeyId(1))));
    assert_eq!(
        log.append("in the clear").unwrap_err().kind(),
        ErrorKind::KeyMissing
    );
    log.trim(30).unwrap();
    log.rewind(95).unwrap();
    log.backup("/copy").unwrap();
    log.close().unwrap();
    assert_eq!(health(&fs, None), Health::Clean);
    for dir in [DIR, "/copy"] {
        let log = options(&fs).keys(keys(1)).open(dir).unwrap();
        check(&log, 30..95);
        let by = AppendOptions::new().producer(Producer {
            id: 1,
            epoch: 1,
            number: 94,
        });
        let again = log.append_with(NewRecord::value(&value(94)), &by).unwrap();
        assert_eq!(again, 94, "the same, and not one more");
        assert_eq!(log.append(value(100)).unwrap(), 100);
        log.close().unwrap();
    }
}

/// What was there in the clear stays readable, what comes is sealed, and never in one segment.
#[test]
fn does_a_log_of_before_go_on_sealed() {
    let fs = Arc::new(SimFs::new(3));
    let log = options(&fs).open(DIR).unwrap();
    fill(&log, 0..10);
    log.close().unwrap();
    assert!(shows(&fs, DIR, b"secret-value-3"));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 10..30);
    check(&log, 0..30);
    log.close().unwrap();
    assert!(!shows(&fs, DIR, b"secret-value-13"));
    let log = options(&fs).open(DIR).unwrap();
    assert_eq!(
        &*log.get(3).unwrap().unwrap(),
        value(3),
        "it never had a key"
    );
    assert_eq!(log.get(13).unwrap_err().kind(), ErrorKind::KeyMissing);
}

/// A key is replaced: what comes next is under the new one, and what is under the old one needs that.
#[test]
fn is_each_record_under_the_key_that_was_current() {
    let fs = Arc::new(SimFs::new(4));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..20);
    log.close().unwrap();
    let both = keys(1).with(KeyId(2), key(2));
    let log = options(&fs).keys(both.clone()).open(DIR).unwrap();
    log.rotate().unwrap();
    fill(&log, 20..40);
    check(&log, 0..40);
    log.close().unwrap();
    let log = options(&fs).keys(both.without(KeyId(1))).open(DIR).unwrap();
    assert_eq!(&*log.get(30).unwrap().unwrap(), value(30));
    assert_eq!(
        log.get(10).unwrap_err().defect_found(),
        Some(Defect::KeyMissing(KeyId(1)))
    );
    let seqs = log.scan(20..).unwrap().map(|record| record.unwrap().seq());
    assert!(seqs.eq(20..40), "the rest of the log reads");
}

/// Bytes that are changed by who can make the checksum right are neither damage nor shown.
#[test]
fn is_a_record_that_was_changed_told_from_one_that_rotted() {
    let fs = Arc::new(SimFs::new(5));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..60);
    log.close().unwrap();
    // Under another key with the same id, nothing is as it was sealed.
    let wrong = Keys::new(KeyId(1), key(9));
    let log = options(&fs).keys(wrong.clone()).open(DIR).unwrap();
    let error = log.get(5).unwrap_err();
    assert_eq!(
        (error.kind(), error.defect_found()),
        (ErrorKind::Tampered, Some(Defect::Tampered))
    );
    assert!(error.place().offset.is_some() && error.place().segment.is_some());
    log.close().unwrap();
    let report = options(&fs).keys(wrong).verify(DIR).unwrap();
    assert_ne!(report.health(), Health::Clean);
    assert!(
        report
            .findings
            .iter()
            .all(|it| it.defect == Defect::Tampered),
        "{:?}",
        report.findings
    );
    // A byte that rotted is damage, found without a key, and salvage mends it.
    let path = Path::new(DIR).join("00000000000000000001.seg");
    let file = fs.open(&path, Access::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 300).unwrap();
    file.write_at(&[byte[0] ^ 0x40], 300).unwrap();
    let report = options(&fs).verify(DIR).unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|it| matches!(it.defect, Defect::BadChecksum { .. }))
    );
    assert_eq!(report.findings.len(), 1);
    let report = options(&fs).keys(keys(1)).salvage(DIR, "/saved").unwrap();
    assert_eq!(
        report.record_count, 60,
        "the checksum says which byte it was"
    );
    assert!(
        !shows(&fs, "/saved", b"secret-"),
        "and what is saved is sealed"
    );
    options(&fs)
        .keys(keys(1))
        .repair(DIR, RepairOptions::new().apply(true).accept_loss(true))
        .unwrap();
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    check(&log, 0..60);
    assert!(!shows(&fs, DIR, b"secret-"));
}

/// Compaction and packing write records anew: sealed, and under the current key.
#[test]
fn are_records_that_are_written_anew_sealed_again() {
    let fs = Arc::new(SimFs::new(6));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    for number in 0..400_u64 {
        log.append_keyed(format!("secret-key-{}", number % 7), value(number))
            .unwrap();
    }
    log.rotate().unwrap();
    let report = log.compact(&cairnlog::CompactOptions::new()).unwrap();
    assert!(report.dropped_count > 300, "{report:?}");
    let left: Vec<_> = log.scan(..).unwrap().map(Result::unwrap).collect();
    assert_eq!(left.len(), 7);
    #[cfg(feature = "lz4")]
    {
        for number in 400..800_u64 {
            log.append(value(number)).unwrap();
        }
        log.rotate().unwrap();
        let packed = log
            .pack(&cairnlog::PackOptions::new(cairnlog::Compression::Lz4))
            .unwrap();
        assert!(
            packed.bytes_after < packed.bytes_before / 2,
            "packed first: {packed:?}"
        );
        let values = log.scan(400..).unwrap().map(|it| it.unwrap().to_vec());
        assert!(values.eq((400..800).map(value)));
    }
    assert!(!shows(&fs, DIR, b"secret-"));
    log.close().unwrap();
    assert_eq!(health(&fs, None), Health::Clean);
    assert_eq!(health(&fs, Some(keys(1))), Health::Clean);
}

/// A log that was in the clear, and then under one key, comes under another; the old key may go.
#[test]
fn is_a_log_resealed_under_the_current_key_alone() {
    let fs = Arc::new(SimFs::new(7));
    let log = options(&fs).open(DIR).unwrap();
    fill(&log, 0..50);
    log.close().unwrap();
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 50..100);
    let under: Vec<_> = log.reader().keys_in_use().unwrap().into_keys().collect();
    assert_eq!(under, [None, Some(KeyId(1))]);
    log.close().unwrap();
    let error = options(&fs)
        .open(DIR)
        .unwrap()
        .reseal(&ResealOptions::new())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let both = keys(1).with(KeyId(2), key(2));
    let log = options(&fs).keys(both.clone()).open(DIR).unwrap();
    let report = log.reseal(&ResealOptions::new()).unwrap();
    assert!(report.progress.run_count > 1, "{report:?}");
    let under: Vec<_> = log.reader().keys_in_use().unwrap().into_keys().collect();
    assert_eq!(under, [Some(KeyId(2))]);
    assert_eq!(
        log.reseal(&ResealOptions::new())
            .unwrap()
            .progress
            .run_count,
        0,
        "nothing is left"
    );
    log.close().unwrap();
    assert!(
        !shows(&fs, DIR, b"secret-"),
        "what was in the clear is not any more"
    );
    let log = options(&fs).keys(both.without(KeyId(1))).open(DIR).unwrap();
    check(&log, 0..100);
    fill(&log, 100..110);
}

/// A key file is a secret, and a line of it that is wrong is named.
#[test]
fn are_keys_taken_from_a_file_that_is_private() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    let write = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Keys::from_file(&path)
    };
    let text = format!("# of the orders\n1 {one}\n\n2 {two}\n");
    assert_eq!(write(&text, 0o600).unwrap(), keys(1).with(KeyId(2), key(2)));
    for mode in [0o640, 0o604, 0o660] {
        let error = write(&text, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("others may read it"), "{error}");
        assert_eq!(error.place().path.as_deref(), Some(path.as_path()));
    }
    for (text, what) in [
        ("", "no key is in it"),
        (&format!("1 {one}\n2 {}\n", &two[1..]), "line 2"),
        (&format!("1 {one}\ntwo {two}\n"), "line 2"),
        (&format!("1 {}g\n", &one[1..]), "line 1"),
        (&format!("1{one}\n"), "line 1"),
    ] {
        let error = write(text, 0o600).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(!error.contains(&two[2..]), "no key is shown: {error}");
    }
    let error = Keys::from_file(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "a directory");
    assert_eq!(
        Keys::from_file("/no/such/file").unwrap_err().kind(),
        ErrorKind::Io
    );
}

/// Where each sealed batch of a segment starts, with its header and head; and what its frames are bound to.
fn batches_of(
    options: &Options,
    id: SegmentId,
) -> (SegmentContext, Vec<(u64, BatchHeader, SealedHead)>) {
    let (mut context, mut last, mut found) = (None, None, Vec::new());
    let look = |item: Inspected<'_>| match item {
        Inspected::Header(header) => context = Some(header.context()),
        Inspected::Batch { offset, header } => last = Some((offset, header)),
        Inspected::Packed {
            head: StoredHead::Sealed(head),
            ..
        } => {
            found.extend(last.map(|(offset, header)| (offset, header, head)));
        }
        _ => {}
    };
    options.inspect(DIR, id, look).unwrap();
    (context.unwrap(), found)
}

/// The same of the first segment.
fn batches(options: &Options) -> (SegmentContext, Vec<(u64, BatchHeader, SealedHead)>) {
    batches_of(options, SegmentId(1))
}

/// The same value again and again, before and after the log was opened anew: no two batches look alike.
#[test]
fn does_each_batch_have_a_number_of_its_own() {
    let fs = Arc::new(SimFs::new(8));
    for _ in 0..3 {
        let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
        for _ in 0..5 {
            log.append("the same").unwrap();
        }
        log.close().unwrap();
    }
    let (_, found) = batches(&options(&fs));
    let numbers: BTreeSet<_> = found.iter().map(|(_, _, head)| head.nonce).collect();
    assert_eq!(numbers.len(), 15, "{found:?}");
}

/// Every segment has a batch right behind its header, so the same offset comes again and again, with another text. The
/// number of a batch is not taken from it.
#[test]
fn does_a_place_that_comes_again_have_the_number_of_before() {
    let fs = Arc::new(SimFs::new(16));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    let (mut places, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..4_u64 {
        log.append(value(round)).unwrap();
        log.append(value(100 + round)).unwrap();
        log.rotate().unwrap();
        log.append(value(200 + round)).unwrap();
        for segment in log.segments().unwrap() {
            for (offset, _, head) in batches_of(&options(&fs), segment.id).1 {
                places.insert(offset);
                numbers.insert(head.nonce);
            }
        }
        log.rewind(0).unwrap();
    }
    assert_eq!((places.len(), numbers.len()), (2, 12));
}

/// A directory is copied, and both copies are appended to: the same seqs at the same places of the same file, and other
/// texts. So the number of a batch is made of nothing that stands in the log.
#[test]
fn do_two_copies_of_a_log_use_one_number_for_two_texts() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let options = Log::options().keys(keys(1)).background(false);
        options.open(dir.path().join(name)).unwrap()
    };
    let log = open("one");
    log.append("of both").unwrap();
    log.close().unwrap();
    std::fs::create_dir(dir.path().join("two")).unwrap();
    for entry in std::fs::read_dir(dir.path().join("one")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join("two").join(entry.file_name())).unwrap();
    }
    let (mut places, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for name in ["one", "two"] {
        let log = open(name);
        for number in 0..5 {
            log.append(format!("{name} {number}")).unwrap();
        }
        log.close().unwrap();
        let mut offset = 0;
        let look = |item: Inspected<'_>| match item {
            Inspected::Batch { offset: at, .. } => offset = at,
            Inspected::Packed {
                head: StoredHead::Sealed(head),
                ..
            } => {
                places.insert(offset);
                numbers.insert(head.nonce);
            }
            _ => {}
        };
        let path = dir.path().join(name);
        Log::options().inspect(path, SegmentId(1), look).unwrap();
    }
    assert_eq!(
        (places.len(), numbers.len()),
        (6, 11),
        "one of them is of both"
    );
}

/// Who writes the disk brings in a batch of the same length from another log under the same key, and one from another
/// place of the same log, with checksums that are right. Neither is shown.
#[test]
fn is_a_batch_shown_that_was_sealed_for_another_place() {
    let disk = |seed, text: &str| {
        let fs = Arc::new(SimFs::new(seed));
        let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
        for number in 0..4 {
            log.append(format!("{text} {number}")).unwrap();
        }
        log.close().unwrap();
        fs
    };
    let path = Path::new(DIR).join("00000000000000000001.seg");
    let (ours, other) = (disk(9, "ours"), disk(10, "else"));
    let (context, found) = batches(&options(&ours));
    let (_, others) = batches(&options(&other));
    let body = |fs: &SimFs, (offset, header, _): &(u64, BatchHeader, SealedHead)| {
        let start = *offset as usize + BATCH_HEADER_BYTES;
        let bytes = fs.read_file(&path).unwrap();
        (
            start,
            bytes[start..start + header.body_bytes as usize].to_vec(),
        )
    };
    for (what, (_, mut foreign)) in [
        ("of another log", body(&other, &others[2])),
        ("of another seq", body(&ours, &found[1])),
    ] {
        let harmed = ours.snapshot();
        let (start, own) = body(&ours, &found[2]);
        assert_eq!(own.len(), foreign.len(), "it fits");
        stored::sum(&mut foreign, &context, found[2].0);
        let mut bytes = harmed.read_file(&path).unwrap();
        bytes[start..start + foreign.len()].copy_from_slice(&foreign);
        harmed.write_file(&path, &bytes);
        let log = options(&Arc::new(harmed)).keys(keys(1)).open(DIR).unwrap();
        assert_eq!(
            log.get(2).unwrap_err().kind(),
            ErrorKind::Tampered,
            "{what}"
        );
        assert_eq!(
            &*log.get(3).unwrap().unwrap(),
            b"ours 3",
            "and the others are as they were"
        );
    }
}

/// Puts records of somebody's own, in the clear, in the place of a sealed batch, with checksums that are right: the first has
/// its seq, the others follow at this distance. What comes behind stays where it was.
fn take_seal_off(
    fs: &SimFs,
    path: &Path,
    (context, offset, header): (&SegmentContext, u64, &BatchHeader),
    (count, seq_step): (u32, u32),
) {
    let sparse = seq_step > 1;
    let (mut body, body_bytes) = (Vec::new(), header.body_bytes as usize);
    for number in 0..count {
        let left = (body_bytes - body.len()) / (count - number) as usize;
        let value = vec![b'!'; left - if sparse { 12 } else { 8 }];
        let parts = RecordParts {
            key: None,
            value: Some(&value),
            timestamp_ms: None,
            producer: None,
        };
        let (delta, seq) = (
            number * seq_step,
            header.first_seq + u64::from(number * seq_step),
        );
        record::encode(
            &mut body,
            context.salt,
            seq,
            sparse.then_some(delta),
            &parts,
        );
    }
    assert_eq!(body.len(), body_bytes);
    let forged = BatchHeader {
        count,
        sparse,
        packed: false,
        ..*header
    };
    let mut bytes = fs.read_file(path).unwrap();
    let both = [&forged.encode(context, offset)[..], &body].concat();
    bytes[offset as usize..][..both.len()].copy_from_slice(&both);
    assert!(fs.write_file(path, &bytes));
}

/// Who writes the disk takes the seal off: a record of his own in the clear, with checksums that are right, in the place of
/// a sealed one. Of a log that may have been in the clear before nobody can tell; of one that says from where on it is
/// sealed it is tampering, for readers and for `verify`.
#[test]
fn is_a_record_shown_from_which_the_seal_was_taken() {
    let fs = Arc::new(SimFs::new(11));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    for number in 0..4 {
        log.append(format!("ours {number}")).unwrap();
    }
    log.close().unwrap();
    let path = Path::new(DIR).join("00000000000000000001.seg");
    let (context, found) = batches(&options(&fs));
    let (offset, header, _) = found[1];
    take_seal_off(&fs, &path, (&context, offset, &header), (1, 1));
    let value = vec![b'!'; header.body_bytes as usize - 8];
    let trusting = options(&fs).keys(keys(1)).open(DIR).unwrap();
    assert_eq!(
        &*trusting.get(1).unwrap().unwrap(),
        value,
        "nothing says that it must be sealed"
    );
    trusting.close().unwrap();
    let strict = options(&fs).keys(keys(1)).sealed_from(0);
    let log = strict.clone().open(DIR).unwrap();
    assert_eq!(log.get(1).unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(&*log.get(2).unwrap().unwrap(), b"ours 2");
    log.close().unwrap();
    let found = strict.verify(DIR).unwrap().findings;
    assert!(
        found
            .iter()
            .any(|it| it.defect == Defect::Tampered && it.seqs == (1..2)),
        "{found:?}"
    );
    let later = options(&fs).keys(keys(1)).sealed_from(2).open(DIR).unwrap();
    assert_eq!(
        &*later.get(1).unwrap().unwrap(),
        value,
        "it was in the clear before that"
    );
}

/// A batch may hold records of below the seq that a log is sealed from, and of above. Who takes that seal off writes one that
/// begins where the clear is allowed: only its first seq was compared, so what came behind it was shown. A sparse batch
/// says what its last seq is in the record alone.
#[test]
fn is_a_record_shown_that_hides_behind_one_that_may_be_in_the_clear() {
    let fs = Arc::new(SimFs::new(17));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    let values: Vec<_> = (0..10).map(value).collect();
    let records: Vec<_> = values.iter().map(NewRecord::value).collect();
    log.append_records(&records, &AppendOptions::new()).unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    let path = Path::new(DIR).join("00000000000000000001.seg");
    let (context, found) = batches(&options(&fs));
    let (offset, header, _) = found[0];
    assert_eq!((header.first_seq, header.count), (0, 10));
    for (count, seq_step) in [(10, 1), (2, 3)] {
        let harmed = Arc::new(fs.snapshot());
        take_seal_off(
            &harmed,
            &path,
            (&context, offset, &header),
            (count, seq_step),
        );
        let strict = options(&harmed).keys(keys(1)).sealed_from(2);
        let log = strict.clone().open(DIR).unwrap();
        assert_eq!(log.get(3).unwrap_err().kind(), ErrorKind::Tampered);
        let walked = log.scan(..).unwrap().map_while(Result::ok);
        assert_eq!(walked.count(), 0, "nor what is before it");
        log.close().unwrap();
        let found = strict.verify(DIR).unwrap().findings;
        assert!(
            found.iter().any(|it| it.defect == Defect::Tampered),
            "{found:?}"
        );
        strict
            .read_salvage(DIR, |item| {
                if let cairnlog::Salvaged::Record(record) = item {
                    assert!(record.seq < 2, "seq {} is read past damage", record.seq);
                }
            })
            .unwrap();
    }
}

/// A log is killed, somebody takes the seal off the last record, and the log is opened with its keys: recovery copied the end
/// of the log, and sealed what was in the clear on the way. So it was shown, and nobody could tell any more.
#[test]
fn is_a_record_sealed_on_the_way_from_which_the_seal_was_taken() {
    let fs = Arc::new(SimFs::new(18));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    for number in 0..4 {
        log.append(format!("ours {number}")).unwrap();
    }
    let fs = Arc::new(fs.kill());
    drop(log);
    let path = Path::new(DIR).join("00000000000000000001.seg");
    let (context, found) = batches(&options(&fs));
    for (offset, header, _) in &found[1..3] {
        take_seal_off(&fs, &path, (&context, *offset, header), (1, 1));
    }
    let strict = options(&fs).keys(keys(1)).sealed_from(0);
    let log = strict.clone().open(DIR).unwrap();
    assert!(
        log.segments().unwrap()[0].id > SegmentId(1),
        "it was copied"
    );
    for (seq, shown) in [(0, true), (1, false), (2, false), (3, true)] {
        match log.get(seq) {
            Ok(record) => assert!(shown && record.unwrap().starts_with(b"ours"), "seq {seq}"),
            Err(error) => assert_eq!((error.kind(), shown), (ErrorKind::Tampered, false)),
        }
    }
    log.close().unwrap();
    let found = strict.verify(DIR).unwrap().findings;
    let tampered = found.iter().filter(|it| it.defect == Defect::Tampered);
    assert_eq!(tampered.count(), 2, "{found:?}");
}

/// Without a manifest a log is made of what its files hold. What is under a key that is not to be had is there, and
/// would be left out: so nothing is done, by repair nor by salvage.
#[test]
fn is_what_has_no_key_left_out_by_a_repair_or_a_salvage() {
    let fs = Arc::new(SimFs::new(12));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..40);
    log.close().unwrap();
    for name in ["MANIFEST", "MANIFEST.alt"] {
        fs.remove_file(&Path::new(DIR).join(name));
    }
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let error = options(&fs).repair(DIR, how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyMissing, "{error}");
    let error = options(&fs).salvage(DIR, "/saved").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyMissing, "{error}");
    options(&fs).keys(keys(1)).repair(DIR, how).unwrap();
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    check(&log, 0..40);
    log.close().unwrap();
    // And what was made of it is a sealed log: nothing is appended to it in the clear.
    let log = options(&fs).open(DIR).unwrap();
    assert_eq!(
        log.append("in the clear").unwrap_err().kind(),
        ErrorKind::KeyMissing
    );
}

/// Another key under the same number opens nothing at all. A repair with it took the whole log for tampered with, and
/// out.
#[test]
fn is_a_log_taken_apart_by_a_repair_with_another_key_under_the_same_number() {
    let fs = Arc::new(SimFs::new(19));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..40);
    log.rotate().unwrap();
    fill(&log, 40..50);
    log.close().unwrap();
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let wrong = options(&fs).keys(Keys::new(KeyId(1), key(9)));
    let before = fs.files();
    let error = wrong.repair(DIR, how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyMissing, "{error}");
    assert!(error.to_string().contains("another key"), "{error}");
    assert_eq!(fs.files(), before, "nothing was changed");
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    check(&log, 0..50);
}

/// Where cursors stand is said in the clear, also by the records that moved them: who lists them in another process needs
/// no key.
#[test]
fn are_cursors_listed_without_a_key() {
    let fs = Arc::new(SimFs::new(20));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    fill(&log, 0..60);
    let consumer = log.consumer("till").unwrap();
    for seq in 0..20 {
        consumer
            .append(&[NewRecord::value("a bill")], seq, &AppendOptions::new())
            .unwrap();
    }
    let listed = options(&fs).cursors(DIR).unwrap();
    let stands: Vec<_> = listed.iter().map(|it| (&*it.name, it.seq)).collect();
    assert_eq!(stands, [("till", 20)]);
}

/// A batch of the tail that does not open is found by `verify` with the key, and so a repair tells of it.
#[test]
fn is_a_batch_of_the_tail_that_does_not_open_found() {
    let fs = Arc::new(SimFs::new(13));
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    log.append("in the tail").unwrap();
    log.close().unwrap();
    let wrong = options(&fs).keys(Keys::new(KeyId(1), key(9)));
    let found = wrong.verify(DIR).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].defect, found[0].seqs.clone()),
        (Defect::Tampered, 0..1)
    );
}

/// A provider that has lost its current key has appends refused, and does not make segments without end.
#[test]
fn is_an_append_without_a_key_refused_at_once() {
    #[derive(Debug, Default)]
    struct Losing(std::sync::atomic::AtomicBool);
    impl cairnlog::KeyProvider for Losing {
        fn current(&self) -> KeyId {
            KeyId(1)
        }
        fn key(&self, _: KeyId) -> Option<Key> {
            (!self.0.load(std::sync::atomic::Ordering::Relaxed)).then(|| key(1))
        }
    }
    let fs = Arc::new(SimFs::new(14));
    let log = options(&fs).open(DIR).unwrap();
    log.append("of before").unwrap();
    log.close().unwrap();
    let provider = Arc::new(Losing::default());
    let log = options(&fs).keys(provider.clone()).open(DIR).unwrap();
    provider.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = log.append("now").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyMissing);
    provider
        .0
        .store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(log.append("now").unwrap(), 1);
}

/// Files of a log that was in the clear do not come back with what was in them once it is sealed.
#[test]
fn is_nothing_in_the_clear_left_in_the_files_of_a_resealed_log() {
    let fs = Arc::new(SimFs::new(15));
    let log = options(&fs).open(DIR).unwrap();
    fill(&log, 0..200);
    log.close().unwrap();
    let log = options(&fs).keys(keys(1)).open(DIR).unwrap();
    log.reseal(&ResealOptions::new()).unwrap();
    fill(&log, 200..260);
    log.close().unwrap();
    assert!(!shows(&fs, DIR, b"secret-"));
    let log = options(&fs).keys(keys(1)).sealed_from(0).open(DIR).unwrap();
    check(&log, 0..260);
}
