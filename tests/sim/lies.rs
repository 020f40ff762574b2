//! Reads that differ from the read before, and failures that are told to somebody else.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, Vfs, VfsFile,
    sim::{Choice, Errno, Fault, FaultRule, Misread, OpKind, SimFs, SyncFailure},
};
use std::io::ErrorKind;

fn misread(how: Misread) -> FaultRule {
    FaultRule::nth(OpKind::Read, 0, Fault::Misread(how))
}

fn get(file: &dyn VfsFile, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![9; len];
    let count = file.read_at(&mut bytes, offset).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_read_gives_a_wrong_bit_once_or_for_ever_and_the_file_has_it_not() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"abcd");
    let flip = Misread::Flip { offset: 2, bit: 1 };
    disk.fail(misread(flip));
    assert_eq!(get(&*file, 1, 3), b"bad");
    assert_eq!(get(&*file, 1, 3), b"bcd", "once");
    assert_eq!(disk.fault_count(), 1);
    let event = &disk.trace()[4];
    assert_eq!(event.fault, Some(Fault::Misread(flip)));
    let text = "       read_at    /a 1+3 (bit 1 of 2 flipped)";
    assert_eq!(event.to_string(), text);
    disk.clear_faults();
    disk.fail(misread(flip).for_ever());
    for _ in 0..3 {
        assert_eq!(get(&*file, 2, 1), b"a");
    }
    assert_eq!(read(&disk, "/a").unwrap(), b"abcd");
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"abcd")]));
}

#[test]
fn a_misread_counts_only_if_it_changed_what_was_read() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"ab\0\0");
    for how in [
        Misread::Flip { offset: 4, bit: 0 },
        Misread::Flip { offset: 0, bit: 0 },
        Misread::Zeros { offset: 2, len: 9 },
        Misread::AsOf { op: u64::MAX },
    ] {
        disk.fail(misread(how));
        assert_eq!(get(&*file, 1, 9), b"b\0\0");
        assert_eq!(disk.trace().last().unwrap().fault, None);
        disk.clear_faults();
    }
    assert_eq!(disk.fault_count(), 0);
}

#[test]
fn the_nth_read_that_covers_a_place_is_meant_and_as_many_as_told() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"abcdef");
    let zeros = Fault::Misread(Misread::Zeros { offset: 3, len: 2 });
    disk.fail(FaultRule::nth(OpKind::Read, 1, zeros).covering(4).times(2));
    let wanted: [(u64, usize, &[u8]); 7] = [
        (0, 4, b"abcd"),
        (4, 1, b"e"),
        (5, 1, b"f"),
        (2, 4, b"c\0\0f"),
        (0, 4, b"abcd"),
        (4, 9, b"\0f"),
        (4, 9, b"ef"),
    ];
    for (offset, len, bytes) in wanted {
        assert_eq!(get(&*file, offset, len), bytes, "{offset}+{len}");
    }
    // Writes cover places, too; what has no range covers none.
    let eio = Fault::Error(Errno::Eio);
    disk.fail(FaultRule::nth_call(0, eio).covering(1));
    file.sync().unwrap();
    file.write_at(b"x", 2).unwrap();
    assert!(file.write_at(b"xy", 0).is_err());
}

#[test]
fn a_read_gives_what_was_there_before_a_write() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    let op = disk.op_count();
    file.write_at(b"newer", 0).unwrap();
    file.sync().unwrap();
    disk.fail(misread(Misread::AsOf { op }));
    assert_eq!(get(&*file, 0, 9), b"old\0\0", "as long as it is");
    assert_eq!(get(&*file, 0, 9), b"newer");
}

/// The call succeeds, what was pending is lost, and the next sync alone says so.
#[test]
fn a_loss_behind_the_back_of_a_write_is_told_by_the_next_sync_and_once() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"....");
    let other = disk.open(p("/a"), Access::ReadWrite).unwrap();
    file.write_at(b"1", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Late(Errno::Eio)));
    let op = disk.op_count();
    file.write_at(b"2", 1).unwrap();
    file.write_at(b"3", 2).unwrap();
    assert_eq!(disk.fault_count(), 1);
    let found = outcomes(&disk.crash_at(op), "/a");
    assert!(
        found.contains(&Some(b"12..".to_vec())),
        "not lost before it was done"
    );
    let error = other.sync().unwrap_err();
    assert_eq!(error.raw_os_error(), Errno::Eio.error().raw_os_error());
    file.sync().expect("it was told");
    assert_eq!(read(&disk, "/a").unwrap(), b"123.", "the cache lies");
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"..3.")]));
}

#[test]
fn of_two_syncs_at_once_only_the_other_is_told() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    let other = disk.open(p("/a"), Access::ReadWrite).unwrap();
    file.write_at(b"new", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Late(Errno::Edquot)));
    file.sync().unwrap();
    let told = disk.trace().last().unwrap().to_string();
    assert!(
        told.contains("sync       /a (lost, to be told later"),
        "{told}"
    );
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"old")]));
    assert_eq!(other.sync().unwrap_err().kind(), ErrorKind::QuotaExceeded);
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"old")]));
    // Giving bytes to the disk early takes that from no sync.
    file.write_at(b"new", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::SetLen, 0, Fault::Late(Errno::Eio)));
    file.set_len(2).unwrap();
    file.write_back(0, 2).unwrap();
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"ol")]));
}

/// Nobody hears of it but who gave them early, and the others reach the disk with the next sync.
#[test]
fn what_the_disk_refuses_early_is_lost_and_no_more() {
    for (how, shown) in [
        (SyncFailure::CacheKeepsNew, b"12345"),
        (SyncFailure::CacheShowsOld, b"12..5"),
    ] {
        let disk = SimFs::new(1);
        let file = put_durably(&disk, "/a", b".....");
        file.write_at(b"12", 0).unwrap();
        file.write_at(b"34", 2).unwrap();
        file.write_at(b"5", 4).unwrap();
        let refused = Fault::Sync(Errno::Eio, how);
        disk.fail(FaultRule::nth(OpKind::WriteBack, 0, refused));
        file.write_back(2, 2).unwrap_err();
        file.sync().unwrap();
        assert_eq!(read(&disk, "/a").unwrap(), shown);
        assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"12..5")]));
    }
}

#[test]
fn a_loss_of_names_is_told_by_the_next_sync_of_their_directory() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/m", b"old");
    put(&disk, "/t", b"new").sync().unwrap();
    disk.fail(FaultRule::nth(OpKind::Rename, 0, Fault::Late(Errno::Eio)));
    disk.rename(p("/t"), p("/m")).unwrap();
    assert_eq!(read(&disk, "/m").unwrap(), b"new");
    assert!(disk.sync_dir(p("/")).is_err());
    disk.sync_dir(p("/")).unwrap();
    let after = now(&disk).state(&Choice::kept(9));
    assert_eq!(read(&after, "/m").unwrap(), b"old");
    disk.fail(FaultRule::nth(OpKind::SyncDir, 0, Fault::Late(Errno::Eio)));
    put(&disk, "/u", b"x");
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(read(&now(&disk).state(&Choice::kept(9)), "/u"), None);
    assert!(disk.sync_dir(p("/")).is_err());
}

#[test]
fn nobody_is_told_of_a_loss_once_the_process_is_dead() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Late(Errno::Eio)));
    file.write_at(b"new", 0).unwrap();
    let next = disk.kill();
    let file = next.open(p("/a"), Access::ReadWrite).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&next), "/a"), set(&[Some(b"old")]));
}

#[test]
fn a_failed_call_loses_nothing_behind_its_back() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Rename, 0, Fault::Late(Errno::Eio)));
    assert!(disk.rename(p("/none"), p("/b")).is_err());
    disk.sync_dir(p("/")).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"new")]));
}
