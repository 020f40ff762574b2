//! What does the tool do with a log of which a newer version wrote a part? It ends with 4, says which
//! part, leads nobody to `repair`, and changes nothing.

mod common;

use cairnlog::format::crc32c;
use common::Scratch;
use std::{collections::BTreeMap, fs, path::Path};

/// All files of a log but the lock's.
fn contents(log: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(log)
        .expect("a log")
        .map(|entry| entry.expect("an entry"));
    let files = files.filter(|entry| entry.file_name() != "LOCK" && entry.path().is_file());
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).expect("readable"))
    };
    files.map(read).collect()
}

/// Sets a bit of a structure at the start of a file that nobody knows, under a checksum that holds.
fn set_unknown(path: &Path, at: usize, seed: u32, checksum_at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] |= 0x80;
    let crc = crc32c(seed, &bytes[..checksum_at]);
    bytes[checksum_at..checksum_at + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("written");
}

#[test]
fn the_tool_ends_with_4_and_changes_nothing() {
    for (file, at, seed, checksum_at) in [
        ("MANIFEST", 12, 0x4d41_4e49, 140),
        ("MANIFEST", 8, 0x4d41_4e49, 140),
        ("MANIFEST", 16, 0x4d41_4e49, 140), // Only a writer has to know it.
        ("00000000000000000001.seg", 12, 0x4845_4144, 124),
        ("WATERMARK", 12, 0x574d_524b, 52),
    ] {
        let scratch = Scratch::new();
        scratch.run_with(&["append", "log"], "a\nb\nc\n").ok();
        let log = scratch.path.join("log");
        set_unknown(&log.join(file), at, seed, checksum_at);
        let before = contents(&log);
        for args in [
            &["verify", "log"][..],
            &["plan", "log"],
            &["append", "log"],
            &["retain", "log", "--seq", "2"],
            &["trim", "log", "1"],
            &["rewind", "log", "1"],
            &["compact", "log"],
            &["repair", "log"],
            &["repair", "log", "--apply", "--accept-loss"],
            &["salvage", "log", "rescued"],
            &["backup", "log", "copy"],
            &["consume", "log", "mailer", "--max", "1"],
        ] {
            let output = scratch.command(args).output().expect("it ran");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                output.status.code(),
                Some(4),
                "{file} {at}: {args:?}: {told}"
            );
            assert!(
                told.contains("newer") && !told.contains("cairn repair"),
                "{args:?}: {told}"
            );
            assert_eq!(contents(&log), before, "{file} {at}: {args:?}");
        }
        assert!(!scratch.path.join("rescued").exists(), "{file} {at}");
        // Reading goes as far as it can.
        let readable = file == "WATERMARK" || at == 16;
        let output = scratch.command(&["cat", "log"]).output().expect("it ran");
        assert_eq!(
            output.status.code(),
            Some(if readable { 0 } else { 4 }),
            "{file} {at}"
        );
        assert_eq!(
            output.stdout,
            if readable { &b"a\nb\nc\n"[..] } else { b"" },
            "{file} {at}"
        );
    }
}
