//! Marks: small named values, kept in the manifest behind its list of segments. Layout: `format.md`, "Marks".

use super::{check_crc, checksum};
use super::{cursor::is_name, u16_at, u32_at};
use crate::error::Defect;

/// The size of what stands before the entries, in bytes.
pub const MARKS_HEAD_BYTES: usize = 8;
/// The size of an entry without its name and its value, in bytes.
pub const MARK_BYTES: usize = 8;
/// The most bytes that the marks of a log take together, as stored: every commit writes them.
pub const MARKS_BYTES_MAX: usize = 1 << 16;
/// The most bytes of a value.
pub const MARK_VALUE_BYTES_MAX: usize = 4096;
const SEED: u32 = 0x4d41_524b;
const MALFORMED: Defect = Defect::Malformed("manifest: marks");

/// A small value under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// Its name, UTF-8 without control characters, 1 to 255 bytes.
    pub name: String,
    /// What was set, 0 to 4,096 bytes.
    pub value: Vec<u8>,
}

impl Mark {
    /// A mark with this name and value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let (name, value) = (name.into(), value.into());
        Self { name, value }
    }

    /// What the mark of this name is set to, if there is one.
    pub(crate) fn value_of(marks: &[Self], name: &str) -> Option<Vec<u8>> {
        let mark = marks.iter().find(|mark| mark.name == name);
        mark.map(|mark| mark.value.clone())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = MARK_BYTES + self.name.len() + self.value.len();
        out.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
        for part in [self.name.len(), self.value.len()] {
            out.extend_from_slice(&u16::try_from(part).unwrap_or(u16::MAX).to_le_bytes());
        }
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&self.value);
    }

    /// The entry that `bytes` begin with, and what is behind it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let size = usize::try_from(u32_at(bytes, 0)).ok()?;
        let (entry, rest) = bytes.split_at_checked(size)?;
        let (name_bytes, value_bytes) = (u16_at(entry, 4).into(), u16_at(entry, 6).into());
        let (name, value) = entry.get(MARK_BYTES..)?.split_at_checked(name_bytes)?;
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| is_name(name))?;
        let value = value.get(..value_bytes)?;
        let fits = value_bytes <= MARK_VALUE_BYTES_MAX;
        fits.then(|| (Self::new(name, value), rest))
    }
}

/// The size of these marks as stored, in bytes.
#[must_use]
pub fn marks_bytes(marks: &[Mark]) -> usize {
    let entries = marks
        .iter()
        .map(|mark| MARK_BYTES + mark.name.len() + mark.value.len());
    MARKS_HEAD_BYTES + entries.sum::<usize>()
}

/// The marks as they stand behind the sealed segments, in the order of their names as bytes.
#[must_use]
pub fn encode_marks(marks: &[Mark]) -> Vec<u8> {
    let bytes = marks_bytes(marks);
    debug_assert!(bytes <= MARKS_BYTES_MAX, "limit not checked");
    let entries_bytes = u32::try_from(bytes - MARKS_HEAD_BYTES).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(&[0; 4]); // the checksum, once all else is there
    out.extend_from_slice(&entries_bytes.to_le_bytes());
    marks.iter().for_each(|mark| mark.encode(&mut out));
    let crc = checksum::crc32c(SEED, out.get(4..).unwrap_or_default());
    if let Some(slot) = out.first_chunk_mut() {
        *slot = crc.to_le_bytes();
    }
    out
}

/// Reads the marks of a manifest: these are all the bytes behind its sealed segments.
///
/// # Errors
/// The first [`Defect`] found: names that do not rise are one, and no marks at all.
pub fn decode_marks(bytes: &[u8]) -> Result<Vec<Mark>, Defect> {
    let needed_bytes = MARKS_HEAD_BYTES as u64 + u64::from(u32_at(bytes, 4));
    let available_bytes = bytes.len() as u64;
    if available_bytes != needed_bytes || bytes.len() > MARKS_BYTES_MAX {
        return Err(Defect::Truncated {
            needed_bytes,
            available_bytes,
        });
    }
    check_crc(bytes.get(4..).unwrap_or_default(), SEED, u32_at(bytes, 0))?;
    let mut rest = bytes.get(MARKS_HEAD_BYTES..).unwrap_or_default();
    let mut marks: Vec<Mark> = Vec::new();
    while !rest.is_empty() {
        let (mark, behind) = Mark::read(rest).ok_or(MALFORMED)?;
        if marks.last().is_some_and(|last| last.name >= mark.name) {
            return Err(MALFORMED);
        }
        marks.push(mark);
        rest = behind;
    }
    if marks.is_empty() {
        Err(MALFORMED)
    } else {
        Ok(marks)
    }
}
