//! A piece of a large value: what the value of its record begins with. Layout: `format.md`, "Large values".
//!
//! Called by large.

use super::{NUMBER_MAX, at, u64_at};
use crate::types::Seq;

/// The size of the header, in bytes.
pub const PIECE_HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"CAIRNLRG";

/// What a piece says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The number of the value's first piece; `None` in the first piece itself.
    pub first_seq: Option<Seq>,
    /// Bytes of the value in the pieces before this one.
    pub offset: u64,
    /// The size of the value in bytes, in its last piece; `None` in every other.
    pub value_bytes: Option<u64>,
}

impl Piece {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> [u8; PIECE_HEADER_BYTES] {
        let more = |number: Option<u64>| number.map_or(0, |number| number.saturating_add(1));
        let mut out = [0; PIECE_HEADER_BYTES];
        let fields = [
            MAGIC,
            more(self.first_seq).to_le_bytes(),
            self.offset.to_le_bytes(),
            more(self.value_bytes).to_le_bytes(),
        ];
        for (to, field) in out.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field);
        }
        out
    }

    /// What a record's value says, and the bytes behind; `None` if it is no piece.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<(Self, &[u8])> {
        let bytes = value.get(PIECE_HEADER_BYTES..)?;
        if at::<8>(value, 0) != MAGIC {
            return None;
        }
        let fields = [8, 16, 24].map(|at| u64_at(value, at));
        if fields.iter().any(|number| *number > NUMBER_MAX) {
            return None;
        }
        let [first, offset, end] = fields;
        let piece = Self {
            first_seq: first.checked_sub(1),
            offset,
            value_bytes: end.checked_sub(1),
        };
        let begins_at_0 = piece.first_seq.is_some() || offset == 0;
        let ends_at_end = (piece.value_bytes).is_none_or(|all| all == offset + bytes.len() as u64);
        (begins_at_0 && ends_at_end).then_some((piece, bytes))
    }
}
