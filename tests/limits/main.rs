//! Does anything grow without end, or break where the machine ends? Descriptors, mappings, sizes of
//! files that somebody else made, numbers as large as they can be.

mod backwards;
mod descriptors;
mod hostile;
mod many;
mod one_full;
mod options;
mod restarts;
mod unreadable;

use cairnlog::{AppendOptions, Durability, Log, Options};
use std::path::Path;

/// The smallest segments, and nothing done behind the test's back.
fn options() -> Options {
    Log::options().segment_bytes(512).background(false)
}

/// A log of so many sealed segments, each with one record: its own number, padded.
fn segments(log: &Log, count: u64) {
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..count {
        let value = format!("{number:0300}");
        let records = [cairnlog::NewRecord::value(value.as_bytes())];
        log.append_records(&records, &how).unwrap();
    }
    log.rotate().unwrap();
    log.sync().unwrap();
}

fn path_of(dir: &Path) -> std::path::PathBuf {
    dir.join("log")
}
