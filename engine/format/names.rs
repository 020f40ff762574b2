//! Names on disk, derived from numbers: no path is ever read from a file.
//!
//! A segment is named by its id alone and not by its base seq as well: the file of the next segment
//! exists, durably, before its base is known, and renaming it then would put a directory sync into
//! an append's way.

use super::NUMBER_MAX;
use crate::types::SegmentId;

/// The manifest.
pub const MANIFEST: &str = "MANIFEST";
/// The manifest being written.
pub const MANIFEST_NEW: &str = "MANIFEST.new";
/// What is written over where there is no room for a new manifest.
pub const MANIFEST_ALT: &str = "MANIFEST.alt";
/// The lock file.
pub const LOCK: &str = "LOCK";
/// Room kept for a full disk.
pub const RESERVE: &str = "RESERVE";
/// What the writer tells readers in other processes.
pub const WATERMARK: &str = "WATERMARK";
/// The mark of a backup: of one that is being made, without a manifest beside it, or of one that nobody has opened.
pub const BACKUP: &str = "BACKUP";
/// The mark being written.
pub const BACKUP_NEW: &str = "BACKUP.new";
/// What the log remembers of its producers.
pub const PRODUCERS: &str = "PRODUCERS";
/// The producers being written.
pub const PRODUCERS_NEW: &str = "PRODUCERS.new";
/// What is written over where there is no room for new producers.
pub const PRODUCERS_ALT: &str = "PRODUCERS.alt";
/// The producers of a backup's manifest to come.
pub const PRODUCERS_NEXT: &str = "PRODUCERS.next";
/// The directory of the bytes that recovery or repair cut.
pub const QUARANTINE: &str = "quarantine";
/// The directory of the cursor files.
pub const CURSORS: &str = "cursors";

/// The name of a segment's file: its id in 20 decimal digits and `.seg`.
#[must_use]
pub fn segment(id: SegmentId) -> String {
    format!("{:020}.seg", id.0)
}

/// The name of a segment's file that is no segment any more, and will be the file of another.
#[must_use]
pub fn segment_new(id: SegmentId) -> String {
    format!("{:020}.new", id.0)
}

/// The name of a cursor's file in its directory: its id in 20 decimal digits and `.cur`.
#[must_use]
pub fn cursor(id: u64) -> String {
    format!("{id:020}.cur")
}

/// The name of a cursor's file that is being written.
#[must_use]
pub fn cursor_new(id: u64) -> String {
    format!("{id:020}.new")
}

/// The name of what is written over where there is no room for a new file of a cursor.
#[must_use]
pub fn cursor_alt(id: u64) -> String {
    format!("{id:020}.alt")
}

/// The name of a cursor's file for a backup's manifest to come.
#[must_use]
pub fn cursor_next(id: u64) -> String {
    format!("{id:020}.next")
}

/// The id in a cursor file's name, if it is one in exactly our form.
#[must_use]
pub fn parse_cursor(name: &str) -> Option<u64> {
    parse(name, ".cur")
}

/// The id in the name of a cursor's file that is being written.
#[must_use]
pub fn parse_cursor_new(name: &str) -> Option<u64> {
    parse(name, ".new")
}

/// The id in the name of a cursor's file for a backup's manifest to come.
#[must_use]
pub fn parse_cursor_next(name: &str) -> Option<u64> {
    parse(name, ".next")
}

/// The id in the name of what is written over for a cursor.
#[must_use]
pub fn parse_cursor_alt(name: &str) -> Option<u64> {
    parse(name, ".alt")
}

/// The id in a segment file's name, if it is one in exactly our form.
#[must_use]
pub fn parse_segment(name: &str) -> Option<SegmentId> {
    parse(name, ".seg").map(SegmentId)
}

/// The id in the name of a segment's file that is none any more.
#[must_use]
pub fn parse_segment_new(name: &str) -> Option<SegmentId> {
    parse(name, ".new").map(SegmentId)
}

fn parse(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let id: u64 = if all_digits {
        digits.parse().ok()?
    } else {
        return None;
    };
    // Any other number is nobody's: the file is left alone.
    (1..=NUMBER_MAX).contains(&id).then_some(id)
}
