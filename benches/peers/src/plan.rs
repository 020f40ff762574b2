//! What is measured: the tables, and who has a row in each.
//!
//! Called by `main`; the runner works through it.

use crate::{
    args::Args,
    child::{Job, Spec},
    engine::{self, Entrant, Kind, Level},
};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const PAYLOADS: [usize; 3] = [100, 1024, 16 * 1024];
const MANY: [usize; 2] = [8, 64];
pub const BATCH: usize = 100;

/// One table of the report: the same work for all its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Work {
    pub workload: String,
    pub payload_bytes: usize,
    pub threads: usize,
}

/// One row: what a child is asked for, each round.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: Spec,
    /// Whether `group` is what Cairn reached in this table so far: the limit at the same group size.
    pub group_of_cairn: bool,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub work: Work,
    pub cases: Vec<Case>,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// The time box of a durable measurement.
    pub durable_seconds: f64,
    /// The time box, and the most bytes, of one without syncs.
    pub unsynced_seconds: f64,
    pub unsynced_bytes: u64,
}

impl Effort {
    pub fn new(args: &Args) -> Self {
        let full = Self {
            rounds: 5,
            durable_seconds: 0.7,
            unsynced_seconds: 2.5,
            unsynced_bytes: 1 << 30,
        };
        let quick = Self {
            rounds: 3,
            durable_seconds: 0.15,
            unsynced_seconds: 0.25,
            unsynced_bytes: 64 << 20,
        };
        let effort = if args.quick { quick } else { full };
        Self {
            rounds: args.rounds.unwrap_or(effort.rounds),
            ..effort
        }
    }
}

pub fn tables(args: &Args, effort: &Effort) -> Result<Vec<Table>> {
    let everyone = engine::all();
    for name in &args.peers {
        ensure!(
            everyone.iter().any(|it| it.name == name),
            "no engine `{name}` in this build"
        );
    }
    let chosen: Vec<Entrant> = everyone
        .into_iter()
        .filter(|it| args.peers.is_empty() || args.peers.iter().any(|name| name == it.name))
        .collect();
    let mut tables = Vec::new();
    for payload in PAYLOADS {
        tables.push(durable("W1", &chosen, payload, 1, 1, effort));
        for threads in MANY {
            tables.push(durable("W2", &chosen, payload, threads, 1, effort));
        }
        tables.push(durable("W3", &chosen, payload, 1, BATCH, effort));
        tables.push(unsynced(
            "W4",
            Job::Buffered,
            Level::Buffered,
            &chosen,
            payload,
            effort,
        ));
        tables.push(unsynced(
            "W4-written",
            Job::Written,
            Level::Written,
            &chosen,
            payload,
            effort,
        ));
    }
    tables.sort_by(|a, b| a.work.cmp(&b.work));
    tables.retain(|table| wanted(args, &table.work) && !table.cases.is_empty());
    Ok(tables)
}

fn wanted(args: &Args, work: &Work) -> bool {
    let workload = work.workload.split('-').next().unwrap_or_default();
    let named =
        |all: &[String]| all.is_empty() || all.iter().any(|it| it.eq_ignore_ascii_case(workload));
    let among = |all: &[usize], it| all.is_empty() || all.contains(&it);
    named(&args.workloads)
        && among(&args.payloads, work.payload_bytes)
        && among(&args.threads, work.threads)
}

fn spec(job: Job, entrant: &Entrant, payload_bytes: usize) -> Spec {
    Spec {
        job,
        engine: entrant.name.to_owned(),
        payload_bytes,
        threads: 1,
        group: 1,
        seconds: 0.0,
        bytes_max: 0,
        dir: PathBuf::new(),
    }
}

fn table(workload: &str, payload_bytes: usize, threads: usize, cases: Vec<Case>) -> Table {
    let work = Work {
        workload: workload.to_owned(),
        payload_bytes,
        threads,
    };
    Table { work, cases }
}

fn durable(
    workload: &str,
    chosen: &[Entrant],
    payload: usize,
    threads: usize,
    group: usize,
    effort: &Effort,
) -> Table {
    let able = |it: &&Entrant| it.levels.contains(&Level::Durable) && (group == 1 || it.batches);
    let cases = chosen.iter().filter(able).map(|entrant| {
        let group_of_cairn = entrant.kind == Kind::Raw && threads > 1;
        let threads = if group_of_cairn { 1 } else { threads };
        let seconds = effort.durable_seconds;
        let spec = Spec {
            threads,
            group,
            seconds,
            ..spec(Job::Durable, entrant, payload)
        };
        Case {
            spec,
            group_of_cairn,
        }
    });
    table(workload, payload, threads, cases.collect())
}

fn unsynced(
    workload: &str,
    job: Job,
    level: Level,
    chosen: &[Entrant],
    payload: usize,
    effort: &Effort,
) -> Table {
    let able = |it: &&Entrant| it.levels.contains(&level) && !it.name.starts_with("raw-map");
    let cases = chosen.iter().filter(able).map(|entrant| {
        let (seconds, bytes_max) = (effort.unsynced_seconds, effort.unsynced_bytes);
        let spec = Spec {
            seconds,
            bytes_max,
            ..spec(job, entrant, payload)
        };
        Case {
            spec,
            group_of_cairn: false,
        }
    });
    table(workload, payload, 1, cases.collect())
}
