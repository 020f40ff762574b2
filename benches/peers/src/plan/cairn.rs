//! What is measured of Cairn alone: what no peer has, and how costs grow.

use super::{Case, MANY, PAYLOAD, Plan, Table, Work, case, filled};
use crate::{
    child::{Job, Spec},
    engine::Kind,
};

/// Records of the tails and of the logs that grow by segments.
const SHORT: usize = 100;
const ROUNDS: usize = 3;
/// At the default rate a compaction takes its time.
const COMPACT_ROUNDS: usize = 2;

impl Plan {
    pub fn of_cairn(&self) -> Vec<Table> {
        let mut tables = self.waits();
        tables.push(self.compaction());
        tables.extend(self.acknowledgements());
        tables.push(self.parallel());
        tables.extend(
            self.effort
                .segments
                .iter()
                .map(|&size| self.by_segments(size)),
        );
        tables.extend(
            self.effort
                .mib
                .iter()
                .map(|&mib| self.by_mib("growth-bytes", mib, Job::Fill, Job::Costs)),
        );
        tables.extend(self.effort.large_mib.iter().flat_map(|&mib| {
            [
                self.by_mib("read", mib, Job::Fill, Job::Open),
                self.by_mib("killed", mib, Job::FillAndDie, Job::OpenKilled),
            ]
        }));
        tables
    }

    fn only(&self, case: impl Fn(Spec) -> Case) -> Vec<Case> {
        self.cases(|it| it.kind == Kind::Cairn, case)
    }

    fn waits(&self) -> Vec<Table> {
        let both = [
            ("W9-here", Job::TailHere),
            ("W9-elsewhere", Job::TailElsewhere),
        ];
        let table = |(workload, job)| {
            let (payload_bytes, seconds) = (SHORT, self.effort.durable_seconds);
            let cases = self.only(|spec| {
                case(Spec {
                    job,
                    payload_bytes,
                    seconds,
                    ..spec
                })
            });
            self.table(workload, SHORT, 1, cases)
        };
        both.map(table).into_iter().collect()
    }

    fn acknowledgements(&self) -> Vec<Table> {
        let seconds = self.effort.durable_seconds * 3.0;
        let table = |threads| {
            let cases = self.only(|spec| {
                case(Spec {
                    job: Job::Acknowledge,
                    payload_bytes: SHORT,
                    threads,
                    seconds,
                    ..spec
                })
            });
            self.table("W14", SHORT, threads, cases)
        };
        [1].into_iter().chain(MANY).map(table).collect()
    }

    /// Two threads: what the smallest machine has.
    fn parallel(&self) -> Table {
        let cases = self.only(|spec| {
            let spec = Spec {
                payload_bytes: PAYLOAD,
                // Threads verify a segment each: there have to be several.
                bytes_max: self.effort.read_bytes.max(512 << 20),
                threads: 2,
                ..spec
            };
            filled(
                spec.clone(),
                Job::Fill,
                Spec {
                    job: Job::Parallel,
                    ..spec
                },
            )
        });
        self.table("W15", PAYLOAD, 2, cases)
    }

    fn compaction(&self) -> Table {
        let (payload_bytes, bytes_max) = (PAYLOAD, self.effort.compact_bytes);
        let cases = self.only(|spec| {
            case(Spec {
                job: Job::Compact,
                payload_bytes,
                bytes_max,
                ..spec
            })
        });
        Table {
            rounds: COMPACT_ROUNDS,
            ..self.table("W10", PAYLOAD, 1, cases)
        }
    }

    fn sized(&self, workload: &str, payload_bytes: usize, size: u64, cases: Vec<Case>) -> Table {
        let table = self.table(workload, payload_bytes, 1, cases);
        let work = Work { size, ..table.work };
        Table {
            rounds: ROUNDS,
            work,
            ..table
        }
    }

    fn by_segments(&self, size: u64) -> Table {
        let cases = self.only(|spec| {
            let seconds = self.effort.durable_seconds / 2.0;
            let spec = Spec {
                payload_bytes: SHORT,
                size,
                seconds,
                ..spec
            };
            filled(
                spec.clone(),
                Job::BuildSegments,
                Spec {
                    job: Job::Costs,
                    ..spec
                },
            )
        });
        self.sized("growth-segments", SHORT, size, cases)
    }

    fn by_mib(&self, workload: &str, mib: u64, before: Job, job: Job) -> Table {
        let cases = self.only(|spec| {
            let seconds = self.effort.durable_seconds / 2.0;
            let spec = Spec {
                payload_bytes: PAYLOAD,
                bytes_max: mib << 20,
                seconds,
                ..spec
            };
            filled(spec.clone(), before, Spec { job, ..spec })
        });
        self.sized(workload, PAYLOAD, mib, cases)
    }
}
