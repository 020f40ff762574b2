//! What does a program do with a log of which a newer one wrote a part? It says `Unsupported`, and leaves
//! every byte as it is: whatever the part, whatever the verb.
//!
//! A begun spare of a later version was cut as torn, with acknowledged records in it. Sealed segments of
//! one were called damaged, pointed to `repair`, rewritten without their records, and dropped by
//! retention; an orphan of one was removed without a word.

use cairnlog::{
    CompactOptions, ConsumerOptions, ErrorKind, FindingKind, Health, Inspected, Log, NewRecord,
    Options, Reader, RepairOptions, Retention,
    format::{BatchHeader, Manifest, SegmentContext, SegmentHeader, batch::encode_annex, crc32c},
    vfs::sim::SimFs,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const DIR: &str = "/log";
/// Where the checksums of the structures start from, and what they cover: `format.md`, "Checksums".
const SEGMENT: (u32, usize) = (0x4845_4144, 124);
const MANIFEST: (u32, usize) = (0x4d41_4e49, 140);
const WATERMARK: (u32, usize) = (0x574d_524b, 52);
const PRODUCERS: (u32, usize) = (0x5052_4f44, 68);
const CURSOR: (u32, usize) = (0x4355_5253, 84);

fn options(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(1024)
        .background(false)
}

/// Sealed segments, a tail with records, a begun spare behind it, a ledger, a cursor that holds nothing,
/// and all of it as a killed writer left it.
fn disk() -> SimFs {
    let disk = SimFs::new(5);
    let log = options(&disk).open(DIR).expect("a log");
    for number in 0..24 {
        let producer = cairnlog::Producer {
            id: 7,
            epoch: 1,
            number,
        };
        let how = cairnlog::AppendOptions::new().producer(producer);
        let record = NewRecord::value(&[b'v'; 100]);
        log.append_records(&[record], &how).expect("appended");
    }
    let consumer = log.consumer_with("mail", &ConsumerOptions::new());
    consumer.expect("a consumer").ack(3).expect("acknowledged");
    log.maintain().expect("sealed");
    while spare_is_blank(&disk) {
        log.append([b'w'; 100]).expect("appended");
    }
    for _ in 0..2 {
        log.append([b'w'; 100]).expect("appended");
    }
    std::mem::forget(log);
    disk.snapshot()
}

fn manifest(disk: &SimFs) -> Manifest {
    Manifest::decode(&read(disk, "MANIFEST")).expect("a manifest")
}

fn spare_is_blank(disk: &SimFs) -> bool {
    let spare = manifest(disk).spare.expect("a spare");
    read(disk, &segment(spare.id.0))
        .iter()
        .all(|byte| *byte == 0)
}

fn segment(id: u64) -> String {
    format!("{id:020}.seg")
}

fn read(disk: &SimFs, name: &str) -> Vec<u8> {
    let path = Path::new(DIR).join(name);
    disk.read_file(&path)
        .unwrap_or_else(|| panic!("{name} is there"))
}

/// Changes a file, and makes the checksum at its place right again.
fn edit(disk: &SimFs, name: &str, (seed, at): (u32, usize), change: impl FnOnce(&mut [u8])) {
    let mut bytes = read(disk, name);
    change(&mut bytes);
    let mut crc = crc32c(seed, &bytes[..at]);
    if [PRODUCERS, CURSOR].contains(&(seed, at)) {
        crc = crc32c(crc, &bytes[at + 4..]);
    }
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&Path::new(DIR).join(name), &bytes);
}

fn later_version(bytes: &mut [u8]) {
    bytes[8..10].copy_from_slice(&2u16.to_le_bytes());
}

fn required_feature(bytes: &mut [u8]) {
    bytes[12..16].copy_from_slice(&(1u32 << 9).to_le_bytes());
}

/// All files but the lock's, which says which process holds it and decides nothing.
fn contents(disk: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in disk
        .files()
        .into_iter()
        .filter(|path| !path.ends_with("LOCK"))
    {
        let bytes = disk.read_file(&path).expect("it is listed");
        found.insert(path, bytes);
    }
    found
}

fn open(disk: &SimFs) -> cairnlog::Result<Log> {
    options(disk).open(DIR)
}

type Verb = fn(&SimFs) -> cairnlog::Result<()>;

/// Everything that writes.
fn verbs() -> Vec<(&'static str, Verb)> {
    vec![
        ("open", |disk| open(disk).map(drop)),
        ("open and cut", |disk| {
            let cut = cairnlog::OnAmbiguousTail::Cut;
            options(disk).on_ambiguous_tail(cut).open(DIR).map(drop)
        }),
        ("append", |disk| open(disk)?.append("x").map(drop)),
        ("retain", |disk| {
            open(disk)?.retain(&Retention::new().bytes_max(0)).map(drop)
        }),
        ("trim", |disk| open(disk)?.trim(20)),
        ("rewind", |disk| open(disk)?.rewind(1)),
        ("compact", |disk| {
            open(disk)?.compact(&CompactOptions::new()).map(drop)
        }),
        ("backup", |disk| open(disk)?.backup("/copy").map(drop)),
        ("consumer", |disk| open(disk)?.consumer("mail").map(drop)),
        ("delete a cursor", |disk| open(disk)?.delete_cursor("mail")),
        ("repair, dry", |disk| {
            options(disk).repair(DIR, RepairOptions::new()).map(drop)
        }),
        ("repair", |disk| {
            let how = RepairOptions::new().apply(true).accept_loss(true);
            options(disk).repair(DIR, how).map(drop)
        }),
        ("salvage", |disk| {
            options(disk).salvage(DIR, "/out").map(drop)
        }),
    ]
}

/// A name for the part that a newer program wrote, and the file's.
fn newer_logs() -> Vec<(&'static str, SimFs)> {
    let mut logs = Vec::new();
    let with = |change: &dyn Fn(&SimFs, &Manifest)| {
        let disk = disk();
        change(&disk, &manifest(&disk));
        disk
    };
    for (what, change) in [
        ("a later version", later_version as fn(&mut [u8])),
        ("a required feature", required_feature),
    ] {
        let named = |part: &str| -> &'static str { format!("{part} with {what}").leak() };
        logs.push((
            named("the manifest"),
            with(&|disk, _| edit(disk, "MANIFEST", MANIFEST, change)),
        ));
        logs.push((
            named("the tail"),
            with(&|disk, it| edit(disk, &segment(it.tail.id.0), SEGMENT, change)),
        ));
        logs.push((
            named("the begun spare"),
            with(&|disk, it| {
                let spare = it.spare.expect("a spare").id.0;
                edit(disk, &segment(spare), SEGMENT, change);
            }),
        ));
        logs.push((
            named("an orphan"),
            with(&|disk, it| {
                let tail = read(disk, &segment(it.tail.id.0));
                let orphan = segment(it.next_segment_id.0 + 1);
                disk.write_file(&Path::new(DIR).join(&orphan), &tail);
                edit(disk, &orphan, SEGMENT, change);
            }),
        ));
        logs.push((
            named("the ledger"),
            with(&|disk, _| edit(disk, "PRODUCERS", PRODUCERS, change)),
        ));
        logs.push((
            named("a cursor"),
            with(&|disk, _| edit(disk, "cursors/00000000000000000001.cur", CURSOR, change)),
        ));
        logs.push((
            named("the watermark"),
            with(&|disk, _| edit(disk, "WATERMARK", WATERMARK, change)),
        ));
    }
    // Its lists may be of any length, and their counts elsewhere.
    for (part, name, sums) in [
        ("a ledger of another length", "PRODUCERS", PRODUCERS),
        (
            "a cursor of another length",
            "cursors/00000000000000000001.cur",
            CURSOR,
        ),
    ] {
        logs.push((
            part,
            with(&|disk, _| {
                let longer = [read(disk, name), vec![7; 500]].concat();
                disk.write_file(&Path::new(DIR).join(name), &longer);
                edit(disk, name, sums, later_version);
            }),
        ));
    }
    logs.push((
        "a batch with an extension",
        with(&|disk, it| extend_last_batch(disk, it)),
    ));
    logs.push((
        "a batch with an extension behind one that is torn",
        with(&|disk, it| {
            extend_last_batch(disk, it);
            let (name, at) = last_batches(disk, it)[0].clone();
            let mut bytes = read(disk, &name);
            bytes[at + 30] ^= 1;
            disk.write_file(&Path::new(DIR).join(&name), &bytes);
        }),
    ));
    logs.push((
        "the manifest with a feature that a writer must know",
        with(&|disk, _| {
            edit(disk, "MANIFEST", MANIFEST, |bytes| {
                bytes[16..20].copy_from_slice(&[0, 0, 1, 0])
            });
        }),
    ));
    logs
}

/// The file of the begun spare, and where its batches are.
fn last_batches(disk: &SimFs, manifest: &Manifest) -> Vec<(String, usize)> {
    let spare = manifest.spare.expect("a spare").id;
    let mut found = Vec::new();
    let inspected = options(disk).inspect(DIR, spare, |item| {
        if let Inspected::Batch { offset, .. } = item {
            found.push((segment(spare.0), usize::try_from(offset).expect("small")));
        }
    });
    inspected.expect("a segment");
    assert!(found.len() > 1);
    found
}

fn seed(context: &SegmentContext, offset: usize, constant: u32) -> u32 {
    let bound = context.salt ^ offset as u64;
    (bound as u32) ^ ((bound >> 32) as u32) ^ constant
}

/// Sets the bit that says that the header of a batch goes on.
fn extend_last_batch(disk: &SimFs, manifest: &Manifest) {
    let (name, at) = last_batches(disk, manifest).pop().expect("a batch");
    let mut bytes = read(disk, &name);
    let context = SegmentHeader::decode(&bytes).expect("a header").context();
    bytes[at + 23] |= 1 << 3;
    let crc = crc32c(seed(&context, at, 0x4254_4348), &bytes[at + 4..at + 24]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&Path::new(DIR).join(&name), &bytes);
}

#[test]
fn nothing_is_changed_by_who_does_not_know_a_part_and_it_is_called_unsupported() {
    for (part, disk) in newer_logs() {
        let before = contents(&disk);
        for (verb, run) in verbs() {
            let error = run(&disk).expect_err(&format!("{part}: {verb}"));
            assert_eq!(
                error.kind(),
                ErrorKind::Unsupported,
                "{part}: {verb}: {error}"
            );
            assert_eq!(contents(&disk), before, "{part}: {verb}");
        }
        let plan = options(&disk).plan(DIR).expect("a plan");
        let found: Vec<FindingKind> = plan.findings.iter().map(|it| it.kind).collect();
        assert!(
            plan.refuses && found == [FindingKind::Unsupported],
            "{part}: {plan}"
        );
        let report = options(&disk).verify(DIR).expect("a report");
        assert_eq!(
            report.health(),
            Health::Unsupported,
            "{part}: {:?}",
            report.findings
        );
        let damage =
            |it: &&cairnlog::Finding| matches!(it.kind, FindingKind::Damage | FindingKind::Torn);
        assert_eq!(report.findings.iter().find(damage), None, "{part}");
        assert_eq!(contents(&disk), before, "{part}: plan and verify");
    }
}

/// A sealed segment is opened when it is read: who did not state its features in the manifest is not
/// found out before. What would drop it looks first.
#[test]
fn a_sealed_segment_of_a_newer_program_is_not_dropped_or_called_damaged() {
    for change in [later_version as fn(&mut [u8]), required_feature] {
        let disk = disk();
        let log = options(&disk).open(DIR).expect("recovered");
        log.close().expect("closed");
        drop(log);
        let first = manifest(&disk).sealed[0];
        edit(&disk, &segment(first.id.0), SEGMENT, change);
        let kept = read(&disk, &segment(first.id.0));
        for (verb, run) in verbs() {
            if [
                "open",
                "open and cut",
                "append",
                "compact",
                "consumer",
                "delete a cursor",
            ]
            .contains(&verb)
            {
                continue;
            }
            let error = run(&disk).expect_err(verb);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{verb}: {error}");
            assert_eq!(read(&disk, &segment(first.id.0)), kept, "{verb}");
        }
        let report = options(&disk).verify(DIR).expect("a report");
        assert_eq!(
            report.health(),
            Health::Unsupported,
            "{:?}",
            report.findings
        );
        // The records behind it are shown; it is named where it is met.
        let reader = options(&disk).open_reader(DIR).expect("a reader");
        assert!(reader.get(first.next_seq).expect("readable").is_some());
        assert_eq!(
            reader.get(0).expect_err("not readable").kind(),
            ErrorKind::Unsupported
        );
    }
}

/// A reader shows what it can read, and then says why there is no more: never silence, as if that were
/// the end.
#[test]
fn readers_read_on_up_to_what_is_a_newer_programs() {
    for (part, disk) in newer_logs() {
        let opened: cairnlog::Result<Reader> = options(&disk).open_reader(DIR);
        if part.contains("torn") {
            continue; // Where the torn one is there is damage as well, and for a reader that is first.
        }
        if part.contains("that a writer must know") {
            assert!(
                opened
                    .expect(part)
                    .scan(..)
                    .expect(part)
                    .all(|it| it.is_ok())
            );
            continue;
        }
        if part.starts_with("the manifest") {
            assert_eq!(
                opened.expect_err(part).kind(),
                ErrorKind::Unsupported,
                "{part}"
            );
            continue;
        }
        let reader = opened.expect(part);
        let shown: Vec<_> = reader.scan(..).expect(part).collect();
        let whole = shown.iter().all(Result::is_ok);
        let unread = ["the tail", "the begun spare", "a batch"]
            .iter()
            .any(|it| part.starts_with(it));
        assert_eq!(whole, !unread, "{part}");
        if unread {
            let (last, before) = shown.split_last().expect("some");
            let error = last.as_ref().expect_err(part);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{part}: {error}");
            assert!(
                before.iter().all(Result::is_ok) && before.len() > 8,
                "{part}"
            );
            let end = reader.end_seq();
            assert_eq!(
                reader.get(end).expect_err(part).kind(),
                ErrorKind::Unsupported,
                "{part}"
            );
            assert!(
                reader.scan(..end).expect(part).all(|it| it.is_ok()),
                "{part}"
            );
            let mut tail = reader.tail(end);
            assert_eq!(
                tail.try_next().expect_err(part).kind(),
                ErrorKind::Unsupported,
                "{part}"
            );
        }
    }
}

/// What a batch without records has for a body is for who knows its kind. Everybody else steps over it:
/// it costs no record, is no damage, and is left out where records are written anew.
#[test]
fn an_annex_of_a_kind_that_is_not_known_is_stepped_over() {
    let disk = SimFs::new(6);
    let log = options(&disk).open(DIR).expect("a log");
    for number in 0..3 {
        log.append(format!("record {number}")).expect("appended");
    }
    let tail = segment(manifest(&disk).tail.id.0);
    std::mem::forget(log);
    let disk = disk.snapshot();
    // Behind the last batch, where a newer writer would put it, and another batch behind that.
    let mut bytes = read(&disk, &tail);
    let context = SegmentHeader::decode(&bytes).expect("a header").context();
    let mut at = bytes.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    bytes.resize(at + 4096, 0);
    let mut put = |batch: BatchHeader, body: &[u8]| {
        let header = BatchHeader {
            body_bytes: body.len() as u32,
            ..batch
        };
        let whole = [&header.encode(&context, at as u64), body].concat();
        bytes[at..at + whole.len()].copy_from_slice(&whole);
        at += whole.len();
        at
    };
    let plain = BatchHeader {
        body_bytes: 0,
        first_seq: 3,
        durable_seq: 3,
        timestamp_ms: context.base_timestamp_ms,
        count: 0,
        sparse: false,
        packed: false,
    };
    let start = put(plain, &[]);
    let annex = encode_annex(0x7777, &[0xA5; 700], &context, start as u64);
    put(plain, &annex);
    let mut record = Vec::new();
    let parts = cairnlog::format::record::RecordParts {
        key: None,
        value: Some(b"behind it"),
        timestamp_ms: None,
        producer: None,
    };
    cairnlog::format::record::encode(&mut record, context.salt, 3, None, &parts);
    put(BatchHeader { count: 1, ..plain }, &record);
    disk.write_file(&Path::new(DIR).join(&tail), &bytes);

    let report = options(&disk).verify(DIR).expect("a report");
    assert_eq!(
        (report.health(), report.record_count),
        (Health::Clean, 4),
        "{:?}",
        report.findings
    );
    let reader = options(&disk)
        .open_reader(DIR)
        .expect("a reader")
        .including_written();
    assert_eq!(
        reader
            .scan(..)
            .expect("a scan")
            .filter(|it| it.is_ok())
            .count(),
        4
    );
    // A bit of it that flips is damage like any other: here, where nothing attests it, a torn end.
    let torn = disk.snapshot();
    torn.flip_bit(&Path::new(DIR).join(&tail), start as u64 + 300, 1);
    assert_eq!(
        options(&torn).verify(DIR).expect("a report").health(),
        Health::Torn
    );

    let log = options(&disk).open(DIR).expect("recovered");
    let values: Vec<_> = log
        .scan(..)
        .expect("a scan")
        .map(|it| it.expect("readable"))
        .collect();
    assert_eq!(&*values[3], b"behind it");
    log.rotate().expect("sealed");
    log.close().expect("closed");
    let salvaged = options(&disk).salvage(DIR, "/out").expect("salvaged");
    assert_eq!((salvaged.record_count, salvaged.gaps.len()), (4, 0));
}

/// A later version may make the entries of a list longer, with what this one need not know: the files are
/// read to their end all the same.
#[test]
fn longer_entries_are_read_as_far_as_they_are_known() {
    let disk = disk();
    // One producer, and its eight appends: the list of producers is made longer in place.
    let bytes = read(&disk, "PRODUCERS");
    let (head, lists) = bytes.split_at(72);
    let (producer, appends) = lists.split_at(32);
    let longer = [head, producer, &[9; 16], appends].concat();
    disk.write_file(&Path::new(DIR).join("PRODUCERS"), &longer);
    edit(&disk, "PRODUCERS", PRODUCERS, |bytes| bytes[10] = 48 / 8);
    assert!(manifest(&disk).sealed.len() > 1);
    let bytes = read(&disk, "MANIFEST");
    let entries = bytes[144..]
        .chunks(64)
        .flat_map(|entry| [entry, &[9; 32]].concat());
    let entries: Vec<u8> = entries.collect();
    let longer = [&bytes[..144], &entries].concat();
    disk.write_file(&Path::new(DIR).join("MANIFEST"), &longer);
    edit(&disk, "MANIFEST", MANIFEST, |bytes| {
        bytes[10..12].copy_from_slice(&96u16.to_le_bytes());
        bytes[84..88].copy_from_slice(&crc32c(0x4d45_4e54, &entries).to_le_bytes());
    });
    assert_eq!(
        options(&disk).verify(DIR).expect("a report").health(),
        Health::Clean
    );
    let log = options(&disk).open(DIR).expect("opened");
    let again = cairnlog::Producer {
        id: 7,
        epoch: 1,
        number: 23,
    };
    let how = cairnlog::AppendOptions::new().producer(again);
    let repeat = log.append_records(&[NewRecord::value(&[b'v'; 100])], &how);
    assert_eq!(repeat.expect("a repeat"), 23..24);
}

/// A later version may say more in a header than this one knows, and set optional features: a log goes on
/// from it, after a kill too, and readers in other processes follow it into the segment behind. (Summed with
/// its own checksum at its end, any header gives the same, so that what vouches for a segment need not know
/// what else is in it.)
#[test]
fn a_header_that_says_more_is_gone_on_from() {
    let disk = SimFs::new(7);
    let log = options(&disk).open(DIR).expect("a log");
    log.append("known").expect("appended");
    log.close().expect("closed");
    drop(log);
    let tail = segment(manifest(&disk).tail.id.0);
    edit(&disk, &tail, SEGMENT, |bytes| {
        bytes[16] = 4; // an optional feature
        bytes[120] = 9; // reserved
    });

    let log = options(&disk).open(DIR).expect("opened");
    let reader = options(&disk).open_reader(DIR).expect("a reader");
    log.append("behind").expect("appended");
    let killed = disk.snapshot();
    let mut end = 1;
    while spare_is_blank(&disk) {
        end = log.append([b'w'; 100]).expect("appended");
    }
    let found = reader.get(end).expect("readable");
    assert_eq!(found.as_deref(), Some(&[b'w'; 100][..]));
    std::mem::forget(log);

    for (killed, end) in [(killed, 1), (disk.snapshot(), end)] {
        let log = options(&killed).open(DIR).expect("recovered");
        assert_eq!(log.next_seq(), end + 1);
        assert!(log.scan(..).expect("a scan").all(|it| it.is_ok()));
        log.close().expect("closed");
        let report = options(&killed).verify(DIR).expect("a report");
        assert_eq!(report.health(), Health::Clean, "{:?}", report.findings);
    }
}
