//! `cairn cat`: the records of a range, or those of them that are looked for.

use crate::{
    exit::{Failure, In, Outcome},
    open, output,
    show::{self, EndArgs, ShowArgs},
    stream,
    time::moment,
};
use cairnlog::{Reader, Seq, format::RecordRef};
use clap::Args;
use std::{io::Write, ops::Bound, path::PathBuf};

pub const EXAMPLES: &str = "\
Takes no lock and writes nothing; a writer may be at work. What is shown was verified, and is proven
durable unless --unproven is given. Where something does not verify, all before it is shown, and it
ends with 3.

Examples:
  cairn cat orders.log
  cairn cat orders.log --from 990 --format hex
  cairn cat orders.log --reverse --limit 1
  cairn cat orders.log --since 1h --until 2100-01-01 --json
  cairn cat orders.log --grep 'record 99' --limit 3
  cairn cat orders.log --key apples --reverse --limit 1
  cairn cat orders.log --length-prefixed | cairn append copy.log --length-prefixed";

#[derive(Args, Debug)]
pub struct CatArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The first seq to show; by default the oldest that is kept
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    /// The seq to stop before; by default the end
    #[arg(long, value_name = "SEQ")]
    to: Option<Seq>,
    /// Newest first
    #[arg(long)]
    reverse: bool,
    /// From the first record of this time on: RFC 3339, a date (UTC), milliseconds since 1970, or how
    /// long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<i64>,
    /// Up to the first record of this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    until: Option<i64>,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Only the records of this key, tombstones included
    #[arg(long)]
    key: Option<String>,
    /// Only the records whose value contains this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    end: EndArgs,
}

impl CatArgs {
    fn wants(&self, record: &RecordRef<'_>) -> bool {
        let contains = |text: &String| {
            let value = record.value.unwrap_or_default();
            text.is_empty() || value.windows(text.len()).any(|it| it == text.as_bytes())
        };
        (self.key.as_ref()).is_none_or(|key| record.key == Some(key.as_bytes()))
            && self.grep.as_ref().is_none_or(contains)
    }
}

pub fn run(args: &CatArgs) -> Outcome {
    let mut show = args.show.start()?;
    let reader = args
        .end
        .reader(open::read_only(&args.dir)?, args.to.is_some());
    let mut range = range(args, &reader)?;
    // Backwards what verifies comes first too, and then why there is no more.
    let end = reader.end_seq();
    let is_cut = args.reverse && matches!(range.1, Bound::Excluded(to) if to > end);
    if is_cut {
        range.1 = Bound::Excluded(end);
    }
    let mut scan = reader.scan(range).in_log(&args.dir)?;
    let mut out = stream::raw();
    let all = scan.remaining();
    let progress = output::record_progress("cat", all.end - all.start);
    let (mut seen, mut left) = (0u64, args.limit);
    let mut each = |record: &RecordRef<'_>, left: &mut u64| {
        seen += 1;
        // A bar takes a lock and looks at the clock: not for every record.
        if seen.is_multiple_of(8192) {
            progress.set_position(seen);
        }
        if !args.wants(record) {
            return Ok(());
        }
        *left -= 1;
        show.record(&mut out, record)
    };
    if args.reverse {
        let mut records = scan.rev();
        while left > 0
            && let Some(record) = records.next()
        {
            each(&show::lend(&record.in_log(&args.dir)?), &mut left)?;
        }
    } else {
        while left > 0
            && let Some(record) = scan.next_ref()
        {
            each(&record.in_log(&args.dir)?, &mut left)?;
        }
    }
    progress.finish_and_clear();
    out.flush()?;
    match is_cut && left > 0 {
        true => open::check_end(&reader, &args.dir),
        false => Ok(()),
    }
}

type Range = (Bound<Seq>, Bound<Seq>);

/// Without a start it is open: the head may move until the walk begins.
fn range(args: &CatArgs, reader: &Reader) -> Outcome<Range> {
    let seek = |time_ms: i64| reader.seek_time(time_ms).in_log(&args.dir);
    let mut first = args.from;
    if let Some(since_ms) = args.since {
        first = first.max(Some(seek(since_ms)?));
    }
    let mut end = args.to.unwrap_or(Seq::MAX);
    if let Some(from) = args.from.filter(|from| *from > end) {
        let text = format!("--from {from} lies behind --to {end}");
        return Err(Failure::Usage(text));
    }
    if let Some(until_ms) = args.until {
        end = end.min(seek(until_ms)?);
    }
    let start = first.map_or(Bound::Unbounded, Bound::Included);
    Ok((start, Bound::Excluded(end.max(first.unwrap_or(0)))))
}
