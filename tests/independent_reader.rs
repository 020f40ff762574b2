//! `cairn_read.py` was written from `format.md` alone, in another language and with little but its
//! standard library (what is sealed or packed by Zstandard takes a package each). If it reads what the encoders wrote, the page is complete; if it judges a torn
//! or damaged log as the page says, so are the page's rules. Python 3 is required.

#[allow(dead_code, reason = "format_md.rs needs all of it")]
#[path = "format_md/blocks.rs"]
mod blocks;
#[path = "independent_reader/build.rs"]
mod build;

use build::{Rec, Seg, TIME, manifest, rec, salt, write, zeros_behind};
use cairnlog::format::Manifest;
use cairnlog::format::header::{Origin, SegmentHeader};
use cairnlog::format::record::Producer;
use cairnlog::format::{ProducersFile, names};
use cairnlog::{AppendOptions, Log, LogId, NewRecord, Record, SegmentId};
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/independent_reader/cairn_read.py"
);

/// What the reader said of a log.
#[derive(Debug)]
struct Read {
    records: Vec<String>,
    last: String,
}

impl Read {
    fn seqs(&self) -> Vec<u64> {
        let seq = |line: &String| line.split([':', ',']).nth(1).unwrap().parse().unwrap();
        self.records.iter().map(seq).collect()
    }

    fn verdict(&self) -> &str {
        let named = self.last.split('"').nth(3);
        named.expect("a verdict")
    }

    /// The verdict, the next seq, and the place of the only defect.
    fn expect(&self, verdict: &str, next_seq: u64, place: Option<(u64, u64)>) {
        let head = format!(r#"{{"verdict":"{verdict}","next_seq":{next_seq},"defects":["#);
        assert!(self.last.starts_with(&head), "{}", self.last);
        let rest = &self.last[head.len()..];
        match place {
            None => assert_eq!(rest, "]}"),
            Some((segment, offset)) => {
                let first = format!(r#"{{"segment":{segment},"offset":{offset},"what":"#);
                assert!(rest.starts_with(&first), "{}", self.last);
                assert_eq!(rest.matches(r#""segment""#).count(), 1, "{}", self.last);
            }
        }
    }
}

fn read(dir: &Path) -> Read {
    read_all(&[dir]).pop().expect("a verdict")
}

fn read_all(dirs: &[&Path]) -> Vec<Read> {
    let mut command = Command::new("python3");
    // The key of the golden log that is sealed.
    command.env("CAIRN_READ_KEYS", format!("7:{}", "07".repeat(32)));
    let output = command.arg(SCRIPT).args(dirs).output();
    let output = output.expect("python3 is required");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let (mut reads, mut records) = (Vec::new(), Vec::new());
    for line in String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
    {
        if line.starts_with(r#"{"verdict""#) {
            reads.push(Read {
                records: std::mem::take(&mut records),
                last: line,
            });
        } else {
            records.push(line);
        }
    }
    assert_eq!((reads.len(), records.len()), (dirs.len(), 0));
    reads
}

fn read_log(manifest: &Manifest, files: &[(u64, &[u8])]) -> Read {
    read_logs(manifest, &[files]).pop().expect("a verdict")
}

/// Reads many logs of one manifest in one run of the reader, which must leave them as they are.
fn read_logs(manifest: &Manifest, logs: &[&[(u64, &[u8])]]) -> Vec<Read> {
    let dirs: Vec<_> = logs.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let paths: Vec<_> = dirs.iter().map(|dir| dir.path()).collect();
    for (path, files) in paths.iter().zip(logs) {
        write(path, manifest, files);
    }
    let before: Vec<_> = paths.iter().map(|path| contents(path)).collect();
    let reads = read_all(&paths);
    let after: Vec<_> = paths.iter().map(|path| contents(path)).collect();
    assert!(before == after, "the reader wrote");
    reads
}

/// Reads a log once for each of these contents of segment 1; the other files stay as they are.
fn read_each(manifest: &Manifest, firsts: &[Vec<u8>], others: &[(u64, &[u8])]) -> Vec<Read> {
    let log = |first| [&[(1, first)], others].concat();
    let logs: Vec<_> = firsts.iter().map(|first| log(&first[..])).collect();
    let logs: Vec<_> = logs.iter().map(|log| &log[..]).collect();
    read_logs(manifest, &logs)
}

/// A file once for each of its bytes in a range, with that byte changed.
fn changed(file: &[u8], range: std::ops::Range<usize>, bits: u8) -> Vec<Vec<u8>> {
    let change = |at: usize| {
        let mut file = file.to_vec();
        file[at] ^= bits;
        file
    };
    range.map(change).collect()
}

fn contents(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut all: Vec<_> = entries
        .map(|it| (it.file_name(), std::fs::read(it.path()).unwrap()))
        .collect();
    all.sort();
    all
}

/// A tail with three batches, seqs 0 to 5, each written when the one before was durable, and the
/// offsets at which they start and end.
fn three_batches() -> (Seg, [usize; 4]) {
    let first = Seg::new(1, 0).batch(0, &[rec("a"), rec("b")]);
    let second = first.clone().batch(2, &[rec("c"), rec("d"), rec("e")]);
    let third = second.clone().batch(5, &[rec("f")]);
    let ends = [
        128,
        first.bytes.len(),
        second.bytes.len(),
        third.bytes.len(),
    ];
    (third, ends)
}

#[test]
fn the_log_of_format_md_reads_as_it_says() {
    let found = blocks::blocks(include_str!("../format.md")).unwrap();
    let manifest = Manifest::decode(&blocks::file(&found, "MANIFEST")).unwrap();
    let files = [
        (1, &blocks::file(&found, "1")[..]),
        (2, &blocks::file(&found, "2")[..]),
    ];
    let log = read_log(&manifest, &files);
    let expected = [
        r#"{"seq":1,"ts":1700000000005,"key":"6b","value":"7631","producer":null}"#,
        r#"{"seq":2,"ts":1700000000500,"key":"6b","value":null,"producer":[7,1,42]}"#,
        r#"{"seq":3,"ts":1700000060000,"key":null,"value":"","producer":null}"#,
    ];
    assert_eq!(log.records, expected);
    log.expect("clean", 4, None);
}

#[test]
fn an_empty_log_is_clean() {
    let tail = Seg::new(1, 0);
    let manifest = manifest(&[], &tail);
    for file in [tail.with_zeros(), tail.bytes.clone()] {
        let log = read_log(&manifest, &[(1, &file)]);
        assert!(log.records.is_empty());
        log.expect("clean", 0, None);
    }
}

#[test]
fn a_directory_without_a_manifest_is_empty_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    read(dir.path()).expect("clean", 0, None);
    let place = |id| dir.path().join(names::segment(SegmentId(id)));
    std::fs::write(place(2), [0; 4096]).unwrap();
    read(dir.path()).expect("clean", 0, None);
    let origin = Origin::Copy;
    let copy = Seg::with(SegmentHeader {
        origin,
        ..Seg::new(1, 0).header
    });
    std::fs::write(place(1), &copy.bytes).unwrap();
    read(dir.path()).expect("clean", 0, None);
    for begun in [Seg::new(1, 0), copy.batch(0, &[rec("a")])] {
        std::fs::write(place(1), &begun.bytes).unwrap();
        read(dir.path()).expect("damaged", 0, Some((1, 0)));
    }
}

#[test]
fn every_kind_of_record_reads_as_it_was_written() {
    let producer = Some(Producer {
        id: u64::MAX,
        epoch: u32::MAX,
        number: 9,
    });
    let records = [
        rec("hi"),
        Rec {
            value: Some(vec![]),
            ..Rec::default()
        },
        Rec {
            key: Some(vec![]),
            value: Some(vec![0, 255]),
            ..Rec::default()
        },
        Rec {
            key: Some(b"k".to_vec()),
            ..Rec::default()
        },
        Rec {
            timestamp_ms: Some(i64::MIN),
            value: Some(vec![1]),
            ..Rec::default()
        },
        Rec {
            producer,
            key: Some(vec![7; 300]),
            timestamp_ms: Some(-1),
            ..Rec::default()
        },
    ];
    let tail = Seg::new(1, 40)
        .batch(40, &records[..1])
        .batch(41, &records[1..])
        .batch(46, &[]);
    let log = read_log(&manifest(&[], &tail), &[(1, &tail.with_zeros())]);
    let time = TIME + 1;
    let long = "07".repeat(300);
    let expected = [
        format!(r#"{{"seq":40,"ts":{time},"key":null,"value":"6869","producer":null}}"#),
        format!(r#"{{"seq":41,"ts":{time},"key":null,"value":"","producer":null}}"#),
        format!(r#"{{"seq":42,"ts":{time},"key":"","value":"00ff","producer":null}}"#),
        format!(r#"{{"seq":43,"ts":{time},"key":"6b","value":null,"producer":null}}"#),
        format!(
            r#"{{"seq":44,"ts":{},"key":null,"value":"01","producer":null}}"#,
            i64::MIN
        ),
        format!(
            r#"{{"seq":45,"ts":-1,"key":"{long}","value":null,"producer":[{},{},9]}}"#,
            u64::MAX,
            u32::MAX
        ),
    ];
    assert_eq!(log.records, expected);
    log.expect("clean", 46, None);
}

#[test]
fn sealed_segments_come_first_with_or_without_a_footer() {
    let first = Seg::new(1, 0)
        .batch(0, &[rec("a")])
        .batch(1, &[rec("b"), rec("c")]);
    let tail = first.follow(2, 3).batch(3, &[rec("d")]);
    let manifest = manifest(&[&first], &tail);
    let old_bytes_behind = [first.with_footer(), vec![0xa5; 500]].concat();
    let lost_footer = [first.bytes.clone(), vec![0xee; 88]].concat();
    for file in [
        first.with_footer(),
        first.bytes.clone(),
        old_bytes_behind,
        lost_footer,
    ] {
        let log = read_log(&manifest, &[(1, &file), (2, &tail.with_zeros())]);
        assert_eq!(log.seqs(), [0, 1, 2, 3]);
        log.expect("clean", 4, None);
    }
    let short = &first.bytes[..first.bytes.len() - 1];
    let log = read_log(&manifest, &[(1, short), (2, &tail.with_zeros())]);
    assert_eq!(
        log.seqs(),
        [0, 3],
        "the batch before the damage and the next segment"
    );
    log.expect("damaged", 4, Some((1, 128 + 24 + 9)));
}

#[test]
fn damage_in_a_sealed_segment_hides_nothing_around_it() {
    let (first, ends) = three_batches();
    let tail = first.follow(2, 6).batch(6, &[rec("g")]);
    let manifest = manifest(&[&first], &tail);
    let files = changed(&first.with_footer(), ends[1]..ends[2], 1);
    for log in read_each(&manifest, &files, &[(2, &tail.with_zeros())]) {
        assert_eq!(log.seqs(), [0, 1, 6]);
        log.expect("damaged", 7, Some((1, ends[1] as u64)));
    }
}

#[test]
fn a_begun_spare_continues_the_tail() {
    let (tail, _) = three_batches();
    let spare = tail
        .follow(2, 5)
        .batch(5, &[rec("g")])
        .batch(7, &[rec("h")]);
    // Whatever stands behind the tail's end: the spare's header says that it is the end.
    let behind = [
        tail.with_zeros(),
        tail.with_footer(),
        [tail.bytes.clone(), vec![7; 99]].concat(),
    ];
    for file in behind {
        let log = read_log(
            &manifest(&[], &tail),
            &[(1, &file), (2, &spare.with_zeros())],
        );
        assert_eq!(log.seqs(), [0, 1, 2, 3, 4, 5, 6, 7]);
        log.expect("clean", 8, None);
    }
}

#[test]
fn a_seal_under_way_is_a_clean_end() {
    let (tail, _) = three_batches();
    let log = read_log(&manifest(&[], &tail), &[(1, &tail.with_footer())]);
    assert_eq!(log.seqs(), [0, 1, 2, 3, 4, 5]);
    log.expect("clean", 6, None);
}

#[test]
fn a_torn_end_is_cut_at_any_byte() {
    let (tail, ends) = three_batches();
    let torn = (ends[2] + 1..ends[3]).map(|end| tail.bytes[..end].to_vec());
    let files: Vec<_> = torn
        .flat_map(|torn| [torn.clone(), zeros_behind(torn)])
        .collect();
    for log in read_each(&manifest(&[], &tail), &files, &[]) {
        assert_eq!(log.seqs(), [0, 1, 2, 3, 4]);
        log.expect("torn", 5, Some((1, ends[2] as u64)));
    }
}

#[test]
fn a_lost_front_of_the_last_write_is_torn_and_not_a_clean_end() {
    let (tail, ends) = three_batches();
    let mut file = tail.with_zeros();
    file[ends[2]..ends[3] - 1].fill(0);
    read_log(&manifest(&[], &tail), &[(1, &file)]).expect("torn", 5, Some((1, ends[2] as u64)));
}

#[test]
fn a_later_batch_that_attests_less_is_no_witness() {
    // Two writes in flight at once: the second says that nothing behind seq 2 was durable.
    let first = Seg::new(1, 0).batch(0, &[rec("a"), rec("b")]);
    let end = first.bytes.len();
    let tail = first.batch(2, &[rec("c")]).batch(2, &[rec("d")]);
    let mut file = tail.with_zeros();
    file[end + 30] ^= 0x40;
    let log = read_log(&manifest(&[], &tail), &[(1, &file)]);
    assert_eq!(log.seqs(), [0, 1]);
    log.expect("torn", 2, Some((1, end as u64)));
}

#[test]
fn damage_with_a_later_witness_is_damage_at_any_byte() {
    let (tail, ends) = three_batches();
    let files = changed(&tail.with_zeros(), ends[1]..ends[2], 0x10);
    for log in read_each(&manifest(&[], &tail), &files, &[]) {
        assert_eq!(log.seqs(), [0, 1]);
        log.expect("damaged", 2, Some((1, ends[1] as u64)));
    }
}

#[test]
fn a_witness_needs_its_header_only() {
    let (tail, ends) = three_batches();
    let mut file = tail.bytes.clone();
    file[ends[1]] ^= 1;
    file.truncate(ends[2] + 24);
    read_log(&manifest(&[], &tail), &[(1, &file)]).expect("damaged", 2, Some((1, ends[1] as u64)));
    // A watermark alone will do.
    let (tail, ends) = three_batches();
    let tail = tail.batch(6, &[]);
    let mut file = tail.with_zeros();
    file[ends[2]..ends[3]].fill(0);
    read_log(&manifest(&[], &tail), &[(1, &file)]).expect("damaged", 5, Some((1, ends[2] as u64)));
}

#[test]
fn the_manifest_is_a_witness_even_before_zeros() {
    let (tail, ends) = three_batches();
    let mut manifest = manifest(&[], &tail);
    let cut = zeros_behind(tail.bytes[..ends[2]].to_vec());
    read_log(&manifest, &[(1, &cut)]).expect("clean", 5, None);
    manifest.durable_seq = 6;
    read_log(&manifest, &[(1, &cut)]).expect("damaged", 5, Some((1, ends[2] as u64)));
}

#[test]
fn a_spare_goes_with_a_torn_tail_and_attests_a_damaged_one() {
    let (tail, ends) = three_batches();
    let manifest = manifest(&[], &tail);
    let mut file = tail.with_zeros();
    file[ends[2]..ends[3]].fill(0);
    let place = Some((1, ends[2] as u64));

    let unsynced = tail.follow(2, 5).batch(5, &[rec("g")]);
    let log = read_log(&manifest, &[(1, &file), (2, &unsynced.with_zeros())]);
    assert_eq!(log.seqs(), [0, 1, 2, 3, 4]);
    log.expect("torn", 5, place);

    let by_header = tail.follow(2, 6).batch(6, &[rec("g")]);
    let by_batch = tail
        .follow(2, 5)
        .batch(5, &[rec("g")])
        .batch(7, &[rec("h")]);
    for spare in [by_header, by_batch] {
        let log = read_log(&manifest, &[(1, &file), (2, &spare.with_zeros())]);
        assert_eq!(log.seqs(), [0, 1, 2, 3, 4]);
        log.expect("damaged", 5, place);
    }
}

#[test]
fn a_spare_without_its_header_is_judged_by_what_it_holds() {
    let (tail, _) = three_batches();
    let manifest = manifest(&[], &tail);
    let end = Some((1, tail.bytes.len() as u64));
    let torn = tail.follow(2, 6).batch(6, &[rec("g")]);
    let acknowledged = torn.clone().batch(7, &[rec("h")]);
    for header in [0, 0xff] {
        let without = |seg: &Seg| {
            let mut file = seg.with_zeros();
            file[..128].fill(header);
            file
        };
        let log = read_log(&manifest, &[(1, &tail.with_zeros()), (2, &without(&torn))]);
        assert_eq!(log.seqs(), [0, 1, 2, 3, 4, 5]);
        log.expect("torn", 6, end);
        let log = read_log(
            &manifest,
            &[(1, &tail.with_zeros()), (2, &without(&acknowledged))],
        );
        log.expect("damaged", 6, end);
    }
}

#[test]
fn a_tail_without_its_header_is_damage() {
    let (tail, _) = three_batches();
    let mut file = tail.with_zeros();
    file[..128].fill(0);
    for file in [file, vec![0; 4096], vec![]] {
        read_log(&manifest(&[], &tail), &[(1, &file)]).expect("damaged", 0, Some((1, 0)));
    }
}

#[test]
fn a_copy_may_have_gaps_and_sparse_batches() {
    let header = SegmentHeader {
        origin: Origin::Copy,
        ..Seg::new(5, 100).header
    };
    let at = |seq| Rec {
        seq,
        key: Some(vec![1]),
        value: Some(vec![2]),
        ..Rec::default()
    };
    let copy = Seg::with(header)
        .batch_at(103, 100, false, &[rec("a"), rec("b")])
        .sparse(110, 103, &[at(110), at(117), at(400)]);
    let tail = Seg::new(6, 500).batch(500, &[rec("t")]);
    let mut manifest = manifest(&[&copy], &tail);
    // The last records of the range were dropped too.
    manifest.sealed[0].next_seq = 450;
    let log = read_log(
        &manifest,
        &[(5, &copy.with_footer()), (6, &tail.with_zeros())],
    );
    assert_eq!(log.seqs(), [103, 104, 110, 117, 400, 500]);
    log.expect("clean", 501, None);

    let live = Seg::new(5, 100).batch_at(103, 100, false, &[rec("a")]);
    manifest.sealed = vec![live.entry()];
    let log = read_log(
        &manifest,
        &[(5, &live.with_footer()), (6, &tail.with_zeros())],
    );
    assert_eq!(
        log.seqs(),
        [500],
        "no gap in a segment that appends went into"
    );
    log.expect("damaged", 501, Some((5, 128)));
}

#[test]
fn trimmed_records_are_not_in_the_log() {
    let first = Seg::new(1, 0).batch(0, &[rec("a"), rec("b"), rec("c")]);
    let tail = first.follow(2, 3).batch(3, &[rec("d"), rec("e")]);
    for head_seq in 0..=5 {
        let manifest = Manifest {
            head_seq,
            ..manifest(&[&first], &tail)
        };
        let log = read_log(
            &manifest,
            &[(1, &first.with_footer()), (2, &tail.with_zeros())],
        );
        assert_eq!(log.seqs(), (head_seq..5).collect::<Vec<_>>());
        log.expect("clean", 5, None);
    }
}

#[test]
fn another_file_under_the_name_is_damage() {
    let (tail, _) = three_batches();
    let manifest = manifest(&[], &tail);
    let others = [
        SegmentHeader {
            log_id: LogId([9; 16]),
            ..tail.header.clone()
        },
        SegmentHeader {
            id: SegmentId(9),
            ..tail.header.clone()
        },
        SegmentHeader {
            salt: 9,
            ..tail.header.clone()
        },
        SegmentHeader {
            base_seq: 9,
            ..tail.header.clone()
        },
    ];
    for header in others {
        let file = header.encode();
        read_log(&manifest, &[(1, &file)]).expect("damaged", 0, Some((1, 0)));
    }
    let other = Seg::with(SegmentHeader {
        salt: salt(9),
        ..tail.follow(2, 5).header
    });
    let log = read_log(
        &manifest,
        &[(1, &tail.with_zeros()), (2, &other.with_zeros())],
    );
    log.expect("damaged", 0, Some((2, 0)));
    // The spare follows the tail as it is found, byte for byte, or not at all.
    let mut pred = tail.as_predecessor();
    pred.checksum ^= 1;
    let header = tail.follow(2, 5).header;
    let other = Seg::with(SegmentHeader {
        predecessor: Some(pred),
        ..header
    });
    let log = read_log(
        &manifest,
        &[(1, &tail.with_zeros()), (2, &other.with_zeros())],
    );
    log.expect("torn", 6, Some((1, tail.bytes.len() as u64)));
}

#[test]
fn a_named_file_that_is_missing_is_damage() {
    let (first, _) = three_batches();
    let tail = first.follow(2, 6).batch(6, &[rec("g")]);
    let log = read_log(&manifest(&[&first], &tail), &[(2, &tail.with_zeros())]);
    assert_eq!(log.seqs(), [6]);
    log.expect("damaged", 7, Some((1, 0)));
}

#[test]
fn orphans_are_ignored_and_a_manifest_that_is_too_old_is_noticed() {
    let (tail, _) = three_batches();
    let manifest = manifest(&[], &tail);
    let copy = |id| {
        Seg::with(SegmentHeader {
            origin: Origin::Copy,
            ..Seg::new(id, 0).header
        })
    };
    let read_with = |id, bytes: &[u8]| read_log(&manifest, &[(1, &tail.with_zeros()), (id, bytes)]);
    read_with(7, &copy(7).batch(0, &[rec("x")]).bytes).expect("clean", 6, None);
    read_with(7, &[0; 512]).expect("clean", 6, None);
    read_with(7, &copy(7).bytes[..100]).expect("clean", 6, None);
    read_with(7, &Seg::new(7, 0).bytes).expect("damaged", 6, Some((7, 0)));
}

/// What the library writes, another program reads: after a close, in the middle of things, behind a
/// rotation that nothing has sealed yet, after recovery, trim and rewind.
#[test]
fn logs_of_the_library_read_as_the_library_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = || {
        Log::options()
            .segment_bytes(2048)
            .background(false)
            .idle_watermark(None)
    };
    let agree = |log: &Log| {
        let read = read(&path);
        let expected: Vec<_> = log.scan(..).unwrap().map(|it| line(&it.unwrap())).collect();
        assert_eq!(read.records, expected);
        read.expect("clean", log.next_seq(), None);
    };
    let log = options().open(&path).unwrap();
    agree(&log);
    for number in 0..300u32 {
        let value = format!("record {number}");
        let key = format!("key {}", number % 7);
        let producer = Producer {
            id: 7,
            epoch: 1,
            number: number.into(),
        };
        let records = [
            NewRecord::value(&value),
            NewRecord::keyed(&key, &value).timestamp_ms(i64::from(number) - 9),
            NewRecord::tombstone(&key),
        ];
        let how = AppendOptions::new().producer(producer);
        log.append_records(&records, &how).unwrap();
        if number % 50 == 3 {
            agree(&log);
            log.maintain().unwrap();
            agree(&log);
        }
    }
    log.trim(100).unwrap();
    agree(&log);
    log.rewind(700).unwrap();
    agree(&log);
    log.append("behind a gap").unwrap();
    agree(&log);
    // Left as a killed process leaves it, then recovered, then closed in order.
    drop(log);
    let log = options().open(&path).unwrap();
    agree(&log);
    log.append("after recovery").unwrap();
    log.close().unwrap();
    drop(log);
    let log = options().open(&path).unwrap();
    agree(&log);
}

/// A record in the words of the reader.
/// In a file that was another segment before old bytes follow the end: they are neither read nor torn.
#[test]
fn a_log_in_recycled_files_ends_where_the_library_says() {
    let dir = tempfile::tempdir().unwrap();
    let options = Log::options().segment_bytes(32 * 1024).background(false);
    let log = options.open(dir.path().join("log")).unwrap();
    let mut begun = 0;
    for number in 0..70_u64 {
        log.append(number.to_string().repeat(1500)).unwrap();
        while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
        if number == 30 {
            log.trim(25).unwrap();
        }
        if number > 30 && number % 3 == 0 {
            // As a kill leaves it.
            let copy = dir.path().join(number.to_string());
            std::fs::create_dir(&copy).unwrap();
            for (name, bytes) in contents_of_files(&dir.path().join("log")) {
                begun += usize::from(SegmentHeader::decode(&bytes).is_ok_and(|it| it.recycled));
                std::fs::write(copy.join(name), bytes).unwrap();
            }
            let found = read(&copy);
            let all = log.scan(..).unwrap().map(|record| line(&record.unwrap()));
            assert_eq!(found.records, all.collect::<Vec<_>>(), "after {number}");
            assert!(found.last.contains("clean"), "{}", found.last);
        }
    }
    // A file system that cannot tell who else has a file gives none back.
    println!("{begun} begun segments in files that came back");
}

fn contents_of_files(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|it| it.file_type().unwrap().is_file());
    files
        .map(|it| (it.file_name(), std::fs::read(it.path()).unwrap()))
        .collect()
}

#[test]
fn a_ledger_is_a_witness_and_has_to_verify() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = Log::options().segment_bytes(512).background(false);
    let log = options.open(&path).unwrap();
    for number in 0..20u64 {
        let (id, epoch) = (number % 3, 1);
        let how = AppendOptions::new().producer(Producer { id, epoch, number });
        log.append_records(&[NewRecord::value(&[7; 99])], &how)
            .unwrap();
    }
    log.maintain().unwrap();
    drop(log);
    let stored = path.join("PRODUCERS");
    let bytes = std::fs::read(&stored).unwrap();
    read(&path).expect("clean", 20, None);
    let of = |change: fn(&mut ProducersFile)| -> String {
        let mut file = ProducersFile::decode(&bytes).unwrap();
        change(&mut file);
        std::fs::write(&stored, file.encode()).unwrap();
        read(&path).verdict().to_owned()
    };
    assert_eq!(of(|_| {}), "clean");
    assert_eq!(of(|file| file.as_of_seq = 20), "clean");
    assert_eq!(of(|file| file.as_of_seq = 21), "damaged");
    assert_eq!(of(|file| file.log_id.0[0] ^= 1), "damaged");
    assert_eq!(of(|file| file.producers.swap(0, 1)), "damaged");
    assert_eq!(of(|file| file.producers[0].appends.swap(0, 1)), "damaged");
    for at in [0, 20, 40, 70, bytes.len() - 20] {
        let mut harmed = bytes.clone();
        harmed[at] ^= 1;
        std::fs::write(&stored, harmed).unwrap();
        assert_eq!(read(&path).verdict(), "damaged", "byte {at}");
    }
    std::fs::remove_file(path.join("MANIFEST")).unwrap();
    assert_eq!(read(&path).verdict(), "damaged");
}

fn line(record: &Record) -> String {
    let hex = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    };
    let null = || "null".to_owned();
    let producer = record.producer();
    let producer =
        producer.map_or_else(null, |it| format!("[{},{},{}]", it.id, it.epoch, it.number));
    format!(
        r#"{{"seq":{},"ts":{},"key":{},"value":{},"producer":{producer}}}"#,
        record.seq(),
        record.timestamp_ms(),
        record.key().map_or_else(null, hex),
        record.value().map_or_else(null, hex),
    )
}

/// Whether what the reader needs of Python's packages for this golden log is there. The gate installs both.
fn can_read(fixture: &Path) -> bool {
    let name = fixture.file_name().unwrap().to_string_lossy();
    let cipher = "from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV";
    (!name.starts_with("sealed") || imports(cipher))
        && (!name.ends_with("zstd") || imports("import zstandard"))
}

fn imports(import: &str) -> bool {
    let status = Command::new("python3")
        .args(["-c", import])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The golden logs of version 1: the reader and the engine that wrote them say the same.
#[test]
fn golden_logs_read_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let fixture = entry.unwrap().path();
        let expected = std::fs::read_to_string(fixture.join("expected.txt")).unwrap();
        let (head, records) = expected.split_once('\n').unwrap();
        let found = read(&fixture.join("log"));
        let verdict = match head.split(' ').next().unwrap() {
            "refused:" => "damaged",
            "torn" => "torn",
            _ if !can_read(&fixture) => "unsupported",
            _ => "clean",
        };
        let said = format!(r#"{{"verdict":"{verdict}","#);
        assert!(
            found.last.starts_with(&said),
            "{}: {}",
            fixture.display(),
            found.last
        );
        if !["damaged", "unsupported"].contains(&verdict) {
            // Where cursors stand is no part of what the reader tells.
            let records = records.lines().filter(|line| !line.starts_with("cursor "));
            let expected: Vec<String> = records.map(golden_line).collect();
            assert_eq!(found.records, expected, "{}", fixture.display());
        }
        count += 1;
    }
    assert!(count >= 24, "{count} golden logs");
}

/// A line of `expected.txt` in the words of the reader.
fn golden_line(text: &str) -> String {
    if let ["large", seq, value] = text.split(' ').collect::<Vec<_>>()[..] {
        return format!(r#"{{"large":{seq},"value":"{}"}}"#, &value[1..]);
    }
    if let ["mark", name, value] = text.split(' ').collect::<Vec<_>>()[..] {
        return format!(r#"{{"mark":"{name}","value":"{}"}}"#, &value[1..]);
    }
    let [seq, time, key, value, producer] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("not a golden line: {text}");
    };
    let bytes = |part: &str| match part.strip_prefix('x') {
        Some(hex) => format!("\"{hex}\""),
        None => "null".to_owned(),
    };
    let producer = match producer {
        "-" => "null".to_owned(),
        numbers => format!("[{}]", numbers.replace('/', ",")),
    };
    let (key, value) = (bytes(key), bytes(value));
    format!(r#"{{"seq":{seq},"ts":{time},"key":{key},"value":{value},"producer":{producer}}}"#)
}
