//! What a worker makes of an upload: each line checked, the good ones packed into another large value, and a result.
//!
//! The result is appended together with the acknowledgement: whatever happens, each upload has one. A worker that
//! dies leaves a value that is not finished, or that no result names, and another begins anew.

use crate::{Outcome, Shop};
use cairnlog::{AppendOptions, ErrorKind, LargeReader, Lease, NewRecord, Seq};
use flate2::{Compression, write::GzEncoder};
use std::io::{BufRead, BufWriter, Read, Write};

/// An upload with more wrong lines has failed.
const ERRORS_MAX: usize = 10;
const TRIES_MAX: u32 = 5;
const LINE_BYTES_MAX: u64 = 4096;
/// So often a worker says how far it is, and that it still lives.
const TELL_LINES: u64 = 1 << 14;

pub fn work(shop: &Shop, mut lease: Lease) -> Outcome {
    let record = lease.record().clone();
    if record.key() != Some(b"upload") {
        return Ok(lease.ack()?); // A result, of which there is nothing to do.
    }
    let text = std::str::from_utf8(&record)?;
    let [id, seq, _] = words(text)?;
    let (id, seq) = (u64::from_str_radix(id, 16)?, seq.parse()?);
    let tries = lease.delivery_count();
    let mut alive = |lines: u64| {
        shop.tell(id, "packed", lines);
        lease.extend()
    };
    let outcome = match tries {
        0..=TRIES_MAX => pack(shop, seq, &mut alive)?,
        _ => format!("failed 0\nno worker got it done, in {TRIES_MAX} tries"),
    };
    let result = format!("{id:x} {outcome}");
    let record = NewRecord::keyed("result", &result);
    match lease.append(&[record], &AppendOptions::new()) {
        // Another worker had it as well, and was first.
        Err(error) if error.kind() == ErrorKind::Duplicate => Ok(()),
        appended => Ok(appended.map(drop)?),
    }
}

/// Packs the lines of an upload; says what came of it. An error is of the log or the disk, and not of the upload.
fn pack(shop: &Shop, upload: Seq, alive: &mut impl FnMut(u64) -> bool) -> Outcome<String> {
    let mut input = shop.values.large(upload)?.ok_or("it is gone")?;
    let writer = shop.values.large_writer(&AppendOptions::new())?;
    let packer = GzEncoder::new(writer, Compression::fast());
    let mut output = BufWriter::new(packer);
    let (mut line, mut lines, mut errors) = (Vec::new(), 0, Vec::new());
    while next_line(&mut input, &mut line)? {
        lines += 1;
        match check(&line) {
            Ok((name, number)) => writeln!(output, "{name}\t{number}")?,
            Err(wrong) => errors.push(format!("\nline {lines}: {wrong}")),
        }
        if errors.len() > ERRORS_MAX {
            return Ok(format!("failed {lines}{}", errors.concat()));
        }
        if lines % TELL_LINES == 0 && !alive(lines) {
            return Err("it took too long, and another worker has the upload".into());
        }
    }
    let packer = output.into_inner().map_err(|error| error.into_error())?;
    let mut packed = packer.finish()?;
    let (seq, bytes) = (packed.finish()?, packed.value_bytes());
    Ok(format!("done {lines} {seq} {bytes}{}", errors.concat()))
}

/// The next line, no longer than a byte more than it may be. False at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Outcome<bool> {
    line.clear();
    input
        .by_ref()
        .take(LINE_BYTES_MAX + 1)
        .read_until(b'\n', line)?;
    if line.len() as u64 > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

fn check(line: &[u8]) -> Result<(&str, i64), String> {
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let line = line.trim_end();
    let (name, number) = line.split_once(',').ok_or("no comma")?;
    let number = number
        .parse()
        .map_err(|error| format!("{number:?}: {error}"))?;
    Ok((name, number))
}

/// What was packed, by the number of its result. None if there is no such result, or it failed.
pub fn packed(shop: &Shop, seq: Seq) -> Outcome<Option<LargeReader>> {
    let Some(record) = shop.jobs.get(seq)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&record);
    match (record.key(), words(text.lines().next().unwrap_or_default())) {
        (Some(b"result"), Ok([_, "done", _, seq, _])) => Ok(shop.values.large(seq.parse()?)?),
        _ => Ok(None),
    }
}

fn words<const N: usize>(text: &str) -> Outcome<[&str; N]> {
    let words: Vec<_> = text.split(' ').collect();
    Ok(words.try_into().map_err(|_| "not so many words")?)
}
