//! `cairn cat`: the records of a range.

use crate::{
    exit::{Failure, In, Outcome},
    open, output,
    show::{self, EndArgs, ShowArgs},
    stream,
};
use cairnlog::{Reader, Seq};
use clap::Args;
use jiff::{Timestamp, civil};
use std::{io::Write, ops::Bound, path::PathBuf};

pub const EXAMPLES: &str = "\
Takes no lock and writes nothing; a writer may be at work. What is shown was verified, and is proven
durable unless --unproven is given.

Examples:
  cairn cat orders.log
  cairn cat orders.log --from 990 --format hex
  cairn cat orders.log --reverse | head -n 1
  cairn cat orders.log --since 2024-06-01T12:00:00Z --json
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
    /// From the first record of this time on: RFC 3339, a date (UTC), or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<i64>,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    end: EndArgs,
}

pub fn run(args: &CatArgs) -> Outcome {
    let mut show = args.show.start()?;
    let reader = args
        .end
        .reader(open::read_only(&args.dir)?, args.to.is_some());
    let range = range(args, &reader)?;
    let mut scan = reader.scan(range).in_log(&args.dir)?;
    let mut out = stream::raw();
    let left = scan.remaining();
    let progress = output::record_progress("cat", left.end - left.start);
    let mut shown = 0u64;
    // A bar takes a lock and looks at the clock: not for every record.
    let mut count = || {
        shown += 1;
        if shown.is_multiple_of(8192) {
            progress.set_position(shown);
        }
    };
    if args.reverse {
        for record in scan.rev() {
            show.record(&mut out, &show::lend(&record.in_log(&args.dir)?))?;
            count();
        }
    } else {
        while let Some(record) = scan.next_ref() {
            show.record(&mut out, &record.in_log(&args.dir)?)?;
            count();
        }
    }
    progress.finish_and_clear();
    Ok(out.flush()?)
}

type Range = (Bound<Seq>, Bound<Seq>);

/// Without a start it is open: the head may move until the walk begins.
fn range(args: &CatArgs, reader: &Reader) -> Outcome<Range> {
    let mut first = args.from;
    if let Some(since_ms) = args.since {
        first = first.max(Some(reader.seek_time(since_ms).in_log(&args.dir)?));
    }
    let end = args.to.unwrap_or(Seq::MAX);
    if let Some(from) = args.from.filter(|from| *from > end) {
        let text = format!("--from {from} lies behind --to {end}");
        return Err(Failure::Usage(text));
    }
    let start = first.map_or(Bound::Unbounded, Bound::Included);
    Ok((start, Bound::Excluded(end.max(first.unwrap_or(0)))))
}

fn time(text: &str) -> Result<i64, String> {
    if let Ok(unix_ms) = text.parse::<i64>() {
        return Ok(unix_ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let midnight = text.parse::<civil::Date>().ok().and_then(|date| {
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(midnight.timestamp().as_millisecond())
    });
    midnight.ok_or_else(|| {
        "a time such as 2024-06-01T12:00:00Z, 2024-06-01 or 1717243200000 was expected".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times() {
        assert_eq!(time("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(time("-5"), Ok(-5));
        assert_eq!(time("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert_eq!(time("2023-11-15T00:13:20.123+02:00"), Ok(1_700_000_000_123));
        assert_eq!(time("1970-01-02"), Ok(86_400_000));
        assert!(time("yesterday").is_err());
    }
}
