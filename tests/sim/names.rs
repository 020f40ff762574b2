//! Directories: error kinds, renames, and names that were not synced.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, LockAttempt, Vfs,
    sim::{Choice, EffectKind, Fate, SimFs, Tear},
};
use std::{collections::BTreeSet, io::ErrorKind};

#[test]
fn error_kinds_are_those_of_a_real_file_system() {
    let disk = SimFs::new(1);
    assert!(disk.create_dir(p("/d")).unwrap());
    assert!(!disk.create_dir(p("d")).unwrap());
    put(&disk, "/d/f", b"");
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let open = |path, access| kind(disk.open(p(path), access).map(drop));
    assert_eq!(
        kind(disk.create_new(p("/d/f")).map(drop)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(disk.create_new(p("/x/f")).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.create_new(p("/d/f/g")).map(drop)),
        ErrorKind::NotADirectory
    );
    assert_eq!(open("/none", Access::Read), ErrorKind::NotFound);
    assert_eq!(open("/d", Access::Read), ErrorKind::InvalidInput);
    assert_eq!(open("/d", Access::ReadWrite), ErrorKind::IsADirectory);
    assert_eq!(
        kind(disk.create_dir(p("/d/f")).map(drop)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(disk.create_dir(p("/x/y")).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(disk.remove(p("/none"))), ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(p("/d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.rename(p("/none"), p("/x"))), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.rename(p("/d/f"), p("/d"))),
        ErrorKind::DirectoryNotEmpty
    );
    assert_eq!(
        kind(disk.rename(p("/d"), p("/d/f"))),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(disk.rename(p("/d"), p("/d/g"))),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(disk.list(p("/d/f")).map(drop)),
        ErrorKind::NotADirectory
    );
    assert_eq!(kind(disk.sync_dir(p("/none"))), ErrorKind::NotFound);
}

#[test]
fn list_shows_names_sizes_and_kinds() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    disk.create_dir(p("/d/sub")).unwrap();
    put(&disk, "/d/f", b"abc");
    let mut found: Vec<_> = disk.list(p("/d/../d/.")).unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = found
        .iter()
        .map(|entry| (entry.name.as_str(), entry.size_bytes, entry.is_file))
        .collect();
    assert_eq!(found, [("f", 3, true), ("sub", 0, false)]);
}

#[test]
fn rename_leaves_the_old_or_the_new_file_and_never_neither() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/m", b"old");
    put_durably(&disk, "/m.tmp", b"new");
    disk.rename(p("/m.tmp"), p("/m")).unwrap();
    let cut = now(&disk);
    assert_eq!(cut.effects()[0].to_string(), "rename /m.tmp to /m");
    let both = |disk: SimFs| (read(&disk, "/m").unwrap(), read(&disk, "/m.tmp"));
    let found: BTreeSet<_> = cut.all(100).map(|(_, disk)| both(disk)).collect();
    let (old, new) = (b"old".to_vec(), b"new".to_vec());
    let expected = [
        (old, Some(new.clone())),
        (new.clone(), None),
        (new.clone(), Some(new)),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/m"), set(&[Some(b"new")]));
    assert_eq!(outcomes(&now(&disk), "/m.tmp"), set(&[None]));
}

#[test]
fn rename_of_an_unsynced_file_leaves_an_empty_or_zero_file_in_some_state() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/m", b"old");
    put(&disk, "/m.tmp", b"new");
    disk.rename(p("/m.tmp"), p("/m")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    let found = outcomes(&now(&disk), "/m");
    assert!(found.is_superset(&set(&[Some(b""), Some(b"\0\0\0"), Some(b"new")])));
    assert!(!found.contains(&None) && !found.contains(&Some(b"old".to_vec())));
}

#[test]
fn renames_between_directories_are_never_neither() {
    for sync_first in ["/from", "/to"] {
        let disk = SimFs::new(1);
        for dir in ["/from", "/to"] {
            disk.create_dir(p(dir)).unwrap();
        }
        disk.sync_dir(p("/")).unwrap();
        put_durably(&disk, "/from/f", b"x");
        disk.rename(p("/from/f"), p("/to/f")).unwrap();
        disk.sync_dir(p(sync_first)).unwrap();
        let names = |disk: &SimFs| (read(disk, "/from/f"), read(disk, "/to/f"));
        for (choice, after) in now(&disk).all(100) {
            assert_ne!(names(&after), (None, None), "{sync_first}, {choice}");
            assert!(names(&after).1.is_some(), "a synced target stays");
        }
        disk.sync_dir(p("/from")).unwrap();
        disk.sync_dir(p("/to")).unwrap();
        for (_, after) in now(&disk).all(100) {
            assert_eq!(names(&after), (None, Some(b"x".to_vec())));
        }
    }
}

#[test]
fn durable_rename_is_not_undone_by_what_it_replaced() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/from")).unwrap();
    disk.create_dir(p("/to")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    put_durably(&disk, "/from/f", b"new");
    put(&disk, "/to/f", b"old").sync().unwrap();
    disk.rename(p("/from/f"), p("/to/f")).unwrap();
    disk.sync_dir(p("/from")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/to/f"), set(&[Some(b"new")]));
}

#[test]
fn unsynced_names_are_lost_independently() {
    let disk = SimFs::new(1);
    for name in ["/a", "/b", "/c"] {
        disk.create_new(p(name)).unwrap();
    }
    let found: BTreeSet<_> = now(&disk).all(8).map(|(_, after)| after.files()).collect();
    assert_eq!(found.len(), 8);
}

#[test]
fn unsynced_removal_may_be_undone_and_a_synced_one_may_not() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"x");
    disk.remove(p("/a")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[None, Some(b"x")]));
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[None]));
}

#[test]
fn name_used_again_may_be_either_file_or_none() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"1");
    disk.remove(p("/a")).unwrap();
    put(&disk, "/a", b"2").sync().unwrap();
    let found = outcomes(&now(&disk), "/a");
    assert_eq!(found, set(&[None, Some(b"1"), Some(b"2")]));
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"2")]));
}

#[test]
fn directory_without_a_durable_name_takes_everything_with_it() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    put_durably(&disk, "/d/f", b"x");
    assert_eq!(outcomes(&now(&disk), "/d/f"), set(&[None, Some(b"x")]));
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(outcomes(&now(&disk), "/d/f"), set(&[Some(b"x")]));
}

#[test]
fn moved_directory_keeps_its_files_and_exactly_one_name() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    put_durably(&disk, "/d/f", b"x");
    disk.sync_dir(p("/")).unwrap();
    disk.rename(p("/d"), p("/e")).unwrap();
    for (choice, after) in now(&disk).all(100) {
        assert_eq!(after.files().len(), 1, "{choice}");
    }
    let torn = Choice::lost().with(0, Fate::Torn(Tear::Zeroed));
    assert_eq!(now(&disk).state(&torn).files(), [p("/e/f")]);
}

#[test]
fn removed_file_works_on_through_its_handle_and_does_not_count_as_pending() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"abc");
    disk.remove(p("/a")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    for i in 0..200 {
        file.write_at(b"d", 3 + i).unwrap();
    }
    let mut buf = [0; 4];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 4);
    assert_eq!(&buf, b"abcd");
    file.sync().unwrap();
    file.write_at(b"e", 0).unwrap();
    assert_eq!(now(&disk).effect_count(), 0, "no crash can bring it back");
}

#[test]
fn lock_is_exclusive_until_dropped_and_leaves_its_file() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    let held = match disk.try_lock(p("/d")).unwrap() {
        LockAttempt::Held(held) => held,
        LockAttempt::Busy(_) => panic!("nobody else is there"),
    };
    assert!(disk.files().contains(&p("/d/LOCK").to_path_buf()));
    let other = disk.clone();
    assert!(matches!(
        other.try_lock(p("/d")).unwrap(),
        LockAttempt::Busy(Some(_))
    ));
    assert!(matches!(
        other.try_lock(p("/")).unwrap(),
        LockAttempt::Held(_)
    ));
    drop(held);
    assert!(matches!(
        other.try_lock(p("/d")).unwrap(),
        LockAttempt::Held(_)
    ));
    let kinds: Vec<_> = now(&disk)
        .effects()
        .iter()
        .map(|effect| effect.kind)
        .collect();
    assert_eq!(
        kinds,
        [EffectKind::Link; 3],
        "the directory and two lock files"
    );
}

#[test]
fn is_a_link_a_second_name_that_has_to_be_synced() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"old");
    disk.hard_link(p("/a"), p("/b")).unwrap();
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(disk.hard_link(p("/a"), p("/b"))),
        ErrorKind::AlreadyExists
    );
    assert_eq!(kind(disk.hard_link(p("/x"), p("/c"))), ErrorKind::NotFound);
    let states: BTreeSet<bool> = disk
        .crash_at(u64::MAX)
        .all(16)
        .map(|(_, after)| {
            assert_eq!(after.read_file(p("/a")).as_deref(), Some(&b"old"[..]));
            after.read_file(p("/b")).is_some()
        })
        .collect();
    assert_eq!(states, BTreeSet::from([false, true]));
    disk.sync_dir(p("/")).unwrap();
    disk.remove(p("/a")).unwrap();
    let file = disk.open(p("/b"), Access::ReadWrite).unwrap();
    assert_eq!(file.write_at(b"new", 0).unwrap(), 3);
    assert_eq!(disk.read_file(p("/b")).as_deref(), Some(&b"new"[..]));
}
