//! Damage planted from outside, and copies of a disk.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{Access, Vfs, sim::SimFs};

#[test]
fn written_file_is_durable_with_its_directories() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    assert!(disk.write_file(p("/d/e/f"), b"x"));
    assert!(
        !disk.write_file(p("/d/e/f/g"), b"x"),
        "a file is in the way"
    );
    assert!(
        !disk.write_file(p("/d/e"), b"x"),
        "a directory is in the way"
    );
    assert_eq!(outcomes(&now(&disk), "/d/e/f"), set(&[Some(b"x")]));
    assert_eq!(disk.files(), [p("/d/e/f")]);
    assert!(disk.write_file(p("relative"), b"y"));
    assert_eq!(read(&disk, "/relative").unwrap(), b"y");
}

#[test]
fn written_over_file_forgets_what_was_pending_and_keeps_its_handles() {
    let disk = SimFs::new(1);
    let file = put(&disk, "/a", b"pending");
    disk.write_file(p("/a"), b"now");
    assert_eq!(file.len().unwrap(), 3);
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"now")]));
    assert_eq!(now(&disk).effect_count(), 0);
    file.write_at(b"N", 0).unwrap();
    assert_eq!(
        outcomes(&disk.crash_at(0), "/a").len(),
        4,
        "now, Now, zero and noise"
    );
}

#[test]
fn flipped_bit_is_seen_and_durable() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"abc");
    assert!(disk.flip_bit(p("/a"), 1, 0));
    assert!(!disk.flip_bit(p("/a"), 3, 0) && !disk.flip_bit(p("/b"), 0, 0));
    assert_eq!(read(&disk, "/a").unwrap(), b"acc");
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"acc")]));
}

#[test]
fn removed_file_is_gone_in_every_state() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"abc");
    assert!(disk.remove_file(p("/a")));
    assert!(!disk.remove_file(p("/a")));
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[None]));
}

#[test]
fn snapshot_is_durable_and_independent() {
    let disk = SimFs::new(1);
    let file = put(&disk, "/a", b"live");
    let copy = disk.snapshot();
    assert_eq!(outcomes(&now(&copy), "/a"), set(&[Some(b"live")]));
    copy.flip_bit(p("/a"), 0, 0);
    file.write_at(b"L", 0).unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"Live");
    assert_eq!(read(&copy, "/a").unwrap(), b"mive");
    let theirs = copy.open(p("/a"), Access::ReadWrite).unwrap();
    theirs.write_at(b"!", 4).unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"Live");
    assert!(
        now(&disk).effect_count() > 0,
        "the original is as uncertain as before"
    );
}
