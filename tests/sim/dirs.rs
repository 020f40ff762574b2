//! Directories that are held, links, and descriptors that run out.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, RealFs, Vfs, VfsDir,
    sim::{EffectKind, OpKind, SimFs},
};
use std::{io::ErrorKind, path::Path, sync::Arc};

fn hold(fs: &dyn Vfs, path: &Path) -> Arc<dyn VfsDir> {
    fs.open_dir(path).unwrap().expect("it can be held")
}

/// What a held directory promises, of any file system.
fn stays_itself(fs: &dyn Vfs, top: &Path) {
    let (path, aside) = (top.join("dir"), top.join("aside"));
    fs.create_dir(&path).unwrap();
    let dir = hold(fs, &path);
    dir.create_new("a").unwrap().write_at(b"ours", 0).unwrap();
    assert!(dir.create_dir("inner").unwrap());
    assert!(!dir.create_dir("inner").unwrap());
    let inner = dir.open_dir("inner").unwrap();
    fs.rename(&path, &aside).unwrap();
    fs.create_dir(&path).unwrap();
    fs.create_new(&path.join("b")).unwrap();

    let mut names: Vec<String> = dir.list().unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    assert_eq!(names, ["a", "inner"]);
    inner.create_new("deep").unwrap();
    dir.create_new("c").unwrap();
    dir.rename("c", "d").unwrap();
    dir.sync().unwrap();
    dir.sync_name().unwrap();
    assert_eq!(
        dir.create_new("d").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        dir.open("none", Access::Read).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(dir.open("inner", Access::Read).is_err(), "no regular file");
    assert_eq!(
        dir.open_dir("a").unwrap_err().kind(),
        ErrorKind::NotADirectory
    );
    assert!(dir.exchange("a", "d").unwrap());
    let mut bytes = [0; 4];
    let ours = dir.open("d", Access::Read).unwrap();
    assert_eq!(ours.read_at(&mut bytes, 0).unwrap(), 4);
    assert_eq!(&bytes, b"ours");
    assert_eq!(
        dir.exchange("a", "none").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    dir.hard_link("d", &*inner).unwrap();
    dir.copy("d", &*hold(fs, &path)).unwrap();
    dir.remove("d").unwrap();
    assert!(inner.open("d", Access::Read).is_ok());

    let at = |dir: &Path, name: &str| fs.open(&dir.join(name), Access::Read).is_ok();
    assert!(at(&aside, "a") && at(&aside, "inner/deep") && !at(&aside, "d"));
    assert!(at(&path, "b") && at(&path, "d") && !at(&path, "a"));
    assert!(matches!(
        dir.try_lock().unwrap(),
        cairnlog::vfs::LockAttempt::Held(_)
    ));
}

#[test]
fn is_a_held_directory_the_same_one_whatever_its_path_means() {
    stays_itself(&SimFs::new(1), p("/"));
    let top = tempfile::tempdir().unwrap();
    stays_itself(&RealFs::default(), top.path());
}

#[test]
fn do_the_lock_of_a_path_and_that_of_a_held_directory_exclude_each_other() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    let dir = hold(&disk, p("/d"));
    let guard = dir.try_lock().unwrap();
    assert!(matches!(
        disk.try_lock(p("/d")).unwrap(),
        cairnlog::vfs::LockAttempt::Busy(Some(_))
    ));
    drop(guard);
    assert!(matches!(
        disk.try_lock(p("/d")).unwrap(),
        cairnlog::vfs::LockAttempt::Held(_)
    ));
}

#[test]
fn does_a_link_lead_to_a_directory_and_to_no_file() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/one")).unwrap();
    disk.create_dir(p("/two")).unwrap();
    assert!(disk.symlink(p("/link"), p("one")));
    put(&disk, "/link/f", b"in one");
    assert_eq!(read(&disk, "/one/f").as_deref(), Some(&b"in one"[..]));
    let held = hold(&disk, p("/link"));
    assert!(disk.symlink(p("/link"), p("/two")));
    assert_eq!(disk.list(p("/link")).unwrap(), []);
    assert_eq!(held.list().unwrap().len(), 1);
    assert_eq!(
        read(&disk, "/link/../one/f").as_deref(),
        Some(&b"in one"[..])
    );

    assert!(disk.symlink(p("/one/g"), p("f")));
    assert!(held.open("g", Access::Read).is_err());
    assert!(held.open_dir("g").is_err());
    let entries = disk.list(p("/one")).unwrap();
    assert!(entries.iter().any(|it| it.name == "g" && !it.is_file));
    assert!(disk.symlink(p("/round"), p("/round")));
    assert!(disk.list(p("/round")).is_err());
    // No link takes the place of something else.
    assert!(!disk.symlink(p("/one/f"), p("/two")));
}

#[test]
fn are_two_names_exchanged_at_one_stroke() {
    let disk = SimFs::new(1);
    disk.create_dir(p("/d")).unwrap();
    disk.sync_dir(p("/")).unwrap();
    put_durably(&disk, "/d/a", b"old");
    put_durably(&disk, "/d/b", b"new");
    hold(&disk, p("/d")).exchange("a", "b").unwrap();
    let cut = now(&disk);
    assert_eq!(cut.effects()[0].kind, EffectKind::Exchange);
    assert_eq!(outcomes(&cut, "/d/a"), set(&[Some(b"old"), Some(b"new")]));
    for (_, after) in cut.all(100) {
        let both = [read(&after, "/d/a"), read(&after, "/d/b")];
        assert!(both.contains(&Some(b"old".to_vec())) && both.contains(&Some(b"new".to_vec())));
    }
    hold(&disk, p("/d")).sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/d/b"), set(&[Some(b"old")]));
}

#[test]
fn are_descriptors_refused_once_they_run_out() {
    let disk = SimFs::new(1);
    let file = put(&disk, "/a", b"");
    disk.set_descriptors_max(Some(2));
    let root = hold(&disk, p("/"));
    let errno = |error: std::io::Error| error.raw_os_error();
    let emfile = Some(libc_emfile());
    assert_eq!(errno(root.open("a", Access::Read).unwrap_err()), emfile);
    assert_eq!(errno(root.create_new("b").unwrap_err()), emfile);
    assert_eq!(errno(root.list().unwrap_err()), emfile);
    assert_eq!(errno(root.try_lock().unwrap_err()), emfile);
    assert_eq!(errno(root.sync_name().unwrap_err()), emfile);
    assert_eq!(errno(disk.sync_dir(p("/")).unwrap_err()), emfile);
    // What is held needs none.
    root.sync().unwrap();
    root.rename("a", "c").unwrap();
    assert_eq!(disk.descriptor_count(), 2);
    drop(file);
    root.open("c", Access::Read).unwrap();
    assert!(disk.trace().iter().any(|it| it.kind == OpKind::OpenDir));
}

fn libc_emfile() -> i32 {
    use cairnlog::vfs::sim::Errno;
    Errno::Emfile.error().raw_os_error().unwrap()
}

/// Who holds a directory opens those in it by name: a link would lead out of it.
#[test]
fn is_a_link_to_a_directory_no_directory_in_the_one_that_is_held() {
    let top = tempfile::tempdir().unwrap();
    std::fs::create_dir(top.path().join("outside")).unwrap();
    std::fs::create_dir(top.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("../outside", top.path().join("dir/link")).unwrap();
    let dir = hold(&RealFs::default(), &top.path().join("dir"));
    assert!(dir.open_dir("link").is_err());
    assert!(dir.open("link", Access::Read).is_err());
    assert!(!dir.create_dir("link").unwrap(), "the name is taken");
}
