//! The count of syncs again, by the calls that each engine makes: one short run of each durable row
//! under strace.

use crate::{child, plan::Table};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const CALLS: [&str; 5] = [
    "fsync",
    "fdatasync",
    "msync",
    "sync_file_range",
    "io_uring_enter",
];
/// The time box: under strace everything is slow.
const SECONDS: f64 = 0.3;

pub fn count(dir: &Path, tables: &[Table]) -> Result<()> {
    let there = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    ensure!(
        there.is_ok_and(|it| it.success()),
        "no strace: see benches/peers/setup"
    );
    println!("calls per record, under strace; opening and warming up are in them");
    print!("{:<34}", "");
    CALLS.iter().for_each(|call| print!("{call:>17}"));
    println!();
    for table in tables
        .iter()
        .filter(|it| ["W1", "W2", "W3"].contains(&&*it.work.workload))
    {
        for case in table.cases.iter().filter(|case| !case.group_of_cairn) {
            let (dir, counts) = (dir.join("measured"), dir.join("strace"));
            fs::create_dir_all(&dir)?;
            let spec = child::Spec {
                dir: dir.clone(),
                seconds: SECONDS,
                ..case.spec.clone()
            };
            let calls = format!("trace={}", CALLS.join(","));
            let words = [
                "strace",
                "-f",
                "-c",
                "-q",
                "-U",
                "calls,name",
                "-e",
                &calls,
                "-o",
            ];
            let mut under: Vec<String> = words.map(str::to_owned).to_vec();
            under.push(counts.to_string_lossy().into_owned());
            let sample = child::measure(&spec, &under);
            fs::remove_dir_all(&dir)?;
            let work = &table.work;
            let name = format!(
                "{} {} B {} thr. {}",
                work.workload, work.payload_bytes, work.threads, spec.engine
            );
            match sample {
                Ok(sample) => {
                    let all = sample
                        .values
                        .get("all_records")
                        .context("no count of records")?;
                    println!("{name:<34}{}", line(&fs::read_to_string(&counts)?, *all));
                }
                Err(error) => println!("{name:<34}{error:#}"),
            }
        }
    }
    Ok(())
}

/// Calls per record, of lines that have a number and a name.
fn line(counts: &str, records: f64) -> String {
    let of = |call: &str| {
        let mut lines = counts
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = lines.find(|words| words.last() == Some(&call));
        found
            .and_then(|words| words.first()?.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    CALLS
        .iter()
        .map(|call| format!("{:>17.3}", of(call) / records))
        .collect()
}
