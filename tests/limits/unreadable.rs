//! A page of a mapped segment that could not be read ended the process with SIGBUS. A file that is cut under its
//! mapping stands for the disk: the system treats both alike.

use cairnlog::{AppendOptions, Durability, ErrorKind, Log, NewRecord, ReadMode, Record};
use std::{env, fs::File, os::unix::process::ExitStatusExt, process::Command};

const DIR: &str = "CAIRN_UNREADABLE_DIR";
const RECORDS: u64 = 4000;
/// Where what cannot be read begins: about this record.
const CUT_BYTES: u64 = 2 << 20;

/// The child: not a test of its own.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let options = Log::options().read_mode(ReadMode::Mapped).background(false);
    let log = options.open(&dir).unwrap();
    // It is open, and its beginning was read.
    assert_eq!(log.get(7).unwrap().unwrap().seq(), 7);
    let segment = log.segments().unwrap()[0];
    let name = cairnlog::format::names::segment(segment.id);
    let path = std::path::Path::new(&dir).join(name);
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(CUT_BYTES).unwrap();
    // By number: each is there, or an error.
    let mut readable = 0;
    for seq in 0..RECORDS {
        match log.get(seq) {
            Ok(record) => assert_eq!(record.unwrap().seq(), seq),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{error}"),
        }
        readable += u64::from(log.get(seq).is_ok());
    }
    assert!(readable > RECORDS / 4 && readable < RECORDS, "{readable}");
    // In order: up to somewhere before the cut, and then an error with its place.
    let shown = |scan: &mut dyn Iterator<Item = cairnlog::Result<Record>>| {
        let mut count = 0;
        loop {
            match scan.next().expect("an error before the end") {
                Ok(_) => count += 1,
                Err(error) => break (count, error),
            }
        }
    };
    let (count, error) = shown(&mut log.scan(..).unwrap());
    assert!(count > 0 && count <= readable, "{count} of {readable}");
    assert_eq!(
        (error.kind(), error.place().segment),
        (ErrorKind::Io, Some(segment.id))
    );
    let (count, error) = shown(&mut log.scan(..).unwrap().rev());
    assert_eq!((count, error.kind()), (0, ErrorKind::Io));
    println!("\nerrors only");
}

#[test]
#[cfg(target_os = "linux")]
fn is_a_page_that_cannot_be_read_an_error_and_no_signal() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let how = AppendOptions::new().durability(Durability::Buffered);
    for _ in 0..RECORDS {
        log.append_records(&[NewRecord::value(&[7; 1000])], &how)
            .unwrap();
    }
    log.rotate().unwrap();
    log.close().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "unreadable::child", "--nocapture"])
        .env(DIR, dir.path().join("log"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), None, "{text}");
    assert!(
        text.contains("\nerrors only"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
