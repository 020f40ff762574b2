//! Text that is packed: what it takes on the disk and how fast it is read again; and for Cairn how fast it is
//! packed, beside the bare codec on the same bytes and beside durable appends.

use super::{append, beside, read::fill_level};
use crate::{
    child::{Sample, Spec},
    corpus::Corpus,
    engine::{self, Engine, Level, Setup, Values},
    meter,
};
use anyhow::{Context, Result, bail, ensure};
use cairnlog::{AppendOptions, Compression, Durability, Log, NewRecord, PackOptions};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Records that are handed over together, about 100 KB: who packs what comes together has something to pack.
const TOGETHER: usize = 1000;
/// What the bare codec is given at a time, as Cairn gives it.
const BLOCK_BYTES: usize = 64 << 10;

fn corpus(spec: &Spec) -> Result<Corpus> {
    let text = spec.text.context("no kind of text")?;
    Ok(Corpus::new(text, usize::try_from(spec.bytes_max)?))
}

fn open(spec: &Spec, level: Level) -> Result<Box<dyn Engine>> {
    let setup = Setup {
        level,
        payload_bytes: spec.payload_bytes,
        threads: 1,
        group: TOGETHER,
        keep: true,
        lets_go: false,
    };
    (engine::find(&spec.engine)?.open)(&spec.dir, &setup)
}

/// Fills a log, puts everything where it stays, and closes it.
pub fn fill(spec: &Spec) -> Result<Sample> {
    let corpus = corpus(spec)?;
    let log = open(spec, fill_level(&spec.engine)?)?;
    let mut writer = log.writer(0)?;
    for records in corpus.records().chunks(TOGETHER) {
        writer.batch(records)?;
    }
    writer.finish()?;
    drop(writer);
    log.sync()?;
    log.settle()?;
    log.close()?;
    Ok(Sample::default())
}

/// What it takes, and two scans. The second counts: everything is in memory then. The first tells of a disk, if
/// caches were dropped before.
pub fn read(spec: &Spec) -> Result<Sample> {
    let (allocated, length) = meter::space(&spec.dir)?;
    let log = open(spec, Level::Durable)?;
    let mut values = Values::new();
    let mut reader = log.reader()?.context("it has no reader")?;
    for pass in ["first_rate", "rate"] {
        let start = Instant::now();
        let seen = reader.scan()?.context("it has no scan")?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(seen.bytes >= spec.bytes_max, "bytes are missing: {seen:?}");
        values.insert(pass.into(), seen.records as f64 / seconds);
        values.insert("bytes_per_s".into(), seen.bytes as f64 / seconds);
        values.insert("disk_ratio".into(), allocated as f64 / seen.bytes as f64);
        values.insert("length_ratio".into(), length as f64 / seen.bytes as f64);
    }
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    drop(reader);
    log.close()?;
    Ok(Sample {
        values,
        latencies: Vec::new(),
    })
}

fn codec(engine: &str) -> Result<Compression> {
    match engine {
        "cairn-lz4" => Ok(Compression::Lz4),
        "cairn-zstd" => Ok(Compression::Zstd),
        other => bail!("{other} has no codec to be bare"),
    }
}

/// A log of its own, with everything in sealed segments.
fn sealed(dir: &Path, corpus: &Corpus) -> Result<Log> {
    let log = Log::open(dir)?;
    let how = AppendOptions::new().durability(Durability::Buffered);
    for records in corpus.records().chunks(TOGETHER) {
        let records: Vec<_> = records.iter().map(|it| NewRecord::value(*it)).collect();
        log.append_records(&records, &how)?;
    }
    log.rotate()?;
    log.sync()?;
    Ok(log)
}

/// The codec alone, block by block: how long it took to pack and to unpack, and how many bytes came out.
fn bare(codec: Compression, bytes: &[u8]) -> Result<(Duration, Duration, usize)> {
    let start = Instant::now();
    let blocks = bytes.chunks(BLOCK_BYTES).map(|block| match codec {
        Compression::Lz4 => Ok(lz4_flex::block::compress(block)),
        _ => zstd::bulk::compress(block, zstd::DEFAULT_COMPRESSION_LEVEL),
    });
    let blocks = blocks.collect::<std::io::Result<Vec<_>>>()?;
    let (packing, start, mut raw) = (start.elapsed(), Instant::now(), vec![0; BLOCK_BYTES]);
    for block in &blocks {
        let unpacked = match codec {
            Compression::Lz4 => lz4_flex::block::decompress_into(block, &mut raw)?,
            _ => zstd::bulk::decompress_to_buffer(block, &mut raw)?,
        };
        ensure!(unpacked > 0, "a block came back empty");
    }
    Ok((packing, start.elapsed(), blocks.iter().map(Vec::len).sum()))
}

pub fn pack(spec: &Spec) -> Result<Sample> {
    let (codec, corpus) = (codec(&spec.engine)?, corpus(spec)?);
    let (mut values, bytes) = (Values::new(), corpus.bytes().len() as f64);
    let log = sealed(&spec.dir.join("fast"), &corpus)?;
    let start = Instant::now();
    let report = log.pack(&PackOptions::new(codec).rate_bytes_per_s(None))?;
    let packed = start.elapsed();
    log.close()?;
    let (took, unpacking, bare_bytes) = bare(codec, corpus.bytes())?;
    values.insert("rate".into(), bytes / packed.as_secs_f64());
    values.insert("bare_rate".into(), bytes / took.as_secs_f64());
    values.insert("bare_unpack_rate".into(), bytes / unpacking.as_secs_f64());
    values.insert("of_bare".into(), took.as_secs_f64() / packed.as_secs_f64());
    values.insert("disk_ratio".into(), report.bytes_after as f64 / bytes);
    values.insert("bare_ratio".into(), bare_bytes as f64 / bytes);

    let log = sealed(&spec.dir.join("beside"), &corpus)?;
    let options = PackOptions::new(codec);
    let (held, going) = beside::appends(&log, |step| log.pack_with(&options, |_| step()))?;
    beside::quantiles(&held, &going, &mut values);
    log.close()?;
    values.insert("peak_mib".into(), meter::memory_mib("VmHWM")?);
    Ok(Sample {
        values,
        latencies: append::buckets(&going),
    })
}
