//! Is a log whose records are packed as they are appended the same log, in fewer bytes and with every promise?

#![cfg(feature = "lz4")]

use cairnlog::{
    AppendOptions, Cipher, Compression, Defect, Durability, ErrorKind, Health, Inspected, Key,
    KeyId, Keys, Log, NewRecord, Options, PackOptions, Producer, ReadMode, Reader, RepairOptions,
    SegmentId, Seq, Verdict,
    format::{
        BatchHeader, Manifest, SegmentHeader, StoredHead,
        batch::BATCH_HEADER_BYTES,
        header::{HEADER_BYTES, Origin},
        names, stored,
    },
    vfs::{
        Vfs,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const DIR: &str = "/log";
/// The feature, and that of packed batches.
const FEATURES: u32 = 1 << 6 | 1 << 2;

fn codecs() -> impl Iterator<Item = Compression> {
    let all = [Compression::Lz4, Compression::Zstd];
    all.into_iter().filter(|codec| codec.is_built())
}

fn plain(fs: &Arc<SimFs>) -> Options {
    let vfs: Arc<dyn Vfs> = fs.clone();
    let options = Log::options().vfs(vfs).segment_bytes(64 << 10);
    options.background(false)
}

fn options(fs: &Arc<SimFs>) -> Options {
    plain(fs).pack_appends(Compression::Lz4)
}

/// A record as it was handed in.
#[derive(Clone, Debug, Default, PartialEq)]
struct Want {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time_ms: Option<i64>,
    by: Option<Producer>,
}

fn line(number: u64) -> Vec<u8> {
    format!(
        "2026-11-29 07:00:{:02} GET /page/{number} 200 OK",
        number % 60
    )
    .into_bytes()
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<Want> {
    let want = |number| Want {
        value: Some(line(number)),
        ..Want::default()
    };
    numbers.map(want).collect()
}

fn noise(bytes: usize, mut state: u64) -> Vec<u8> {
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005);
        state = state.wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..bytes).map(next).collect()
}

fn by(id: u64, number: u64) -> Producer {
    Producer {
        id,
        epoch: 1,
        number,
    }
}

fn record(want: &Want) -> NewRecord<'_> {
    let record = match (&want.key, &want.value) {
        (Some(key), Some(value)) => NewRecord::keyed(key, value),
        (Some(key), None) => NewRecord::tombstone(key),
        (None, value) => NewRecord::value(value.as_ref().unwrap()),
    };
    match want.time_ms {
        Some(time) => record.timestamp_ms(time),
        None => record,
    }
}

fn append(log: &Log, wants: &[Want], all: &mut Vec<Want>) {
    let records: Vec<_> = wants.iter().map(record).collect();
    let how = AppendOptions::new();
    let how = wants[0].by.map_or(how, |by| how.producer(by));
    let seqs = log.append_records(&records, &how).unwrap();
    assert_eq!(seqs.start, all.len() as u64);
    all.extend_from_slice(wants);
}

/// Batches of every shape, and among them what stays as it is: what is small, and what cannot be packed.
fn fill(log: &Log, all: &mut Vec<Want>, rounds: u64) {
    for round in 0..rounds {
        let first = all.len() as u64;
        append(log, &lines(first..first + 40), all);
        append(log, &lines(first..first + 1), all);
        let keyed = |number: u64| Want {
            key: Some(format!("key-{}", number % 7).into_bytes()),
            value: (!number.is_multiple_of(5)).then(|| line(number)),
            time_ms: number.is_multiple_of(3).then_some(number as i64 * 1000),
            by: None,
        };
        append(log, &(0..35).map(keyed).collect::<Vec<_>>(), all);
        let named = |want| Want {
            by: Some(by(round % 3, first)),
            ..want
        };
        let of_producer: Vec<_> = lines(first..first + 30).into_iter().map(named).collect();
        append(log, &of_producer, all);
        for value in [noise(3000, round), line(round).repeat(100)] {
            let want = Want {
                value: Some(value),
                ..Want::default()
            };
            append(log, &[want], all);
        }
    }
}

fn is(record: &cairnlog::Record, want: &Want) -> bool {
    record.key() == want.key.as_deref()
        && record.value() == want.value.as_deref()
        && record.producer() == want.by
        && want
            .time_ms
            .is_none_or(|time| time == record.timestamp_ms())
}

fn check(reader: &Reader, head: Seq, all: &[Want]) {
    let found: Vec<_> = reader.scan(..).unwrap().map(Result::unwrap).collect();
    let shown = &all[head as usize..];
    assert_eq!(found.len(), shown.len());
    for (record, (seq, want)) in found.iter().zip((head..).zip(shown)) {
        assert!(record.seq() == seq && is(record, want), "{record:?}");
        assert_eq!(reader.get(seq).unwrap().as_ref(), Some(record));
    }
    let backwards = reader.scan(..).unwrap().rev().map(Result::unwrap);
    assert!(backwards.eq(found.iter().rev().cloned()));
    for key in ["key-0", "key-3", "no such key"] {
        let newest = found.iter().rfind(|it| it.key() == Some(key.as_bytes()));
        assert_eq!(reader.latest(key.as_bytes(), ..).unwrap().as_ref(), newest);
    }
    let time = found[found.len() / 2].timestamp_ms();
    let first = found.iter().find(|it| it.timestamp_ms() >= time).unwrap();
    assert_eq!(reader.seek_time(time).unwrap(), first.seq());
}

/// Where each packed or sealed batch of a segment starts, with its header and head.
fn batches(fs: &Arc<SimFs>, dir: &str, id: SegmentId) -> Vec<(u64, BatchHeader, StoredHead)> {
    let (mut last, mut found) = (None, Vec::new());
    let look = |item: Inspected<'_>| match item {
        Inspected::Batch { offset, header } => last = Some((offset, header)),
        Inspected::Packed { head, .. } => {
            found.extend(last.map(|(offset, header)| (offset, header, head)));
        }
        _ => {}
    };
    plain(fs).inspect(dir, id, look).unwrap();
    found
}

fn segments(fs: &SimFs, dir: &str) -> Vec<(PathBuf, SegmentHeader)> {
    let entries = fs.list(Path::new(dir)).unwrap().into_iter();
    let named = entries.filter(|entry| names::parse_segment(&entry.name).is_some());
    let path = named.map(|entry| Path::new(dir).join(entry.name));
    let begun = path.filter_map(|path| {
        let header = SegmentHeader::decode(&fs.read_file(&path)?).ok()?;
        Some((path, header))
    });
    begun.collect()
}

fn packed_count(fs: &Arc<SimFs>, dir: &str) -> usize {
    let ids = segments(fs, dir).into_iter().map(|(_, header)| header.id);
    ids.map(|id| batches(fs, dir, id).len()).sum()
}

/// Whoever meets a packed batch with stated appends, or any in a segment that appends went into, was told by the header, and
/// who writes by the manifest.
fn check_told(fs: &Arc<SimFs>, dir: &str) {
    let manifest = fs.read_file(&Path::new(dir).join(names::MANIFEST)).unwrap();
    let told = Manifest::decode(&manifest).unwrap().write_features;
    for (path, header) in segments(fs, dir) {
        let own = header.required_features();
        assert_eq!(told & own, own, "{}", path.display());
        let found = batches(fs, dir, header.id);
        let needs = |head: &StoredHead| {
            let appended_to = header.origin == Origin::Live || header.appends_from.is_some();
            let (in_the_clear, facts) = (head.key_id().is_none(), head.facts());
            in_the_clear && facts.append_count > 0 || appended_to && facts.codec != 0
        };
        if found.iter().any(|(_, _, head)| needs(head)) {
            assert_eq!(own & FEATURES, FEATURES, "{}", path.display());
        }
    }
}

/// The disk as it is once the process was killed; what it had open ends on the one of before.
fn killed<T>(fs: &SimFs, open: T) -> Arc<SimFs> {
    let next = Arc::new(fs.kill());
    drop(open);
    next
}

fn sealed(options: Options, is_sealed: bool) -> Options {
    match is_sealed {
        true => options.keys(Keys::new(KeyId(1), Key::new([7; 32]))),
        false => options,
    }
}

#[test]
fn does_every_reader_see_what_was_appended() {
    for codec in codecs() {
        for is_sealed in [false, Cipher::Aes256GcmSiv.is_built()] {
            let fs = Arc::new(SimFs::new(1));
            let options = || sealed(plain(&fs).pack_appends(codec), is_sealed);
            let mut all = Vec::new();
            let log = options().open(DIR).unwrap();
            fill(&log, &mut all, 40);
            check(&log.reader(), 0, &all);
            let stats = log.stats();
            assert!(
                stats.written_bytes < stats.appended_bytes * 2 / 3,
                "{} of {}",
                stats.written_bytes,
                stats.appended_bytes
            );
            assert!(log.segments().unwrap().len() > 2);
            let beside = options().open_reader(DIR).unwrap();
            check(&beside, 0, &all);
            drop(log);
            fs.power_cut();
            let fs = Arc::new(fs.reboot(3));
            let options = || sealed(plain(&fs).pack_appends(codec), is_sealed);
            assert_eq!(options().verify(DIR).unwrap().health(), Health::Clean);
            check_told(&fs, DIR);
            for mode in [ReadMode::Mapped, ReadMode::Positional] {
                let log = options().read_mode(mode).open(DIR).unwrap();
                check(&log.reader(), 0, &all);
                log.close().unwrap();
            }
            // And who does not pack goes on in it.
            let log = sealed(plain(&fs), is_sealed).open(DIR).unwrap();
            fill(&log, &mut all, 3);
            check(&log.reader(), 0, &all);
            log.close().unwrap();
            assert_eq!(options().verify(DIR).unwrap().health(), Health::Clean);
        }
    }
}

/// Of a lone append little is saved; noise does not get smaller; and what saves less than an eighth is not worth it.
#[test]
fn is_anything_packed_that_is_not_worth_it() {
    let fs = Arc::new(SimFs::new(2));
    let log = options(&fs).open(DIR).unwrap();
    let packed = || packed_count(&fs, DIR);
    // With its frame it has 1,023 bytes, and then one more.
    log.append(vec![b'x'; 1015]).unwrap();
    assert_eq!(packed(), 0);
    log.append(vec![b'x'; 1016]).unwrap();
    assert_eq!(packed(), 1);
    log.append(noise(5000, 1)).unwrap();
    let nearly = |noisy: usize| [noise(noisy, 2), vec![0; 4000 - noisy]].concat();
    log.append(nearly(3600)).unwrap();
    assert_eq!(packed(), 1);
    log.append(nearly(3300)).unwrap();
    assert_eq!(packed(), 2);
    // Each alone is too small; a buffer of them is one block.
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..100 {
        log.append_with(&line(number), &how).unwrap();
    }
    log.sync().unwrap();
    let tail = segments(&fs, DIR)[0].1.id;
    let found = batches(&fs, DIR, tail);
    assert_eq!(found.len(), 3);
    assert_eq!(found[2].1.count, 100);
}

/// Without the option nothing is packed, and no program is kept from the log.
#[test]
fn does_a_log_without_the_option_say_anything_of_it() {
    let fs = Arc::new(SimFs::new(3));
    let log = plain(&fs).open(DIR).unwrap();
    fill(&log, &mut Vec::new(), 20);
    log.close().unwrap();
    let manifest = fs.read_file(&Path::new(DIR).join(names::MANIFEST)).unwrap();
    let told = Manifest::decode(&manifest).unwrap().write_features;
    assert_eq!(told & FEATURES, 0);
    let all = segments(&fs, DIR).into_iter();
    assert!(all.map(|it| it.1.required_features()).all(|it| it == 0));
    assert_eq!(packed_count(&fs, DIR), 0);
}

/// A program from before finds out by the manifest, before there is anything that it could misread.
#[test]
fn is_the_feature_in_the_manifest_before_it_is_in_a_segment() {
    let fs = Arc::new(SimFs::new(4));
    let log = plain(&fs).open(DIR).unwrap();
    log.append(line(1)).unwrap();
    log.close().unwrap();
    let log = options(&fs).open(DIR).unwrap();
    let manifest = Path::new(DIR).join(names::MANIFEST);
    let told = |op| {
        let bytes = fs.file_at(op, &manifest);
        bytes.map_or(0, |bytes| {
            Manifest::decode(&bytes).map_or(0, |it| it.write_features)
        })
    };
    assert_eq!(told(fs.op_count()) & FEATURES, FEATURES);
    log.append_batch((0..50).map(line)).unwrap();
    log.close().unwrap();
    check_told(&fs, DIR);
    let mut met = 0;
    for (path, _) in segments(&fs, DIR) {
        for op in fs.versions(&path) {
            let bytes = fs.file_at(op, &path).unwrap_or_default();
            let header = SegmentHeader::decode(&bytes);
            if header.is_ok_and(|header| header.packed_appends) {
                assert_eq!(told(op) & FEATURES, FEATURES, "{} at {op}", path.display());
                met += 1;
            }
        }
    }
    assert!(met > 0);
}

/// What was begun without the option has no room for packed batches: the next segment has. Where none can be had the
/// log goes on as it is.
#[test]
fn does_a_log_of_before_pack_from_its_first_append_on() {
    let fs = Arc::new(SimFs::new(5));
    let mut all = Vec::new();
    let log = plain(&fs).open(DIR).unwrap();
    append(&log, &lines(0..50), &mut all);
    log.close().unwrap();
    let log = options(&fs).open(DIR).unwrap();
    append(&log, &lines(50..100), &mut all);
    assert_eq!(packed_count(&fs, DIR), 1);
    check(&log.reader(), 0, &all);
    log.maintain().unwrap();
    log.close().unwrap();
    check_told(&fs, DIR);

    let fs = Arc::new(SimFs::new(6));
    let mut all = Vec::new();
    let log = plain(&fs).open(DIR).unwrap();
    append(&log, &lines(0..1), &mut all);
    let full = Fault::Error(Errno::Enospc);
    fs.fail(FaultRule::nth(OpKind::CreateNew, 0, full).times(u64::MAX));
    log.rotate().unwrap(); // Into the spare, and another cannot be made.
    append(&log, &lines(1..2), &mut all);
    log.close().unwrap();
    let log = options(&fs).open(DIR).unwrap();
    append(&log, &lines(2..50), &mut all);
    assert_eq!(packed_count(&fs, DIR), 0);
    let fs = killed(&fs, log);
    let log = options(&fs).open(DIR).unwrap();
    log.maintain().unwrap();
    append(&log, &lines(50..100), &mut all);
    assert_eq!(packed_count(&fs, DIR), 1);
    check(&log.reader(), 0, &all);
}

/// Says in every packed batch that it was packed with a codec that there is not: what a program without the codec
/// sees.
fn without_codec(fs: &SimFs, dir: &str) {
    for (path, header) in segments(fs, dir) {
        let (mut bytes, context) = (fs.read_file(&path).unwrap(), header.context());
        let mut at = HEADER_BYTES;
        while let Ok(batch) = BatchHeader::decode(&bytes[at..], &context, at as u64) {
            let end = at + usize::try_from(batch.batch_bytes()).unwrap();
            if batch.packed {
                let body = &mut bytes[at + BATCH_HEADER_BYTES..end];
                body[4] = 200;
                stored::sum(body, &context, at as u64);
            }
            at = end;
        }
        assert!(fs.write_file(&path, &bytes));
    }
}

/// Recovery, verification, trimming, retention, rewinding at a batch, backup: on stored bytes alone, as of what is
/// sealed. What a producer appended is known as well, though no record of it can be read.
#[test]
fn does_a_program_without_the_codec_do_all_but_read_them() {
    let fs = Arc::new(SimFs::new(7));
    let mut all = Vec::new();
    let log = options(&fs).open(DIR).unwrap();
    fill(&log, &mut all, 6);
    let end = all.len() as u64;
    // Written, and not proven: recovery carries it.
    let how = AppendOptions::new()
        .durability(Durability::Written)
        .producer(by(8, 1));
    let (last, two) = (line(1).repeat(40), [line(7).repeat(40), line(8)]);
    let records: Vec<_> = two.iter().map(NewRecord::value).collect();
    log.append_records(&records, &how).unwrap();
    let how_two = AppendOptions::new()
        .durability(Durability::Written)
        .producer(by(8, 2));
    log.append_records(&[NewRecord::value(&last)], &how_two)
        .unwrap();
    let fs = killed(&fs, log);
    without_codec(&fs, DIR);
    let log = plain(&fs).open(DIR).unwrap();
    assert_eq!(log.next_seq(), end + 3, "{}", log.recovery());
    assert!(log.recovery().verdict == Verdict::Unclean);
    let error = log.get(0).unwrap_err();
    assert_eq!(error.defect_found(), Some(Defect::UnknownCodec(200)));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // What is not packed is read on its own.
    assert_eq!(&*log.get(40).unwrap().unwrap(), line(0));
    for (number, records) in [(1, &records[..]), (2, &[NewRecord::value(&last)][..])] {
        let how = AppendOptions::new().producer(by(8, number));
        let again = log.append_records(records, &how).unwrap();
        assert!(again.end <= end + 3, "a repeat: {again:?}");
    }
    let cut = log.rewind(end + 1).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Unsupported, "{cut}");
    log.rewind(end + 2).unwrap();
    log.trim(40).unwrap();
    log.backup("/copy").unwrap();
    log.append(line(5)).unwrap();
    log.close().unwrap();
    for dir in [DIR, "/copy"] {
        assert_eq!(plain(&fs).verify(dir).unwrap().health(), Health::Clean);
        check_told(&fs, dir);
        let log = plain(&fs).open(dir).unwrap();
        let how = AppendOptions::new().producer(by(8, 1));
        assert_eq!(log.append_records(&records, &how).unwrap(), end..end + 2);
        log.close().unwrap();
    }
}

/// A consumer's output is one batch with its move, also where that is packed.
#[test]
fn is_a_move_known_that_was_packed_with_its_output() {
    let fs = Arc::new(SimFs::new(8));
    let log = options(&fs).open(DIR).unwrap();
    log.append_batch((0..30).map(line)).unwrap();
    let mut till = log.consumer("till").unwrap();
    let inputs = till.next_batch(20, std::time::Duration::ZERO).unwrap();
    assert_eq!(inputs.len(), 20);
    let out: Vec<_> = inputs.iter().map(|it| it.to_vec()).collect();
    let out: Vec<_> = out.iter().map(NewRecord::value).collect();
    till.append(&out, 19, &AppendOptions::new()).unwrap();
    let fs = killed(&fs, (till, log));
    without_codec(&fs, DIR);
    let log = plain(&fs).open(DIR).unwrap();
    assert_eq!(log.cursors().unwrap()[0].seq, 20);
}

/// A rewind keeps what lies below it of the batch that it cuts through, and nothing else of it: where the tail is
/// small, and where so much lies before that it is ended in place.
#[test]
fn is_a_packed_batch_cut_by_a_rewind() {
    for before in [1, 40] {
        for is_sealed in [false, Cipher::Aes256GcmSiv.is_built()] {
            let fs = Arc::new(SimFs::new(9));
            let options = || sealed(options(&fs).segment_bytes(1 << 20), is_sealed);
            let mut all = Vec::new();
            let log = options().open(DIR).unwrap();
            fill(&log, &mut all, before);
            append(&log, &lines(0..60), &mut all);
            let end = all.len() as u64 - 25;
            log.rewind(end).unwrap();
            all.truncate(end as usize);
            check(&log.reader(), 0, &all);
            let next = log.append_batch((0..50).map(line)).unwrap();
            assert_eq!(next.start, end + 25, "numbers are not given again");
            log.close().unwrap();
            check_told(&fs, DIR);
            let log = options().open(DIR).unwrap();
            let shown: Vec<_> = log.scan(..end + 25).unwrap().map(Result::unwrap).collect();
            assert_eq!(shown.len() as u64, end);
            assert!(
                shown
                    .iter()
                    .zip(&all)
                    .all(|(record, want)| is(record, want))
            );
            let health = sealed(plain(&fs), is_sealed).verify(DIR).unwrap().health();
            assert_eq!(health, Health::Clean);
        }
    }
}

/// A tail that another process writes is followed as one that is not packed, and each block of it is unpacked once: the
/// records of a block lie in it side by side.
#[test]
fn is_a_block_of_the_tail_unpacked_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::options()
        .pack_appends(Compression::Lz4)
        .open(&path)
        .unwrap();
    let beside = Reader::open(&path).unwrap();
    let mut tails = [log.tail(0), beside.tail(0)];
    for round in 0..5u64 {
        let values: Vec<_> = (0..400).map(|number| line(round * 400 + number)).collect();
        log.append_batch(&values).unwrap();
        let raw_bytes: usize = values.iter().map(|value| value.len() + 8).sum();
        for tail in &mut tails {
            let mut first = None;
            for want in &values {
                let record = tail.next().unwrap().unwrap();
                assert_eq!(&*record, want);
                let at = record.value().unwrap().as_ptr() as usize;
                let start = *first.get_or_insert(at);
                assert!((start..start + raw_bytes).contains(&at));
            }
            assert!(tail.try_next().unwrap().is_none());
        }
    }
    let tail = fs_of(&path);
    assert!(tail < 5 * 400 * 20, "{tail} bytes of 100,000 and more");
}

/// Bytes of frames in the tail of a log on the disk.
fn fs_of(path: &Path) -> u64 {
    let log = Log::options().open_reader(path).unwrap();
    log.segments().unwrap().last().unwrap().frame_bytes
}

/// A file that was another segment before is full of old bytes, and a header among them counts only if its records
/// can lie there. Packed ones take less room than others: the second of two batches, which attests the first, was once so
/// far above it that it would not have been heard.
#[test]
fn is_a_witness_heard_behind_records_that_take_less_room_than_others() {
    let fs = Arc::new(SimFs::new(10));
    let log = options(&fs).segment_bytes(16 << 10).open(DIR).unwrap();
    // Into files that come back, full of what was there before.
    for number in 0..120 {
        log.append(noise(900, number)).unwrap();
        log.maintain().unwrap();
        log.trim(log.next_seq().saturating_sub(20)).unwrap();
    }
    log.rotate().unwrap();
    log.maintain().unwrap();
    log.append(line(0)).unwrap();
    let first = log.next_seq();
    let nothing: Vec<Vec<u8>> = vec![Vec::new(); 1000];
    log.append_batch(&nothing).unwrap();
    log.append(line(1)).unwrap();
    let fs = killed(&fs, log);
    let tail = segments(&fs, DIR)
        .into_iter()
        .max_by_key(|it| it.1.base_seq);
    let (path, header) = tail.unwrap();
    assert!(header.recycled, "the file was a segment before");
    let found = batches(&fs, DIR, header.id);
    let (offset, batch, _) = found.last().unwrap();
    assert_eq!((batch.first_seq, batch.count), (first, 1000));
    assert!(batch.body_bytes < 8 * 700 && batch.body_bytes >= 4 * 1000);
    assert!(fs.remove_file(&Path::new(DIR).join(names::WATERMARK)));
    let mut bytes = fs.read_file(&path).unwrap();
    bytes[*offset as usize + 60] ^= 1;
    assert!(fs.write_file(&path, &bytes));
    let error = options(&fs).open(DIR).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Damaged,
        "durable records are not cut: {error}"
    );
}

/// One byte that rotted in a packed batch costs a repair and a salvage no record.
#[test]
fn does_one_byte_cost_a_repair_a_record() {
    for salvage in [false, true] {
        let fs = Arc::new(SimFs::new(11));
        let mut all = Vec::new();
        let log = options(&fs).open(DIR).unwrap();
        append(&log, &lines(0..60), &mut all);
        append(&log, &lines(60..120), &mut all);
        append(&log, &lines(120..121), &mut all);
        drop(log);
        let (path, header) = segments(&fs, DIR).remove(0);
        let (offset, ..) = batches(&fs, DIR, header.id)[1];
        let mut bytes = fs.read_file(&path).unwrap();
        bytes[offset as usize + 100] ^= 8;
        assert!(fs.write_file(&path, &bytes));
        assert_eq!(
            options(&fs).open(DIR).unwrap_err().kind(),
            ErrorKind::Damaged
        );
        let dir = match salvage {
            true => {
                plain(&fs).salvage(DIR, "/saved").unwrap();
                "/saved"
            }
            false => {
                let report = plain(&fs)
                    .repair(DIR, RepairOptions::new().apply(true).accept_loss(true))
                    .unwrap();
                assert!(!report.findings.is_empty());
                DIR
            }
        };
        let log = options(&fs).open(dir).unwrap();
        check(&log.reader(), 0, &all);
        fill(&log, &mut all, 1);
        check(&log.reader(), 0, &all);
        log.close().unwrap();
        check_told(&fs, dir);
    }
}

/// What was packed in small groups is packed again in full blocks once it is sealed.
#[test]
fn are_small_groups_packed_in_full_blocks_once_they_are_sealed() {
    let fs = Arc::new(SimFs::new(12));
    let mut all = Vec::new();
    let log = options(&fs).segment_bytes(1 << 20).open(DIR).unwrap();
    for round in 0..60 {
        append(&log, &lines(round * 25..round * 25 + 25), &mut all);
    }
    log.rotate().unwrap();
    let id = log.segments().unwrap()[0].id;
    assert_eq!(batches(&fs, DIR, id).len(), 60);
    let report = log.pack(&PackOptions::new(Compression::Lz4)).unwrap();
    assert!(
        report.bytes_after < report.bytes_before * 7 / 8,
        "{report:?}"
    );
    let packed = log.segments().unwrap()[0].id;
    let found = batches(&fs, DIR, packed);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].2.facts().raw_bytes > 60_000);
    let header = segments(&fs, DIR).into_iter().find(|it| it.1.id == packed);
    assert_eq!(header.unwrap().1.required_features(), 1 << 2);
    check(&log.reader(), 0, &all);
}

/// Where the next group goes is planned before it is known what packing saves: a segment is filled all the same.
#[test]
fn is_a_segment_filled_with_what_is_stored() {
    let fs = Arc::new(SimFs::new(13));
    let log = options(&fs).segment_bytes(64 << 10).open(DIR).unwrap();
    let how = AppendOptions::new().durability(Durability::Written);
    for round in 0..200 {
        let tickets: Vec<_> = (0..4)
            .map(|number| {
                let same = line(round * 4 + number).repeat(40);
                let value = [noise(700, round * 4 + number), same].concat();
                log.submit(&[NewRecord::value(&value)], &how).unwrap()
            })
            .collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        log.maintain().unwrap();
    }
    let raw = 200 * 4 * (700 + 40 * line(0).len() as u64);
    let stored: u64 = log
        .segments()
        .unwrap()
        .iter()
        .map(|it| it.frame_bytes)
        .sum();
    assert!(stored < raw / 2, "{stored} of {raw}");
    let segments = log.segments().unwrap();
    let full = segments.iter().filter(|it| it.is_sealed);
    assert!(full.clone().count() >= 8);
    assert!(
        full.into_iter().all(|it| it.frame_bytes > 48 << 10),
        "{segments:?}"
    );
}

/// A packed write that failed, and was cut back, is tried again with what was buffered, in the place that it then has.
#[test]
fn is_what_could_not_be_written_packed_again() {
    let fs = Arc::new(SimFs::new(14));
    let log = options(&fs).open(DIR).unwrap();
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    let mut all = Vec::new();
    append(&log, &lines(0..50), &mut all);
    for number in 50..150 {
        log.append_with(&line(number), &buffered).unwrap();
    }
    fs.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Error(Errno::Enospc),
    ));
    let error = log
        .append_with(&line(150), &AppendOptions::new())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    for number in all.len() as u64..log.next_seq() {
        all.extend(lines(number..number + 1));
    }
    append(&log, &lines(200..260), &mut all);
    check(&log.reader(), 0, &all);
    fs.power_cut();
    drop(log);
    let fs = Arc::new(fs.reboot(1));
    let log = options(&fs).open(DIR).unwrap();
    check(&log.reader(), 0, &all);
}
