//! One entry as a record of the log: 17 bytes that say which it is, and then its bytes.

use crate::table::Look;
use cairnlog::{Reader, Record, Seq};
use std::{io, ops::Range, sync::Arc};

/// The first byte of a record, for other kinds and later versions.
const KIND: u8 = 1;
/// Kind, index, and one more than the index that was known to be committed (0: none).
const HEAD_BYTES: usize = 17;

/// An entry that is to be appended, as its record's value.
pub(crate) struct NewEntry {
    pub(crate) index: u64,
    pub(crate) value: Arc<Vec<u8>>,
}

impl NewEntry {
    pub(crate) fn new(index: u64, committed_end: u64, entry: &[u8]) -> Self {
        let mut value = Vec::with_capacity(HEAD_BYTES + entry.len());
        value.push(KIND);
        value.extend_from_slice(&index.to_le_bytes());
        value.extend_from_slice(&committed_end.to_le_bytes());
        value.extend_from_slice(entry);
        let value = Arc::new(value);
        Self { index, value }
    }
}

/// The bytes of an entry: in memory, or as they lie in the log.
pub(crate) enum Bytes {
    Recent(Arc<Vec<u8>>),
    Stored(Record),
}

impl Bytes {
    pub(crate) fn entry(&self) -> &[u8] {
        let value = match self {
            Self::Recent(value) => value,
            Self::Stored(record) => record.value().unwrap_or_default(),
        };
        value.get(HEAD_BYTES..).unwrap_or_default()
    }
}

/// What a record says of the entry in it: its index, and up to where entries were known to be committed.
pub(crate) fn head(record: &Record) -> io::Result<(u64, u64)> {
    let head = record
        .value()
        .and_then(|value| value.first_chunk::<HEAD_BYTES>());
    let Some(head) = head.filter(|head| head[0] == KIND) else {
        let note = format!("record {} is no entry of a Raft log", record.seq());
        return Err(io::Error::new(io::ErrorKind::InvalidData, note));
    };
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    Ok((word(1), word(9)))
}

impl Look for Reader {
    type Error = io::Error;

    fn first(&self, seqs: Range<Seq>) -> io::Result<Option<(Seq, u64)>> {
        let record = self.scan(seqs)?.next().transpose()?;
        record
            .map(|record| Ok((record.seq(), head(&record)?.0)))
            .transpose()
    }

    fn last(&self, seqs: Range<Seq>) -> io::Result<Option<(Seq, u64)>> {
        let record = self.scan(seqs)?.next_back().transpose()?;
        record
            .map(|record| Ok((record.seq(), head(&record)?.0)))
            .transpose()
    }
}
