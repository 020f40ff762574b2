//! Large values: a value of any size, written and read as a stream of bytes, visible whole or not at all.
//!
//! It lies in the log as *pieces*, which are ordinary records; what they say is in `format.md`, "Large values". The last
//! one makes the value visible, and its number is the value's. What lacks it is never shown.
//!
//! Rooms: `writer` and `reader` for threads, `later` for tasks.
//!
//! INVARIANTS: a piece is written before the next is taken in, so a writer holds one; a last piece that is durable
//! has all others before it, in the log's order, so they are durable as well.
//!
//! Called by applications; calls `Log` and `Reader`, whose client it is.

#[cfg(feature = "async")]
mod later;
mod reader;
mod writer;

#[cfg(feature = "async")]
pub use later::LargeStream;
pub use reader::LargeReader;
pub use writer::LargeWriter;

use crate::{
    append::AppendOptions,
    error::{ErrorKind, Result},
    log::Log,
    read::{Reader, Record},
    types::Seq,
};

impl Log {
    /// Begins a value of any size, to be [written](std::io::Write) and [finished](LargeWriter::finish). The options
    /// are those of its last record, which makes it visible: its level, its producer.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log};
    /// use std::io::{self, Read};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// let mut writer = log.large_writer(&AppendOptions::new())?;
    /// io::copy(&mut io::repeat(7).take(100_000_000), &mut writer)?; // In flat memory.
    /// let seq = writer.finish()?; // Durable, and visible as of now.
    ///
    /// let mut reader = log.large(seq)?.expect("it is there");
    /// assert_eq!(reader.value_bytes(), 100_000_000);
    /// let count = io::copy(&mut reader, &mut io::sink())?;
    /// assert_eq!(count, 100_000_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the log's [`record_bytes_max`](crate::Options::record_bytes_max) leaves no room for a piece.
    pub fn large_writer(&self, how: &AppendOptions) -> Result<LargeWriter> {
        LargeWriter::new(self, how)
    }

    /// The large value of this number: see [`Reader::large`].
    ///
    /// # Errors
    /// As [`Reader::large`].
    pub fn large(&self, seq: Seq) -> Result<Option<LargeReader>> {
        self.reader().large(seq)
    }

    /// The large value that becomes visible with a record: see [`Reader::large_of`].
    ///
    /// # Errors
    /// As [`Reader::large_of`].
    pub fn large_of(&self, record: &Record) -> Result<Option<LargeReader>> {
        self.reader().large_of(record)
    }
}

impl Reader {
    /// The large value of this number, which is that of its last record and what [`LargeWriter::finish`] gave. `None` if
    /// that is not the last record of a large value.
    ///
    /// # Errors
    /// `Trimmed` if it, or its first piece, is below the head; as [`get`](Self::get).
    pub fn large(&self, seq: Seq) -> Result<Option<LargeReader>> {
        match self.get(seq)? {
            Some(record) => LargeReader::new(self, &record),
            None => Ok(None),
        }
    }

    /// The large value that becomes visible with this record, in whichever way that was read: by a scan, a tail, a
    /// consumer. `None` for every other record: for other pieces of large values as well, and if the first is trimmed.
    ///
    /// ```
    /// use cairnlog::{AppendOptions, Log};
    /// use std::io::{Read, Write};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::open(dir.path().join("log"))?;
    /// for text in ["one", "two"] {
    ///     let mut writer = log.large_writer(&AppendOptions::new())?;
    ///     writer.write_all(text.as_bytes())?;
    ///     writer.finish()?;
    /// }
    /// let mut texts = String::new();
    /// for record in log.scan(..)? {
    ///     if let Some(mut value) = log.large_of(&record?)? {
    ///         value.read_to_string(&mut texts)?;
    ///     }
    /// }
    /// assert_eq!(texts, "onetwo");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Damaged`, `Io` as [`scan`](Self::scan).
    pub fn large_of(&self, record: &Record) -> Result<Option<LargeReader>> {
        match LargeReader::new(self, record) {
            Err(error) if error.kind() == ErrorKind::Trimmed => Ok(None),
            found => found,
        }
    }
}
