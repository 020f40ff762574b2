//! Records out of files: a line each, or with a length in front. Memory holds one record.

use crate::{
    exit::{About, Failure, Outcome},
    stream,
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// The most bytes of one record, key and separator included: the engine's own limit is 16 MiB for
/// key and value. Whatever is longer is not read into memory to find out by how much.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Room beyond it, so that the engine and not this module says what is too large.
const SLACK_BYTES: usize = 64 << 10;
/// The most bytes of a line.
const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX + SLACK_BYTES;
/// A byte takes six in JSON at most: `\u0000`.
const OBJECT_FACTOR: usize = 6;

/// How records follow each other in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each ends in a line feed; the last may do without.
    Lines,
    /// Each has its length in front: 4 bytes, little-endian.
    LengthPrefixed,
    /// Each is a line of JSON, which may be several times as long as what it holds.
    Objects,
}

/// The records of several files, one after the other.
pub struct Input {
    verb: &'static str,
    framing: Framing,
    waiting: std::vec::IntoIter<PathBuf>,
    current: Option<(String, Box<dyn BufRead + Send>)>,
    /// Records read from the current file, to name the place of an error.
    number: u64,
}

impl Input {
    /// Reads these files, `-` being standard input; without any, standard input alone. The first is
    /// opened at once, so that nothing is begun for an input that is not there.
    pub fn new(verb: &'static str, files: &[PathBuf], framing: Framing) -> Outcome<Self> {
        let files = if files.is_empty() {
            vec![PathBuf::from("-")]
        } else {
            files.to_vec()
        };
        let mut waiting = files.into_iter();
        let current = waiting.next().map(|path| open(&path)).transpose()?;
        Ok(Self {
            verb,
            framing,
            waiting,
            current,
            number: 0,
        })
    }

    /// How many bytes there are to read, if all of it is in files.
    pub fn total_bytes(files: &[PathBuf]) -> Option<u64> {
        if files.is_empty() {
            return None;
        }
        let size = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            meta.is_file().then_some(meta.len())
        };
        files.iter().map(size).sum()
    }

    /// Where the last record came from, for an error message.
    pub fn place(&self) -> String {
        let name = self.current.as_ref().map_or("input", |(name, _)| name);
        let noun = match self.framing {
            Framing::Lines | Framing::Objects => "line",
            Framing::LengthPrefixed => "record",
        };
        format!("{name}, {noun} {}", self.number)
    }

    /// Appends the next record to `into`; false at the end of the last file.
    pub fn read(&mut self, into: &mut Vec<u8>) -> Outcome<bool> {
        loop {
            let Some((name, reader)) = &mut self.current else {
                let Some(path) = self.waiting.next() else {
                    return Ok(false);
                };
                self.current = Some(open(&path)?);
                self.number = 0;
                continue;
            };
            let found = match self.framing {
                Framing::Lines => read_line(reader, into, LINE_BYTES_MAX),
                Framing::Objects => read_line(reader, into, LINE_BYTES_MAX * OBJECT_FACTOR),
                Framing::LengthPrefixed => read_prefixed(reader, into),
            };
            self.number += 1;
            match found {
                Ok(true) => return Ok(true),
                Ok(false) => self.current = None,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(Failure::Said(format!(
                        "{}: {}: longer than {RECORD_BYTES_MAX} bytes, the most of one record",
                        self.verb,
                        self.place()
                    )));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Failure::Said(format!(
                        "{}: {}: the input ends inside the record",
                        self.verb,
                        self.place()
                    )));
                }
                Err(error) => return Err(Failure::Io(name.clone(), error)),
            }
        }
    }
}

fn open(path: &Path) -> Outcome<(String, Box<dyn BufRead + Send>)> {
    if path.as_os_str() == "-" {
        let reader = BufReader::with_capacity(256 << 10, stream::input()?);
        return Ok(("standard input".to_owned(), Box::new(reader)));
    }
    let name = path.display().to_string();
    let file = File::open(path).about(&name)?;
    Ok((name, Box::new(BufReader::with_capacity(256 << 10, file))))
}

fn read_line(reader: &mut dyn BufRead, into: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    let read = reader.take(limit as u64 + 1).read_until(b'\n', into)?;
    if into.last() == Some(&b'\n') && read > 0 {
        into.pop();
    } else if read > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(read > 0)
}

fn read_prefixed(reader: &mut dyn BufRead, into: &mut Vec<u8>) -> io::Result<bool> {
    if reader.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LINE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    if reader.take(length as u64).read_to_end(into)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(framing: Framing, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let reader: Box<dyn BufRead + Send> = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut input = Input {
            verb: "append",
            framing,
            waiting: Vec::new().into_iter(),
            current: Some(("test".into(), reader)),
            number: 0,
        };
        let mut found = Vec::new();
        loop {
            let mut record = Vec::new();
            match input.read(&mut record) {
                Ok(true) => found.push(record),
                Ok(false) => return Ok(found),
                Err(Failure::Said(text)) => return Err(text),
                Err(other) => return Err(format!("{other:?}")),
            }
        }
    }

    #[test]
    fn lines_lose_their_line_feed_and_nothing_else() {
        let lines = all(Framing::Lines, b"a\n\nb\r\nlast").expect("readable");
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"last"]);
        assert!(all(Framing::Lines, b"").expect("readable").is_empty());
    }

    #[test]
    fn length_prefixed_records_are_exact() {
        let records = all(
            Framing::LengthPrefixed,
            b"\x02\0\0\0\n\n\0\0\0\0\x01\0\0\0x",
        );
        assert_eq!(records.expect("readable"), [&b"\n\n"[..], b"", b"x"]);
        let cut = all(Framing::LengthPrefixed, b"\x01\0\0\0a\x05\0\0\0abc").expect_err("cut");
        assert!(cut.contains("record 2: the input ends inside"), "{cut}");
        let huge = all(Framing::LengthPrefixed, b"\xff\xff\xff\xff").expect_err("too long");
        assert!(huge.contains("longer than 16777216 bytes"), "{huge}");
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let mut reader: Box<dyn BufRead> = Box::new(BufReader::new(io::repeat(b'x')));
        let mut line = Vec::new();
        let error = read_line(&mut *reader, &mut line, LINE_BYTES_MAX).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(line.len() <= LINE_BYTES_MAX + 1);
    }
}
