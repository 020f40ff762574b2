//! Writes the golden logs of `tests/fixtures/v1` that are missing: `cargo run --example fixtures`.
//!
//! A fixture is added and never edited: every later version has to open what this one wrote. Each is
//! a directory with the log and `expected.txt`: the verdict of opening, then the records, the
//! large values among them and where the cursors stand, one a line.

use cairnlog::{
    AppendOptions, CompactOptions, Compression, Durability, Log, Maintained, NewRecord, Options,
    PackOptions, Producer, RepairOptions, format::SegmentHeader, vfs::sim::SimFs,
};
use std::{
    error::Error,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

type Outcome = Result<(), Box<dyn Error>>;
/// A name, and what makes a log of that shape on a disk.
type Shape = (&'static str, fn(&SimFs) -> Outcome);

fn options(disk: &SimFs) -> Options {
    Log::options()
        .vfs(Arc::new(disk.clone()))
        .segment_bytes(1024)
        .background(false)
}

fn main() -> Outcome {
    let shapes: [Shape; 20] = [
        ("empty", |disk| Ok(options(disk).open("log")?.close()?)),
        ("single_clean", |disk| fill(disk, 1, true)),
        ("single_killed", |disk| fill(disk, 1, false)),
        ("segments_clean", |disk| fill(disk, 60, true)),
        ("segments_killed", |disk| fill(disk, 60, false)),
        ("kinds", kinds),
        ("batches", batches),
        ("chain", chain),
        ("torn", torn),
        ("damaged", damaged),
        ("trimmed", |disk| edited(disk, |log| log.trim(25))),
        ("rewound", |disk| edited(disk, |log| log.rewind(25))),
        ("repaired", repaired),
        ("compacted", compacted),
        ("recycled", recycled),
        ("moves", moves),
        ("large", large),
        ("packed", packed),
        ("packed_appends", packed_appends),
        ("marks", marks),
    ];
    for (name, make) in shapes {
        let target = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/v1")
            .join(name);
        if !target.exists() {
            let disk = SimFs::new(name.bytes().map(u64::from).sum());
            make(&disk)?;
            save(&disk.kill(), &target)?;
        }
    }
    Ok(())
}

fn fill(disk: &SimFs, count: u64, close: bool) -> Outcome {
    let log = options(disk).open("log")?;
    for number in 0..count {
        log.append(format!("record number {number}"))?;
    }
    finish(disk, log, close)
}

/// Closes, or lets the power fail without a close.
fn finish(disk: &SimFs, log: Log, close: bool) -> Outcome {
    if close {
        log.close()?;
    } else {
        disk.power_cut();
    }
    Ok(())
}

/// Batches with and without gaps, times far apart, a tombstone that stays.
fn compacted(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    let how = AppendOptions::new().durability(Durability::Written);
    for number in 0..120u64 {
        let (key, value) = (
            format!("key {}", number * number % 17),
            format!("value {number}"),
        );
        let record = match number % 10 {
            0 => NewRecord::value(&value),
            1 => NewRecord::tombstone(&key),
            2 => NewRecord::keyed(&key, &value).timestamp_ms(1_000_000_000_000),
            3 => NewRecord::keyed(&value, &key), // A key that comes once.
            _ => NewRecord::keyed(&key, &value),
        };
        log.append_records(&[record], &how)?;
    }
    log.rotate()?;
    log.append("behind")?;
    let report = log.compact(&CompactOptions::new())?;
    assert!(report.dropped_count > 50 && report.segments_before > 3);
    finish(disk, log, true)
}

/// Packed segments, with gaps and without, and records behind them that are not.
fn packed(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    for number in 0..90u64 {
        let line = format!("12:00:{:02} request {number} answered", number % 60);
        let record = match number % 10 {
            0 => NewRecord::keyed("last", &line),
            1 => NewRecord::value(&line).timestamp_ms(1_000_000_000_000),
            2 if number > 50 => NewRecord::tombstone("gone"),
            2 => NewRecord::keyed("gone", &line),
            _ => NewRecord::value(&line),
        };
        log.append_records(&[record], &AppendOptions::new())?;
    }
    log.rotate()?;
    let how = PackOptions::new(Compression::Lz4);
    assert!(log.pack(&how)?.segments_before > 3);
    log.close()?;
    let log = options(disk).pack(how).open("log")?;
    assert!(log.compact(&CompactOptions::new())?.dropped_count > 10);
    log.append("not packed")?;
    finish(disk, log, true)
}

/// Groups that were packed as they were appended, in a sealed segment and in the tail, with producers and without,
/// and beside them records as they are. The power fails.
fn packed_appends(disk: &SimFs) -> Outcome {
    let options = options(disk).segment_bytes(4096);
    let log = options.pack_appends(Compression::Lz4).open("log")?;
    for number in 0..18u64 {
        let line = |at: u64| format!("12:00:{at:02} request {number}.{at} answered");
        let lines: Vec<_> = (0..40).map(line).collect();
        let records = lines.iter().zip(0..).map(|(line, at)| match at % 20 {
            0 => NewRecord::keyed("last", line),
            1 => NewRecord::value(line).timestamp_ms(1_000_000_000_000),
            2 => NewRecord::tombstone("gone"),
            _ => NewRecord::value(line),
        });
        let by = Producer {
            id: 7,
            epoch: 1,
            number,
        };
        let how = match number % 3 {
            0 => AppendOptions::new().producer(by),
            _ => AppendOptions::new(),
        };
        log.append_records(&records.collect::<Vec<_>>(), &how)?;
        log.append("not packed")?;
        log.maintain()?;
    }
    assert!(log.segments()?.len() > 2);
    finish(disk, log, false)
}

/// Marks beside records: one that was set anew, one without a value, one that was removed. The power fails.
fn marks(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    log.set_mark("vote", "term 1")?;
    log.set_mark("gone", "soon")?;
    for number in 0..40 {
        log.append(format!("record number {number}"))?;
    }
    log.set_mark("vote", "term 2")?;
    log.set_mark("empty", "")?;
    log.remove_mark("gone")?;
    finish(disk, log, false)
}

fn kinds(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    let producer = Producer {
        id: 7,
        epoch: 1,
        number: 42,
    };
    let records = [
        NewRecord::value(""),
        NewRecord::keyed("", ""),
        NewRecord::keyed("apples", "3"),
        NewRecord::tombstone("pears"),
        NewRecord::value("long ago").timestamp_ms(-1),
        NewRecord::keyed("far ahead", &[0, 255]).timestamp_ms(i64::MAX),
        NewRecord::tombstone("all").timestamp_ms(0),
    ];
    for record in &records {
        log.append_records(&[*record], &AppendOptions::new())?;
    }
    log.append_records(&records, &AppendOptions::new())?;
    let how = AppendOptions::new().producer(producer);
    log.append_records(&[NewRecord::value("from seven")], &how)?;
    Ok(log.close()?)
}

fn batches(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    for size in 1..12 {
        log.append_batch((0..size).map(|number| format!("{number} of {size}")))?;
    }
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..30 {
        log.append_records(&[NewRecord::value(&format!("shared {number}"))], &buffered)?;
    }
    log.sync()?;
    finish(disk, log, false)
}

/// The power fails right after a rotation: the spare is begun, nothing is sealed yet.
fn chain(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    let mut number = 0;
    while log.stats().rotation_count == 0 {
        log.append(format!("record number {number}"))?;
        number += 1;
    }
    log.append("one more")?;
    finish(disk, log, false)
}

fn last_segment(disk: &SimFs) -> std::path::PathBuf {
    let written = |path: &Path| {
        disk.read_file(path)
            .is_some_and(|bytes| bytes.starts_with(b"CAIRNSEG"))
    };
    disk.files()
        .into_iter()
        .filter(|path| written(path))
        .max()
        .expect("there is a segment")
}

fn torn(disk: &SimFs) -> Outcome {
    fill(disk, 8, false)?;
    let path = last_segment(disk);
    let mut bytes = disk.read_file(&path).ok_or("no tail")?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .ok_or("an empty tail")?;
    bytes[end - 4..].fill(0);
    disk.write_file(&path, &bytes);
    Ok(())
}

fn damaged(disk: &SimFs) -> Outcome {
    fill(disk, 8, false)?;
    disk.flip_bit(&last_segment(disk), 128 + 24 + 10, 0);
    Ok(())
}

fn edited(disk: &SimFs, edit: impl Fn(&Log) -> cairnlog::Result<()>) -> Outcome {
    let log = options(disk).open("log")?;
    for number in 0..40 {
        log.append(format!("record number {number}"))?;
    }
    edit(&log)?;
    log.append("after it")?;
    Ok(log.close()?)
}

fn repaired(disk: &SimFs) -> Outcome {
    fill(disk, 60, true)?;
    disk.flip_bit(Path::new("log/00000000000000000001.seg"), 128 + 24 + 10, 0);
    let how = RepairOptions::new().apply(true).accept_loss(true);
    options(disk).repair("log", how)?;
    Ok(options(disk).open("log")?.close()?)
}

/// The power fails with a tail in a file that was another segment before: its old bytes are behind the end.
fn recycled(disk: &SimFs) -> Outcome {
    // Zeros are kept in front of old bytes: a segment has to be larger than those.
    let log = options(disk).segment_bytes(12 << 10).open("log")?;
    let append = |count: u64| -> Outcome {
        for _ in 0..count {
            log.append(format!("record {} ", log.next_seq()).repeat(80))?;
            while log.maintain()? != Maintained::Nothing {}
        }
        Ok(())
    };
    append(30)?;
    log.trim(25)?;
    append(30)?;
    let tail = disk.read_file(&last_segment(disk)).ok_or("no tail")?;
    assert!(SegmentHeader::decode(&tail).is_ok_and(|header| header.recycled));
    let text = String::from_utf8_lossy(&tail);
    let old = (0..25).any(|old| text.contains(&format!("record {old} ")));
    assert!(text.contains("record 59 ") && old, "the tail is new");
    finish(disk, log, false)
}

/// Moves of two cursors, in batches of their own and with what a consumer appended; of one the file says where it
/// stood when a segment was sealed. The power fails.
fn moves(disk: &SimFs) -> Outcome {
    let log = options(disk).open("log")?;
    let (mailer, auditor) = (log.consumer("mailer")?, log.consumer("auditor")?);
    for number in 0..60 {
        let seq = log.append(format!("record number {number}"))?;
        if number % 5 == 2 {
            mailer.ack(seq)?;
        }
        while log.maintain()? != Maintained::Nothing {}
    }
    auditor.ack(3)?;
    auditor.append(
        &[NewRecord::keyed("audited", "record number 4")],
        4,
        &AppendOptions::new(),
    )?;
    mailer.ack(58)?;
    let cursors = disk.files().into_iter().filter(|path| {
        let parent = path.parent().and_then(Path::file_name);
        parent.is_some_and(|name| name == "cursors")
    });
    assert!(cursors.count() >= 2 && log.stats().rotation_count > 1);
    finish(disk, log, false)
}

/// Two large values that were written at the same time, one of a single piece, one of none, and one that was never
/// finished.
fn large(disk: &SimFs) -> Outcome {
    let log = options(disk).record_bytes_max(100).open("log")?;
    let begin = || log.large_writer(&AppendOptions::new());
    let (mut first, mut second, mut unfinished) = (begin()?, begin()?, begin()?);
    for number in 0..40 {
        write!(first, "{number} of the first, ")?;
        write!(second, "{number} of the second, ")?;
        write!(unfinished, "{number} of the third, ")?;
    }
    second.finish()?;
    log.append("a record of another kind")?;
    first.finish()?;
    for text in ["short", ""] {
        let mut writer = begin()?;
        writer.write_all(text.as_bytes())?;
        writer.finish()?;
    }
    finish(disk, log, false)
}

/// Writes the log and what opening it, on a copy, gives.
fn save(disk: &SimFs, target: &Path) -> Outcome {
    for path in disk.files() {
        // The reserve is zeros and optional; the lock file is made anew.
        if !path.ends_with("RESERVE") && !path.ends_with("LOCK") {
            let to = target.join(path.strip_prefix("/").unwrap_or(&path));
            fs::create_dir_all(to.parent().ok_or("no parent")?)?;
            fs::write(to, disk.read_file(&path).ok_or("no file")?)?;
        }
    }
    fs::write(target.join("expected.txt"), expected(&disk.snapshot())?)?;
    Ok(())
}

fn expected(disk: &SimFs) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let log = match options(disk).open("log") {
        Ok(log) => log,
        Err(error) => return Ok(format!("refused: {error}\n")),
    };
    writeln!(
        out,
        "{} head {} next {}",
        log.recovery().verdict,
        log.head_seq(),
        log.next_seq()
    )?;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let part = |bytes: Option<&[u8]>| {
        bytes.map_or_else(|| "-".to_owned(), |bytes| format!("x{}", hex(bytes)))
    };
    for record in log.scan(..)? {
        let record = record?;
        let (seq, time) = (record.seq(), record.timestamp_ms());
        let producer = record.producer().map_or_else(
            || "-".to_owned(),
            |producer| format!("{}/{}/{}", producer.id, producer.epoch, producer.number),
        );
        writeln!(
            out,
            "{seq} {time} {} {} {producer}",
            part(record.key()),
            part(record.value())
        )?;
    }
    for record in log.scan(..)? {
        if let Some(mut value) = log.large_of(&record?)? {
            let mut bytes = Vec::new();
            value.read_to_end(&mut bytes)?;
            writeln!(out, "large {} {}", value.seq(), part(Some(&bytes)))?;
        }
    }
    for cursor in log.cursors()? {
        writeln!(out, "cursor {} {}", cursor.name, cursor.seq)?;
    }
    for mark in log.marks() {
        writeln!(out, "mark {} {}", mark.name, part(Some(&mark.value)))?;
    }
    Ok(out)
}
