//! What lies in the directory of a log and is not of it: is it heard, given away, or taken for damage?

use crate::{sim, values};
use cairnlog::{
    AppendOptions, Defect, ErrorKind, FindingKind, LogId, NewRecord, Options, Producer, SegmentId,
    format::{
        Manifest, ProducersFile, SegmentHeader, WatermarkFile, cursor::CursorFile, header::Origin,
        names,
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

const OTHER: LogId = LogId([9; 16]);

fn at(name: &str) -> PathBuf {
    Path::new("/log").join(name)
}

/// A log of some segments with a ledger, a cursor and a watermark; closed.
fn log_of(disk: &SimFs, options: &Options) {
    let log = options.clone().open("/log").unwrap();
    for number in 0..12 {
        let producer = Producer {
            id: 1,
            epoch: 0,
            number,
        };
        let value = format!("{number:0200}");
        let how = AppendOptions::new().producer(producer);
        log.append_records(&[NewRecord::value(&value)], &how)
            .unwrap();
    }
    log.consumer("mail").unwrap().ack(2).unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    assert!(disk.read_file(&at("WATERMARK")).is_some());
}

/// Changes a file as if somebody else had written it.
fn change<T>(
    disk: &SimFs,
    name: &str,
    decode: fn(&[u8]) -> Result<T, Defect>,
    change: impl FnOnce(&mut T),
    encode: fn(&T) -> Vec<u8>,
) {
    let mut it = decode(&disk.read_file(&at(name)).unwrap()).unwrap();
    change(&mut it);
    assert!(disk.write_file(&at(name), &encode(&it)));
}

fn told(options: &Options) -> Option<ErrorKind> {
    options
        .clone()
        .open("/log")
        .map(drop)
        .err()
        .map(|error| error.kind())
}

const CURSOR: &str = "cursors/00000000000000000001.cur";

/// Of another log, or of another continuation of this one. 0 says that nobody knows.
#[test]
fn is_the_word_of_another_log_taken_for_that_of_this_one() {
    type Owner = fn(&(LogId, u32)) -> (LogId, u32);
    let cases: [(Owner, bool, &str); 4] = [
        (|of| *of, true, ""),
        (|of| (OTHER, of.1), false, "log id"),
        (|of| (of.0, of.1 ^ 1), false, "incarnation"),
        (|of| (of.0, 0), true, ""),
    ];
    for (owner, is_ours, field) in cases {
        // A ledger is part of the log: that of another is damage.
        let (disk, options) = sim();
        log_of(&disk, &options);
        let ledger = |it: &mut ProducersFile| {
            (it.log_id, it.incarnation) = owner(&(it.log_id, it.incarnation));
        };
        change(
            &disk,
            "PRODUCERS",
            ProducersFile::decode,
            ledger,
            ProducersFile::encode,
        );
        let opened = options.clone().open("/log").map(drop);
        match opened.err().as_ref().and_then(|error| error.defect_found()) {
            None => assert!(is_ours, "{field}"),
            Some(Defect::WrongIdentity { field: told, .. }) => {
                assert_eq!((told, is_ours), (field, false));
            }
            other => panic!("{other:?}"),
        }
        // Cursors and the watermark are witnesses: of this log that more was durable, of another nothing.
        let (disk, options) = sim();
        log_of(&disk, &options);
        let watermark = |it: &mut WatermarkFile| {
            (it.log_id, it.incarnation) = owner(&(it.log_id, it.incarnation));
            it.durable_seq = 50;
            it.generation += if is_ours { 0 } else { 50 };
        };
        change(
            &disk,
            "WATERMARK",
            WatermarkFile::decode,
            watermark,
            WatermarkFile::encode,
        );
        // The watermark has to say whose it is, which every one has done that was written beside a log that says.
        let states = owner(&(OTHER, 1)).1 != 0;
        let expected = (is_ours && states).then_some(ErrorKind::Damaged);
        assert_eq!(told(&options), expected, "watermark: {field}");
        let (disk, options) = sim();
        log_of(&disk, &options);
        let cursor = |it: &mut CursorFile| {
            (it.log_id, it.incarnation) = owner(&(it.log_id, it.incarnation));
            it.as_of_seq += 50;
        };
        change(
            &disk,
            CURSOR,
            CursorFile::decode,
            cursor,
            CursorFile::encode,
        );
        let expected = is_ours.then_some(ErrorKind::Damaged);
        assert_eq!(told(&options), expected, "cursor: {field}");
    }
}

/// A cursor's file is its own under its own name alone.
#[test]
fn is_a_cursor_under_another_name_heard() {
    let (disk, options) = sim();
    log_of(&disk, &options);
    let mut cursor = CursorFile::decode(&disk.read_file(&at(CURSOR)).unwrap()).unwrap();
    cursor.as_of_seq += 50;
    assert!(disk.write_file(&at("cursors/00000000000000000002.cur"), &cursor.encode()));
    assert_eq!(told(&options), None);
    assert!(disk.write_file(&at(CURSOR), &cursor.encode()));
    assert_eq!(told(&options), Some(ErrorKind::Damaged));
}

fn strays(options: &Options) -> Vec<(FindingKind, u64)> {
    let findings = options.verify("/log").unwrap().findings;
    let segment = |it: &cairnlog::Finding| it.place.segment.map_or(0, |id| id.0);
    findings.iter().map(|it| (it.kind, segment(it))).collect()
}

/// Whoever copied it there may want it back: it is told, and left as it is, and no segment of this log is
/// made in its place.
#[test]
fn is_a_segment_of_another_log_left_where_it_is() {
    let (disk, options) = sim();
    log_of(&disk, &options);
    let sealed = disk.read_file(&at(&names::segment(SegmentId(1)))).unwrap();
    let mut header = SegmentHeader::decode(&sealed).unwrap();
    let next = Manifest::decode(&disk.read_file(&at("MANIFEST")).unwrap());
    let next = next.unwrap().next_segment_id.0;
    let far = next + (1 << 32);
    let put = |id: u64, head: &SegmentHeader| {
        let bytes = [&head.encode()[..], &sealed[128..]].concat();
        assert!(disk.write_file(&at(&names::segment(SegmentId(id))), &bytes));
        (id, bytes)
    };
    let mut there = Vec::new();
    // Ours, under another name; then of another log, where the next would be, and far away.
    there.push(put(next + 2, &header));
    header.log_id = OTHER;
    header.id = SegmentId(next);
    there.push(put(next, &header));
    header.id = SegmentId(far);
    there.push(put(far, &header));
    let mut expected: Vec<_> = there
        .iter()
        .map(|(id, _)| (FindingKind::Stray, *id))
        .collect();
    expected.sort_by_key(|(_, id)| *id);
    assert_eq!(strays(&options), expected);
    for _ in 0..3 {
        let log = options.clone().open("/log").unwrap();
        for _ in 0..20 {
            log.append(format!("{:0200}", 0)).unwrap();
        }
        log.rotate().unwrap();
        log.close().unwrap();
        for (id, bytes) in &there {
            let found = disk.read_file(&at(&names::segment(SegmentId(*id))));
            assert!(found.as_ref() == Some(bytes), "{id}");
        }
    }
    assert_eq!(strays(&options), expected);
    assert_eq!(values(&options.open("/log").unwrap()).len(), 72);
}

/// Under an id that no writer comes to nothing is this log's, whatever it says: it is told, and left. But if it was
/// begun to be appended to, the manifest that had named it is gone, and that is damage.
#[test]
fn is_a_segment_far_away_left_where_it_is() {
    let (disk, options) = sim();
    log_of(&disk, &options);
    let manifest =
        |disk: &SimFs| Manifest::decode(&disk.read_file(&at("MANIFEST")).unwrap()).unwrap();
    let next = manifest(&disk).next_segment_id.0;
    let far = next + (1 << 33);
    let name = |id: u64| at(&names::segment(SegmentId(id)));
    let sealed = disk.read_file(&name(1)).unwrap();
    let of = |id: u64, origin| SegmentHeader {
        id: SegmentId(id),
        origin,
        appends_from: None,
        ..SegmentHeader::decode(&sealed).unwrap()
    };
    let put = |id: u64, origin| {
        let bytes = [&of(id, origin).encode()[..], &sealed[128..]].concat();
        assert!(disk.write_file(&name(id), &bytes));
    };
    // A copy that nobody named: far away, and where the next would have been.
    put(far, Origin::Copy);
    put(next + 3, Origin::Copy);
    assert!(disk.write_file(&name(far + 1), b"half a header"));
    let expected = [far, far + 1].map(|id| (FindingKind::Stray, id));
    assert_eq!(strays(&options), expected);
    let log = options.clone().open("/log").unwrap();
    log.append("x").unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    assert!(disk.read_file(&name(next + 3)).is_none(), "an orphan");
    assert_eq!(strays(&options), expected);
    assert!((next..next + 20).contains(&manifest(&disk).next_segment_id.0));
    put(far + 2, Origin::Live);
    assert_eq!(told(&options), Some(ErrorKind::Damaged));
    let found = strays(&options);
    assert!(found.contains(&(FindingKind::Damage, far + 2)), "{found:?}");
    assert!(!found.contains(&(FindingKind::Stray, far + 2)), "{found:?}");
}

/// Nothing is left that says what was in it but the frames themselves: that is no interrupted creation.
#[test]
fn is_no_log_made_anew_where_frames_lie_without_a_header() {
    let (disk, options) = sim();
    let options = options.publish(false);
    let log = options.clone().open("/log").unwrap();
    let empty = disk.snapshot();
    log.append("acknowledged").unwrap();
    let filled = disk.snapshot();
    let created_anew = |disk: &SimFs| {
        disk.remove_file(&at("MANIFEST"));
        disk.remove_file(&at("RESERVE"));
        let path = at(&names::segment(SegmentId(1)));
        let mut bytes = disk.read_file(&path).unwrap();
        bytes[..128].fill(0);
        assert!(disk.write_file(&path, &bytes));
        let opened = options.clone().vfs(Arc::new(disk.clone())).open("/log");
        opened.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(created_anew(&empty), Ok(()), "nothing was appended yet");
    assert_eq!(created_anew(&filled), Err(ErrorKind::Damaged));
}

/// Opening looks at the sizes of sealed segments, and at nothing else of them.
#[test]
fn is_a_sealed_segment_that_is_cut_short_told_when_its_log_is_opened() {
    let (disk, options) = sim();
    log_of(&disk, &options);
    let manifest = disk.read_file(&at("MANIFEST")).unwrap();
    let manifest = Manifest::decode(&manifest).unwrap();
    let entry = manifest.sealed[1];
    let path = at(&names::segment(entry.id));
    let whole = disk.read_file(&path).unwrap();
    let end = usize::try_from(entry.frames_end).unwrap();
    assert!(whole.len() > end);
    for (len, expected) in [(end, None), (end - 1, Some(ErrorKind::Damaged))] {
        let disk = disk.snapshot();
        assert!(disk.write_file(&path, &whole[..len]));
        let options = options.clone().vfs(Arc::new(disk.clone()));
        assert_eq!(told(&options), expected, "{len} of {end}");
    }
}

/// They are heard where they can be: one that cannot be read may say that more was durable, and a link leads out
/// of the log.
#[test]
fn is_a_witness_passed_over_that_cannot_be_read() {
    let (disk, options) = sim();
    log_of(&disk, &options);
    for (kind, name) in [
        (OpKind::Read, "WATERMARK"),
        (OpKind::Read, CURSOR),
        (OpKind::List, "cursors"),
    ] {
        let rule = FaultRule::nth(kind, 0, Fault::Error(Errno::Eio));
        disk.fail(rule.on(at(name)));
        assert_eq!(told(&options), Some(ErrorKind::Io), "{name}");
        disk.clear_faults();
    }
    assert_eq!(told(&options), None);
    let (disk, options) = sim();
    drop(options.clone().open("/log").unwrap());
    assert!(disk.symlink(&at("cursors"), Path::new("/elsewhere")));
    assert_eq!(told(&options), None);
    assert!(options.cursors("/log").unwrap().is_empty());
}

/// Somebody else's directory, which was named by mistake.
#[test]
fn is_a_directory_without_a_log_left_as_it_is() {
    let (disk, options) = sim();
    let dir = Path::new("/log");
    disk.create_dir(dir).unwrap();
    let options = options.create(false);
    assert_eq!(told(&options), Some(ErrorKind::NotFound));
    drop(disk.create_new(&at("notes.txt")).unwrap());
    assert_eq!(told(&options), Some(ErrorKind::NotFound));
    assert_eq!(disk.files(), [at("notes.txt")]);
    // That it cannot be read says nothing of what is there.
    let rule = FaultRule::nth(OpKind::List, 0, Fault::Error(Errno::Eio));
    disk.fail(rule);
    assert_eq!(told(&options), Some(ErrorKind::Io));
    // The manifest is lost, and there is a log all the same.
    drop(disk.create_new(&at(&names::segment(SegmentId(4)))).unwrap());
    assert_eq!(told(&options), Some(ErrorKind::Damaged));
}

/// Readers in other processes look at it: who opens for writing and goes on telling them does not take it away.
#[test]
fn is_what_readers_are_told_there_while_the_log_is_opened() {
    for (publish, removed) in [(true, 0), (false, 1)] {
        let (disk, options) = sim();
        log_of(&disk, &options);
        let before = disk.trace().len();
        drop(options.publish(publish).open("/log").unwrap());
        let gone = disk
            .trace()
            .split_off(before)
            .into_iter()
            .filter(|event| event.kind == OpKind::Remove && event.path.ends_with("WATERMARK"));
        assert_eq!(gone.count(), removed);
        assert_eq!(disk.read_file(&at("WATERMARK")).is_some(), publish);
    }
}

/// What opening says of a log, whose parts are counted.
#[test]
fn are_all_segments_counted_that_a_log_has() {
    let (disk, options) = sim();
    let options = options.publish(false);
    let recovery = |options: &Options| options.clone().open("/log").unwrap().recovery().clone();
    let counts = |options: &Options| {
        let found = recovery(options);
        (found.segment_count, found.record_count)
    };
    assert_eq!(counts(&options), (1, 0));
    let log = options.clone().open("/log").unwrap();
    for number in 1..4 {
        log.append("x").unwrap();
        log.rotate().unwrap();
        log.append("y").unwrap();
        assert_eq!(log.segments().unwrap().len(), number + 1);
    }
    log.close().unwrap();
    drop(log);
    assert_eq!(counts(&options), (4, 6));
    assert!(!recovery(&options).to_string().contains("carried"));
    let log = options.clone().open("/log").unwrap();
    log.append("z").unwrap();
    let after = options.vfs(Arc::new(disk.kill()));
    let told = recovery(&after).to_string();
    assert!(told.contains("1 carried into a new segment"), "{told}");
}

/// A segment that a recovery begins says what was durable before it, and which one that is.
#[test]
fn what_does_the_tail_of_a_recovery_say_of_what_is_before_it() {
    let (disk, options) = sim();
    let options = options.publish(false);
    let log = options.clone().open("/log").unwrap();
    for _ in 0..6 {
        log.append(format!("{:0100}", 0)).unwrap();
    }
    let disk = disk.kill();
    let options = options.vfs(Arc::new(disk.clone()));
    let proven_seq = options.clone().open("/log").unwrap().recovery().proven_seq;
    assert!(proven_seq >= 5);
    let manifest = Manifest::decode(&disk.read_file(&at("MANIFEST")).unwrap()).unwrap();
    assert_eq!(manifest.sealed.len(), 1, "too large to be copied");
    let tail = disk
        .read_file(&at(&names::segment(manifest.tail.id)))
        .unwrap();
    let header = SegmentHeader::decode(&tail).unwrap();
    assert_eq!(header.durable_seq, proven_seq);
    let before = header.predecessor.unwrap();
    let sealed = manifest.sealed[0];
    assert_eq!((before.id, before.next_seq), (sealed.id, sealed.next_seq));
}

/// What is little is copied. That it was durable before, no batch of the copy can say, but its header: without a
/// manifest nothing else tells a record that is lost from one that was never finished.
#[test]
fn what_does_the_tail_of_a_recovery_say_of_what_is_copied_into_it() {
    let (disk, options) = sim();
    let options = options.publish(false);
    let log = options.clone().open("/log").unwrap();
    for number in 0..3 {
        log.append(format!("{number}")).unwrap();
    }
    let disk = disk.kill();
    let options = options.vfs(Arc::new(disk.clone()));
    let log = options.clone().open("/log").unwrap();
    assert_eq!(log.recovery().proven_seq, 2, "what the last batch states");
    let manifest = Manifest::decode(&disk.read_file(&at("MANIFEST")).unwrap()).unwrap();
    assert_eq!((manifest.sealed.len(), manifest.tail.base_seq), (0, 0));
    let tail = disk.read_file(&at(&names::segment(manifest.tail.id)));
    let header = SegmentHeader::decode(&tail.unwrap()).unwrap();
    assert_eq!(header.durable_seq, 2);
}
