//! Adding up a log with every processor: `cargo run --release --example parallel_sum [DIR]`.
//!
//! The log holds amounts by account. `Reader::split` divides it into scans of about equal size, and rayon
//! shares them out; each adds up what it reads, and the sums are put together. More parts than processors
//! keep all of them busy to the end.

use cairnlog::{AppendOptions, Durability, Log, Result, Scan};
use rayon::prelude::*;
use std::{collections::BTreeMap, path::PathBuf, thread, time::Instant};

type Sums = BTreeMap<String, i64>;

const RECORDS: i64 = 50_000;
const PARTS_FOR_EACH_PROCESSOR: usize = 4;

fn fill(log: &Log) -> Result<()> {
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..RECORDS {
        let (account, amount) = (
            format!("account {}", number % 7),
            (number % 11 - 4).to_string(),
        );
        log.append_with((&account, &amount), &buffered)?;
    }
    log.sync().map(drop)
}

/// Adds up what one scan shows. Each record is lent: nothing is copied but the names of accounts.
fn sums(mut scan: Scan) -> Result<Sums> {
    let mut sums = Sums::new();
    while let Some(record) = scan.next_ref() {
        let record = record?;
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let amount: i64 = text(record.value).parse().unwrap_or(0);
        *sums.entry(text(record.key)).or_default() += amount;
    }
    Ok(sums)
}

fn together(mut all: Sums, some: Sums) -> Result<Sums> {
    for (account, amount) in some {
        *all.entry(account).or_default() += amount;
    }
    Ok(all)
}

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("cairn-parallel-sum.log"));
    let log = Log::options().segment_bytes(1 << 20).open(&dir)?;
    if log.next_seq() == 0 {
        fill(&log)?;
    }
    let start = Instant::now();
    let alone = sums(log.scan(..)?)?;
    println!("one thread: {:.1?}", start.elapsed());

    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let start = Instant::now();
    let parts = log
        .reader()
        .split(.., processors * PARTS_FOR_EACH_PROCESSOR)?;
    let part_count = parts.len();
    let shared = parts
        .into_par_iter()
        .map(sums)
        .try_reduce(Sums::new, together)?;
    println!(
        "{part_count} parts, {processors} processors: {:.1?}",
        start.elapsed()
    );

    assert_eq!(shared, alone);
    let total: i64 = shared.values().sum();
    println!("{} accounts hold {total}", shared.len());
    log.close()
}
