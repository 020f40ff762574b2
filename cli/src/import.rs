//! `cairn import`: what `cairn export` wrote becomes records again.
//!
//! INVARIANT: records enter in the order of the input, without a hole. Those of one append, which have its
//! producer's name and neighbouring lines, enter together under that name, so that an import that was
//! broken off can be repeated for them.

use crate::{
    exit::{Failure, In, Outcome},
    input::{Framing, Input},
    json::{self, Parsed},
    open::{self, WriterArgs},
    output,
    pipeline::Pipeline,
    stream,
};
use cairnlog::{Durability, NewRecord, Seq};
use clap::Args;
use serde_json::json;
use std::{path::PathBuf, time::Instant};

pub const EXAMPLES: &str = "\
Reads an object a line, as `cairn export` and `cairn cat --json` print them. Keys, values, tombstones,
times and producers are as they were. Seqs are given anew, from the log's next on; with --same-seqs a
record that would get another than it had is an error. A cursor's move stays with its log, and is left
out with a note.

An append that names its producer is made once: what is there already is not appended again.

Examples:
  cairn export orders.log > orders.jsonl
  cairn import copy.log orders.jsonl
  cairn export orders.log | cairn import exact.log --same-seqs
  echo '{\"key\":\"apples\",\"value\":\"3\"}' | cairn import prices.log";

#[derive(Args, Debug)]
pub struct ImportArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// Files to read; `-` or none: standard input
    files: Vec<PathBuf>,
    /// Each record has to get the seq that it had
    #[arg(long)]
    same_seqs: bool,
    /// The size of new segments in bytes, such as 64M
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = open::size)]
    segment_bytes: u64,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// What was met on the way.
#[derive(Default)]
struct Counts {
    /// Records whose producer's append was there already.
    repeated: u64,
    /// Records that lost a cursor's move.
    unmoved: u64,
}

pub fn run(args: &ImportArgs) -> Outcome {
    let mut input = Input::new("import", &args.files, Framing::Objects)?;
    let dir = &args.writer.dir;
    let options = open::options()?.segment_bytes(args.segment_bytes);
    let log = args.writer.open_or_begin(options)?;
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut pipeline = Pipeline::start(&log, dir.clone(), Durability::Durable, false)?;
    let fed = feed(args, &mut input, &mut pipeline, &mut counts);
    let (settled, waited) = pipeline.finish();
    let closed = log.close().in_log(dir);
    let seqs = settled.acknowledged;
    if counts.unmoved > 0 {
        let records = output::counted(counts.unmoved, "record");
        stream::note!("cairn: import: {records} moved a cursor, which stays with its log");
    }
    if let Err(failure) = waited.and(fed).and(closed) {
        let done = output::counted(seqs.end - seqs.start, "record");
        stream::say!(
            "cairn: acknowledged before that: {done}, seq {}..{}",
            seqs.start,
            seqs.end
        );
        return Err(failure);
    }
    let elapsed = started.elapsed();
    let as_json = args.json.then(|| {
        json!({
            "first_seq": seqs.start,
            "next_seq": seqs.end,
            "record_count": seqs.end - seqs.start,
            "repeated_count": counts.repeated,
            "unmoved_count": counts.unmoved,
            "elapsed_ms": elapsed.as_millis() as u64,
        })
    });
    stream::report(as_json, |out| {
        let records = output::counted(seqs.end - seqs.start, "record");
        let time = output::duration(elapsed);
        write!(
            out,
            "imported {records}, seq {}..{}, in {time}",
            seqs.start, seqs.end
        )?;
        match counts.repeated {
            0 => writeln!(out),
            count => writeln!(out, "; {} were there already", output::count(count)),
        }
    })
}

fn feed(
    args: &ImportArgs,
    input: &mut Input,
    pipeline: &mut Pipeline,
    counts: &mut Counts,
) -> Outcome {
    let progress = output::progress("import", Input::total_bytes(&args.files));
    let (mut line, mut named): (Vec<u8>, Vec<Parsed>) = (Vec::new(), Vec::new());
    let mut unreported_bytes = 0;
    loop {
        line.clear();
        let next = match input.read(&mut line)? {
            true => Some(read(args, input, &line, counts)?),
            false => None,
        };
        // The records of a named append are submitted once all of them are there.
        let same = |next: &Parsed| named.first().is_some_and(|it| it.producer == next.producer);
        if !named.is_empty() && !next.as_ref().is_some_and(same) {
            if !submit(args, pipeline, &named, counts)? {
                return Ok(());
            }
            named.clear();
        }
        // A bar takes a lock and looks at the clock: not for every line.
        unreported_bytes += line.len() as u64 + 1;
        if unreported_bytes >= 256 << 10 {
            progress.inc(std::mem::take(&mut unreported_bytes));
        }
        match next {
            Some(next) if next.producer.is_some() => named.push(next),
            Some(next) => {
                if !submit(args, pipeline, &[next], counts)? {
                    return Ok(());
                }
            }
            None => {
                progress.finish_and_clear();
                return Ok(());
            }
        }
    }
}

fn read(args: &ImportArgs, input: &Input, line: &[u8], counts: &mut Counts) -> Outcome<Parsed> {
    let wrong = |what: String| Failure::Said(format!("import: {}: {what}", input.place()));
    let mut parsed = json::read(line).map_err(wrong)?;
    if args.same_seqs && parsed.seq.is_none() {
        return Err(wrong("--same-seqs, and no seq".to_owned()));
    }
    if parsed.moves_cursor() {
        parsed.producer = None;
        counts.unmoved += 1;
    }
    Ok(parsed)
}

/// Submits the records of one append. False: no more is wanted.
fn submit(
    args: &ImportArgs,
    pipeline: &mut Pipeline,
    append: &[Parsed],
    counts: &mut Counts,
) -> Outcome<bool> {
    let first = pipeline.next_seq();
    if args.same_seqs {
        check_seqs(append, first)?;
    }
    let records: Vec<NewRecord<'_>> = append.iter().map(Parsed::record).collect();
    let producer = append.first().and_then(|record| record.producer);
    let wanted = pipeline.submit(&records, producer)?;
    if wanted && pipeline.next_seq() == first {
        counts.repeated += records.len() as u64;
    }
    Ok(wanted)
}

fn check_seqs(append: &[Parsed], first: Seq) -> Outcome {
    for (seq, record) in (first..).zip(append) {
        if record.seq != Some(seq) {
            let had = record.seq.unwrap_or_default();
            let text = format!("import: seq {had} would become seq {seq}: --same-seqs forbids it");
            return Err(Failure::Said(text));
        }
    }
    Ok(())
}
