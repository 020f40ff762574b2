//! Files and names of an earlier day, put back.

use crate::{now, p, put, put_durably, read};
use cairnlog::vfs::{Vfs, sim::SimFs};

#[test]
fn every_state_of_a_file_is_known_and_can_be_put_back() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    let file = put_durably(&disk, "/d/a", b"one");
    let mut seen = vec![None, Some(b"".to_vec()), Some(b"one".to_vec())];
    for i in 0..50 {
        file.write_at(&[b'0' + i % 10], 1).unwrap();
        file.sync().unwrap();
        seen.push(read(&disk, "/d/a"));
    }
    disk.rename(p("/d/a"), p("/d/b")).unwrap();
    seen.push(None);
    put(&disk, "/d/a", b"");
    seen.push(Some(Vec::new()));
    let versions = disk.versions(p("/d/a"));
    let found: Vec<_> = versions
        .iter()
        .map(|op| disk.file_at(*op, p("/d/a")))
        .collect();
    assert_eq!(found, seen);
    for (op, bytes) in versions.iter().zip(&seen) {
        let older = disk.put_back(&[(p("/d/a"), *op)]);
        assert_eq!(&read(&older, "/d/a"), bytes);
        assert_eq!(read(&older, "/d/b"), read(&disk, "/d/b"));
        assert_eq!(now(&older).effect_count(), 0, "durably");
        assert_eq!(now(&older).all(9).count(), 1);
    }
    assert_eq!(read(&disk, "/d/a").unwrap(), b"", "here all is as it was");
}

#[test]
fn names_and_directories_are_put_back_alone_and_together() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    put_durably(&disk, "/d/kept", b"k");
    put_durably(&disk, "/d/gone", b"g");
    put_durably(&disk, "/m", b"old");
    let then = disk.op_count();
    disk.remove(p("/d/gone")).unwrap();
    put_durably(&disk, "/d/new", b"n");
    put_durably(&disk, "/t", b"new");
    disk.rename(p("/t"), p("/m")).unwrap();
    assert_eq!(disk.files_at(then), ["/d/gone", "/d/kept", "/m"].map(p));
    let older = disk.put_back(&[(p("/d/gone"), then)]);
    assert_eq!(older.files(), ["/d/gone", "/d/kept", "/d/new", "/m"].map(p));
    let older = disk.put_back(&[(p("/d"), then), (p("/m"), then)]);
    assert_eq!(older.files(), ["/d/gone", "/d/kept", "/m"].map(p));
    assert_eq!(read(&older, "/m").unwrap(), b"old");
    assert_eq!(
        disk.versions(p("/d")).len(),
        8,
        "each change of a name or of bytes, and the first"
    );
}

#[test]
fn what_was_not_there_is_taken_away_and_nothing_else() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"a");
    let then = disk.op_count();
    disk.create_dir(p("/d")).unwrap();
    put_durably(&disk, "/d/b", b"b");
    for (path, left) in [
        ("/none/x", &["/a", "/d/b"][..]),
        ("/d/b", &["/a"]),
        ("/d", &["/a"]),
        ("/", &["/a"]),
    ] {
        let older = disk.put_back(&[(p(path), then)]);
        assert_eq!(
            older.files(),
            left.iter().map(|path| p(path)).collect::<Vec<_>>(),
            "{path}"
        );
        let is_there = older.list(p("/d")).is_ok();
        assert_eq!(is_there, !matches!(path, "/d" | "/"), "{path}");
    }
    assert!(disk.put_back(&[(p("/"), 0)]).files().is_empty());
}

#[test]
fn a_link_is_put_back_as_a_link() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"a");
    assert!(disk.symlink(p("/l"), p("/d")));
    disk.create_dir(p("/d")).unwrap();
    put_durably(&disk, "/d/b", b"b");
    let then = disk.op_count();
    disk.remove(p("/a")).unwrap();
    let older = disk.put_back(&[(p("/"), then)]);
    assert_eq!(older.files(), [p("/a"), p("/d/b")]);
    older.sync_dir(p("/l")).expect("it leads to a directory");
    assert!(older.hard_link(p("/a"), p("/l/c")).is_ok());
    assert_eq!(read(&older, "/d/c").unwrap(), b"a");
}
