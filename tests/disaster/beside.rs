//! What lies beside the frames and was written after a sync that returned: is it heard?

use crate::history::{DIR, options};
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Finding, Log, NewRecord, Options, Reader, Seq, Verdict,
    format::WatermarkFile,
    vfs::{Vfs, sim::SimFs},
};
use std::{path::Path, sync::Arc};

const WATERMARK: &str = "/log/WATERMARK";
const MANIFEST: &str = "/log/MANIFEST";

fn segment(id: u64) -> String {
    format!("{DIR}/{id:020}.seg")
}

fn on(disk: &SimFs) -> Options {
    options(1 << 20).vfs(Arc::new(disk.clone()))
}

fn filled(options: &Options, records: u64) -> Log {
    let log = options.clone().open(DIR).unwrap();
    for seq in 0..records {
        log.append(format!("record {seq:02}")).unwrap();
    }
    log
}

/// Changes the bytes of a segment from where its record with this number begins.
fn harm(disk: &SimFs, id: u64, seq: Seq, how: impl FnOnce(&mut [u8])) {
    let (path, text) = (segment(id), format!("record {seq:02}"));
    let mut bytes = disk.read_file(Path::new(&path)).unwrap();
    let mut places = bytes.windows(text.len());
    let at = places.position(|it| it == text.as_bytes()).unwrap();
    how(&mut bytes[at - 32..]);
    disk.write_file(Path::new(&path), &bytes);
}

/// Opening refuses, and says which records are gone.
#[track_caller]
fn is_told(options: &Options, gone: std::ops::Range<Seq>) {
    let error = options.clone().open(DIR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let findings = options.verify(DIR).unwrap().findings;
    assert!(
        findings.iter().any(|it| it.seqs == gone),
        "{gone:?} in {findings:?}"
    );
}

/// A trim makes sure that what it drops below was durable. The end of the tail is zeroed in front of it:
/// opening was silent once, gave the numbers again below the head, and what was then acknowledged under
/// them could not be read by anybody.
#[test]
fn is_the_head_a_witness() {
    let disk = SimFs::new(1);
    let log = filled(&on(&disk), 20);
    log.trim(15).unwrap();
    let disk = disk.kill().snapshot();
    harm(&disk, 1, 10, |rest| rest.fill(0));
    is_told(&on(&disk), 10..15);
}

/// A consumer is shown what is durable, and nothing else. What it has passed is gone from the log: the
/// cursor was not asked, the log was opened, and its consumer was never given the records that took the
/// numbers of the lost ones.
#[test]
fn is_a_cursor_a_witness() {
    let disk = SimFs::new(1);
    let log = filled(&on(&disk), 20);
    let consumer = log.consumer("mailer").unwrap();
    consumer.ack(16).unwrap();
    let disk = disk.kill().snapshot();
    harm(&disk, 1, 10, |rest| rest.fill(0));
    is_told(&on(&disk), 10..20);
}

/// The last record is damaged, and nothing in the log itself was written after it. The dead writer had
/// told readers that it is durable; opening did not look at that, and cut it as an unfinished write.
#[test]
fn is_what_readers_were_told_a_witness() {
    let disk = SimFs::new(1);
    let published = on(&disk).publish(true);
    std::mem::forget(filled(&published, 20));
    let disk = disk.kill().snapshot();
    let published = published.vfs(Arc::new(disk.clone()));
    // With what follows the last, nothing of the log attests it.
    for harmed in [19, 12] {
        let disk = disk.snapshot();
        let published = published.clone().vfs(Arc::new(disk.clone()));
        harm(&disk, 1, harmed, |rest| rest[33] ^= 1);
        is_told(&published, harmed..harmed + 1);
        harm_is_not_told_to_a_reader(&published);
    }
    // And where it is gone with its record, or is another log's, that is an unfinished write.
    let bytes = disk.read_file(Path::new(WATERMARK)).unwrap();
    let mut told = WatermarkFile::decode(&bytes).unwrap();
    assert_eq!(told.durable_seq, 20);
    told.log_id.0[0] ^= 1;
    disk.write_file(Path::new(WATERMARK), &told.encode());
    harm(&disk, 1, 19, |rest| rest[33] ^= 1);
    let log = published.open(DIR).unwrap();
    assert_eq!(
        (log.recovery().verdict, log.next_seq()),
        (Verdict::Torn, 19)
    );
}

#[track_caller]
fn harm_is_not_told_to_a_reader(options: &Options) {
    let read = |reader: Reader| reader.scan(..)?.find_map(Result::err).map_or(Ok(()), Err);
    let error = options.open_reader(DIR).and_then(read).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Damaged,
        "a reader left it out: {error}"
    );
}

/// The next segment is begun, and holds a part of what is known to have been durable. What is lost of the one before
/// it ends where it begins: all up to the end was called lost, what is there and verifies among it.
#[test]
fn is_a_loss_told_as_far_as_it_goes_where_the_next_segment_is_begun() {
    let disk = SimFs::new(1);
    let options = options(1024).publish(true);
    let on = |disk: &SimFs| options.clone().vfs(Arc::new(disk.clone()));
    let log = filled(&on(&disk), 30);
    let bases: Vec<Seq> = (log.segments().unwrap().iter())
        .map(|it| it.base_seq)
        .collect();
    let [0, begun] = bases[..] else {
        panic!("{bases:?}")
    };
    assert!((12..25).contains(&begun), "{begun}");
    let disk = disk.kill().snapshot();
    type Harm = fn(&mut [u8]);
    let (zeroed, flipped): (Harm, Harm) = (|rest| rest.fill(0), |rest| rest[33] ^= 1);
    let cases = [
        (1, 5, zeroed, 5..begun),
        (1, 5, flipped, 5..6),
        (1, begun - 1, flipped, begun - 1..begun),
        (2, 25, zeroed, 25..30),
        (2, 25, flipped, 25..26),
        (2, 29, flipped, 29..30),
    ];
    for (id, seq, how, gone) in cases {
        let disk = disk.snapshot();
        harm(&disk, id, seq, how);
        let options = on(&disk);
        let error = options.clone().open(DIR).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        let report = options.verify(DIR).unwrap();
        let told = |findings: &[Finding]| -> Vec<Seq> {
            findings.iter().flat_map(|it| it.seqs.clone()).collect()
        };
        let expected: Vec<Seq> = gone.clone().collect();
        assert_eq!(told(&report.findings), expected, "{gone:?}: {report:?}");
        assert_eq!(report.record_count, 30 - expected.len() as u64, "{gone:?}");
        let plan = options.plan(DIR).unwrap();
        assert!(
            plan.findings
                .iter()
                .all(|it| it.seqs.end <= gone.end.max(begun))
        );
        let salvaged = options.salvage(DIR, "/new").unwrap();
        assert_eq!(told(&salvaged.gaps), expected, "{gone:?}: {salvaged:?}");
    }
    // A file that is gone is no other case.
    let gone = disk.snapshot();
    assert!(gone.remove_file(Path::new(&segment(1))));
    is_told(&on(&gone), 0..begun);
}

/// All that was acknowledged before a kill is known to have been durable: none of it is written again
/// into a new segment, which needs as much room again.
#[test]
fn is_nothing_copied_that_readers_were_told_of() {
    let disk = SimFs::new(1);
    let published = on(&disk).publish(true);
    let log = filled(&published, 20);
    let how = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value("written")], &how)
        .unwrap();
    let disk = disk.kill();
    let published = published.vfs(Arc::new(disk.clone()));
    let reader: Reader = published.open_reader(DIR).unwrap();
    assert_eq!(reader.end_seq(), 20, "to whoever was told it is shown");
    let log = published.open(DIR).unwrap();
    assert_eq!(log.recovery().proven_seq, 20);
    assert_eq!((log.recovery().carried_count, log.next_seq()), (1, 21));
}

/// A manifest of before. What was appended after a recovery lies in a segment that the recovery wrote
/// aside and that this manifest does not name: `verify` was content, and opening deleted it.
#[test]
fn is_a_recovered_tail_kept_when_the_manifest_of_before_comes_back() {
    for (written, publish) in [(0, false), (2, false), (0, true), (2, true)] {
        let disk = SimFs::new(1);
        let options = on(&disk).publish(publish);
        let log = filled(&options, 3);
        let how = AppendOptions::new().durability(Durability::Written);
        for _ in 0..written {
            log.append_records(&[NewRecord::value("written")], &how)
                .unwrap();
        }
        if written == 0 {
            // A mark of its own says that the last record is durable: then nothing is carried.
            log.consumer("mailer").unwrap();
        }
        let disk = disk.kill();
        let before = disk.read_file(Path::new(MANIFEST)).unwrap();
        let options = options.vfs(Arc::new(disk.clone()));
        let log = options.clone().open(DIR).unwrap();
        assert_eq!(log.recovery().carried_count > 0, written > 0);
        let first = log.append("acknowledged").unwrap();
        let disk = disk.kill();
        let tail = segment(3);
        assert!(disk.read_file(Path::new(&tail)).is_some());
        disk.write_file(Path::new(MANIFEST), &before);
        let options = options.vfs(Arc::new(disk.clone()));
        let error = options.clone().open(DIR).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(
            disk.read_file(Path::new(&tail)).is_some(),
            "nothing is removed"
        );
        let findings = options.verify(DIR).unwrap().findings;
        let covers = |at: &cairnlog::Finding| at.seqs.contains(&first);
        assert!(findings.iter().any(covers), "{findings:?}");
    }
}

/// The same of a rewind, with the tail of before put back beside its manifest.
#[test]
fn is_a_tail_kept_that_a_rewind_began() {
    let disk = SimFs::new(1);
    let log = filled(&on(&disk), 5);
    let (manifest, tail) = (MANIFEST.to_owned(), segment(1));
    let before = [manifest, tail].map(|path| (disk.read_file(Path::new(&path)).unwrap(), path));
    log.rewind(3).unwrap();
    assert_eq!(log.append("acknowledged").unwrap(), 5);
    let disk = disk.kill();
    for (bytes, path) in before {
        if !disk.write_file(Path::new(&path), &bytes) {
            let file = disk.create_new(Path::new(&path)).unwrap();
            file.write_at(&bytes, 0).unwrap();
        }
    }
    let error = on(&disk).open(DIR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let kept = disk.files().iter().any(|path| {
        let bytes = disk.read_file(path).unwrap();
        bytes.windows(12).any(|it| it == b"acknowledged")
    });
    assert!(kept, "nothing is removed");
}
