//! What is done with records once they are durable: logs that are let go of after checkpoints, jobs that are
//! taken and acknowledged.

use super::{Case, MANY, Plan, Table, case};
use crate::{
    child::{Job, Spec},
    queues,
};

/// Bytes of a job.
const SHORT: usize = 100;

impl Plan {
    /// As durable appends, of all that have a way to let go.
    pub fn checkpoints(&self, payload_bytes: usize) -> Vec<Table> {
        let able = |name: &str| self.chosen.iter().any(|it| it.name == name && it.lets_go);
        let of_durable = |case: Case| Case {
            spec: Spec {
                job: Job::Checkpoints,
                // Several checkpoints have to be in it.
                seconds: case.spec.seconds * 3.0,
                ..case.spec
            },
            ..case
        };
        let table = |threads| {
            let table = self.durable("W12", payload_bytes, threads, 1);
            let cases = table
                .cases
                .into_iter()
                .filter(|case| able(&case.spec.engine));
            Table {
                cases: cases.map(of_durable).collect(),
                ..table
            }
        };
        [1].into_iter().chain(MANY).map(table).collect()
    }

    pub fn queues(&self) -> Vec<Table> {
        let seconds = self.effort.durable_seconds * 3.0;
        let table = |threads| {
            let cases = self.cases(queues::is_queue, |spec| {
                case(Spec {
                    job: Job::Queue,
                    payload_bytes: SHORT,
                    threads,
                    seconds,
                    ..spec
                })
            });
            self.table("W13", SHORT, threads, cases)
        };
        [1].into_iter().chain(MANY).map(table).collect()
    }
}
