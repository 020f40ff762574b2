//! `cairn append`: records in, acknowledgements out.

use crate::{
    exit::{self, Failure, In, Outcome},
    input::{Framing, Input},
    open::{self, WriterArgs},
    output,
    pipeline::Pipeline,
    stream,
};
use cairnlog::{Durability, Log, NewRecord};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::{io, ops::Range, path::PathBuf, time::Instant};

pub const EXAMPLES: &str = "\
A line becomes a record: its line feed is taken off, a carriage return stays. A separator splits a
line at its first occurrence into key and value; a line without it is a value without a key.

Records enter in the order of the input. If one fails, no later one is in the log. However many are
in flight, a record is acknowledged only once it is as safe as --durability says.

Examples:
  seq 1 1000 | cairn append orders.log
  cairn append orders.log events.txt more-events.txt
  printf 'apples\\t3\\npears\\t5\\n' | cairn append prices.log --key-separator '\\t'
  printf '\\005\\000\\000\\000hello' | cairn append orders.log --length-prefixed
  seq 1 1000 | cairn append orders.log --batch 10 --acks | tail -n 1";

#[derive(Args, Debug)]
pub struct AppendArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// Files to read; `-` or none: standard input
    files: Vec<PathBuf>,
    /// Records have their length in front: 4 bytes, little-endian
    #[arg(long)]
    length_prefixed: bool,
    /// What stands between key and value; `\t`, `\n`, `\0` and `\\` are understood
    #[arg(long, value_name = "SEP", value_parser = separator)]
    key_separator: Option<Separator>,
    /// A key with nothing behind its separator is a tombstone: the key has no value any more
    #[arg(long, requires = "key_separator")]
    tombstones: bool,
    /// What an acknowledgement means
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    durability: Level,
    /// Records that enter the log together or not at all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Print the seq of each record on a line of its own, once it is acknowledged
    #[arg(long)]
    acks: bool,
    /// The size of new segments in bytes, such as 64M
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = open::size)]
    segment_bytes: u64,
    /// Print what was done as JSON
    #[arg(long, conflicts_with = "acks")]
    json: bool,
}

/// The levels of the library, as words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// It survives power loss
    Durable,
    /// It is with the operating system: it survives this process, not the power
    Written,
    /// It is in this process's memory; all is durable when the command ends
    Buffered,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Durable => Self::Durable,
            Level::Written => Self::Written,
            Level::Buffered => Self::Buffered,
        }
    }
}

/// A separator of key and value, its escapes replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separator(pub Vec<u8>);

pub fn separator(text: &str) -> Result<Separator, String> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match (c, c == '\\') {
            (_, false) => c,
            (_, true) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('0') => '\0',
                Some('\\') => '\\',
                _ => return Err("after a backslash, one of t, n, 0, \\ was expected".to_owned()),
            },
        };
        out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if out.is_empty() {
        return Err("a separator cannot be empty".to_owned());
    }
    Ok(Separator(out))
}

impl Separator {
    /// Where key ends and value begins, if it occurs.
    pub fn find(&self, record: &[u8]) -> Option<(usize, usize)> {
        let start = match self.0.as_slice() {
            [byte] => record.iter().position(|other| other == byte),
            separator => record
                .windows(separator.len())
                .position(|window| window == separator),
        }?;
        Some((start, start + self.0.len()))
    }
}

pub fn run(args: &AppendArgs) -> Outcome {
    if args.acks && args.durability == Level::Buffered {
        let text = "a buffered record is acknowledged before it is anywhere: --acks needs \
                    --durability durable or written";
        return Err(Failure::Usage(text.to_owned()));
    }
    let framing = if args.length_prefixed {
        Framing::LengthPrefixed
    } else {
        Framing::Lines
    };
    let mut input = Input::new("append", &args.files, framing)?;
    let options = open::options()?
        .durability(args.durability.into())
        .segment_bytes(args.segment_bytes);
    let log = args.writer.open_or_begin(options)?;
    let started = Instant::now();
    let mut pipeline = Pipeline::start(
        &log,
        args.writer.dir.clone(),
        args.durability.into(),
        args.acks,
    )?;
    let fed = feed(args, &mut input, &mut pipeline);
    let (mut settled, waited) = pipeline.finish();
    let closed = log.close().in_log(&args.writer.dir);

    // The reason before its consequences.
    let outcome = waited.and(fed).and(closed);
    if outcome.is_err() {
        let Range { start, end } = settled.acknowledged;
        let done = output::counted(end - start, "record");
        crate::stream::say!("cairn: acknowledged before that: {done}, seq {start}..{end}");
    } else if let Some(error) = settled.untold.take() {
        return Err(match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Code(exit::PIPE),
            _ => Failure::from(error),
        });
    } else if !args.acks {
        tell(args, &log, settled.acknowledged, started)?;
    }
    outcome
}

/// Reads the input into the pipeline, until either ends.
fn feed(args: &AppendArgs, input: &mut Input, pipeline: &mut Pipeline) -> Outcome {
    let progress = output::progress("append", Input::total_bytes(&args.files));
    let mut batch = Batch::new(args);
    loop {
        let before = batch.bytes.len();
        let more = input.read(&mut batch.bytes)?;
        if more {
            batch.ends.push(batch.bytes.len());
        }
        if batch.is_full(args) || (!more && !batch.ends.is_empty()) {
            let submitted = batch.submit(pipeline, &progress);
            if !submitted.map_err(|failure| at_place(failure, input))? {
                return Ok(());
            }
        } else if batch.bytes.len() as u64 > args.segment_bytes {
            let text = format!(
                "append: {}: a batch enters one segment as a whole, and this one is over {} bytes \
                 long already; use a smaller --batch or larger --segment-bytes",
                input.place(),
                batch.bytes.len().max(before)
            );
            return Err(Failure::Said(text));
        }
        if !more {
            progress.finish_and_clear();
            return Ok(());
        }
    }
}

fn at_place(failure: Failure, input: &Input) -> Failure {
    match failure {
        Failure::Engine(error, dir) if error.kind() == cairnlog::ErrorKind::TooLarge => {
            crate::stream::say!("cairn: at {}:", input.place());
            Failure::Engine(error, dir)
        }
        other => other,
    }
}

/// The records that go in together, and where each ends.
struct Batch<'a> {
    args: &'a AppendArgs,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    unreported_bytes: u64,
}

impl<'a> Batch<'a> {
    fn new(args: &'a AppendArgs) -> Self {
        Self {
            args,
            bytes: Vec::new(),
            ends: Vec::new(),
            unreported_bytes: 0,
        }
    }

    fn is_full(&self, args: &AppendArgs) -> bool {
        self.ends.len() >= args.batch as usize
    }

    fn submit(&mut self, pipeline: &mut Pipeline, progress: &ProgressBar) -> Outcome<bool> {
        let wanted = if let [end] = *self.ends {
            pipeline.submit(&[self.record(0..end)], None)?
        } else {
            let starts = std::iter::once(&0).chain(&self.ends);
            let ranges = starts.zip(&self.ends).map(|(start, end)| *start..*end);
            let records: Vec<NewRecord<'_>> = ranges.map(|range| self.record(range)).collect();
            pipeline.submit(&records, None)?
        };
        // A bar takes a lock and looks at the clock: not for every line.
        self.unreported_bytes += self.bytes.len() as u64 + self.ends.len() as u64;
        if self.unreported_bytes >= 256 << 10 {
            progress.inc(std::mem::take(&mut self.unreported_bytes));
        }
        self.bytes.clear();
        self.ends.clear();
        Ok(wanted)
    }

    fn record(&self, range: Range<usize>) -> NewRecord<'_> {
        let bytes = &self.bytes[range];
        let split = self.args.key_separator.as_ref();
        match split.and_then(|separator| separator.find(bytes)) {
            None => NewRecord::value(bytes),
            Some((key_end, start)) if start == bytes.len() && self.args.tombstones => {
                NewRecord::tombstone(&bytes[..key_end])
            }
            Some((key_end, start)) => NewRecord::keyed(&bytes[..key_end], &bytes[start..]),
        }
    }
}

/// What was done, in a line.
fn tell(args: &AppendArgs, log: &Log, seqs: Range<u64>, started: Instant) -> Outcome {
    let (stats, elapsed) = (log.stats(), started.elapsed());
    let as_json = args.json.then(|| {
        serde_json::json!({
            "first_seq": seqs.start,
            "next_seq": seqs.end,
            "record_count": stats.appended_records,
            "payload_bytes": stats.appended_bytes,
            "written_bytes": stats.written_bytes,
            "sync_count": stats.sync_count,
            "elapsed_ms": elapsed.as_millis() as u64,
        })
    });
    let records = output::counted(stats.appended_records, "record");
    let size = output::bytes(stats.appended_bytes);
    let syncs = output::counted(stats.sync_count, "sync");
    let time = output::duration(elapsed);
    stream::report(as_json, |out| {
        writeln!(
            out,
            "appended {records}, seq {}..{}, {size} in {time}, {syncs}",
            seqs.start, seqs.end
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators() {
        assert_eq!(separator("\\t"), Ok(Separator(b"\t".to_vec())));
        assert_eq!(separator("=>"), Ok(Separator(b"=>".to_vec())));
        assert_eq!(separator("\\\\"), Ok(Separator(b"\\".to_vec())));
        assert!(separator("").is_err());
        assert!(separator("\\x").is_err());
        let arrow = Separator(b"=>".to_vec());
        assert_eq!(arrow.find(b"a=>b=>c"), Some((1, 3)));
        assert_eq!(arrow.find(b"a=b"), None);
        assert_eq!(Separator(b" ".to_vec()).find(b" x"), Some((0, 1)));
    }
}
