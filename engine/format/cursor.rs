//! A cursor file: the named, durable read position of a consumer. Layout: `format.md`, "Cursor".

use super::{VERSION, at, check_preamble, check_version, checksum, fixed};
use super::{i64_at, u16_at, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, Seq},
};

/// The size of a cursor file without the name, in bytes.
pub const CURSOR_BYTES: usize = 72;
/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 255;
const MAGIC: [u8; 8] = *b"CAIRNCUR";
const SEED: u32 = 0x4355_5253;
const HOLDS: u32 = 1;

/// A cursor as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorFile {
    /// The log it belongs to.
    pub log_id: LogId,
    /// The number in the file's name.
    pub id: u64,
    /// The next seq that its consumer has not acknowledged.
    pub seq: Seq,
    /// Counts the moves.
    pub generation: u64,
    /// When it last moved, in milliseconds since 1970.
    pub updated_ms: i64,
    /// Whether retention keeps what it has not passed.
    pub holds: bool,
    /// Its name, UTF-8, 1 to 255 bytes.
    pub name: String,
}

impl CursorFile {
    /// The cursor as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        debug_assert!(
            (1..=NAME_BYTES_MAX).contains(&self.name.len()),
            "name limit not checked"
        );
        let name_bytes = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(CURSOR_BYTES + self.name.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&name_bytes.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes()); // required features
        out.extend_from_slice(&self.log_id.0);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.updated_ms.to_le_bytes());
        out.extend_from_slice(&(if self.holds { HOLDS } else { 0 }).to_le_bytes());
        let crc = checksum::crc32c(checksum::crc32c(SEED, &out), self.name.as_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// Reads a whole cursor file.
    ///
    /// # Errors
    /// The first [`Defect`] found.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let head: &[u8; CURSOR_BYTES] = fixed(file)?;
        check_preamble(head, MAGIC)?;
        let name = file.get(CURSOR_BYTES..).unwrap_or_default();
        let needed_bytes = u64::from(u16_at(head, 10));
        if name.len() as u64 != needed_bytes {
            let available_bytes = name.len() as u64;
            return Err(Defect::Truncated {
                needed_bytes,
                available_bytes,
            });
        }
        let stored = u32_at(head, 68);
        let computed = checksum::crc32c(checksum::crc32c(SEED, &at::<68>(head, 0)), name);
        if stored != computed {
            return Err(Defect::BadChecksum { stored, computed });
        }
        check_version(u16_at(head, 8), u32_at(head, 12))?;
        let name = std::str::from_utf8(name).map_err(|_| Defect::Malformed("cursor name"))?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Defect::Malformed("cursor name"));
        }
        Ok(Self {
            log_id: LogId(at(head, 16)),
            id: u64_at(head, 32),
            seq: u64_at(head, 40),
            generation: u64_at(head, 48),
            updated_ms: i64_at(head, 56),
            holds: u32_at(head, 64) & HOLDS != 0,
            name: name.to_owned(),
        })
    }
}
