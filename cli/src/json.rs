//! A record as a JSON object that has all of it, and back: what `export` and `cat --json` write and
//! `import` reads.
//!
//! INVARIANT: what is read here is what was written here, byte for byte; a field that is not known is an
//! error, so that nothing is left out in silence.

use crate::output;
use base64::{Engine, engine::general_purpose::STANDARD};
use cairnlog::{
    NewRecord, Producer, Seq,
    format::{RecordRef, producers::EPOCH_CURSOR},
};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub seq: Option<Seq>,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    /// None: a tombstone.
    pub value: Option<Vec<u8>>,
    pub producer: Option<Producer>,
}

/// What stands for bytes that are no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Short.
    Base64,
    /// For people.
    Hex,
}

/// Writes a record as one line, with its time in words if they are given.
pub fn write(
    out: &mut impl Write,
    record: &RecordRef<'_>,
    time: Option<&str>,
    binary: Binary,
) -> io::Result<()> {
    let (seq, time_ms) = (record.seq, record.timestamp_ms);
    write!(out, r#"{{"seq":{seq}"#)?;
    if let Some(time) = time {
        write!(out, r#","time":"{time}""#)?;
    }
    write!(out, r#","timestamp_ms":{time_ms}"#)?;
    if let Some(key) = record.key {
        bytes(out, "key", key, binary)?;
    }
    match record.value {
        Some(value) => bytes(out, "value", value, binary)?,
        None => write!(out, r#","tombstone":true"#)?,
    }
    if let Some(Producer { id, epoch, number }) = record.producer {
        let fields = format!(r#""id":{id},"epoch":{epoch},"number":{number}"#);
        write!(out, r#","producer":{{{fields}}}"#)?;
    }
    out.write_all(b"}\n")
}

/// A string where they are UTF-8, else what stands for them, with its name behind the field's.
fn bytes(out: &mut impl Write, name: &str, bytes: &[u8], binary: Binary) -> io::Result<()> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        write!(out, r#","{name}":"#)?;
        return Ok(serde_json::to_writer(out, text)?);
    }
    let (suffix, text) = match binary {
        Binary::Base64 => ("base64", STANDARD.encode(bytes)),
        Binary::Hex => ("hex", output::hex(bytes)),
    };
    write!(out, r#","{name}_{suffix}":"{text}""#)
}

/// Reads a record from a line.
pub fn read(line: &[u8]) -> Result<Parsed, String> {
    let value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        return Err("a JSON object was expected".to_owned());
    };
    fields.remove("time"); // The time in words, beside the number.
    let is_tombstone = fields.remove("tombstone");
    let is_tombstone = is_tombstone.is_some_and(|it| it == Value::Bool(true));
    let parsed = Parsed {
        seq: number(&mut fields, "seq", Value::as_u64)?,
        timestamp_ms: number(&mut fields, "timestamp_ms", Value::as_i64)?,
        key: take_bytes(&mut fields, "key")?,
        value: take_bytes(&mut fields, "value")?,
        producer: producer(&mut fields)?,
    };
    if let Some(name) = fields.keys().next() {
        return Err(format!("`{name}` is not known, or is there twice"));
    }
    match (&parsed.key, &parsed.value, is_tombstone) {
        (_, Some(_), true) => Err("a tombstone with a value".to_owned()),
        (_, None, false) => Err("neither a value nor a tombstone".to_owned()),
        (None, None, true) => Err("a tombstone without a key".to_owned()),
        _ => Ok(parsed),
    }
}

fn number<T>(
    fields: &mut Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let Some(value) = fields.remove(name) else {
        return Ok(None);
    };
    let number = read(&value).ok_or_else(|| format!("`{name}` is no number that fits"));
    number.map(Some)
}

fn take_bytes(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    for (suffix, decode) in [
        ("", plain as fn(&str) -> Option<Vec<u8>>),
        ("_base64", |text| STANDARD.decode(text).ok()),
        ("_hex", unhex),
    ] {
        if let Some(value) = fields.remove(&format!("{name}{suffix}")) {
            let found = value.as_str().and_then(decode);
            let wrong = || format!("`{name}{suffix}` is not what its name says");
            return found.ok_or_else(wrong).map(Some);
        }
    }
    Ok(None)
}

fn plain(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn producer(fields: &mut Map<String, Value>) -> Result<Option<Producer>, String> {
    let Some(value) = fields.remove("producer") else {
        return Ok(None);
    };
    let field = |name: &str| value.get(name).and_then(Value::as_u64);
    let epoch = field("epoch").and_then(|epoch| u32::try_from(epoch).ok());
    match (field("id"), epoch, field("number")) {
        (Some(id), Some(epoch), Some(number)) => Ok(Some(Producer { id, epoch, number })),
        _ => Err("`producer` is not an id, an epoch and a number".to_owned()),
    }
}

impl Parsed {
    /// The record to append.
    pub fn record(&self) -> NewRecord<'_> {
        let record = match (&self.key, &self.value) {
            (None, value) => NewRecord::value(value.as_deref().unwrap_or_default()),
            (Some(key), Some(value)) => NewRecord::keyed(key, value),
            (Some(key), None) => NewRecord::tombstone(key),
        };
        match self.timestamp_ms {
            Some(time_ms) => record.timestamp_ms(time_ms),
            None => record,
        }
    }

    /// Whether it was appended together with a cursor's move. The cursor stays with its log.
    pub fn moves_cursor(&self) -> bool {
        self.producer.is_some_and(|it| it.epoch == EPOCH_CURSOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_comes_back() {
        let texts: [&[u8]; 5] = [
            b"",
            b"plain",
            b"\"\\\n\0\x7f",
            "ü€\u{10ffff}".as_bytes(),
            b"\xff\x00",
        ];
        let producers = [
            None,
            Some(Producer {
                id: u64::MAX,
                epoch: u32::MAX,
                number: 0,
            }),
        ];
        for (seq, timestamp_ms) in [(0, 0), (u64::MAX, i64::MAX), (7, i64::MIN)] {
            for producer in producers {
                for key in texts.iter().map(|key| Some(*key)).chain([None]) {
                    for value in texts.iter().map(|value| Some(*value)).chain([None]) {
                        if key.is_none() && value.is_none() {
                            continue;
                        }
                        let record = RecordRef {
                            seq,
                            timestamp_ms,
                            key,
                            value,
                            producer,
                        };
                        let with = |time, binary| {
                            let mut line = Vec::new();
                            write(&mut line, &record, time, binary).expect("written");
                            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                            line
                        };
                        let parsed = Parsed {
                            seq: Some(seq),
                            timestamp_ms: Some(timestamp_ms),
                            key: key.map(<[u8]>::to_vec),
                            value: value.map(<[u8]>::to_vec),
                            producer,
                        };
                        let words = output::time(timestamp_ms);
                        assert_eq!(read(&with(Some(&words), Binary::Hex)), Ok(parsed.clone()));
                        assert_eq!(read(&with(None, Binary::Base64)), Ok(parsed));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, what) in [
            ("", "no JSON"),
            ("[1]", "a JSON object was expected"),
            ("{}", "neither a value"),
            (r#"{"tombstone":true}"#, "without a key"),
            (
                r#"{"key":"k","tombstone":true,"value":"v"}"#,
                "with a value",
            ),
            (r#"{"value":5}"#, "`value` is not"),
            (r#"{"value_base64":"*"}"#, "`value_base64` is not"),
            (r#"{"value_hex":"0"}"#, "`value_hex` is not"),
            (r#"{"value":"a","value_hex":"00"}"#, "twice"),
            (r#"{"value":"a","colour":"red"}"#, "`colour` is not known"),
            (r#"{"value":"a","seq":-1}"#, "`seq` is no number"),
            (r#"{"value":"a","producer":{"id":1}}"#, "`producer` is not"),
        ] {
            let error = read(line.as_bytes()).expect_err(line);
            assert!(error.contains(what), "{line}: {error}");
        }
        let hex = read(br#"{"value_hex":"00fF"}"#).expect("as cat prints it");
        assert_eq!(hex.value, Some(vec![0, 255]));
    }
}
