//! Writing a large value, a piece at a time.
//!
//! INVARIANTS: `piece` begins with room for its header. While a piece is on its way it stays in `piece`, so that it can be
//! appended again if it failed, and taken from where it is if a task stopped waiting. Only a full piece, or the
//! last, is ever on its way.

use crate::{
    append::{AppendOptions, NewRecord, Ticket},
    error::{Error, ErrorKind, Op, Result},
    format::piece::{PIECE_HEADER_BYTES, Piece},
    log::Log,
    options::Durability,
    types::Seq,
};
use std::{fmt, io, ops::Range};

/// The most bytes of a piece, header included; fewer where records are to be smaller.
const PIECE_BYTES_MAX: u64 = 256 << 10;

/// Writes a value of any size; from [`Log::large_writer`].
///
/// Nobody sees it before [`finish`](Self::finish), nor ever if the writer is dropped before, or the process dies: its
/// pieces are then records that mean nothing, which go with [trimming](Log::trim) or
/// [retention](crate::Retention). Any number of writers and appends may work beside each other.
///
/// It holds one piece of up to 256 KiB in memory. A write that fills it waits until that is
/// [written](Durability::Written), so a slow disk slows the source down. After an error of the kind `NoSpace` or `Io`
/// nothing of the bytes given is taken, and the same call may be made again.
#[must_use = "a value is there once it is finished"]
pub struct LargeWriter {
    pub(super) log: Log,
    how: AppendOptions,
    piece_bytes_max: usize,
    piece: Vec<u8>,
    /// Bytes of the value before the piece.
    offset: u64,
    /// Those of its pieces that are in the log, the first and the last.
    seqs: Option<(Seq, Seq)>,
    /// Queued, and whether it is the last.
    pub(super) on_way: Option<(Ticket, bool)>,
    finished: Option<Seq>,
}

impl LargeWriter {
    pub(super) fn new(log: &Log, how: &AppendOptions) -> Result<Self> {
        let (limit, least) = (
            log.core().options().record_limit(),
            PIECE_HEADER_BYTES as u64 + 1,
        );
        if limit < least {
            return Err(Error::too_large("a piece of a large value", least, limit));
        }
        let piece_bytes_max = usize::try_from(limit.min(PIECE_BYTES_MAX)).unwrap_or(usize::MAX);
        Ok(Self {
            log: log.clone(),
            how: *how,
            piece_bytes_max,
            piece: vec![0; PIECE_HEADER_BYTES],
            offset: 0,
            seqs: None,
            on_way: None,
            finished: None,
        })
    }

    /// Bytes that were taken so far.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        self.offset + self.held_bytes()
    }

    fn held_bytes(&self) -> u64 {
        (self.piece.len() - PIECE_HEADER_BYTES) as u64
    }

    pub(super) fn is_full(&self) -> bool {
        self.piece.len() >= self.piece_bytes_max
    }

    pub(super) fn finished(&self) -> Option<Seq> {
        self.finished
    }

    /// Takes as many bytes as the piece has room for; gives how many.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.piece_bytes_max.saturating_sub(self.piece.len());
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.piece.extend_from_slice(now);
        now.len()
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.finished {
            None => Ok(()),
            Some(_) => Err(refuse("the value is finished")),
        }
    }

    /// The record to append now, and how.
    pub(super) fn record(&mut self, is_last: bool) -> (NewRecord<'_>, AppendOptions) {
        let header = Piece {
            first_seq: self.seqs.map(|(first, _)| first),
            offset: self.offset,
            value_bytes: is_last.then(|| self.value_bytes()),
        };
        if let Some(room) = self.piece.first_chunk_mut() {
            *room = header.encode();
        }
        let how = match is_last {
            true => self.how,
            false => AppendOptions::new().durability(Durability::Written),
        };
        (NewRecord::value(&self.piece), how)
    }

    /// What became of the piece that was on its way.
    pub(super) fn settle(&mut self, is_last: bool, appended: Result<Range<Seq>>) -> Result<()> {
        let seq = appended?.start;
        self.offset += self.held_bytes();
        self.piece.truncate(PIECE_HEADER_BYTES);
        let (first, _) = self.seqs.unwrap_or((seq, seq));
        self.seqs = Some((first, seq));
        if is_last {
            self.finished = Some(seq);
        }
        Ok(())
    }

    fn push(&mut self, is_last: bool) -> Result<()> {
        let (ticket, is_last) = match self.on_way.take() {
            Some(before) => before,
            None => {
                let log = self.log.clone();
                let (record, how) = self.record(is_last);
                (log.submit(&[record], &how)?, is_last)
            }
        };
        self.settle(is_last, ticket.wait())
    }

    /// Appends the last piece: the value is visible, as soon as that is at the level asked for and durable. Gives its
    /// number. Called again it gives the same.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log, Producer};
    /// use std::io::Write;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let mut seqs = Vec::new();
    /// for _ in 0..2 {
    ///     // Was the first one lost? It was not, and the second is not there.
    ///     let how = AppendOptions::new().producer(Producer { id: 7, epoch: 0, number: 42 });
    ///     let mut writer = log.large_writer(&how)?;
    ///     writer.write_all(b"a film")?;
    ///     seqs.push(writer.finish()?);
    /// }
    /// assert_eq!(seqs, [0, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::append_records`]: after `NoSpace` and `Io` it may be called again; after `Indeterminate` the value is
    /// there whole or not at all. `Trimmed` if its first piece was trimmed meanwhile, `InvalidInput` if pieces
    /// were rewound: then it cannot be finished.
    pub fn finish(&mut self) -> Result<Seq> {
        loop {
            match self.finished() {
                Some(seq) => return Ok(seq),
                None => {
                    self.check_there()?;
                    self.push(true)?;
                }
            }
        }
    }

    /// Whether nobody has trimmed or rewound what is in the log already.
    pub(super) fn check_there(&self) -> Result<()> {
        let Some((first, last)) = self.seqs else {
            return Ok(());
        };
        let head = self.log.head_seq();
        if first < head {
            return Err(Error::trimmed(Op::Append, first, head));
        }
        match self.log.reader().including_written().get(last)? {
            Some(_) => Ok(()),
            None => Err(refuse("pieces of the value were rewound")),
        }
    }
}

fn refuse(note: &'static str) -> Error {
    Error::note(ErrorKind::InvalidInput, Op::Append, note)
}

impl io::Write for LargeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check_open()?;
        if self.is_full() && !bytes.is_empty() {
            self.push(false)?;
        }
        Ok(self.take(bytes))
    }

    /// Does nothing: a piece is written when it is full, and the last by [`finish`](LargeWriter::finish).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for LargeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeWriter")
            .field("value_bytes", &self.value_bytes())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
