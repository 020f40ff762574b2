//! `cairn consume`: the records from a cursor on, acknowledged once they are printed.
//!
//! INVARIANT: a record is acknowledged after it was flushed to standard output, never before.

use crate::{
    exit::{Failure, In, Outcome},
    open::{self, WriterArgs},
    show::{self, Show, ShowArgs},
    stream, tail,
};
use cairnlog::{Consumer, Seq};
use clap::Args;
use std::io::Write;

pub const EXAMPLES: &str = "\
At least once: records are acknowledged after they were written to standard output, up to a
thousand at a time. If it is killed, or whoever reads the output goes away, the next run prints
again what was printed and not acknowledged. What became of records behind a pipe it cannot know.

Acknowledging changes the log, so no other process may have it open for writing. --no-ack changes
nothing, needs no lock, and shows beside a writer what is still to be consumed.

If the cursor has fallen behind the oldest record kept it ends with 1, and says where that is:
`cairn cursor set` moves the cursor there.

Examples:
  cairn consume orders.log mailer --max 10
  cairn consume orders.log mailer --json
  cairn consume orders.log mailer --no-ack -f";

/// Acknowledged together: so many records, or about so many bytes.
const PORTION_COUNT: u64 = 1000;
const PORTION_BYTES: usize = 1 << 20;

#[derive(Args, Debug)]
pub struct ConsumeArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The name of the cursor; a new one begins at the oldest record kept
    name: String,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    max: u64,
    /// Acknowledge nothing: the cursor stays where it is, and no lock is needed
    #[arg(long)]
    no_ack: bool,
    /// Go on showing records as they come, until interrupted; only with --no-ack
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    show: ShowArgs,
}

pub fn run(args: &ConsumeArgs) -> Outcome {
    if args.follow && !args.no_ack {
        let text = "whoever acknowledges holds the log's lock, so that nothing would come to be \
                    followed: --follow goes with --no-ack only";
        return Err(Failure::Usage(text.to_owned()));
    }
    let mut show = args.show.start()?;
    if args.no_ack {
        return look(args, &mut show);
    }
    let dir = &args.writer.dir;
    let log = args.writer.open(open::existing()?)?;
    let known = log.cursors().in_log(dir)?;
    let mut consumer = log.consumer(&args.name).in_log(dir)?;
    if !known.iter().any(|cursor| cursor.name == args.name) {
        let (name, seq) = (&args.name, consumer.seq());
        stream::note!("cairn: no cursor `{name}` yet: begins one at seq {seq}");
    }
    let mut out = stream::raw();
    let mut left = args.max;
    loop {
        let (last, failed) = portion(args, &mut consumer, &mut show, &mut out, &mut left)?;
        out.flush()?;
        if let Some(seq) = last {
            consumer.ack(seq).in_log(dir)?;
        }
        failed?;
        if last.is_none() {
            break;
        }
    }
    log.close().in_log(dir)
}

/// Prints some records. Gives the last that was printed, if there was any, and why it ended early:
/// what came before that is to be acknowledged all the same.
fn portion(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    show: &mut Show<'_>,
    out: &mut impl Write,
    left: &mut u64,
) -> Outcome<(Option<Seq>, Outcome)> {
    let (mut last, mut bytes) = (None, 0);
    for _ in 0..PORTION_COUNT.min(*left) {
        let record = match consumer.try_next().in_log(&args.writer.dir) {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(failure) => return Ok((last, Err(failure))),
        };
        show.record(out, &show::lend(&record))?;
        last = Some(record.seq());
        *left -= 1;
        bytes += record.len();
        if bytes >= PORTION_BYTES {
            break;
        }
    }
    Ok((last, Ok(())))
}

/// Prints the records and leaves the cursor alone.
fn look(args: &ConsumeArgs, show: &mut Show<'_>) -> Outcome {
    let dir = &args.writer.dir;
    let reader = open::read_only(dir)?;
    let cursors = open::cursors(dir)?;
    let known =
        |cursor: &&cairnlog::CursorInfo| cursor.defect.is_none() && cursor.name == args.name;
    let mut out = stream::raw();
    let first = match cursors.iter().find(known) {
        Some(cursor) => cursor.seq,
        None => {
            let name = &args.name;
            crate::stream::note!("cairn: no cursor `{name}` yet: from the oldest record kept");
            reader.head_seq()
        }
    };
    if args.follow {
        return tail::follow(dir, show, &mut out, reader.tail(first), args.max);
    }
    let mut left = args.max;
    let mut scan = reader.scan(first..).in_log(dir)?;
    while left > 0
        && let Some(record) = scan.next_ref()
    {
        show.record(&mut out, &record.in_log(dir)?)?;
        left -= 1;
    }
    Ok(out.flush()?)
}
