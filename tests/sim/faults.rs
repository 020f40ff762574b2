//! Injected errors, failed syncs and the full disk.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, Vfs,
    sim::{Choice, Errno, Fault, FaultRule, OpKind, Outcome, SimFs, SyncFailure},
};
use std::io::ErrorKind;

#[test]
fn every_error_has_its_kind() {
    let kind = |errno: Errno| errno.error().kind();
    assert_eq!(kind(Errno::Enospc), ErrorKind::StorageFull);
    assert_eq!(kind(Errno::Eintr), ErrorKind::Interrupted);
    assert_eq!(kind(Errno::Erofs), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(Errno::Eacces), ErrorKind::PermissionDenied);
    for errno in Errno::ALL {
        let disk = SimFs::new(1);
        disk.fail(FaultRule::nth_call(0, Fault::Error(errno)));
        let error = disk.create_dir(p("/d")).unwrap_err();
        assert_eq!(error.raw_os_error(), errno.error().raw_os_error());
        assert!(
            disk.create_dir(p("/d")).unwrap(),
            "once only, and it changed nothing"
        );
    }
}

#[test]
fn any_call_can_be_made_to_fail_once_or_for_ever() {
    let run = |disk: &SimFs| -> std::io::Result<()> {
        disk.create_dir(p("/d"))?;
        disk.try_lock(p("/d")).map(drop)?;
        let file = disk.create_new(p("/d/a"))?;
        file.write_at(b"x", 0)?;
        file.set_len(9)?;
        file.sync()?;
        file.len()?;
        file.read_at(&mut [0], 0)?;
        disk.rename(p("/d/a"), p("/d/b"))?;
        disk.open(p("/d/b"), Access::Read)?;
        disk.list(p("/d"))?;
        disk.remove(p("/d/b"))?;
        disk.sync_dir(p("/d"))
    };
    let disk = SimFs::new(1);
    run(&disk).unwrap();
    assert_eq!((disk.call_count(), disk.op_count()), (13, 9));
    for call in 0..13 {
        for sticky in [false, true] {
            let disk = SimFs::new(1);
            let rule = FaultRule::nth_call(call, Fault::Error(Errno::Erofs));
            disk.fail(if sticky { rule.for_ever() } else { rule });
            let error = run(&disk).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
            assert_eq!((disk.call_count(), disk.fault_count()), (call + 1, 1));
            assert_eq!(disk.list(p("/")).is_err(), sticky);
        }
    }
    for op in 0..9 {
        let disk = SimFs::new(1);
        disk.fail(FaultRule::at_op(op, Fault::Error(Errno::Eio)));
        assert!(run(&disk).is_err());
        assert_eq!(disk.op_count(), op + 1);
        let failed = |outcome| matches!(outcome, Outcome::Failed(_));
        assert!(failed(disk.trace().last().unwrap().outcome));
    }
}

#[test]
fn rules_choose_by_kind_number_and_path() {
    let disk = SimFs::new(1);
    let (a, b) = (put(&disk, "/a", b"1"), put(&disk, "/b", b"2"));
    disk.fail(FaultRule::nth(OpKind::Read, 1, Fault::Error(Errno::Eio)).on("b"));
    let buf = &mut [0];
    for _ in 0..3 {
        a.read_at(buf, 0).unwrap();
    }
    b.read_at(buf, 0).unwrap();
    assert!(b.read_at(buf, 0).is_err());
    b.read_at(buf, 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Rename, 0, Fault::Error(Errno::Eio)).on("/c"));
    disk.fail(FaultRule::nth(
        OpKind::Rename,
        0,
        Fault::Error(Errno::Eintr),
    ));
    // A rename counts under both names, and the first rule decides.
    let error = disk.rename(p("/a"), p("/c")).unwrap_err();
    assert_eq!(error.raw_os_error(), Errno::Eio.error().raw_os_error());
    disk.rename(p("/a"), p("/c")).unwrap();
}

#[test]
fn short_transfers_succeed_with_less() {
    let disk = SimFs::new(1);
    let file = put(&disk, "/a", b"");
    disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Short(2)));
    disk.fail(FaultRule::nth(OpKind::Read, 0, Fault::Short(1)));
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Short(1)));
    assert_eq!(file.write_at(b"abcd", 0).unwrap(), 2);
    assert_eq!(read(&disk, "/a").unwrap(), b"ab");
    let mut buf = [0; 2];
    assert_eq!((file.read_at(&mut buf, 0).unwrap(), buf), (1, [b'a', 0]));
    file.sync().unwrap();
    assert_eq!(disk.fault_count(), 2, "a sync cannot be short");
}

#[test]
fn torn_write_leaves_a_prefix_and_an_error() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"....");
    let (bytes, errno) = (2, Errno::Eio);
    disk.fail(FaultRule::nth(
        OpKind::Write,
        0,
        Fault::Torn { bytes, errno },
    ));
    assert!(file.write_at(b"abcd", 0).is_err());
    assert_eq!(read(&disk, "/a").unwrap(), b"ab..");
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"ab..")]));
}

fn fail_sync(how: SyncFailure) -> FaultRule {
    FaultRule::nth(OpKind::Sync, 0, Fault::Sync(Errno::Eio, how))
}

#[test]
fn failed_sync_may_leave_a_cache_that_lies() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    file.write_at(b"NEW", 0).unwrap();
    disk.fail(fail_sync(SyncFailure::CacheKeepsNew));
    assert!(file.sync().is_err());
    assert_eq!(read(&disk, "/a").unwrap(), b"NEW", "it reads back");
    file.sync().unwrap();
    let next = disk.kill();
    let file = next.open(p("/a"), Access::ReadWrite).unwrap();
    file.sync().unwrap();
    assert_eq!(
        read(&next, "/a").unwrap(),
        b"NEW",
        "even to the next process"
    );
    assert_eq!(
        outcomes(&now(&next), "/a"),
        set(&[Some(b"old")]),
        "and is on no disk"
    );

    file.write_at(b"N", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(
        outcomes(&now(&next), "/a"),
        set(&[Some(b"Nld")]),
        "unless written again"
    );
}

#[test]
fn failed_sync_that_lies_keeps_the_size_but_not_the_bytes() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"");
    file.write_at(b"xyz", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    assert!(file.sync().is_err(), "an ordinary error means the same");
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"\0\0\0")]));
    file.write_at(b"xyz", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"xyz")]));
}

#[test]
fn failed_sync_may_show_the_old_bytes() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    file.write_at(b"longer", 0).unwrap();
    disk.fail(fail_sync(SyncFailure::CacheShowsOld));
    assert!(file.sync().is_err());
    assert_eq!(
        (read(&disk, "/a").unwrap(), file.len().unwrap()),
        (b"old".to_vec(), 3)
    );
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"old")]));
}

#[test]
fn interrupted_sync_may_be_tried_again() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eintr)));
    assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Interrupted);
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"new")]));
}

#[test]
fn failed_sync_of_a_directory_has_the_same_outcomes() {
    for how in [
        SyncFailure::CacheKeepsNew,
        SyncFailure::CacheShowsOld,
        SyncFailure::StillDirty,
    ] {
        let disk = SimFs::new(1);
        put_durably(&disk, "/m", b"old");
        put(&disk, "/t", b"new").sync().unwrap();
        disk.rename(p("/t"), p("/m")).unwrap();
        disk.fail(FaultRule::nth(
            OpKind::SyncDir,
            0,
            Fault::Sync(Errno::Eio, how),
        ));
        assert!(disk.sync_dir(p("/")).is_err());
        let visible = read(&disk, "/m").unwrap();
        disk.sync_dir(p("/")).unwrap();
        let durable = read(&now(&disk).state(&Choice::lost()), "/m").unwrap();
        let expected: (&[u8], &[u8]) = match how {
            SyncFailure::CacheKeepsNew => (b"new", b"old"),
            SyncFailure::CacheShowsOld => (b"old", b"old"),
            SyncFailure::StillDirty => (b"new", b"new"),
        };
        assert_eq!((&*visible, &*durable), expected, "{how:?}");
        assert_eq!(now(&disk).effect_count(), 0);
    }
}

#[test]
fn failed_sync_of_one_directory_spares_the_names_of_another() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/from")).unwrap();
    disk.create_dir(p("/to")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    put_durably(&disk, "/from/f", b"x");
    put(&disk, "/to/other", b"y");
    disk.rename(p("/from/f"), p("/to/f")).unwrap();
    let fault = Fault::Sync(Errno::Eio, SyncFailure::CacheShowsOld);
    disk.fail(FaultRule::nth(OpKind::SyncDir, 0, fault));
    assert!(disk.sync_dir(p("/from")).is_err());
    assert_eq!(
        disk.files(),
        [p("/from/f"), p("/to/other")],
        "the rename is undone, whole"
    );
}

#[test]
fn visible_file_lives_on_when_no_crash_can_keep_it() {
    let disk = SimFs::new(1);
    let other = put_durably(&disk, "/other", b"");
    drop(put(&disk, "/a", b"x"));
    disk.fail(FaultRule::nth(OpKind::SyncDir, 0, Fault::Error(Errno::Eio)));
    assert!(disk.sync_dir(p("/")).is_err());
    for i in 0..100 {
        other.write_at(b"y", i).unwrap();
    }
    assert_eq!(read(&disk, "/a").unwrap(), b"x");
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[None]));
}

#[test]
fn full_disk_cuts_writes_short_then_refuses_then_recovers() {
    let disk = SimFs::new(1);
    let a = put(&disk, "/a", b"12345");
    disk.set_capacity(Some(8));
    assert_eq!(a.write_at(b"678910", 5).unwrap(), 3);
    let full = |result: std::io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(full(a.write_at(b"9", 8)), ErrorKind::StorageFull);
    assert_eq!(a.set_len(9).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(
        a.write_at(b"x", 0).unwrap(),
        1,
        "what is there can be written over"
    );
    let b = disk.create_new(p("/b")).unwrap();
    assert_eq!(full(b.write_at(b"1", 0)), ErrorKind::StorageFull);
    a.set_len(6).unwrap();
    assert_eq!(b.write_at(b"123", 0).unwrap(), 2);
    disk.set_capacity(Some(9));
    assert_eq!(b.write_at(b"345", 2).unwrap(), 1);
    assert_eq!(disk.used_bytes(), 9);
    disk.remove(p("/a")).unwrap();
    assert_eq!(
        full(b.write_at(b"4", 3)),
        ErrorKind::StorageFull,
        "it is still open"
    );
    drop(a);
    assert_eq!(b.write_at(b"456789ab", 3).unwrap(), 6);
    disk.set_capacity(None);
    assert_eq!(b.write_at(&[0; 100], 9).unwrap(), 100);
}
