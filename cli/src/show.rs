//! How records are shown: raw, as JSON, as hex; the same for `cat`, `tail` and `consume`.

use crate::{
    append::{Separator, separator},
    exit::{Failure, Outcome},
    json::{self, Binary},
    output,
};
use cairnlog::{Record, format::RecordRef};
use clap::{Args, ValueEnum};
use std::io::{self, Write};

/// The arguments that say how records are shown.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// How records are shown
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print the key and this in front of the value of a record that has a key (raw only)
    #[arg(long, value_name = "SEP", value_parser = separator)]
    key_separator: Option<Separator>,
    /// Put its length in front of each record, in 4 bytes, little-endian, instead of a line feed
    /// behind it (raw only): exact for values, and an error at a record that has more than that
    #[arg(long)]
    length_prefixed: bool,
}

/// The argument that says how far records are shown.
#[derive(Args, Debug)]
pub struct EndArgs {
    /// Also records at the end that nothing on disk proves to be durable yet
    #[arg(long)]
    unproven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The value and a line feed; a tombstone, which has no value, is left out
    Raw,
    /// An object a line: seq, time, key, value
    Json,
    /// Bytes in hexadecimal, 16 a line
    Hex,
}

/// Shows records, one after the other.
#[derive(Debug)]
pub struct Show<'a> {
    args: &'a ShowArgs,
    format: Format,
    /// The time of the last record and its text: neighbours often share it.
    time: (i64, String),
}

impl ShowArgs {
    /// Checks the arguments against each other.
    pub fn start(&self) -> Outcome<Show<'_>> {
        let format = if self.json { Format::Json } else { self.format };
        if format != Format::Raw && (self.length_prefixed || self.key_separator.is_some()) {
            let text = "--length-prefixed and --key-separator go with --format raw only";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(Show {
            args: self,
            format,
            time: (0, output::time(0)),
        })
    }
}

impl EndArgs {
    /// The reader that these arguments ask for. On standard error: what it leaves out.
    pub fn reader(&self, reader: cairnlog::Reader, quiet: bool) -> cairnlog::Reader {
        let whole = reader.clone().including_written();
        if self.unproven {
            return whole;
        }
        let hidden = whole.end_seq().saturating_sub(reader.end_seq());
        if hidden > 0 && !quiet {
            let records = output::counted(hidden, "record");
            crate::stream::note!(
                "cairn: left out: {records} at the end, not proven durable by anything on disk \
                 (--unproven shows them)"
            );
        }
        reader
    }
}

impl Show<'_> {
    /// Shows a record.
    pub fn record(&mut self, out: &mut impl Write, record: &RecordRef<'_>) -> Outcome {
        if self.args.length_prefixed {
            self.check_exact(record)?;
        }
        Ok(match self.format {
            Format::Raw => self.raw(out, record),
            Format::Json => self.json(out, record),
            Format::Hex => self.hex(out, record),
        }?)
    }

    /// Whether the record could be told from its bytes behind a length alone.
    fn check_exact(&self, record: &RecordRef<'_>) -> Outcome {
        let separator = self.args.key_separator.as_ref();
        let holds = |bytes: &[u8]| separator.is_some_and(|it| it.find(bytes).is_some());
        let why = match (record.key, record.value) {
            (_, None) => "is a tombstone",
            (Some(_), _) if separator.is_none() => "has a key",
            (Some(key), _) if holds(key) => "has a key with the separator in it",
            (None, Some(value)) if holds(value) => "has no key and the separator in its value",
            _ => return Ok(()),
        };
        Err(Failure::Said(format!(
            "seq {} {why}, which --length-prefixed cannot carry; `cairn export` carries everything",
            record.seq
        )))
    }

    fn raw(&self, out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
        let none: &[u8] = &[];
        let (key, separator) = match (record.key, &self.args.key_separator) {
            (Some(key), Some(separator)) => (key, separator.0.as_slice()),
            _ if record.value.is_none() => return Ok(()),
            _ => (none, none),
        };
        let value = record.value.unwrap_or_default();
        if self.args.length_prefixed {
            let length = key.len() + separator.len() + value.len();
            out.write_all(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes())?;
        }
        if !separator.is_empty() {
            out.write_all(key)?;
            out.write_all(separator)?;
        }
        out.write_all(value)?;
        if !self.args.length_prefixed {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn json(&mut self, out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
        self.look_up_time(record.timestamp_ms);
        json::write(out, record, Some(&self.time.1), Binary::Hex)
    }

    fn hex(&mut self, out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
        self.look_up_time(record.timestamp_ms);
        write!(out, "seq {}  {}", record.seq, self.time.1)?;
        if let Some(key) = record.key {
            writeln!(out, "  key of {} bytes", key.len())?;
            dump(out, key)?;
        }
        match record.value {
            Some(value) => {
                let gap = if record.key.is_some() { "" } else { "  " };
                writeln!(out, "{gap}value of {} bytes", value.len())?;
                dump(out, value)
            }
            None => writeln!(out, "tombstone"),
        }
    }

    fn look_up_time(&mut self, unix_ms: i64) {
        if self.time.0 != unix_ms {
            self.time = (unix_ms, output::time(unix_ms));
        }
    }
}

/// Bytes, 16 a line: offset, hexadecimal, and what of it is printable.
pub fn dump(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for (number, line) in bytes.chunks(16).enumerate() {
        write!(out, "  {:08x} ", number * 16)?;
        for place in 0..16 {
            if place % 8 == 0 {
                write!(out, " ")?;
            }
            match line.get(place) {
                Some(byte) => write!(out, "{byte:02x} ")?,
                None => write!(out, "   ")?,
            }
        }
        let printable = |byte: &u8| (0x20..0x7f).contains(byte);
        let text = line.iter().map(|byte| {
            if printable(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        });
        writeln!(out, " |{}|", text.collect::<String>())?;
    }
    Ok(())
}

/// A record that owns its bytes, as one that lends them.
pub fn lend(record: &Record) -> RecordRef<'_> {
    RecordRef {
        seq: record.seq(),
        timestamp_ms: record.timestamp_ms(),
        key: record.key(),
        value: record.value(),
        producer: record.producer(),
    }
}
