//! Room: blocks, quotas, copies on writing, what is freed late or taken by others, and what lies in
//! space that was never written.

use crate::{now, outcomes, p, put, put_durably, read};
use cairnlog::vfs::{
    Vfs,
    sim::{Choice, EffectKind, Fate, SimFs, Space},
};
use std::io::{self, ErrorKind};

fn blocks() -> Space {
    Space::new().block_bytes(100)
}

fn disk(space: Space) -> SimFs {
    let disk = SimFs::new(1);
    disk.set_space(space);
    disk
}

/// Leaves room for so many bytes.
fn leave(disk: &SimFs, bytes: u64) {
    disk.set_capacity(Some(disk.used_bytes() + bytes));
}

fn is_full<T>(result: io::Result<T>) -> bool {
    let kind = result.map(drop).map_err(|error| error.kind());
    kind == Err(ErrorKind::StorageFull)
}

#[test]
fn files_take_whole_blocks_and_files_directories_and_names_take_room() {
    let disk = disk(blocks());
    assert_eq!(disk.used_bytes(), 100, "the root");
    let file = put(&disk, "/a", b"");
    assert_eq!(disk.used_bytes(), 300, "and its names, and a file");
    file.write_at(b"x", 0).unwrap();
    assert_eq!(disk.used_bytes(), 400);
    file.write_at(&[1; 99], 1).unwrap();
    assert_eq!(disk.used_bytes(), 400);
    file.set_len(101).unwrap();
    assert_eq!(disk.used_bytes(), 500);
    disk.create_dir(p("/d")).unwrap();
    assert_eq!(disk.used_bytes(), 600);
    disk.set_capacity(Some(650));
    assert!(is_full(disk.create_new(p("/b"))));
    assert!(is_full(disk.create_dir(p("/b"))));
    assert!(is_full(file.set_len(201)));
    assert_eq!(
        file.write_at(&[2; 300], 150).unwrap(),
        50,
        "as far as the block"
    );
    assert!(is_full(file.write_at(b"x", 200)));
    disk.hard_link(p("/a"), p("/b"))
        .expect("there is room in the directory's block");
    let long = format!("/{}", "n".repeat(60));
    assert!(
        is_full(disk.rename(p("/b"), p(&long))),
        "the new name comes first"
    );
    assert!(is_full(disk.hard_link(p("/b"), p(&long))));
    disk.rename(p("/b"), p("/a")).unwrap();
    disk.set_capacity(Some(700));
    disk.rename(p("/a"), p(&long)).unwrap();
    assert_eq!(
        disk.files(),
        [p(&long), p("/b")]
            .iter()
            .rev()
            .copied()
            .collect::<Vec<_>>()
    );
}

#[test]
fn who_goes_beyond_a_quota_is_told_so() {
    let disk = disk(Space::new().quota(true));
    let file = put(&disk, "/a", b"123");
    leave(&disk, 1);
    assert_eq!(file.write_at(b"45", 3).unwrap(), 1);
    let told = [file.write_at(b"5", 4).map(drop), file.set_len(9)];
    for error in told.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    }
}

#[test]
fn writing_over_and_renaming_need_room_where_nothing_is_written_in_place() {
    let disk = disk(blocks().copy_on_write(true));
    let file = put_durably(&disk, "/a", &[1; 250]);
    file.sync().unwrap();
    leave(&disk, 199);
    assert_eq!(
        file.write_at(&[2; 150], 50).unwrap(),
        50,
        "up to the end of one block"
    );
    assert_eq!(
        file.write_at(b"again", 0).unwrap(),
        5,
        "it is copied already"
    );
    assert!(is_full(file.write_at(b"x", 100)));
    assert!(is_full(disk.rename(p("/a"), p("/b"))));
    file.sync().unwrap();
    assert_eq!(
        file.write_at(b"x", 100).unwrap(),
        1,
        "the old block is free"
    );
    file.sync().unwrap();
    disk.rename(p("/a"), p("/b")).unwrap();
    assert!(
        is_full(file.write_at(b"x", 0)),
        "the directory's copy takes it"
    );
    disk.rename(p("/b"), p("/c")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    leave(&disk, 0);
    assert!(is_full(disk.rename(p("/c"), p("/d"))));
    drop(file);
    disk.remove(p("/c")).expect("removing is never refused");
}

#[test]
fn what_is_removed_or_cut_off_counts_until_it_is_durable() {
    let disk = disk(Space::new().frees_late(true));
    let file = put_durably(&disk, "/a", &[1; 50]);
    drop(put_durably(&disk, "/b", &[1; 30]));
    assert_eq!(disk.used_bytes(), 80);
    file.set_len(10).unwrap();
    assert_eq!(disk.used_bytes(), 80);
    file.sync().unwrap();
    assert_eq!(disk.used_bytes(), 40);
    disk.remove(p("/b")).unwrap();
    assert_eq!(disk.used_bytes(), 40);
    let rebooted = now(&disk).state(&Choice::kept(1));
    assert_eq!(rebooted.used_bytes(), 10);
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(disk.used_bytes(), 10);
}

#[test]
fn others_take_what_is_freed() {
    let disk = disk(Space::new().others_take_freed(true));
    let (a, b) = (
        put_durably(&disk, "/a", &[1; 50]),
        put_durably(&disk, "/b", &[1; 5]),
    );
    disk.set_capacity(Some(60));
    disk.remove(p("/a")).unwrap();
    assert_eq!(disk.capacity(), Some(60), "it is still open");
    drop(a);
    assert_eq!((disk.used_bytes(), disk.capacity()), (5, Some(10)));
    b.set_len(3).unwrap();
    assert_eq!(b.write_at(&[2; 9], 3).unwrap(), 5);
    assert_eq!(disk.kill().capacity(), Some(8));
}

#[test]
fn the_same_calls_are_refused_at_the_same_places() {
    let space = blocks()
        .copy_on_write(true)
        .frees_late(true)
        .others_take_freed(true);
    let run = || {
        let disk = disk(space);
        disk.set_capacity(Some(2_000));
        for i in 0..40_u64 {
            let path = format!("/{}", i % 7);
            let Ok(file) = disk.create_new(p(&path)) else {
                let _ = disk.remove(p(&path));
                continue;
            };
            let _ = file.write_at(&[1; 300], i * 10);
            let _ = file.sync();
            let _ = disk.rename(p(&path), p(&format!("/{}", i % 3)));
        }
        (disk.trace_hash(), disk.used_bytes(), disk.capacity())
    };
    let (hash, used, capacity) = run();
    assert_eq!(run(), (hash, used, capacity));
    assert!(
        used <= capacity.unwrap() && capacity < Some(2_000),
        "{used} {capacity:?}"
    );
}

#[test]
fn space_that_was_never_written_holds_what_former_files_left() {
    let disk = disk(Space::new().stale(true));
    drop(put_durably(&disk, "/old", b"0123456789"));
    disk.remove(p("/old")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    let file = put_durably(&disk, "/a", b"ab");
    file.set_len(6).unwrap();
    file.write_at(b"xy", 6).unwrap();
    let cut = now(&disk);
    let kinds: Vec<_> = cut.effects().iter().map(|effect| effect.kind).collect();
    assert_eq!(
        kinds,
        [EffectKind::Size, EffectKind::Write, EffectKind::Size]
    );
    let after = |choice| read(&cut.state(&choice), "/a").unwrap();
    assert_eq!(after(Choice::kept(3)), b"ab2345xy");
    assert_eq!(after(Choice::kept(3).with(1, Fate::Lost)), b"ab234567");
    assert_eq!(after(Choice::kept(1)), b"ab2345");
    assert_eq!(after(Choice::lost()), b"ab");
    file.sync().unwrap();
    assert_eq!(
        outcomes(&now(&disk), "/a").into_iter().collect::<Vec<_>>(),
        [Some(b"ab\0\0\0\0xy".to_vec())],
        "what was synced is what was written"
    );
}

#[test]
fn stale_space_of_a_new_disk_is_noise_and_the_same_for_the_same_choice() {
    let disk = disk(Space::new().stale(true));
    let file = put_durably(&disk, "/a", b"");
    file.set_len(64).unwrap();
    let cut = now(&disk);
    let once = read(&cut.state(&Choice::kept(1)), "/a").unwrap();
    assert_eq!(
        Some(&once),
        read(&cut.state(&Choice::kept(1)), "/a").as_ref()
    );
    assert!(
        once.iter().filter(|byte| **byte == 0).count() < 8,
        "{once:?}"
    );
}
