//! Full disks of real file systems, each in an image of its own: whatever makes room works there, and is
//! told as done. The simulated disk knows bytes; these know blocks, inodes, copies on writing and freeing
//! in the background.
//!
//! Needs root, loop devices and the `mkfs` of each; without one of them it says so and tries the others.

use cairnlog::{
    AppendOptions, CompactOptions, ConsumerOptions, Durability, ErrorKind, Log, NewRecord, Options,
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Set for the child that is killed with the log open.
const CHILD: &str = "CAIRN_FULL_DISK_CHILD";

struct Mounted {
    dir: PathBuf,
    _home: tempfile::TempDir,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.dir).status();
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}", said.trim()))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// A fresh file system, small as it can be.
fn mount(make: &[&str], mib: u64) -> Result<Mounted, String> {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (image, dir) = (home.path().join("image"), home.path().join("disk"));
    fs::create_dir(&dir).map_err(|error| error.to_string())?;
    let (image, at) = (image.to_string_lossy().into_owned(), dir.to_string_lossy());
    match make {
        [] => run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mib}m"), "none", &at],
        )?,
        [mkfs, args @ ..] => {
            run("truncate", &["-s", &format!("{mib}M"), &image])?;
            run(mkfs, &[args, &[&*image]].concat())?;
            run("mount", &["-o", "loop", &image, &at])?;
        }
    }
    Ok(Mounted { dir, _home: home })
}

/// Takes whatever is free.
fn fill(disk: &Path, nth: usize) {
    let path = disk.join(format!("filler-{nth}"));
    let Ok(mut file) = fs::File::create(&path) else {
        return; // Not even a name is left.
    };
    for bytes in [1 << 20, 64 << 10, 4 << 10, 512, 1] {
        let piece = vec![b'f'; bytes];
        while file.write_all(&piece).is_ok() {}
    }
    let _ = file.sync_all();
}

fn options() -> Options {
    Options::new().segment_bytes(16 << 10)
}

/// Some thirteen segments, a cursor that holds them all, keys that come again.
fn write_log(dir: &Path) -> Log {
    let log = options().open(dir).unwrap();
    let holds = ConsumerOptions::new().holds(true);
    drop(log.consumer_with("slow", &holds).unwrap());
    let value = [b'v'; 50];
    let how = AppendOptions::new().durability(Durability::Written);
    for i in 0..3000 {
        let key = format!("key {}", i % 50);
        log.append_records(&[NewRecord::keyed(key.as_bytes(), &value)], &how)
            .unwrap();
    }
    log.sync().unwrap();
    log
}

/// The child: leaves a log behind as a killed process does, its last records written and not synced.
#[test]
fn writes_and_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let log = write_log(Path::new(&dir));
    let how = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value(b"not synced")], &how)
        .unwrap();
    std::process::abort();
}

fn killed_log(dir: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_and_is_killed"])
        .env(CHILD, dir)
        .output()
        .unwrap();
    assert!(!status.status.success(), "it was to be killed");
}

/// Everything that makes room, again and again, while others take what becomes free: but for the ballast
/// where nothing is written in place, which is needed there.
fn makes_room(name: &str, disk: &Path, log_dir: &Path) {
    let mut fillers = 0;
    let mut again = || {
        fillers += 1;
        if fillers == 1 || name != "btrfs" {
            fill(disk, fillers);
        }
    };
    again();
    let open = || {
        let opened = options().create(false).open(log_dir);
        opened.unwrap_or_else(|error| panic!("{name}: opening: {error}"))
    };
    let done = |what: &str, result: cairnlog::Result<()>| {
        result.unwrap_or_else(|error| panic!("{name}: {what}: {error}"));
    };
    for round in 1..=4 {
        let log = open();
        again();
        done("trim", log.trim(round * 5));
        done("close", log.close());
        again();
    }
    let log = open();
    let consumer = log.consumer("slow");
    let consumer = consumer.unwrap_or_else(|error| panic!("{name}: consumer: {error}"));
    for seq in [600, 1200, 1500] {
        done("ack", consumer.ack(seq));
    }
    drop(consumer);
    done("sync", log.sync().map(drop));
    done("trim of half", log.trim(1500));
    done("close", log.close());
    drop(log);
    let log = open();
    assert_eq!(log.head_seq(), 1500, "{name}");
    let end = log.next_seq();
    done("rewind", log.rewind(end - 1));
    let how = CompactOptions::new().rate_bytes_per_s(None);
    match log.compact(&how) {
        // The rewind has used the ballast. What the trim dropped is free some time later there, and may be
        // too little to create a file: then it is told so.
        Err(error) if name == "xfs" && error.kind() == ErrorKind::NoSpace => {
            println!("{name}: no room to compact: {error}");
        }
        compacted => done("compact", compacted.map(drop)),
    }
    // Now there is room for records, too.
    done("append", log.append("on and on").map(drop));
    let last = log.scan(..).unwrap().last().unwrap().unwrap();
    assert_eq!(&*last, b"on and on", "{name}");
    done("close", log.close());
}

/// An append that finds no room is told so, and the next works once there is some.
fn append_is_refused(name: &str, disk: &Path, log_dir: &Path) {
    fill(disk, 1000);
    let log = options().open(log_dir).unwrap();
    let refused = (0..10_000).find_map(|_| log.append(vec![b'r'; 4000]).err());
    let error = refused.unwrap_or_else(|| panic!("{name}: never full"));
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{name}: {error}");
    let closed = log.close();
    closed.unwrap_or_else(|error| panic!("{name}: closing: {error}"));
}

#[test]
fn makes_room_on_full_disks_of_every_kind() {
    let kinds: [(&str, &[&str], u64); 5] = [
        (
            "ext4, blocks of 4 KiB",
            &["mkfs.ext4", "-q", "-F", "-m", "0"],
            24,
        ),
        (
            "ext4, blocks of 1 KiB",
            &["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024"],
            24,
        ),
        ("xfs", &["mkfs.xfs", "-q", "-f"], 300),
        ("btrfs", &["mkfs.btrfs", "-q", "-f"], 320),
        ("tmpfs", &[], 8),
    ];
    for (name, make, mib) in kinds {
        let mounted = match mount(make, mib) {
            Ok(mounted) => mounted,
            Err(why) => {
                println!("{name}: skipped, {why}");
                continue;
            }
        };
        for killed in [false, true] {
            let started = std::time::Instant::now();
            let (disk, log) = (&mounted.dir, mounted.dir.join("log"));
            if killed {
                killed_log(&log);
            } else {
                write_log(&log).close().unwrap();
            }
            makes_room(name, disk, &log);
            append_is_refused(name, disk, &log);
            println!("{name}, killed {killed}: {:?}", started.elapsed());
            for entry in fs::read_dir(disk).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => fs::remove_dir_all(&path).ok(),
                    false => fs::remove_file(&path).ok(),
                };
            }
            let _ = run("sync", &["-f", &disk.to_string_lossy()]);
        }
    }
}
