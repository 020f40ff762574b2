//! What if bytes are damaged? The place and the seqs are told, and nothing else is lost.

use cairnlog::{
    ErrorKind, FindingKind, Health, Log, RepairOptions, Salvaged,
    format::{Manifest, SegmentHeader, names},
    vfs::sim::SimFs,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

fn tools(disk: &SimFs) -> cairnlog::Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(2048)
        .background(false)
}

fn value(seq: u64) -> Vec<u8> {
    format!("record number {seq}").into_bytes()
}

/// Three sealed segments and a tail, closed in order.
fn disk() -> SimFs {
    let disk = SimFs::new(11);
    let log = tools(&disk).open("log").unwrap();
    for seq in 0..120 {
        assert_eq!(log.append(value(seq)).unwrap(), seq);
    }
    log.close().unwrap();
    disk.snapshot()
}

fn salvaged(disk: &SimFs) -> (Vec<u64>, usize) {
    let (mut seqs, mut gaps) = (Vec::new(), 0);
    tools(disk)
        .read_salvage("log", |item| match item {
            Salvaged::Record(record) => {
                assert_eq!(record.value.unwrap(), value(record.seq));
                seqs.push(record.seq);
            }
            Salvaged::Gap(_) => gaps += 1,
            _ => {}
        })
        .unwrap();
    (seqs, gaps)
}

#[test]
fn a_flipped_bit_in_a_value_costs_that_record_and_no_other() {
    let disk = disk();
    let file = Path::new("log/00000000000000000001.seg");
    let bytes = disk.read_file(file).unwrap();
    let at = bytes
        .windows(16)
        .position(|window| {
            window == b"record number 7\xff" || window.starts_with(b"record number 7")
        })
        .unwrap();
    disk.flip_bit(file, at as u64 + 3, 2);

    let report = tools(&disk).verify("log").unwrap();
    assert_eq!(report.health(), Health::Damaged);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        (report.findings[0].kind, report.findings[0].seqs.clone()),
        (FindingKind::Damage, 7..8)
    );
    assert_eq!(report.record_count, 119);

    // The sealed segment is damaged, not the end: reads of everything else go on.
    let reader = tools(&disk).open_reader("log").unwrap();
    for seq in (0..120).filter(|seq| *seq != 7) {
        assert_eq!(&*reader.get(seq).unwrap().unwrap(), value(seq));
    }
    let error = reader.get(7).unwrap_err();
    assert_eq!(
        (error.kind(), error.place().seq),
        (ErrorKind::Damaged, Some(7))
    );
    let (seqs, gaps) = salvaged(&disk);
    assert_eq!((seqs.len(), gaps), (119, 1));

    let how = RepairOptions::new();
    let dry = tools(&disk).repair("log", how).unwrap();
    assert!(!dry.applied);
    assert_eq!(dry.lost.iter().cloned().flatten().collect::<Vec<_>>(), [7]);
    assert_eq!(
        tools(&disk)
            .repair("log", how.apply(true))
            .unwrap_err()
            .kind(),
        ErrorKind::Damaged
    );
    let done = tools(&disk)
        .repair("log", how.apply(true).accept_loss(true))
        .unwrap();
    assert!(done.applied && !done.kept.is_empty());
    assert_eq!(tools(&disk).verify("log").unwrap().health(), Health::Clean);
    let log = tools(&disk).open("log").unwrap();
    assert_eq!(log.scan(..).unwrap().filter(|r| r.is_ok()).count(), 119);
    assert_eq!(log.append("goes on").unwrap(), 120);
    assert_eq!(log.get(7).unwrap(), None);
}

#[test]
fn a_flipped_bit_in_a_header_costs_no_record_at_all() {
    for offset in [60, 130, 140] {
        let disk = disk();
        disk.flip_bit(Path::new("log/00000000000000000002.seg"), offset, 1);
        let report = tools(&disk).verify("log").unwrap();
        assert_eq!(
            (report.health(), report.record_count),
            (Health::Damaged, 120),
            "{offset}"
        );
        let how = RepairOptions::new().apply(true).accept_loss(true);
        let done = tools(&disk).repair("log", how).unwrap();
        assert_eq!(done.lost, Vec::<std::ops::Range<u64>>::new());
        let log = tools(&disk).open("log").unwrap();
        for (seq, record) in log.scan(..).unwrap().map(|r| r.unwrap()).enumerate() {
            assert_eq!((record.seq(), &*record), (seq as u64, &*value(seq as u64)));
        }
        assert_eq!(log.scan(..).unwrap().count(), 120);
    }
}

#[test]
fn a_lost_segment_is_named_and_the_rest_goes_on() {
    let disk = disk();
    disk.remove_file(Path::new("log/00000000000000000002.seg"));
    assert_eq!(
        tools(&disk).open("log").unwrap_err().kind(),
        ErrorKind::Damaged
    );
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let done = tools(&disk).repair("log", how).unwrap();
    let lost = done.lost[0].clone();
    let log = tools(&disk).open("log").unwrap();
    let seqs: Vec<u64> = log.scan(..).unwrap().map(|r| r.unwrap().seq()).collect();
    assert_eq!(
        seqs,
        (0..120)
            .filter(|seq| !lost.contains(seq))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_lost_manifest_is_damage_and_salvage_brings_everything_back() {
    let disk = disk();
    disk.remove_file(Path::new("log/MANIFEST"));
    let error = tools(&disk).open("log").unwrap_err();
    assert_eq!(
        (error.kind(), error.place().path.clone()),
        (ErrorKind::Damaged, Some("MANIFEST".into()))
    );
    let report = tools(&disk).salvage("log", "new").unwrap();
    assert_eq!((report.record_count, report.next_seq), (120, 120));
    let log = tools(&disk).open("new").unwrap();
    assert_eq!(
        log.scan(..)
            .unwrap()
            .map(|r| r.unwrap().to_vec())
            .collect::<Vec<_>>(),
        (0..120).map(value).collect::<Vec<_>>()
    );
    assert_eq!(tools(&disk).verify("new").unwrap().health(), Health::Clean);
}

#[test]
fn salvage_from_a_damaged_log_keeps_seqs_and_tells_gaps() {
    let disk = disk();
    let file = Path::new("log/00000000000000000002.seg");
    let mut bytes = disk.read_file(file).unwrap();
    bytes[600..900].fill(0xee);
    disk.write_file(file, &bytes);
    let report = tools(&disk).salvage("log", "new").unwrap();
    assert!(!report.gaps.is_empty());
    let lost: u64 = report
        .gaps
        .iter()
        .map(|gap| gap.seqs.end - gap.seqs.start)
        .sum();
    assert_eq!(report.record_count + lost, 120);
    let log = tools(&disk).open("new").unwrap();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        assert_eq!(&*record, value(record.seq()));
    }
}

/// Found by fuzzing: with the files of a sealed segment and of the tail swapped, repair took the
/// records that verified in either file as they came, wrote segments whose seqs overlapped into the
/// manifest, and the repaired log was refused for the order of its segments. Now what is copied keeps
/// the order whatever a file claims, and a manifest is checked before it is written.
#[test]
fn a_repaired_log_opens_even_if_files_were_swapped() {
    let files = |disk: &SimFs| {
        let segment = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "seg");
        disk.files().into_iter().filter(segment).collect::<Vec<_>>()
    };
    let whole = disk();
    let paths = files(&whole);
    assert!(paths.len() >= 4, "{paths:?}");
    for (number, a) in paths.iter().enumerate() {
        for b in &paths[number + 1..] {
            let disk = whole.snapshot();
            let (of_a, of_b) = (disk.read_file(a).unwrap(), disk.read_file(b).unwrap());
            disk.write_file(a, &of_b);
            disk.write_file(b, &of_a);
            let error = tools(&disk).open("log").map(drop);
            if error.is_ok() {
                // Two sealed segments: opening reads neither, reading them tells.
                assert_eq!(
                    tools(&disk).verify("log").unwrap().health(),
                    Health::Damaged
                );
            }
            let how = RepairOptions::new().apply(true).accept_loss(true);
            tools(&disk).repair("log", how).unwrap();
            let log = tools(&disk).open("log").unwrap();
            for record in log.scan(..).unwrap() {
                let record = record.unwrap();
                assert_eq!(&*record, value(record.seq()));
            }
        }
    }
}

/// A damaged record inside a large batch of the tail was told with the seq of the batch's first record,
/// and as if all of the batch were missing. Now every tool names the record itself.
#[test]
fn damage_inside_a_batch_of_the_tail_is_told_with_the_record_s_own_seq() {
    let disk = SimFs::new(4);
    let log = tools(&disk).open("log").unwrap();
    log.append_batch((0..20).map(value)).unwrap();
    log.close().unwrap();
    let disk = disk.snapshot();
    let file = Path::new("log/00000000000000000001.seg");
    let bytes = disk.read_file(file).unwrap();
    let at = bytes
        .windows(16)
        .position(|window| window == b"record number 13")
        .unwrap();
    disk.flip_bit(file, at as u64, 0);
    let error = tools(&disk).open("log").unwrap_err();
    assert_eq!(
        (error.kind(), error.place().seq),
        (ErrorKind::Damaged, Some(13))
    );
    let report = tools(&disk).verify("log").unwrap();
    assert_eq!((report.findings.len(), report.record_count), (1, 19));
    let found = &report.findings[0];
    assert_eq!((found.place.seq, found.seqs.clone()), (Some(13), 13..14));
    let how = RepairOptions::new().apply(true).accept_loss(true);
    tools(&disk).repair("log", how).unwrap();
    let log = tools(&disk).open("log").unwrap();
    let seqs: Vec<u64> = log.scan(..).unwrap().map(|r| r.unwrap().seq()).collect();
    assert_eq!(seqs, (0..20).filter(|seq| *seq != 13).collect::<Vec<_>>());
}

/// An index that verifies and leads elsewhere left records out of scans without a word, as if they were
/// not in the log, and `verify` called it clean.
#[test]
fn an_index_that_lies_hides_nothing() {
    use cairnlog::format::{Footer, IndexEntry, Manifest, SegmentHeader};
    let options = |disk: &SimFs| tools(disk).segment_bytes(64 * 1024);
    let whole = SimFs::new(12);
    let log = options(&whole).open("log").unwrap();
    for seq in 0..500 {
        log.append([&value(seq)[..], &[b'.'; 100]].concat())
            .unwrap();
    }
    log.rotate().unwrap();
    log.close().unwrap();
    let whole = whole.snapshot();
    let bytes = whole.read_file(Path::new("log/MANIFEST")).unwrap();
    let entry = Manifest::decode(&bytes).unwrap().sealed[0];
    let path = Path::new("log/00000000000000000001.seg");
    let file = whole.read_file(path).unwrap();
    let (frames, rest) = file.split_at(usize::try_from(entry.frames_end).unwrap());
    let context = SegmentHeader::decode(frames).unwrap().context();
    let footer = Footer::decode(rest, &context, entry.frames_end).unwrap();
    let stored = footer.verify_index(rest, &context).unwrap();
    let index: Vec<_> = (0..footer.entry_count as usize)
        .map(|number| IndexEntry::read(&stored, number))
        .collect();
    assert!(index.len() > 8);
    type Lie = fn(&mut Vec<IndexEntry>);
    let lies: [(&str, Lie); 6] = [
        ("later batches", |it| {
            (1..6).for_each(|n| it[n].offset = it[n + 2].offset)
        }),
        ("earlier seqs", |it| {
            (2..9).for_each(|n| it[n].seq_delta -= 20)
        }),
        ("the midst of a batch", |it| it[3].offset += 5),
        ("the end", |it| it[4].offset = u32::MAX),
        ("another order", |it| it.swap(2, 5)),
        ("one seq", |it| {
            it.iter_mut().for_each(|entry| entry.seq_delta = 7)
        }),
    ];
    for (what, lie) in lies {
        let disk = whole.snapshot();
        let mut told = index.clone();
        lie(&mut told);
        disk.write_file(path, &[frames, &footer.encode(&context, &told)].concat());
        let reader = options(&disk).open_reader("log").unwrap();
        for first in (0..500).step_by(7) {
            let seqs: Vec<u64> = reader
                .scan(first..)
                .unwrap()
                .map(|it| it.unwrap().seq())
                .collect();
            assert_eq!(
                seqs,
                (first..500).collect::<Vec<_>>(),
                "{what}: from {first}"
            );
            assert!(reader.get(first).unwrap().is_some(), "{what}: {first}");
            let back = reader.scan(..=first).unwrap().rev();
            let seqs: Vec<u64> = back.map(|it| it.unwrap().seq()).collect();
            assert_eq!(
                seqs,
                (0..=first).rev().collect::<Vec<_>>(),
                "{what}: back from {first}"
            );
        }
        let report = options(&disk).verify("log").unwrap();
        let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Derived], "{what}");
    }
}

/// The manifest says that a segment has one record more than are in it, and all that is there verifies.
fn with_a_record_missing() -> SimFs {
    let disk = disk();
    let path = Path::new("log/MANIFEST");
    let mut manifest = Manifest::decode(&disk.read_file(path).unwrap()).unwrap();
    manifest.sealed[1].record_count += 1;
    disk.write_file(path, &manifest.encode());
    disk
}

/// The second segment recorded another state of the first than the one that is there, which verifies too.
fn with_an_older_state() -> SimFs {
    let disk = disk();
    let path = Path::new("log/00000000000000000002.seg");
    let mut bytes = disk.read_file(path).unwrap();
    let mut header = SegmentHeader::decode(&bytes).unwrap();
    let before = header.predecessor.as_mut().unwrap();
    before.checksum ^= 1;
    let header = header.encode();
    bytes[..header.len()].copy_from_slice(&header);
    disk.write_file(path, &bytes);
    disk
}

/// In a compacted segment numbers may be missing: only the count tells that one is gone that was there.
#[test]
fn is_a_record_missed_where_everything_that_is_there_verifies() {
    let report = tools(&with_a_record_missing()).verify("log").unwrap();
    let found: Vec<_> = report.findings.iter().map(|it| it.place.segment).collect();
    assert_eq!(report.health(), Health::Damaged);
    let second = tools(&disk()).verify("log").unwrap();
    assert!(second.findings.is_empty(), "{:?}", second.findings);
    assert_eq!(found.len(), 1, "{:?}", report.findings);
}

#[test]
fn is_an_older_state_of_a_segment_told_by_the_one_behind_it() {
    let report = tools(&with_an_older_state()).verify("log").unwrap();
    assert_eq!(report.health(), Health::Damaged);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].kind, FindingKind::Damage);
}

/// What does not verify is not called a backup.
#[test]
fn is_a_log_with_a_record_missing_backed_up() {
    let log = tools(&with_a_record_missing()).open("log").unwrap();
    let refused = log.backup("copy").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged, "{refused}");
}

#[test]
fn is_a_log_with_an_older_state_of_a_segment_backed_up() {
    let log = tools(&with_an_older_state()).open("log").unwrap();
    let refused = log.backup("copy").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged, "{refused}");
}

/// A log with damage in its first segment, and an unfinished write at its end; the name of the tail.
fn damaged_and_torn() -> (SimFs, PathBuf) {
    let disk = disk();
    let named = disk.read_file(Path::new("log/MANIFEST")).unwrap();
    let tail = Manifest::decode(&named).unwrap().tail.id;
    let tail = PathBuf::from(format!("log/{:020}.seg", tail.0));
    let mut bytes = disk.read_file(&tail).unwrap();
    bytes.extend([0xee; 40]);
    disk.write_file(&tail, &bytes);
    disk.flip_bit(Path::new("log/00000000000000000001.seg"), 300, 3);
    (disk, tail)
}

/// Repair writes the tail anew, whatever it was called for: the bytes of an unfinished write go with the old
/// one, and are no more anywhere if only what was damaged is kept.
#[test]
fn are_the_bytes_of_an_unfinished_write_kept_when_something_else_is_repaired() {
    let (disk, tail) = damaged_and_torn();
    let before = disk.read_file(&tail).unwrap();
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let report = tools(&disk).repair("log", how).unwrap();
    let kept = report.kept.iter().filter_map(|it| it.kept_in.as_ref());
    let kept: Vec<_> = kept
        .map(|path| disk.read_file(&Path::new("log").join(path)))
        .collect();
    assert!(kept.contains(&Some(before)), "{:?}", report.kept);
}

/// Whatever file is not there any more, its bytes are.
#[test]
fn is_every_file_that_a_repair_takes_out_kept() {
    let (disk, _) = damaged_and_torn();
    let segments = |disk: &SimFs| {
        let paths = disk.files().into_iter();
        let named = paths.filter(|path| path.extension().is_some_and(|it| it == "seg"));
        named.collect::<Vec<_>>()
    };
    let content = |path: &PathBuf| (path.clone(), disk.read_file(path).unwrap());
    let before: Vec<_> = segments(&disk).iter().map(content).collect();
    let how = RepairOptions::new().apply(true).accept_loss(true);
    tools(&disk).repair("log", how).unwrap();
    let all: Vec<_> = disk
        .files()
        .iter()
        .map(|path| disk.read_file(path))
        .collect();
    let left = segments(&disk);
    let mut gone = 0;
    for (path, bytes) in before.iter().filter(|(path, _)| !left.contains(path)) {
        if bytes.iter().any(|byte| *byte != 0) {
            assert!(all.contains(&Some(bytes.clone())), "{}", path.display());
            gone += 1;
        }
    }
    assert_eq!(gone, 2, "the damaged one, and the tail");
}

/// Of a log that had lost its manifest and its last segments, the ledger and the cursors still said how far
/// it had gone. Nobody heard them: what was lost was not told, its numbers were given again, and a ledger of
/// seqs that were now beyond the end made the repaired log one that nobody could open.
#[test]
fn what_outlives_the_last_segments_says_how_far_a_log_without_a_manifest_went() {
    for (kept, moved_to) in [("PRODUCERS", 0), ("cursors", 100)] {
        let disk = SimFs::new(13);
        let log = tools(&disk).open("log").unwrap();
        for number in 0..120 {
            let by = cairnlog::Producer {
                id: 3,
                epoch: 0,
                number,
            };
            let how = cairnlog::AppendOptions::new().producer(by);
            let value = value(number);
            let record = [cairnlog::NewRecord::value(&value)];
            log.append_records(&record, &how).unwrap();
        }
        log.consumer("mail").unwrap().ack(moved_to).unwrap();
        log.rotate().unwrap();
        log.close().unwrap();
        drop(log);
        let disk = disk.kill();
        let segment = |id| PathBuf::from(format!("log/{id:020}.seg"));
        let mut segments = (1..)
            .map(segment)
            .take_while(|path| disk.read_file(path).is_some());
        assert!(segments.next().is_some());
        let later: Vec<_> = segments.collect();
        assert!(later.len() > 2);
        later
            .iter()
            .for_each(|path| assert!(disk.remove_file(path)));
        for name in [
            "MANIFEST",
            "MANIFEST.alt",
            "WATERMARK",
            "PRODUCERS",
            "PRODUCERS.alt",
        ] {
            if name != kept {
                disk.remove_file(&Path::new("log").join(name));
            }
        }

        let ends_min = if kept == "PRODUCERS" {
            50
        } else {
            moved_to + 1
        };
        let how = RepairOptions::new().apply(true).accept_loss(true);
        let report = tools(&disk).repair("log", how).unwrap();
        let lost = report.lost.last().expect("a loss is told");
        assert!(lost.end >= ends_min, "{kept}: {:?}", report.lost);
        let log = tools(&disk).open("log").expect("a repaired log opens");
        assert_eq!(log.next_seq(), lost.end, "{kept}");
        let mut consumer = log.consumer("mail").unwrap();
        assert!(consumer.seq() <= log.next_seq(), "{kept}");
        consumer.seek(log.head_seq()).unwrap();
        assert_eq!(consumer.next().unwrap().unwrap().seq(), log.head_seq());
    }
}

/// A log that had lost its manifest, and whose ledger did not verify, was repaired into one that nobody could
/// open: the new manifest knew of no ledger, and the old file was still there.
#[test]
fn a_ledger_that_does_not_verify_goes_with_a_lost_manifest() {
    let disk = SimFs::new(17);
    let log = tools(&disk).open("log").unwrap();
    let by = cairnlog::Producer {
        id: 3,
        epoch: 0,
        number: 0,
    };
    let how = cairnlog::AppendOptions::new().producer(by);
    let record = [cairnlog::NewRecord::value(b"one")];
    log.append_records(&record, &how).unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    drop(log);
    let disk = disk.kill();
    disk.remove_file(Path::new("log/MANIFEST"));
    assert!(disk.write_file(Path::new("log/PRODUCERS"), b"CAIRN?"));

    let how = RepairOptions::new();
    let dry = tools(&disk).repair("log", how).unwrap();
    let told = |finding: &cairnlog::Finding| finding.place.path == Some("PRODUCERS".into());
    assert!(dry.findings.iter().any(told), "{:?}", dry.findings);
    let how = how.apply(true).accept_loss(true);
    let report = tools(&disk).repair("log", how).unwrap();
    let kept_in = report.ledger_kept_in.expect("it is kept");
    let kept = disk.read_file(&Path::new("log").join(kept_in)).unwrap();
    assert_eq!(kept, b"CAIRN?");
    let log = tools(&disk).open("log").expect("a repaired log opens");
    assert_eq!(log.get(0).unwrap().as_deref(), Some(&b"one"[..]));
}

/// The tail is not sealed: no footer speaks for it, and a reader of another process once refused all of a log
/// whose tail did not verify. It shows what is proven, and then says where that ends.
#[test]
fn is_a_log_shown_as_far_as_a_flipped_bit_in_its_tail_lets() {
    let whole = SimFs::new(1);
    let log = tools(&whole).open("log").unwrap();
    for seq in 0..20 {
        log.append(value(seq)).unwrap();
    }
    log.rotate().unwrap();
    for seq in 20..40 {
        log.append(value(seq)).unwrap();
    }
    let tail = log.segments().unwrap().pop().unwrap();
    let (id, end) = (tail.id, 128 + tail.frame_bytes);
    let file = Path::new("log").join(names::segment(id));
    let mut counts = BTreeSet::new();
    for bit in (0..end * 8).step_by(5) {
        let disk = whole.snapshot();
        assert!(disk.flip_bit(&file, bit / 8, (bit % 8) as u32));
        let reader = tools(&disk).open_reader("log").unwrap();
        let mut shown = 0;
        for record in reader.scan(..).unwrap() {
            match record {
                Ok(record) => {
                    assert_eq!((record.seq(), &*record), (shown, &value(shown)[..]));
                    shown += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "bit {bit}: {error}");
                    let place = error.place();
                    assert_eq!(place.segment, Some(id), "bit {bit}: {error}");
                    // Its batch begins at most so far before the bit.
                    let offset = place.offset.unwrap();
                    assert!(offset <= bit / 8, "bit {bit}: {error}");
                }
            }
        }
        counts.insert(shown);
        // And by number: what was shown is there, and what was not says the same.
        for seq in 0..40 {
            let got = reader.get(seq);
            match seq < shown {
                true => assert_eq!(&*got.unwrap().unwrap(), &value(seq)[..]),
                false => assert_eq!(got.unwrap_err().kind(), ErrorKind::Damaged, "bit {bit}"),
            }
        }
    }
    // No bit of it is nobody's, and none takes what is sealed or all that is before it.
    assert_eq!(counts, (20..40).collect());
}

/// Threads take the segments as they come, and the report is that of one.
#[test]
fn do_many_threads_find_what_one_finds() {
    let disk = disk();
    for (segment, offset) in [(1, 300), (1, 900), (2, 40), (3, 1200), (3, 2040)] {
        let file = Path::new("log").join(names::segment(cairnlog::SegmentId(segment)));
        assert!(disk.flip_bit(&file, offset, 3));
    }
    let report = |threads: usize| {
        let mut steps = Vec::new();
        let options = tools(&disk).threads(threads);
        let report = options.verify_with("log", |step| steps.push(step));
        assert!(steps.is_sorted_by_key(|step| step.done_bytes));
        (report.unwrap(), steps.len())
    };
    let one = report(1);
    assert!(one.0.findings.len() >= 5, "{:?}", one.0.findings);
    for threads in [0, 2, 3, 16] {
        assert_eq!(report(threads), one, "{threads} threads");
    }
}

/// Several segments are read at a time then; what is told, and in which order, is what one thread tells.
#[test]
fn do_many_threads_salvage_what_one_does() {
    let sound = disk();
    let named = Path::new("log/MANIFEST");
    let places = [
        (1, 500, 3),
        (1, 1200, 0),
        (2, 40, 1),
        (3, 700, 6),
        (4, 300, 2),
    ];
    for lost in [false, true] {
        let disk = sound.snapshot();
        for (id, offset, bit) in places {
            let file = format!("log/{id:020}.seg");
            assert!(disk.flip_bit(Path::new(&file), offset, bit));
        }
        assert!(!lost || disk.remove_file(named));
        let told = |threads: usize| {
            let mut told = Vec::new();
            let options = tools(&disk).threads(threads);
            let each = |item: Salvaged<'_>| told.push(format!("{item:?}"));
            options.read_salvage("log", each).unwrap();
            told
        };
        let one = told(1);
        assert!(one.iter().any(|item| item.starts_with("Gap")), "{one:?}");
        for threads in [2, 3, 16] {
            assert_eq!(told(threads), one);
        }
        let into = |threads: usize| {
            let options = tools(&disk).threads(threads);
            let report = options.salvage("log", format!("new {threads}")).unwrap();
            let log = tools(&disk).open(format!("new {threads}")).unwrap();
            let all: Vec<Vec<u8>> = log
                .scan(..)
                .unwrap()
                .map(|it| it.unwrap().to_vec())
                .collect();
            (report, all)
        };
        assert_eq!(into(4), into(1));
    }
}

/// A salvage of what no manifest names, a repair and `inspect` looked up to the last byte of a tail that is not zero:
/// its last batch was lost to them if that ended in zeros, as a number does.
#[test]
fn is_the_last_record_of_a_tail_found_that_ends_in_zeros() {
    let disk = SimFs::new(11);
    let log = tools(&disk).open("log").unwrap();
    for number in 0..5_u64 {
        log.append(number.to_le_bytes()).unwrap();
    }
    let (disk, segment) = (disk.snapshot(), "log/00000000000000000001.seg");
    let mut shown = 0;
    let look = |item: cairnlog::Inspected<'_>| {
        shown += u64::from(matches!(item, cairnlog::Inspected::Record { .. }));
    };
    tools(&disk)
        .inspect("log", cairnlog::SegmentId(1), look)
        .unwrap();
    assert_eq!(shown, 5, "inspected");
    let unnamed = disk.snapshot();
    assert!(unnamed.remove_file(Path::new("log/MANIFEST")));
    let mut seqs = Vec::new();
    let salvage = tools(&unnamed).read_salvage("log", |item| {
        if let Salvaged::Record(record) = item {
            seqs.push(record.seq);
        }
    });
    salvage.unwrap();
    assert_eq!(seqs, [0, 1, 2, 3, 4], "salvaged");
    // The value of the third record is not what it was.
    assert!(disk.flip_bit(Path::new(segment), 128 + 2 * 40 + 24 + 8, 0));
    let how = RepairOptions::new().apply(true).accept_loss(true);
    tools(&disk).repair("log", how).unwrap();
    let log = tools(&disk).open("log").unwrap();
    let seqs: Vec<u64> = log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect();
    assert_eq!(seqs, [0, 1, 3, 4], "repaired");
}
