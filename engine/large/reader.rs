//! Reading a large value, a piece at a time.
//!
//! INVARIANT: its end is told only behind the last byte. A piece that is not there, or not where it should be, is
//! damage, and told again by every call after.

use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::piece::{PIECE_HEADER_BYTES, Piece},
    read::{Reader, Record, Scan},
    types::Seq,
};
use bytes::{Buf, Bytes};
use std::{
    fmt,
    io::{self, BufRead, Read},
};

/// A value of any size, to be [read](std::io::Read); from [`Log::large`](crate::Log::large) or
/// [`Log::large_of`](crate::Log::large_of).
///
/// It walks over the log from the value's first piece to its last, in the memory of one piece, and over the records that
/// others appended in between. It reads on if the value is trimmed meanwhile, as a [`Scan`] does.
pub struct LargeReader {
    seq: Seq,
    first_seq: Seq,
    value_bytes: u64,
    /// What lies before the last piece, and what of it was read.
    scan: Option<Scan>,
    offset: u64,
    /// The last piece, where it begins, until it is reached.
    last: Option<(u64, Bytes)>,
    /// What is left of the piece that is being read.
    piece: Bytes,
    failed: Option<Error>,
}

impl LargeReader {
    /// `None` if the record is not the last of a large value, or not to be shown by this reader yet.
    pub(super) fn new(reader: &Reader, record: &Record) -> Result<Option<Self>> {
        let Some((last, bytes)) = Piece::decode(record) else {
            return Ok(None);
        };
        let seq = record.seq();
        let first_seq = last.first_seq.unwrap_or(seq);
        let (Some(value_bytes), true) = (last.value_bytes, first_seq <= seq) else {
            return Ok(None);
        };
        if reader.end_seq() <= seq {
            return Ok(None);
        }
        let scan = match last.first_seq {
            Some(first_seq) => Some(reader.scan(first_seq..seq)?),
            None => None,
        };
        let bytes = record.clone().into_bytes().slice_ref(bytes);
        Ok(Some(Self {
            seq,
            first_seq,
            value_bytes,
            scan,
            offset: 0,
            last: Some((last.offset, bytes)),
            piece: Bytes::new(),
            failed: None,
        }))
    }

    /// Its number: that of its last record.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The number of its first record: a log that is trimmed to no more than this keeps the value.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// Its size in bytes.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// The next bytes, shared and not copied, up to the end of a piece; `None` at the end.
    ///
    /// # Errors
    /// `Damaged` with the value's number if a piece is missing, or with its place if one does not verify; as a
    /// [`Scan`]. It is told again by every further call.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>> {
        self.fill()?;
        let piece = std::mem::take(&mut self.piece);
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Sees to it that there are bytes left of a piece, unless this is the end.
    fn fill(&mut self) -> Result<()> {
        while self.piece.is_empty() && (self.last.is_some() || self.failed.is_some()) {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            match self.load() {
                Ok(piece) => self.piece = piece,
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(())
    }

    /// The next piece.
    fn load(&mut self) -> Result<Bytes> {
        for record in self.scan.iter_mut().flatten() {
            let record = record?;
            let Some((piece, _)) = Piece::decode(&record) else {
                continue;
            };
            let begins = piece.first_seq.is_none() && record.seq() == self.first_seq;
            if !begins && piece.first_seq != Some(self.first_seq) {
                continue; // Another value's.
            }
            if piece.offset != self.offset || piece.value_bytes.is_some() {
                return Err(self.incomplete());
            }
            let bytes = record.into_bytes().split_off(PIECE_HEADER_BYTES);
            self.offset += bytes.len() as u64;
            return Ok(bytes);
        }
        match self.last.take() {
            Some((offset, bytes)) if offset == self.offset => Ok(bytes),
            _ => Err(self.incomplete()),
        }
    }

    fn incomplete(&self) -> Error {
        let defect = Defect::Malformed("a large value of which a piece is missing");
        Error::defect(Op::Read, Place::default().with_seq(self.seq), defect)
    }
}

impl Read for LargeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for LargeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl fmt::Debug for LargeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeReader")
            .field("seq", &self.seq)
            .field("value_bytes", &self.value_bytes)
            .finish_non_exhaustive()
    }
}
