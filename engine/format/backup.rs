//! The mark of a backup: of which log it is a copy, and that it is that still. Layout: `format.md`, "Backup".
//!
//! Lines of text, ended by a checksum. Who opens the log removes the file, so it is there as long as nobody did.

use super::{Owner, checksum::crc32c};
use crate::types::LogId;
use std::fmt::Write;

const HEAD: &str = "cairn-backup 1";
/// No mark is longer, in bytes.
const BYTES_MAX: u64 = 4096;

/// A manifest of the copy: its incarnation and generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) incarnation: u32,
    pub(crate) generation: u64,
}

/// What stands in the mark of a backup that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackupMark {
    /// Of which log it is a copy, and of which incarnation.
    pub(crate) of: Owner,
    /// The manifest that it had before the one for whose commit this was written.
    pub(crate) before: State,
    /// That one.
    pub(crate) now: State,
    /// Whether it ever shared a file with the log.
    pub(crate) shared: bool,
}

impl BackupMark {
    /// The mark as stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEAD}\nlog ");
        let mut add = |what: std::fmt::Arguments<'_>| {
            // Into memory: it does not fail.
            text.write_fmt(what).ok();
        };
        (self.of.log_id.0.iter()).for_each(|byte| add(format_args!("{byte:02x}")));
        add(format_args!(" {}\n", self.of.incarnation));
        for (name, state) in [("before", self.before), ("now", self.now)] {
            let State {
                incarnation,
                generation,
            } = state;
            add(format_args!("{name} {incarnation} {generation}\n"));
        }
        add(format_args!("shared {}\n", u8::from(self.shared)));
        let checksum = crc32c(0, text.as_bytes());
        text.push_str(&format!("end {checksum:08x}\n"));
        text.into_bytes()
    }

    /// How much of a file is looked at.
    pub(crate) fn stated_bytes(_head: &[u8]) -> u64 {
        BYTES_MAX
    }

    /// Reads a mark. `None` if this is none: also that of a backup which is being made, which is empty.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let body = text.get(..text.trim_end().rfind('\n')?.checked_add(1)?)?;
        let checksum = crc32c(0, body.as_bytes());
        if text.get(body.len()..)? != format!("end {checksum:08x}\n") {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut fields = |name: &str| -> Option<Vec<&str>> {
            let line = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
            Some(line.split(' ').collect())
        };
        let log = fields("log")?;
        let before = state(&fields("before")?)?;
        let now = state(&fields("now")?)?;
        let shared = *fields("shared")?.first()? == "1";
        let of = Owner {
            log_id: LogId(log_id(log.first()?)?),
            incarnation: log.get(1)?.parse().ok()?,
        };
        Some(Self {
            of,
            before,
            now,
            shared,
        })
    }
}

fn state(fields: &[&str]) -> Option<State> {
    Some(State {
        incarnation: fields.first()?.parse().ok()?,
        generation: fields.get(1)?.parse().ok()?,
    })
}

fn log_id(digits: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    if digits.len() != 2 * id.len() {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may fail"
    )]
    use super::*;

    /// Cut or changed anywhere it is none: what it says decides what is removed.
    #[test]
    fn is_a_mark_that_changed_none() {
        let state = |incarnation, generation| State {
            incarnation,
            generation,
        };
        let mark = BackupMark {
            of: Owner {
                log_id: LogId([0xa7; 16]),
                incarnation: u32::MAX,
            },
            before: state(0, 0),
            now: state(7, 1 << 60),
            shared: true,
        };
        let bytes = mark.encode();
        assert_eq!(BackupMark::decode(&bytes), Some(mark));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(BackupMark::decode(&changed), None, "byte {at}");
            assert_eq!(BackupMark::decode(&bytes[..at]), None, "cut at {at}");
        }
        let other = BackupMark {
            shared: false,
            ..mark
        };
        assert_eq!(BackupMark::decode(&other.encode()), Some(other));
    }

    #[test]
    fn is_the_example_of_the_page_a_mark() {
        let page = include_str!("../../format.md");
        let from = &page[page.find(&format!("{HEAD}\n")).unwrap()..];
        let example = &from[..from.find("```").unwrap()];
        let mark = BackupMark::decode(example.as_bytes()).unwrap();
        assert_eq!(mark.encode(), example.as_bytes());
        assert_eq!((mark.before, mark.shared), (State::default(), true));
    }
}
