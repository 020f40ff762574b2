//! Power cuts, kills, determinism, and the enumeration of states.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, LockAttempt, Vfs,
    sim::{Choice, Fate, Fault, FaultRule, OpKind, SimFs, Tear},
};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    time::{Duration, Instant},
};

/// A small log: appends with syncs, a manifest replaced by rename.
fn workload(disk: &SimFs) {
    disk.create_dir(p("/log")).unwrap();
    let salt = disk.random().to_le_bytes();
    let segment = put(disk, "/log/1.seg", &salt);
    for i in 0..20_u64 {
        segment.write_at(&[i as u8; 700], 8 + i * 700).unwrap();
        if i % 4 == 3 {
            segment.sync().unwrap();
        }
    }
    let time = disk.unix_time_ms().to_string();
    put(disk, "/log/M.tmp", time.as_bytes()).sync().unwrap();
    disk.rename(p("/log/M.tmp"), p("/log/M")).unwrap();
    disk.sync_dir(p("/log")).unwrap();
    disk.list(p("/log")).unwrap();
}

#[test]
fn same_seed_and_calls_give_the_same_everything() {
    let (a, b, c) = (SimFs::new(7), SimFs::new(7), SimFs::new(8));
    for disk in [&a, &b, &c] {
        workload(disk);
    }
    assert_eq!(a.trace_hash(), b.trace_hash());
    assert_eq!(a.trace(), b.trace());
    assert_ne!(a.trace_hash(), c.trace_hash(), "the salt differs");
    assert_eq!(
        (a.random(), a.unix_time_ms()),
        (b.random(), b.unix_time_ms())
    );
    let (cut_a, cut_b) = (a.crash_at(14), b.crash_at(14));
    for seed in 0..50 {
        let (after_a, after_b) = (cut_a.random(seed), cut_b.random(seed));
        assert_eq!(cut_a.choose(seed), cut_b.choose(seed));
        assert_eq!(read(&after_a, "/log/1.seg"), read(&after_b, "/log/1.seg"));
        assert_eq!(after_a.random(), after_b.random());
    }
    let mine = a.trace_hash();
    a.forget_history();
    assert_eq!(a.trace_hash(), mine);
}

#[test]
fn trace_hash_sees_written_bytes_and_outcomes() {
    let (a, b) = (SimFs::new(7), SimFs::new(7));
    put(&a, "/a", b"x");
    put(&b, "/a", b"y");
    assert_ne!(a.trace_hash(), b.trace_hash());
    let (a, b) = (SimFs::new(7), SimFs::new(7));
    b.fail(FaultRule::nth(OpKind::Read, 0, Fault::Short(1)));
    for disk in [&a, &b] {
        put(disk, "/a", b"xyz").read_at(&mut [0; 3], 0).unwrap();
    }
    assert_ne!(a.trace_hash(), b.trace_hash(), "nor a short read");
}

#[test]
fn trace_tells_the_order_of_operations() {
    let disk = SimFs::new(1);
    workload(&disk);
    let trace = disk.trace();
    let at = |kind| trace.iter().rposition(|event| event.kind == kind).unwrap();
    assert!(at(OpKind::Sync) < at(OpKind::Rename));
    assert!(at(OpKind::Rename) < at(OpKind::SyncDir));
    let rename = trace[at(OpKind::Rename)].to_string();
    assert_eq!(rename, "#31    rename     /log/M.tmp to /log/M");
    assert_eq!(trace.last().unwrap().op, None, "a list has no number");
    let ops: Vec<_> = trace.iter().filter_map(|event| event.op).collect();
    assert_eq!(ops, (0..disk.op_count()).collect::<Vec<_>>());
    let _ = disk.open(p("/none"), Access::Read);
    let last = disk.trace().last().unwrap().to_string();
    assert_eq!(last, "       open       /none: failed, entity not found");
}

#[test]
fn clock_moves_only_by_calls_and_sleep() {
    let disk = SimFs::new(1);
    let (start, start_ms) = (disk.monotonic(), disk.unix_time_ms());
    disk.sleep(Duration::from_secs(2));
    disk.advance(Duration::from_secs(3));
    let passed = disk.monotonic() - start;
    assert!(passed >= Duration::from_secs(5) && passed < Duration::from_millis(5001));
    assert!((5000..5002).contains(&(disk.unix_time_ms() - start_ms)));
    assert!(
        disk.monotonic() < disk.monotonic(),
        "or waiting for it would never end"
    );
    let disk = disk.kill();
    assert!(
        disk.monotonic() >= Duration::from_secs(5),
        "the machine has not stopped"
    );
    let rebooted = disk.reboot(1);
    assert!(
        rebooted.unix_time_ms() > start_ms + 5000,
        "the wall clock goes on"
    );
    assert!(
        rebooted.monotonic() < Duration::from_secs(1),
        "the other one does not"
    );
}

#[test]
fn nothing_works_without_power_and_the_lock_is_free_after() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"x");
    let lock = disk.try_lock(p("/")).unwrap();
    let (ops, trace) = (disk.op_count(), disk.trace_hash());
    disk.power_cut();
    let error = file.write_at(b"y", 0).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Other, "power is off")
    );
    assert!(file.read_at(&mut [0], 0).is_err() && file.sync().is_err() && file.len().is_err());
    assert!(disk.open(p("/a"), Access::Read).is_err() && disk.list(p("/")).is_err());
    assert_eq!((disk.op_count(), disk.trace_hash()), (ops, trace));
    let after = disk.reboot(3);
    assert!(matches!(
        after.try_lock(p("/")).unwrap(),
        LockAttempt::Held(_)
    ));
    assert_eq!(read(&after, "/a").unwrap(), b"x");
    assert_eq!((after.op_count(), after.trace().len()), (1, 1));
    assert!(
        file.read_at(&mut [0], 0).is_err(),
        "handles of the old machine stay dead"
    );
    drop(lock);
}

#[test]
fn kill_loses_nothing_but_leaves_it_pending() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"1");
    let held = disk.try_lock(p("/")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    file.write_at(b"2", 1).unwrap();
    let next = disk.kill();
    assert_eq!(read(&next, "/a").unwrap(), b"12", "the page cache survives");
    let error = file.write_at(b"3", 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(disk.list(p("/")).is_err());
    assert!(matches!(
        next.try_lock(p("/")).unwrap(),
        LockAttempt::Held(_)
    ));
    drop(held);
    assert_eq!(
        next.crash_at(0).effect_count(),
        2,
        "bytes and size are still unsynced"
    );
    assert!(outcomes(&now(&next), "/a").contains(&Some(b"1".to_vec())));
    next.open(p("/a"), Access::ReadWrite)
        .unwrap()
        .sync()
        .unwrap();
    assert_eq!(
        outcomes(&now(&next), "/a"),
        set(&[Some(b"12")]),
        "any handle syncs the file"
    );
}

#[test]
fn crash_state_is_a_disk_of_its_own_and_can_crash_again() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"1");
    let once = now(&disk).random(1);
    assert_eq!((once.op_count(), now(&once).effect_count()), (0, 0));
    let other = now(&disk).state(&Choice::kept(9));
    assert_ne!(
        once.random(),
        other.random(),
        "nor is there one seed for all"
    );
    let file = once.open(p("/a"), Access::ReadWrite).unwrap();
    file.write_at(b"2", 0).unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"1", "no state changes another");
    let twice = now(&once).state(&Choice::lost());
    assert_eq!(read(&twice, "/a").unwrap(), b"1");
    let fresh = twice.open(p("/a"), Access::ReadWrite).unwrap();
    fresh.write_at(b"3", 0).unwrap();
    fresh.sync().unwrap();
    assert_eq!(outcomes(&now(&twice), "/a"), set(&[Some(b"3")]));
}

#[test]
fn all_is_exhaustive_when_it_fits_and_a_sample_when_not() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", &[0; 12]);
    for i in 0..12 {
        file.write_at(&[1], i).unwrap();
    }
    let cut = now(&disk);
    assert_eq!(cut.effect_count(), 12);
    let subsets: BTreeSet<_> = cut.all(4096).map(|(_, after)| read(&after, "/a")).collect();
    assert_eq!(subsets.len(), 4096);
    let more: Vec<_> = cut.all(10_000).map(|(choice, _)| choice).collect();
    assert_eq!(more.len(), 4096 + 12 * 6 * 2, "and every tear");

    let sample: Vec<_> = cut.all(500).map(|(choice, _)| choice).collect();
    assert_eq!(sample.len(), 500);
    let all = || Choice::kept(12);
    for choice in [Choice::lost(), all(), Choice::kept(5)] {
        assert!(sample.contains(&choice), "{choice}");
    }
    for i in 0..12 {
        assert!(sample.contains(&all().with(i, Fate::Lost)));
        assert!(sample.contains(&Choice::lost().with(i, Fate::Kept)));
        for j in 0..i {
            assert!(sample.contains(&all().with(j, Fate::Lost).with(i, Fate::Lost)));
        }
        assert!(sample.contains(&all().with(i, Fate::Torn(Tear::Zeroed))) || i > 9);
    }
    assert_eq!(
        cut.all(500).map(|(choice, _)| choice).collect::<Vec<_>>(),
        sample
    );
}

#[test]
fn choice_is_described_effect_by_effect() {
    let disk = SimFs::new(1);
    put(&disk, "/a", b"xyz");
    let cut = now(&disk);
    let choice = Choice::kept(3).with(0, Fate::Torn(Tear::Prefix(1)));
    let text =
        "torn at 1      write /a 0+3\nkept           size /a 0 to 3\nkept           link /a\n";
    assert_eq!(cut.describe(&choice), text);
    assert_eq!(choice.to_string(), "torn at 1, kept, kept");
    assert_eq!(read(&cut.state(&choice), "/a").unwrap(), b"x\0\0");
}

#[test]
fn forgotten_history_cannot_be_crashed_into() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"1");
    disk.forget_history();
    let here = disk.op_count();
    assert_eq!((disk.first_op(), disk.trace().len()), (here, 0));
    file.write_at(b"2", 0).unwrap();
    assert_eq!(disk.crash_at(0).op(), here);
    assert_eq!(disk.op_count(), here + 1, "numbers go on");
    assert!(outcomes(&disk.crash_at(here), "/a").contains(&Some(b"2".to_vec())));
}

#[test]
fn states_are_cheap() {
    let disk = SimFs::new(1);
    workload(&disk);
    put_durably(&disk, "/log/big", &[7; 64 * 1024]);
    let start = Instant::now();
    let mut count = 0;
    for op in 0..disk.op_count() {
        for (_, after) in disk.crash_at(op).all(256) {
            count += usize::from(after.op_count() == 0);
        }
    }
    assert!(count > 2000, "{count}");
    // Ordinary speed is a hundred times this; the bound only catches copying by the file.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}
