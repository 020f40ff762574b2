//! What is measured of thousands of logs in one process.

use super::{Plan, Table, Work, case};
use crate::child::{Job, Spec};

/// Bytes of an entry of a replicated log, say.
const ENTRY: usize = 256;

impl Plan {
    pub fn many(&self) -> Vec<Table> {
        let table = |&size| {
            let cases = self.cases(
                |it| ["cairn", "raft-engine"].contains(&it.name),
                |spec| {
                    case(Spec {
                        job: Job::Many,
                        payload_bytes: ENTRY,
                        size,
                        ..spec
                    })
                },
            );
            let table = self.table("W17", ENTRY, 1, cases);
            Table {
                work: Work { size, ..table.work },
                rounds: 1,
                ..table
            }
        };
        self.effort.logs.iter().map(table).collect()
    }
}
