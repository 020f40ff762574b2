//! Bytes of any number as records of one producer, which are whole when somebody says so.
//!
//! A writer holds one piece. Its last is durable, and so is all before it, when it says which records they are; who
//! has that reads them, piece by piece. Others may write between them.

use crate::Outcome;
use bytes::{Buf, Bytes};
use cairnlog::{AppendOptions, Durability, Log, NewRecord, Producer, Result, Scan, Seq};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, Read, Write},
    ops::Range,
    str::FromStr,
};
use tokio::runtime::Handle;

pub const PIECE_BYTES: usize = 256 << 10;

/// Which pieces are something whole.
#[derive(Clone, Debug)]
pub struct Whole {
    id: u64,
    seqs: Range<Seq>,
    bytes: u64,
}

impl Whole {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// As text: in a record that names it.
impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.seqs;
        write!(f, "{:x} {start} {end} {}", self.id, self.bytes)
    }
}

impl FromStr for Whole {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Outcome<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or("too short");
        Ok(Self {
            id: u64::from_str_radix(next()?, 16)?,
            seqs: next()?.parse()?..next()?.parse()?,
            bytes: next()?.parse()?,
        })
    }
}

/// Takes bytes in, and appends a piece whenever it has one.
pub struct Writer {
    log: Log,
    id: u64,
    /// Of the pieces that the log has.
    first_seq: Option<Seq>,
    count: u64,
    bytes: u64,
    piece: Vec<u8>,
}

impl Writer {
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            id: new_id(),
            first_seq: None,
            count: 0,
            bytes: 0,
            piece: Vec::with_capacity(PIECE_BYTES),
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// Of the pieces that the log has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until the log has taken every piece that is full.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.piece.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE_BYTES {
                self.append(Durability::Written).await?;
            }
        }
        Ok(())
    }

    /// With the last piece everything is durable: a sync is of all that was written before.
    pub async fn finish(mut self) -> Result<Whole> {
        let last = self.append(Durability::Durable).await?;
        let seqs = self.first_seq.unwrap_or(last)..last + 1;
        let (id, bytes) = (self.id, self.bytes);
        Ok(Whole { id, seqs, bytes })
    }

    async fn append(&mut self, level: Durability) -> Result<Seq> {
        let (id, epoch, number) = (self.id, 0, self.count);
        let how = AppendOptions::new().producer(Producer { id, epoch, number });
        let piece = [NewRecord::value(&self.piece)];
        let seqs = self
            .log
            .append_async(&piece, &how.durability(level))
            .await?;
        self.first_seq.get_or_insert(seqs.start);
        self.count += 1;
        self.bytes += self.piece.len() as u64;
        self.piece.clear();
        Ok(seqs.start)
    }
}

/// Random, so that it is nobody else's.
fn new_id() -> u64 {
    RandomState::new().hash_one(0)
}

/// For threads of the runtime that may block.
impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Handle::current().block_on(self.write(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // A piece is appended when it is full.
    }
}

/// The pieces in their order, or an error if they are not all there.
pub struct Pieces {
    scan: Scan,
    id: u64,
    next_number: u64,
    left_bytes: u64,
}

impl Pieces {
    pub fn new(log: &Log, whole: &Whole) -> Result<Self> {
        Ok(Self {
            scan: log.scan(whole.seqs.clone())?,
            id: whole.id,
            next_number: 0,
            left_bytes: whole.bytes,
        })
    }
}

impl Iterator for Pieces {
    type Item = Outcome<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let missing = Some(Err("a piece is missing".into()));
        for record in self.scan.by_ref() {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Some(Err(error.into())),
            };
            let Some(producer) = record.producer().filter(|it| it.id == self.id) else {
                continue; // Somebody else's.
            };
            let left = self.left_bytes.checked_sub(record.len() as u64);
            let (true, Some(left)) = (producer.number == self.next_number, left) else {
                return missing;
            };
            (self.next_number, self.left_bytes) = (self.next_number + 1, left);
            return Some(Ok(record.into_bytes()));
        }
        match std::mem::take(&mut self.left_bytes) {
            0 => None,
            _ => missing,
        }
    }
}

/// Their bytes.
pub struct Reader {
    pieces: Pieces,
    piece: Bytes,
}

impl Reader {
    pub fn new(log: &Log, whole: &Whole) -> Result<Self> {
        let (pieces, piece) = (Pieces::new(log, whole)?, Bytes::new());
        Ok(Self { pieces, piece })
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty()
            && let Some(piece) = self.pieces.next()
        {
            self.piece = piece.map_err(io::Error::other)?;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}
