//! Is a mark what it was set to, whatever happens to the log?

use cairnlog::{
    BackupOptions, ErrorKind, Log, Mark, Options, Reader, RepairOptions,
    format::Manifest,
    vfs::sim::{Errno, Fault, FaultRule, SimFs, Space},
};
use std::{path::Path, sync::Arc};

fn options(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(4096)
        .background(false)
}

fn manifest_bytes(disk: &SimFs) -> Vec<u8> {
    disk.read_file(Path::new("/log/MANIFEST")).unwrap()
}

fn vote(log: &Log) -> Option<String> {
    log.mark("vote")
        .map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn does_a_mark_stay_whatever_the_records_do() {
    let disk = SimFs::new(1);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!((log.mark("vote"), log.marks()), (None, vec![]));
    log.set_mark("vote", "term 1").unwrap();
    log.set_mark("applied", [0, 255]).unwrap();
    for number in 0..200 {
        log.append(format!("record number {number}")).unwrap();
    }
    log.set_mark("vote", "").unwrap();
    log.set_mark("vote", "term 2").unwrap();
    log.rotate().unwrap();
    log.maintain().unwrap();
    log.trim(50).unwrap();
    log.rewind(150).unwrap();
    assert_eq!(vote(&log).as_deref(), Some("term 2"));
    log.backup("/backup").unwrap();
    let marks = [Mark::new("applied", [0, 255]), Mark::new("vote", "term 2")];
    assert_eq!(log.marks(), marks);
    // A reader of another process has them, and what changes.
    let reader = options(&disk).open_reader("/log").unwrap();
    assert_eq!(reader.marks().unwrap(), marks);
    log.set_mark("vote", "term 3").unwrap();
    assert_eq!(
        reader.mark("vote").unwrap().as_deref(),
        Some(&b"term 3"[..])
    );
    assert_eq!(log.reader().mark("vote").unwrap(), log.mark("vote"));
    assert!(log.remove_mark("applied").unwrap());
    // What changes nothing costs nothing.
    let before = disk.op_count();
    assert!(!log.remove_mark("applied").unwrap());
    log.set_mark("vote", "term 3").unwrap();
    assert_eq!(disk.op_count(), before);
    drop(log);
    assert_eq!(
        vote(&options(&disk).open("/log").unwrap()).as_deref(),
        Some("term 3")
    );
    assert_eq!(options(&disk).open("/backup").unwrap().marks(), marks);
    let how = BackupOptions::new();
    options(&disk).backup("/log", "/beside", &how).unwrap();
    options(&disk).salvage("/log", "/salvaged").unwrap();
    for copy in ["/beside", "/salvaged"] {
        assert_eq!(
            vote(&options(&disk).open(copy).unwrap()).as_deref(),
            Some("term 3"),
            "{copy}"
        );
        assert_eq!(options(&disk).verify(copy).unwrap().findings, []);
    }
}

/// A mark is set, set anew, and another is removed, between appends; the power fails at every operation, in every way
/// that the disk has, up to so many a point.
#[test]
fn is_a_mark_the_old_or_the_new_one_after_a_power_cut_at_any_moment() {
    let disk = SimFs::new(2);
    let log = options(&disk).open("/log").unwrap();
    log.append("before").unwrap();
    log.set_mark("vote", "0").unwrap();
    log.set_mark("other", "stays").unwrap();
    // What the vote is known to be from an operation on.
    let mut known = vec![(disk.op_count(), 0)];
    for term in 1..6u32 {
        // The lengths differ, so that the manifest grows and shrinks.
        let value = term.to_string().repeat(1 + term as usize % 3 * 40);
        log.set_mark("vote", value).unwrap();
        known.push((disk.op_count(), term));
        log.append(format!("in term {term}")).unwrap();
        if term == 3 {
            log.rotate().unwrap();
            while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
        }
    }
    let mut states = 0;
    for op in known[0].0..=disk.op_count() {
        let point = disk.crash_at(op);
        let least = known.iter().rev().find(|(at, _)| *at <= op).unwrap().1;
        for (_, state) in point.all(64) {
            states += 1;
            let told = vote(&options(&state).open("/log").unwrap()).expect("a vote");
            let term: u32 = told[..1].parse().unwrap();
            assert_eq!(told, term.to_string().repeat(1 + term as usize % 3 * 40));
            assert!(
                (least..=least + 1).contains(&term),
                "{least}, and {term} after {op}"
            );
            // What was told stays told, also if the power fails right after opening.
            let again = options(&state.reboot(op)).open("/log").unwrap();
            assert_eq!(vote(&again), Some(told));
            assert_eq!(again.mark("other").as_deref(), Some(&b"stays"[..]));
        }
    }
    assert!(states > 500, "{states}");
}

#[test]
fn what_does_a_failed_call_leave_of_a_mark() {
    let mut outcomes = Vec::new();
    for call in 0.. {
        let disk = SimFs::new(3);
        let log = options(&disk).open("/log").unwrap();
        log.set_mark("vote", "old").unwrap();
        disk.fail(FaultRule::nth_call(call, Fault::Error(Errno::Eio)));
        let set = log.set_mark("vote", "new");
        if disk.fault_count() == 0 {
            assert!(call > 5, "{call}");
            break;
        }
        disk.clear_faults();
        let there = vote(&log).unwrap();
        match &set {
            Ok(()) => assert_eq!(there, "new"),
            // Then it is known to be the old one: or nobody knows, and the log takes nothing more.
            Err(error) => {
                assert_eq!(there, "old", "{error}");
                let goes_on = log.set_mark("vote", "newer").is_ok();
                assert_eq!(goes_on, log.append("a record").is_ok(), "{error}");
                outcomes.push(goes_on);
            }
        }
        let told = vote(&log).unwrap();
        disk.power_cut();
        drop(log);
        let after = vote(&options(&disk.reboot(1)).open("/log").unwrap()).unwrap();
        let poisoned = outcomes.last() == Some(&false) && set.is_err();
        assert!(
            after == told || poisoned && after == "new",
            "{call}: {told}, {after}"
        );
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}

#[test]
fn is_a_mark_set_anew_where_there_is_no_room() {
    for space in [
        Space::new(),
        Space::new().copy_on_write(true),
        Space::new().quota(true),
    ] {
        let disk = SimFs::new(4);
        disk.set_space(space);
        disk.set_capacity(Some(1 << 20));
        let log = options(&disk).open("/log").unwrap();
        log.set_mark("vote", "term 0").unwrap();
        let full = (0..).find_map(|_| log.append([7; 2000]).err()).unwrap();
        assert_eq!(full.kind(), ErrorKind::NoSpace);
        for term in 1..50 {
            let value = format!("term {term}");
            log.set_mark("vote", &value).unwrap();
            assert_eq!(vote(&log), Some(value));
        }
        disk.power_cut();
        drop(log);
        let log = options(&disk.reboot(1)).open("/log").unwrap();
        assert_eq!(vote(&log).as_deref(), Some("term 49"));
    }
}

#[test]
fn what_is_over_a_limit_changes_nothing() {
    let disk = SimFs::new(5);
    let log = options(&disk).open("/log").unwrap();
    log.set_mark("vote", [7; 4096]).unwrap();
    let stored = manifest_bytes(&disk);
    let kind = |name: &str, bytes: usize| log.set_mark(name, vec![0; bytes]).unwrap_err().kind();
    assert_eq!(kind("vote", 4097), ErrorKind::TooLarge);
    for name in ["", "two\nlines", &"x".repeat(256)] {
        assert_eq!(kind(name, 1), ErrorKind::InvalidInput);
    }
    assert_eq!(manifest_bytes(&disk), stored);
    // 8 bytes once, 8 for each, and what is in them: 65,536 fit exactly.
    let mut bytes = 8 + 8 + 4 + 4096;
    for number in 0..14 {
        log.set_mark(&format!("{number:04}"), [1; 4096]).unwrap();
        bytes += 8 + 4 + 4096;
    }
    let left = 65_536 - bytes - 8 - 4;
    assert_eq!(kind("last", left + 1), ErrorKind::TooLarge);
    log.set_mark("last", vec![2; left]).unwrap();
    assert_eq!(kind("x", 0), ErrorKind::TooLarge);
    log.append("a record").unwrap();
    log.close().unwrap();
    assert_eq!(
        log.set_mark("vote", "").unwrap_err().kind(),
        ErrorKind::Closed
    );
    let again = options(&disk).open("/log").unwrap();
    assert_eq!(again.marks().len(), 16);
    assert_eq!(again.mark("last"), Some(vec![2; left]));
    // Many small ones.
    for mark in again.marks() {
        again.remove_mark(&mark.name).unwrap();
    }
    let most = (65_536 - 8) / 16;
    for number in 0..most {
        // Eight bytes of name each; one commit in a hundred is enough to see.
        if number % 100 == 0 || number + 10 > most {
            again.set_mark(&format!("{number:08}"), "").unwrap();
        }
    }
}

/// Bit 4 of the features that every reader has to know is there as long as there is a mark, and no longer: a program
/// from before refuses such a log by it, before it looks at any length.
#[test]
fn does_a_program_from_before_refuse_a_log_with_marks_and_no_other() {
    let disk = SimFs::new(6);
    let log = options(&disk).open("/log").unwrap();
    let features = || u32::from_le_bytes(manifest_bytes(&disk)[12..16].try_into().unwrap());
    assert_eq!(features(), 0);
    log.set_mark("vote", "1").unwrap();
    assert_eq!(features(), 1 << 4);
    log.append("a record").unwrap();
    log.trim(1).unwrap();
    assert_eq!(features(), 1 << 4);
    log.remove_mark("vote").unwrap();
    assert_eq!(features(), 0);
    assert_eq!(Manifest::decode(&manifest_bytes(&disk)).unwrap().marks, []);
}

#[test]
fn is_a_manifest_of_an_earlier_day_noticed_by_its_marks_being_old() {
    let disk = SimFs::new(7);
    let log = options(&disk).open("/log").unwrap();
    log.set_mark("vote", "term 1").unwrap();
    let old = manifest_bytes(&disk);
    log.set_mark("vote", "term 2").unwrap();
    drop(log);
    disk.write_file(Path::new("/log/MANIFEST"), &old);
    let error = options(&disk).open("/log").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("MANIFEST"), "{error}");
}

#[test]
fn is_a_flipped_bit_in_a_mark_damage() {
    let disk = SimFs::new(8);
    let log = options(&disk).open("/log").unwrap();
    log.append("a record").unwrap();
    log.set_mark("vote", "term 1").unwrap();
    log.close().unwrap();
    drop(log);
    let stored = manifest_bytes(&disk);
    for offset in 144..stored.len() {
        for bit in 0..8 {
            let mut bytes = stored.clone();
            bytes[offset] ^= 1 << bit;
            assert!(Manifest::decode(&bytes).is_err(), "{offset}, {bit}");
        }
    }
    for end in 144..stored.len() {
        assert!(Manifest::decode(&stored[..end]).is_err(), "{end}");
    }
    disk.flip_bit(Path::new("/log/MANIFEST"), stored.len() as u64 - 1, 0);
    let error = options(&disk).open("/log").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(Reader::open("/no log").is_err());
    // Its records are had back; the marks were nowhere else.
    let how = RepairOptions::new().apply(true).accept_loss(true);
    let report = options(&disk).repair("/log", how).unwrap();
    assert!(report.applied);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!((log.get(0).unwrap().is_some(), log.marks()), (true, vec![]));
}
