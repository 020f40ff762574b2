//! What is measured of durable appends that are handed over and waited for later: to a log, and to the log store of a
//! Raft node.

use super::{Plan, Table, case};
use crate::{
    child::{Job, Spec},
    engine::Entrant,
};

/// Bytes of an entry of a replicated log, say.
const ENTRY: usize = 256;
/// How many are on their way at a time.
const DEPTHS: [usize; 3] = [1, 64, 1024];

/// Whether an entrant has such a form.
fn hands_over(entrant: &Entrant) -> bool {
    ["cairn", "raft-log", "raft-engine"].contains(&entrant.name)
}

impl Plan {
    pub fn handing_over(&self) -> Vec<Table> {
        let seconds = self.effort.durable_seconds * 2.0;
        let table = |workload, job, threads| {
            let cases = self.cases(hands_over, |spec| {
                case(Spec {
                    job,
                    payload_bytes: ENTRY,
                    threads,
                    seconds,
                    ..spec
                })
            });
            self.table(workload, ENTRY, threads, cases)
        };
        let of = |(workload, job)| DEPTHS.map(|threads| table(workload, job, threads));
        let mut tables = of(("W18", Job::Submit)).to_vec();
        if cfg!(feature = "openraft") {
            tables.extend(of(("W18-stores", Job::Store)));
        }
        tables
    }
}
