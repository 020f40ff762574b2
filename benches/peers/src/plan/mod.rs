//! What is measured: the tables, and who has a row in each.
//!
//! Called by `main`; the runner works through it.

mod cairn;
mod effort;
mod handing_over;
mod letting_go;
mod many;
mod packing;

use crate::{
    args::Args,
    child::{Job, Spec},
    engine::{self, Entrant, Kind, Level},
};
use anyhow::{Result, ensure};
use effort::{Effort, FULL, QUICK};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const PAYLOADS: [usize; 3] = [100, 1024, 16 * 1024];
const PAYLOAD: usize = 1024;
const MANY: [usize; 2] = [8, 64];
const READERS: usize = 4;
const BATCH: usize = 100;
/// The longest that filling a log may take.
const FILL_SECONDS: f64 = 8.0;

/// One table of the report: the same work for all its rows. Of W18 `threads` are those on their way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Work {
    pub workload: String,
    pub payload_bytes: usize,
    pub threads: usize,
    /// Segments or MiB, where a log grows; logs, where they are many.
    pub size: u64,
    /// The name of another disk than the one of the rest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub disk: String,
}

/// One row: what a child is asked for, each round.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: Spec,
    /// What is asked for once, before: then all rounds are in that directory.
    pub before: Option<Spec>,
    /// Whether `group` is what Cairn reached in this table so far: the limit at the same group size.
    pub group_of_cairn: bool,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub work: Work,
    pub rounds: usize,
    pub cases: Vec<Case>,
}

pub fn tables(args: &Args) -> Result<Vec<Table>> {
    let everyone = engine::all();
    for name in &args.peers {
        ensure!(
            everyone.iter().any(|it| it.name == name),
            "no engine `{name}` in this build"
        );
    }
    let chosen = |among: Vec<Entrant>| {
        let wanted =
            |it: &Entrant| args.peers.is_empty() || args.peers.iter().any(|name| name == it.name);
        among.into_iter().filter(wanted).collect()
    };
    let mut effort = if args.quick { QUICK } else { FULL };
    effort.durable_seconds = args.seconds.unwrap_or(effort.durable_seconds);
    let plan = Plan {
        chosen: chosen(engine::ordinary()),
        packers: chosen(engine::packers()),
        effort,
    };
    let mut tables = Vec::new();
    for payload in PAYLOADS {
        tables.push(plan.durable("W1", payload, 1, 1));
        tables.extend(MANY.map(|threads| plan.durable("W2", payload, threads, 1)));
        tables.push(plan.durable("W3", payload, 1, BATCH));
        tables.extend(plan.checkpoints(payload));
        tables.push(plan.unsynced("W4", Job::Buffered, Level::Buffered, payload));
        tables.push(plan.unsynced("W4-written", Job::Written, Level::Written, payload));
        tables.push(plan.read(payload));
    }
    tables.push(plan.fresh());
    tables.push(plan.killed());
    tables.push(plan.mixed());
    tables.extend(plan.queues());
    tables.extend(plan.of_cairn());
    tables.extend(plan.packing());
    tables.extend(plan.many());
    tables.extend(plan.handing_over());
    tables.sort_by(|a, b| {
        order(&a.work.workload)
            .cmp(&order(&b.work.workload))
            .then(a.work.cmp(&b.work))
    });
    tables.retain(|table| wanted(args, &table.work) && !table.cases.is_empty());
    for table in &mut tables {
        table.rounds = args.rounds.unwrap_or(table.rounds);
        table.work.disk = args.disk.clone().unwrap_or_default();
    }
    Ok(tables)
}

/// The workloads of the report that a table is for, as it is named on the command line.
fn serves(workload: &str) -> &'static [&'static str] {
    match workload {
        "W1" => &["W1"],
        "W2" => &["W2"],
        "W3" => &["W3"],
        "W4" | "W4-written" => &["W4", "W8"],
        "read" => &["W5", "W6", "W7", "W8"],
        "fresh" => &["W8"],
        "killed" => &["W7"],
        "W9-here" | "W9-elsewhere" => &["W9"],
        "W10" => &["W10"],
        "W11" => &["W11"],
        "W12" => &["W12"],
        "W13" => &["W13"],
        "W14" => &["W14"],
        "W15" => &["W15"],
        "W16-packages" | "W16-json" | "W16-server" | "W16-codec" => &["W16"],
        "W17" => &["W17"],
        "W18" | "W18-stores" => &["W18"],
        _ => &["growth"],
    }
}

/// `W10` comes after `W9`.
fn order(workload: &str) -> (usize, &'static str) {
    let first = serves(workload)[0];
    (first.len(), first)
}

fn wanted(args: &Args, work: &Work) -> bool {
    let serves = serves(&work.workload);
    let named = |name: &String| serves.iter().any(|it| it.eq_ignore_ascii_case(name));
    let among = |all: &[usize], it| all.is_empty() || all.contains(&it);
    (args.workloads.is_empty() || args.workloads.iter().any(named))
        && among(&args.payloads, work.payload_bytes)
        && among(&args.threads, work.threads)
}

struct Plan {
    chosen: Vec<Entrant>,
    /// Those of them that pack, and Cairn.
    packers: Vec<Entrant>,
    effort: Effort,
}

impl Plan {
    fn cases(&self, able: impl Fn(&Entrant) -> bool, case: impl Fn(Spec) -> Case) -> Vec<Case> {
        let able = self.chosen.iter().filter(|it| able(it));
        able.map(|entrant| case(spec(entrant.name))).collect()
    }

    fn table(
        &self,
        workload: &str,
        payload_bytes: usize,
        threads: usize,
        cases: Vec<Case>,
    ) -> Table {
        let work = Work {
            workload: workload.to_owned(),
            payload_bytes,
            threads,
            size: 0,
            disk: String::new(),
        };
        Table {
            work,
            rounds: self.effort.rounds,
            cases,
        }
    }

    fn durable(&self, workload: &str, payload_bytes: usize, threads: usize, group: usize) -> Table {
        let able = |it: &Entrant| {
            // Of one thread, the limit for many is the limit for one.
            let meant = it.name != "raw-group" || threads > 1;
            it.levels.contains(&Level::Durable) && (group == 1 || it.batches) && meant
        };
        let seconds = self.effort.durable_seconds;
        let cases = self.cases(able, |spec| {
            // These limits have no threads: they write as much at once as Cairn does.
            let single = ["raw-fdatasync", "raw-direct"].contains(&&*spec.engine);
            let group_of_cairn = single && threads > 1;
            let threads = if group_of_cairn { 1 } else { threads };
            let spec = Spec {
                job: Job::Durable,
                payload_bytes,
                threads,
                group,
                seconds,
                ..spec
            };
            Case {
                group_of_cairn,
                ..case(spec)
            }
        });
        self.table(workload, payload_bytes, threads, cases)
    }

    fn unsynced(&self, workload: &str, job: Job, level: Level, payload_bytes: usize) -> Table {
        let able = |it: &Entrant| it.levels.contains(&level) && !(it.kind == Kind::Raw && it.scans);
        let (seconds, bytes_max) = (self.effort.unsynced_seconds, self.effort.unsynced_bytes);
        let cases = self.cases(able, |spec| {
            case(Spec {
                job,
                payload_bytes,
                seconds,
                bytes_max,
                ..spec
            })
        });
        self.table(workload, payload_bytes, 1, cases)
    }

    fn read(&self, payload_bytes: usize) -> Table {
        let short = payload_bytes < PAYLOAD;
        let bytes_max = if short {
            self.effort.read_bytes_short
        } else {
            self.effort.read_bytes
        };
        let cases = self.cases(
            |it| it.scans || !matches!(it.kind, Kind::Raw | Kind::Variant),
            |spec| {
                let spec = Spec {
                    payload_bytes,
                    bytes_max,
                    ..spec
                };
                let seconds = self.effort.durable_seconds / 2.0;
                filled(
                    spec.clone(),
                    Job::Fill,
                    Spec {
                        job: Job::Read,
                        seconds,
                        ..spec
                    },
                )
            },
        );
        self.table("read", payload_bytes, 1, cases)
    }

    fn fresh(&self) -> Table {
        let able = |it: &Entrant| it.kind != Kind::Raw && it.kind != Kind::Variant;
        let cases = self.cases(able, |spec| {
            case(Spec {
                job: Job::Fresh,
                payload_bytes: PAYLOAD,
                ..spec
            })
        });
        Table {
            rounds: 1,
            ..self.table("fresh", PAYLOAD, 1, cases)
        }
    }

    fn killed(&self) -> Table {
        let cases = self.cases(
            |it| !matches!(it.kind, Kind::Raw | Kind::Variant),
            |spec| {
                let spec = Spec {
                    payload_bytes: PAYLOAD,
                    bytes_max: self.effort.read_bytes,
                    ..spec
                };
                filled(
                    spec.clone(),
                    Job::FillAndDie,
                    Spec {
                        job: Job::OpenKilled,
                        ..spec
                    },
                )
            },
        );
        self.table("killed", PAYLOAD, 1, cases)
    }

    fn mixed(&self) -> Table {
        let able = |it: &Entrant| it.scans && it.kind != Kind::Raw;
        let (seconds, bytes_max) = (self.effort.durable_seconds, self.effort.mixed_bytes);
        let (payload_bytes, threads) = (PAYLOAD, READERS);
        let cases = self.cases(able, |spec| {
            case(Spec {
                job: Job::Mixed,
                payload_bytes,
                threads,
                seconds,
                bytes_max,
                ..spec
            })
        });
        self.table("W11", PAYLOAD, READERS, cases)
    }
}

fn spec(engine: &str) -> Spec {
    Spec {
        job: Job::Durable,
        engine: engine.to_owned(),
        payload_bytes: 0,
        threads: 1,
        group: 1,
        seconds: 0.0,
        bytes_max: 0,
        size: 0,
        text: None,
        dir: PathBuf::new(),
    }
}

fn case(spec: Spec) -> Case {
    Case {
        spec,
        before: None,
        group_of_cairn: false,
    }
}

/// A log that is filled once and used in all rounds. A large one takes longer.
fn filled(before: Spec, job: Job, spec: Spec) -> Case {
    let seconds = FILL_SECONDS * (before.bytes_max >> 30).max(1) as f64;
    Case {
        before: Some(Spec {
            job,
            seconds,
            ..before
        }),
        ..case(spec)
    }
}
