//! A cursor file: the named, durable read position of a consumer. Layout: `format.md`, "Cursor".

use super::{NUMBER_MAX, Owner, VERSION, at, check_numbers, check_preamble, check_whole};
use super::{checksum, entry_bytes, fixed, i64_at, is_later, u16_at, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, Seq},
};
/// The size of a cursor file without the name and the pending records, in bytes.
pub const CURSOR_BYTES: usize = 88;
/// The size of the entry of one pending record in bytes.
pub const PENDING_BYTES: usize = 16;
/// The size of an entry where one of the pending records waits for its time, in bytes.
pub const WAITING_BYTES: usize = 24;
/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The most pending records.
pub const PENDING_MAX: usize = 4096;
/// The most bytes that a reader takes for a cursor, whatever the size of its entries.
const FILE_BYTES_MAX: u64 = 1 << 20;
const MAGIC: [u8; 8] = *b"CAIRNCUR";
const SEED: u32 = 0x4355_5253;
const HOLDS: u16 = 1;
const ACKED: u32 = 1;
const DONE_BY_MOVE: u32 = 2;
/// The highest number of a round.
pub const ROUND_MAX: u32 = (1 << 24) - 1;
const ROUND_SHIFT: u32 = 8;

/// A cursor as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorFile {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Which continuation of it; 0 if that is not stated.
    pub incarnation: u32,
    /// The number in the file's name.
    pub id: u64,
    /// The next seq that its consumer has not acknowledged.
    pub seq: Seq,
    /// Moves that ride on records below are accounted for; the last one on a record from here on wins.
    pub as_of_seq: Seq,
    /// Counts the moves.
    pub generation: u64,
    /// When it last moved, in milliseconds since 1970.
    pub updated_ms: i64,
    /// Whether retention keeps what it has not passed.
    pub holds: bool,
    /// Its name, UTF-8 without control characters, 1 to 255 bytes.
    pub name: String,
    /// What a queue has handed out, or knows to be done out of order; in the order of the seqs.
    pub pending: Vec<Pending>,
}

/// A record at or above the cursor's position that a queue has handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub seq: Seq,
    /// How often it was handed out.
    pub delivery_count: u32,
    /// Whether it is done.
    pub acked: bool,
    /// Whether it is done if a record from `as_of_seq` on has moved the cursor.
    pub done_by_move: bool,
    /// A number drawn when it was handed out first, at most [`ROUND_MAX`]; 0 if it is not stated. Once
    /// the cursor was set back the record has another.
    pub round: u32,
    /// Not before this time is it handed out again, in milliseconds since 1970; 0: at once.
    pub not_before_ms: i64,
}

/// Whether a cursor may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

impl CursorFile {
    /// The cursor as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        debug_assert!(is_name(&self.name), "name not checked");
        debug_assert!(self.pending.len() <= PENDING_MAX, "limit not checked");
        let name_bytes = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        let pending_count = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        let pending_bytes = Pending::entry_bytes(&self.pending);
        // 0 stands for the size of version 1.
        let stated = if pending_bytes == PENDING_BYTES {
            0
        } else {
            pending_bytes
        };
        let stated = u16::try_from(stated).unwrap_or(u16::MAX);
        let list_bytes = self.pending.len() * pending_bytes;
        let mut out = Vec::with_capacity(CURSOR_BYTES + self.name.len() + list_bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&name_bytes.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes()); // required features
        out.extend_from_slice(&self.log_id.0);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.as_of_seq.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.updated_ms.to_le_bytes());
        out.extend_from_slice(&(if self.holds { HOLDS } else { 0 }).to_le_bytes());
        out.extend_from_slice(&stated.to_le_bytes());
        out.extend_from_slice(&pending_count.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&[0; 4]); // the checksum, once all else is there
        out.extend_from_slice(self.name.as_bytes());
        for pending in &self.pending {
            pending.write(&mut out, pending_bytes);
        }
        seal(&mut out);
        out
    }

    /// How long the file is that begins with these bytes, by what they say: at most as long as one can be.
    pub(crate) fn stated_bytes(head: &[u8]) -> u64 {
        if is_later(head) {
            return FILE_BYTES_MAX; // As of the ledger.
        }
        let name_bytes = usize::from(u16_at(head, 10)).min(NAME_BYTES_MAX);
        let pending_count = u64::from(u32_at(head, 76)).min(PENDING_MAX as u64);
        let pending_bytes = entry_bytes(u16_at(head, 74).into(), PENDING_BYTES);
        let list = pending_count * pending_bytes.unwrap_or(PENDING_BYTES) as u64;
        ((CURSOR_BYTES + name_bytes) as u64 + list).min(FILE_BYTES_MAX)
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            log_id: self.log_id,
            incarnation: self.incarnation,
        }
    }

    /// Makes a stored cursor one of another incarnation, with all else that is in it.
    pub(crate) fn rebind(file: &mut [u8], incarnation: u32) {
        if let Some(slot) = file.get_mut(80..84) {
            slot.copy_from_slice(&incarnation.to_le_bytes());
            seal(file);
        }
    }

    /// Reads a whole cursor file.
    ///
    /// # Errors
    /// The first [`Defect`] found.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let head: &[u8; CURSOR_BYTES] = fixed(file)?;
        check_preamble(head, MAGIC)?;
        let (name_bytes, pending_count) = (u16_at(head, 10), u32_at(head, 76));
        let pending_size = entry_bytes(u16_at(head, 74).into(), PENDING_BYTES);
        let needed_bytes = CURSOR_BYTES as u64
            + u64::from(name_bytes)
            + u64::from(pending_count) * pending_size.unwrap_or(PENDING_BYTES) as u64;
        check_whole(file, needed_bytes, (u32_at(head, 84), crc(file)))?;
        let pending_size = pending_size?;
        let (name, pending) = file
            .get(CURSOR_BYTES..)
            .and_then(|rest| rest.split_at_checked(name_bytes.into()))
            .unwrap_or_default();
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        let cursor = Self {
            log_id: LogId(at(head, 16)),
            incarnation: u32_at(head, 80),
            id: u64_at(head, 32),
            seq: u64_at(head, 40),
            as_of_seq: u64_at(head, 48),
            generation: u64_at(head, 56),
            updated_ms: i64_at(head, 64),
            holds: u16_at(head, 72) & HOLDS != 0,
            name: name.ok_or(Defect::Malformed("cursor name"))?.to_owned(),
            pending: pending
                .chunks_exact(pending_size)
                .map(Pending::read)
                .collect(),
        };
        let numbers = [cursor.id, cursor.seq, cursor.as_of_seq, cursor.generation];
        check_numbers(&numbers, "cursor: a number is too large")?;
        let mut floor = cursor.seq;
        for pending in &cursor.pending {
            if pending.seq < floor || pending.seq >= NUMBER_MAX {
                return Err(Defect::Malformed("cursor: pending records"));
            }
            floor = pending.seq + 1;
        }
        if cursor.pending.len() > PENDING_MAX {
            return Err(Defect::Malformed("cursor: pending records"));
        }
        Ok(cursor)
    }
}

impl Pending {
    /// The size of each entry of a list, in bytes.
    pub(super) fn entry_bytes(list: &[Self]) -> usize {
        match list.iter().any(|pending| pending.not_before_ms != 0) {
            true => WAITING_BYTES,
            false => PENDING_BYTES,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, entry_bytes: usize) {
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.delivery_count.to_le_bytes());
        out.extend_from_slice(&self.flags().to_le_bytes());
        if entry_bytes >= WAITING_BYTES {
            out.extend_from_slice(&self.not_before_ms.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        let flags = u32_at(bytes, 12);
        Self {
            seq: u64_at(bytes, 0),
            delivery_count: u32_at(bytes, 8),
            acked: flags & ACKED != 0,
            done_by_move: flags & DONE_BY_MOVE != 0,
            round: flags >> ROUND_SHIFT,
            not_before_ms: match bytes.len() >= WAITING_BYTES {
                true => i64_at(bytes, 16),
                false => 0,
            },
        }
    }

    fn flags(&self) -> u32 {
        debug_assert!(self.round <= ROUND_MAX, "limit not checked");
        let acked = if self.acked { ACKED } else { 0 };
        let by_move = if self.done_by_move { DONE_BY_MOVE } else { 0 };
        acked | by_move | self.round << ROUND_SHIFT
    }
}

/// Puts the checksum in its place.
fn seal(file: &mut [u8]) {
    let crc = crc(file).to_le_bytes();
    if let Some(slot) = file.get_mut(84..CURSOR_BYTES) {
        slot.copy_from_slice(&crc);
    }
}

/// Over everything but the checksum itself, which stands behind the fixed part.
fn crc(file: &[u8]) -> u32 {
    let head = file.get(..84).unwrap_or_default();
    let rest = file.get(CURSOR_BYTES..).unwrap_or_default();
    checksum::crc32c(checksum::crc32c(SEED, head), rest)
}
