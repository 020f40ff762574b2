//! Is every loss told by those who read past damage, and is nothing told that is none?

use crate::{
    history::{DIR, options},
    subject::{Subject, subject, three_segments},
};
use cairnlog::{
    AppendOptions, Durability, Finding, FindingKind, Log, NewRecord, Options, RepairOptions, Seq,
    format::SegmentHeader, vfs::sim::SimFs,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

const NEW: &str = "/new";

fn on(disk: &SimFs) -> Options {
    options(640).vfs(Arc::new(disk.clone()))
}

fn segment(id: u64) -> String {
    format!("{DIR}/{id:020}.seg")
}

fn seqs(log: &Log) -> BTreeSet<Seq> {
    log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect()
}

fn told(findings: &[Finding]) -> BTreeSet<Seq> {
    findings.iter().flat_map(|it| it.seqs.clone()).collect()
}

/// Both ways past damage, on copies of a disk. Every acknowledged record is there or named as lost, and
/// no number that was given is given again.
fn nothing_is_lost_in_silence(of: &Subject, disk: &SimFs, attested_seq: Seq) {
    let salvaged = disk.snapshot();
    let report = on(&salvaged).salvage(DIR, NEW).unwrap();
    let log = on(&salvaged).open(NEW).unwrap();
    let (there, gone) = (seqs(&log), told(&report.gaps));
    for rec in of.recs.iter().filter(|rec| rec.seq < attested_seq) {
        let seq = rec.seq;
        assert!(
            there.contains(&seq) || gone.contains(&seq),
            "salvage: {seq} of {:?}",
            report.gaps
        );
        assert!(log.next_seq() > seq, "{seq} would be given again");
    }
    let repaired = disk.snapshot();
    let dry = on(&repaired).repair(DIR, RepairOptions::new()).unwrap();
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let report = on(&repaired).repair(DIR, how).unwrap();
    assert_eq!(dry.lost, report.lost, "a dry run says what is done");
    let log = on(&repaired).open(DIR).unwrap();
    let there = seqs(&log);
    let gone: BTreeSet<Seq> = report.lost.iter().cloned().flatten().collect();
    for rec in of.recs.iter().filter(|rec| rec.seq < attested_seq) {
        let seq = rec.seq;
        assert!(
            there.contains(&seq) || gone.contains(&seq),
            "repair: {seq} of {:?}",
            report.findings
        );
        assert!(log.next_seq() > seq, "{seq} would be given again");
    }
}

/// The tail was cut at a batch's border, or all of it was gone, and salvage said "0 gaps" and began to
/// count where the rest ended: 327 of 1,289 salvages of damaged copies of one log said nothing.
#[test]
fn is_every_loss_told_and_no_number_given_again() {
    let mut of = subject(&three_segments(), true);
    let end = of.recs.last().unwrap().seq + 1;
    let files: Vec<_> = of.files();
    let mut states = 0;
    for (path, bytes) in files
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|it| it == "seg"))
    {
        let gone = of.disk.snapshot();
        assert!(gone.remove_file(path));
        of.disk = of.disk.snapshot();
        nothing_is_lost_in_silence(&of, &gone, end);
        for cut in (0..bytes.len()).step_by(13) {
            let _context = crate::Context::new(|| format!("{} cut at {cut}", path.display()));
            let shorter = of.disk.snapshot();
            shorter.write_file(path, &bytes[..cut]);
            nothing_is_lost_in_silence(&of, &shorter, end);
            let zeroed = of.disk.snapshot();
            let mut with_zeros = bytes.clone();
            with_zeros[cut..].fill(0);
            zeroed.write_file(path, &with_zeros);
            nothing_is_lost_in_silence(&of, &zeroed, end);
            let flipped = of.disk.snapshot();
            flipped.flip_bit(path, cut as u64, 3);
            nothing_is_lost_in_silence(&of, &flipped, end);
            states += 3;
        }
    }
    assert!(states > 300, "{states}");
}

/// A sealed segment with one flipped bit in its header: repair kept all of it, salvage dropped it.
#[test]
fn does_salvage_keep_what_repair_keeps() {
    let of = subject(&three_segments(), true);
    let disk = of.disk.snapshot();
    disk.flip_bit(Path::new(&segment(1)), 20, 0);
    let report = on(&disk).salvage(DIR, NEW).unwrap();
    assert_eq!(report.record_count, of.recs.len() as u64);
    assert_eq!(
        report.gaps.len(),
        1,
        "the header is told: {:?}",
        report.gaps
    );
    assert!(told(&report.gaps).is_empty());
}

/// Without its manifest each healthy segment was said to be damaged where its footer begins.
#[test]
fn is_a_footer_no_damage_and_a_lost_manifest_told() {
    let of = subject(&three_segments(), true);
    let disk = of.disk.snapshot();
    assert!(disk.remove_file(Path::new("/log/MANIFEST")));
    let report = on(&disk).salvage(DIR, NEW).unwrap();
    assert_eq!(report.record_count, of.recs.len() as u64);
    let [only] = &report.gaps[..] else {
        panic!("{:?}", report.gaps);
    };
    assert!(
        only.place
            .path
            .as_ref()
            .is_some_and(|path| path.ends_with("MANIFEST"))
    );
    // The dry run of a repair promises what it does.
    let dry = on(&disk).repair(DIR, RepairOptions::new()).unwrap();
    assert!(!dry.applied && dry.lost.is_empty());
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let report = on(&disk).repair(DIR, how).unwrap();
    assert!(report.applied && !report.kept.is_empty());
    let log = on(&disk).open(DIR).unwrap();
    assert_eq!(seqs(&log), of.recs.iter().map(|rec| rec.seq).collect());
    assert_eq!(on(&disk).verify(DIR).unwrap().findings, []);
}

/// A disk that could not be read was taken for one without a manifest.
#[test]
fn is_a_manifest_that_cannot_be_read_an_error() {
    use cairnlog::vfs::sim::{Errno, Fault, FaultRule, OpKind};
    let of = subject(&three_segments(), true);
    for kind in [OpKind::Open, OpKind::Read] {
        for nth in 0..4 {
            let disk = of.disk.snapshot();
            let rule = FaultRule::nth(kind, nth, Fault::Error(Errno::Eio)).on("/log/MANIFEST");
            disk.fail(rule);
            match on(&disk).salvage(DIR, NEW) {
                Ok(report) => assert_eq!(report.gaps, []),
                Err(error) => assert_eq!(error.kind(), cairnlog::ErrorKind::Io, "{error}"),
            }
        }
    }
}

/// The header of a segment is lost, and with it the time that its records count from. Once the latest
/// time of a record in it stood in for it, days off and without a word; no time is told now.
#[test]
fn is_no_time_invented() {
    let of = subject(&three_segments(), true);
    let disk = of.disk.snapshot();
    let mut bytes = disk.read_file(Path::new(&segment(1))).unwrap();
    bytes[16..20].fill(0xff);
    disk.write_file(Path::new(&segment(1)), &bytes);
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let dry = on(&disk).repair(DIR, RepairOptions::new()).unwrap();
    let report = on(&disk).repair(DIR, how).unwrap();
    assert_eq!(
        (&dry.untimed, &report.untimed),
        (&vec![cairnlog::SegmentId(1)], &dry.untimed)
    );
    let log = on(&disk).open(DIR).unwrap();
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let rec = of.recs.iter().find(|rec| rec.seq == record.seq()).unwrap();
        let time = record.timestamp_ms();
        assert!(time == 0 || rec.time_ms.contains(&time), "{time}");
        assert_eq!(record.value(), rec.value.as_deref());
    }
}

/// A batch that was never whole, nor acknowledged: opening cuts all of it. With damage elsewhere repair
/// and salvage kept half of it.
#[test]
fn is_no_part_kept_of_a_batch_that_was_never_durable() {
    let disk = SimFs::new(1);
    let log = on(&disk).open(DIR).unwrap();
    for _ in 0..3 {
        log.append("s".repeat(50)).unwrap();
    }
    log.rotate().unwrap();
    log.append("before").unwrap();
    let end = log.next_seq();
    let how = AppendOptions::new().durability(Durability::Written);
    let values: Vec<String> = (0..5).map(|i| format!("all or nothing {i}")).collect();
    let records: Vec<NewRecord<'_>> = values.iter().map(NewRecord::value).collect();
    log.append_records(&records, &how).unwrap();
    let disk = disk.kill().snapshot();
    let tail = segment(2);
    let mut bytes = disk.read_file(Path::new(&tail)).unwrap();
    let at = bytes
        .windows(16)
        .position(|it| it == b"all or nothing 2")
        .unwrap();
    bytes[at..at + 4].fill(0);
    disk.write_file(Path::new(&tail), &bytes);
    disk.flip_bit(Path::new(&segment(1)), 170, 0);
    let salvaged = disk.snapshot();
    let report = on(&salvaged).salvage(DIR, NEW).unwrap();
    let torn = |it: &Finding| it.kind == FindingKind::Torn;
    assert!(report.gaps.iter().any(torn), "{:?}", report.gaps);
    let how = RepairOptions::new().apply(true).accept_loss(true);
    on(&disk).repair(DIR, how).unwrap();
    for log in [
        on(&salvaged).open(NEW).unwrap(),
        on(&disk).open(DIR).unwrap(),
    ] {
        assert!(seqs(&log).contains(&(end - 1)));
        assert_eq!(log.scan(end..).unwrap().count(), 0);
    }
}

/// Nothing is written by who only looks: beside a writer it needs no lock.
#[test]
fn does_a_dry_run_go_on_beside_a_writer() {
    let disk = SimFs::new(1);
    let log = on(&disk).open(DIR).unwrap();
    log.append("one").unwrap();
    let report = on(&disk).repair(DIR, RepairOptions::new()).unwrap();
    assert!(!report.applied && report.lost.is_empty());
    let error = on(&disk)
        .repair(DIR, RepairOptions::new().apply(true))
        .unwrap_err();
    assert_eq!(error.kind(), cairnlog::ErrorKind::Locked);
}

/// The manifest of before is there again, and segments that were begun since: by it they are no part of the log. They
/// were left out without a word, and the numbers of what is in them given again.
#[test]
fn are_segments_told_that_a_newer_manifest_had_named() {
    let disk = SimFs::new(1);
    let log = on(&disk).open(DIR).unwrap();
    log.append("first").unwrap();
    let manifest = Path::new("/log/MANIFEST");
    let before = disk.read_file(manifest).unwrap();
    for _ in 0..4 {
        log.append("acknowledged").unwrap();
        log.rotate().unwrap();
    }
    let end = log.next_seq();
    let disk = disk.kill().snapshot();
    disk.write_file(manifest, &before);
    let findings = on(&disk).verify(DIR).unwrap().findings;
    assert_eq!(told(&findings), (3..end).collect());
    let salvaged = disk.snapshot();
    let report = on(&salvaged).salvage(DIR, NEW).unwrap();
    assert_eq!(told(&report.gaps), (3..end).collect());
    let log = on(&salvaged).open(NEW).unwrap();
    assert_eq!((seqs(&log), log.next_seq()), ((0..3).collect(), end));
    // Another log's say nothing of ours.
    let (far, other) = (segment(77), cairnlog::LogId([9; 16]));
    let mut of_other = disk.read_file(Path::new(&segment(4))).unwrap();
    let mut header = SegmentHeader::decode(&of_other).unwrap();
    (header.log_id, header.id) = (other, cairnlog::SegmentId(77));
    of_other[..128].copy_from_slice(&header.encode());
    disk.write_file(Path::new(&far), &of_other);
    let how = RepairOptions::new().apply(true).accept_loss(true);
    on(&disk).repair(DIR, how).unwrap();
    let log = on(&disk).open(DIR).unwrap();
    assert_eq!((seqs(&log), log.next_seq()), ((0..3).collect(), end));
}
