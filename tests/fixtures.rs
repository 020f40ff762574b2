//! Can we still open what we once wrote? Golden logs of every shape, added to and never edited.

use cairnlog::{
    Cipher, Compression, FarSegment, FarSegments, Key, KeyId, Keys, Log, Options, format::names,
    vfs::sim::SimFs,
};
use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

fn fixtures(version: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version);
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

/// The fixture's files on a simulated disk, so that opening may write.
fn load(dir: &Path, at: &Path, disk: &SimFs) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let to = at.join(path.file_name().unwrap());
        if path.is_dir() {
            load(&path, &to, disk);
        } else {
            assert!(
                disk.write_file(&to, &fs::read(&path).unwrap()),
                "{}",
                to.display()
            );
        }
    }
}

/// Whether the log of a fixture is sealed, and what it is packed with: its name says so.
fn is_stored(fixture: &Path) -> (bool, Option<Compression>) {
    match fixture.file_name().and_then(|name| name.to_str()) {
        Some("packed" | "packed_appends") => (false, Some(Compression::Lz4)),
        Some("packed_zstd") => (false, Some(Compression::Zstd)),
        Some("sealed") => (true, Some(Compression::Lz4)),
        Some("sealed_zstd") => (true, Some(Compression::Zstd)),
        _ => (false, None),
    }
}

/// The segments of a fixture that live elsewhere: beside its log.
#[derive(Debug)]
struct Beside(PathBuf);

impl Beside {
    fn open(&self, segment: &FarSegment) -> io::Result<fs::File> {
        fs::File::open(self.0.join(names::segment(segment.id)))
    }
}

impl FarSegments for Beside {
    fn len(&self, segment: &FarSegment) -> io::Result<u64> {
        Ok(self.open(segment)?.metadata()?.len())
    }

    fn read_at(&self, segment: &FarSegment, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.open(segment)?.read_at(buf, offset)
    }
}

/// How the log of a fixture is opened: with the key that the sealed ones have, and what lives elsewhere.
fn options(fixture: &Path, disk: &SimFs) -> Options {
    let far = Arc::new(Beside(fixture.join("far")));
    let options = Log::options().vfs(Arc::new(disk.clone())).far_segments(far);
    match is_stored(fixture).0 {
        true => options.keys(Keys::new(KeyId(7), Key::new([7; 32]))),
        false => options,
    }
}

fn shown(fixture: &Path, disk: &SimFs) -> String {
    let options = options(fixture, disk).background(false);
    let log = match options.open("log") {
        Ok(log) => log,
        Err(error) => return format!("refused: {error}\n"),
    };
    let mut out = format!(
        "{} head {} next {}\n",
        log.recovery().verdict,
        log.head_seq(),
        log.next_seq()
    );
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let part = |bytes: Option<&[u8]>| bytes.map_or("-".into(), |bytes| format!("x{}", hex(bytes)));
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let producer = record.producer().map_or("-".into(), |by| {
            format!("{}/{}/{}", by.id, by.epoch, by.number)
        });
        let (key, value) = (part(record.key()), part(record.value()));
        let (seq, time) = (record.seq(), record.timestamp_ms());
        out += &format!("{seq} {time} {key} {value} {producer}\n");
    }
    for record in log.scan(..).unwrap() {
        if let Some(mut value) = log.large_of(&record.unwrap()).unwrap() {
            let mut bytes = Vec::new();
            value.read_to_end(&mut bytes).unwrap();
            out += &format!("large {} {}\n", value.seq(), part(Some(&bytes)));
        }
    }
    for cursor in log.cursors().unwrap() {
        out += &format!("cursor {} {}\n", cursor.name, cursor.seq);
    }
    for mark in log.marks() {
        out += &format!("mark {} {}\n", mark.name, part(Some(&mark.value)));
    }
    out
}

#[test]
fn every_log_of_version_1_opens_as_it_did_when_it_was_written() {
    let found = fixtures("v1");
    assert!(
        found.len() >= 24,
        "{} fixtures: none is ever taken away",
        found.len()
    );
    for fixture in found {
        let (sealed, codec) = is_stored(&fixture);
        let is_built = |codec: Compression| codec.is_built();
        if !codec.is_none_or(is_built) || sealed && !Cipher::Aes256GcmSiv.is_built() {
            continue;
        }
        let disk = SimFs::new(1);
        load(&fixture.join("log"), Path::new("log"), &disk);
        let expected = fs::read_to_string(fixture.join("expected.txt")).unwrap();
        assert_eq!(shown(&fixture, &disk), expected, "{}", fixture.display());
        if expected.starts_with("refused") {
            continue;
        }
        // And once more: what opening wrote is a log that opens cleanly, with the same records.
        let again = shown(&fixture, &disk);
        let records = |text: &str| text.split_once('\n').unwrap().1.to_owned();
        assert_eq!(records(&again), records(&expected), "{}", fixture.display());
        assert!(again.starts_with("clean"), "{}: {again}", fixture.display());
        // Every byte of it is read, and none is called wrong.
        let report = options(&fixture, &disk).verify("log").unwrap();
        assert_eq!(report.findings, [], "{}", fixture.display());
    }
}

/// A program that was built without the codec goes on with a log that was packed as it was appended: it counts, carries
/// and appends, and says of what it cannot read by which codec it is packed.
#[cfg(not(feature = "lz4"))]
#[test]
fn what_a_program_without_the_codec_makes_of_packed_appends() {
    let fixture = fixtures("v1")
        .into_iter()
        .find(|path| path.ends_with("packed_appends"))
        .unwrap();
    let disk = SimFs::new(1);
    load(&fixture.join("log"), Path::new("log"), &disk);
    let expected = fs::read_to_string(fixture.join("expected.txt")).unwrap();
    let log = options(&fixture, &disk)
        .background(false)
        .open("log")
        .unwrap();
    let head = format!("{} head 0 next {}", log.recovery().verdict, log.next_seq());
    assert_eq!(expected.lines().next(), Some(&*head));
    let error = log.get(0).unwrap_err();
    assert_eq!(error.kind(), cairnlog::ErrorKind::Unsupported);
    assert!(error.to_string().contains("lz4"), "{error}");
    assert_eq!(&*log.get(40).unwrap().unwrap(), b"not packed");
    let seq = log.append("behind").unwrap();
    log.close().unwrap();
    let log = options(&fixture, &disk)
        .background(false)
        .open("log")
        .unwrap();
    assert_eq!(&*log.get(seq).unwrap().unwrap(), b"behind");
    let report = options(&fixture, &disk).verify("log").unwrap();
    assert_eq!(
        (report.health(), report.record_count),
        (cairnlog::Health::Clean, seq + 1)
    );
    let refused = options(&fixture, &disk)
        .pack_appends(Compression::Lz4)
        .open("log");
    assert_eq!(
        refused.unwrap_err().kind(),
        cairnlog::ErrorKind::Unsupported
    );
}

#[test]
fn a_log_of_a_later_version_or_with_unknown_features_is_refused_by_name() {
    for (offset, value, sentence) in [
        (8u64, 9u8, "unknown format version 9"),
        (12, 4, "unknown required features 0x00000004"),
    ] {
        let disk = SimFs::new(1);
        let fixture = fixtures("v1")
            .into_iter()
            .find(|path| path.ends_with("kinds"))
            .unwrap();
        load(&fixture.join("log"), Path::new("log"), &disk);
        let mut manifest = disk.read_file(Path::new("log/MANIFEST")).unwrap();
        manifest[usize::try_from(offset).unwrap()] = value;
        let crc = cairnlog::format::crc32c(0x4d41_4e49, &manifest[..140]);
        manifest[140..144].copy_from_slice(&crc.to_le_bytes());
        disk.write_file(Path::new("log/MANIFEST"), &manifest);
        let error = Log::options().vfs(Arc::new(disk)).open("log").unwrap_err();
        assert_eq!(error.kind(), cairnlog::ErrorKind::Unsupported);
        assert!(error.to_string().contains(sentence), "{error}");
    }
}
